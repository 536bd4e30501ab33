"""What may stand between a call of a model and its answer: a cache, a rate limiter, another version of the content.

`_answered` and `_opened` say what happens, once for sync and async: they yield what they need and are sent what came of
it. A stream looks up its answer, waits for the same call in flight and fills the cache when it is whole; nobody waits
for a stream, since its reader sets its pace.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Sequence
from copy import deepcopy
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeAlias, cast
from uuid import uuid4

from modelwire.adapters.model import coalescing, global_cache
from modelwire.adapters.model.results import chunk_from_message, result_of_stream
from modelwire.adapters.model.results import only_message as only
from modelwire.adapters.model.results import signed as sign
from modelwire.errors import InvalidArgument, InvalidType
from modelwire.messages import LC_ID_PREFIX, AIMessage, BaseMessage
from modelwire.messages.finish_reasons import SUSPENDED_REASONS, finish_reason_of
from modelwire.messages.refusals import refusal_in
from modelwire.outputs import ChatGeneration, ChatResult, Generation
from modelwire.runnables.closing import aclose, close
from modelwire.runnables.deadline import check, covered

if TYPE_CHECKING:
    import asyncio

    from modelwire.adapters.model.base import BaseChatModel
    from modelwire.caches import BaseCache
    from modelwire.messages import AIMessageChunk
    from modelwire.runnables.config import RunnableConfig

__all__ = ["CachedModel", "cached_answer", "checked_cache"]

_log = logging.getLogger(__name__)

Generations: TypeAlias = "list[ChatGeneration]"

# How many calls a call waits for that end without an answer; then it is made itself, beside the others.
MAX_WAITS = 2
POLL_S = 0.05  # between two looks at a rate limiter, where the call has a deadline


class _Call:
    """One call, and the steps it may take; `do` and `ado` are the same, sync and async."""

    def __init__(
        self,
        model: BaseChatModel,
        messages: list[BaseMessage],
        stop: list[str] | None,
        config: RunnableConfig,
        kwargs: dict[str, Any],
        *,
        loop: asyncio.AbstractEventLoop | None,
    ) -> None:
        self.model, self.messages, self.stop, self.config, self.kwargs = (
            model,
            messages,
            stop,
            config,
            kwargs,
        )
        self.loop = loop  # on which it runs; None is a sync call
        self.deadline = config.get("deadline")
        self.cache: Any = _cache_of(model)
        self.key: tuple[str, str] | None = None
        if self.cache is not None:
            sent = {name: value for name, value in kwargs.items() if name != "run"}
            self.key = model._cache_key(messages, stop, sent)

    def join(self) -> tuple[coalescing.PendingCall, bool]:
        place = id(self.cache), self.key  # the cache lives as long as the call
        return coalescing.join(place, loop=self.loop)

    def may_wait_for(self, pending: coalescing.PendingCall) -> bool:
        return pending.may_be_awaited(self.loop)

    def do(self, step: str, *args: Any) -> Any:
        if step == "call":
            return self.model._result(self.messages, self.stop, self.config, **self.kwargs)
        if step == "acquire":
            return _acquire(self.model, self.deadline)
        if step == "wait":
            args[0].wait(None if self.deadline is None else max(0.0, self.deadline - monotonic()))
            return check(self.deadline, self.model)
        if step == "look":
            return self.cache.lookup(*cast("tuple[str, str]", self.key))
        return self.cache.update(*cast("tuple[str, str]", self.key), *args)

    async def ado(self, step: str, *args: Any) -> Any:
        if step == "call":
            return await self.model._aresult(self.messages, self.stop, self.config, **self.kwargs)
        if step == "acquire":
            return await covered(
                self.model.rate_limiter.aacquire(blocking=True), self.deadline, self.model
            )
        if step == "wait":
            return await covered(args[0].await_result(), self.deadline, self.model)
        if step == "look":
            return await self.cache.alookup(*cast("tuple[str, str]", self.key))
        return await self.cache.aupdate(*cast("tuple[str, str]", self.key), *args)


def _running_loop() -> asyncio.AbstractEventLoop:
    import asyncio

    return asyncio.get_running_loop()


# A step by its name, with what it takes; sent back is what came of it.
_Flow: TypeAlias = Generator[tuple[Any, ...], Any, Any]


def _answered(call: _Call) -> _Flow:
    """Answer a call: from the cache, from the same call in flight, or by making it."""
    if call.key is None:
        return (yield from _made(call))
    for _ in range(MAX_WAITS):
        pending, is_leader = call.join()
        if is_leader:
            try:
                kept = _kept((yield ("look",)))
                if kept is None:
                    made = yield from _made(call)
                    kept = yield from _stored(call, made)
                    if kept is not None:
                        pending.resolve(kept)
                    return made
                pending.resolve(kept)
            finally:
                pending.resolve()
            return _hit(kept)
        if not call.may_wait_for(pending):
            break
        yield "wait", pending
        if pending.result is not None:
            return _hit(pending.result)
    kept = _kept((yield ("look",)))
    if kept is not None:
        return _hit(kept)
    made = yield from _made(call)
    yield from _stored(call, made)
    return made


def _opened(call: _Call) -> _Flow:
    """Return the answer of a stream where there is one already; else have it wait for its turn and return None."""
    if call.key is not None:
        pending = coalescing.find((id(call.cache), call.key))
        if pending is not None and call.may_wait_for(pending):
            yield "wait", pending
            if pending.result is not None:
                return _hit(pending.result)
        kept = _kept((yield ("look",)))
        if kept is not None:
            return _hit(kept)
    if call.model.rate_limiter is not None:
        yield ("acquire",)
    return None


def _made(call: _Call) -> _Flow:
    if call.model.rate_limiter is not None:
        yield ("acquire",)
    return (yield ("call",))


def _stored(call: _Call, made: ChatResult) -> _Flow:
    """Keep a copy: what the caller does to the answer is the caller's. One that is not final is for nobody else."""
    if any(_is_not_final(generation.message) for generation in made.generations):
        return None
    kept = _copies(made.generations)
    for generation in kept:
        if (generation.message.id or "").startswith(
            LC_ID_PREFIX
        ):  # of this run; the next one has its own
            generation.message.id = None
    yield "keep", kept
    return kept


