"""Calls over real sockets, both colours: what breaks on the wire, what is retried, what is given back."""

import asyncio
import gc
import socket
import ssl
import struct
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
from support.certificates import a_certificate
from support.colours import AsyncColour, SyncColour
from support.raw_server import CHUNKED, END_CHUNKED, RawServer, answer, chunk
from support.word_exchange import word_exchange
from support.word_wire import sse

from modelwire.errors import (
    ConnectFailed,
    ConnectionLost,
    IncompleteStream,
    InvalidArgument,
    MissingDependency,
    ModelwireError,
    ProxyFailed,
    RateLimited,
    ServerError,
    StreamInterrupted,
    Timeout,
    TLSFailed,
)
from modelwire.transport.call import call_flow, stream_flow
from modelwire.transport.connections import pooled, pools
from modelwire.transport.connections.pooled import AsyncPooledConnection, SyncPooledConnection
from modelwire.transport.connections.select import async_connection, sync_connection
from modelwire.transport.drivers import adrive, adrive_stream, drive, drive_stream
from modelwire.transport.observer import CallObserver
from modelwire.transport.redaction import secrets_of
from modelwire.transport.retry import RetryPolicy
from modelwire.transport.steps import Exchange, Timeouts


def exchange(
    url: str, *, timeout_s: float | None = None, timeouts: Timeouts | None = None, **kwargs: Any
) -> Exchange:
    return word_exchange(
        url + "/chat",
        headers={"Authorization": "Bearer secret-canary", "content-type": "application/json"},
        retry=kwargs.pop("policy", RetryPolicy(max_retries=2)),
        timeouts=timeouts or Timeouts(),
        deadline=None if timeout_s is None else time.monotonic() + timeout_s,
        timeout_s=timeout_s,
        **kwargs,
    )


class Caller:
    """Runs an exchange in one colour."""

    def __init__(self, colour: Any, engine: str = "httpx2") -> None:
        self.colour = colour
        self.engine = engine

    def call(self, ex: Exchange, client: Any = None, **given: Any) -> Any:
        return self.colour.run(
            lambda: drive(call_flow(ex), sync_connection(ex, client, **given)),
            lambda: adrive(call_flow(ex), self.async_line(ex, client, **given)),
        )

    def calls(self, *exchanges: Exchange) -> list[Any]:
        """Make the calls one after the other, async ones on one event loop."""

        async def in_turn() -> list[Any]:
            return [await adrive(call_flow(ex), self.async_line(ex)) for ex in exchanges]

        return self.colour.run(
            lambda: [drive(call_flow(ex), sync_connection(ex)) for ex in exchanges], in_turn
        )

    def stream(self, ex: Exchange, client: Any = None) -> list[Any]:
        async def collect() -> list[Any]:
            return [c async for c in adrive_stream(stream_flow(ex), self.async_line(ex, client))]

        return self.colour.run(
            lambda: list(drive_stream(stream_flow(ex), sync_connection(ex, client))), collect
        )

    def async_line(self, ex: Exchange, client: Any = None, **given: Any) -> AsyncPooledConnection:
        return async_connection(ex, client, engine=self.engine, **given)


@pytest.fixture(params=["httpx2", "aiohttp"])
def engine(request: pytest.FixtureRequest) -> str:
    """Name an engine of async calls."""
    if request.param == "aiohttp":
        pytest.importorskip("aiohttp")
    return request.param


