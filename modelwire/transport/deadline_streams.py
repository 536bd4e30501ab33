"""Sockets that end with their call: the only I/O is httpcore2's.

httpcore2 takes one limit for a try and grants it to every read anew, so a server that trickles header lines could hold
a call past its deadline; an async call has `asyncio.timeout` around all of it. A `Limit` carries the deadline along.
And where an async call is cancelled while it shakes hands for TLS, httpcore2 forgets the socket and does not close it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["DeadlineBackend", "HandshakeBackend", "Limit"]

_SHORTEST_S = 0.001  # 0 would make the socket a non-blocking one


class Limit(float):
    """Seconds of silence, and at the same time never more than is left of the call."""

    __slots__ = ("remaining_s",)
    remaining_s: Callable[[], float | None]  # raises where nothing is left

    @classmethod
    def of(cls, silence_s: float, remaining_s: Callable[[], float | None]) -> Limit:
        limit = cls(silence_s)
        limit.remaining_s = remaining_s
        return limit

    def now(self) -> float:
        """Return what it is at this moment. Raises where nothing is left."""
        left_s = self.remaining_s()
        return float(self) if left_s is None else max(min(self, left_s), _SHORTEST_S)


class DeadlineBackend:
    """httpcore2's sync backend; its streams look at the clock before every read and write."""

    def __init__(self) -> None:
        import httpcore2

        self._backend = httpcore2.SyncBackend()

    def connect_tcp(self, *args: Any, **kwargs: Any) -> _Stream:
        return _Stream(self._backend.connect_tcp(*args, **kwargs))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)


class _Stream:
    __slots__ = ("_stream", "close", "get_extra_info")

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.close, self.get_extra_info = stream.close, stream.get_extra_info

    def read(self, max_bytes: int, timeout: float | None = None) -> Any:
        return self._stream.read(max_bytes, timeout.now() if type(timeout) is Limit else timeout)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, timeout.now() if type(timeout) is Limit else timeout)

    def start_tls(self, *args: Any, **kwargs: Any) -> _Stream:
        return _Stream(self._stream.start_tls(*args, **kwargs))


class HandshakeBackend:
    """httpcore2's async backend; a handshake that is cancelled closes its socket."""

    def __init__(self) -> None:
        import httpcore2

        self._backend = httpcore2.AnyIOBackend()

    async def connect_tcp(self, *args: Any, **kwargs: Any) -> _Handshake:
        return _Handshake(await self._backend.connect_tcp(*args, **kwargs))


class _Handshake:
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def start_tls(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return await self._stream.start_tls(*args, **kwargs)
        except BaseException:  # cancelled, too: httpcore2 does not have the stream yet, and would not close it
            from anyio import aclose_forcefully

            await aclose_forcefully(self._stream)
            raise