def _is_not_final(message: BaseMessage) -> bool:
    """Return whether an answer is not final: it is queued, suspended, cancelled or refused."""
    if isinstance(message, AIMessage) and refusal_in(message) is not None:
        return True
    ended = message.response_metadata.get("status"), finish_reason_of(message)
    return "cancelled" in ended or not SUSPENDED_REASONS.isdisjoint(ended)


def _drive(flow: _Flow, act: Callable[..., Any]) -> Any:
    try:
        step = next(flow)
        while True:
            try:
                came = act(*step)
            except BaseException as exc:  # noqa: BLE001 - it is raised again where the flow waits for it
                step = flow.throw(exc)
            else:
                step = flow.send(came)
    except StopIteration as done:
        return done.value
    finally:
        flow.close()


async def _adrive(flow: _Flow, act: Callable[..., Any]) -> Any:
    try:
        step = next(flow)
        while True:
            try:
                came = await act(*step)
            except BaseException as exc:  # noqa: BLE001 - it is raised again where the flow waits for it
                step = flow.throw(exc)
            else:
                step = flow.send(came)
    except StopIteration as done:
        return done.value
    finally:
        flow.close()


class CachedModel:
    """A model as `BaseChatModel` calls it, with what stands before it."""

    def __init__(self, model: BaseChatModel) -> None:
        self.model = model

    def _answer(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None,
        config: RunnableConfig,
        **kwargs: Any,
    ) -> AIMessage:
        return only(
            sign(self._result(messages, stop, config, **kwargs), f"{LC_ID_PREFIX}-{uuid4()}")
        )

    async def _aanswer(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None,
        config: RunnableConfig,
        **kwargs: Any,
    ) -> AIMessage:
        return only(
            sign(await self._aresult(messages, stop, config, **kwargs), f"{LC_ID_PREFIX}-{uuid4()}")
        )

    def _result(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None,
        config: RunnableConfig,
        **kwargs: Any,
    ) -> ChatResult:
        call = _Call(self.model, messages, stop, config, kwargs, loop=None)
        return _versioned(self.model, _drive(_answered(call), call.do))

    async def _aresult(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None,
        config: RunnableConfig,
        **kwargs: Any,
    ) -> ChatResult:
        call = _Call(self.model, messages, stop, config, kwargs, loop=_running_loop())
        return _versioned(self.model, await _adrive(_answered(call), call.ado))

    def _chunks(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None,
        config: RunnableConfig,
        **kwargs: Any,
    ) -> Iterator[AIMessageChunk]:
        call = _Call(self.model, messages, stop, config, kwargs, loop=None)
        version = _versions(self.model)
        found = _drive(_opened(call), call.do)
        if found is not None:
            yield version(_one_chunk(found))
            return
        source = self.model._chunks(messages, stop, config, **kwargs)
        received: list[AIMessageChunk] = []
        try:
            for chunk in source:
                if call.key is not None:
                    received.append(chunk)
                yield version(chunk)
            if received:
                _drive(_stored(call, result_of_stream(received)), call.do)
        finally:
            close(source)

    async def _achunks(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None,
        config: RunnableConfig,
        **kwargs: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        call = _Call(self.model, messages, stop, config, kwargs, loop=_running_loop())
        version = _versions(self.model)
        found = await _adrive(_opened(call), call.ado)
        if found is not None:
            yield version(_one_chunk(found))
            return
        source = self.model._achunks(messages, stop, config, **kwargs)
        received: list[AIMessageChunk] = []
        try:
            async for chunk in source:
                if call.key is not None:
                    received.append(chunk)
                yield version(chunk)
            if received:
                await _adrive(_stored(call, result_of_stream(received)), call.ado)
        finally:
            await aclose(source)


def _one_chunk(found: ChatResult) -> AIMessageChunk:
    chunk = chunk_from_message(cast("AIMessage", found.generations[0].message))
    chunk.id = chunk.id or f"{LC_ID_PREFIX}-{uuid4()}"
    return chunk


def _acquire(model: BaseChatModel, deadline: float | None) -> None:
    """Wait for the rate limiter, no longer than the call has."""
    limiter = model.rate_limiter
    if deadline is None:
        limiter.acquire(blocking=True)
        return
    import time

    while not limiter.acquire(blocking=False):
        check(deadline, model)
        time.sleep(min(POLL_S, max(0.0, deadline - monotonic())))


def cached_answer(
    model: BaseChatModel,
    messages: list[BaseMessage],
    stop: list[str] | None,
    kwargs: dict[str, Any],
) -> AIMessage | None:
    """Return what the model's cache has for a call that is not going to be made now."""
    cache = _cache_of(model)
    key = None if cache is None else model._cache_key(messages, stop, kwargs)
    if cache is None or key is None or (kept := _kept(cache.lookup(*key))) is None:
        return None
    return only(_versioned(model, _hit(kept)))


def _cache_of(model: BaseChatModel) -> BaseCache | None:
    own = model.cache
    if own is None or own is False:
        return global_cache.llm_cache if own is None else None
    if own is not True:
        return checked_cache(own)
    if global_cache.llm_cache is None:
        raise InvalidArgument(
            "`cache=True` asks for the global cache, and there is none: call `set_llm_cache(...)` of "
            "`modelwire.globals` first, or give the model a cache object."
        )
    return global_cache.llm_cache


def checked_cache(cache: Any) -> BaseCache:
    """Return what can be used as a cache; raise `InvalidType` for anything else."""
    if isinstance(cache, type) or not all(
        callable(getattr(cache, name, None)) for name in ("lookup", "update", "alookup", "aupdate")
    ):
        raise InvalidType(
            f"`cache` must be a cache of `modelwire.caches`, True, False or None, not a `{type(cache).__name__}`."
        )
    return cast("BaseCache", cache)


def _kept(found: Sequence[Generation] | None) -> Generations | None:
    """Take what a cache returned; a bare text, as other programs keep, becomes a message.

    What is no answer of a model's, a human's words among them, is nothing: the call is made and its answer kept.
    """
    if not found:
        return None
    strange = [
        it.message.type
        for it in found
        if isinstance(it, ChatGeneration) and not _is_answer(it.message)
    ]
    if strange:
        _log.warning(
            "What a cache had for a call is a message of the type `%s`, no answer; left aside.",
            strange[0],
        )
        return None
    if any(isinstance(it, ChatGeneration) and _is_not_final(it.message) for it in found):
        return None  # an earlier version stored it
    return [
        generation
        if isinstance(generation, ChatGeneration)
        else ChatGeneration(
            message=AIMessage(generation.text), generation_info=generation.generation_info
        )
        for generation in found
    ]


def _is_answer(message: BaseMessage) -> bool:
    return message.type in ("ai", "AIMessageChunk", "chat", "ChatMessageChunk")


def _hit(kept: Generations) -> ChatResult:
    """Make a result of what was kept; it cost nothing."""
    copies = _copies(kept)
    for generation in copies:
        usage = getattr(generation.message, "usage_metadata", None)
        if usage is not None:
            generation.message.usage_metadata = {**usage, "total_cost": 0}  # type: ignore[attr-defined]
    return ChatResult(generations=copies, llm_output={})


def _copies(generations: Sequence[ChatGeneration]) -> Generations:
    return [
        ChatGeneration(
            message=generation.message.model_copy(deep=True),
            generation_info=deepcopy(generation.generation_info),
        )
        for generation in generations
    ]


def _versioned(model: BaseChatModel, answer: ChatResult) -> ChatResult:
    """Say the content in standard blocks where the model shall."""
    if model.output_version == "v1":
        from modelwire.messages.block_translators.v1 import as_v1

        for generation in answer.generations:
            if isinstance(generation.message, AIMessage):
                generation.message = as_v1(generation.message)
    return answer


def _versions(model: BaseChatModel) -> Callable[[AIMessageChunk], AIMessageChunk]:
    """Make what turns the chunks of one stream, in order, into the version the model shall speak."""
    if model.output_version != "v1":
        return lambda chunk: chunk
    from modelwire.messages.block_translators.v1 import V1Stream

    return V1Stream().convert
