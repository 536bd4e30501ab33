"""The page on this machine to which the browser returns after a login (RFC 8252, section 7.3)."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from modelwire.lazy import module

if TYPE_CHECKING:
    import asyncio
else:
    asyncio = module("asyncio")

_HOST = "127.0.0.1"
_PATH = "/callback"
# A browser sends its request within this many seconds after it has connected.
_REQUEST_S = 10.0
_DONE = "You are logged in. You can close this page."
_FAILED = "The login has failed. The program shows the reason; you can close this page."


class LoopbackPage:
    """Waits on a port of this machine for the answer of an authorization server.

    An answer whose `state` differs from that of the URL in `expect` is not for this login, and is rejected.
    """

    def __init__(self, port: int = 0) -> None:
        self._socket = socket.create_server((_HOST, port))
        self.url = f"http://{_HOST}:{self._socket.getsockname()[1]}{_PATH}"
        self._state: str | None = None
        self._answer: asyncio.Future[Mapping[str, str]] | None = None

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[LoopbackPage]:
        """Answer requests within the block."""
        server = await asyncio.start_server(self._serve_one, sock=self._socket)
        try:
            yield self
        finally:
            server.close()

    def close(self) -> None:
        """Release the port."""
        self._socket.close()

    def expect(self, authorization_url: str) -> None:
        """Prepare for the answer to a login that begins at this URL."""
        self._state = _query(authorization_url).get("state")
        self._answer = asyncio.get_running_loop().create_future()

    async def answer(self, timeout_s: float) -> Mapping[str, str]:
        """Wait for the answer, and return its parameters. Raises `TimeoutError`."""
        assert self._answer is not None  # noqa: S101 - `expect` comes first
        return await asyncio.wait_for(self._answer, timeout_s)

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request of a browser."""
        try:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _REQUEST_S)
            status, text = self._received(head.split(b" ", 2)[1].decode("ascii", "replace"))
            body = (
                f"<!doctype html><meta charset=utf-8><title>modelwire</title><p>{text}</p>".encode()
            )
            writer.write(
                f"HTTP/1.1 {status}\r\ncontent-type: text/html\r\ncontent-length: {len(body)}\r\n"
                "connection: close\r\n\r\n".encode()
                + body
            )
            await writer.drain()
        except (
            OSError,
            TimeoutError,
            IndexError,
            asyncio.IncompleteReadError,
            asyncio.LimitOverrunError,
        ):
            return  # The client was not a browser.
        finally:
            writer.close()

    def _received(self, target: str) -> tuple[str, str]:
        """Read the answer from the target of a request. Return the status and the text of the page."""
        answer = _query(target)
        is_ours = urlsplit(target).path == _PATH and answer.get("state") == self._state
        if not is_ours or self._answer is None or self._state is None:
            return "404 Not Found", "There is nothing here."
        if not self._answer.done():
            self._answer.set_result(answer)
        return "200 OK", _DONE if "code" in answer else _FAILED


def _query(url: str) -> dict[str, Any]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
