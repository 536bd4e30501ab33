"""Answers of models, whole and in parts. Pure values."""

# pyright: reportIncompatibleVariableOverride=false
# (each class narrows the type of `type`, the field that identifies it)
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

from pydantic import Field, model_validator

from modelwire.aliases import Kwargs
from modelwire.messages.base import (
    LC_AUTO_PREFIX,
    LC_ID_PREFIX,
    BaseMessage,
    BaseMessageChunk,
    Given,
    assemble,
    get_fields,
    merge_chunks,
    set_fields,
)
from modelwire.messages.merge import Content, merge_lists
from modelwire.messages.tool_calls import (
    InvalidToolCall,
    ToolCall,
    ToolCallChunk,
    default_tool_chunk_parser,
    default_tool_parser,
    read_tool_call_chunks,
    tool_call_chunk,
)
from modelwire.messages.usage import (
    InputTokenDetails,
    OutputTokenDetails,
    UsageMetadata,
    add_usage,
    subtract_usage,
)

if TYPE_CHECKING:
    from typing import Self

    from modelwire.messages.base import Blocks

__all__ = [
    "LC_AUTO_PREFIX",
    "LC_ID_PREFIX",
    "AIMessage",
    "AIMessageChunk",
    "InputTokenDetails",
    "OutputTokenDetails",
    "UsageMetadata",
    "add_ai_message_chunks",
    "add_usage",
    "subtract_usage",
]

# This key in the `response_metadata` of a chunk means that the answer starts again with this chunk:
# a sum of chunks drops the chunks before it.
RESTART = "stream_restart"


class AIMessage(BaseMessage):
    """An answer of a model: text or content blocks, and the tool calls that it requests."""

    type: Literal["ai"] = "ai"
    tool_calls: list[ToolCall] = Field(default_factory=list)
    invalid_tool_calls: list[InvalidToolCall] = Field(default_factory=list)
    usage_metadata: UsageMetadata | None = None

    def __init__(self, content: Given = None, content_blocks: Blocks = None, **kwargs: Any) -> None:
        if content_blocks is not None and not kwargs.get("tool_calls"):
            calls = [block for block in content_blocks if block.get("type") == "tool_call"]
            if calls:
                kwargs["tool_calls"] = [
                    {key: call.get(key) for key in ("name", "args", "id")} for call in calls
                ]
        super().__init__(content, content_blocks, **kwargs)

    @classmethod
    def from_wire(
        cls,
        content: Content,
        *,
        id: str | None = None,
        tool_calls: Sequence[ToolCall] = (),
        invalid_tool_calls: Sequence[InvalidToolCall] = (),
        usage_metadata: UsageMetadata | None = None,
        response_metadata: dict[Any, Any] | None = None,
        additional_kwargs: dict[Any, Any] | None = None,
    ) -> Self:
        """Return an answer with values that a codec has decoded, without validating them.

        The message stores the dicts themselves, not copies.
        """
        fields: Kwargs = {
            "content": content,
            "additional_kwargs": {} if additional_kwargs is None else additional_kwargs,
            "response_metadata": {} if response_metadata is None else response_metadata,
            "type": "ai",
            "name": None,
            "id": id,
            "tool_calls": list(tool_calls),
            "invalid_tool_calls": list(invalid_tool_calls),
            "usage_metadata": usage_metadata,
        }
        fields_set = {"content"}
        # Every answer is built here, so this is a loop: a comprehension would add a function call.
        for name, value in fields.items():
            if value and name != "type":
                fields_set.add(name)
        return assemble(cls, fields, fields_set)

    @model_validator(mode="before")
    @classmethod
    def _read_tool_calls(cls, values: Any) -> Any:
        """Read tool calls from OpenAI's field in `additional_kwargs`, where older programs store them."""
        if not isinstance(values, Mapping):
            return values
        kwargs = values.get("additional_kwargs")
        raw = kwargs.get("tool_calls") if isinstance(kwargs, Mapping) else None
        call_fields = ("tool_calls", "invalid_tool_calls", "tool_call_chunks")
        if not isinstance(raw, list) or any(values.get(name) for name in call_fields):
            return values
        if "tool_call_chunks" in cls.__pydantic_fields__:
            return {**values, "tool_call_chunks": default_tool_chunk_parser(raw)}
        calls, invalid = default_tool_parser(raw)
        return {**values, "tool_calls": calls, "invalid_tool_calls": invalid}

    @model_validator(mode="after")
    def _name_types(self) -> Self:
        for call in self.tool_calls:
            call.setdefault("type", "tool_call")
        return self

    def pretty_repr(self, html: bool = False) -> str:  # noqa: FBT001, FBT002 - the signature scripts know
        """Return the message as text under a title, with its tool calls."""
        lines: list[str] = []
        if self.tool_calls:
            lines.append("Tool Calls:")
            for call in self.tool_calls:
                lines += [
                    f"  {call.get('name', 'Tool')} ({call.get('id')})",
                    f" Call ID: {call.get('id')}",
                    "  Args:",
                ]
                lines += [f"    {name}: {value}" for name, value in call["args"].items()]
        if self.invalid_tool_calls:
            lines.append("Invalid Tool Calls:")
            for bad in self.invalid_tool_calls:
                lines += [
                    f"  {bad.get('name', 'Tool')} ({bad.get('id')})",
                    f" Call ID: {bad.get('id')}",
                ]
                lines += [f"  Error: {bad['error']}"] if bad.get("error") else []
                lines += ["  Args:", f"    {bad.get('args') or ''}"]
        return "\n".join((super().pretty_repr(html=html).strip(), *lines)).strip()


