"""The catalogue's N lines: what breaks between two machines, over real sockets."""

from __future__ import annotations

import gc
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from support.raw_server import CHUNKED, END_CHUNKED, answer, chunk

from modelwire.adapters import ChatOpenAI
from modelwire.errors import (
    AuthenticationError,
    BadRequest,
    ChatError,
    ConnectFailed,
    ConnectionLost,
    MalformedResponse,
    ProxyFailed,
    RequestTooLarge,
    StreamInterrupted,
    Timeout,
    TLSFailed,
)
from modelwire.testing import Fault, ProviderServer, faults
from modelwire.transport.steps import Timeouts

KEY = "sk-canary-0123456789abcdef"
SAID = b'{"choices":[{"index":0,"message":{"role":"assistant","content":"good"},"finish_reason":"stop"}],"model":"m"}'
RST = struct.pack("ii", 1, 0)


def model_at(url: str, **given: Any) -> ChatOpenAI:
    return ChatOpenAI(
        **{"model": "m", "base_url": url, "api_key": KEY, "rate_limit": None, **given}
    )


def event(text: str, finish: str = "null") -> bytes:
    said = f'{{"choices":[{{"index":0,"delta":{{"content":"{text}"}},"finish_reason":{finish}}}],"model":"m"}}'
    return b"data: " + said.encode() + b"\n\n"


# Events that open a block of content.
BEFORE_CONTENT = {"openai": 0, "anthropic": 1, "responses": 2, "bedrock": 0, "gemini": 0}
STREAM_END = event("", '"stop"') + b"data: [DONE]\n\n"

# ---------------------------------------------------------------- bad luck that nobody notices


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(faults.reset("request"), id="N6"),
        pytest.param(faults.close(), id="N7"),
        pytest.param(faults.reset("headers"), id="N8"),
        pytest.param(faults.reset("body"), id="N9"),
        pytest.param(faults.cut(), id="N9-closed"),
        pytest.param(faults.content_length(10), id="N16"),
        pytest.param(faults.bad_chunk_size(), id="N18"),
        pytest.param(faults.gzip_garbage(), id="N20"),
        pytest.param(faults.garbage(), id="N7-no-http"),
    ],
)
def test_a_broken_answer_is_asked_for_again(
    colour: Any, wire: Any, server: ProviderServer, fault: Fault
) -> None:
    server.say(fault.on("spoiled"), "good", "next")
    model = server.model(wire)
    assert colour.invoke(model, "hi").text == "good"
    assert len(server.requests) == 2
    assert colour.invoke(model, "hi").text == "next"


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(faults.reset("request"), id="N6"),
        pytest.param(faults.reset("headers"), id="N8"),
        pytest.param(faults.reset("body", after_events=0), id="N10"),
        pytest.param(faults.bad_chunk_size(), id="N18"),
        pytest.param(faults.gzip_garbage(), id="N20"),
    ],
)
def test_a_stream_that_breaks_before_its_content_is_begun_again(
    colour: Any, wire: Any, server: ProviderServer, fault: Fault
) -> None:
    server.say(fault.on("spoiled"), "good")
    assert "".join(chunk.text for chunk in colour.stream(server.model(wire), "hi")) == "good"
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(faults.early_hints(), id="N22"),
        pytest.param(faults.byte_by_byte(), id="N26"),
    ],
)
def test_http_that_is_legal_and_rare_is_read(
    colour: Any, wire: Any, server: ProviderServer, fault: Fault
) -> None:
    server.say(fault.on("one two"), fault.on("one two"))
    model = server.model(wire)
    assert colour.invoke(model, "hi").text == "one two"
    assert "".join(chunk.text for chunk in colour.stream(model, "hi")) == "one two"
    assert len(server.requests) == 2


# ---------------------------------------------------------------- no connection


def test_n1_a_refused_connection_is_tried_five_times_and_names_host_and_port(
    colour: Any, refusing_port: int
) -> None:
    with pytest.raises(ConnectFailed, match=rf"127\.0\.0\.1:{refusing_port}") as caught:
        colour.invoke(model_at(f"http://127.0.0.1:{refusing_port}/v1"), "hi")
    assert len(caught.value.attempts) == 5
    assert KEY not in str(caught.value)
    assert caught.value.maybe_billed_attempts == 0


