"""The rows and records of a run: which rows still need a call, and records committed in groups.

One sync covers all records that have arrived since the last one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

from modelwire.errors import DiskError, JobChanged
from modelwire.jobs.input_rows import Question
from modelwire.jobs.row_records import FAILED, UNKNOWN, Record, Results
from modelwire.jobs.rows import Source
from modelwire.jobs.store import Entry

# Two syncs are at least this far apart, because a disk can do a few hundred a second.
_GAP_S = 0.004

_NEW_JOB = "New rows go behind the last one. Put the {} back, or name another output, which begins a new job."


class RowStore:
    """Writes the `results` of a job in order, in the one thread of the executor `disk`.

    After the first `DiskError`, `has_failed` is True, and nothing is written any more.
    """

    def __init__(self, folder: Path, *, retry_failed: bool) -> None:
        self.results = Results(folder)
        self.disk = ThreadPoolExecutor(1, thread_name_prefix="modelwire-job")
        self.has_failed = False
        self._folder = folder
        self._retry_failed = retry_failed
        self._entries: list[Entry] = []
        self._dirty = asyncio.Event()
        self._synced = asyncio.Event()

    def is_open(self, number: int) -> bool:
        """Return whether a row has no result, or a failure that is to be retried."""
        state = self.results.state(number)
        return state == UNKNOWN or (state == FAILED and self._retry_failed)

    def has_result(self, question: Question) -> bool:
        """Return whether a row needs no call. Raises: `JobChanged` if the row has changed since its last call."""
        row = question.row
        if self.is_open(row.number):
            return False
        if self.results.agrees(row.number, question.check):
            return True
        text = f"Line {row.line} of the input is not what it was when `{self._folder}` had it"
        if self.results.state(row.number) == FAILED:
            raise JobChanged(
                f"{text}, and it failed: `retry_failed=True` (`--retry-failed`) asks it as it is now."
            )
        raise JobChanged(f"{text} answered. {_NEW_JOB.format('line')}")

    def check_source(self, source: Source) -> None:
        """Compare a changed input with the results. Raises: `JobChanged` if a row with a result has changed."""
        read = 0
        for row in islice(source, self.results.end):
            read += 1
            self.has_result(Question(row))
        source.close()
        self.check_enough(read)

    def check_enough(self, read: int) -> None:
        """Raise `JobChanged` if the input has fewer rows than have a result."""
        if read < self.results.end:
            raise JobChanged(
                f"The input has {read:,} rows and had {self.results.end:,} when `{self._folder}` had them answered. "
                f"{_NEW_JOB.format('rows')}"
            )

    def place(self, record: Record) -> None:
        """Add a record to the index, and to the next group that is written."""
        self._entries.append(self.results.place(record))
        self._dirty.set()

    async def committed(self) -> None:
        """Wait until all records that were placed are synced."""
        self._dirty.set()
        await self._synced.wait()

    async def on_disk(self, act: Callable[..., object], *args: Any) -> None:
        """Call `act(*args)` in the thread that writes, and wait for it. Cancelling the caller does not cancel it."""
        loop = asyncio.get_running_loop()
        await asyncio.shield(loop.run_in_executor(self.disk, act, *args))

    async def commit_groups(self, fail: Callable[[BaseException], None]) -> None:
        """Write and sync groups until cancelled. `fail` is called with the first `DiskError`."""
        while not self.has_failed:
            await self._dirty.wait()
            self._dirty.clear()
            entries = self._entries
            self._entries = []
            synced = self._synced
            self._synced = asyncio.Event()
            try:
                await self.on_disk(self._write, entries)
            except RuntimeError:
                # The interpreter is shutting down, and its executors have stopped.
                self._entries[:0] = entries
                return
            except DiskError as exc:
                fail(exc)
                return
            synced.set()
            await asyncio.sleep(_GAP_S)

    def flush(self, fail: Callable[[BaseException], None]) -> None:
        """Write the remaining records, after the last call of `place`."""
        if self.has_failed:
            return
        entries = self._entries
        self._entries = []
        try:
            try:
                # An earlier write may still be running; the one thread of `disk` keeps the order.
                self.disk.submit(self._write, entries).result()
            except RuntimeError:
                # The interpreter is shutting down, and its executors have stopped.
                self._write(entries)
        except DiskError as exc:
            fail(exc)

    def _write(self, entries: Sequence[Entry]) -> None:
        try:
            self.results.write(entries)
        except DiskError:
            self.has_failed = True
            raise

    def close(self) -> None:
        """End the thread and close the store."""
        self.disk.shutdown(wait=True)
        self.results.close()
