"""Record and replay: what was recorded comes again, on every engine and client, and nothing else does."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

import httpx
import httpx2
import openai
import pytest
from support.colours import AsyncColour, SyncColour
from support.raw_server import CHUNKED, END_CHUNKED, RawServer, answer, chunk

from modelwire.adapters import ChatOpenAI
from modelwire.adapters.model.call_parts import connection_of
from modelwire.errors import (
    CassetteError,
    ConnectFailed,
    ModelwireError,
    StreamInterrupted,
    Timeout,
)
from modelwire.ext import CONNECTION_HOOKS
from modelwire.jobs import track
from modelwire.runnables import RunnableLambda
from modelwire.testing import ProviderServer, block_network, faults, recorded, replayed
from modelwire.testing.cassettes import recording
from modelwire.testing.cassettes.records import HEAD
from modelwire.transport.observer import CallObserver

KEY = "sk-live-0123456789abcdef"


def over(**more: Any) -> Callable[[str], ChatOpenAI]:
    return lambda url: ChatOpenAI(
        **{"model": "m", "api_key": KEY, "base_url": url, "max_retries": 0, **more}
    )


def client(kind: Any) -> Any:
    """Make an HTTP client that leaves no connection open."""
    library = httpx2 if kind.__module__.startswith("httpx2") else httpx
    return kind(limits=library.Limits(max_keepalive_connections=0))


def over_sdk(name: str, kind: Any, http: Any) -> Callable[[str], ChatOpenAI]:
    def make(url: str) -> ChatOpenAI:
        return ChatOpenAI(
            model="m",
            max_retries=0,
            **{name: kind(api_key=KEY, base_url=url, http_client=client(http))},
        )

    return make


class Anew:
    """A model that is made again for each call: an async client cannot be used on two event loops."""

    def __init__(self, make: Callable[[], ChatOpenAI]) -> None:
        self._make = make

    def __getattr__(self, name: str) -> Any:
        return getattr(self._make(), name)


# Every way that a call can take to the network.
LINES: dict[str, tuple[Any, Callable[[str], ChatOpenAI]]] = {
    "sync": (SyncColour(), over()),
    "async": (AsyncColour(), over()),
    "aiohttp": (AsyncColour(), over(engine="aiohttp")),
    "httpx2 client": (SyncColour(), lambda url: over(http_client=client(httpx2.Client))(url)),
    "async httpx2 client": (
        AsyncColour(),
        lambda url: over(http_async_client=client(httpx2.AsyncClient))(url),
    ),
    "httpx client": (SyncColour(), lambda url: over(http_client=client(httpx.Client))(url)),
    "async httpx client": (
        AsyncColour(),
        lambda url: over(http_async_client=client(httpx.AsyncClient))(url),
    ),
    "SDK": (SyncColour(), over_sdk("client", openai.OpenAI, httpx2.Client)),
    "async SDK": (AsyncColour(), over_sdk("async_client", openai.AsyncOpenAI, httpx2.AsyncClient)),
}


@pytest.fixture(params=LINES)
def line(request: pytest.FixtureRequest) -> tuple[Any, Callable[..., Any]]:
    colour, make = LINES[request.param]
    return colour, lambda url, **more: Anew(lambda: make(url).model_copy(update=more))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.jsonl"


def lines_of(path: Path, kind: str = "request") -> list[dict[str, Any]]:
    """Return the lines of requests, or those of calls."""
    head, *lines = path.read_text(encoding="utf-8").split("\n")
    assert json.loads(head) == {"modelwire": "cassette", "version": 1}
    assert lines.pop() == ""
    return [fields for line in lines if kind in (fields := json.loads(line))]


def whole(text: str = "Hello!") -> bytes:
    message = {
        "choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]
    }
    return answer(json.dumps(message).encode(), headers="content-type: application/json\r\n")


def event(text: str) -> bytes:
    return b"data: %s\n\n" % json.dumps({"choices": [{"delta": {"content": text}}]}).encode()


DONE = b'data: {"choices": [{"delta": {}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'


def streamed(*texts: str) -> list[Any]:
    """Say a stream, an event at a time, with a pause after each."""
    pieces: list[Any] = [CHUNKED]
    for text in texts:
        pieces += [chunk(event(text)), 0.02]
    return [*pieces, chunk(DONE), END_CHUNKED]


# ---------------------------------------------------------------- what was recorded comes again


def test_an_answer_and_a_stream_come_again_without_a_server(line: Any, path: Path) -> None:
    colour, make = line
    server = RawServer([[whole()], streamed("one ", "two")])
    model = make(server.url)
    with recorded(path) as recording:
        first = colour.invoke(model, "hi").content, [c.text for c in colour.stream(model, "count")]
    server.close()
    assert recording.count == 2
    assert len(lines_of(path)[1]["answer"]["body"]) >= 3  # piece by piece, as it came
    with replayed(path) as replay, block_network():
        assert replay.unused == 2
        assert (
            colour.invoke(model, "hi").content,
            [c.text for c in colour.stream(model, "count")],
        ) == first
        assert replay.unused == 0
    assert first == ("Hello!", ["one ", "two", ""])
    assert len(server.requests) == 2


@pytest.mark.parametrize("wire", ["openai", "responses", "anthropic", "gemini", "bedrock"])
def test_every_wire_comes_again(wire: Any, colour: Any, path: Path) -> None:
    with ProviderServer(["Hello there!", "one two three"]) as server, recorded(path):
        model = server.model(wire)
        first = colour.invoke(model, "hi"), colour.stream(model, "count")
    with replayed(path):
        again = colour.invoke(model, "hi"), colour.stream(model, "count")
    assert (again[0].content, again[0].usage_metadata) == (
        first[0].content,
        first[0].usage_metadata,
    )
    assert [c.content for c in again[1]] == [c.content for c in first[1]]


def test_a_stream_is_cut_where_it_was_cut(line: Any, path: Path) -> None:
    colour, make = line
    server = RawServer([[CHUNKED, chunk(event("one ")), 0.05, chunk(event("two ")), 0.05, None]])
    model = make(server.url)
    errors = []
    for tape in (recorded(path), replayed(path)):
        with tape, pytest.raises(StreamInterrupted) as caught:
            colour.stream(model, "count")
        errors.append(caught.value)
    live, replay = errors
    assert replay.partial.text == live.partial.text == "one two "
    assert str(replay) == str(live)
    assert len(server.requests) == 1


def test_a_whole_answer_is_cut_where_it_was_cut(line: Any, path: Path) -> None:
    colour, make = line
    server = RawServer([[b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{", 0.05, None]])
    model = make(server.url)
    errors = []
    for tape in (recorded(path), replayed(path)):
        with tape, pytest.raises(ModelwireError) as caught:
            colour.invoke(model, "hi")
        errors.append(caught.value)
    assert type(errors[0]) is type(errors[1])
    assert str(errors[0]) == str(errors[1])
    (exchange,) = lines_of(path)
    assert exchange["answer"]["ended"] == "failed"


def test_a_refused_connection_is_refused_again(line: Any, path: Path) -> None:
    colour, make = line
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    model = make(f"http://127.0.0.1:{port}/v1")
    errors = []
    for tape in (recorded(path), replayed(path)):
        with tape, pytest.raises(ConnectFailed) as caught:
            colour.invoke(model, "hi")
        errors.append(str(caught.value))
    assert errors[0] == errors[1]


def test_a_silence_that_was_too_long_is_a_timeout_again_at_once(line: Any, path: Path) -> None:
    colour, make = line
    server = RawServer([[0.5, whole()]])
    model = make(server.url)
    for tape in (recorded(path), replayed(path)):
        with tape, pytest.raises(Timeout):
            colour.invoke(model, "hi", timeout=0.05)
    (exchange,) = lines_of(path)
    assert exchange["answer"]["status"] is None


def test_each_retry_is_an_exchange_and_a_replay_does_not_wait_for_it(line: Any, path: Path) -> None:
    colour, make = line
    server = RawServer([[answer(b"{}", status=503, headers="retry-after: 0.01\r\n")], [whole()]])
    model = make(server.url, max_retries=2)
    with recorded(path):
        assert colour.invoke(model, "hi").content == "Hello!"
    assert [exchange["answer"]["status"] for exchange in lines_of(path)] == [503, 200]
    path.write_text(path.read_text().replace('"retry-after": "0.01"', '"retry-after": "50"'))
    with replayed(path) as replay:
        before_s = replay.clock()
        assert colour.invoke(model, "hi", {"timeout": 300}).content == "Hello!"
        assert replay.clock() - before_s >= 50
    assert len(server.requests) == 2


def test_a_wait_that_is_passed_over_takes_no_others_time(path: Path) -> None:
    """One of two calls waits 50 s for its retry; the other one's deadline of 30 s is no nearer for that."""
    slow = [answer(b"{}", status=503, headers="retry-after: 0.01\r\n")]
    server = RawServer([slow, [whole("retried")], streamed("one ", "two ", "three")])
    model = over(max_retries=2, rate_limit=None)(server.url)
    with recorded(path):
        model.invoke("hi")
        list(model.stream("count"))
    path.write_text(path.read_text().replace('"retry-after": "0.01"', '"retry-after": "50"'))
    with replayed(path):
        stream = model.stream("count", {"timeout": 30})
        assert next(stream).text == "one "
        assert model.invoke("hi").content == "retried"
        assert "".join(c.text for c in stream) == "two three"


