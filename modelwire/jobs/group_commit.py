"""Commits records in groups: one sync for all that have come since the last one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor

from modelwire.errors import DiskError
from modelwire.jobs.store import Entry

__all__ = ["GroupCommit"]

GAP_S = 0.004  # between two syncs: a disk does a few hundred a second


class GroupCommit:
    """Hands entries to `write`, on one event loop; `disk` is an executor with one thread, which writes in order.

    `fail` hears of the `DiskError` behind which nothing is written any more (`has_failed`).
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
        """Take an entry for the next group."""
        self._entries.append(entry)
        self._dirty.set()

    async def committed(self) -> None:
        """Wait until all that has been added is synced."""
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
            except RuntimeError:  # the interpreter ends, and its executors have
                self._entries[:0] = entries
                return
            except DiskError as exc:
                self._fail(exc)
                return
            synced.set()
            await asyncio.sleep(GAP_S)

    def flush(self) -> None:
        """Write what is left when nothing is added any more."""
        if self.has_failed:
            return
        entries, self._entries = self._entries, []
        try:
            try:
                # Behind a write that may still be under way: the one thread of `disk` does them in order.
                self._disk.submit(self._written, entries).result()
            except RuntimeError:  # the interpreter ends, and its executors have
                self._written(entries)
        except DiskError as exc:
            self._fail(exc)

    def _written(self, entries: Sequence[Entry]) -> None:
        try:
            self._write(entries)
        except DiskError:
            self.has_failed = True
            raise
