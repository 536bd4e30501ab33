"""The async line over aiohttp, for very many calls at a time: a third of the CPU of httpx2."""

from __future__ import annotations

from contextlib import nullcontext
from io import BytesIO
from time import monotonic
from typing import TYPE_CHECKING, Any

from modelwire.errors import InvalidArgument
from modelwire.transport.failures import unsendable
from modelwire.transport.lines import AsyncLine, has_proxy
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
        refused: InvalidArgument | None = None
        try:
            self._response = response = await session.post(
                self.address.url,
                data=BytesIO(exchange.content),
                headers={**self.headers(), "Content-Length": str(len(exchange.content))},
                allow_redirects=False,
                proxy=self._proxy or self._environments_proxy(),
                timeout=aiohttp.ClientTimeout(sock_connect=patience.connect_s, sock_read=patience.first_byte_s),
            )
        except ValueError as exc:
            refused = unsendable(exc, origin=self.address.authority)
        if refused is not None:  # raised here, so that what aiohttp said of a header does not hang on it
            raise refused
        self._unpacking = self._unpacking_of(response.headers.get("content-encoding"), response.status)
        body = b"" if step.stream else await self._whole()
        return Reply(response.status, response.headers, body, exchange.url, monotonic() - began)

    def _environments_proxy(self) -> str | None:
        """Look the proxy up ourselves: aiohttp's own look-up attaches what `.netrc` says, too."""
        if self._settings.direct or not has_proxy(self.address):
            return None
        from urllib.request import getproxies, proxy_bypass

        host = self.address.authority
        return None if proxy_bypass(host) else getproxies().get("https" if self.address.secure else "http")

    async def read(self) -> bytes | None:
        """Return the next bytes of the open answer, None at its end."""
        return await self._read()

    async def _read(self) -> bytes | None:
        async with self._cover():
            data: bytes = await self._response.content.readany()
        return self._unpacked(data or None)

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
