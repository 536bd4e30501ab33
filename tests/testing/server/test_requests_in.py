"""What the server makes of odd requests, and of those that are not this machine's."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from modelwire.testing import ProviderServer

CALL = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'


@pytest.fixture
def server() -> Iterator[ProviderServer]:
    with ProviderServer() as running:
        yield running


def ask(server: ProviderServer, *headers: str, body: bytes = CALL) -> tuple[bytes, bool]:
    """Send one call; return what comes within a second, and whether the server has closed the connection."""
    head = "\r\n".join(["POST /v1/chat/completions HTTP/1.1", *headers])
    with socket.create_connection(("127.0.0.1", int(server.base_url.rpartition(":")[2]))) as peer:
        peer.sendall(head.encode() + b"\r\n\r\n" + body)
        peer.settimeout(1)
        received = b""
        try:
            while data := peer.recv(65536):
                received += data
        except TimeoutError:
            return received, False
    return received, True


LENGTH = f"Content-Length: {len(CALL)}"


@pytest.mark.parametrize("word", ["close", "Close", "CLOSE", "keep-alive, Close"])
def test_a_client_that_wants_the_connection_closed_gets_it_in_any_case(
    server: ProviderServer, word: str
) -> None:
    received, closed = ask(server, "Host: localhost", LENGTH, f"Connection: {word}")
    assert received.startswith(b"HTTP/1.1 200 ")
    assert closed


def test_without_that_word_the_connection_stays_open(server: ProviderServer) -> None:
    received, closed = ask(server, "Host: localhost", LENGTH)
    assert received.startswith(b"HTTP/1.1 200 ")
    assert not closed


@pytest.mark.parametrize("size", [b"zz", b"-1", b"0x5", b"1_0", b"", b"f" * 40])
def test_a_chunk_size_that_is_none_is_a_400(server: ProviderServer, size: bytes) -> None:
    received, closed = ask(
        server, "Host: localhost", "Transfer-Encoding: chunked", body=size + b"\r\n"
    )
    assert received.startswith(b"HTTP/1.1 400 ")
    assert closed
    assert server.failures == []


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (["Host: 127.0.0.1:8000"], 200),
        (["Host: [::1]:8000"], 200),
        (["Host: api.localhost"], 200),
        (["Host: localhost", "Origin: http://localhost:3000"], 200),
        (["Host: evil.example"], 403),
        (["Host: 127.0.0.1.evil.example"], 403),
        (["Host: localhost", "Origin: https://evil.example"], 403),
        (["Host: localhost", "Origin: null"], 403),
    ],
)
def test_a_web_page_of_another_origin_or_name_is_refused(
    server: ProviderServer, headers: list[str], status: int
) -> None:
    received, _ = ask(server, *headers, LENGTH, "Connection: close")
    assert received.startswith(b"HTTP/1.1 %d " % status)
    assert server.counts.answered == (status == 200)


def test_it_listens_on_this_machine_only(server: ProviderServer) -> None:
    assert server.base_url.startswith("http://127.0.0.1:")