@pytest.mark.parametrize(
    ("code", "attempts"),
    [
        pytest.param(socket.EAI_AGAIN, 5, id="N2-for-now"),
        pytest.param(socket.EAI_NONAME, 1, id="N2-no-such-name"),
    ],
)
def test_a_name_that_is_not_found_is_tried_again_only_where_that_may_help(
    colour: Any, monkeypatch: pytest.MonkeyPatch, code: int, attempts: int
) -> None:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise socket.gaierror(code, "no address")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(ConnectFailed, match=r"nowhere\.invalid") as caught:
        colour.invoke(model_at("http://nowhere.invalid/v1"), "hi")
    assert len(caught.value.attempts) == attempts


def test_n3_an_attempt_to_connect_into_nothing_ends(colour: Any) -> None:
    assert Timeouts().connect_s == 5
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        # The one place in its queue is taken: what comes now is not answered at all.
        fillers = [socket.socket() for _ in range(3)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        try:
            with pytest.raises(Timeout, match="No connection was made in time") as caught:
                model = model_at(
                    f"http://127.0.0.1:{full.getsockname()[1]}/v1", timeout=0.2, max_retries=1
                )
                colour.invoke(model, "hi")
        finally:
            for filler in fillers:
                filler.close()
    assert len(caught.value.attempts) == 2
    assert caught.value.maybe_billed_attempts == 0


class Greeter:
    """Accepts connections, does one thing with each, and counts them."""

    def __init__(self, greet: Callable[[socket.socket], None]) -> None:
        self.accepted = 0
        self._greet = greet
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.authority = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            try:
                self._greet(peer)
            except OSError:
                pass
            finally:
                peer.close()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def greeter() -> Iterator[Callable[..., Greeter]]:
    opened: list[Greeter] = []

    def make(greet: Callable[[socket.socket], None]) -> Greeter:
        opened.append(Greeter(greet))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


def test_n4_a_certificate_nobody_vouches_for_ends_the_call(
    colour: Any, greeter: Any, tmp_path: Path
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-subj",
            "/CN=localhost",
            "-days",
            "1",
            "-keyout",
            str(key),
            "-out",
            str(certificate),
        ],
        capture_output=True,
        check=False,
    )
    if made.returncode:
        pytest.skip("no openssl to make a certificate with")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = greeter(lambda peer: context.wrap_socket(peer, server_side=True).close())
    with pytest.raises(TLSFailed, match="certificate") as caught:
        colour.invoke(model_at(f"https://{server.authority}/v1"), "hi")
    assert len(caught.value.attempts) == 1
    assert server.accepted == 1


def test_n5_a_reset_in_the_handshake_is_tried_again(colour: Any, greeter: Any) -> None:
    def reset(peer: socket.socket) -> None:
        peer.recv(1000)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST)

    server = greeter(reset)
    with pytest.raises((ConnectFailed, ConnectionLost)) as caught:
        colour.invoke(model_at(f"https://{server.authority}/v1", max_retries=2), "hi")
    assert server.accepted == len(caught.value.attempts) == 3


# ---------------------------------------------------------------- parts, silence and time


def test_n11_a_reset_after_content_hands_over_exactly_what_came(
    colour: Any, wire: Any, server: ProviderServer
) -> None:
    server.say(faults.reset("body", after_events=2 + BEFORE_CONTENT[wire]).on("one two three four"))
    with pytest.raises(StreamInterrupted) as caught:
        colour.stream(server.model(wire), "hi")
    assert caught.value.partial.text == "one two"
    assert len(server.requests) == 1
    assert caught.value.maybe_billed_attempts == 1


def test_n12_silence_before_the_answer_ends_the_attempt(
    colour: Any, wire: Any, server: ProviderServer
) -> None:
    server.default = "good"
    server.say(faults.stall("request"))
    message = colour.invoke(server.model(wire, timeout=1.0), "hi")
    assert message.text == "good"
    assert message.response_metadata["maybe_billed_attempts"] >= 1


def test_n13_silence_in_a_stream_ends_it(colour: Any, wire: Any, server: ProviderServer) -> None:
    assert Timeouts().idle_s == 120
    server.say(faults.stall("body", after_events=1 + BEFORE_CONTENT[wire]).on("one two three"))
    with pytest.raises(StreamInterrupted, match="Nothing was received in time") as caught:
        colour.stream(server.model(wire, stream_idle_timeout=1.0), "hi")
    assert caught.value.partial.text == "one"


