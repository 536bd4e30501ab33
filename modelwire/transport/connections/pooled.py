"""The connection of one call, sync or async: it sends requests over the shared pools and reads their answers.

A connection sends the exchange's request, as often as its flow asks, and reads the answer that is open. These two
classes use a transport of httpx2 with our shared pools behind it, but no client of httpx2, because a chat call needs no
cookies, redirects or event hooks. Other connections are in `user_client`, `sdk_client` and `aiohttp_engine`.
"""

from __future__ import annotations

import logging
import sys
from functools import lru_cache
from time import sleep
from types import coroutine
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import urlsplit

from modelwire.errors import ChatError, ConnectFailed, InvalidArgument
from modelwire.transport.connections.address import address_of, unlogged
from modelwire.transport.connections.body import Whole, joined, unpacking
from modelwire.transport.connections.pools import (
    AsyncPool,
    ClientSettings,
    Lease,
    SyncPool,
    async_pool,
    sync_pool,
    trust_names,
)
from modelwire.transport.connections.proxies import proxy_of, unreachable_proxy
from modelwire.transport.connections.shared_transport import (
    async_transport,
    is_unwatched,
    sync_transport,
)
from modelwire.transport.failures import error_of, unsendable
from modelwire.transport.ratelimit.waiting import await_wake, wait_for_wake
from modelwire.transport.wire import Reply

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping

    from modelwire.transport.connections.body import Unpacking
    from modelwire.transport.steps import AnyExchange, Send, Wait

__all__ = ["AsyncPooledConnection", "PooledConnection", "SyncPooledConnection"]

T = TypeVar("T")

# A timer may fire this much before its time.
_CLOCK_SLACK_S = 0.001
_NO_BODY: Any = None  # The body of a connection that has none open.


class PooledConnection:
    """The base of sync and async connections. `client` is the user's own, or None for the shared pools."""

    engine = "core"
    is_async = False

    def __init__(
        self, exchange: AnyExchange, client: Any = None, *, proxy: str | None = None
    ) -> None:
        self.exchange = exchange
        self.client = client
        self.address = address = address_of(exchange.url)
        self._proxy = proxy
        exchange.client = client, proxy
        if client is None:  # A client of the user's own has settings of its own.
            self._settings = ClientSettings(
                address.secure,
                proxy,
                self.engine,
                trust_names() if address.secure else None,
                exchange.policy.timeouts.keepalive,
            )
        # A client of another engine connects to any origin.
        self._origin = address.authority if self.engine == "core" else ""
        self._timeout: dict[str, float | None] = {}
        self._lease: Lease | None = None
        self._response: Any = None
        self._unpacking: Unpacking | None = None

    def _host(self) -> str:
        return urlsplit(self.address.url).hostname or ""

    def _library(self) -> str:
        """Return the name of the library whose connections the call uses."""
        modules = (cls.__module__.partition(".")[0] for cls in type(self.client).__mro__)
        if self.engine == "aiohttp":
            return "aiohttp"
        if "httpx" in modules:
            return "httpx"
        return "httpx2"

    def headers(self) -> Mapping[str, str]:
        """Return the headers to send; a user and password in the URL are used if no header authenticates the call."""
        headers = self.exchange.headers
        if self.address.basic is None or "authorization" in map(str.lower, headers):
            return headers
        return {**headers, "Authorization": self.address.basic}

    def timeout(self) -> dict[str, float | None]:
        """Return the timeouts of an attempt as a dict, which is changed later, when the body begins."""
        timeouts = self.exchange.policy.timeouts
        left_s = self.exchange.remaining_s()
        connect_s = timeouts.connect_s
        limit_s = first_byte_s = timeouts.first_byte_s
        if left_s is not None:
            connect_s = self._limit(min(connect_s, left_s))
            first_byte_s = min(first_byte_s, left_s)
            limit_s = self._limit(first_byte_s)
        # A call waits for a place in our pools until its deadline.
        pool_s = left_s if self.engine == "core" else first_byte_s
        self._timeout = {"connect": connect_s, "read": limit_s, "write": limit_s, "pool": pool_s}
        return self._timeout

    def _request(self, *, unwatched: bool) -> Any:
        exchange = self.exchange
        sent = self.headers()
        url = (_core_url if unwatched else _url)(self.address.url)
        headers = [(b"Content-Length", b"%d" % len(exchange.content))]
        try:
            if "host" not in map(str.lower, sent):
                headers.insert(
                    0,
                    (b"Host", self.address.authority.encode("ascii") if unwatched else url.netloc),
                )
            headers += [
                (name.encode("ascii"), value.encode("ascii")) for name, value in sent.items()
            ]
        except UnicodeEncodeError as exc:
            raise unsendable(exc, origin=self.address.authority) from None
        extensions: dict[str, Any] = {
            "timeout": self.timeout(),
            "body_bytes": len(exchange.content),
        }
        if unwatched:
            import httpcore2

            request: Any = httpcore2.Request(
                exchange.method.encode(), url, content=exchange.content, extensions=extensions
            )
            request.headers = headers  # The constructor would check each of them.
            return request
        import httpx2

        body = httpx2.ByteStream(exchange.content)
        request = httpx2.Request(
            exchange.method, url, headers=headers, stream=body, extensions=extensions
        )
        request.url = url  # The text of this URL omits the query.
        return request

    def _head(self, response: Any) -> Reply:
        """Return the status and the headers of an answer, and prepare to decompress its body."""
        watched = hasattr(response, "status_code")
        if watched:
            status = response.status_code
            raw = response.headers.raw
        else:
            status = response.status
            raw = response.headers
        headers = {name.decode("ascii").lower(): value.decode("latin-1") for name, value in raw}
        # The status already identifies an error, so its body need not decompress: see `strict`.
        self._unpacking = self._unpacking_of(headers.get("content-encoding"), status)
        return Reply(status, headers)

    def _unpacking_of(self, encoding: str | None, status: int) -> Unpacking | None:
        return unpacking(
            encoding, strict=200 <= status < 300, max_bytes=self.exchange.policy.max_response_bytes
        )

    def _body_begins(self) -> None:
        """Apply the timeout `idle_s` from now on, in place of `first_byte_s`."""
        left_s = self.exchange.remaining_s()
        idle_s = self.exchange.policy.timeouts.idle_s
        if left_s is not None:
            idle_s = self._limit(min(idle_s, left_s))
        self._timeout["read"] = idle_s

    def _limit(self, silence_s: float) -> float:
        """Return the timeout of one read or write of a call with a deadline."""
        return silence_s

    def _unpacked(self, data: bytes | None) -> bytes | None:
        if self._unpacking is None:
            return data
        if data is None:
            self._unpacking.check_end()
            return None
        return self._unpacking.feed(data)

    def failure(self, exc: Exception) -> Exception:
        """Return the error of this package for `exc`; `exc` itself if it is not an error of a connection."""
        exchange = self.exchange
        if isinstance(exc, (ChatError, InvalidArgument)):
            return exc.with_traceback(None)  # Its frames hold headers.
        while isinstance(exc, ExceptionGroup):  # Connecting to several addresses raises one.
            exc = exc.exceptions[0]
        timed_out = isinstance(exc, TimeoutError) or "Timeout" in type(exc).__name__
        if (
            timed_out
            and exchange.deadline is not None
            and exchange.clock() >= exchange.deadline - _CLOCK_SLACK_S
        ):
            # At the call's deadline this is the error, whichever timer has fired.
            return _because(exchange.out_of_time(), exc)
        error = error_of(exc, origin=self.address.authority)
        # An `InvalidArgument` gets no cause, because the client's text may show a header.
        if error is None or isinstance(error, InvalidArgument):
            return error or exc
        if isinstance(error, ConnectFailed) and self.client is None:
            proxy = self._proxy or proxy_of(self.address)
            if proxy:
                error.message = unreachable_proxy(proxy, self.address.authority, exc)
        return _because(error, exc)


