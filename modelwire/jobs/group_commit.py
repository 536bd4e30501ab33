"""Commits records in groups, with one sync for all records that have arrived since the last one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor

from modelwire.errors import DiskError
from modelwire.jobs.store import Entry

__all__ = ["GroupCommit"]

# Two syncs are at least this far apart, because a disk can do a few hundred a second.
GAP_S = 0.004


class GroupCommit:
    """Passes entries to `write` in groups. `disk` is an executor with one thread, which writes them in order.

    `fail` is called with the `DiskError` after which nothing is written any more (`has_failed`).
    """

    def __init__(
        self,
        write: Callable[[Sequence[Entry]], None],
        disk: Executor,
        fail: Callable[[BaseException], None],
    ) -> None:
        self._write, self._disk, self._fail = write, disk, fail
        self._entries: list[Entry] = []
        self._dirty, self._synced = asyncio.Event(), asyncio.Event()
        self.has_failed = False

    def add(self, entry: Entry) -> None:
        """Add an entry to the next group."""
        self._entries.append(entry)
        self._dirty.set()

    async def committed(self) -> None:
        """Wait until all added entries are synced."""
        self._dirty.set()
        await self._synced.wait()

    async def run(self) -> None:
        """Write and sync groups until cancelled."""
        loop = asyncio.get_running_loop()
        while not self.has_failed:
            await self._dirty.wait()
            self._dirty.clear()
            entries, self._entries = self._entries, []
            synced, self._synced = self._synced, asyncio.Event()
            try:
                await asyncio.shield(loop.run_in_executor(self._disk, self._written, entries))
            except RuntimeError:
                # The interpreter is shutting down, and its executors have stopped.
                self._entries[:0] = entries
                return
            except DiskError as exc:
                self._fail(exc)
                return
            synced.set()
            await asyncio.sleep(GAP_S)

    def flush(self) -> None:
        """Write the remaining entries, after the last call of `add`."""
        if self.has_failed:
            return
        entries, self._entries = self._entries, []
        try:
            try:
                # An earlier write may still be running; the one thread of `disk` keeps the order.
                self._disk.submit(self._written, entries).result()
            except RuntimeError:
                # The interpreter is shutting down, and its executors have stopped.
                self._written(entries)
        except DiskError as exc:
            self._fail(exc)

    def _written(self, entries: Sequence[Entry]) -> None:
        try:
            self._write(entries)
        except DiskError:
            self.has_failed = True
            raise
