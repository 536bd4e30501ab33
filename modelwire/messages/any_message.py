"""Type aliases for any message, and for any value that can be converted to a message."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Discriminator, Tag

from modelwire.messages.ai import AIMessage, AIMessageChunk
from modelwire.messages.base import BaseMessage
from modelwire.messages.chat import ChatMessage, ChatMessageChunk
from modelwire.messages.function import FunctionMessage, FunctionMessageChunk
from modelwire.messages.human import HumanMessage, HumanMessageChunk
from modelwire.messages.system import SystemMessage, SystemMessageChunk
from modelwire.messages.tool import ToolMessage, ToolMessageChunk

__all__ = ["AnyMessage", "MessageLikeRepresentation"]


def _type_of(message: Any) -> str | None:
    if isinstance(message, dict):
        return message.get("type")
    return getattr(message, "type", None)


AnyMessage = Annotated[
    Annotated[AIMessage, Tag("ai")]
    | Annotated[HumanMessage, Tag("human")]
    | Annotated[ChatMessage, Tag("chat")]
    | Annotated[SystemMessage, Tag("system")]
    | Annotated[FunctionMessage, Tag("function")]
    | Annotated[ToolMessage, Tag("tool")]
    | Annotated[AIMessageChunk, Tag("AIMessageChunk")]
    | Annotated[HumanMessageChunk, Tag("HumanMessageChunk")]
    | Annotated[ChatMessageChunk, Tag("ChatMessageChunk")]
    | Annotated[SystemMessageChunk, Tag("SystemMessageChunk")]
    | Annotated[FunctionMessageChunk, Tag("FunctionMessageChunk")]
    | Annotated[ToolMessageChunk, Tag("ToolMessageChunk")],
    Discriminator(_type_of),
]
"""A message of any class, selected by its `type` when it is read from dicts or JSON."""

MessageLikeRepresentation = (
    BaseMessage | list[str] | tuple[str, str | list[str | dict[str, Any]]] | str | dict[str, Any]
)
"""The values that `convert_to_messages` accepts for one message."""
