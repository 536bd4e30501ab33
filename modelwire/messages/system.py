"""System messages: instructions to the model. Pure values."""

# pyright: reportIncompatibleVariableOverride=false
# (each class narrows the type of `type`, the field that identifies it)
from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from modelwire.messages.base import BaseMessage, BaseMessageChunk, Given

if TYPE_CHECKING:
    from modelwire.messages.base import Blocks

__all__ = ["SystemMessage", "SystemMessageChunk"]


class SystemMessage(BaseMessage):
    """A message with instructions for the whole conversation."""

    type: Literal["system"] = "system"

    if TYPE_CHECKING:

        def __init__(
            self, content: Given = None, content_blocks: Blocks = None, **kwargs: Any
        ) -> None: ...


class SystemMessageChunk(SystemMessage, BaseMessageChunk):
    """A part of a system message."""

    type: Literal["SystemMessageChunk"] = "SystemMessageChunk"  # type: ignore[assignment]  # its own discriminator

    if TYPE_CHECKING:

        def __init__(
            self, content: Given = None, content_blocks: Blocks = None, **kwargs: Any
        ) -> None: ...