class AIMessageChunk(AIMessage, BaseMessageChunk):
    """A part of an answer. `tool_call_chunks` are partial tool calls; `chunk_position` is "last" on the last chunk.

    `tool_calls` and `invalid_tool_calls` are parsed from the tool call chunks when they are first
    read, so that a stream parses arguments once and not for every delta. Until then the two are
    missing from the instance's dict. Code that reads the whole dict (equality, dump, copy, pickle,
    repr, also pydantic's own serializer) gets it through the class's `__dict__` property, which
    adds them.
    """

    type: Literal["AIMessageChunk"] = "AIMessageChunk"  # type: ignore[assignment]  # its own discriminator
    tool_call_chunks: list[ToolCallChunk] = Field(default_factory=list)
    chunk_position: Literal["last"] | None = None

    if TYPE_CHECKING:

        def __init__(
            self, content: Given = None, content_blocks: Blocks = None, **kwargs: Any
        ) -> None: ...

    @classmethod
    def from_wire(  # type: ignore[override]  # a chunk takes chunks of tool calls
        cls,
        content: Content,
        *,
        id: str | None = None,
        tool_call_chunks: Sequence[ToolCallChunk] = (),
        usage_metadata: UsageMetadata | None = None,
        response_metadata: dict[Any, Any] | None = None,
        additional_kwargs: dict[Any, Any] | None = None,
        chunk_position: Literal["last"] | None = None,
    ) -> Self:
        """Return a chunk with values that a codec has decoded, without validating them.

        The chunk stores the dicts themselves, not copies.
        """
        fields_set = {"content"} if id is None else {"content", "id"}
        if usage_metadata is not None:
            fields_set.add("usage_metadata")
        if chunk_position is not None:
            fields_set.add("chunk_position")
        if response_metadata is None:
            response_metadata = {}
        else:
            fields_set.add("response_metadata")
        if additional_kwargs is None:
            additional_kwargs = {}
        else:
            fields_set.add("additional_kwargs")
        fields: Kwargs = {
            "content": content,
            "additional_kwargs": additional_kwargs,
            "response_metadata": response_metadata,
            "type": "AIMessageChunk",
            "name": None,
            "id": id,
        }
        if tool_call_chunks:
            fields_set.add("tool_call_chunks")
        else:
            fields["tool_calls"] = []
            fields["invalid_tool_calls"] = []
        fields["usage_metadata"] = usage_metadata
        fields["tool_call_chunks"] = list(tool_call_chunks)
        fields["chunk_position"] = chunk_position
        return assemble(cls, fields, fields_set)

    if not TYPE_CHECKING:
        __dict__ = property(lambda self: _completed(self), set_fields)  # noqa: PLW0108 - defined below

        def __getattr__(self, name: str) -> Any:
            if name in ("tool_calls", "invalid_tool_calls"):
                return _completed(self)[name]
            return super().__getattr__(name)

        def __setattr__(self, name: str, value: Any) -> None:
            fields = get_fields(self)
            if name in fields:
                # pydantic does the same, but reads the whole dict.
                fields[name] = value
                self.__pydantic_fields_set__.add(name)
            else:
                super().__setattr__(name, value)

    @model_validator(mode="before")
    @classmethod
    def _fill_tool_call_chunks(cls, values: Any) -> Any:
        """Add missing keys to tool call chunks; if there are none, create chunks from whole tool calls."""
        if not isinstance(values, Mapping):
            return values
        chunks = values.get("tool_call_chunks")
        if isinstance(chunks, list) and chunks:
            return {**values, "tool_call_chunks": [_filled(chunk) for chunk in chunks]}
        whole = [
            call for name in ("tool_calls", "invalid_tool_calls") for call in values.get(name) or ()
        ]
        if whole:
            return {**values, "tool_call_chunks": [_as_chunk(call) for call in whole]}
        return values

    @model_validator(mode="after")
    def _name_types(self) -> Self:
        fields = get_fields(self)
        if fields["tool_call_chunks"]:
            # `tool_calls` and `invalid_tool_calls` are parsed from these chunks when they are read.
            fields.pop("tool_calls", None)
            fields.pop("invalid_tool_calls", None)
            self.__pydantic_fields_set__.difference_update(("tool_calls", "invalid_tool_calls"))
        return self

    def _sum(self, others: Sequence[BaseMessageChunk]) -> Self:
        for at in range(len(others) - 1, -1, -1):
            if RESTART in others[at].response_metadata:
                # The answer has started again, so earlier chunks are dropped.
                return cast("Self", others[at]._sum(others[at + 1 :]))
        total = super()._sum(others)
        fields = get_fields(total)
        fields_set = total.__pydantic_fields_set__
        deltas = []
        for other in others:
            if not isinstance(other, AIMessageChunk):
                continue
            part = get_fields(other)
            if part["usage_metadata"] is not None:
                usage = fields["usage_metadata"]
                fields["usage_metadata"] = add_usage(usage, part["usage_metadata"])
                fields_set.add("usage_metadata")
            if part["chunk_position"] == "last":
                fields["chunk_position"] = "last"
                fields_set.add("chunk_position")
            if part["tool_call_chunks"]:
                deltas.append(part["tool_call_chunks"])
        fields["tool_call_chunks"] = merge_lists(fields["tool_call_chunks"], *deltas)
        if fields["tool_call_chunks"]:
            fields_set.add("tool_call_chunks")
            fields.pop("tool_calls", None)
            fields.pop("invalid_tool_calls", None)
        else:  # The sum must not share its lists with the first chunk.
            fields["tool_calls"], fields["invalid_tool_calls"] = [], []
        is_v1 = fields["response_metadata"].get("output_version") == "v1"
        if is_v1 and fields["chunk_position"] == "last" and isinstance(fields["content"], list):
            from modelwire.messages.block_translators.standard import with_calls_whole

            get_fields(total)["content"] = with_calls_whole(
                fields["content"], total, named_only=True
            )
        return total


