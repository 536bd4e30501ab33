"""Stores of the messages of a conversation between calls: a base class for your own store, and a store in memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from modelwire.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    convert_to_messages,
    get_buffer_string,
)

__all__ = ["BaseChatMessageHistory", "InMemoryChatMessageHistory"]


class BaseChatMessageHistory(ABC):
    """A conversation's messages, wherever they are stored: implement `messages`, `add_messages` and `clear`.

    The async methods run the sync ones in a thread unless overridden.
    """

    messages: list[BaseMessage]

    def add_message(self, message: BaseMessage) -> None:
        """Add one message."""
        self.add_messages([message])

    @abstractmethod
    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Add messages, in order."""

    @abstractmethod
    def clear(self) -> None:
        """Remove all messages."""

    def add_user_message(self, message: HumanMessage | str) -> None:
        """Add a user message."""
        self.add_message(HumanMessage(content=message) if isinstance(message, str) else message)

    def add_ai_message(self, message: AIMessage | str) -> None:
        """Add a model's answer."""
        self.add_message(AIMessage(content=message) if isinstance(message, str) else message)

    async def aget_messages(self) -> list[BaseMessage]:
        """Return the messages."""
        import asyncio

        return await asyncio.to_thread(lambda: self.messages)

    async def aadd_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Add messages, in order."""
        import asyncio

        await asyncio.to_thread(self.add_messages, messages)

    async def aclear(self) -> None:
        """Remove all messages."""
        import asyncio

        await asyncio.to_thread(self.clear)

    def __str__(self) -> str:
        return get_buffer_string(self.messages)


class InMemoryChatMessageHistory(BaseChatMessageHistory):
    """A conversation in this process's memory."""

    def __init__(self, messages: Any = ()) -> None:
        self.messages = convert_to_messages(messages)

    def __repr__(self) -> str:
        return f"InMemoryChatMessageHistory(messages={self.messages!r})"

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        self.messages.extend(convert_to_messages(messages))

    def clear(self) -> None:
        self.messages = []

    async def aget_messages(self) -> list[BaseMessage]:
        return self.messages

    async def aadd_messages(self, messages: Sequence[BaseMessage]) -> None:
        self.add_messages(messages)

    async def aclear(self) -> None:
        self.clear()
