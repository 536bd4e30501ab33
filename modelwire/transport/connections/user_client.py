"""Connections over a client with httpx's interface: the user's own (httpx2 or httpx), or a shared one with a proxy.

Only a proxy needs a client of httpx2; without one, `pooled` connects directly.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from modelwire.errors import InvalidArgument
from modelwire.transport.connections.address import hide_query
from modelwire.transport.connections.client_guards import RefusingCookies
from modelwire.transport.connections.httpcore_internals import closing_where_bytes_follow
from modelwire.transport.connections.pooled import (
    AsyncPooledConnection,
    PooledConnection,
    SyncPooledConnection,
)
from modelwire.transport.redaction import conceal
from modelwire.transport.wire import Reply

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    from modelwire.transport.steps import Send

__all__ = ["AsyncClientConnection", "SyncClientConnection", "agenerated", "generated", "reply_of"]

# After a 425, the request must be retried on another connection (RFC 8470, 5.2). Its body is not read, so that the
# client closes the connection.
_TOO_EARLY = 425


async def agenerated(*pieces: bytes) -> AsyncGenerator[bytes]:
    """Yield the pieces of a body."""
    for data in pieces:
        yield data


def generated(*pieces: bytes) -> Generator[bytes]:
    """Yield the pieces of a body."""
    yield from pieces


def reply_of(response: Any) -> Reply:
    """Return the head of an answer, with a dict of its headers: httpx searches all of them for each name."""
    return Reply(response.status_code, dict(response.headers.items()))


@lru_cache(maxsize=1000)
def _url_for(module: str | None, url: str) -> Any:
    """Return `url` in the form that `build_request` of a client from `module` takes fastest.

    For a client of httpx it is the library's URL, parsed once; for any other client it is the text.
    """
    library = (module or "").partition(".")[0]
    if library in ("httpx2", "httpx"):
        return sys.modules[library].URL(url)
    return url


class _ClientConnection(PooledConnection):
    """The base of the sync and async connections over a client."""

    engine = "client"

    def failure(self, exc: Exception) -> Exception:
        """Return the error of this package for `exc`. A closed client or loop raises a bare `RuntimeError`."""
        found = super().failure(exc)
        if found is exc and isinstance(exc, RuntimeError) and self.client is not None:
            error = InvalidArgument(
                f"The HTTP client given to the model cannot be used: {exc} Give it an open one."
            )
            error.__cause__ = exc
            return conceal(error, self.exchange)
        return found

    def _built(self, client: Any) -> Any:
        build = client.build_request
        request = build(
            self.exchange.method,
            _url_for(getattr(build, "__module__", None), self.address.url),
            headers=self.headers(),
            content=self.exchange.content,
            extensions={"timeout": self.timeout()},
        )
        if "?" in self.address.url:
            hide_query(request)
        return request


class SyncClientConnection(_ClientConnection, SyncPooledConnection):
    """A connection over a sync client."""

    def send(self, step: Send) -> Reply:
        """Send the request; return the whole answer, or for a stream its head."""
        client = self.client or self._open().client
        # The body is read piece by piece, so that the deadline and the maximum size apply.
        with RefusingCookies(client):
            self._response = response = client.send(
                self._built(client), stream=True, follow_redirects=False
            )
        closing_where_bytes_follow(response)
        self._body_begins()
        if response.status_code != _TOO_EARLY:
            self._bytes = response.iter_bytes()
        else:
            self._bytes = generated()
        reply = reply_of(response)
        if step.stream:
            return reply
        return self._completed(reply)

    def read(self) -> bytes | None:
        data = next(self._bytes, None)
        if self.exchange.deadline is not None:
            self.exchange.remaining_s()
        return data


class AsyncClientConnection(_ClientConnection, AsyncPooledConnection):
    """A connection over an async client."""

    async def _send(self, step: Send) -> Reply:
        client = self.client or (await self._open()).client
        with RefusingCookies(client):
            self._response = response = await client.send(
                self._built(client), stream=True, follow_redirects=False
            )
        closing_where_bytes_follow(response)
        self._body_begins()
        if response.status_code != _TOO_EARLY:
            self._bytes = response.aiter_bytes()
        else:
            self._bytes = agenerated()
        reply = reply_of(response)
        if not step.stream:
            reply.body = await self._whole()
        return reply
