"""Calls over real sockets, both colours: what breaks on the wire, what is retried, what is given back."""

import asyncio
import gc
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import httpx
import httpx2
import pytest
from support.colours import AsyncColour, SyncColour
from support.raw_server import CHUNKED, END_CHUNKED, RawServer, answer, chunk
from support.word_wire import WordWire, sse

from modelwire.errors import (
    ConnectFailed,
    ConnectionLost,
    IncompleteStream,
    InvalidArgument,
    RateLimited,
    ServerError,
    StreamInterrupted,
    Timeout,
)
from modelwire.transport import pools
from modelwire.transport.drivers import adrive, adrive_stream, drive, drive_stream
from modelwire.transport.flow import Exchange, Timeouts, call_flow, stream_flow
from modelwire.transport.lines import AsyncLine, SyncLine, async_line, sync_line
from modelwire.transport.retry import RetryPolicy


def exchange(url: str, *, timeout_s: float | None = None, timeouts: Timeouts | None = None, **kwargs: Any) -> Exchange:
    return Exchange(
        url=url + "/chat",
        headers={"Authorization": "Bearer secret-canary", "content-type": "application/json"},
        content=b"{}",
        wire=WordWire(),
        policy=kwargs.pop("policy", RetryPolicy(max_retries=2)),
        timeouts=timeouts or Timeouts(),
        clock=time.monotonic,
        rng=Random(1),
        merge="".join,
        as_chunk=str,
        deadline=None if timeout_s is None else time.monotonic() + timeout_s,
        timeout_s=timeout_s,
        **kwargs,
    )


class Caller:
    """Runs an exchange in one colour."""

    def __init__(self, colour: Any, engine: str = "httpx2") -> None:
        self.colour = colour
        self.engine = engine

    def call(self, ex: Exchange, client: Any = None) -> Any:
        return self.colour.run(
            lambda: drive(call_flow(ex), sync_line(ex, client)),
            lambda: adrive(call_flow(ex), async_line(ex, client, engine=self.engine)),
        )

    def stream(self, ex: Exchange, client: Any = None) -> list[Any]:
        async def collect() -> list[Any]:
            return [c async for c in adrive_stream(stream_flow(ex), async_line(ex, client, engine=self.engine))]

        return self.colour.run(lambda: list(drive_stream(stream_flow(ex), sync_line(ex, client))), collect)


@pytest.fixture(params=["sync", "async", "aiohttp"])
def caller(request: pytest.FixtureRequest) -> Caller:
    if request.param == "aiohttp":
        pytest.importorskip("aiohttp")
        return Caller(AsyncColour(), "aiohttp")
    return Caller(SyncColour() if request.param == "sync" else AsyncColour())


def reset(peer: socket.socket) -> None:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


# ---------------------------------------------------------------- answers


def test_a_call_is_answered_and_its_bytes_are_as_given(caller: Caller, raw_server: Any) -> None:
    server: RawServer = raw_server([[answer(b"hello")]])
    assert caller.call(exchange(server.url)) == "hello"
    request = server.requests[0].lower()
    assert request.startswith(b"post /v1/chat http/1.1\r\n")
    assert b"authorization: bearer secret-canary" in request
    assert request.endswith(b"\r\n\r\n{}")


