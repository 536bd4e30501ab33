"""Lines over a client with httpx's interface: the user's own (httpx2 or httpx), or a shared one behind a proxy.

httpx2 knows proxies, `NO_PROXY` and odd URLs; where none of that is wanted, `lines` does without it.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any, cast

from modelwire.errors import InvalidArgument
from modelwire.transport.lines import AsyncLine, Line, SyncLine
from modelwire.transport.wire import Reply

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    from modelwire.transport.flow import Send

__all__ = ["AsyncClientLine", "SyncClientLine"]


def _request(line: Line, client: Any) -> Any:
    return client.build_request(
        "POST",
        line.address.url,
        headers=line.headers(),
        content=line.exchange.content,
        extensions={"timeout": line.timeout()},
    )


def _failure(line: Line, exc: Exception, found: Exception) -> Exception:
    """A client of the user's own may be closed, or of a loop that is: httpx says so with a bare `RuntimeError`."""
    if found is exc and isinstance(exc, RuntimeError) and line.client is not None:
        error = InvalidArgument(f"The HTTP client given to the model cannot be used: {exc} Give it an open one.")
        error.__cause__ = exc
        return error
    return found


class SyncClientLine(SyncLine):
    """A line over a sync client."""

    engine = "client"
    _bytes: Generator[bytes] = cast("Any", None)  # the body, while it is open

    def failure(self, exc: Exception) -> Exception:
        """Return what `exc` is in our words."""
        return _failure(self, exc, super().failure(exc))

    def send(self, step: Send) -> Reply:
        client = self.client or self._open().client
        request = _request(self, client)
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
        return Reply(response.status_code, response.headers, body, self.exchange.url, monotonic() - began)

    def read(self) -> bytes | None:
        data = next(self._bytes, None)
        self.exchange.remaining_s()
        return data


class AsyncClientLine(AsyncLine):
    """A line over an async client."""

    engine = "client"
    _bytes: AsyncGenerator[bytes] = cast("Any", None)  # the body, while it is open

    def failure(self, exc: Exception) -> Exception:
        """Return what `exc` is in our words."""
        return _failure(self, exc, super().failure(exc))

    async def _send(self, step: Send) -> Reply:
        client = self.client or (await self._open()).client
        request = _request(self, client)
        began = monotonic()
        self._response = response = await client.send(request, stream=step.stream, follow_redirects=False)
        body = b""
        if step.stream:
            self._body_begins()
            self._bytes = response.aiter_bytes()
        else:
            body = response.content
            await self.close()
        return Reply(response.status_code, response.headers, body, self.exchange.url, monotonic() - began)

    async def _read(self) -> bytes | None:
        return await anext(self._bytes, None)
