"""A channel: what one task produces, another reads, and a slow reader holds the producer back."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from threading import get_ident
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from modelwire.runnables.closing import aclose

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future

__all__ = ["Channel"]

Item = TypeVar("Item")

AHEAD = 64  # items that may wait before the producer is held


class Channel(Generic[Item]):
    """Items on their way from a producing task, and the threads it starts, to one reader."""

    def __init__(self) -> None:
        self._items: deque[Item] = deque()
        self._reader: Future[None] | None = None  # set while the reader waits for an item
        self._held: Future[None] | None = None  # set while the producer waits for the reader
        self._loop: AbstractEventLoop | None = None
        self._thread = 0

    def put(self, item: Item) -> None:
        """Pass an item on, from any thread."""
        self._items.append(item)
        reader = self._reader
        if reader is not None and self._loop is not None:
            self._reader = None  # one call is enough
            if get_ident() == self._thread:
                _wake(reader)
            else:
                self._loop.call_soon_threadsafe(_wake, reader)

    async def wait_for_reader(self) -> None:
        """Hold the producer while the reader is far behind."""
        if len(self._items) >= AHEAD and self._loop is not None:
            self._held = self._loop.create_future()
            await self._held

    async def forward(
        self, stream: Callable[[], AsyncIterator[Any]], hear: Callable[[Any], None]
    ) -> None:
        """Let `hear` hear a stream, as fast as the reader takes what is put."""
        chunks = stream()
        try:
            async for chunk in chunks:
                hear(chunk)
                await self.wait_for_reader()
        finally:
            await aclose(chunks)

    async def read(self, produce: Callable[[], Awaitable[None]]) -> AsyncIterator[Item]:
        """Run `produce` in a task and yield what it puts; raise what it raises, after the items before it.

        A reader that leaves or is cancelled cancels the task, and waits until it is over.
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
                reader = self._reader = (
                    self._loop.create_future()
                )  # before the second look: threads put, too
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