def test_n13_pings_keep_a_stream_alive(colour: Any, raw_server: Any) -> None:
    pings = [part for _ in range(8) for part in (0.2, chunk(b": ping\n\n"))]
    server = raw_server(
        [[CHUNKED, chunk(event("a")), *pings, chunk(event("b") + STREAM_END), END_CHUNKED]]
    )
    chunks = colour.stream(model_at(server.url, max_retries=0), "hi", stream_idle_timeout=1.2)
    assert "".join(chunk.text for chunk in chunks) == "ab"


@pytest.mark.parametrize("way", ["invoke", "stream"])
def test_n14_the_total_time_holds_against_single_bytes(
    colour: Any, server: ProviderServer, way: str
) -> None:
    server.say(faults.slow(1, 0.1).on("good"))
    with pytest.raises(Timeout, match=r"`timeout` of 0\.4 s"):
        getattr(colour, way)(
            server.model(), "hi", {"timeout": 0.4}
        )  # the whole answer would take half a minute


# ---------------------------------------------------------------- framing


def test_n15_an_answer_that_ends_with_the_connection_is_read_to_its_end(
    colour: Any, raw_server: Any
) -> None:
    def half_close(peer: socket.socket) -> None:
        peer.shutdown(socket.SHUT_WR)

    server = raw_server(
        [[b"HTTP/1.1 200 OK\r\n\r\n" + SAID[:20], 0.05, SAID[20:], half_close, 0.2]]
    )
    assert colour.invoke(model_at(server.url, max_retries=0), "hi").text == "good"


@pytest.mark.usefixtures("not_over_aiohttp")
def test_n17_what_comes_after_the_announced_length_is_dropped_with_the_connection(
    colour: Any, raw_server: Any
) -> None:
    server = raw_server([[answer(SAID) + b"and more"], [answer(SAID)]])
    model = model_at(server.url, max_retries=0)
    assert [
        colour.run(lambda: model.invoke("hi"), lambda: model.ainvoke("hi")).text for _ in range(2)
    ] == ["good"] * 2
    assert server.connections == 2


def test_n17_a_body_cut_at_its_announced_length_is_no_answer(
    colour: Any, wire: Any, server: ProviderServer
) -> None:
    server.say(faults.content_length(-10).on("spoiled"), "good")
    assert colour.invoke(server.model(wire), "hi").text == "good"


@pytest.mark.parametrize("way", ["invoke", "stream"])
def test_n23_a_redirect_is_not_followed(
    colour: Any, wire: Any, server: ProviderServer, way: str
) -> None:
    with ProviderServer() as elsewhere:
        server.say(faults.redirect(f"{elsewhere.base_url}/v1/chat/completions"))
        with pytest.raises(BadRequest, match="Redirects are not followed"):
            getattr(colour, way)(server.model(wire), "hi")
        assert elsewhere.requests == []
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "status", [pytest.param(407, id="N25-407"), pytest.param(502, id="N25-502")]
)
def test_a_proxy_that_refuses_is_named_as_such(colour: Any, raw_server: Any, status: int) -> None:
    proxy = raw_server([[answer(b"", status=status), None]] * 5)
    model = model_at(
        "https://api.example.com/v1", proxy=f"http://someone:pass-canary@127.0.0.1:{proxy.port}"
    )
    with pytest.raises(ProxyFailed, match="proxy") as caught:
        colour.invoke(model, "hi")
    assert str(status) in str(caught.value)
    assert "pass-canary" not in str(caught.value)


@pytest.mark.long
@pytest.mark.parametrize(
    "lingers",
    [pytest.param(True, id="N28", marks=pytest.mark.long), pytest.param(False, id="N28-abrupt")],
)
def test_an_answer_that_comes_while_we_still_send_wins(
    colour: Any, greeter: Any, *, lingers: bool
) -> None:
    def refuse(peer: socket.socket) -> None:
        peer.recv(1000)
        peer.sendall(
            answer(b'{"error":{"message":"too much"}}', status=413, headers="connection: close\r\n")
        )
        peer.shutdown(socket.SHUT_WR)
        while lingers and peer.recv(1_000_000):
            pass
        time.sleep(0.2)

    server = greeter(refuse)
    with pytest.raises(RequestTooLarge, match="too much"):
        colour.invoke(model_at(f"http://{server.authority}/v1"), "x" * 16_000_000)
    assert server.accepted == 1
    gc.collect()  # a socket that was left open is said here


