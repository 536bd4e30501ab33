"""The result of a tool call. Pure values."""

# pyright: reportIncompatibleVariableOverride=false
# (each class narrows the type of `type`, the field that identifies it)
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from modelwire.errors import InvalidArgument
from modelwire.messages.base import BaseMessage, BaseMessageChunk, Given, get_fields
from modelwire.messages.merge import Content, merge_obj
from modelwire.messages.tool_calls import (
    InvalidToolCall,
    ToolCall,
    ToolCallChunk,
    invalid_tool_call,
    tool_call,
    tool_call_chunk,
)
from modelwire.messages.tool_calls import default_tool_chunk_parser as default_tool_chunk_parser
from modelwire.messages.tool_calls import default_tool_parser as default_tool_parser

if TYPE_CHECKING:
    from typing import Self

    from modelwire.messages.base import Blocks

__all__ = [
    "InvalidToolCall",
    "ToolCall",
    "ToolCallChunk",
    "ToolMessage",
    "ToolMessageChunk",
    "invalid_tool_call",
    "tool_call",
    "tool_call_chunk",
]


class ToolOutputMixin:
    """Marks values that a tool returns unchanged; any other value becomes the content of a `ToolMessage`."""


class ToolMessage(BaseMessage, ToolOutputMixin):
    """The result of the tool call with the id `tool_call_id`.

    `content` is sent to the model; `artifact` stays in the program, for a whole result of which the
    model needs only a part.
    """

    tool_call_id: str
    type: Literal["tool"] = "tool"
    artifact: Any = None
    status: Literal["success", "error"] = "success"
    additional_kwargs: dict[Any, Any] = Field(default_factory=dict, repr=False)
    response_metadata: dict[Any, Any] = Field(default_factory=dict, repr=False)

    if TYPE_CHECKING:

        def __init__(
            self,
            content: Given = None,
            content_blocks: Blocks = None,
            *,
            tool_call_id: str,
            **kwargs: Any,
        ) -> None: ...

    @model_validator(mode="before")
    @classmethod
    def _read_as_text(cls, values: Any) -> Any:
        """Convert any result of a tool to content: by `str(value)`, unless it is text or a list of blocks."""
        if not isinstance(values, Mapping):
            return values
        changed = dict(values)
        if "content" in values:
            changed["content"] = _as_content(values["content"])
        if values.get("tool_call_id") is not None:
            changed["tool_call_id"] = str(values["tool_call_id"])
        return changed


def _as_content(result: Any) -> Content:
    if isinstance(result, str):
        return result
    if isinstance(result, list | tuple):
        return [part if isinstance(part, str | dict) else str(part) for part in result]
    return str(result)


class ToolMessageChunk(ToolMessage, BaseMessageChunk):
    """A part of the result of a tool call."""

    type: Literal["ToolMessageChunk"] = "ToolMessageChunk"  # type: ignore[assignment]  # its own discriminator

    if TYPE_CHECKING:

        def __init__(
            self,
            content: Given = None,
            content_blocks: Blocks = None,
            *,
            tool_call_id: str,
            **kwargs: Any,
        ) -> None: ...

    def _sum(self, others: Sequence[BaseMessageChunk]) -> Self:
        total = super()._sum(others)
        fields = get_fields(total)
        for other in others:
            if isinstance(other, ToolMessageChunk):
                if other.tool_call_id != self.tool_call_id:
                    raise InvalidArgument(
                        "Cannot concatenate ToolMessageChunks of different tool calls."
                    )
                fields["artifact"] = merge_obj(fields["artifact"], other.artifact)
                if other.status == "error":
                    fields["status"] = "error"
        return total