def test_equal_requests_are_answered_in_the_order_of_the_recording(line: Any, path: Path) -> None:
    colour, make = line
    server = RawServer([[whole("first")], [whole("second")]])
    model = make(server.url)
    with recorded(path):
        assert [colour.invoke(model, "hi").content for _ in range(2)] == ["first", "second"]
    with replayed(path) as replay:
        assert [colour.invoke(model, "hi").content for _ in range(2)] == ["first", "second"]
        with pytest.raises(CassetteError, match="recorded 2 times and has been answered as often"):
            colour.invoke(model, "hi")
        assert len(replay.missing) == 1


def test_bytes_that_are_no_text_come_again(path: Path) -> None:
    server = RawServer(
        [
            [
                CHUNKED,
                chunk(b'data: {"choices": [{"delta": {"content": "\xc3'),
                0.05,
                chunk(b'\xa9"}}]}\n\n'),
            ]
        ]
    )
    server.script[0] += [chunk(DONE), END_CHUNKED]
    model = over()(server.url)
    with recorded(path):
        assert "".join(c.text for c in model.stream("hi")) == "é"
    assert "base64" in lines_of(path)[0]["answer"]["body"][0]
    with replayed(path):
        assert "".join(c.text for c in model.stream("hi")) == "é"


def test_a_compressed_answer_comes_again(line: Any, path: Path) -> None:
    import gzip

    colour, make = line
    body = gzip.compress(whole().partition(b"\r\n\r\n")[2])
    server = RawServer(
        [[answer(body, headers="content-type: application/json\r\ncontent-encoding: gzip\r\n")]]
    )
    model = make(server.url)
    for tape in (recorded(path), replayed(path)):
        with tape:
            assert colour.invoke(model, "hi").content == "Hello!"
    assert "Hello!" in path.read_text()