# ---------------------------------------------------------------- HTTP/2, over a client of the user's own


def speaks_http2(faults: list[str]) -> Callable[[socket.socket], None]:
    """Answer requests of HTTP/2 without TLS ("good"); before each of the first answers, do what `faults` says."""
    from h2.config import H2Configuration
    from h2.connection import H2Connection
    from h2.errors import ErrorCodes
    from h2.events import StreamEnded

    def greet(peer: socket.socket) -> None:
        connection = H2Connection(H2Configuration(client_side=False))
        connection.initiate_connection()
        while True:
            peer.sendall(connection.data_to_send())
            data = peer.recv(65536)
            if not data:
                return
            for event in connection.receive_data(data):
                if not isinstance(event, StreamEnded):
                    continue
                fault = faults.pop(0) if faults else ""
                stream = event.stream_id
                if fault == "goaway":
                    connection.close_connection(last_stream_id=0)  # nothing was looked at
                    peer.sendall(connection.data_to_send())
                    return
                if fault == "refused":
                    connection.reset_stream(stream, ErrorCodes.REFUSED_STREAM)
                    continue
                connection.send_headers(
                    stream, [(":status", "200"), ("content-type", "application/json")]
                )
                connection.send_data(stream, SAID if not fault else SAID[:20], end_stream=not fault)
                if fault == "reset":
                    connection.reset_stream(stream, ErrorCodes.INTERNAL_ERROR)

    return greet


@pytest.mark.parametrize("fault", ["goaway", "refused", "reset"])
@pytest.mark.parametrize("way", ["invoke", "stream"])
def test_n24_what_http_2_takes_back_is_asked_for_again(
    colour: Any, greeter: Any, fault: str, way: str
) -> None:
    pytest.importorskip("h2")
    faults = [fault, fault]
    server = greeter(speaks_http2(faults))

    def model(**client: Any) -> ChatOpenAI:
        return model_at(f"http://{server.authority}/v1", **client)

    def ask() -> str:
        with httpx2.Client(http1=False, http2=True, trust_env=False) as client:
            one = model(http_client=client)
            return str(
                one.invoke("hi").text
                if way == "invoke"
                else "".join(c.text for c in one.stream("hi"))
            )

    async def aask() -> str:
        async with httpx2.AsyncClient(http1=False, http2=True, trust_env=False) as client:
            one = model(http_async_client=client)
            return str(
                (await one.ainvoke("hi")).text
                if way == "invoke"
                else await joined(one.astream("hi"))
            )

    async def joined(chunks: AsyncIterator[Any]) -> str:
        return "".join([chunk.text async for chunk in chunks])

    assert colour.run(ask, aask) == "good"
    assert faults == []
    assert server.accepted == (3 if fault == "goaway" else 1)


# ---------------------------------------------------------------- too much


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        pytest.param(faults.endless_header(), ConnectionLost, id="N19-header"),
        pytest.param(faults.gzip_bomb(), MalformedResponse, id="N21"),
    ],
)
@pytest.mark.parametrize("way", ["invoke", "stream"])
def test_an_answer_without_measure_is_given_up(
    colour: Any, server: ProviderServer, fault: Fault, error: type[ChatError], way: str
) -> None:
    server.say(fault)
    with pytest.raises(error):
        getattr(colour, way)(server.model(max_retries=0), "hi")


@pytest.mark.parametrize("head_s", [0, 0.05], ids=["at once", "after the head was read"])
def test_n19_a_chunk_size_without_end_is_given_up(colour: Any, greeter: Any, head_s: float) -> None:
    sent = 0

    def endless(peer: socket.socket) -> None:
        nonlocal sent
        peer.recv(1000)
        peer.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        time.sleep(head_s)
        for _ in range(1000):
            sent += peer.send(b"1" * 65536)

    server = greeter(endless)
    with pytest.raises(ConnectionLost):
        colour.invoke(model_at(f"http://{server.authority}/v1", max_retries=0, timeout=20), "hi")
    assert (
        sent < 16 * 1024 * 1024
    )  # what the system holds on both sides, not what was meant to come


