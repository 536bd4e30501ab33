"""The result of a function call, as OpenAI had it before tools. Pure values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from modelwire.errors import InvalidArgument
from modelwire.messages.base import BaseMessage, BaseMessageChunk

if TYPE_CHECKING:
    from typing import Self

__all__ = ["FunctionMessage", "FunctionMessageChunk"]


class FunctionMessage(BaseMessage):
    """The result of the function `name`; new programs use `ToolMessage`."""

    name: str  # a function's result has no meaning without it
    type: Literal["function"] = "function"


class FunctionMessageChunk(FunctionMessage, BaseMessageChunk):
    """A part of a function's result."""

    type: Literal["FunctionMessageChunk"] = "FunctionMessageChunk"  # type: ignore[assignment]  # its own discriminator

    def _sum(self, others: Sequence[BaseMessageChunk]) -> Self:
        if any(isinstance(other, FunctionMessageChunk) and other.name != self.name for other in others):
            raise InvalidArgument("Cannot concatenate FunctionMessageChunks with different names.")
        return super()._sum(others)
