"""Makes a model's calls with its cache and its rate limiter, and converts the content of answers (`output_version`).

`_answered` and `_opened` make all decisions, for sync and async calls: they yield a `Step`, and the driver sends its
result back. A call or stream looks up its answer, waits for an equal one in flight, and stores its answer when it is
complete. It does not wait for a stream whose reader has stopped (`coalescing.py`). A cache that several processes share
may have claims (`modelwire.caches.Claim`): then a call or stream waits while another process makes an equal call.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator, Sequence
from copy import deepcopy
from functools import partial
from math import inf
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, cast
from uuid import uuid4

from modelwire.adapters.model import coalescing, global_cache
from modelwire.adapters.model.results import (
    chunk_from_message,
    only_message,
    result_of_stream,
    signed,
)
from modelwire.errors import InvalidArgument, InvalidType
from modelwire.messages import LC_ID_PREFIX, AIMessage, BaseMessage
from modelwire.messages.finish_reasons import SUSPENDED_REASONS, finish_reason_of
from modelwire.messages.refusals import refusal_in
from modelwire.outputs import ChatGeneration, ChatResult, Generation
from modelwire.runnables.closing import aclose, close
from modelwire.runnables.deadline import check, covered
from modelwire.transport.ratelimit.admission import ROUTED_CALL

if TYPE_CHECKING:
    import asyncio

    from modelwire.adapters.model.arguments import Arguments, Stop
    from modelwire.adapters.model.base import BaseChatModel
    from modelwire.caches import BaseCache, Claim
    from modelwire.messages import AIMessageChunk
    from modelwire.runnables.config import RunnableConfig

_log = logging.getLogger(__name__)

_Generations: TypeAlias = "list[ChatGeneration]"

# A call that has waited for this many equal calls, which ended without an answer, waits for no further one.
MAX_WAITS = 2
# A sync call with a deadline polls its rate limiter at this interval.
_POLL_S = 0.05


class Step(NamedTuple):
    """One step of a flow: `drive` calls `run`, `adrive` awaits `arun`, and the result is sent into the flow."""

    run: Callable[[], Any]
    arun: Callable[[], Awaitable[Any]]


class _Call:
    """One call, and the steps that its flow may yield."""

    def __init__(
        self,
        model: BaseChatModel,
        messages: list[BaseMessage],
        stop: Stop,
        config: RunnableConfig,
        kwargs: Arguments,
        *,
        loop: asyncio.AbstractEventLoop | None,
    ) -> None:
        self.model = model
        self._arguments = messages, stop, config
        self._kwargs = kwargs
        # The event loop on which the call runs; None for a sync call.
        self.loop = loop
        self._deadline = config.get("deadline")
        self.cache: Any = _cache_of(model)
        self.key: tuple[str, str] | None = None
        if self.cache is not None:
            sent = {name: value for name, value in kwargs.items() if name != "run"}
            self.key = model._cache_key(messages, stop, sent)
        # The right to make the call, while other processes wait for its answer.
        self.claim: Claim | None = None
        # What equal calls of this process wait for, if this is the first of them.
        self.pending: coalescing.PendingCall | None = None

    @property
    def place(self) -> tuple[Any, ...]:
        """The key that equal calls in flight share: the cache, or its group of caches, and the cache key."""
        # The `id` is unique, because the cache lives at least as long as the call.
        return getattr(self.cache, "group", id(self.cache)), self.key

    def make(self) -> Step:
        """Return the step that makes the call."""
        result = self.model._result
        aresult = self.model._aresult
        return Step(
            partial(result, *self._arguments, **self._kwargs),
            partial(aresult, *self._arguments, **self._kwargs),
        )

    def acquire(self) -> Step:
        """Return the step that waits for the rate limiter."""
        return Step(self._acquire, self._aacquire)

    def wait(self, pending: coalescing.PendingCall) -> Step:
        """Return the step that waits for an equal call in flight."""
        return wait_for(pending, self._deadline, self.model)

    def look_up(self) -> Step:
        """Return the step that looks up the answer in the cache."""
        return self._of_cache("lookup")

    def look_up_or_claim(self) -> Step:
        """Return the step that looks up the answer, or acquires a claim if the cache has claims."""
        if hasattr(self.cache, "lookup_or_claim"):
            return Step(self._look_up_or_claim, self._alook_up_or_claim)
        return self.look_up()

    def release(self) -> None:
        """End the wait of equal calls for this one, here and in other processes."""
        if self.pending is not None:
            self.pending.resolve()
        if self.claim is not None:
            self.claim.release()

    def mark_reader(self, since: float | None) -> None:
        """Note when the reader of this stream got its last chunk; None while the stream waits for the provider."""
        if self.pending is not None:
            self.pending.reader_since = since or inf
        if self.claim is not None:
            self.claim.reader_since = since

    def store(self, kept: _Generations) -> Step:
        """Return the step that stores an answer in the cache."""
        return self._of_cache("update", kept)

    def _of_cache(self, method: str, *args: Any) -> Step:
        arguments = *cast("tuple[str, str]", self.key), *args
        run = getattr(self.cache, method)
        arun = getattr(self.cache, f"a{method}")
        return Step(partial(run, *arguments), partial(arun, *arguments))

    def _acquire(self) -> None:
        limiter = self.model.rate_limiter
        if self._deadline is None:
            limiter.acquire(blocking=True)
            return
        while not limiter.acquire(blocking=False):
            check(self._deadline, self.model)
            sleep(min(_POLL_S, self._left_s() or 0.0))

    async def _aacquire(self) -> None:
        acquiring = self.model.rate_limiter.aacquire(blocking=True)
        await covered(acquiring, self._deadline, self.model)

    def _look_up_or_claim(self) -> Any:
        found, self.claim = self.cache.lookup_or_claim(*self._words())
        return self._unless_late(found)

    async def _alook_up_or_claim(self) -> Any:
        found, self.claim = await self.cache.alookup_or_claim(*self._words())
        return self._unless_late(found)

    def _words(self) -> tuple[Any, ...]:
        return *cast("tuple[str, str]", self.key), self._left_s()

    def _unless_late(self, found: Any) -> Any:
        if found is None and self.claim is None:
            check(self._deadline, self.model)
        return found

    def _left_s(self) -> float | None:
        if self._deadline is None:
            return None
        return max(0.0, self._deadline - monotonic())


def wait_for(pending: coalescing.PendingCall, deadline: float | None, model: BaseChatModel) -> Step:
    """Return the step that waits for an equal call in flight, until `deadline` at most."""

    def wait() -> None:
        pending.wait(deadline)
        check(deadline, model)

    return Step(wait, lambda: covered(pending.await_result(), deadline, model))


def running_loop() -> asyncio.AbstractEventLoop:
    """Return the event loop of the caller."""
    import asyncio

    return asyncio.get_running_loop()


Flow: TypeAlias = Generator[Step, Any, Any]


def _answered(call: _Call) -> Flow:
    """Return the answer of a call: from the cache, from an equal call in flight, or by making the call."""
    if call.key is None:
        return (yield from _made(call))
    try:
        kept = yield from _found(call)
        if kept is not None:
            return _hit(kept)
        made = yield from _made(call)
        yield from _stored(call, made)
        return made
    finally:
        call.release()


def _opened(call: _Call) -> Flow:
    """Return the answer for a stream from the cache or an equal call, or None after waiting for the rate limiter."""
    if call.key is not None:
        kept = yield from _found(call)
        if kept is not None:
            return _hit(kept)
    if call.model.rate_limiter is not None:
        yield call.acquire()
    return None


def _found(call: _Call) -> Flow:
    """Return the answers of the cache or of an equal call in flight; None if the call has to be made.

    Equal calls wait for this one from then on, if it is the first of them, until `call.release`.
    """
    routed = ROUTED_CALL.get()
    if routed is not None and routed.is_hedge:
        return _kept((yield call.look_up()))
    for _ in range(MAX_WAITS):
        pending, is_leader = coalescing.join(call.place, loop=call.loop)
        if is_leader:
            call.pending = pending
            kept = _kept((yield call.look_up_or_claim()))
            if kept is not None:
                pending.resolve(kept)
            return kept
        if not pending.may_be_awaited(call.loop):
            break
        yield call.wait(pending)
        if pending.result is not None:
            return pending.result
    return _kept((yield call.look_up()))


def _made(call: _Call) -> Flow:
    if call.model.rate_limiter is not None:
        yield call.acquire()
    return (yield call.make())


def _stored(call: _Call, made: ChatResult) -> Flow:
    """Store a copy of the answers, which the caller may change, and pass it to equal calls, if all are final."""
    if any(_is_not_final(generation.message) for generation in made.generations):
        return
    kept = _copies(made.generations)
    for generation in kept:
        message = generation.message
        if (message.id or "").startswith(LC_ID_PREFIX):  # It is the id of this run.
            message.id = None
    yield call.store(kept)
    if call.pending is not None:
        call.pending.resolve(kept)


def _is_not_final(message: BaseMessage) -> bool:
    """Return whether an answer is not final: it is queued, suspended, cancelled or refused."""
    if isinstance(message, AIMessage) and refusal_in(message) is not None:
        return True
    ended = message.response_metadata.get("status"), finish_reason_of(message)
    return "cancelled" in ended or not SUSPENDED_REASONS.isdisjoint(ended)


def drive(flow: Flow) -> Any:
    """Run a flow, and return its result."""
    try:
        step = next(flow)
        while True:
            try:
                result = step.run()
            except BaseException as exc:  # noqa: BLE001 - it is raised again where the flow waits for it
                step = flow.throw(exc)
            else:
                step = flow.send(result)
    except StopIteration as done:
        return done.value
    finally:
        flow.close()


async def adrive(flow: Flow) -> Any:
    """Run a flow on this event loop, and return its result."""
    try:
        step = next(flow)
        while True:
            try:
                result = await step.arun()
            except BaseException as exc:  # noqa: BLE001 - it is raised again where the flow waits for it
                step = flow.throw(exc)
            else:
                step = flow.send(result)
    except StopIteration as done:
        return done.value
    finally:
        flow.close()


class CachedModel:
    """Makes the calls of a model with its cache, rate limiter and output version; `BaseChatModel` calls its methods."""

    def __init__(self, model: BaseChatModel) -> None:
        self.model = model

    def _answer(
        self,
        messages: list[BaseMessage],
        stop: Stop,
        config: RunnableConfig,
        **kwargs: Any,
    ) -> AIMessage:
        result = self._result(messages, stop, config, **kwargs)
        return only_message(signed(result, f"{LC_ID_PREFIX}-{uuid4()}"))

    async def _aanswer(
        self,
        messages: list[BaseMessage],
        stop: Stop,
        config: RunnableConfig,
        **kwargs: Any,
    ) -> AIMessage:
        result = await self._aresult(messages, stop, config, **kwargs)
        return only_message(signed(result, f"{LC_ID_PREFIX}-{uuid4()}"))

    def _result(
        self,
        messages: list[BaseMessage],
        stop: Stop,
        config: RunnableConfig,
        **kwargs: Any,
    ) -> ChatResult:
        call = _Call(self.model, messages, stop, config, kwargs, loop=None)
        return _versioned(self.model, drive(_answered(call)))

    async def _aresult(
        self,
        messages: list[BaseMessage],
        stop: Stop,
        config: RunnableConfig,
        **kwargs: Any,
    ) -> ChatResult:
        call = _Call(self.model, messages, stop, config, kwargs, loop=running_loop())
        return _versioned(self.model, await adrive(_answered(call)))

    def _chunks(
        self,
        messages: list[BaseMessage],
        stop: Stop,
        config: RunnableConfig,
        **kwargs: Any,
    ) -> Iterator[AIMessageChunk]:
        call = _Call(self.model, messages, stop, config, kwargs, loop=None)
        version = _versions(self.model)
        source = None
        try:
            found = drive(_opened(call))
            if found is not None:
                yield version(_one_chunk(found))
                return
            source = self.model._chunks(messages, stop, config, **kwargs)
            received: list[AIMessageChunk] = []
            for chunk in source:
                if call.key is None:
                    yield version(chunk)
                    continue
                received.append(chunk)
                call.mark_reader(monotonic())
                yield version(chunk)
                call.mark_reader(None)
            if received:
                drive(_stored(call, result_of_stream(received)))
        finally:
            call.release()
            if source is not None:
                close(source)

    async def _achunks(
        self,
        messages: list[BaseMessage],
        stop: Stop,
        config: RunnableConfig,
        **kwargs: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        call = _Call(self.model, messages, stop, config, kwargs, loop=running_loop())
        version = _versions(self.model)
        source = None
        try:
            found = await adrive(_opened(call))
            if found is not None:
                yield version(_one_chunk(found))
                return
            source = self.model._achunks(messages, stop, config, **kwargs)
            received: list[AIMessageChunk] = []
            async for chunk in source:
                if call.key is None:
                    yield version(chunk)
                    continue
                received.append(chunk)
                call.mark_reader(monotonic())
                yield version(chunk)
                call.mark_reader(None)
            if received:
                await adrive(_stored(call, result_of_stream(received)))
        finally:
            call.release()
            if source is not None:
                await aclose(source)


def _one_chunk(found: ChatResult) -> AIMessageChunk:
    chunk = chunk_from_message(cast("AIMessage", found.generations[0].message))
    chunk.id = chunk.id or f"{LC_ID_PREFIX}-{uuid4()}"
    return chunk


def cached_answer(
    model: BaseChatModel,
    messages: list[BaseMessage],
    stop: Stop,
    kwargs: Arguments,
) -> AIMessage | None:
    """Return the cached answer for a call, None if there is none; the call is not made."""
    entry = entry_of(model, messages, stop, kwargs)
    kept = None if entry is None else _kept(entry.cache.lookup(*entry.key))
    return None if kept is None else only_message(_versioned(model, _hit(kept)))


class CacheEntry(NamedTuple):
    """The cache of a call's model, and the key under which it has the answer, or will have it."""

    cache: BaseCache
    key: tuple[str, str]

    def has_answer(self) -> Step:
        """Return the step that finds out whether the cache has an answer which the call would take."""
        return Step(self._has_answer, self._ahas_answer)

    def _has_answer(self) -> bool:
        return _kept(self.cache.lookup(*self.key)) is not None

    async def _ahas_answer(self) -> bool:
        return _kept(await self.cache.alookup(*self.key)) is not None


