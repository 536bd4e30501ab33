"""Coalesces identical concurrent calls: the first one is made, the others wait for its answer.

A call waits for an identical one on its own event loop or in another thread. It does not wait for one on another event
loop, which may be blocked until this call is done, as when code on that loop calls `batch`.
A call that ends without an answer (it failed or was cancelled) wakes the calls that wait for it, and one of them is
made. So does a stream whose reader has read nothing for a while, because that reader may itself wait for this call.
"""

from __future__ import annotations

import threading
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any

from modelwire import forks

if TYPE_CHECKING:
    import asyncio

# A stream whose reader has read nothing for this long is no longer waited for.
_READER_S = 1.0


class PendingCall:
    """One call that others may wait for."""

    def __init__(self, key: tuple[Any, ...], *, loop: asyncio.AbstractEventLoop | None) -> None:
        from concurrent.futures import Future

        self._key = key
        self._thread = threading.get_ident()
        self._loop = loop
        # When the reader of a stream got its last chunk (`monotonic`); infinity while the provider is waited for.
        self.reader_since = inf
        self._ended: Future[Any] = Future()
        # A waiting call that is cancelled cannot cancel a future that is running.
        self._ended.set_running_or_notify_cancel()

    @property
    def result(self) -> Any:
        """The answer; None if the call has not ended, or has ended without one."""
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

    def reader_left_s(self) -> float:
        """Return for how long the reader of a stream may still read nothing; it has stopped if this is not above 0."""
        return min(self.reader_since + _READER_S - monotonic(), _READER_S)

    def wait(self, deadline: float | None) -> None:
        """Block until the call has ended or its reader has stopped, or until `deadline` (`monotonic`)."""
        from concurrent.futures import wait

        wait_s = inf
        while wait_s > 0 and not self._ended.done():
            wait_s = min(self.reader_left_s(), (deadline or inf) - monotonic())
            wait([self._ended], max(wait_s, 0.0))

    async def await_result(self) -> None:
        """Wait on this event loop until the call has ended or its reader has stopped."""
        import asyncio

        ended = asyncio.wrap_future(self._ended)
        try:
            while not self._ended.done() and (wait_s := self.reader_left_s()) > 0:
                await asyncio.wait([ended], timeout=wait_s)
        finally:
            ended.cancel()


_pending: dict[tuple[Any, ...], PendingCall] = {}
_pending_lock = threading.RLock()


def join(
    key: tuple[Any, ...], *, loop: asyncio.AbstractEventLoop | None
) -> tuple[PendingCall, bool]:
    """Return the pending call of `key`, and True if it is new, so that the caller has to make it.

    The caller makes it on the event loop `loop`, or in its own thread if that is None. It replaces a stream whose
    reader has stopped.
    """
    with _pending_lock:
        found = _pending.get(key)
        if found is not None:
            if found.reader_left_s() > 0:
                return found, False
            found.resolve()
        made = _pending[key] = PendingCall(key, loop=loop)
        return made, True


@forks.in_child
def _after_fork() -> None:
    """Forget the parent's calls, whose threads a forked child does not have."""
    global _pending_lock
    _pending_lock = threading.RLock()
    _pending.clear()