class SyncPooledConnection(PooledConnection):
    """A sync connection over the process's shared pool."""

    _bytes: Generator[bytes] = _NO_BODY  # The body while it is open.

    def _limit(self, silence_s: float) -> float:
        from modelwire.transport.connections.deadline_backend import Limit

        return Limit.of(silence_s, self.exchange.remaining_s)

    def send(self, step: Send) -> Reply:
        """Send the request; return the whole answer, or for a stream its head."""
        unwatched = is_unwatched(self.address.url)
        transport = sync_transport(self._settings, unwatched=unwatched)
        self._response = response = transport.handle_request(self._request(unwatched=unwatched))
        reply = self._head(response)
        self._body_begins()
        self._bytes = iter(response.stream)
        if step.stream:
            return reply
        return self._completed(reply)

    def _completed(self, reply: Reply) -> Reply:
        """Return the reply with its whole body, and return the connection to the pool."""
        reply.body = joined(iter(self.read, None), self.exchange.policy.max_response_bytes)
        self.close()
        return reply

    def read(self) -> bytes | None:
        """Return the next bytes of the open answer, None at its end."""
        data = next(self._bytes, None)
        if self.exchange.deadline is not None:
            self.exchange.remaining_s()  # A slow trickle must not outlast the deadline.
        if self._unpacking is None:
            return data
        return self._unpacked(data)

    def close(self) -> None:
        """Return the connection to the pool, or close it if the answer was not read to its end."""
        response = self._response
        self._response = None
        body = self._bytes
        self._bytes = _NO_BODY
        lease = self._lease
        self._lease = None
        try:
            try:
                if body is not None:
                    body.close()
            finally:
                if response is not None:
                    response.close()
        except Exception as exc:  # noqa: BLE001 - a connection that cannot be closed is lost, but the answer is read
            _log_close(exc)
        except BaseException:
            # After Ctrl-C in the middle of closing, the connection may look idle but cannot be used.
            if lease is not None:
                lease.client.close()
            raise
        finally:
            if lease is not None:
                lease.release()

    def sleep(self, seconds: float) -> None:
        """Wait before the next attempt."""
        sleep(seconds)

    def wait(self, step: Wait) -> None:
        """Wait for the limiter."""
        wait_for_wake(step.admission, step.seconds)

    def _open(self) -> Lease:
        pool: SyncPool = sync_pool(self._settings)
        self._lease = pool.lease(self._origin, self.exchange.remaining_s())
        if self._lease is None:
            raise self.exchange.out_of_time()
        return self._lease


