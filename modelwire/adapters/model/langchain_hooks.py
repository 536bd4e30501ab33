"""LangChain's four hooks of a chat model, and two that also take a config, made of `_answer` and `_chunks`.

They are methods of `HTTPChatModel`. A user's subclass may override them, or call them through `super()`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

from modelwire.adapters.model.results import generation_chunk, result_of
from modelwire.messages import BaseMessage
from modelwire.runnables.closing import aclose
from modelwire.runnables.config import settled

if TYPE_CHECKING:
    from modelwire.adapters.model.arguments import Stop
    from modelwire.adapters.model.http import HTTPChatModel
    from modelwire.outputs import ChatGenerationChunk, ChatResult
    from modelwire.runnables import RunnableConfig


def whole_result(
    model: HTTPChatModel,
    messages: list[BaseMessage],
    stop: Stop,
    config: RunnableConfig,
    run_manager: object,
    **kwargs: Any,
) -> ChatResult:
    return result_of(model._answer(messages, stop, config, **kwargs))


async def whole_aresult(
    model: HTTPChatModel,
    messages: list[BaseMessage],
    stop: Stop,
    config: RunnableConfig,
    run_manager: object,
    **kwargs: Any,
) -> ChatResult:
    return result_of(await model._aanswer(messages, stop, config, **kwargs))


def generate(
    model: HTTPChatModel,
    messages: list[BaseMessage],
    stop: list[str] | None = None,
    run_manager: Any = None,
    **kwargs: Any,
) -> ChatResult:
    return result_of(model._answer(messages, stop, settled(None), **kwargs))


async def agenerate(
    model: HTTPChatModel,
    messages: list[BaseMessage],
    stop: list[str] | None = None,
    run_manager: Any = None,
    **kwargs: Any,
) -> ChatResult:
    return result_of(await model._aanswer(messages, stop, settled(None), **kwargs))


def stream(
    model: HTTPChatModel,
    messages: list[BaseMessage],
    stop: list[str] | None = None,
    run_manager: Any = None,
    **kwargs: Any,
) -> Iterator[ChatGenerationChunk]:
    for chunk in model._chunks(messages, stop, settled(None), **kwargs):
        yield generation_chunk(chunk)


async def astream(
    model: HTTPChatModel,
    messages: list[BaseMessage],
    stop: list[str] | None = None,
    run_manager: Any = None,
    **kwargs: Any,
) -> AsyncIterator[ChatGenerationChunk]:
    chunks = model._achunks(messages, stop, settled(None), **kwargs)
    try:
        async for chunk in chunks:
            yield generation_chunk(chunk)
    finally:
        await aclose(chunks)
