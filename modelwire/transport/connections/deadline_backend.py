"""Sockets that obey the deadline of their call. All I/O is httpcore2's.

httpcore2 applies one timeout to every read, so a server that sends header lines slowly could hold a call past its
deadline; a `Limit` carries the deadline to each read. (Async calls have `asyncio.timeout` around all of it.) Connecting
has the same problem: each address of a name would get the whole timeout, and the lookup of the name has none. If an
async call is cancelled during a TLS handshake, httpcore2 does not close the socket; this backend does.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

from modelwire.transport.connections.closed_network import refuse_to_leave

__all__ = ["DeadlineBackend", "HandshakeBackend", "Limit"]

# The shortest timeout of a read or write: 0 would make the socket non-blocking.
_SHORTEST_S = 0.001


class Limit(float):
    """A timeout of reads and writes in seconds, which shrinks with the time left until the call's deadline."""

    __slots__ = ("remaining_s",)
    remaining_s: Callable[[], float | None]  # It raises after the deadline.

    @classmethod
    def of(cls, silence_s: float, remaining_s: Callable[[], float | None]) -> Limit:
        limit = cls(silence_s)
        limit.remaining_s = remaining_s
        return limit

    def now(self) -> float:
        """Return the timeout at this moment in seconds. Raises after the call's deadline."""
        left_s = self.remaining_s()
        if left_s is None:
            return float(self)
        return max(min(self, left_s), _SHORTEST_S)


class DeadlineBackend:
    """httpcore2's sync backend, with streams that compute the timeout of every read and write."""

    def __init__(self) -> None:
        import httpcore2

        self._backend = httpcore2.SyncBackend()

    def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, **kwargs: Any
    ) -> _Stream:
        """Try the addresses of `host` one after the other; each gets its share of the time that is left."""
        import httpcore2

        refuse_to_leave(host)  # This comes before the name is looked up.
        if timeout is None:
            return _Stream(self._backend.connect_tcp(host, port, **kwargs))
        until = monotonic() + (timeout.now() if type(timeout) is Limit else timeout)
        addresses = _addresses(host, port, until - monotonic())
        for position, address in enumerate(addresses):
            share_s = max((until - monotonic()) / (len(addresses) - position), _SHORTEST_S)
            try:
                return _Stream(self._backend.connect_tcp(address, port, timeout=share_s, **kwargs))
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as exc:
                failure = exc
        raise failure

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)


class _Stream:
    __slots__ = ("_stream", "close", "get_extra_info")

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.close = stream.close
        self.get_extra_info = stream.get_extra_info

    def read(self, max_bytes: int, timeout: float | None = None) -> Any:
        return self._stream.read(max_bytes, timeout.now() if type(timeout) is Limit else timeout)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if buffer:  # httpcore2 writes the end of a request as an empty buffer.
            self._stream.write(buffer, timeout.now() if type(timeout) is Limit else timeout)

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> _Stream:
        limit_s = timeout.now() if type(timeout) is Limit else timeout
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, limit_s))


def _addresses(host: str, port: int, limit_s: float) -> list[str]:
    """Return the addresses of `host`. The look-up runs in a thread, because it cannot be timed out otherwise."""
    import httpcore2

    if ":" in host or host.rpartition(".")[2].isdigit():  # It is an address already.
        return [host]
    import socket
    from queue import Empty, SimpleQueue
    from threading import Thread

    found: SimpleQueue[list[str] | Exception] = SimpleQueue()

    def look_up() -> None:
        try:
            infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found.put(list(dict.fromkeys(str(info[4][0]) for info in infos)))
        except Exception as exc:  # noqa: BLE001 - raised in the calling thread
            found.put(exc)

    Thread(target=look_up, name="modelwire-look-up", daemon=True).start()
    try:
        addresses = found.get(timeout=max(limit_s, _SHORTEST_S))
    except Empty:
        raise httpcore2.ConnectTimeout("the name was not looked up in time") from None
    if isinstance(addresses, OSError):
        raise httpcore2.ConnectError(addresses) from addresses
    if isinstance(addresses, Exception):
        raise addresses
    return addresses


class HandshakeBackend:
    """httpcore2's async backend, which closes the socket if a TLS handshake is cancelled."""

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
        except BaseException:
            # Even after a cancellation: httpcore2 does not have the stream yet, so it would not close it.
            from anyio import aclose_forcefully

            await aclose_forcefully(self._stream)
            raise
