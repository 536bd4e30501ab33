"""Contracts with the tools that watch HTTP calls from outside: each is the real one, as its users switch it on.

Read from opentelemetry-instrumentation 0.66b1, vcrpy 9.4.2, respx 0.23.1 and pytest-httpx2 1.0.0. All but respx's
httpx2 mocker patch `handle_request` of httpx2's transports; that one patches httpcore2's connections.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.colours import AsyncColour, SyncColour

from modelwire.adapters import ChatOpenAI
from modelwire.testing import ProviderServer, faults

# How the answer is asked for, and what of it is the text.
WAYS: dict[str, Callable[[Any, Any], str]] = {
    "invoke": lambda colour, model: colour.invoke(model, "hi").content,
    "stream": lambda colour, model: "".join(chunk.text for chunk in colour.stream(model, "hi")),
}
# The sync and the async calls of the default engine, and the async ones of the other.
ENGINES = {
    "sync": (SyncColour(), "httpx2"),
    "async": (AsyncColour(), "httpx2"),
    "aiohttp": (AsyncColour(), "aiohttp"),
}


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> Callable[[Any, Any], str]:
    return WAYS[request.param]


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> tuple[Any, str]:
    return ENGINES[request.param]


UNWATCHED = """
import asyncio, sys
from modelwire.testing import ProviderServer

def calls(model, colour):
    if colour == "sync":
        model.invoke("hi"), list(model.stream("hi"))
    else:
        asyncio.run(model.ainvoke("hi"))

with ProviderServer() as server:
    model = server.model()
    calls(model, sys.argv[1])
    print("httpx2" in sys.modules)
    import httpx2
    def watch(name):
        handle = getattr(httpx2, name[0]).__dict__[name[1]]
        setattr(httpx2.__dict__[name[0]], name[1], lambda self, request: print("seen") or handle(self, request))
    watch(("HTTPTransport", "handle_request"))
    watch(("AsyncHTTPTransport", "handle_async_request"))
    calls(model, sys.argv[1])
"""


@pytest.mark.parametrize(("colour", "seen"), [("sync", 2), ("async", 1)])
def test_httpx2_is_not_loaded_for_a_call_and_once_it_is_whoever_watches_it_sees_the_calls(
    colour: str, seen: int
) -> None:
    command = [sys.executable, "-c", UNWATCHED, colour]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", *["seen"] * seen]


# ---------------------------------------------------------------- OpenTelemetry


@pytest.fixture
def spans() -> Iterator[Any]:
    """Switch the instrumentations on; give the list of the spans that have ended."""
    pytest.importorskip("opentelemetry.sdk", reason="opentelemetry-sdk is not installed")
    for_httpx = pytest.importorskip(
        "opentelemetry.instrumentation.httpx", reason="its instrumentation is missing"
    )
    for_aiohttp = pytest.importorskip(
        "opentelemetry.instrumentation.aiohttp_client", reason="it is not installed"
    )
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    instrumentors = [for_httpx.HTTPXClientInstrumentor(), for_aiohttp.AioHttpClientInstrumentor()]
    if hasattr(for_httpx, "HTTPX2ClientInstrumentor"):
        instrumentors.append(for_httpx.HTTPX2ClientInstrumentor())
    for instrumentor in instrumentors:
        instrumentor.instrument(tracer_provider=provider, skip_dep_check=True)
    yield exporter.get_finished_spans
    for instrumentor in instrumentors:
        instrumentor.uninstrument()


def test_opentelemetry_makes_one_span_a_request_and_its_traceparent_goes_out(
    way: Any, engine: Any, spans: Any, provider_server: ProviderServer
) -> None:
    colour, name = engine
    provider_server.say("Hello!")
    assert way(colour, provider_server.model(engine=name)) == "Hello!"
    (span,) = spans()
    (request,) = provider_server.requests
    context = span.get_span_context()
    assert request.headers["traceparent"].startswith(
        f"00-{context.trace_id:032x}-{context.span_id:016x}-"
    )
    assert span.attributes["http.status_code"] == 200


def test_opentelemetry_sees_each_attempt(
    engine: Any, spans: Any, provider_server: ProviderServer
) -> None:
    colour, name = engine
    provider_server.say(faults.status(503, retry_after=0.01), "Hello!")
    assert colour.invoke(provider_server.model(engine=name), "hi").content == "Hello!"
    assert [span.attributes["http.status_code"] for span in spans()] == [503, 200]
    assert len({request.headers["traceparent"] for request in provider_server.requests}) == 2


# ---------------------------------------------------------------- vcrpy


def test_vcrpy_records_a_call_and_plays_it_back(way: Any, engine: Any, tmp_path: Path) -> None:
    vcr = pytest.importorskip("vcr", reason="vcrpy is not installed")
    colour, name = engine
    cassette = str(tmp_path / "cassette.yaml")
    with ProviderServer(["Hello from the cassette!"]) as server:
        model = server.model(engine=name)
        with vcr.use_cassette(cassette) as recorded:
            assert way(colour, model) == "Hello from the cassette!"
            assert len(recorded) == 1
    with vcr.use_cassette(cassette, record_mode="none") as played:  # the server is gone
        assert way(colour, model) == "Hello from the cassette!"
        assert played.all_played
    assert server.counts.requests == 1


def test_vcrpy_is_out_of_the_way_after_a_cassette(
    engine: Any, provider_server: ProviderServer, tmp_path: Path
) -> None:
    vcr = pytest.importorskip("vcr", reason="vcrpy is not installed")
    colour, name = engine
    model = provider_server.model(engine=name)
    with vcr.use_cassette(str(tmp_path / "cassette.yaml")):
        colour.invoke(model, "hi")
    assert colour.invoke(model, "hi").content == "hi"
    assert provider_server.counts.requests == 2


# ---------------------------------------------------------------- respx

ANSWER = {
    "choices": [{"message": {"role": "assistant", "content": "mocked"}, "finish_reason": "stop"}]
}
CHUNK = b'data: {"choices": [{"delta": {"role": "assistant", "content": "mocked"}, "finish_reason": "stop"}]}\n\n'
URL = "https://provider.example/v1"


def replying(request: Any) -> httpx.Response:
    if b'"stream":true' in request.content:
        return httpx.Response(
            200, content=CHUNK + b"data: [DONE]\n\n", headers={"content-type": "text/event-stream"}
        )
    return httpx.Response(200, json=ANSWER)


def test_the_httpx2_mocker_of_respx_answers_for_a_provider_that_does_not_exist(
    way: Any, colour: Any, httpx2_mock: Any
) -> None:
    route = httpx2_mock.post(f"{URL}/chat/completions").mock(side_effect=replying)
    assert way(colour, ChatOpenAI(model="m", api_key="k", base_url=URL)) == "mocked"
    assert route.call_count == 1


def test_plain_respx_answers_for_a_client_of_the_users_own(
    way: Any, colour: Any, respx_mock: Any
) -> None:
    route = respx_mock.post(f"{URL}/chat/completions").mock(side_effect=replying)
    clients = {"http_client": httpx.Client(), "http_async_client": httpx.AsyncClient()}
    assert way(colour, ChatOpenAI(model="m", api_key="k", base_url=URL, **clients)) == "mocked"
    assert route.call_count == 1
