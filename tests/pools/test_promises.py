"""The table of docs/pool.md against servers of a dozen lines, and what a pool leaves behind: nothing."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from modelwire import budget, pool
from modelwire.adapters import ChatOpenAI
from modelwire.errors import AllDeploymentsFailed, BadRequest, IncompleteStream, Timeout
from modelwire.pools import PoolChatModel, hedged

# What a server says to a request: a status, a text, pieces of a stream, or None: it closes the connection. A None
# among the pieces closes it, too.
Said = int | str | list[str | None] | None


class Plain(ThreadingHTTPServer):
    """A server of Chat Completions that says `say`, after `wait` is set."""

    daemon_threads = True

    def __init__(self, say: Said) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.say = say
        self.wait = threading.Event()
        self.wait.set()
        self.seen = 0
        self.left = threading.Event()  # A client has closed its connection before the answer.
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        self.left.set()

    def model(self) -> ChatOpenAI:
        url = f"http://127.0.0.1:{self.server_port}/v1"
        return ChatOpenAI(model="m", base_url=url, api_key="k")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Plain

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.seen += 1
        self.server.wait.wait(60)
        said = self.server.say
        if said is None:
            self._close()
        elif isinstance(said, int):
            self._send(said, {"error": {"message": "no"}})
        elif body.get("stream"):
            self._stream(list(said))
        else:
            message = {"role": "assistant", "content": said}
            self._send(200, {"choices": [{"finish_reason": "stop", "message": message}]})

    def _send(self, status: int, value: Any) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, pieces: list[str | None]) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        self.close_connection = True
        for piece in pieces:
            if piece is None:
                self._close()
                return
            choice = {"delta": {"content": piece}}
            self.wfile.write(b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n")
        end = {"choices": [{"delta": {}, "finish_reason": "stop"}]}
        self.wfile.write(b"data: " + json.dumps(end).encode() + b"\n\ndata: [DONE]\n\n")

    def _close(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)


Servers = Callable[..., list[Plain]]


@pytest.fixture
def servers() -> Iterator[Servers]:
    """Make servers that say these things, and stop them at the end."""
    made: list[Plain] = []

    def make(*says: Said) -> list[Plain]:
        new = [Plain(say) for say in says]
        made.extend(new)
        return new

    yield make
    for server in made:
        server.wait.set()
        server.shutdown()
        server.server_close()


def over(*servers: Plain, **options: Any) -> PoolChatModel:
    names = "abc"
    models = {names[n]: server.model() for n, server in enumerate(servers)}
    return pool(models, **{"prefer": "first", **options})


def assert_nothing_is_left(model: PoolChatModel) -> None:
    """Raise unless all permits, places and queues are as before the first call."""
    for deployment in model._scheduler.deployments:
        limiter = deployment.limiter(time.monotonic())
        assert (deployment.in_flight, deployment.coming) == (0, 0)
        assert limiter is None or limiter.is_idle()
    assert not model._scheduler.waiting


@pytest.mark.parametrize("said", [429, 503, 500, None, 401, 404])
def test_a_call_that_fails_goes_elsewhere(servers: Servers, said: Said) -> None:
    a, b = servers(said, "b")
    model = over(a, b)
    assert model.invoke("hi").text == "b"
    assert "".join(chunk.text for chunk in model.stream("hi")) == "b"
    assert_nothing_is_left(model)


def test_three_failures_take_a_deployment_out_and_single_calls_probe_it(servers: Servers) -> None:
    a, b = servers(500, "b")
    model = over(a, b)
    health = model._scheduler.deployments[0].health
    while not health.is_out:
        model.invoke("hi")
    assert a.seen == 3
    a.say = "a"
    a.wait.clear()
    health.out_until = 0.0
    probe = threading.Thread(target=model.invoke, args=("hi",))
    probe.start()
    while a.seen == 3:
        time.sleep(0.01)
    assert [model.invoke("hi").text for _ in range(3)] == ["b"] * 3
    a.wait.set()
    probe.join()
    assert model.invoke("hi").text == "a"
    assert_nothing_is_left(model)


def test_a_rejected_deployment_is_out_for_ten_seconds(servers: Servers) -> None:
    a, b = servers(401, "b")
    model = over(a, b)
    before = time.monotonic()
    assert [model.invoke("hi").text for _ in range(3)] == ["b"] * 3
    assert a.seen == 1
    out_until = model._scheduler.deployments[0].health.out_until
    assert out_until is not None
    assert out_until >= before + 10


def test_when_all_reject_a_call_the_error_has_what_each_has_said(servers: Servers) -> None:
    model = over(*servers(401, 404))
    with pytest.raises(AllDeploymentsFailed) as failed:
        model.invoke("hi")
    assert [getattr(error, "status", None) for error in failed.value.errors.values()] == [401, 404]
    rows = model.batch(["hi", "ho"], return_exceptions=True)
    assert all(isinstance(row, AllDeploymentsFailed) for row in rows)


def test_when_all_are_down_a_call_fails_after_max_wait_and_rows_wait_on(servers: Servers) -> None:
    a, b = servers("a", "b")
    model = over(a, b, max_wait=0.3)
    model.invoke("hi")
    a.say, b.say = 500, 503
    with pytest.raises(AllDeploymentsFailed):
        model.invoke("hi")

    def come_back() -> None:
        a.say, b.say = "a", "b"

    threading.Timer(1.0, come_back).start()
    assert all(row.text in ("a", "b") for row in model.batch(["hi"] * 4))
    assert_nothing_is_left(model)


def test_a_request_that_is_not_valid_is_sent_once(servers: Servers) -> None:
    a, b = servers(400, "b")
    with pytest.raises(BadRequest) as failed:
        over(a, b).invoke("hi")
    assert failed.value.deployment == "a"
    assert (a.seen, b.seen) == (1, 0)


def test_a_stream_that_breaks_begins_elsewhere_before_its_first_chunk_and_never_after_it(
    servers: Servers,
) -> None:
    a, b = servers([None], "b")
    model = over(a, b)
    assert "".join(chunk.text for chunk in model.stream("hi")) == "b"
    a.say = ["1", "2", None]
    with pytest.raises(IncompleteStream) as failed:
        list(over(a, b).stream("hi"))
    assert failed.value.deployment == "a"
    assert b.seen == 1
    assert_nothing_is_left(model)


def test_a_deadline_ends_the_wait_for_a_refusing_deployment(servers: Servers) -> None:
    model = over(*servers(429))
    with pytest.raises(Timeout):
        model.invoke("hi", {"timeout": 0.4})
    with pytest.raises(Timeout):
        asyncio.run(model.ainvoke("hi", {"timeout": 0.4}))
    assert_nothing_is_left(model)


@pytest.mark.parametrize("hedge", [None, 0.05])
def test_cancelled_calls_and_streams_leave_nothing(servers: Servers, hedge: float | None) -> None:
    a, b = servers("a", "b")
    a.wait.clear()
    b.wait.clear()
    model = over(a, b, hedge=hedge)
    model._scheduler.hedges.calls = 1000

    async def chunks() -> None:
        async for _ in model.astream("hi"):
            pass

    async def main() -> None:
        calls = [asyncio.wait_for(model.ainvoke("hi"), 0.3) for _ in range(8)]
        streams = [asyncio.wait_for(chunks(), 0.3) for _ in range(8)]
        ended = await asyncio.gather(*calls, *streams, return_exceptions=True)
        assert {type(one) for one in ended} == {asyncio.TimeoutError}

    asyncio.run(main())
    assert_nothing_is_left(model)


def test_the_stream_that_loses_is_closed_and_both_calls_count(servers: Servers) -> None:
    slow, quick = servers(["z" * 100_000] * 100, "quick")
    slow.wait.clear()
    model = over(slow, quick, hedge=0.1)
    model._scheduler.hedges.calls = 1000
    with budget(calls=10) as spent:
        assert "".join(chunk.text for chunk in model.stream("hi")) == "quick"
    assert spent.spent.calls == 2
    slow.wait.set()
    assert slow.left.wait(10)
    assert_nothing_is_left(model)


class Interrupted(Future[Any]):
    """A result whose reader presses Ctrl-C once the server has the request."""

    server: Plain
    is_pressed = False

    def result(self, timeout: float | None = None) -> Any:
        while not self.server.seen:
            time.sleep(0.01)
        if Interrupted.is_pressed:
            return super().result(timeout)
        Interrupted.is_pressed = True
        raise KeyboardInterrupt


@pytest.mark.parametrize("way", ["invoke", "stream"])
def test_a_ctrl_c_ends_a_hedged_call_as_it_ends_others(
    servers: Servers, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    (a,) = servers("a")
    a.wait.clear()
    Interrupted.server, Interrupted.is_pressed = a, False
    monkeypatch.setattr(hedged, "Future", Interrupted)
    model = over(a, hedge=60)
    with pytest.raises(KeyboardInterrupt):
        if way == "invoke":
            model.invoke("hi")
        else:
            list(model.stream("hi"))
    assert_nothing_is_left(model)


def test_threads_and_loops_share_a_pool(servers: Servers) -> None:
    model = over(*servers("a", "b"), prefer="fastest", hedge=5)
    errors: list[BaseException] = []

    async def calls() -> None:
        await asyncio.gather(*[model.ainvoke("hi") for _ in range(5)])

    def work() -> None:
        try:
            for _ in range(2):
                asyncio.run(calls())
                model.invoke("hi")
        except BaseException as error:  # noqa: BLE001 - the test raises it
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert_nothing_is_left(model)


def test_a_pool_stands_in_for_a_model_in_fallbacks(servers: Servers) -> None:
    a, b, c = servers(401, 404, "c")
    down = over(a, b)
    assert down.with_fallbacks([c.model()]).invoke("hi").text == "c"
    assert a.model().with_fallbacks([over(b, c)]).invoke("hi").text == "c"