def test_a_pace_waits_as_long_as_was_recorded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from modelwire.testing.cassettes import replaying

    server = RawServer([streamed("one ", "two")])
    model = over()(server.url)
    with recorded(path):
        list(model.stream("hi"))
    end_s = lines_of(path)[0]["answer"]["end_s"]
    now, waits = [monotonic()], []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        now[0] += seconds

    monkeypatch.setattr(replaying, "monotonic", lambda: now[0])
    monkeypatch.setattr(replaying, "sleep", sleep)
    for pace, total_s in ((None, 0), (1.0, end_s), (2.0, end_s / 2)):
        waits.clear()
        with replayed(path, pace=pace):
            assert "".join(c.text for c in model.stream("hi")) == "one two"
        assert sum(waits) == pytest.approx(total_s)
    assert end_s >= 0.04


# ---------------------------------------------------------------- what works on it as on a live call


class Heard(CallObserver):
    def __init__(self) -> None:
        self.events: list[str] = []

    def sent(self, exchange: Any) -> None:
        self.events.append("sent")

    def failed(self, error: BaseException, attempt: Any, partial: Any = None) -> None:
        self.events.append(f"failed {attempt and attempt.status}")

    def waiting(self, step: Any) -> None:
        self.events.append("waits" if step else "goes on")

    def answered(self, result: Any) -> None:
        self.events.append("answered")


