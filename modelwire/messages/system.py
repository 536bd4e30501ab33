"""What the model is told about its part. Pure values."""

from __future__ import annotations

from typing import Literal

from modelwire.messages.base import BaseMessage, BaseMessageChunk

__all__ = ["SystemMessage", "SystemMessageChunk"]


class SystemMessage(BaseMessage):
    """A message that sets the frame of the conversation."""

    type: Literal["system"] = "system"


class SystemMessageChunk(SystemMessage, BaseMessageChunk):
    """A part of a system message."""

    type: Literal["SystemMessageChunk"] = "SystemMessageChunk"  # type: ignore[assignment]  # its own discriminator