@pytest.mark.parametrize(
    "first",
    [[answer(b"", status=500)], [None], [reset], [b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nshort", None],
     [b"garbage\r\n\r\n", None], [b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\nnope"]],
    ids=["500", "close", "reset", "truncated", "bad status line", "bad gzip"],
)  # fmt: skip
def test_bad_luck_on_the_wire_is_retried_and_the_caller_sees_one_answer(
    caller: Caller, raw_server: Any, first: Any
) -> None:
    server = raw_server([first, [answer(b"hello")]])
    assert caller.call(exchange(server.url)) == "hello"
    assert len(server.requests) == 2


def test_a_refused_connection_names_host_and_port_and_never_the_key(caller: Caller) -> None:
    port = free_port()
    with pytest.raises(ConnectFailed, match=f"127.0.0.1:{port}") as caught:
        caller.call(exchange(f"http://user:pass@127.0.0.1:{port}/v1?api-key=hidden"))
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
    assert (sync_line(exchange(url)).engine == "client") is found


def test_informational_replies_are_skipped(caller: Caller, raw_server: Any) -> None:
    server = raw_server([[b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + answer(b"hello")]])
    assert caller.call(exchange(server.url)) == "hello"


def test_a_header_value_with_a_newline_is_refused_without_showing_it(caller: Caller, raw_server: Any) -> None:
    server = raw_server([[answer()]])
    ex = exchange(server.url)
    ex.headers["x-note"] = "a\r\nx-evil: secret-canary"
    with pytest.raises(InvalidArgument) as caught:
        caller.call(ex)
    assert "secret-canary" not in str(caught.value)
    assert server.requests == []


# ---------------------------------------------------------------- time


def test_silence_before_the_head_ends_at_the_first_byte_limit(caller: Caller, raw_server: Any) -> None:
    server = raw_server([[30.0]])
    with pytest.raises(Timeout, match="Nothing was received"):
        caller.call(exchange(server.url, timeouts=Timeouts(first_byte_s=0.1), policy=RetryPolicy(max_retries=0)))


TRICKLES = {
    "body": [b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n", *([b"x", 0.05] * 400)],
    "header lines": [b"HTTP/1.1 200 OK\r\n", *([b"x-padding: a\r\n", 0.05] * 90)],
    "chunk size": [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", *([b"0", 0.05] * 90)],
}


@pytest.mark.parametrize("trickle", TRICKLES.values(), ids=TRICKLES.keys())
def test_the_total_timeout_holds_against_a_slow_trickle(caller: Caller, raw_server: Any, trickle: list[Any]) -> None:
    server = raw_server([trickle])
    began = time.monotonic()
    with pytest.raises(Timeout, match=r"`timeout` of 0\.3 s") as caught:
        caller.call(exchange(server.url, timeout_s=0.3))
    assert time.monotonic() - began < 3.0  # the trickle goes on for longer
    assert isinstance(caught.value, TimeoutError)
    assert not caught.value.retryable


def test_silence_in_a_stream_ends_at_the_idle_limit_with_the_part(caller: Caller, raw_server: Any) -> None:
    server = raw_server([[CHUNKED + chunk(sse("a", "b")), 30.0]])
    with pytest.raises(StreamInterrupted, match="Nothing was received") as caught:
        caller.stream(exchange(server.url, timeouts=Timeouts(idle_s=0.1)))
    assert caught.value.partial == "ab"


def test_a_stream_ends_at_the_total_timeout_as_a_timeout_with_the_part(caller: Caller, raw_server: Any) -> None:
    server = raw_server([[CHUNKED + chunk(sse("a")), *([chunk(b": ping\n\n"), 0.05] * 400)]])
    with pytest.raises(Timeout) as caught:
        caller.stream(exchange(server.url, timeout_s=0.3))
    assert caught.value.partial == "a"


# ---------------------------------------------------------------- streams


def test_a_stream_in_single_bytes_gives_the_same_chunks(caller: Caller, raw_server: Any) -> None:
    body = sse("größe", "🍷", "END")
    server = raw_server([[CHUNKED, *(chunk(body[i : i + 1]) for i in range(len(body))), END_CHUNKED]])
    assert caller.stream(exchange(server.url)) == ["größe", "🍷", "."]


def test_a_reset_after_the_first_chunk_hands_over_exactly_what_was_sent(caller: Caller, raw_server: Any) -> None:
    server = raw_server([[CHUNKED + chunk(sse("a", "b")), 0.05, reset]])
    with pytest.raises(StreamInterrupted) as caught:
        caller.stream(exchange(server.url))
    assert caught.value.partial == "ab"
    assert isinstance(caught.value.__cause__, ConnectionLost)
    assert len(server.requests) == 1


def test_a_body_that_ends_cleanly_without_the_mark_is_not_an_answer(caller: Caller, raw_server: Any) -> None:
    server = raw_server([[CHUNKED + chunk(sse("a", "b")) + END_CHUNKED]])
    with pytest.raises(IncompleteStream) as caught:
        caller.stream(exchange(server.url))
    assert caught.value.partial == "ab"


def test_a_rate_limit_before_a_stream_is_waited_out(caller: Caller, raw_server: Any) -> None:
    limited = answer(b"slow", status=429, headers="retry-after-ms: 5\r\n")
    server = raw_server([[limited], [CHUNKED + chunk(sse("a", "END")) + END_CHUNKED]])
    told: list[Any] = []
    ex = exchange(server.url)

    async def collect() -> list[Any]:
        return [c async for c in adrive_stream(stream_flow(ex), AsyncLine(ex), told.append)]

    out = caller.colour.run(lambda: list(drive_stream(stream_flow(ex), SyncLine(ex), told.append)), collect)
    assert out == ["a", "."]
    assert [(type(sleep.error), sleep.attempt) for sleep in told] == [(RateLimited, 1)]


def test_leaving_a_stream_early_closes_its_connection_and_the_next_call_works(colour: Any, raw_server: Any) -> None:
    closed = threading.Event()

    def until_the_client_leaves(peer: socket.socket) -> None:
        while peer.recv(100):
            pass
        closed.set()

    server = raw_server([[CHUNKED + chunk(sse("a", "b")), until_the_client_leaves], [answer(b"next")]])
    ex = exchange(server.url)

    def leave() -> str:
        stream = drive_stream(stream_flow(ex), SyncLine(ex))
        assert next(stream) == "a"
        stream.close()
        again = exchange(server.url)
        return drive(call_flow(again), SyncLine(again))

    async def aleave() -> str:
        stream = adrive_stream(stream_flow(ex), AsyncLine(ex))
        assert await anext(stream) == "a"
        await stream.aclose()
        again = exchange(server.url)
        return await adrive(call_flow(again), AsyncLine(again))

    assert colour.run(leave, aleave) == "next"
    assert closed.wait(5)


# ---------------------------------------------------------------- connections and clients


def test_a_kept_alive_connection_is_used_again(colour: Any, raw_server: Any) -> None:
    server = raw_server([[answer()]], repeat=True)

    def three() -> None:
        for _ in range(3):
            ex = exchange(server.url)
            drive(call_flow(ex), SyncLine(ex))

    async def athree() -> None:
        for _ in range(3):
            ex = exchange(server.url)
            await adrive(call_flow(ex), AsyncLine(ex))

    colour.run(three, athree)
    assert server.connections == 1


def test_a_stale_kept_alive_connection_is_replaced_unseen(caller: Caller, raw_server: Any) -> None:
    server = raw_server([[answer(), 0.01, None], [answer(b"again")]])

    def twice() -> str:
        for _ in range(2):
            ex = exchange(server.url)
            out = drive(call_flow(ex), SyncLine(ex))
        return out

    async def atwice() -> str:
        for _ in range(2):
            ex = exchange(server.url)
            out = await adrive(call_flow(ex), AsyncLine(ex))
        return out

    assert caller.colour.run(twice, atwice) == "again"


@pytest.mark.parametrize("library", [httpx, httpx2], ids=lambda m: m.__name__)
def test_the_users_own_client_is_used_and_its_errors_are_ours(colour: Any, raw_server: Any, library: Any) -> None:
    server = raw_server([[answer(b"hello")], [answer(b"", status=500)], [None]])
    policy = RetryPolicy(max_retries=0)

    def use() -> str:
        with library.Client(headers={"x-mine": "1"}) as client:
            out = drive(call_flow(ex := exchange(server.url)), sync_line(ex, client))
            for error in (ServerError, ConnectionLost):
                with pytest.raises(error):
                    drive(call_flow(ex := exchange(server.url, policy=policy)), sync_line(ex, client))
        return out

    async def ause() -> str:
        async with library.AsyncClient(headers={"x-mine": "1"}) as client:
            out = await adrive(call_flow(ex := exchange(server.url)), async_line(ex, client))
            for error in (ServerError, ConnectionLost):
                with pytest.raises(error):
                    await adrive(call_flow(ex := exchange(server.url, policy=policy)), async_line(ex, client))
        return out

    assert colour.run(use, ause) == "hello"
    assert all(b"x-mine: 1" in request for request in server.requests)


def test_fifty_event_loops_in_turn_close_what_they_opened(raw_server: Any) -> None:
    server = raw_server([[answer()]], repeat=True)

    async def once() -> str:
        ex = exchange(server.url)
        return await adrive(call_flow(ex), AsyncLine(ex))

    for _ in range(50):
        assert asyncio.run(once()) == "hello"
    gc.collect()  # an unclosed transport would warn here, and warnings are errors


def test_threads_with_loops_of_their_own_do_not_meet(raw_server: Any) -> None:
    server = raw_server([[answer()]], repeat=True)
    out: list[str] = []

    async def some() -> None:
        for _ in range(5):
            ex = exchange(server.url)
            out.append(await adrive(call_flow(ex), AsyncLine(ex)))

    threads = [threading.Thread(target=lambda: asyncio.run(some())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert out == ["hello"] * 40


def test_cancelling_a_call_gives_its_connection_back(raw_server: Any) -> None:
    server = raw_server([[30.0], [answer()]])

    async def cancel() -> str:
        ex = exchange(server.url)
        task = asyncio.create_task(adrive(call_flow(ex), AsyncLine(ex)))
        while not server.requests:  # noqa: ASYNC110 - the server is a thread
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        from modelwire.transport.pools import ClientSettings, async_pool

        assert (await async_pool(ClientSettings(secure=False))).in_flight == 0
        again = exchange(server.url)
        return await adrive(call_flow(again), AsyncLine(again))

    assert asyncio.run(cancel()) == "hello"


# ---------------------------------------------------------------- who we are


def test_a_key_wins_over_a_user_in_the_url_and_is_sent_once(caller: Caller, raw_server: Any) -> None:
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


def test_an_error_is_told_by_its_status_whatever_its_compression(caller: Caller, raw_server: Any) -> None:
    server = raw_server([[answer(b"xx", status=401, headers="content-encoding: br\r\n")]])
    with pytest.raises(Exception, match="401"):
        caller.call(exchange(server.url))
    assert len(server.requests) == 1


def test_what_the_client_says_of_a_bad_header_hangs_on_nothing(caller: Caller, raw_server: Any) -> None:
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


@pytest.mark.skipif(not hasattr(socket, "TCP_CORK"), reason="cannot send two records in a packet")
def test_a_second_answer_under_tls_is_not_taken_for_that_of_the_next_call(
    colour: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, certificate = str(tmp_path / "key.pem"), str(tmp_path / "certificate.pem")
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "1",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
        capture_output=True, check=False,
    )  # fmt: skip
    if made.returncode:
        pytest.skip("no openssl to make a certificate with")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    trust = ssl.create_default_context(cafile=certificate)
    monkeypatch.setattr(pools, "_trust_store", lambda: trust)
    server = RawServer([[corked(answer(b"hello"), answer(b"poison"))]], repeat=True, tls=tls)
    url = server.url.replace("http:", "https:")

    async def calls() -> list[str]:
        made = [exchange(url) for _ in range(3)]
        return [await adrive(call_flow(ex), async_line(ex)) for ex in made]

    def sync_calls() -> list[str]:
        return [Caller(colour).call(exchange(url)) for _ in range(3)]

    assert colour.run(sync_calls, calls) == ["hello"] * 3
    server.close()


def test_a_call_cancelled_while_it_shakes_hands_closes_its_socket() -> None:
    async def go() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            ex = exchange(f"https://127.0.0.1:{listener.getsockname()[1]}/v1")
            call = asyncio.create_task(adrive(call_flow(ex), async_line(ex)))
            peer, _ = await asyncio.to_thread(listener.accept)
            with peer:
                peer.settimeout(5)
                assert await asyncio.to_thread(peer.recv, 65536)  # it has said hello
                call.cancel()
                with pytest.raises(asyncio.CancelledError) as caught:
                    await call
                assert await asyncio.to_thread(peer.recv, 1) == b""
                assert caught.value is not None  # until here its frames keep the socket from being collected

    asyncio.run(go())
