"""Connects async calls by aiohttp, for thousands of concurrent calls: it takes a third of the CPU of httpx2."""

from __future__ import annotations

from functools import cache, lru_cache, partial
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from modelwire.errors import InvalidArgument, MissingDependency, NetworkBlocked
from modelwire.transport.connections import pools
from modelwire.transport.connections.body import joined
from modelwire.transport.connections.closed_network import refuse_to_leave
from modelwire.transport.connections.keepalive import with_options
from modelwire.transport.connections.pooled import AsyncPooledConnection
from modelwire.transport.connections.pools import KEEPALIVE_EXPIRY_S, AsyncPool
from modelwire.transport.connections.proxies import proxy_of
from modelwire.transport.failures import unsendable
from modelwire.transport.wire import Reply

if TYPE_CHECKING:
    from modelwire.transport.steps import Send

__all__ = ["AiohttpConnection"]


@lru_cache(maxsize=100)
def _limits_of_head(connect_s: float, first_byte_s: float) -> Any:
    import aiohttp

    return aiohttp.ClientTimeout(sock_connect=connect_s, sock_read=first_byte_s)


@lru_cache(maxsize=1000)
def _as_written(url: str) -> Any:
    """Return `url` so that aiohttp sends it unchanged, as the other engines do.

    aiohttp's own quoting changes `%3A` to `:`, and then the provider refuses a request that was signed with its path
    (Bedrock). aiohttp still quotes a URL that cannot be sent as it is.
    """
    import yarl

    is_sendable = url.isascii() and url.isprintable() and " " not in url
    return yarl.URL(url, encoded=is_sendable)


@cache
def _connector_class() -> Any:
    """Return a class of connector that corrects aiohttp in three points.

    1. An idle connection that has received bytes is dropped, as no request asked for them: aiohttp checks
    `should_close` when a connection is returned to the pool, and not again when it is taken.
    2. A body that stops being valid HTTP fails immediately: aiohttp's parser forgets the body before it raises, so
    that its reader would wait for ever.
    3. A dropped connection is closed immediately. aiohttp waits half a minute for a TLS server's closing message, or
    for a peer that no longer reads the request; if the event loop ends before that, a socket stays open.

    `_get`, `_conns`, `_factory` and `_payload` are private names of aiohttp 3.14; without them nothing changes.
    """
    import aiohttp
    from aiohttp.client_proto import ResponseHandler

    class Handler(ResponseHandler):
        def set_exception(self, exc: Any, *cause: Any) -> None:
            super().set_exception(exc, *cause)
            body = getattr(self, "_payload", None)
            if body is not None and body.exception() is None and not body.is_eof():
                body.set_exception(exc, *cause)

        def close(self) -> None:
            transport: Any = self.transport
            if transport and (
                transport.get_extra_info("ssl_object") or transport.get_write_buffer_size()
            ):
                transport.abort()
            super().close()

    class Connector(aiohttp.TCPConnector):
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self._factory: Any = partial(Handler, loop=self._loop)

        def connect(self, req: Any, *args: Any, **kwargs: Any) -> Any:
            refuse_to_leave(req.url.host)
            return super().connect(req, *args, **kwargs)

        def _get(self, key: Any, traces: Any) -> Any:
            for connection, _ in getattr(self, "_conns", {}).get(key, ()):
                if not connection.should_close:  # A lost connection should be closed, too.
                    break
                connection.close()  # aiohttp skips connections that are closed.
            return super()._get(key, traces)

    return Connector