class AsyncPooledConnection(PooledConnection):
    """An async connection over the event loop's shared pool."""

    is_async = True
    pool_class = AsyncPool
    _bytes: AsyncGenerator[bytes] = _NO_BODY  # The body while it is open.
    _begun = False  # True after the first read of the body.

    def send(self, step: Send) -> Awaitable[Reply]:
        """Send the request; return the whole answer, or for a stream its head."""
        if step.remaining_s is None:
            return self._send(step)
        return _timed(step.remaining_s, self._send(step))

    def read(self) -> Awaitable[bytes | None]:
        """Return the next bytes of the open answer, None at its end."""
        if self.exchange.deadline is None:
            return self._read()
        return _timed(self.exchange.remaining_s(), self._read())

    async def _send(self, step: Send) -> Reply:
        unwatched = is_unwatched(self.address.url)
        transport = await async_transport(self._settings, unwatched=unwatched)
        self._response = response = await transport.handle_async_request(
            self._request(unwatched=unwatched)
        )
        reply = self._head(response)
        self._body_begins()
        self._bytes = aiter(response.stream)
        if not step.stream:
            reply.body = await self._whole()
        return reply

    async def _whole(self) -> bytes:
        whole = Whole(self.exchange.policy.max_response_bytes)
        while (data := await self._read()) is not None:
            whole.add(data)
        await self.close()
        return whole.joined()

    async def _read(self) -> bytes | None:
        begun = self._begun
        self._begun = True
        try:
            data: bytes | None = await (anext(self._bytes) if begun else _apart(anext, self._bytes))
        except StopAsyncIteration:
            data = None
        if self._unpacking is None:
            return data
        return self._unpacked(data)

    async def close(self) -> None:
        """Return the connection to the pool, or close it if the answer was not read to its end."""
        response = self._response
        self._response = None
        body = self._bytes
        self._bytes = _NO_BODY
        self._begun = False
        lease = self._lease
        self._lease = None
        try:
            try:
                if body is not None:
                    await _apart(body.aclose)
            finally:  # Even after a cancellation, the response returns the place to the pool.
                if response is not None:
                    await _apart(response.aclose)
        except Exception as exc:  # noqa: BLE001 - a connection that cannot be closed is lost, but the answer is read
            _log_close(exc)
        finally:
            if lease is not None:
                lease.release()

    async def sleep(self, seconds: float) -> None:
        from asyncio import sleep

        await sleep(seconds)

    def wait(self, step: Wait) -> Awaitable[None]:
        return await_wake(step.admission, step.seconds)

    async def _open(self) -> Lease:
        pool = await async_pool(self._settings, self.pool_class)
        self._lease = await pool.lease(self._origin)
        return self._lease


async def _timed(left_s: float | None, work: Awaitable[T]) -> T:
    from asyncio import timeout

    async with timeout(left_s):
        return await work


def _steps_apart(begin: Callable[..., Awaitable[T]], *args: Any) -> Generator[Any, Any, T]:
    """Await the work of a connection in such a way that the event loop does not learn of its async generators.

    The connection closes these generators itself. An event loop that shuts down closes all generators that it knows at
    the same time, each in a task of its own, and does so with those that the garbage collector finds. Such a task would
    fail at a generator that another task is closing. The loop knows the generator that drives the connection, which is
    enough. The work is suspended only where it has to wait, so that a close is rarely interrupted half-way.
    """
    steps: Generator[Any, Any, T] | None = None
    came: object = None
    failure: BaseException | None = None
    while True:
        hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(None, _leave_to_the_connection)
        try:
            # A generator stores the hooks when it is first asked for an item.
            steps = steps or begin(*args).__await__()
            waited_for = steps.send(came) if failure is None else steps.throw(failure)
        except StopIteration as done:
            result: T = done.value
            return result
        finally:
            sys.set_asyncgen_hooks(*hooks)
        came = failure = None
        if waited_for is not None:  # None is a `sleep(0)`, which is skipped.
            try:
                came = yield waited_for
            except BaseException as exc:  # noqa: BLE001 - raised again inside the work
                failure = exc


_apart = cast("Callable[..., Awaitable[Any]]", coroutine(_steps_apart))


def _leave_to_the_connection(_: AsyncGenerator[Any]) -> None:
    """Do nothing when the garbage collector finds an open body; the connection closes it.

    Without this hook the body would be closed immediately, inside of whatever task is running, whose cancel scopes
    would break.
    """


@lru_cache(maxsize=1000)
def _url(text: str) -> Any:
    import httpx2

    return unlogged(httpx2.URL(text))


@lru_cache(maxsize=1000)
def _core_url(text: str) -> Any:
    import httpcore2

    return httpcore2.URL(text)


def _log_close(exc: Exception) -> None:
    logging.getLogger(__name__).debug("a connection did not close cleanly: %s", type(exc).__name__)


def _because(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error
