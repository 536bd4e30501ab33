"""Asks a second deployment for an answer that takes long. The first answer wins, and the other call is cancelled.

Loaded when a pool hedges. Everything here runs on an event loop: sync calls use the background loop, because only
there a call that has lost can be cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any

from modelwire.errors import InvalidArgument
from modelwire.pools.attempts import config_of_attempt
from modelwire.pools.deployment import Deployment
from modelwire.runnables.closing import aclose
from modelwire.transport.ratelimit.admission import ROUTED_CALL

if TYPE_CHECKING:
    from modelwire.messages import BaseMessage
    from modelwire.pools.call import PoolCall
    from modelwire.pools.model import PoolChatModel
    from modelwire.runnables import RunnableConfig

__all__ = ["HedgedAnswer", "HedgedStream", "chunks_on_loop", "on_loop"]


# A call that was interrupted waits at most this long for the end of its work.
_CANCELLED_WITHIN_S = 5.0
_END = object()


@dataclass(eq=False)
class _Entry:
    """One of the calls that run for an answer: of a deployment, with its task."""

    call: PoolCall
    deployment: Deployment
    task: asyncio.Task[Any]
    chunks: Any


class HedgedAnswer:
    """One call of a pool that may run on two deployments at a time."""

    is_stream = False

    def __init__(
        self,
        model: PoolChatModel,
        messages: str | list[BaseMessage],
        config: RunnableConfig,
        kwargs: dict[str, Any],
    ) -> None:
        self.model = model
        self.messages = messages
        self.config = config
        self.kwargs = kwargs

    async def value(self) -> Any:
        """Return the first answer."""
        entry, answer = await self._first()
        entry.call.answered(monotonic())
        return entry.deployment.marked(answer)

    def _start(self, call: PoolCall, deployment: Deployment) -> _Entry:
        own = config_of_attempt(self.config, call, deployment)
        runnable = self.model._runnable(deployment)
        chunks: Any = None
        token = ROUTED_CALL.set(call)  # The task copies it.
        try:
            if self.is_stream:
                chunks = runnable.astream(self.messages, own, **self.kwargs)
                work = anext(chunks)
            else:
                work = runnable.ainvoke(self.messages, own, **self.kwargs)
            return _Entry(call, deployment, asyncio.ensure_future(work), chunks)
        finally:
            ROUTED_CALL.reset(token)

    async def _first(self) -> tuple[_Entry, Any]:
        """Return the call that answers first, and its answer or first chunk."""
        call = self.model._call(self.messages, self.kwargs, stream=self.is_stream)
        running: list[_Entry] = []
        found = None
        try:
            while found is None:
                deployment = await self.model._aplaced(call, self.config)
                running.append(self._start(call, deployment))
                found = await self._race(running)
            if found.call is not call:  # Equal calls wait for the one that answers.
                found.call.pending, call.pending = call.pending, None
            await _cancel([entry for entry in running if entry is not found])
            return found, found.task.result()
        except BaseException:
            try:
                await _cancel(running)
            finally:
                call.leave(monotonic())
            raise

    async def _race(self, running: list[_Entry]) -> _Entry | None:
        """Return the first call with an answer; None if all have failed and the first goes elsewhere."""
        first = running[0]
        hedges = self.model._scheduler.hedges
        wait_s = hedges.wait_s(stream=self.is_stream)
        while running:
            tasks = {entry.task for entry in running}
            done, _ = await asyncio.wait(tasks, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
            wait_s = None
            if not done:
                second = self._second(first)
                if second is not None:
                    running.append(second)
                continue
            for entry in [one for one in running if one.task in done]:
                error = entry.task.exception()
                if error is None:
                    return entry
                running.remove(entry)
                try:
                    entry.call.failed(monotonic(), error)
                except Exception:
                    if not running:  # No other call may still answer.
                        raise
                finally:
                    await aclose(entry.chunks)
        return None

    def _second(self, first: _Entry) -> _Entry | None:
        """Return a call of another deployment that starts now; None if there is none, or no budget for it."""
        scheduler = self.model._scheduler
        position = scheduler.deployments.index(first.deployment)
        call = self.model._call(self.messages, stream=self.is_stream, shut=frozenset({position}))
        scheduler.hedges.calls -= 1
        call.is_hedge = True
        call.outer, call.equals = first.call.outer, first.call.equals
        now = monotonic()
        with scheduler.lock:
            found = scheduler.picked(call, now)
            if not isinstance(found, Deployment) or not scheduler.hedges.spend():
                return None
            call.place(found, now)
        try:
            return self._start(call, found)
        except BaseException:
            call.leave(monotonic())
            raise


class HedgedStream(HedgedAnswer):
    """A stream of a pool. Up to two deployments start; the first to yield a chunk goes on, the other is cancelled."""

    is_stream = True

    @staticmethod
    async def _next(entry: _Entry) -> Any:
        """Return the next chunk, or `_END`. Handlers see the call of the pool that they run in."""
        token = ROUTED_CALL.set(entry.call)
        try:
            return await anext(entry.chunks)
        except StopAsyncIteration:
            return _END
        finally:
            ROUTED_CALL.reset(token)

    async def chunks(self) -> AsyncIterator[Any]:
        """Yield the chunks of the deployment whose first chunk came first."""
        entry, chunk = await self._first()
        call = entry.call
        call.first_chunk(monotonic())
        try:
            call.mark_reader(monotonic(), has_chunk=True)
            yield entry.deployment.marked(chunk)
            call.mark_reader(monotonic(), has_chunk=False)
            while (chunk := await self._next(entry)) is not _END:
                call.mark_reader(monotonic(), has_chunk=True)
                yield chunk
                call.mark_reader(monotonic(), has_chunk=False)
            call.answered(monotonic())
        except Exception as error:
            call.failed(monotonic(), error, has_begun=True)
            raise
        finally:
            try:
                await aclose(entry.chunks)
            finally:
                call.leave(monotonic())


async def _cancel(entries: Sequence[_Entry]) -> None:
    """Cancel calls whose answers have no reader, and wait for their end.

    If the caller is cancelled meanwhile, the calls end first, and the cancellation is raised then.
    """
    running = {entry.task for entry in entries}
    for task in running:
        task.cancel()
    cancelled: asyncio.CancelledError | None = None
    while running:
        try:
            _, running = await asyncio.wait(running)
        except asyncio.CancelledError as error:
            cancelled = error
            running = {task for task in running if not task.done()}
    for entry in entries:
        entry.call.cancelled(monotonic())
        with suppress(asyncio.CancelledError):
            entry.task.exception()  # It is read, so that asyncio does not report it.
    for entry in entries:
        with suppress(Exception):
            await aclose(entry.chunks)
    if cancelled is not None:
        raise cancelled


def on_loop(work: Callable[[], Awaitable[Any]]) -> Any:
    """Run `work` on the background loop in the caller's context, and return its result."""
    from modelwire.runnables.background import background_loop

    home = background_loop()
    if home.is_here():
        raise InvalidArgument(
            "A pool with `hedge` cannot be called by `invoke` from a coroutine of the background loop: use `ainvoke`."
        )
    done: Future[Any] = Future()
    tasks: list[asyncio.Task[Any]] = []
    context = copy_context()

    def start() -> None:
        async def run() -> None:
            try:
                done.set_result(await work())
            except BaseException as error:  # noqa: BLE001 - the caller raises it
                done.set_exception(error)

        task = home.loop.create_task(run(), context=context)
        task.add_done_callback(
            lambda _: done.cancel()
        )  # A task that was cancelled before it began sets nothing.
        tasks.append(task)

    home.post(start)
    try:
        return done.result()
    except BaseException:
        if not done.done():
            # After a Ctrl-C: the work ends before the caller goes on, and closes what it uses.
            home.post(lambda: [task.cancel() for task in tasks])
            wait([done], timeout=_CANCELLED_WITHIN_S)
        raise


def chunks_on_loop(make: Callable[[], AsyncIterator[Any]]) -> Iterator[Any]:
    """Yield the chunks of an async stream that is read on the background loop."""
    chunks: Any = None
    end = object()

    async def following() -> Any:
        nonlocal chunks
        if chunks is None:
            chunks = make()
        try:
            return await anext(chunks)
        except StopAsyncIteration:
            return end

    try:
        while (chunk := on_loop(following)) is not end:
            yield chunk
    finally:
        if chunks is not None:
            on_loop(lambda: aclose(chunks))
