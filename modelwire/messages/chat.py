"""A message with any role. Pure values."""

# pyright: reportIncompatibleVariableOverride=false
# (each class narrows the type of `type`, the field that identifies it)
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from modelwire.errors import InvalidArgument
from modelwire.messages.base import BaseMessage, BaseMessageChunk, Given

if TYPE_CHECKING:
    from typing import Self

    from modelwire.messages.base import Blocks

__all__ = ["ChatMessage", "ChatMessageChunk"]


class ChatMessage(BaseMessage):
    """A message with the role that `role` names, for roles without a class of their own."""

    role: str
    type: Literal["chat"] = "chat"

    if TYPE_CHECKING:

        def __init__(
            self, content: Given = None, content_blocks: Blocks = None, *, role: str, **kwargs: Any
        ) -> None: ...


class ChatMessageChunk(ChatMessage, BaseMessageChunk):
    """A part of a message with any role."""

    type: Literal["ChatMessageChunk"] = "ChatMessageChunk"  # type: ignore[assignment]  # its own discriminator

    if TYPE_CHECKING:

        def __init__(
            self, content: Given = None, content_blocks: Blocks = None, *, role: str, **kwargs: Any
        ) -> None: ...

    def _sum(self, others: Sequence[BaseMessageChunk]) -> Self:
        if any(isinstance(other, ChatMessageChunk) and other.role != self.role for other in others):
            raise InvalidArgument("Cannot concatenate ChatMessageChunks with different roles.")
        return super()._sum(others)
