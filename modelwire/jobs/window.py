"""The window of a job: it runs a bounded number of rows at a time, and raises that number while it is faster."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine
from typing import Any, cast

from modelwire.jobs.concurrency import START, ConcurrencyTuner
from modelwire.jobs.live_scheduler import cancelled

# If the cost of a row cannot be estimated and the job has a `max_cost`, this many rows run at a time
# until the first row shows its cost.
_UNPRICED_AT_ONCE = 8


class RowWindow:
    """Runs workers, each of which takes one row after the other.

    `quota` is the number of rows that may still start in this pass over the input, and `in_flight`
    the number of rows that are running.
    """

    # After a Ctrl-C, a SIGTERM or an error of the job, calls in flight may take this long to finish.
    DRAIN_S = 10.0

    def __init__(self, most: int | None, start: int | None = None) -> None:
        self._tuner = ConcurrencyTuner(start or most or START, most)
        self._workers: set[asyncio.Task[None]] = set()
        self._is_idle = asyncio.Event()
        self.quota = math.inf
        self.in_flight = 0

    @property
    def size(self) -> int:
        """The number of rows that may run at a time now."""
        return self._tuner.size

    @property
    def has_room(self) -> bool:
        """Whether a worker may take another row."""
        return len(self._workers) <= self.size

    @property
    def has_one_worker(self) -> bool:
        return len(self._workers) == 1

    def fill(self, work: Callable[[], Coroutine[Any, Any, None]], *, is_blind: bool) -> None:
        """Start workers, each of which runs `work`, until the window is full.

        Only a few are started if the job `is_blind`: it has a budget and cannot estimate costs.
        """
        most = self.size
        if is_blind:
            most = min(most, _UNPRICED_AT_ONCE)
        missing = most - len(self._workers)
        for _ in range(missing):
            worker = asyncio.create_task(self._worker(work))
            self._workers.add(worker)

    async def _worker(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await work()
        finally:
            self._workers.discard(cast("asyncio.Task[None]", asyncio.current_task()))
            if not self._workers:
                self._is_idle.set()

    def observe(self, done: int) -> None:
        """Measure the throughput, and change `size` if it is time. `done` is the number of finished rows."""
        full = self.in_flight >= 0.9 * self.size
        now = asyncio.get_running_loop().time()
        self._tuner.observe(now, done, full=full)

    async def drained(self, ending: asyncio.Event, *, may_wait: Callable[[], bool]) -> None:
        """Wait until all workers have ended. After `ending` is set, wait `DRAIN_S` at most, if `may_wait()`."""
        over = asyncio.create_task(ending.wait())
        idle = asyncio.create_task(self._is_idle.wait())
        try:
            await asyncio.wait({over, idle}, return_when=asyncio.FIRST_COMPLETED)
            if not idle.done() and may_wait():
                await asyncio.wait({idle}, timeout=self.DRAIN_S)
        finally:
            await cancelled([over, idle])

    async def close(self) -> None:
        """Cancel the workers that are left."""
        await cancelled([*self._workers])
        self._is_idle.clear()
