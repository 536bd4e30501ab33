"""The async line over aiohttp, for very many calls at a time: a third of the CPU of httpx2."""

from __future__ import annotations

from contextlib import nullcontext
from time import monotonic
from typing import TYPE_CHECKING, Any

from modelwire.transport.failures import unsendable
from modelwire.transport.lines import AsyncLine, origin_of
from modelwire.transport.wire import Reply

if TYPE_CHECKING:
    from modelwire.transport.flow import Send

__all__ = ["AiohttpLine"]


class AiohttpLine(AsyncLine):
    """A line over the event loop's shared aiohttp session."""

    engine = "aiohttp"

    async def _send(self, step: Send) -> Reply:
        import aiohttp

        session = (await self._open()).client
        exchange, patience = self.exchange, self.exchange.timeouts
        began = monotonic()
        try:
            self._response = response = await session.post(
                _without_user(exchange.url) if "Authorization" in exchange.headers else exchange.url,
                data=exchange.content,
                headers=exchange.headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(sock_connect=patience.connect_s, sock_read=patience.first_byte_s),
            )
        except ValueError as exc:
            raise unsendable(exc, origin=origin_of(exchange.url)) from exc
        body = b""
        if not step.stream:
            body = await response.read()
            await self.close()
        return Reply(response.status, response.headers, body, exchange.url, monotonic() - began)

    async def read(self) -> bytes | None:
        """Return the next bytes of the open answer, None at its end."""
        async with self._cover():
            data: bytes = await self._response.content.readany()
        return data or None

    def _cover(self) -> Any:
        """Limit one read where `sock_read` does not: by the idle limit if it is shorter, and by the call's deadline."""
        patience, left_s = self.exchange.timeouts, self.exchange.remaining_s()
        idle_s = patience.idle_s if patience.idle_s < patience.first_byte_s else None
        limit_s = min((limit for limit in (idle_s, left_s) if limit is not None), default=None)
        if limit_s is None:
            return nullcontext()
        from asyncio import timeout

        return timeout(limit_s)

    async def close(self) -> None:
        """Give the connection back, or drop it where the answer was not read to its end."""
        response, self._response = self._response, None
        lease, self._lease = self._lease, None
        if response is not None:
            if response.content.at_eof():
                response.release()
            else:
                response.close()
        if lease is not None:
            lease.release()


def _without_user(url: str) -> str:
    """Drop `user:password@`: a key says who we are, and aiohttp refuses to be told twice."""
    scheme, separator, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}{separator}{authority.rpartition('@')[2]}{slash}{path}"
