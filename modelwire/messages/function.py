"""The result of a function call in OpenAI's format before tools. Pure values."""

# pyright: reportIncompatibleVariableOverride=false, reportGeneralTypeIssues=false
# (each class narrows the type of `type`, the field that identifies it)
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from modelwire.errors import InvalidArgument
from modelwire.messages.base import BaseMessage, BaseMessageChunk, Given

if TYPE_CHECKING:
    from typing import Self

    from modelwire.messages.base import Blocks

__all__ = ["FunctionMessage", "FunctionMessageChunk"]


class FunctionMessage(BaseMessage):
    """The result of the function `name`, which a model has called; new programs use `ToolMessage`."""

    name: str  # The result of a function has no meaning without its name.
    type: Literal["function"] = "function"

    if TYPE_CHECKING:

        def __init__(
            self, content: Given = None, content_blocks: Blocks = None, *, name: str, **kwargs: Any
        ) -> None: ...


class FunctionMessageChunk(FunctionMessage, BaseMessageChunk):
    """A part of a function's result."""

    type: Literal["FunctionMessageChunk"] = "FunctionMessageChunk"  # type: ignore[assignment]  # its own discriminator

    if TYPE_CHECKING:

        def __init__(
            self, content: Given = None, content_blocks: Blocks = None, *, name: str, **kwargs: Any
        ) -> None: ...

    def _sum(self, others: Sequence[BaseMessageChunk]) -> Self:
        if any(
            isinstance(other, FunctionMessageChunk) and other.name != self.name for other in others
        ):
            raise InvalidArgument("Cannot concatenate FunctionMessageChunks with different names.")
        return super()._sum(others)