def entry_of(
    model: BaseChatModel,
    messages: list[BaseMessage],
    stop: Stop,
    kwargs: Arguments,
) -> CacheEntry | None:
    """Return where a cache has the answer of a call; None if it is not cached."""
    cache = _cache_of(model)
    key = None if cache is None else model._cache_key(messages, stop, kwargs)
    if cache is None or key is None:
        return None
    return CacheEntry(cache, key)


def _cache_of(model: BaseChatModel) -> BaseCache | None:
    own = model.cache
    if own is False:
        return None
    if own is not None and own is not True:
        return checked_cache(own)
    if own is True and global_cache.llm_cache is None:
        raise InvalidArgument(
            "`cache=True` asks for the global cache, and there is none: call `set_llm_cache(...)` of "
            "`modelwire.globals` first, or give the model a cache object."
        )
    return global_cache.llm_cache


_CACHE_METHODS = ("lookup", "update", "alookup", "aupdate")


def checked_cache(cache: Any) -> BaseCache:
    """Return `cache` if it can be used as a cache; raise `InvalidType` otherwise."""
    methods = [getattr(cache, name, None) for name in _CACHE_METHODS]
    if isinstance(cache, type) or not all(map(callable, methods)):
        raise InvalidType(
            f"`cache` must be a cache of `modelwire.caches`, True, False or None, not a `{type(cache).__name__}`."
        )
    return cast("BaseCache", cache)


