"""The transports of calls: subclasses of httpx2's, which take their connections from the pools of this package.

Tracing, cassettes and mocks replace `handle_request` and `handle_async_request` of httpx2's transport classes. The
subclasses inherit these methods, so such tools see every call. The pool behind them provides the connection, and gets
it back when the body is closed.

Loading httpx2 takes a fifth of the time of a short script. If no other code has loaded it, no tool can have replaced
its methods, so calls use the pool directly.
"""

from __future__ import annotations

import sys
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from modelwire.transport.connections.httpcore_internals import (
    close_after_this_answer,
    put_behind,
    reading_while_sending,
)
from modelwire.transport.connections.pools import async_pool, sync_pool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from modelwire.transport.connections.pools import AsyncPool, ClientSettings, Lease, SyncPool

__all__ = ["async_transport", "is_unwatched", "sync_transport"]


# A body of up to this many bytes is sent before a server can answer.
_LARGE_BYTES = 65_536


def is_unwatched(url: str) -> bool:
    """Return whether a call can use the pool directly: httpx2 is not loaded, and httpcore2 can parse `url`."""
    return "httpx2" not in sys.modules and url.isascii() and url.isprintable() and " " not in url


def sync_transport(settings: ClientSettings, *, unwatched: bool = False) -> Any:
    """Return the process's `httpx2.HTTPTransport` for `settings`, or the pool behind it."""
    pool = sync_pool(settings)
    if unwatched:
        return _SyncConnections(pool)
    if pool.transport is None:
        pool.transport = _transport_class("HTTPTransport")(_SyncConnections(pool))
    return pool.transport


async def async_transport(settings: ClientSettings, *, unwatched: bool = False) -> Any:
    """Return the running loop's `httpx2.AsyncHTTPTransport` for `settings`, or the pool behind it."""
    pool = await async_pool(settings)
    if unwatched:
        return _AsyncConnections(pool)
    if pool.transport is None:
        pool.transport = _transport_class("AsyncHTTPTransport")(_AsyncConnections(pool))
    return pool.transport


@cache
def _transport_class(name: str) -> Any:
    import httpx2

    def begin(transport: Any, connections: Any) -> None:
        put_behind(transport, connections)

    return type(f"Shared{name}", (getattr(httpx2, name),), {"__init__": begin})


@lru_cache(maxsize=1000)
def _authority(host: bytes, port: int | None) -> str:
    name = f"[{host.decode('ascii')}]" if b":" in host else host.decode("ascii")
    if port is None:
        return name
    return f"{name}:{port}"


class _SyncConnections:
    """Replaces httpcore2's `ConnectionPool` in a transport of httpx2."""

    def __init__(self, pool: SyncPool) -> None:
        self._pool = pool

    def handle_request(self, request: Any) -> Any:
        origin = _authority(request.url.host, request.url.port)
        lease = self._pool.lease(origin, request.extensions.get("timeout", {}).get("pool"))
        if lease is None:
            import httpcore2

            raise httpcore2.PoolTimeout
        try:
            response = lease.client.handle_request(request)
        except BaseException:  # Any error, even Ctrl-C, must release the place.
            lease.release()
            raise
        response.stream = _SyncBody(response, lease)
        return response


class _Body:
    """The body of an answer. `close` returns the connection to the pool, or drops it if bytes were left unread."""

    def __init__(self, response: Any, lease: Lease) -> None:
        self._stream = response.stream
        self._status = response.status
        self._lease: Lease | None = lease
        self._bytes: Any = None


class _SyncBody(_Body):
    def __iter__(self) -> Iterator[bytes]:
        body: Iterator[bytes] = iter(self._stream)
        self._bytes = body
        return body

    def close(self) -> None:
        lease = self._lease
        self._lease = None
        if lease is None:
            return
        try:
            if self._bytes is not None:
                self._bytes.close()
            close_after_this_answer(self._stream, self._status)
            if hasattr(self._stream, "close"):  # The stream of a mock may have no `close`.
                self._stream.close()
        except Exception:  # After an ordinary error the connection's state is known.
            raise
        except BaseException:
            # After Ctrl-C in the middle of closing, the connection may look idle but cannot be used.
            lease.client.close()
            raise
        finally:
            lease.release()


class _AsyncConnections:
    """Replaces httpcore2's `AsyncConnectionPool` in a transport of httpx2."""

    def __init__(self, pool: AsyncPool) -> None:
        self._pool = pool

    async def handle_async_request(self, request: Any) -> Any:
        lease = await self._pool.lease(_authority(request.url.host, request.url.port))
        if (
            request.extensions.get("body_bytes", 0) > _LARGE_BYTES
            and "trace" not in request.extensions
        ):
            request.extensions = {
                **request.extensions,
                "trace": reading_while_sending(lease.client),
            }
        try:
            response = await lease.client.handle_async_request(request)
        except BaseException:  # Any error, even a cancellation, must release the place.
            lease.release()
            raise
        response.stream = _AsyncBody(response, lease)
        return response


class _AsyncBody(_Body):
    def __aiter__(self) -> AsyncIterator[bytes]:
        body: AsyncIterator[bytes] = aiter(self._stream)
        self._bytes = body
        return body

    async def aclose(self) -> None:
        lease = self._lease
        self._lease = None
        if lease is None:
            return
        try:
            if self._bytes is not None:
                await self._bytes.aclose()
            close_after_this_answer(self._stream, self._status)
            if hasattr(self._stream, "aclose"):
                await self._stream.aclose()
        finally:
            lease.release()