def test_observers_and_costs_are_those_of_the_live_run(colour: Any, path: Path) -> None:
    seen = []
    with ProviderServer([faults.status(500), "Hello!"]) as server:
        model = server.model(model="gpt-4o-mini")
        for tape in (recorded(path), replayed(path)):
            heard = Heard()
            with tape, track() as spent:
                colour.invoke(model, "hi", {"observers": (heard,)})
            seen.append((heard.events, spent.cost, spent.total.calls, spent.usage_metadata))
        assert server.counts.requests == 2
    assert seen[0] == seen[1]
    assert seen[0][0] == ["sent", "failed 500", "waits", "goes on", "sent", "answered"]


def test_limits_are_learned_of_a_replay_and_forgotten_with_it(colour: Any, path: Path) -> None:
    headers = (
        "x-ratelimit-limit-requests: 60\r\nx-ratelimit-remaining-requests: 59\r\n"
        "x-ratelimit-reset-requests: 1s\r\n"
    )
    server = RawServer(
        [[whole().replace(b"\r\n\r\n", f"\r\n{headers}\r\n".encode(), 1)], [whole()]]
    )
    model = over()(server.url)
    with recorded(path):
        colour.invoke(model, "hi")
    from modelwire.transport.ratelimit import registry

    registry.forget()
    with replayed(path):
        colour.invoke(model, "hi")
        assert "60" in str(model.limits())
    assert str(model.limits()) == "Limits(none known)"


def test_a_limit_is_not_waited_for(colour: Any, path: Path) -> None:
    texts = [str(n) for n in range(40)]
    with ProviderServer() as server:
        with recorded(path):
            colour.batch(server.model(), texts)
        limited = server.model(rpm=6)
    with replayed(path) as replay:
        assert [m.content for m in colour.batch(limited, texts)] == texts
        assert replay._skipped_s > 60  # more than there are to be had at once


def test_a_batch_of_many_comes_again(colour: Any, path: Path) -> None:
    texts = [str(n) for n in range(60)]
    with ProviderServer(faults={"close": 0.1, "503": 0.1}, seed=3) as server:
        model = server.model(max_retries=8, rate_limit=None)
        with recorded(path):
            assert [m.content for m in colour.batch(model, texts)] == texts
    assert len(lines_of(path)) > len(texts)
    with replayed(path) as replay:
        assert [m.content for m in colour.batch(model, texts)] == texts
        assert replay.unused == 0


def test_a_job_comes_again(path: Path, tmp_path: Path) -> None:
    from modelwire.jobs import run_job

    rows = [{"text": str(n)} for n in range(20)]
    with ProviderServer() as server:
        model = server.model()
        with recorded(path):
            run_job("{text}", rows, model=model, output=tmp_path / "live.csv")
    with replayed(path) as replay:
        run_job("{text}", rows, model=model, output=tmp_path / "replayed.csv")
        assert replay.unused == 0
    texts = [(tmp_path / name).read_text() for name in ("live.csv", "replayed.csv")]
    answers = [[row.split(",")[:3] for row in text.splitlines()] for text in texts]
    assert answers[0] == answers[1]
    assert len(answers[0]) == 21


# ---------------------------------------------------------------- the file


def test_no_secret_is_in_the_file(line: Any, path: Path) -> None:
    """The key comes back in the body, in a header and cut in two in a stream."""
    colour, make = line
    echo = whole(f"your key is {KEY}").replace(
        b"\r\n\r\n", f"\r\nx-echo: {KEY}\r\nset-cookie: id=a1b2c3\r\n\r\n".encode(), 1
    )
    cut = (
        b'data: {"choices": [{"delta": {"content": "key %s' % KEY[:10].encode(),
        KEY[10:].encode() + b'"}}]}\n\n',
    )
    server = RawServer(
        [[echo], [CHUNKED, chunk(cut[0]), 0.05, chunk(cut[1]), chunk(DONE), END_CHUNKED]]
    )
    model = make(f"{server.url}")
    with recorded(path):
        colour.invoke(model, f"my key is {KEY}")
        colour.stream(model, "hi")
    text = path.read_text()
    for secret in (KEY, KEY[10:], KEY[:10], "a1b2c3"):
        assert secret not in text
    with replayed(path):
        assert colour.invoke(model, f"my key is {KEY}").content == f"your key is {'*' * len(KEY)}"


