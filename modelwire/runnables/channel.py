"""A bounded queue between a producing task and one reader: a slow reader makes the producer wait."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from threading import get_ident
from typing import TYPE_CHECKING, Generic, TypeVar

from modelwire.aliases import AsyncChunks, Callback
from modelwire.runnables.closing import aclose

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future

Item = TypeVar("Item")

# The producer waits while this many items are queued.
AHEAD = 64


class Channel(Generic[Item]):
    """A queue of items from a producing task, and the threads it starts, to one reader."""

    def __init__(self) -> None:
        self._items: deque[Item] = deque()
        # This future is set while the reader waits for an item.
        self._reader: Future[None] | None = None
        # This future is set while the producer waits for the reader.
        self._held: Future[None] | None = None
        self._loop: AbstractEventLoop | None = None
        self._thread = 0

    def put(self, item: Item) -> None:
        """Add an item; callable from any thread."""
        self._items.append(item)
        reader = self._reader
        if reader is not None and self._loop is not None:
            # The reader must be woken only once.
            self._reader = None
            if get_ident() == self._thread:
                _wake(reader)
            else:
                self._loop.call_soon_threadsafe(_wake, reader)

    async def wait_for_reader(self) -> None:
        """Wait until the reader has taken the queued items, if there are `AHEAD` or more."""
        if len(self._items) >= AHEAD and self._loop is not None:
            self._held = self._loop.create_future()
            await self._held

    async def forward(self, stream: Callable[[], AsyncChunks], hear: Callback) -> None:
        """Call `hear` with each chunk of a stream, as fast as the reader takes items."""
        chunks = stream()
        try:
            async for chunk in chunks:
                hear(chunk)
                await self.wait_for_reader()
        finally:
            await aclose(chunks)

    async def read(self, produce: Callable[[], Awaitable[None]]) -> AsyncIterator[Item]:
        """Run `produce` in a task and yield the items it puts; then raise its error, if any.

        If the reader closes this iterator or is cancelled, the task is cancelled and awaited.
        """
        import asyncio

        self._loop = asyncio.get_running_loop()
        self._thread = get_ident()
        task = asyncio.ensure_future(produce())
        task.add_done_callback(self._over)
        try:
            while True:
                while self._items:
                    yield self._items.popleft()
                if self._held is not None:
                    _wake(self._held)
                over = task.done()
                # `_reader` is set before the queue is checked again, because threads put items, too.
                reader = self._reader = self._loop.create_future()
                if not self._items:
                    if over:
                        break
                    await reader
                self._reader = None
            await task
        finally:
            self._reader = None
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _over(self, _task: object) -> None:
        if self._reader is not None:
            _wake(self._reader)


def _wake(waiting: Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)