@pytest.fixture(params=["sync", "async", "sync-unwatched", "async-unwatched", "aiohttp"])
def caller(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Caller:
    """Make calls in one colour; `unwatched` as in a process that has not loaded httpx2."""
    if request.param.endswith("unwatched"):
        monkeypatch.setattr(pooled, "is_unwatched", lambda url: True)
    if request.param == "aiohttp":
        pytest.importorskip("aiohttp")
        return Caller(AsyncColour(), "aiohttp")
    return Caller(SyncColour() if request.param.startswith("sync") else AsyncColour())


def reset(peer: socket.socket) -> None:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


# ---------------------------------------------------------------- answers


def test_a_call_is_answered_and_its_bytes_are_as_given(caller: Caller, raw_server: Any) -> None:
    server: RawServer = raw_server([[answer(b"hello")]])
    assert caller.call(exchange(server.url)) == "hello"
    request = server.requests[0].lower()
    assert request.startswith(b"post /v1/chat http/1.1\r\n")
    assert b"authorization: bearer secret-canary" in request
    assert request.endswith(b"\r\n\r\n{}")


@pytest.mark.parametrize("path", ["/a%3A0/b", "/a%2Fb%20c", "/a:0/~b", "/x?y=%3A%2f&z=1"])
def test_the_path_goes_out_as_it_is_written_for_that_is_what_was_signed(
    caller: Caller, raw_server: Any, path: str
) -> None:
    server: RawServer = raw_server([[answer(b"hello")]])
    ex = exchange(server.url)
    ex.url = f"{server.url}{path}"
    assert caller.call(ex) == "hello"
    assert server.requests[0].split(b" ")[1] == b"/v1" + path.encode()


@pytest.mark.parametrize(
    "first",
    [
        [answer(b"", status=500)],
        [None],
        [reset],
        [b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nshort", None],
        [b"garbage\r\n\r\n", None],
        [b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\nnope"],
    ],
    ids=["500", "close", "reset", "truncated", "bad status line", "bad gzip"],
)
def test_bad_luck_on_the_wire_is_retried_and_the_caller_sees_one_answer(
    caller: Caller, raw_server: Any, first: Any
) -> None:
    server = raw_server([first, [answer(b"hello")]])
    assert caller.call(exchange(server.url)) == "hello"
    assert len(server.requests) == 2


def test_a_refused_connection_names_host_and_port_and_never_the_key(
    caller: Caller, refusing_port: int
) -> None:
    with pytest.raises(ConnectFailed, match=f"127.0.0.1:{refusing_port}") as caught:
        caller.call(exchange(f"http://user:pass@127.0.0.1:{refusing_port}/v1?api-key=hidden"))
    assert len(caught.value.attempts) == 3
    assert not any(word in str(caught.value) for word in ("secret-canary", "pass", "hidden"))


def test_a_redirect_is_an_error_and_is_not_followed(caller: Caller, raw_server: Any) -> None:
    other = raw_server([[answer()]])
    server = raw_server([[answer(b"", status=307, headers=f"location: {other.url}/chat\r\n")]])
    with pytest.raises(Exception, match="307"):
        caller.call(exchange(server.url))
    assert other.requests == []


def test_this_machine_is_never_asked_for_through_a_proxy(
    caller: Caller, raw_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy, server = raw_server([[answer(b"by proxy")]]), raw_server([[answer(b"hello")]])
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    assert caller.call(exchange(server.url)) == "hello"


@pytest.mark.parametrize(
    ("variable", "url", "found"),
    [
        ("HTTPS_PROXY", "https://a.example/v1", True),
        ("HTTPS_PROXY", "http://a.example/v1", False),
        ("http_proxy", "http://a.example/v1", True),
        ("http_proxy", "https://a.example/v1", False),
        ("ALL_PROXY", "https://a.example/v1", True),
    ],
)
def test_only_a_proxy_for_the_scheme_of_a_call_takes_it_to_httpx2(
    variable: str, url: str, found: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv(variable, "http://127.0.0.1:9")
    assert (sync_connection(exchange(url)).engine == "client") is found


@pytest.fixture
def clients_made_anew(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Forget the sync clients: httpx2's read the environment when they are made."""
    monkeypatch.setattr(pools, "_sync_pools", {})
    yield
    pools._close_sync_pools()


@pytest.mark.usefixtures("clients_made_anew")
@pytest.mark.parametrize("variable", ["HTTP_PROXY", "ALL_PROXY", "all_proxy"])
def test_a_proxy_of_the_environment_is_taken_with_who_we_are_to_it(
    caller: Caller, raw_server: Any, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    proxy = raw_server([[answer(b"by proxy")]])
    monkeypatch.setenv(variable, f"http://me:pw@127.0.0.1:{proxy.port}")
    assert caller.call(exchange("http://a.example/v1")) == "by proxy"
    head = proxy.requests[0].lower()
    assert head.startswith(b"post http://a.example/v1/chat http/1.1\r\n")
    assert b"proxy-authorization: basic bwu6chc=" in head


@pytest.mark.usefixtures("clients_made_anew")
def test_a_proxy_of_the_environment_may_be_without_a_scheme(
    caller: Caller, raw_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = raw_server([[answer(b"by proxy")]])
    monkeypatch.setenv("ALL_PROXY", f"127.0.0.1:{proxy.port}")
    assert caller.call(exchange("http://a.example/v1")) == "by proxy"


@pytest.mark.usefixtures("clients_made_anew")
def test_a_call_under_tls_asks_the_proxy_for_a_way_through(
    caller: Caller, raw_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal = answer(b"", status=407)
    proxy = raw_server([[refusal]], repeat=True)
    monkeypatch.setenv("ALL_PROXY", f"http://me:secret-pw@127.0.0.1:{proxy.port}")
    with pytest.raises(ProxyFailed) as caught:
        caller.call(exchange("https://a.example/v1", policy=RetryPolicy(max_retries=0)))
    assert proxy.requests[0].lower().startswith(b"connect a.example:443 http/1.1\r\n")
    assert "secret-pw" not in str(caught.value)
    assert "secret-pw" not in repr(caught.value.__cause__)


@pytest.mark.usefixtures("clients_made_anew")
def test_a_proxy_that_cannot_be_reached_is_named_and_tried_again(
    caller: Caller, monkeypatch: pytest.MonkeyPatch, refusing_port: int
) -> None:
    monkeypatch.setenv("ALL_PROXY", f"http://me:secret-pw@127.0.0.1:{refusing_port}")
    with pytest.raises(ConnectFailed, match=r"The proxy .* cannot be reached") as caught:
        caller.call(exchange("https://a.example/v1", policy=RetryPolicy(max_retries=1)))
    assert len(caught.value.attempts) == 2
    assert "secret-pw" not in f"{caught.value} {caught.value.__cause__!r}"


@pytest.mark.usefixtures("clients_made_anew")
def test_what_a_proxy_says_again_of_who_we_are_is_not_shown(
    caller: Caller, raw_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = raw_server([[answer(b"no way, me:secret-pw", status=403), None]], repeat=True)
    monkeypatch.setenv("ALL_PROXY", f"http://me:secret-pw@127.0.0.1:{proxy.port}")
    with pytest.raises(ModelwireError) as caught:
        caller.call(exchange("http://a.example/v1", policy=RetryPolicy(max_retries=0)))
    assert "no way" in f"{caught.value}"
    assert "secret-pw" not in f"{caught.value} {caught.value.body}"


@pytest.mark.parametrize(
    "proxy", ["socks5://me:secret-pw@h:1", "me:secret-pw@h:1", "h:1", "http://h:1"]
)
def test_the_password_of_any_kind_of_proxy_is_looked_for(proxy: str) -> None:
    ex = exchange("http://a.example/v1")
    ex.client = None, proxy
    assert ("secret-pw" in secrets_of(ex)) is ("secret-pw" in proxy)


@pytest.mark.parametrize("no_proxy", ["*", "a.example", ".example", "b.example,a.example"])
def test_no_proxy_is_kept_by_aiohttp(monkeypatch: pytest.MonkeyPatch, no_proxy: str) -> None:
    pytest.importorskip("aiohttp")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    line = async_connection(exchange("https://a.example/v1"), engine="aiohttp")
    assert line._proxy_of_call() == "http://127.0.0.1:9"
    monkeypatch.setenv("NO_PROXY", no_proxy)
    assert line._proxy_of_call() is None


@pytest.mark.parametrize("way", ["environment", "argument"])
def test_aiohttp_says_that_it_speaks_to_no_socks_proxy(
    monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    pytest.importorskip("aiohttp")
    proxy = "socks5://me:secret-pw@127.0.0.1:9"
    if way == "environment":
        monkeypatch.setenv("ALL_PROXY", proxy)
    given = {} if way == "environment" else {"proxy": proxy}
    with pytest.raises(InvalidArgument, match=r"SOCKS.*httpx2") as caught:
        Caller(AsyncColour(), "aiohttp").call(exchange("http://a.example/v1"), **given)
    assert "secret-pw" not in str(caught.value)


def test_informational_replies_are_skipped(caller: Caller, raw_server: Any) -> None:
    server = raw_server([[b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + answer(b"hello")]])
    assert caller.call(exchange(server.url)) == "hello"


def test_a_header_value_with_a_newline_is_refused_without_showing_it(
    caller: Caller, raw_server: Any
) -> None:
    server = raw_server([[answer()]])
    ex = exchange(server.url)
    ex.headers["x-note"] = "a\r\nx-evil: secret-canary"
    with pytest.raises(InvalidArgument) as caught:
        caller.call(ex)
    assert "secret-canary" not in str(caught.value)
    assert server.requests == []


# ---------------------------------------------------------------- time


def test_silence_before_the_head_ends_at_the_first_byte_limit(
    caller: Caller, raw_server: Any
) -> None:
    server = raw_server([[30.0]])
    with pytest.raises(Timeout, match="Nothing was received"):
        caller.call(
            exchange(
                server.url, timeouts=Timeouts(first_byte_s=0.1), policy=RetryPolicy(max_retries=0)
            )
        )


TRICKLES = {
    "body": [b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n", *([b"x", 0.05] * 400)],
    "header lines": [b"HTTP/1.1 200 OK\r\n", *([b"x-padding: a\r\n", 0.2] * 90)],
    "chunk size": [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", *([b"0", 0.2] * 90)],
}


@pytest.mark.parametrize("trickle", TRICKLES.values(), ids=TRICKLES.keys())
def test_the_total_timeout_holds_against_a_slow_trickle(
    caller: Caller, raw_server: Any, trickle: list[Any]
) -> None:
    server = raw_server([trickle])
    began = time.monotonic()
    with pytest.raises(Timeout, match=r"`timeout` of 0\.3 s") as caught:
        caller.call(exchange(server.url, timeout_s=0.3))
    assert time.monotonic() - began < 12  # the trickle goes on for 18 s and more
    assert isinstance(caught.value, TimeoutError)
    assert not caught.value.retryable


def test_silence_in_a_stream_ends_at_the_idle_limit_with_the_part(
    caller: Caller, raw_server: Any
) -> None:
    server = raw_server([[CHUNKED + chunk(sse("a", "b")), 30.0]])
    with pytest.raises(StreamInterrupted, match="Nothing was received") as caught:
        caller.stream(exchange(server.url, timeouts=Timeouts(idle_s=0.1)))
    assert caught.value.partial == "ab"


def test_a_stream_may_pause_for_longer_than_the_head_may_take(
    caller: Caller, raw_server: Any
) -> None:
    server = raw_server([[CHUNKED + chunk(sse("a")), 0.5, chunk(sse("END")) + END_CHUNKED]])
    limits = Timeouts(first_byte_s=0.2, idle_s=20)
    assert caller.stream(exchange(server.url, timeouts=limits)) == ["a", "."]


def test_a_whole_answer_may_pause_for_longer_than_the_head_may_take(
    caller: Caller, raw_server: Any
) -> None:
    server = raw_server([[b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhe", 0.5, b"llo"]])
    assert (
        caller.call(exchange(server.url, timeouts=Timeouts(first_byte_s=0.2, idle_s=20))) == "hello"
    )


def test_a_connection_that_is_used_again_has_its_own_limit_for_the_head(
    caller: Caller, raw_server: Any
) -> None:
    server = raw_server([[answer()], [0.5, answer()], [30.0]])
    first, second = (
        exchange(server.url, timeouts=Timeouts(first_byte_s=s, idle_s=20)) for s in (0.2, 20)
    )
    third = exchange(
        server.url,
        timeouts=Timeouts(first_byte_s=0.2, idle_s=20),
        policy=RetryPolicy(max_retries=0),
    )
    with pytest.raises(Timeout, match="Nothing was received"):
        caller.calls(first, second, third)
    assert len(server.requests) == 3


def test_a_stream_ends_at_the_total_timeout_as_a_timeout_with_the_part(
    caller: Caller, raw_server: Any
) -> None:
    server = raw_server([[CHUNKED + chunk(sse("a")), *([chunk(b": ping\n\n"), 0.05] * 400)]])
    with pytest.raises(Timeout) as caught:
        caller.stream(exchange(server.url, timeout_s=0.3))
    assert caught.value.partial == "a"


# ---------------------------------------------------------------- streams


def test_a_stream_in_single_bytes_gives_the_same_chunks(caller: Caller, raw_server: Any) -> None:
    body = sse("größe", "🍷", "END")
    server = raw_server(
        [[CHUNKED, *(chunk(body[i : i + 1]) for i in range(len(body))), END_CHUNKED]]
    )
    assert caller.stream(exchange(server.url)) == ["größe", "🍷", "."]


def test_a_reset_after_the_first_chunk_hands_over_exactly_what_was_sent(
    caller: Caller, raw_server: Any
) -> None:
    server = raw_server([[CHUNKED + chunk(sse("a", "b")), 0.05, reset]])
    with pytest.raises(StreamInterrupted) as caught:
        caller.stream(exchange(server.url))
    assert caught.value.partial == "ab"
    assert isinstance(caught.value.__cause__, ConnectionLost)
    assert len(server.requests) == 1


def test_a_body_that_ends_cleanly_without_the_mark_is_not_an_answer(
    caller: Caller, raw_server: Any
) -> None:
    server = raw_server([[CHUNKED + chunk(sse("a", "b")) + END_CHUNKED]])
    with pytest.raises(IncompleteStream) as caught:
        caller.stream(exchange(server.url))
    assert caught.value.partial == "ab"


def test_a_rate_limit_before_a_stream_is_waited_out(caller: Caller, raw_server: Any) -> None:
    limited = answer(b"slow", status=429, headers="retry-after-ms: 5\r\n")
    server = raw_server([[limited], [CHUNKED + chunk(sse("a", "END")) + END_CHUNKED]])
    told: list[Any] = []

    class Waits(CallObserver):
        def waiting(self, step: Any) -> None:
            told.append(step)

    assert caller.stream(exchange(server.url, observers=(Waits(),))) == ["a", "."]
    assert [(type(sleep.error), sleep.attempt) for sleep in told if sleep is not None] == [
        (RateLimited, 1)
    ]


def test_leaving_a_stream_early_closes_its_connection_and_the_next_call_works(
    caller: Caller, raw_server: Any
) -> None:
    closed = threading.Event()

    def until_the_client_leaves(peer: socket.socket) -> None:
        while peer.recv(100):
            pass
        closed.set()

    server = raw_server(
        [[CHUNKED + chunk(sse("a", "b")), until_the_client_leaves], [answer(b"next")]]
    )
    ex = exchange(server.url)

    def leave() -> str:
        stream = drive_stream(stream_flow(ex), SyncPooledConnection(ex))
        assert next(stream) == "a"
        stream.close()
        again = exchange(server.url)
        return drive(call_flow(again), SyncPooledConnection(again))

    async def aleave() -> str:
        stream = adrive_stream(stream_flow(ex), caller.async_line(ex))
        assert await anext(stream) == "a"
        await stream.aclose()
        again = exchange(server.url)
        return await adrive(call_flow(again), caller.async_line(again))

    assert caller.colour.run(leave, aleave) == "next"
    assert closed.wait(5)


# ---------------------------------------------------------------- connections and clients


def test_a_kept_alive_connection_is_used_again(caller: Caller, raw_server: Any) -> None:
    server = raw_server([[answer()]], repeat=True)
    caller.calls(*(exchange(server.url) for _ in range(3)))
    assert server.connections == 1


def test_a_stale_kept_alive_connection_is_replaced_unseen(caller: Caller, raw_server: Any) -> None:
    server = raw_server([[answer(), 0.01, None], [answer(b"again")]])
    assert caller.calls(exchange(server.url), exchange(server.url))[1] == "again"


@pytest.mark.parametrize("library", [httpx, httpx2], ids=lambda m: m.__name__)
def test_the_users_own_client_is_used_and_its_errors_are_ours(
    colour: Any, raw_server: Any, library: Any
) -> None:
    server = raw_server([[answer(b"hello")], [answer(b"", status=500)], [None]])
    policy = RetryPolicy(max_retries=0)

    def use() -> str:
        with library.Client(headers={"x-mine": "1"}) as client:
            out = drive(call_flow(ex := exchange(server.url)), sync_connection(ex, client))
            for error in (ServerError, ConnectionLost):
                with pytest.raises(error):
                    drive(
                        call_flow(ex := exchange(server.url, policy=policy)),
                        sync_connection(ex, client),
                    )
        return out

    async def ause() -> str:
        async with library.AsyncClient(headers={"x-mine": "1"}) as client:
            out = await adrive(call_flow(ex := exchange(server.url)), async_connection(ex, client))
            for error in (ServerError, ConnectionLost):
                with pytest.raises(error):
                    await adrive(
                        call_flow(ex := exchange(server.url, policy=policy)),
                        async_connection(ex, client),
                    )
        return out

    assert colour.run(use, ause) == "hello"
    assert all(b"x-mine: 1" in request for request in server.requests)


@pytest.mark.long
def test_fifty_event_loops_in_turn_close_what_they_opened(engine: str, raw_server: Any) -> None:
    server = raw_server([[answer()]], repeat=True)

    async def once() -> str:
        ex = exchange(server.url)
        return await adrive(call_flow(ex), async_connection(ex, engine=engine))

    for _ in range(50):
        assert asyncio.run(once()) == "hello"
    gc.collect()  # an unclosed transport would warn here, and warnings are errors


def test_threads_with_loops_of_their_own_do_not_meet(engine: str, raw_server: Any) -> None:
    server = raw_server([[answer()]], repeat=True)
    out: list[str] = []

    async def some() -> None:
        for _ in range(5):
            ex = exchange(server.url)
            out.append(await adrive(call_flow(ex), async_connection(ex, engine=engine)))

    threads = [threading.Thread(target=lambda: asyncio.run(some())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert out == ["hello"] * 40


def test_cancelling_a_call_gives_its_connection_back(engine: str, raw_server: Any) -> None:
    server = raw_server([[30.0], [answer()]])

    async def cancel() -> str:
        ex = exchange(server.url)
        line = async_connection(ex, engine=engine)
        task = asyncio.create_task(adrive(call_flow(ex), line))
        while not server.requests:  # noqa: ASYNC110 - the server is a thread
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await pools.async_pool(line._settings)).in_flight == 0
        again = exchange(server.url)
        return await adrive(call_flow(again), async_connection(again, engine=engine))

    assert asyncio.run(cancel()) == "hello"


# ---------------------------------------------------------------- who we are


def test_a_key_wins_over_a_user_in_the_url_and_is_sent_once(
    caller: Caller, raw_server: Any
) -> None:
    server = raw_server([[answer()], [answer()]])
    with_user = server.url.replace("http://", "http://user:pw@")
    caller.call(exchange(with_user))
    ex = exchange(with_user)
    del ex.headers["Authorization"]
    caller.call(ex)
    heads = [request.lower().count(b"authorization:") for request in server.requests]
    assert heads == [1, 1]
    assert b"bearer secret-canary" in server.requests[0].lower()
    assert b"basic dxnlcjpwdw==" in server.requests[1].lower()


def test_an_error_is_told_by_its_status_whatever_its_compression(
    caller: Caller, raw_server: Any
) -> None:
    server = raw_server([[answer(b"xx", status=401, headers="content-encoding: br\r\n")]])
    with pytest.raises(Exception, match="401"):
        caller.call(exchange(server.url))
    assert len(server.requests) == 1


def test_what_the_client_says_of_a_bad_header_hangs_on_nothing(
    caller: Caller, raw_server: Any
) -> None:
    server = raw_server([[answer()]])
    ex = exchange(server.url)
    ex.headers["x-note"] = "a\r\nx-evil: secret-canary"
    with pytest.raises(InvalidArgument) as caught:
        caller.call(ex)
    seen, error = [], caught.value
    while error is not None:
        seen.append(repr(error))
        error = error.__cause__ or error.__context__
    assert not any("secret-canary" in text for text in seen)


@pytest.mark.long
def test_a_part_is_told_though_what_followed_was_too_large(caller: Caller, raw_server: Any) -> None:
    import gzip

    from modelwire.transport.sse import MAX_EVENT_BYTES

    packed = gzip.compress(sse("a", "b") + b"data: " + b"x" * (MAX_EVENT_BYTES + 10))
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n"
    server = raw_server([[head, chunk(packed), END_CHUNKED]])
    with pytest.raises(IncompleteStream) as caught:
        caller.stream(exchange(server.url, policy=RetryPolicy(max_retries=0)))
    assert caught.value.partial == "ab"


# ---------------------------------------------------------------- what the layers below leave behind


def test_ctrl_c_while_a_connection_is_put_back_does_not_spoil_the_next_call(
    raw_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import h11

    def interrupted(_: Any) -> None:
        monkeypatch.undo()
        raise KeyboardInterrupt

    server = raw_server([[answer(b"hello")]], repeat=True)
    monkeypatch.setattr(h11.Connection, "start_next_cycle", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Caller(SyncColour()).call(exchange(server.url))
    assert Caller(SyncColour()).call(exchange(server.url)) == "hello"
    assert server.connections == 2


def corked(*records: bytes) -> Callable[[socket.socket], None]:
    """Send them as TLS records of their own, all in one packet."""

    def send(peer: socket.socket) -> None:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        for record in records:
            peer.sendall(record)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)

    return send


@pytest.fixture
def tls_server(tmp_path: Path) -> Iterator[Callable[[list[Any]], tuple[str, Path]]]:
    """Start servers with a certificate nobody trusts yet; give the address of each, and the certificate."""
    certificate, tls = a_certificate(tmp_path)
    servers: list[RawServer] = []

    def start(entry: list[Any]) -> tuple[str, Path]:
        servers.append(RawServer([entry], repeat=True, tls=tls))
        return servers[-1].url.replace("http:", "https:"), certificate

    yield start
    for server in servers:
        server.close()


def test_a_certificate_that_is_not_trusted_is_told_as_such(caller: Caller, tls_server: Any) -> None:
    url, _ = tls_server([answer(b"hello")])
    with pytest.raises(TLSFailed, match="SSL_CERT_FILE"):
        caller.call(exchange(url))


def test_a_certificate_for_another_name_is_told_as_such(
    caller: Caller, tls_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, certificate = tls_server([answer(b"hello")])
    trust = ssl.create_default_context(cafile=certificate)
    monkeypatch.setattr(pools, "trust_store", lambda: trust)
    assert caller.call(exchange(url)) == "hello"
    with pytest.raises(TLSFailed, match=r"(?i)hostname"):
        caller.call(exchange(url.replace("127.0.0.1", "localhost")))


@pytest.mark.long
@pytest.mark.skipif(not hasattr(socket, "TCP_CORK"), reason="cannot send two records in a packet")
def test_a_second_answer_under_tls_is_not_taken_for_that_of_the_next_call(
    caller: Caller, tls_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, certificate = tls_server([corked(answer(b"hello"), answer(b"poison"))])
    trust = ssl.create_default_context(cafile=certificate)
    monkeypatch.setattr(pools, "trust_store", lambda: trust)
    assert caller.calls(*(exchange(url) for _ in range(3))) == ["hello"] * 3


@pytest.mark.long
def test_a_connection_under_tls_is_closed_though_the_server_sends_no_farewell(
    caller: Caller, tls_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = threading.Event()
    url, certificate = tls_server(
        [answer(b"hello", headers="connection: close\r\n"), lambda peer: done.wait(10)]
    )
    trust = ssl.create_default_context(cafile=certificate)
    monkeypatch.setattr(pools, "trust_store", lambda: trust)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        assert caller.calls(exchange(url)) == ["hello"]
        gc.collect()
    done.set()
    assert [str(each.message) for each in caught] == []


def test_a_call_cancelled_while_it_shakes_hands_closes_its_socket(engine: str) -> None:
    async def go() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            ex = exchange(f"https://127.0.0.1:{listener.getsockname()[1]}/v1")
            call = asyncio.create_task(adrive(call_flow(ex), async_connection(ex, engine=engine)))
            peer, _ = await asyncio.to_thread(listener.accept)
            with peer:
                peer.settimeout(5)
                assert await asyncio.to_thread(peer.recv, 65536)  # it has said hello
                call.cancel()
                with pytest.raises(asyncio.CancelledError) as caught:
                    await call
                assert await asyncio.to_thread(peer.recv, 1) == b""
                assert (
                    caught.value is not None
                )  # until here its frames keep the socket from being collected

    asyncio.run(go())


def test_without_aiohttp_its_engine_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    with pytest.raises(MissingDependency, match=r"modelwire\[aiohttp\]"):
        asyncio.run(
            adrive(
                call_flow(ex := exchange("http://127.0.0.1:9/v1")),
                async_connection(ex, engine="aiohttp"),
            )
        )
