"""Identical calls at the same time: the first one is made, the others wait for its answer.

A call waits for one on its own event loop or one that another thread makes. For one on another loop it does not: that
loop may stand still until the call is done, as when code on it calls `batch`.
A call that ends without an answer (it failed, it was cancelled) wakes its followers all the same: one of them is next.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from modelwire import forks

if TYPE_CHECKING:
    import asyncio


class PendingCall:
    """One call that others may wait for."""

    def __init__(self, key: tuple[Any, ...], *, loop: asyncio.AbstractEventLoop | None) -> None:
        from concurrent.futures import Future

        self._key = key
        self._thread = threading.get_ident()
        self._loop = loop
        self._ended: Future[Any] = Future()
        self._ended.set_running_or_notify_cancel()  # so that one that no longer waits does not cancel it

    @property
    def result(self) -> Any:
        """The answer; None while there is none, and for a call that ended without one."""
        return self._ended.result() if self._ended.done() else None

    def resolve(self, result: Any = None) -> None:
        """Set the result and wake all waiting calls; only the first call has an effect."""
        with _pending_lock:
            if _pending.get(self._key) is self:
                del _pending[self._key]
        if not self._ended.done():
            self._ended.set_result(result)

    def may_be_awaited(self, loop: asyncio.AbstractEventLoop | None) -> bool:
        """Return whether this call can end while the caller waits: on `loop`, or, if None, by blocking its thread."""
        if self._loop is not None:
            return self._loop is loop
        return self._thread != threading.get_ident()

    def wait(self, timeout_s: float | None) -> None:
        """Block until the call has ended, or for `timeout_s`."""
        from concurrent.futures import wait

        wait([self._ended], timeout_s)

    async def await_result(self) -> None:
        """Wait on this event loop until the call has ended."""
        import asyncio

        await asyncio.wrap_future(self._ended)


_pending: dict[tuple[Any, ...], PendingCall] = {}
_pending_lock = threading.RLock()


def find(key: tuple[Any, ...]) -> PendingCall | None:
    """Return the pending call of `key`, if there is one."""
    return _pending.get(key)


def join(
    key: tuple[Any, ...], *, loop: asyncio.AbstractEventLoop | None
) -> tuple[PendingCall, bool]:
    """Return the pending call of `key`, and whether the caller is to make it: on `loop`, or with None in its thread."""
    with _pending_lock:
        found = _pending.get(key)
        if found is not None:
            return found, False
        made = _pending[key] = PendingCall(key, loop=loop)
        return made, True


@forks.in_child
def _after_fork() -> None:
    """Forget the calls of the parent: their threads are not here."""
    global _pending_lock
    _pending_lock = threading.RLock()
    _pending.clear()