@pytest.mark.parametrize("name", ["sync", "async", "aiohttp"])
def test_a_key_in_the_address_is_masked_and_does_not_matter(name: str, path: Path) -> None:
    colour, _ = LINES[name]
    server = RawServer([[whole()]])

    def model(key: str) -> ChatOpenAI:
        url = server.url.replace("//", f"//user:{key}@")
        query = {"key": key, "api-version": "2026-01"}
        return over(
            default_query=query, api_key=key, extra_headers={"X-Token": key, "X-Title": "assistant"}
        )(url)

    with recorded(path):
        colour.invoke(model(KEY), f"say {KEY}")
    assert KEY not in path.read_text()
    assert "api-version=2026-01" in path.read_text()
    with replayed(path):
        answered = colour.invoke(model("another-key"), "say another-key")
        assert (
            answered.content == "Hello!"
        )  # and "assistant", a word of a header, is still in the answer
    assert '\\"role\\": \\"assistant\\"' in path.read_text()


def test_lines_stand_in_the_order_in_which_the_requests_went_out(path: Path) -> None:
    came: list[threading.Event] = [threading.Event() for _ in range(3)]
    server = RawServer(
        [[lambda peer: came[2].wait(5), whole("slow")], [whole("quick")], [whole("quick")]]
    )
    model = over()(server.url)

    async def three() -> None:
        first = asyncio.create_task(model.ainvoke("0"))
        while not server.requests:  # noqa: ASYNC110 - the server is a thread's
            await asyncio.sleep(0.001)
        await model.ainvoke("1")
        await model.ainvoke("2")
        assert recording.count == 0  # they wait for their turn
        came[2].set()
        await first

    with recorded(path) as recording:
        asyncio.run(three())
    assert [
        exchange["request"]["body"]["messages"][0]["content"] for exchange in lines_of(path)
    ] == ["0", "1", "2"]


def test_lines_of_many_threads_are_whole(path: Path) -> None:
    with ProviderServer() as server, recorded(path) as recording:
        model = server.model()
        threads = [
            threading.Thread(target=lambda n=n: [model.invoke(f"{n} {turn}") for turn in range(5)])
            for n in range(16)
        ]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        assert recording.count == 80
    found = {exchange["request"]["body"]["messages"][0]["content"] for exchange in lines_of(path)}
    assert len(found) == 80


def test_two_recordings_of_one_program_differ_in_times_alone(path: Path) -> None:
    with ProviderServer(default=lambda request: request.text) as server:
        texts = []
        for temperature in ({"temperature": 0.5, "top_p": 0.1}, {"top_p": 0.1, "temperature": 0.5}):
            with recorded(path, append=False):
                server.model().invoke("hi", **temperature)
            exchange = lines_of(path)[0]
            exchange["answer"] = None
            texts.append(json.dumps(exchange))
    assert texts[0] == texts[1]


@pytest.mark.parametrize("is_older", [False, True])
def test_a_long_text_is_in_the_file_once_and_told_from_another(path: Path, is_older: bool) -> None:
    server = RawServer([[whole()]], repeat=True)
    model, text = over()(server.url), "x" * 50_000
    with recorded(path):
        for more in ("a", "b", "c"):
            model.invoke([("human", text), ("human", more)])
    assert path.stat().st_size < 60_000
    if is_older:  # as it was recorded before long texts were written
        exchanges = lines_of(path)
        del exchanges[0]["request"]["texts"]
        path.write_text(
            "\n".join([path.read_text().split("\n")[0], *map(json.dumps, exchanges), ""])
        )
    with replayed(path):
        with pytest.raises(
            CassetteError,
            match=r"is on line 2, and differs in: `messages\[1\].content`: recorded 'a', now 'bb'\.",
        ):
            model.invoke([("human", text), ("human", "bb")])
        with pytest.raises(
            CassetteError, match=r"messages\[0\].content`: .*" + ("sha256" if is_older else "xy'")
        ):
            model.invoke([("human", "x" * 49_999 + "y"), ("human", "a")])
        for more in ("a", "c", "b"):
            assert model.invoke([("human", text), ("human", more)]).content == "Hello!"


