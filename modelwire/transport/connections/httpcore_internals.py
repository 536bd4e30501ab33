"""Uses private names of httpx2 and httpcore2 (release 2.16.2); no other file of this package does.

httpx 0.28 and its httpcore have the same names, which matters for a user's own client of httpx.

The public names do not cover seven things: to replace the pool behind a transport, to see bytes that were read but
belong to no answer, to mark a connection as not reusable, to find its streams, to read while sending, to wrap the
streams of all bytes, and to learn which cookies a jar accepts (the standard library's). `test_private_names.py` fails
if a release changes a name.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelwire.transport.connections.keepalive import SocketOptions

__all__ = [
    "bytes_left_over",
    "close_after_this_answer",
    "closing_where_bytes_follow",
    "cookie_policy_of",
    "network_classes",
    "put_behind",
    "reading_while_sending",
    "set_socket_options",
]


def put_behind(transport: Any, pool: Any) -> None:
    """Make an `HTTPTransport` or `AsyncHTTPTransport` take its connections from `pool`."""
    transport._pool = pool


def set_socket_options(transport: Any, options: SocketOptions) -> None:
    """Set the socket options of all connections that an `HTTPTransport` or `AsyncHTTPTransport` opens.

    The transport's own argument for them has no effect on connections to a proxy.
    """
    pool = transport._pool
    pool._network_backend = _OptionsBackend(pool._network_backend, options)


class _OptionsBackend:
    """A backend of httpcore2, sync or async, whose TCP connections have socket options."""

    def __init__(self, backend: Any, options: SocketOptions) -> None:
        self._backend = backend
        self._options = options

    def connect_tcp(self, *args: Any, **kwargs: Any) -> Any:
        return self._backend.connect_tcp(*args, **{**kwargs, "socket_options": self._options})

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)


def bytes_left_over(connection: Any) -> bool:
    """Return whether unread bytes follow the last answer, which the next call would read as its answer.

    httpcore2 checks only the socket, but anyio may have read bytes that arrived with the answer or right after it;
    under TLS these are mostly the server's closing message.
    """
    return _is_read_ahead(getattr(connection, "_connection", None))


def _is_read_ahead(connection: Any) -> bool:
    stream = getattr(getattr(connection, "_network_stream", None), "_stream", None)
    if stream is None:  # A sync connection reads no more than it is asked for.
        return False
    encrypted = getattr(stream, "_read_bio", None)
    if encrypted is not None and encrypted.pending:
        return True
    plain = getattr(stream, "transport_stream", stream)
    protocol = getattr(plain, "_protocol", None)
    return bool(getattr(protocol, "read_queue", None))


def close_after_this_answer(stream: Any, status: int) -> None:
    """Close a connection after this answer if more bytes follow it, or if a 425 demands a new connection.

    The next call would read those bytes as its answer: httpcore2 checks the socket only, not the bytes that it has read
    already. The state of h11 makes the connection close. RFC 8470, 5.2, defines the 425.
    """
    connection = getattr(stream, "_connection", None)
    protocol = getattr(connection, "_h11_state", None)
    if protocol is not None and (
        protocol.trailing_data[0] or status == 425 or _is_read_ahead(connection)
    ):
        protocol.send_failed()


def closing_where_bytes_follow(response: Any) -> None:
    """Make the connection of a client close after this open answer if more bytes follow it.

    The body is wrapped in nested streams: httpx2's, the pool's, and the connection's. The innermost is replaced by one
    that checks for such bytes before it closes. With a transport of the user that nests others, nothing changes.
    """
    of_pool = getattr(getattr(response.stream, "_stream", None), "_httpcore_stream", None)
    if of_pool is None:
        return
    stream = getattr(of_pool, "_stream", None)
    if hasattr(stream, "_connection"):
        of_pool._stream = _CheckedStream(stream, response.status_code)


class _CheckedStream:
    """The body of an answer; when it is closed and more bytes follow, its connection is closed, too."""

    def __init__(self, stream: Any, status: int) -> None:
        self._body = stream
        self._status = status

    def __iter__(self) -> Any:
        return iter(self._body)

    def __aiter__(self) -> Any:
        return aiter(self._body)

    def close(self) -> None:
        close_after_this_answer(self._body, self._status)
        self._body.close()

    async def aclose(self) -> None:
        close_after_this_answer(self._body, self._status)
        await self._body.aclose()


def cookie_policy_of(jar: Any) -> Any:
    """Return the policy by which a `http.cookiejar.CookieJar` decides which cookies it accepts."""
    return getattr(jar, "_policy", None)


def reading_while_sending(connection: Any) -> Callable[[str, object], Awaitable[None]]:
    """Return a `trace` for a request that makes an async connection read the answer while it sends the body.

    anyio reads only when a reader waits. A server that refuses a large body answers and may reset the connection
    before the whole body was sent; an answer that was not read by then is lost.
    """

    async def trace(event: str, _: object) -> None:
        if event == "http11.send_request_body.started":
            stream = connection._connection._network_stream._stream
            getattr(stream, "transport_stream", stream)._transport.resume_reading()

    return trace


def network_classes() -> list[type]:
    """Return the classes that open connections and write to them: httpcore2's, and httpcore's if httpx is loaded."""
    import httpcore2

    libraries: list[Any] = [httpcore2]
    if "httpx" in sys.modules:
        import httpcore

        libraries.append(httpcore)
    found = []
    for library in libraries:
        streams = library._backends.sync
        found += [
            library.SyncBackend,
            library.AnyIOBackend,
            streams.SyncStream,
            streams.TLSinTLSStream,
        ]
        found.append(importlib.import_module(f"{library.__name__}._backends.anyio").AnyIOStream)
    return found
