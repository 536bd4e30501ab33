"""Identical calls at the same time: the first one flies, the others wait for what it brings.

A flight that brings nothing (it failed, it was cancelled) wakes its followers all the same: one of them flies next.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

__all__ = ["Flight", "find", "join"]


class Flight:
    """One call that others may wait for. `result` is None until it has landed well."""

    def __init__(self, key: tuple[Any, ...], *, on_loop: bool, loop_native: bool) -> None:
        self.result: Any = None
        self._key = key
        self._thread = threading.get_ident()
        # A thread may wait for another thread's call, and for one on an event loop that needs no thread to go on:
        # were all threads of a pool waiting for a call that stands in that pool's queue, none would ever end.
        self._frees_threads = loop_native or not on_loop
        self._landed = False
        self._waiters: list[Callable[[], None]] = []
        self._lock = threading.RLock()  # re-entrant: the garbage collector may end a call at any place

    def land(self, result: Any = None) -> None:
        """Tell everybody that waits what came of it; the first call counts."""
        with _board_lock:
            if _board.get(self._key) is self:
                del _board[self._key]
        with self._lock:
            if self._landed:
                return
            self._landed, self.result = True, result
            waiters, self._waiters = self._waiters, []
        for wake in waiters:
            wake()

    def may_be_awaited_by_thread(self) -> bool:
        """Tell whether the calling thread may stand still until this flight lands."""
        return self._frees_threads and self._thread != threading.get_ident()

    def wait(self, timeout_s: float | None) -> None:
        """Stand still until it has landed, or for `timeout_s`."""
        landed = threading.Event()
        self._when_landed(landed.set)
        landed.wait(timeout_s)

    async def await_landing(self) -> None:
        """Wait on this event loop until it has landed."""
        import asyncio

        loop = asyncio.get_running_loop()
        landed = loop.create_future()

        def reached() -> None:
            if not landed.done():
                landed.set_result(None)

        def wake() -> None:
            try:
                loop.call_soon_threadsafe(reached)
            except RuntimeError:  # the loop has been closed: nobody waits there any more
                pass

        self._when_landed(wake)
        await landed

    def _when_landed(self, wake: Callable[[], None]) -> None:
        with self._lock:
            if not self._landed:
                self._waiters.append(wake)
                return
        wake()


_board: dict[tuple[Any, ...], Flight] = {}  # the flights in the air
_board_lock = threading.RLock()


def find(key: tuple[Any, ...]) -> Flight | None:
    """Return the flight of `key`, if there is one."""
    return _board.get(key)


def join(key: tuple[Any, ...], *, on_loop: bool, loop_native: bool) -> tuple[Flight, bool]:
    """Return the flight of `key`, and whether it is the caller's to fly."""
    with _board_lock:
        found = _board.get(key)
        if found is not None:
            return found, False
        flight = _board[key] = Flight(key, on_loop=on_loop, loop_native=loop_native)
        return flight, True


def _after_fork() -> None:
    """Forget the flights of the parent: their threads are not here."""
    global _board_lock
    _board_lock = threading.RLock()
    _board.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