def _completed(chunk: AIMessageChunk) -> Kwargs:
    """Return the chunk's fields in the order of its class, and parse its tool calls if that has not been done."""
    fields: Kwargs = get_fields(chunk)
    if (
        "tool_calls" in fields and "invalid_tool_calls" in fields
    ) or "tool_call_chunks" not in fields:
        # A chunk without `tool_call_chunks` is still being created by pydantic.
        return fields
    complete = fields.get("chunk_position") == "last"
    calls, invalid = read_tool_call_chunks(fields["tool_call_chunks"], complete=complete)
    read = {"tool_calls": calls, "invalid_tool_calls": invalid}
    ordered: Kwargs = {}
    for name in (*type(chunk).__pydantic_fields__, *fields):
        if name not in ordered:
            ordered[name] = fields[name] if name in fields else read[name]
    set_fields(chunk, ordered)
    return ordered


def _filled(chunk: Any) -> Any:
    if not isinstance(chunk, Mapping):
        # pydantic reports the error.
        return chunk
    return {
        "name": None,
        "args": None,
        "id": None,
        "index": None,
        **chunk,
        "type": "tool_call_chunk",
    }


def _as_chunk(call: Any) -> Any:
    if not isinstance(call, Mapping):
        # pydantic reports the error.
        return call
    args = call.get("args")
    if isinstance(args, Mapping):
        import json

        args = json.dumps(args)
    return tool_call_chunk(name=call.get("name"), args=args, id=call.get("id"))


def restart_marker() -> AIMessageChunk:
    """Return a chunk that marks the restart of an answer: a sum of chunks drops the chunks before it."""
    return AIMessageChunk.from_wire("", response_metadata={RESTART: True})


def add_ai_message_chunks(left: AIMessageChunk, *others: AIMessageChunk) -> AIMessageChunk:
    """Return the sum of chunks of an answer, in time linear in their size."""
    return merge_chunks((left, *others))