def test_a_secret_is_masked_in_a_long_text(path: Path) -> None:
    server = RawServer([[whole()]])
    with recorded(path):
        over()(server.url).invoke("x" * 20_000 + KEY)
    assert KEY not in path.read_text()


def calls(path: Path) -> list[str]:
    return [line["request"]["body"]["messages"][0]["content"] for line in lines_of(path)]


def test_a_recording_of_this_process_is_not_lost(path: Path) -> None:
    model = over()(RawServer([[whole()]], repeat=True).url)
    for _ in range(2):  # nothing is lost by an empty one
        with recorded(path):
            pass
    with recorded(path):
        model.invoke("a")
    with pytest.raises(CassetteError, match=r"append=True.*append=False"), recorded(path):
        pass
    assert calls(path) == ["a"] and CONNECTION_HOOKS == []
    with recorded(path, append=True):
        model.invoke("b")
    assert calls(path) == ["a", "b"]
    with replayed(path):
        assert [model.invoke(text).content for text in "ab"] == ["Hello!"] * 2
    with recorded(path, append=False):
        model.invoke("c")
    assert calls(path) == ["c"]
    path.unlink()
    for _ in range(2):
        with recorded(path, append=True):
            model.invoke("d")
    assert calls(path) == ["d", "d"]


def test_the_recording_of_an_earlier_run_is_replaced(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = over()(RawServer([[whole()]], repeat=True).url)
    with recorded(path):
        model.invoke("a")
    monkeypatch.setattr(recording, "_recorded_here", set())  # as another process has it
    with recorded(path):
        model.invoke("b")
    assert calls(path) == ["b"]


@pytest.mark.parametrize("content", ["my results\n", HEAD, f"{HEAD}\n{{"])
def test_nothing_is_added_to_a_file_that_is_cut_or_none(path: Path, content: str) -> None:
    path.write_text(content)
    with pytest.raises(CassetteError), recorded(path, append=True):
        pass
    assert path.read_text() == content and CONNECTION_HOOKS == []


def test_a_stream_that_was_left_is_noted_as_far_as_it_came(line: Any, path: Path) -> None:
    colour, make = line
    server = RawServer([streamed("one ", "two ", "three")])
    model = make(server.url)

    def left() -> str:
        stream = model.stream("count")
        text = next(stream).text
        stream.close()
        return text

    async def aleft() -> str:
        stream = model.astream("count")
        text = (await anext(stream)).text
        await stream.aclose()
        return text

    with recorded(path):
        assert colour.run(left, aleft) == "one "
    (exchange,) = lines_of(path)
    assert exchange["answer"]["ended"] == "left"
    with replayed(path):
        assert colour.run(left, aleft) == "one "
    with replayed(path), pytest.raises(CassetteError, match="only up to here"):
        colour.stream(model, "count")


def test_a_call_that_was_cancelled_is_noted(path: Path) -> None:
    server = RawServer([[5.0, whole()]])
    model = over()(server.url)

    async def cancelled() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(model.ainvoke("hi"), 0.05)

    with recorded(path):
        asyncio.run(cancelled())
    (exchange,) = lines_of(path)
    assert (exchange["answer"]["status"], exchange["answer"]["ended"]) == (None, "left")


def test_a_stream_that_outlives_the_block_is_written_as_it_stands(path: Path) -> None:
    server = RawServer([streamed("one ", "two")])
    with recorded(path):
        stream = over()(server.url).stream("hi")
        next(stream)
    assert [exchange["answer"]["ended"] for exchange in lines_of(path)] == ["left"]
    assert "".join(c.text for c in stream) == "two"
    assert len(lines_of(path)) == 1


# ---------------------------------------------------------------- what is not in it


def test_a_missing_request_is_an_error_that_shows_the_nearest(line: Any, path: Path) -> None:
    colour, make = line
    server = RawServer([[whole()], [whole()]])
    model = make(server.url)
    with recorded(path):
        colour.invoke(model, "a question about violins")
        colour.invoke(model, "another thing", temperature=0.5, max_tokens=7)
    before = path.read_bytes()
    with replayed(path) as replay, pytest.raises(CassetteError) as caught:
        colour.invoke(model, "a question about violas")
    text = str(caught.value)
    assert "The nearest of 2 recorded is on line 2" in text
    assert (
        "`messages[0].content`: recorded 'a question about violins', now 'a question about violas'"
        in text
    )
    assert replay.missing == ["POST http://127.0.0.1/v1/chat/completions"]
    with (
        replayed(path),
        pytest.raises(CassetteError, match=r"`temperature`: recorded 0.5, now 0.7"),
    ):
        colour.invoke(model, "another thing", temperature=0.7, max_tokens=7)
    with (
        replayed(path),
        pytest.raises(CassetteError, match=r"`url`: recorded 'http://127.*now 'http://localhost"),
    ):
        colour.invoke(make("http://localhost:9/v1"), "a question about violins")
    assert path.read_bytes() == before
    assert len(server.requests) == 2


def test_a_port_of_this_machine_does_not_matter(colour: Any, path: Path) -> None:
    servers = [RawServer([[whole()]]) for _ in range(2)]
    with recorded(path):
        colour.invoke(over()(servers[0].url), "hi")
    with replayed(path):
        assert colour.invoke(over()(servers[1].url), "hi").content == "Hello!"
    with replayed(path), pytest.raises(CassetteError, match="`url`"):
        colour.invoke(over()("http://192.0.2.1:9/v1"), "hi")
    assert servers[1].connections == 0


def test_on_missing_call_goes_out_and_is_added_and_only_that(line: Any, path: Path) -> None:
    colour, make = line
    server = RawServer([[whole("old")], [whole("new")]])
    model = make(server.url)
    with recorded(path):
        colour.invoke(model, "old")
    before = path.read_bytes()
    with replayed(path, on_missing="call"):
        assert colour.invoke(model, "old").content == "old"
        assert path.read_bytes() == before
        assert colour.invoke(model, "new").content == "new"
    assert path.read_bytes().startswith(before)
    assert len(lines_of(path)) == 2
    with replayed(path):
        assert [colour.invoke(model, text).content for text in ("new", "old")] == ["new", "old"]
    assert len(server.requests) == 2


def test_what_was_never_sent_is_no_exchange(path: Path) -> None:
    with recorded(path), pytest.raises(ModelwireError):
        over(extra_headers={"X-Bad": "one\ntwo"})("http://127.0.0.1:9/v1").invoke("hi")
    assert lines_of(path) == []


def test_the_network_is_not_asked_in_a_replay(path: Path, colour: Any) -> None:
    server = RawServer([[whole()]])
    model = over()(server.url)
    with recorded(path):
        colour.invoke(model, "hi")
    with replayed(path):
        assert colour.run(lambda: model.warmup(1), lambda: model.awarmup(1)) == 0
        with pytest.raises(CassetteError, match="Batch API"):
            model.submit_batch(["hi"], dir=path.parent / "a.job")
    assert server.connections == 1


# ---------------------------------------------------------------- a file that cannot be used

HEAD = b'{"modelwire": "cassette", "version": 1}\n'


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "There is no cassette at"),
        (b"", "is not a cassette of modelwire"),
        (b"name,text\n", "is not a cassette of modelwire"),
        (b'{"version": 1}\n', "is not a cassette of modelwire"),
        (b'{"modelwire": "cassette", "version": 2}\n', "newer modelwire"),
        (b'{"modelwire": "cassette", "version": 1}', "line 2: it is cut off|line 1"),
        (HEAD + b'{"request": {"met', "line 2: it is cut off"),
        (HEAD + b"nothing\n", "line 2: it is not a request"),
        (HEAD + b'{"request": {}}\n', "line 2: it is not a request"),
        (HEAD + b"[]\n", "line 2: it is not a request"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(content: bytes | None, says: str, path: Path) -> None:
    if content is not None:
        path.write_bytes(content)
    for on_missing in ("raise", "call"):
        with pytest.raises(CassetteError, match=says), replayed(path, on_missing=on_missing):
            pass
    assert CONNECTION_HOOKS == []
    assert (path.read_bytes() if path.exists() else None) == content


def test_a_cut_anywhere_is_seen(path: Path) -> None:
    with ProviderServer(["one", "two"]) as server, recorded(path):
        server.model().batch(["a", "b"], {"max_concurrency": 1})
    data = path.read_bytes()
    ends = {at + 1 for at, byte in enumerate(data) if byte == ord("\n")}
    for at in range(0, len(data), 7):
        path.write_bytes(data[:at])
        if at not in ends:
            with pytest.raises(CassetteError), replayed(path):
                pass


def test_a_file_of_something_else_is_not_replaced(path: Path) -> None:
    path.write_text("my results\n")
    with pytest.raises(CassetteError, match="is not a cassette"), recorded(path):
        pass
    assert path.read_text() == "my results\n"
    assert CONNECTION_HOOKS == []


def test_a_file_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with (
        pytest.raises(CassetteError, match="cannot be written"),
        recorded(tmp_path / "a" / "run.jsonl"),
    ):
        pass
    with pytest.raises(CassetteError, match="cannot be read"), replayed(tmp_path):
        pass
    assert CONNECTION_HOOKS == []


def test_cassettes_do_not_nest(path: Path) -> None:
    with recorded(path):
        for other in (recorded(path.with_name("b")), replayed(path), recorded(path)):
            with pytest.raises(CassetteError, match="do not nest"), other:
                pass
    assert lines_of(path) == []
    with replayed(path) as replay, pytest.raises(CassetteError, match="do not nest"), replay:
        pass
    assert CONNECTION_HOOKS == []


def test_arguments_are_checked(path: Path) -> None:
    with pytest.raises(ModelwireError, match="on_missing"):
        replayed(path, on_missing="ask")  # type: ignore[arg-type]
    for pace in (0, -1.0):
        with pytest.raises(ModelwireError, match="pace"):
            replayed(path, pace=pace)


def test_after_the_block_calls_are_live_and_nobody_is_in_their_way(
    path: Path, provider_server: ProviderServer
) -> None:
    model = provider_server.model()
    with recorded(path):
        model.invoke("hi")
    with replayed(path):
        model.invoke("hi")
    assert model.invoke("hi").content == "hi"
    assert provider_server.counts.requests == 2
    exchange = model._exchange(model._messages("hi"), None, {}, {}, stream=False)
    assert not {"send", "read", "close", "sleep"} & vars(connection_of(model, exchange)).keys() - {
        "send"
    }


def test_an_error_that_was_swallowed_is_still_known(path: Path) -> None:
    with recorded(path):
        pass
    chain = over()("http://127.0.0.1:9/v1").with_fallbacks([RunnableLambda(lambda _: "a way out")])
    with replayed(path) as replay:
        assert chain.invoke("hi") == "a way out"
    assert len(replay.missing) == 1


def test_a_call_is_recorded_beside_its_requests(line: Any, raw_server: Any, path: Path) -> None:
    colour, make = line
    server = raw_server([[answer(b"", status=503)], [answer(b"", status=503)], [whole("Yes.")]])
    model = make(server.url, temperature=0.5, max_retries=2)
    with recorded(path) as recording:
        assert colour.invoke(model, "Well?", stop=["x"]).text == "Yes."
    assert recording.count == 3
    (call,) = [one["call"] for one in lines_of(path, "call")]
    assert call["messages"][0]["data"]["content"] == "Well?"
    assert call["params"] == {"temperature": 0.5, "stop": ["x"]}
    assert call["answer"]["data"]["content"] == "Yes." and call["error"] is None
    assert path.read_text().splitlines()[-1].startswith('{"call"')
