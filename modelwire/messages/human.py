"""Messages of the user. Pure values."""

# pyright: reportIncompatibleVariableOverride=false
# (each class narrows the type of `type`, the field that identifies it)
from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from modelwire.messages.base import BaseMessage, BaseMessageChunk, Given

if TYPE_CHECKING:
    from modelwire.messages.base import Blocks

__all__ = ["HumanMessage", "HumanMessageChunk"]


class HumanMessage(BaseMessage):
    """A message of the user."""

    type: Literal["human"] = "human"

    if TYPE_CHECKING:

        def __init__(
            self, content: Given = None, content_blocks: Blocks = None, **kwargs: Any
        ) -> None: ...


class HumanMessageChunk(HumanMessage, BaseMessageChunk):
    """A part of a message of the user."""

    type: Literal["HumanMessageChunk"] = "HumanMessageChunk"  # type: ignore[assignment]  # its own discriminator

    if TYPE_CHECKING:

        def __init__(
            self, content: Given = None, content_blocks: Blocks = None, **kwargs: Any
        ) -> None: ...