class AiohttpPool(AsyncPool):
    """The pool of an event loop for the engine aiohttp: one session."""

    def _make_client(self, origin: str) -> Any:
        try:
            import aiohttp
        except ImportError as exc:
            raise MissingDependency(
                '`engine="aiohttp"` needs aiohttp: `pip install "modelwire[aiohttp]"`.'
            ) from exc
        context = pools.trust_store() if self.settings.secure else pools.trust_nobody()
        return aiohttp.ClientSession(
            connector=_connector_class()(
                limit=0,
                ssl=context,
                keepalive_timeout=KEEPALIVE_EXPIRY_S,
                socket_factory=partial(with_options, self.settings.keepalive),
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,  # `body.py` decompresses, within its limits.
        )

    async def _aclose_client(self, client: Any) -> None:
        await client.close()


class AiohttpConnection(AsyncPooledConnection):
    """A connection over the event loop's shared aiohttp session."""

    engine = "aiohttp"
    pool_class = AiohttpPool

    async def _send(self, step: Send) -> Reply:
        proxy = self._proxy_of_call()
        session = (
            await self._open()
        ).client  # It raises, with what to install, if aiohttp is missing.
        import aiohttp

        exchange = self.exchange
        timeouts = self.exchange.policy.timeouts
        refused: InvalidArgument | None = None
        try:
            self._response = response = await session.request(
                exchange.method,
                _as_written(self.address.url),
                # aiohttp warns of a body of a megabyte or more that is not sent piece by piece.
                data=exchange.content
                if len(exchange.content) < 2**20
                else BytesIO(exchange.content),
                headers=self.headers(),
                allow_redirects=False,
                proxy=proxy,
                timeout=_limits_of_head(timeouts.connect_s, timeouts.first_byte_s),
            )
        except (aiohttp.ClientError, NetworkBlocked):
            raise  # Some of these are a `ValueError`, too, such as that of a bad certificate.
        except ValueError as exc:
            refused = unsendable(exc, origin=self.address.authority)
        if refused is not None:
            # It is raised here, so that aiohttp's error, which may show a header, is not its context.
            raise refused
        connection = response.connection  # None if the whole body was received.
        if connection is not None and connection.protocol is not None:
            # `sock_read` limits the wait for the head; `_cover` limits the reads of the body.
            connection.protocol.read_timeout = None
            connection.protocol.start_timeout()
        self._unpacking = self._unpacking_of(
            response.headers.get("content-encoding"), response.status
        )
        reply = Reply(response.status, response.headers)
        if not step.stream:
            reply.body = await self._whole()
        return reply

    def _proxy_of_call(self) -> str | None:
        """Return the URL of this call's proxy: the model's, or the environment's, as for the other engines.

        aiohttp's own look-up would add credentials from `.netrc` and ignore `ALL_PROXY`.
        """
        proxy = self._proxy or proxy_of(self.address)
        if proxy is None:
            return None
        if "://" not in proxy:
            proxy = f"http://{proxy}"
        if not proxy.lower().startswith(("http://", "https://")):
            raise InvalidArgument(
                '`engine="aiohttp"` goes through HTTP proxies only, and this one is another kind (SOCKS?): '
                'leave `engine` at "httpx2" for it, which needs `pip install "httpx2[socks]"`.'
            )
        refuse_to_leave(urlsplit(proxy).hostname)
        return proxy

    async def _whole(self) -> bytes:
        content = self._response.content
        if not content.is_eof() or self._unpacking is not None:
            return await super()._whole()
        whole = content.read_nowait()  # A short body arrives together with the head.
        await self.close()
        return joined((whole,), self.exchange.policy.max_response_bytes)

    async def read(self) -> bytes | None:
        """Return the next bytes of the open answer, None at its end."""
        return await self._read()

    async def _read(self) -> bytes | None:
        content = self._response.content
        if self._response.connection is not None:
            async with self._cover():
                return self._unpacked(await content.readany() or None)
        # aiohttp has the connection back, so the whole body was received and this does not wait.
        self.exchange.remaining_s()
        return self._unpacked(await content.readany() or None)

    def _cover(self) -> Any:
        """Return the timeout of one read of the body: `idle_s`, or the time to the call's deadline if that is less."""
        from asyncio import timeout

        idle_s = self.exchange.policy.timeouts.idle_s
        left_s = self.exchange.remaining_s()
        return timeout(idle_s if left_s is None else min(idle_s, left_s))

    async def close(self) -> None:
        """Return the connection to the pool, or close it if the answer was not read to its end."""
        response = self._response
        self._response = None
        lease = self._lease
        self._lease = None
        if response is not None and not response.closed:  # A body that was read has closed it.
            response.close()
        if lease is not None:
            lease.release()
