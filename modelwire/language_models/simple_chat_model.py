"""`SimpleChatModel`: the base class of a chat model of your own that has one method, from messages to a text."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator, Iterator
from typing import Any

from modelwire.adapters.model.base import BaseChatModel
from modelwire.errors import InvalidArgument
from modelwire.messages import AIMessage, BaseMessage, message_chunk_to_message
from modelwire.outputs import ChatGeneration, ChatGenerationChunk, ChatResult


class SimpleChatModel(BaseChatModel):
    """A chat model whose `_call` returns the text of the answer."""

    @abstractmethod
    def _call(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: Any = None,
        **kwargs: Any,
    ) -> str:
        """Return the text of the answer to `messages`."""

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: Any = None,
        **kwargs: Any,
    ) -> ChatResult:
        text = self._call(messages, stop=stop, run_manager=run_manager, **kwargs)
        return ChatResult(generations=[ChatGeneration(message=AIMessage(text))])


def generate_from_stream(stream: Iterator[ChatGenerationChunk]) -> ChatResult:
    """Return the sum of the chunks of a `_stream` as a result, for a `_generate` that streams."""
    return _added_up(list(stream))


async def agenerate_from_stream(stream: AsyncIterator[ChatGenerationChunk]) -> ChatResult:
    """Return the sum of the chunks of an `_astream` as a result, for an `_agenerate` that streams."""
    return _added_up([chunk async for chunk in stream])


def _added_up(chunks: list[ChatGenerationChunk]) -> ChatResult:
    if not chunks:
        raise InvalidArgument("No generations found in stream: it ended before its first chunk.")
    whole = chunks[0] + chunks[1:] if len(chunks) > 1 else chunks[0]
    message = message_chunk_to_message(whole.message)
    return ChatResult(
        generations=[ChatGeneration(message=message, generation_info=whole.generation_info)]
    )
