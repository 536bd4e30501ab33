"""`PoolChatModel`: a chat model whose calls go to one of several deployments.

A call is a call of one deployment's own model, with its limiter, cache, observers and handlers. The pool decides which
one (`scheduler.py`), and what happens when it fails (`call.py`). The sync and the async methods only wait, call and
report.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from pydantic.fields import Field

from modelwire import lazy
from modelwire.adapters.model.base import BaseChatModel
from modelwire.adapters.model.results import result_of
from modelwire.adapters.model.structured_output import structured_by_members
from modelwire.messages import AIMessage, AIMessageChunk, BaseMessage
from modelwire.outputs import LLMResult
from modelwire.pools import cached
from modelwire.pools.attempts import config_of_attempt
from modelwire.pools.call import PoolCall
from modelwire.pools.limits import PoolLimits
from modelwire.pools.scheduler import Scheduler
from modelwire.pools.sticky import LEAST_CHARS, chars_of, prefix_of
from modelwire.runnables.closing import aclose, close
from modelwire.runnables.config import in_batch, merge_configs, settled
from modelwire.runnables.deadline import check
from modelwire.runnables.reading_context import abound, bound
from modelwire.transport.ratelimit.admission import ROUTED_CALL
from modelwire.transport.ratelimit.limits import Limits
from modelwire.transport.ratelimit.waiting import await_wake, wait_for_wake
from modelwire.transport.wire import hide_headers

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from modelwire.adapters.model import cache
    from modelwire.adapters.model.cache import CacheEntry
    from modelwire.outputs import ChatResult
    from modelwire.pools import hedged
    from modelwire.pools.deployment import Deployment
    from modelwire.runnables import Runnable, RunnableConfig
else:
    cache = lazy.module("modelwire.adapters.model.cache")
    hedged = lazy.module("modelwire.pools.hedged")

__all__ = ["PoolChatModel"]


class PoolChatModel(BaseChatModel):
    """What `pool` returns: a chat model of several deployments."""

    scheduler: Any = Field(exclude=True, repr=False)
    """Decides where calls go. Pools that are made from this one, as by `bind_tools`, share it."""
    runnables: list[Any] = Field(exclude=True, repr=False)
    """What is called for each deployment: its model, or its model with bound arguments."""
    bound_hash: int = Field(default=0, exclude=True, repr=False)
    bound_chars: int = Field(default=0, exclude=True, repr=False)
    """The length of the bound arguments, such as tools, which are a part of each prompt."""

    @property
    def _llm_type(self) -> str:
        return "pool"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        """The deployments, what identifies their models, and the arguments that are bound to them."""
        deployments = {}
        for one, runnable in zip(self._scheduler.deployments, self.runnables, strict=True):
            params = dict(getattr(one.model, "_identifying_params", {}))
            deployments[one.name] = params | dict(getattr(runnable, "kwargs", {}))
        return {"deployments": deployments}

    @property
    def _scheduler(self) -> Scheduler:
        scheduler: Scheduler = self.scheduler
        return scheduler

    @property
    def deployments(self) -> dict[str, BaseChatModel]:
        """The models by the names of their deployments."""
        return {one.name: one.model for one in self._scheduler.deployments}

    def __repr__(self) -> str:
        return f"PoolChatModel({list(self.deployments)})"

    def _runnables_inside(self) -> Iterable[Runnable[Any, Any]]:
        return self.runnables

    def limits(self) -> PoolLimits:
        """Return what is known now of the limits of each deployment, by its name."""
        now = monotonic()
        parts = {}
        for deployment in self._scheduler.deployments:
            limiter = deployment.limiter(now)
            parts[deployment.name] = Limits() if limiter is None else limiter.limits(now)
        return PoolLimits(parts)

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> PoolChatModel:
        """Bind `tools` to each deployment, in the form that its provider takes; see `bind_tools` of a model."""
        return self._of([one.bind_tools(tools, **kwargs) for one in self.runnables])

    def _of(self, runnables: list[Any]) -> PoolChatModel:
        # The arguments in a provider's form: equal functions have equal schemas, whatever objects they are.
        bound = repr(getattr(runnables[0], "kwargs", {}))
        about = {"bound_hash": hash(bound), "bound_chars": len(bound)}
        return self.model_copy(update={"runnables": runnables, **about})

    def _structured(self, schema: Any, *, include_raw: bool, **kwargs: Any) -> Runnable[Any, Any]:
        chains = [
            one._structured(schema, include_raw=include_raw, **kwargs) for one in self.runnables
        ]
        asking = self._of([chain.first for chain in chains])
        return structured_by_members(asking, schema, include_raw=include_raw)

    def _call(
        self,
        messages: str | Sequence[BaseMessage],
        kwargs: dict[str, Any] | None = None,
        *,
        stream: bool,
        shut: frozenset[int] = frozenset(),
    ) -> PoolCall:
        """Return a call with these arguments; without `kwargs` no cache is searched for its answer."""
        scheduler: Scheduler = self.scheduler
        prefix = None
        chars = self.bound_chars
        if isinstance(messages, str):
            chars += len(messages)
        else:
            chars += chars_of(messages)
            if scheduler.sticky and chars >= LEAST_CHARS:
                prefix = prefix_of(messages, self.bound_hash, self.bound_chars)
        entries: Mapping[int, CacheEntry] = {}
        if kwargs is not None and cached.are_cached(scheduler.deployments):
            entries = cached.entries_of(self.runnables, self._messages(messages), kwargs)
        return PoolCall(
            scheduler,
            monotonic(),
            chars=chars,
            prefix=prefix,
            patient=in_batch.get(),
            stream=stream,
            shut=shut,
            entries=entries,
        )

    def _runnable(self, deployment: Deployment) -> Any:
        return self.runnables[deployment.position]

    def _config(self, config: RunnableConfig | None) -> RunnableConfig:
        if self.callbacks or self.tags or self.metadata:
            own: Any = {"callbacks": self.callbacks, "tags": self.tags, "metadata": self.metadata}
            config = merge_configs(own, config)
        return settled(config)

    def _placed(self, call: PoolCall, config: RunnableConfig) -> Deployment:
        deadline = config.get("deadline")
        is_due = bool(call.entries) and not call.errors
        has_waited = False
        while True:
            if is_due:
                cache.drive(cached.search(call, None, deadline, self))
                is_due = False
            deployment = call.poll(monotonic())
            if deployment is None:
                has_waited = True
                call.release()  # Equal calls do not wait for one that waits itself.
                check(deadline, self)
                if call.waiter is not None:
                    wait_for_wake(call.waiter, _within(call.wait_s, deadline))
            elif has_waited and call.entries:
                # An equal call may have been answered meanwhile.
                is_due, has_waited = True, False
            else:
                return deployment

    async def _aplaced(self, call: PoolCall, config: RunnableConfig) -> Deployment:
        deadline = config.get("deadline")
        is_due = bool(call.entries) and not call.errors
        has_waited = False
        while True:
            if is_due:
                loop = cache.running_loop()
                await cache.adrive(cached.search(call, loop, deadline, self))
                is_due = False
            deployment = call.poll(monotonic())
            if deployment is None:
                has_waited = True
                call.release()  # Equal calls do not wait for one that waits itself.
                check(deadline, self)
                if call.waiter is not None:
                    await await_wake(call.waiter, _within(call.wait_s, deadline))
            elif has_waited and call.entries:
                # An equal call may have been answered meanwhile.
                is_due, has_waited = True, False
            else:
                return deployment

    def invoke(
        self,
        input: Any,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AIMessage:
        """Answer `input` by one of the deployments."""
        kwargs = _with_stop(kwargs, stop)
        config = self._config(config)
        messages = _read(self, input)
        if self._scheduler.hedges.after is not None:
            return cast(
                "AIMessage", hedged.on_loop(lambda: self.ainvoke(messages, config, **kwargs))
            )
        call = self._call(messages, kwargs, stream=False)
        try:
            while True:
                deployment = self._placed(call, config)
                own = config_of_attempt(config, call, deployment)
                token = ROUTED_CALL.set(call)
                try:
                    answer = self._runnable(deployment).invoke(messages, own, **kwargs)
                except Exception as error:  # noqa: BLE001 - `failed` raises it, or the call goes elsewhere
                    call.failed(monotonic(), error)
                    continue
                finally:
                    ROUTED_CALL.reset(token)
                call.answered(monotonic())
                marked: AIMessage = deployment.marked(answer)
                return marked
        except BaseException:
            call.leave(monotonic())
            raise

    async def ainvoke(
        self,
        input: Any,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AIMessage:
        """Answer `input` by one of the deployments."""
        kwargs = _with_stop(kwargs, stop)
        config = self._config(config)
        messages = _read(self, input)
        if self._scheduler.hedges.after is not None:
            one = hedged.HedgedAnswer(self, messages, config, kwargs)
            return cast("AIMessage", await one.value())
        call = self._call(messages, kwargs, stream=False)
        try:
            while True:
                deployment = await self._aplaced(call, config)
                own = config_of_attempt(config, call, deployment)
                token = ROUTED_CALL.set(call)
                try:
                    answer = await self._runnable(deployment).ainvoke(messages, own, **kwargs)
                except Exception as error:  # noqa: BLE001 - `failed` raises it, or the call goes elsewhere
                    call.failed(monotonic(), error)
                    continue
                finally:
                    ROUTED_CALL.reset(token)
                call.answered(monotonic())
                marked: AIMessage = deployment.marked(answer)
                return marked
        except BaseException:
            call.leave(monotonic())
            raise

    def stream(
        self,
        input: Any,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> Iterator[AIMessageChunk]:
        """Answer `input` chunk by chunk. Before the first chunk a failed call goes elsewhere, after it never."""
        kwargs = _with_stop(kwargs, stop)
        config = self._config(config)
        messages = _read(self, input)
        if self._scheduler.hedges.after is not None:
            return hedged.chunks_on_loop(lambda: self.astream(messages, config, **kwargs))
        return bound(self._pool_stream(messages, config, kwargs))

    def _pool_stream(
        self, messages: Any, config: RunnableConfig, kwargs: dict[str, Any]
    ) -> Iterator[AIMessageChunk]:
        call = self._call(messages, kwargs, stream=True)
        chunks: Any = None
        try:
            while True:
                deployment = self._placed(call, config)
                own = config_of_attempt(config, call, deployment)
                has_begun = False
                try:
                    while True:
                        token = ROUTED_CALL.set(call)
                        try:
                            if chunks is None:
                                runnable = self._runnable(deployment)
                                chunks = iter(runnable.stream(messages, own, **kwargs))
                            chunk = next(chunks)
                        except StopIteration:
                            break
                        finally:
                            ROUTED_CALL.reset(token)
                        if not has_begun:
                            call.first_chunk(monotonic())
                            chunk = deployment.marked(chunk)
                            has_begun = True
                        call.mark_reader(monotonic(), has_chunk=True)
                        yield chunk
                        call.mark_reader(monotonic(), has_chunk=False)
                except Exception as error:  # noqa: BLE001 - `failed` raises it, or the call goes elsewhere
                    close(chunks)
                    call.failed(monotonic(), error, has_begun=has_begun)
                    chunks = None
                    continue
                call.answered(monotonic())
                return
        except BaseException:
            call.leave(monotonic())
            raise
        finally:
            close(chunks)

    def astream(
        self,
        input: Any,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        """Answer `input` chunk by chunk. Before the first chunk a failed call goes elsewhere, after it never."""
        kwargs = _with_stop(kwargs, stop)
        config = self._config(config)
        messages = _read(self, input)
        if self._scheduler.hedges.after is not None:
            return abound(hedged.HedgedStream(self, messages, config, kwargs).chunks())
        return abound(self._pool_astream(messages, config, kwargs))

    async def _pool_astream(
        self, messages: Any, config: RunnableConfig, kwargs: dict[str, Any]
    ) -> AsyncIterator[AIMessageChunk]:
        call = self._call(messages, kwargs, stream=True)
        chunks: Any = None
        try:
            while True:
                deployment = await self._aplaced(call, config)
                own = config_of_attempt(config, call, deployment)
                has_begun = False
                try:
                    while True:
                        token = ROUTED_CALL.set(call)
                        try:
                            if chunks is None:
                                runnable = self._runnable(deployment)
                                chunks = aiter(runnable.astream(messages, own, **kwargs))
                            chunk = await anext(chunks)
                        except StopAsyncIteration:
                            break
                        finally:
                            ROUTED_CALL.reset(token)
                        if not has_begun:
                            call.first_chunk(monotonic())
                            chunk = deployment.marked(chunk)
                            has_begun = True
                        call.mark_reader(monotonic(), has_chunk=True)
                        yield chunk
                        call.mark_reader(monotonic(), has_chunk=False)
                except Exception as error:  # noqa: BLE001 - `failed` raises it, or the call goes elsewhere
                    await aclose(chunks)
                    call.failed(monotonic(), error, has_begun=has_begun)
                    chunks = None
                    continue
                call.answered(monotonic())
                return
        except BaseException:
            call.leave(monotonic())
            raise
        finally:
            await aclose(chunks)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: Any = None,
        **kwargs: Any,
    ) -> ChatResult:
        return result_of(self.invoke(messages, stop=stop, **kwargs))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: Any = None,
        **kwargs: Any,
    ) -> ChatResult:
        return result_of(await self.ainvoke(messages, stop=stop, **kwargs))

    def generate(
        self,
        messages: list[list[BaseMessage]],
        stop: list[str] | None = None,
        callbacks: Any = None,
        *,
        run_id: UUID | None = None,
        **kwargs: Any,
    ) -> LLMResult:
        """Answer several lists of messages, one after the other."""
        config = _split_config(kwargs, callbacks, run_id)
        answers = [self.invoke(one, config, stop=stop, **kwargs) for one in messages]
        return _together(answers)

    async def agenerate(
        self,
        messages: list[list[BaseMessage]],
        stop: list[str] | None = None,
        callbacks: Any = None,
        *,
        run_id: UUID | None = None,
        **kwargs: Any,
    ) -> LLMResult:
        """Answer several lists of messages, side by side."""
        from asyncio import gather

        config = _split_config(kwargs, callbacks, run_id)
        answers = await gather(
            *(self.ainvoke(one, config, stop=stop, **kwargs) for one in messages)
        )
        return _together(answers)


def _read(model: PoolChatModel, input: Any) -> Any:
    """Return the messages of a call. A short text stays one, because the deployment's model reads it too."""
    if isinstance(input, str) and len(input) + model.bound_chars < LEAST_CHARS:
        return input
    return model._messages(input)


def _with_stop(kwargs: dict[str, Any], stop: list[str] | None) -> dict[str, Any]:
    if stop is not None:
        kwargs["stop"] = stop
    if kwargs:
        hide_headers(kwargs)
    return kwargs


def _within(wait_s: float, deadline: float | None) -> float:
    if deadline is None:
        return wait_s
    return max(min(wait_s, deadline - monotonic()), 0.0)


def _split_config(kwargs: dict[str, Any], callbacks: Any, run_id: UUID | None) -> Any:
    config = {"callbacks": callbacks, "run_id": run_id}
    config |= {name: kwargs.pop(name, None) for name in ("tags", "metadata", "run_name")}
    return {name: value for name, value in config.items() if value is not None}


def _together(answers: Sequence[AIMessage]) -> LLMResult:
    results = [result_of(answer) for answer in answers]
    return LLMResult(generations=[list(result.generations) for result in results])