def _kept(found: Sequence[Generation] | None) -> _Generations | None:
    """Return the answers that a lookup has found, None if there are none; a text of another program becomes a message.

    Cached entries that are not AI messages, or not final, are ignored: the call is made and its answer is stored.
    """
    if not found:
        return None
    answers: _Generations = []
    for generation in found:
        if not isinstance(generation, ChatGeneration):
            message = AIMessage(generation.text)
            info = generation.generation_info
            answers.append(ChatGeneration(message=message, generation_info=info))
            continue
        kind = generation.message.type
        if kind not in _ANSWERS:
            text = "A cache returned a message of the type `%s` for a call, which is not an answer; it is ignored."
            _log.warning(text, kind)
            return None
        if _is_not_final(generation.message):
            return None
        answers.append(generation)
    return answers


_ANSWERS = ("ai", "AIMessageChunk", "chat", "ChatMessageChunk")


def _hit(kept: _Generations) -> ChatResult:
    """Return the result of a cache hit: copies of the stored answers, with a cost of 0."""
    copies = _copies(kept)
    for generation in copies:
        usage = getattr(generation.message, "usage_metadata", None)
        if usage is not None:
            generation.message.usage_metadata = {**usage, "total_cost": 0}  # type: ignore[attr-defined]
    return ChatResult(generations=copies, llm_output={})


def _copies(generations: Sequence[ChatGeneration]) -> _Generations:
    copies = []
    for generation in generations:
        message = generation.message.model_copy(deep=True)
        info = deepcopy(generation.generation_info)
        copies.append(ChatGeneration(message=message, generation_info=info))
    return copies


def _versioned(model: BaseChatModel, answer: ChatResult) -> ChatResult:
    """Return the answer, with its content as standard blocks if the model has `output_version="v1"`."""
    if model.output_version == "v1":
        from modelwire.messages.block_translators.v1 import as_v1

        for generation in answer.generations:
            if isinstance(generation.message, AIMessage):
                generation.message = as_v1(generation.message)
    return answer


def _versions(model: BaseChatModel) -> Callable[[AIMessageChunk], AIMessageChunk]:
    """Return a function that converts the chunks of one stream, in order, to the model's version of content."""
    if model.output_version != "v1":
        return lambda chunk: chunk
    from modelwire.messages.block_translators.v1 import V1Stream

    return V1Stream().convert
