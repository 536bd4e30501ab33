"""Splits one stream for several readers, and merges several streams into one, as a streaming
`RunnableParallel` needs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, TypeAlias

from modelwire.aliases import AsyncChunks, Chunks, Kwargs
from modelwire.runnables.addable import AddableDict
from modelwire.runnables.closing import aclose, close
from modelwire.runnables.invoke_function import END

if TYPE_CHECKING:
    import asyncio

    from modelwire.runnables.base import Runnable
    from modelwire.runnables.config import RunnableConfig

# An item of a stream and None, or END and the error that ended the stream, if any.
_Outcome: TypeAlias = tuple[Any, BaseException | None]
Branch: TypeAlias = "tuple[str, Runnable, RunnableConfig]"


class _Shared:
    """The shared state of one stream's readers: a queue for each, and how the stream ended."""

    def __init__(self, readers: int) -> None:
        self.queues: list[deque[Any]] = [deque() for _ in range(readers)]
        self.ended = False
        self.error: BaseException | None = None

    def waiting(self, queue: deque[Any]) -> Any:
        """Return `(item,)` with the next item of `queue`, `(END,)` after the last, None if the stream must be read."""
        if queue:
            return queue.popleft()
        if self.error is not None:
            raise self.error
        return (END,) if self.ended else None

    def arrived(self, item: Any, queue: deque[Any]) -> Any:
        """Store an item for the other readers, or record the end; return `(item,)` for the reader of `queue`."""
        self.ended = item is END
        for other in () if self.ended else self.queues:
            if other is not queue:
                other.append((item,))
        return (item,)

    def leave(self, queue: deque[Any]) -> None:
        """Drop the queue of a reader that has stopped."""
        self.queues = [other for other in self.queues if other is not queue]


def tee(source: Chunks, readers: int) -> list[Chunks]:
    """Return `readers` iterators, each over all items of `source`.

    The first iterator that needs an item reads it. Each may run in a thread of its own.
    """
    from threading import Lock

    shared = _Shared(readers)
    lock = Lock()

    def pull(queue: deque[Any]) -> Any:
        with lock:
            held = shared.waiting(queue)
            if held is not None:
                return held
            try:
                item = next(source, END)
            except BaseException as exc:
                shared.error = exc
                raise
            return shared.arrived(item, queue)

    def read(queue: deque[Any]) -> Chunks:
        try:
            while (held := pull(queue))[0] is not END:
                yield held[0]
        finally:
            shared.leave(queue)

    return [read(queue) for queue in shared.queues]


class Pulled:
    """Reads each item of an async stream in a task: if a reader is cancelled while it waits, the next
    reader takes over the task.
    """

    def __init__(self, source: AsyncChunks) -> None:
        self._source = source
        self._context = copy_context()
        self._task: asyncio.Task[_Outcome] | None = None

    async def next(self) -> _Outcome:
        """Return the next item (END after the last one) and the error, if any.

        Only one reader at a time may call it.
        """
        import asyncio

        if self._task is None:
            self._task = asyncio.create_task(self._pull(), context=self._context)
        task = self._task
        # Cancelling `wait` does not cancel the task.
        await asyncio.wait([task])
        self._task = None
        return task.result()

    async def _pull(self) -> _Outcome:
        try:
            return await anext(self._source), None
        except StopAsyncIteration:
            return END, None
        except BaseException as exc:  # noqa: BLE001 - it is raised where the stream is read
            return END, exc

    async def aclose(self) -> None:
        """Cancel a pending read and close the stream."""
        import asyncio

        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await asyncio.create_task(aclose(self._source), context=self._context)


def atee(source: Pulled, readers: int) -> list[AsyncChunks]:
    """Return `readers` async iterators, each over all items of `source`.

    The first iterator that needs an item reads it.
    """
    from asyncio import Lock

    shared = _Shared(readers)
    lock = Lock()

    async def pull(queue: deque[Any]) -> Any:
        async with lock:
            held = shared.waiting(queue)
            if held is not None:
                return held
            item, shared.error = await source.next()
            if shared.error is not None:
                raise shared.error
            return shared.arrived(item, queue)

    async def read(queue: deque[Any]) -> AsyncChunks:
        try:
            while (held := await pull(queue))[0] is not END:
                yield held[0]
        finally:
            shared.leave(queue)

    return [read(queue) for queue in shared.queues]