def test_n21_max_response_bytes_is_the_limit_of_any_answer(
    colour: Any, server: ProviderServer
) -> None:
    server.default = "x" * 20_000
    with pytest.raises(
        MalformedResponse, match=r"more than 10,000 bytes.*`max_response_bytes`"
    ) as caught:
        colour.invoke(server.model(max_response_bytes=10_000), "hi")
    assert len(caught.value.attempts) == 1
    assert len(colour.invoke(server.model(max_response_bytes=100_000), "hi").text) == 20_000


MEMORY = """
import sys
from modelwire.adapters import ChatOpenAI
from modelwire.errors import ChatError

model = ChatOpenAI(model="m", base_url=sys.argv[1], api_key="k", max_retries=0)
model.invoke("hi")
for _ in range(3):
    try:
        model.invoke("hi")
    except ChatError as exc:
        print(type(exc).__name__)
print(*(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.long
@pytest.mark.parametrize(
    ("fault", "most_kib"),
    [
        pytest.param(faults.endless_header(), 80_000, id="N19"),
        pytest.param(faults.gzip_bomb(), 150_000, id="N21"),
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="read from /proc")
def test_an_answer_without_measure_takes_no_memory(
    server: ProviderServer, fault: Fault, most_kib: int
) -> None:
    server.say("good", fault, fault, fault)
    url = server.base_url_for("openai")
    ran = subprocess.run(
        [sys.executable, "-c", MEMORY, url], capture_output=True, text=True, check=True
    )
    *errors, peak_kib = ran.stdout.split()
    assert len(errors) == 3
    assert int(peak_kib) < most_kib


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="the limit is set by `setrlimit`")
@pytest.mark.parametrize("way", ["sync httpx2", "async httpx2", "async aiohttp"])
def test_a_process_out_of_file_descriptors_fails_as_a_connection_does(
    raw_server: Any, way: str
) -> None:
    if way.endswith("aiohttp"):
        pytest.importorskip("aiohttp")
    body = (
        b'{"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [{"index": 0, '
        b'"message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}]}'
    )
    first, other = (raw_server([[answer(body)]], repeat=True) for _ in range(2))
    program = Path(__file__).parent.parent / "support" / "no_descriptors_program.py"
    ran = subprocess.run(
        [sys.executable, str(program), first.url, other.url, *way.split()],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stdout.split() == ["ConnectFailed", "3", "hello"], ran.stderr


# ---------------------------------------------------------------- keys that are asked for (S2)


def test_s2_a_key_that_a_function_gives_is_asked_for_again_once(
    colour: Any, wire: Any, server: ProviderServer
) -> None:
    keys = iter(["old-key-000000", "new-key-111111", "third-key-2222"])
    current = [next(keys)]

    def refuse_the_old(request: Any) -> Any:
        said = " ".join(request.headers.values())
        if "old-key" in said:
            current[0] = next(keys)
            return AuthenticationError("Expired.", status=401)
        return "good"

    server.default = refuse_the_old
    model = server.model(wire, api_key=lambda: current[0]).bind(extra_headers={"x-team": "blue"})
    assert colour.invoke(model, "hi").text == "good"
    assert [request.headers["x-team"] for request in server.requests] == ["blue", "blue"]


@pytest.mark.parametrize(
    "key", ["a-plain-key-00", lambda: "always-the-same"], ids=["plain", "same"]
)
def test_s2_a_key_that_stays_the_same_is_refused_once(
    colour: Any, server: ProviderServer, key: Any
) -> None:
    server.default = AuthenticationError("No.", status=401)
    with pytest.raises(AuthenticationError):
        colour.invoke(server.model(api_key=key), "hi")
    assert len(server.requests) == 1


def test_s2_a_new_key_is_refused_once_too(colour: Any, server: ProviderServer) -> None:
    numbers = iter(range(100))
    server.default = AuthenticationError("No.", status=401)
    with pytest.raises(AuthenticationError):
        colour.invoke(server.model(api_key=lambda: f"key-number-{next(numbers)}"), "hi")
    assert len(server.requests) == 2
