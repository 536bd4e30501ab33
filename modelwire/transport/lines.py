"""The open line of one call: the only code that touches an HTTP client. One class a colour, what they share above.

A line sends the exchange's request, as often as it is told to, and reads the answer that is open on it.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any, cast

from modelwire.errors import ChatError, InvalidArgument
from modelwire.transport.failures import error_of
from modelwire.transport.pools import AsyncPool, ClientSettings, Lease, SyncPool, async_pool, sync_pool
from modelwire.transport.wire import Reply

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    from modelwire.transport.flow import Exchange, Send

__all__ = ["AsyncLine", "SyncLine", "origin_of"]

_CLOCK_SLACK_S = 0.001  # a timer may ring this early
_urls: dict[str, Any] = {}  # parsed once: a URL of httpx2 costs more than its request


class _Line:
    """What both colours know. `client` is the user's own, or None for the shared pool."""

    engine = "httpx2"

    def __init__(self, exchange: Exchange[Any, Any], client: Any = None, *, proxy: str | None = None) -> None:
        self._exchange = exchange
        self._client = client
        direct = proxy is None and _is_loopback(exchange.url)
        self._settings = ClientSettings(exchange.url.startswith("https:"), proxy, direct, self.engine)
        self._timeout: dict[str, float] = {}

    def _request(self, client: Any, step: Send) -> Any:
        """Build the request; its timeout stays ours to change while the answer comes in."""
        exchange, patience = self._exchange, self._exchange.timeouts
        left_s = step.remaining_s
        self._timeout = {
            "connect": patience.connect_s if left_s is None else min(patience.connect_s, left_s),
            "read": patience.first_byte_s if left_s is None else min(patience.first_byte_s, left_s),
            "write": patience.first_byte_s if left_s is None else min(patience.first_byte_s, left_s),
            "pool": patience.first_byte_s,
        }
        extensions = {"timeout": self._timeout}
        if client is self._client:
            return client.build_request(
                "POST", exchange.url, headers=exchange.headers, content=exchange.content, extensions=extensions
            )
        import httpx2

        url = _urls.get(exchange.url)
        if url is None:
            url = httpx2.URL(exchange.url)
            if len(_urls) < 1000:  # a program has a handful; never let a hostile one grow it
                _urls[exchange.url] = url
        return httpx2.Request("POST", url, headers=exchange.headers, content=exchange.content, extensions=extensions)

    def _body_begins(self) -> None:
        """From now on the answer may be silent for `idle_s`, not for `first_byte_s`."""
        left_s = self._exchange.remaining_s()
        idle_s = self._exchange.timeouts.idle_s
        self._timeout["read"] = idle_s if left_s is None else min(idle_s, left_s)

    def failure(self, exc: Exception) -> Exception:
        """Return what `exc` is in our words; `exc` itself where it is nothing of the wire."""
        exchange = self._exchange
        if isinstance(exc, (ChatError, InvalidArgument)):
            return exc
        timed_out = isinstance(exc, TimeoutError) or "Timeout" in type(exc).__name__
        if timed_out and exchange.deadline is not None and exchange.clock() >= exchange.deadline - _CLOCK_SLACK_S:
            # Whichever clock rang: at the call's own deadline, that is what has happened.
            return _because(exchange.out_of_time(), exc)
        error = error_of(exc, origin=origin_of(exchange.url))
        return exc if error is None else _because(error, exc)


class SyncLine(_Line):
    """A line over a sync client."""

    _lease: Lease[Any] | None = None
    _response: Any = None
    _bytes: Generator[bytes] = cast("Any", None)  # the body, while it is open

    def send(self, step: Send) -> Reply:
        client = self._client or self._open().client
        request = self._request(client, step)
        began = monotonic()
        # With a deadline the body is read piece by piece, so that a slow trickle cannot outlast it.
        in_pieces = step.stream or step.remaining_s is not None
        self._response = response = client.send(request, stream=in_pieces, follow_redirects=False)
        body = b""
        if in_pieces:
            self._body_begins()
            self._bytes = response.iter_bytes()
            if not step.stream:
                body = b"".join(iter(self.read, None))
        else:
            body = response.content
        if not step.stream:
            self.close()
        return Reply(response.status_code, response.headers, body, self._exchange.url, monotonic() - began)

    def read(self) -> bytes | None:
        data = next(self._bytes, None)
        self._exchange.remaining_s()
        return data

    def close(self) -> None:
        """Give the connection back, or drop it where the answer was not read to its end."""
        response, self._response = self._response, None
        body, self._bytes = self._bytes, cast("Any", None)
        lease, self._lease = self._lease, None
        try:
            if body is not None:
                body.close()
            if response is not None:
                response.close()
        finally:
            if lease is not None:
                lease.release()

    def _open(self) -> Lease[Any]:
        pool: SyncPool = sync_pool(self._settings)
        self._lease = pool.lease(self._exchange.remaining_s())
        if self._lease is None:
            raise self._exchange.out_of_time()
        return self._lease


class AsyncLine(_Line):
    """A line over an async client."""

    _lease: Lease[Any] | None = None
    _response: Any = None
    _bytes: AsyncGenerator[bytes] = cast("Any", None)  # the body, while it is open

    async def send(self, step: Send) -> Reply:
        if step.remaining_s is None:
            return await self._send(step)
        from asyncio import timeout

        async with timeout(step.remaining_s):
            return await self._send(step)

    async def _send(self, step: Send) -> Reply:
        client = self._client or (await self._open()).client
        request = self._request(client, step)
        began = monotonic()
        self._response = response = await client.send(request, stream=step.stream, follow_redirects=False)
        body = b""
        if step.stream:
            self._body_begins()
            self._bytes = response.aiter_bytes()
        else:
            body = response.content
            await self.close()
        return Reply(response.status_code, response.headers, body, self._exchange.url, monotonic() - began)

    async def read(self) -> bytes | None:
        left_s = self._exchange.remaining_s()
        if left_s is None:
            return await anext(self._bytes, None)
        from asyncio import timeout

        async with timeout(left_s):
            return await anext(self._bytes, None)

    async def close(self) -> None:
        """Give the connection back, or drop it where the answer was not read to its end."""
        response, self._response = self._response, None
        body, self._bytes = self._bytes, cast("Any", None)
        lease, self._lease = self._lease, None
        try:
            if body is not None:
                await body.aclose()
            if response is not None:
                await response.aclose()
        finally:
            if lease is not None:
                lease.release()

    async def _open(self) -> Lease[Any]:
        pool: AsyncPool = await async_pool(self._settings)
        self._lease = await pool.lease()
        return self._lease


def _because(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def _is_loopback(url: str) -> bool:
    """Whether a URL is this machine's own: no proxy can reach that, so none is asked, `NO_PROXY` or not."""
    return origin_of(url).startswith(("127.0.0.1", "localhost", "[::1]"))


def origin_of(url: str) -> str:
    """`host:port` of a URL, without user, password, path or query."""
    return url.partition("://")[2].partition("/")[0].partition("?")[0].rpartition("@")[2]