def merge(
    source: Chunks, branches: list[Branch], *, threads: int, kwargs: Kwargs
) -> Iterator[AddableDict]:
    """Stream every branch over `source` and yield each chunk as it arrives, in a dict under its branch's key.

    The branches run in `threads` threads, or with 0 by turns in this one. Each branch runs and is
    closed in a context of its own, here as in `amerge`.
    """
    readers = tee(source, len(branches))
    streams = {}
    for reader, (key, step, config) in zip(readers, branches, strict=True):
        streams[key] = step.transform(reader, config, **kwargs)
    chunks = _threaded(streams, threads) if threads else _in_turn(streams)
    try:
        for key, chunk in chunks:
            yield AddableDict({key: chunk})
    finally:
        close(chunks, *streams.values(), *readers, source)


def _in_turn(streams: dict[str, Chunks]) -> Iterator[tuple[str, Any]]:
    turns = deque(streams.items())
    while turns:
        key, stream = turns.popleft()
        chunk = next(stream, END)
        if chunk is not END:
            yield key, chunk
            turns.append((key, stream))


def _threaded(streams: dict[str, Chunks], threads: int) -> Iterator[tuple[str, Any]]:
    """Run the streams in threads, each at most one chunk ahead of its reader."""
    from concurrent.futures import ThreadPoolExecutor
    from queue import SimpleQueue

    reports: SimpleQueue[tuple[str, Any, BaseException | None]] = SimpleQueue()
    contexts = {key: copy_context() for key in streams}
    # After an error, or when the reader has stopped, queued work does not start.
    over = False

    def pull(key: str) -> None:
        nonlocal over
        if over:
            return
        try:
            reports.put((key, contexts[key].run(next, streams[key], END), None))
        except BaseException as exc:  # noqa: BLE001 - it is raised where the streams are read
            over = True
            reports.put((key, END, exc))

    asking = list(streams)
    out = 0
    pool = ThreadPoolExecutor(threads, thread_name_prefix="modelwire-parallel")
    try:
        while asking or out:
            for key in asking:
                pool.submit(pull, key)
                out += 1
            asking = []
            key, chunk, error = reports.get()
            out -= 1
            if error is not None:
                raise error
            if chunk is not END:
                yield key, chunk
                asking = [key]
    finally:
        over = True
        # A generator can be closed only while no thread runs it.
        pool.shutdown(wait=True)
        with ExitStack() as closings:
            for key in reversed(streams):
                closings.callback(contexts[key].run, close, streams[key])


async def amerge(
    source: AsyncChunks, branches: list[Branch], *, limit: int | None, kwargs: Kwargs
) -> AsyncIterator[AddableDict]:
    """Stream every branch over `source`, at most `limit` of them at a time; yield chunks as `merge` does."""
    pulled = Pulled(source)
    readers = atee(pulled, len(branches))
    streams = {}
    for reader, (key, step, config) in zip(readers, branches, strict=True):
        streams[key] = step.atransform(reader, config, **kwargs)
    chunks = _pumped(streams, limit or len(streams))
    try:
        async for key, chunk in chunks:
            yield AddableDict({key: chunk})
    finally:
        await aclose(chunks, *streams.values(), *readers, pulled)


async def _pumped(streams: dict[str, AsyncChunks], limit: int) -> AsyncIterator[tuple[str, Any]]:
    """Run each stream in a task of its own, which reads a chunk once the reader has taken the previous one."""
    import asyncio

    reports: asyncio.Queue[tuple[str, Any, BaseException | None]] = asyncio.Queue()
    slots = asyncio.Semaphore(limit)
    resume = {key: asyncio.Event() for key in streams}
    # After an error, streams that wait for a slot do not start.
    over = False

    async def pump(key: str, stream: AsyncChunks) -> None:
        nonlocal over
        try:
            while True:
                async with slots:
                    if over:
                        return
                    chunk = await anext(stream)
                reports.put_nowait((key, chunk, None))
                await resume[key].wait()
                resume[key].clear()
        except StopAsyncIteration:
            reports.put_nowait((key, END, None))
        except BaseException as exc:  # noqa: BLE001 - it is raised where the streams are read
            over = True
            reports.put_nowait((key, END, exc))
        finally:
            await aclose(stream)

    tasks = [asyncio.create_task(pump(key, stream)) for key, stream in streams.items()]
    open_streams = len(tasks)
    try:
        while open_streams:
            key, chunk, error = await reports.get()
            if error is not None:
                raise error
            if chunk is END:
                open_streams -= 1
            else:
                yield key, chunk
                resume[key].set()
    finally:
        await _cancelled(tasks)


async def _cancelled(tasks: list[asyncio.Task[None]]) -> None:
    """Cancel tasks and wait for them. Raise the first error of a task, if any."""
    import asyncio

    for task in tasks:
        task.cancel()
    for failure in await asyncio.gather(*tasks, return_exceptions=True):
        if failure is not None and not isinstance(failure, asyncio.CancelledError):
            raise failure
