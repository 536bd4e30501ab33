"""What `httpcore_internals` takes from httpx2 and httpcore2 is there, in the release that is installed.

Read from release 2.16.2 of both. Where one of these fails, read the new release and mend `httpcore_internals.py`.
"""

from __future__ import annotations

import asyncio
import inspect
import re
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Any

import httpcore2
import httpx
import httpx2
import pytest

from modelwire.transport.connections import httpcore_internals

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
FOLDER = Path(httpcore_internals.__file__).parent


@pytest.mark.parametrize("name", ["HTTPTransport", "AsyncHTTPTransport"])
def test_a_transport_takes_its_connections_from_what_is_put_behind_it(name: str) -> None:
    asked: list[str] = []

    class Pool:
        def handle_request(self, request: Any) -> httpcore2.Response:
            asked.append("sync")
            return httpcore2.Response(204)

        async def handle_async_request(self, request: Any) -> httpcore2.Response:
            asked.append("async")
            return httpcore2.Response(204)

    transport = getattr(httpx2, name).__new__(getattr(httpx2, name))
    httpcore_internals.put_behind(transport, Pool())
    request = httpx2.Request("GET", "http://127.0.0.1:1/")
    if name == "HTTPTransport":
        assert transport.handle_request(request).status_code == 204
    else:
        assert asyncio.run(transport.handle_async_request(request)).status_code == 204
    assert len(asked) == 1


def connection_to(url: str, kind: Any) -> Any:
    return kind(origin=httpcore2.URL(url).origin)


@pytest.mark.parametrize(
    ("body", "status", "again"), [(b"", 200, True), (b"more", 200, False), (b"", 425, False)]
)
def test_a_connection_is_closed_after_an_answer_that_spoils_it(
    raw_server: Any, body: bytes, status: int, again: bool
) -> None:
    server = raw_server([[ANSWER.replace(b"200", b"%d" % status) + body]])
    connection = connection_to(server.url, httpcore2.HTTPConnection)
    response = connection.handle_request(
        httpcore2.Request("GET", server.url, headers={"Host": "a"})
    )
    assert b"".join(response.stream) == b"ok"
    httpcore_internals.close_after_this_answer(response.stream, response.status)
    response.close()
    assert connection.is_idle() is again
    connection.close()


def test_bytes_that_anyio_has_read_ahead_are_noticed(raw_server: Any) -> None:
    """Which bytes come when is the system's to say, so these are laid where anyio lays them."""
    server = raw_server([[ANSWER]])

    async def left_over() -> list[bool]:
        connection = connection_to(server.url, httpcore2.AsyncHTTPConnection)
        response = await connection.handle_async_request(
            httpcore2.Request("GET", server.url, headers={"Host": "a"})
        )
        assert b"".join([data async for data in response.stream]) == b"ok"
        await response.aclose()
        seen = [httpcore_internals.bytes_left_over(connection)]
        connection._connection._network_stream._stream._protocol.read_queue.append(
            b"HTTP/1.1 408 Timeout"
        )
        seen.append(httpcore_internals.bytes_left_over(connection))
        await connection.aclose()
        return seen

    assert asyncio.run(left_over()) == [False, True]


def test_no_other_file_of_the_transport_has_a_private_name_of_theirs() -> None:
    names = set(re.findall(r'"(_\w+)"', inspect.getsource(httpcore_internals))) - {
        "_stream"
    }  # ours have one of that name
    assert names >= {"_connection", "_h11_state", "_network_stream"}
    for path in FOLDER.glob("*.py"):
        if path.name != "httpcore_internals.py":
            assert not [
                name for name in names if re.search(rf"\b{name}\b", path.read_text("utf-8"))
            ], path.name


@pytest.mark.parametrize("library", [httpx2, httpx], ids=lambda library: library.__name__)
def test_the_connection_behind_an_open_answer_is_found(raw_server: Any, library: Any) -> None:
    server = raw_server([[ANSWER + b"more"], [ANSWER]])
    with library.Client() as client:
        for _ in range(2):
            with client.stream("GET", server.url) as response:
                httpcore_internals.closing_where_bytes_follow(response)
                assert response.read() == b"ok"
    assert server.connections == 2


def test_the_policy_of_a_jar_is_found() -> None:
    policy = DefaultCookiePolicy()
    assert httpcore_internals.cookie_policy_of(CookieJar(policy)) is policy
