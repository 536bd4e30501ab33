"""A server of each test's own, and a client that reads what really comes."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from modelwire.testing import ProviderServer

PATHS = {
    "openai": "/v1/chat/completions",
    "responses": "/v1/responses",
    "anthropic": "/v1/messages",
    "gemini": "/v1beta/models/m:generateContent",
    "bedrock": "/model/m/converse",
}


@pytest.fixture
def serve() -> Iterator[Callable[..., ProviderServer]]:
    """Start servers, with the arguments of `ProviderServer`."""
    with ExitStack() as stack:
        yield lambda *args, **kwargs: stack.enter_context(ProviderServer(*args, **kwargs))


class RawAnswer:
    """All that came: `raw` bytes, and how it ended: closed, reset, open (nothing more came)."""

    def __init__(self, raw: bytes, ended: str) -> None:
        self.raw = raw
        self.ended = ended
        head, _, self.body = raw.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        self.status = int(first.split(" ")[1]) if first.startswith("HTTP/1.1 ") else None
        self.headers = {line.partition(": ")[0]: line.partition(": ")[2] for line in lines}

    @property
    def whole(self) -> bool:
        """Whether the body has as many bytes as were announced."""
        if self.headers.get("transfer-encoding") == "chunked":
            return self.body.endswith(b"0\r\n\r\n")
        return self.headers.get("content-length") == str(len(self.body))

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def request_bytes(
    wire: str = "openai",
    *,
    last: bool = False,
    stream: bool = False,
    text: str = "hi",
    **fields: Any,
) -> bytes:
    asked = {"model": "m", "stream": stream, **fields}
    asked["input" if wire == "responses" else "messages"] = [{"role": "user", "content": text}]
    if wire == "anthropic":
        asked["max_tokens"] = 100
    path = PATHS[wire]
    if wire == "gemini":
        asked = {"contents": [{"role": "user", "parts": [{"text": text}]}], **fields}
        path = path.replace(":generate", ":streamGenerate") + "?alt=sse" if stream else path
    elif wire == "bedrock":
        asked = {"messages": [{"role": "user", "content": [{"text": text}]}], **fields}
        path += "-stream" if stream else ""
    body = json.dumps(asked).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer secret-key"
    head += f"\r\ncontent-length: {len(body)}"
    return head.encode() + (b"\r\nconnection: close" if last else b"") + b"\r\n\r\n" + body


@pytest.fixture
def ask_raw() -> Callable[..., RawAnswer]:
    """Send one request down a socket; read all of its answer, or `to_the_end` of the connection.

    At most `limit` bytes, and not after a silence of `patience_s`; a busy machine may take ten times that to begin.
    """

    def ask(
        server: ProviderServer,
        wire: str = "openai",
        *,
        to_the_end: bool = False,
        patience_s: float = 1.0,
        limit: int = 1_000_000,
        **fields: Any,
    ) -> RawAnswer:
        port = int(server.base_url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=5) as peer:
            peer.sendall(request_bytes(wire, last=to_the_end, **fields))
            peer.settimeout(10 * patience_s)
            raw, ended = bytearray(), "open"
            try:
                while len(raw) < limit:
                    data = peer.recv(65536)
                    if not data:
                        ended = "closed"
                        break
                    raw += data
                    peer.settimeout(patience_s)
                    if not to_the_end and RawAnswer(bytes(raw), ended).whole:
                        break
            except ConnectionResetError:
                ended = "reset"
            except TimeoutError:
                pass
            return RawAnswer(bytes(raw), ended)

    return ask
