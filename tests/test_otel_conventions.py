"""Every span and metric over all scenes of the test server is what the GenAI conventions say: 0 violations.

The conventions' facts with their commits: `tests/support/genai_conventions.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from support.thinned import thinned

pytest.importorskip("opentelemetry.sdk")

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from modelwire import otel
from modelwire.adapters.embeddings import OpenAIEmbeddings
from modelwire.adapters.providers.rows import PROVIDERS
from modelwire.adapters.providers.services import SERVICES
from modelwire.errors import ModelwireError
from modelwire.ext import names_of
from modelwire.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from modelwire.testing import Answer, ProviderServer, faults
from modelwire.tools import ToolException, tool
from tests.support import genai_conventions as conventions

WIRES = ["openai", "responses", "anthropic", "bedrock", "gemini"]
CALL = {"name": "weather", "args": {"city": "Zürich"}}
USED = {"input_tokens": 30, "output_tokens": 12, "cached_tokens": 10, "reasoning_tokens": 4}
SCENES: dict[str, Any] = {
    "plain": "Good day",
    "tools": Answer("I look.", tool_calls=[CALL]),
    "thinking": Answer("Twelve.", reasoning="Six and six.", usage=USED),
    "structured output": Answer('{"city": "Bern"}'),
    "refusal": Answer(refusal="I will not."),
    "cut short": Answer("It was a dark and", stop="length"),
    "an error": faults.status(500),
    "a cut stream": faults.cut(after_events=3),
    "a retry": None,
}
HISTORY = [
    SystemMessage("Be short."),
    HumanMessage(
        [
            {"type": "text", "text": "What is it?"},
            {"type": "image", "base64": "iVBORw0KGgo=", "mime_type": "image/png"},
        ]
    ),
    AIMessage("I look.", tool_calls=[{**CALL, "id": "c1"}]),
    ToolMessage("sun", tool_call_id="c1", name="weather"),
    HumanMessage("Thanks."),
]
LEVELS: dict[str, dict[str, Any]] = {
    "openai": {"reasoning_effort": "low", "seed": 7, "frequency_penalty": 1, "presence_penalty": 1},
    "responses": {"reasoning_effort": "low"},
    "anthropic": {"effort": "low"},
    "bedrock": {},
    "gemini": {"thinking_level": "low", "seed": 7, "frequency_penalty": 1, "presence_penalty": 1},
}


@tool
def weather(city: str) -> str:
    """Return the weather."""
    if city == "nowhere":
        raise ToolException("no such city")
    return f"sun in {city}"


class Seen(NamedTuple):
    exporter: InMemorySpanExporter
    reader: InMemoryMetricReader
    with_earlier: bool

    @property
    def spans(self) -> list[Any]:
        return list(self.exporter.get_finished_spans())

    def facts(self, operation: str) -> dict[str, Any]:
        [span] = [
            one
            for one in self.spans
            if (one.attributes or {}).get("gen_ai.operation.name") == operation
        ]
        return dict(span.attributes)

    def metrics(self) -> dict[str, Any]:
        data = self.reader.get_metrics_data()
        return {
            metric.name: metric
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def violations(self) -> list[str]:
        found = [
            f"{span.name}: {one}"
            for span in self.spans
            for one in conventions.violations(span, with_earlier=self.with_earlier)
        ]
        known = conventions.METRICS | (conventions.EARLIER_METRICS if self.with_earlier else {})
        for name, metric in self.metrics().items():
            if name not in known:
                found.append(f"metric {name} is unknown")
                continue
            unit, attributes = known[name]
            if metric.unit != unit:
                found.append(f"metric {name} is in {metric.unit}")
            for point in metric.data.data_points:
                problems = conventions.of_attributes(dict(point.attributes), attributes)
                found += [f"metric {name}: {one}" for one in problems]
        return found


def watched(with_earlier: bool, monkeypatch: pytest.MonkeyPatch) -> Seen:
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", "http/dup, gen_ai_latest_experimental")
    if with_earlier:
        monkeypatch.delenv("OTEL_SEMCONV_STABILITY_OPT_IN")
    exporter, reader, provider = InMemorySpanExporter(), InMemoryMetricReader(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    otel.instrument(tracer_provider=provider, meter_provider=MeterProvider([reader]))
    return Seen(exporter, reader, with_earlier)


@pytest.fixture(params=[True, False], ids=["with earlier names", "latest"])
def seen(request: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Seen]:
    monkeypatch.setenv(otel.CAPTURE, "true")
    yield watched(request.param, monkeypatch)
    otel.uninstrument()


@pytest.fixture
def latest(monkeypatch: pytest.MonkeyPatch) -> Iterator[Seen]:
    yield watched(False, monkeypatch)
    otel.uninstrument()


@pytest.fixture
def server() -> Iterator[ProviderServer]:
    with ProviderServer() as server:
        yield server


@thinned(scene=SCENES.keys(), wire=WIRES)
def test_a_scene_violates_nothing(
    scene: str, wire: Any, colour: Any, server: ProviderServer, seen: Seen
) -> None:
    answer = SCENES[scene]
    server.default = "one two three four"
    if isinstance(answer, faults.Fault):
        server.say(*[answer] * 4)
    elif answer is not None:
        server.default = answer
    retries = 0
    if answer is None:
        server.say(faults.status(500))
        retries = 1
    model = server.model(wire, max_retries=retries, max_tokens=500, temperature=1, **LEVELS[wire])
    for call in (colour.invoke, colour.stream):
        for prompt in ("hi", HISTORY):
            try:
                call(model.bind_tools([weather]), prompt)
            except ModelwireError:
                assert scene in ("an error", "a cut stream", "refusal")
    assert len(seen.spans) == 4
    assert seen.violations() == []


@pytest.mark.parametrize("wire", WIRES)
def test_every_attribute_that_can_apply_is_set(
    wire: Any, server: ProviderServer, seen: Seen
) -> None:
    server.default = Answer("x", reasoning="Hm.", tool_calls=[CALL], usage=USED)
    stop = {} if wire == "responses" else {"stop": ["y"]}
    model = server.model(wire, max_tokens=500, temperature=1, top_p=0.5, **stop, **LEVELS[wire])
    list(model.bind_tools([weather]).stream(HISTORY, {"metadata": {"thread_id": "t1"}}))
    facts = seen.facts("chat")
    assert seen.violations() == []
    cannot = {
        # Set below, by requests of their own.
        "error.type",
        "gen_ai.output.type",
        "gen_ai.request.choice.count",
        "gen_ai.request.top_k",
        "gen_ai.request.previous_response.id",
        "gen_ai.prompt.name",
        "gen_ai.prompt.version",
        "gen_ai.conversation.compacted",
        # See `WHY_NOT`.
        "gen_ai.prompt.variable",
        # No provider of these scenes divides its tokens by modality, or counts what it writes to a cache.
        *(
            name
            for name in conventions.INFERENCE
            if ".text." in name or ".image." in name or ".audio." in name
        ),
        "gen_ai.usage.cache_write.input_tokens",
    } | CANNOT[wire]
    assert set(conventions.INFERENCE) - set(facts) <= cannot
    assert facts["gen_ai.conversation.id"] == "t1"
    assert facts["gen_ai.request.stream"] is True
    assert facts["gen_ai.response.time_to_first_chunk"] > 0
    if LEVELS[wire]:
        assert facts["gen_ai.request.reasoning.level"] == "low"
    assert json.loads(facts["gen_ai.tool.definitions"]) == [{"type": "function", "name": "weather"}]


# What a wire has no parameter for, or does not answer.
_CHOICES = {
    "gen_ai.request.seed",
    "gen_ai.request.frequency_penalty",
    "gen_ai.request.presence_penalty",
}
CANNOT: dict[str, set[str]] = {
    # The system prompt is a message of the conversation.
    "openai": {"gen_ai.system_instructions"},
    "responses": {
        "gen_ai.system_instructions",
        "gen_ai.request.stop_sequences",
        *_CHOICES,
    },
    "anthropic": _CHOICES,
    "bedrock": {
        *_CHOICES,
        "gen_ai.request.reasoning.level",
        "gen_ai.usage.reasoning.output_tokens",  # Converse does not count them
        "gen_ai.response.id",  # nor has it an id in its body
    },
    "gemini": set(),
}


def test_the_system_prompt_is_apart_where_the_api_has_it_apart(
    server: ProviderServer, seen: Seen
) -> None:
    server.model("anthropic").invoke(HISTORY)
    server.model("openai").invoke(HISTORY)
    apart, within = ({**span.attributes} for span in seen.spans)
    system = [{"type": "text", "content": "Be short."}]
    assert json.loads(apart["gen_ai.system_instructions"]) == system
    messages = json.loads(apart["gen_ai.input.messages"])
    assert [one["role"] for one in messages] == ["user", "assistant", "tool", "user"]
    assert messages[0]["parts"][1] == {
        "type": "blob",
        "content": "iVBORw0KGgo=",
        "modality": "image",
        "mime_type": "image/png",
    }
    assert messages[2]["parts"] == [{"type": "tool_call_response", "id": "c1", "response": "sun"}]
    assert json.loads(within["gen_ai.input.messages"])[0] == {"role": "system", "parts": system}
    assert "gen_ai.system_instructions" not in within


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"response_format": {"type": "json_object"}}, ("gen_ai.output.type", "json")),
        ({"response_format": {"type": "text"}}, ("gen_ai.output.type", "text")),
        (
            {"modalities": ["text", "audio"], "audio": {"voice": "a"}},
            ("gen_ai.output.type", "speech"),
        ),
        ({"n": 2}, ("gen_ai.request.choice.count", 2)),
        ({"service_tier": "flex"}, ("openai.request.service_tier", "flex")),
    ],
)
def test_a_parameter_is_an_attribute(
    arguments: dict[str, Any], expected: tuple[str, Any], server: ProviderServer, latest: Seen
) -> None:
    server.model("openai").bind(**arguments).invoke("hi")
    assert latest.violations() == []
    assert latest.facts("chat")[expected[0]] == expected[1]


def test_a_guardrail_of_bedrock_is_an_attribute(server: ProviderServer, latest: Seen) -> None:
    guardrail = {"guardrailIdentifier": "gr-1", "guardrailVersion": "1"}
    server.model("bedrock", guardrail_config=guardrail).invoke("hi")
    assert latest.facts("chat")["aws.bedrock.guardrail.id"] == "gr-1"
    assert latest.violations() == []


def test_what_is_the_default_or_the_providers_choice_is_not_set(
    server: ProviderServer, latest: Seen
) -> None:
    server.model("openai", n=1, service_tier="auto").invoke("hi")
    facts = latest.facts("chat")
    assert not facts.keys() & {"gen_ai.request.choice.count", "openai.request.service_tier"}
    assert not facts.keys() & {"gen_ai.request.stream", "gen_ai.conversation.id"}
    assert facts["openai.api.type"] == "chat_completions"


@pytest.mark.filterwarnings("ignore:`reasoning_effort` is left out")
def test_a_level_that_is_not_sent_is_not_set(server: ProviderServer, latest: Seen) -> None:
    server.model("openai", model="gpt-4o-mini", reasoning_effort="low").invoke("hi")
    assert "reasoning_effort" not in server.requests[0].body
    assert "gen_ai.request.reasoning.level" not in latest.facts("chat")


def test_of_responses_the_api_and_the_conversation_are_set(
    server: ProviderServer, latest: Seen
) -> None:
    model = server.model("responses", previous_response_id="resp_1")
    model.invoke("hi")
    facts = latest.facts("chat")
    assert facts["openai.api.type"] == "responses"
    assert facts["gen_ai.request.previous_response.id"] == "resp_1"
    assert facts["openai.response.service_tier"] == "default"
    assert latest.violations() == []


def test_earlier_names_stand_beside_todays_until_the_program_opts_in(
    server: ProviderServer, seen: Seen
) -> None:
    server.default = _anthropic_body(cache_creation_input_tokens=5, cache_read_input_tokens=0)
    server.model("anthropic").invoke("hi")
    facts = seen.facts("chat")
    assert facts["gen_ai.usage.cache_write.input_tokens"] == 5
    before = facts.get("gen_ai.usage.cache_creation.input_tokens")
    assert before == (5 if seen.with_earlier else None)
    metrics = seen.metrics()
    [written] = metrics["gen_ai.client.inference.usage.cache_write.input_tokens"].data.data_points
    assert written.value == 5
    for name in ("gen_ai.client.token.usage", "gen_ai.client.operation.duration"):
        assert (name in metrics) == seen.with_earlier
    [answer] = json.loads(facts["gen_ai.output.messages"])
    assert ("finish_reason" in answer) == seen.with_earlier


def test_a_call_that_fails_has_used_no_tokens(server: ProviderServer, latest: Seen) -> None:
    server.default = faults.status(500)
    with pytest.raises(ModelwireError):
        server.model("openai", max_retries=0).invoke("hi")
    metrics = latest.metrics()
    [spent] = metrics["gen_ai.client.inference.usage.input_tokens"].data.data_points
    assert spent.value == 0
    [point] = metrics["gen_ai.client.inference.operation.input_tokens"].data.data_points
    assert (point.sum, point.attributes["error.type"]) == (0, "ServerError")


def test_a_stream_that_breaks_has_the_reason_error(server: ProviderServer, latest: Seen) -> None:
    server.say(faults.cut(after_events=3))
    with pytest.raises(ModelwireError):
        list(server.model("openai", max_retries=0).stream("one two three four"))
    facts = latest.facts("chat")
    assert facts["gen_ai.response.finish_reasons"] == ("error",)
    assert facts["gen_ai.request.stream"] is True
    assert latest.violations() == []


def test_a_tool_has_every_attribute(colour: Any, seen: Seen) -> None:
    call = {"name": "weather", "args": {"city": "Bern"}, "id": "c1", "type": "tool_call"}
    colour.invoke(weather, call)
    facts = seen.facts("execute_tool")
    assert seen.violations() == []
    assert set(conventions.EXECUTE_TOOL) - set(facts) == {"error.type"}
    assert json.loads(facts["gen_ai.tool.call.arguments"]) == {"city": "Bern"}
    assert facts["gen_ai.tool.call.result"] == "sun in Bern"
    [point] = seen.metrics()["gen_ai.execute_tool.duration"].data.data_points
    assert dict(point.attributes) == {"gen_ai.tool.name": "weather"}


def test_a_tool_that_reports_an_error_is_one(colour: Any, latest: Seen) -> None:
    lenient = weather.model_copy(update={"handle_tool_error": True})
    call = {"name": "weather", "args": {"city": "nowhere"}, "id": "c1", "type": "tool_call"}
    assert colour.invoke(lenient, call).status == "error"
    assert latest.facts("execute_tool")["error.type"] == "tool_error"
    assert latest.violations() == []


def test_a_tool_of_an_mcp_server_has_its_attributes(latest: Seen) -> None:
    about = {"mcp.method.name": "tools/call", "network.transport": "pipe", "secret": "x"}
    weather.model_copy(update={"metadata": about}).invoke({"city": "Bern"})
    facts = latest.facts("execute_tool")
    assert facts["mcp.method.name"] == "tools/call"
    assert facts["network.transport"] == "pipe"
    assert "secret" not in facts
    assert latest.violations() == []


def test_embeddings_are_a_span_of_their_own(latest: Seen, embedding_server: str) -> None:
    model = OpenAIEmbeddings(
        model="text-embedding-3-small", dimensions=3, base_url=embedding_server, api_key="k"
    )
    model.embed_query("hi")
    facts = latest.facts("embeddings")
    assert facts["gen_ai.request.model"] == "text-embedding-3-small"
    assert facts["gen_ai.embeddings.dimension.count"] == 3
    assert facts["gen_ai.usage.input_tokens"] == 2
    assert latest.violations() == []
    assert set(latest.metrics()) == {"gen_ai.client.operation.duration"}


@pytest.fixture
def embedding_server(server: ProviderServer) -> str:
    """Answer with numbers instead of a chat, as OpenAI's API does: the test server has no embeddings of its own."""
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
    from threading import Thread

    class Numbers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            row = {"object": "embedding", "index": 0, "embedding": "AAAAAAAAgD8AAAAA"}
            body = {"object": "list", "data": [row], "model": "text-embedding-3-small"}
            usage = {"prompt_tokens": 2, "total_tokens": 2}
            content = json.dumps({**body, "usage": usage}).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Numbers)
    Thread(target=listening.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{listening.server_port}/v1"


def test_every_provider_that_the_conventions_know_has_their_name() -> None:
    ours = {names_of(name).traces or name for name in [*PROVIDERS, *SERVICES]}
    # Services of others that modelwire has no row for.
    without_row = {"azure.ai.inference", "gcp.gen_ai"}
    assert conventions.PROVIDERS - ours == without_row


def test_the_names_are_those_of_opentelemetrys_package_where_it_knows_them() -> None:
    module = pytest.importorskip("opentelemetry.semconv._incubating.attributes.gen_ai_attributes")
    package = {value for name, value in vars(module).items() if name.startswith("GEN_AI_")}
    newer = {name for name in conventions.INFERENCE if name.startswith("gen_ai.")} - package
    # Since 1.44 of the package; see the commits of the table.
    assert all(
        name.startswith(("gen_ai.usage.", "gen_ai.conversation.compacted", "gen_ai.prompt."))
        or name in ("gen_ai.request.previous_response.id", "gen_ai.request.reasoning.level")
        for name in newer
    )


# Why attributes of the conventions are in no span.
WHY_NOT = {
    "chat": {
        "gen_ai.prompt.variable": "The values of a template are filled in before the call; it has the text only.",
        **{
            f"gen_ai.usage.text.{side}_tokens": "`usage_metadata` counts the modalities beside text."
            for side in ("input", "output")
        },
        **{
            f"gen_ai.usage.{kind}.cache_read.input_tokens": "`usage_metadata` has one count of cached tokens."
            for kind in ("text", "image", "audio")
        },
    },
    "embeddings": {},
    "execute_tool": {
        "mcp.resource.uri": "A call of a tool has none; resources are read outside of a tool's run.",
        "jsonrpc.protocol.version": "It is 2.0, the only version, and recommended only if it is another one.",
        "rpc.response.status_code": "The package `mcp` has the same error for a server's code and for its own.",
        "network.protocol.version": "The package `mcp` keeps the HTTP response, with its version, to itself.",
    },
}
# Those of MCP servers that need one: `tests/tools/test_mcp.py` checks them on real servers.
OF_MCP_SERVERS = {
    "mcp.protocol.version",
    "mcp.session.id",
    "jsonrpc.request.id",
    "network.protocol.name",
    "server.address",
    "server.port",
}


class Setting(NamedTuple):
    """Calls that set attributes, with the names of these."""

    operation: str
    run: Callable[[ProviderServer], object]
    sets: tuple[str, ...]


def _anthropic_body(**counts: int) -> dict[str, Any]:
    return {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [{"type": "text", "text": "x"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 3, "output_tokens": 2, **counts},
    }


def _openai_usage(**details: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18, **details}
    about = {"id": "c1", "object": "chat.completion", "created": 1, "model": "m"}
    return {
        **about,
        "choices": [choice],
        "usage": usage,
        "service_tier": "flex",
        "system_fingerprint": "fp",
    }


def _sampling(server: ProviderServer) -> None:
    model = server.model("openai", temperature=1, top_p=0.5, max_tokens=9, seed=7, n=2)
    model.bind(stop=["y"], frequency_penalty=1, presence_penalty=1).invoke(
        "hi", response_format={"type": "json_object"}
    )


def _anthropic(server: ProviderServer) -> None:
    server.default = _anthropic_body(cache_creation_input_tokens=5, cache_read_input_tokens=4)
    model = server.model("anthropic", top_k=4, effort="low")
    model.bind_tools([weather]).invoke(HISTORY)


def _of_the_program(server: ProviderServer) -> None:
    about = {"gen_ai.prompt.name": "capital", "gen_ai.prompt.version": "2", "thread_id": "t1"}
    metadata = {**about, "gen_ai.conversation.compacted": True}
    list(server.model("openai").stream("hi", {"metadata": metadata}))


def _details(server: ProviderServer) -> None:
    server.default = _openai_usage(
        prompt_tokens_details={"audio_tokens": 2},
        completion_tokens_details={"audio_tokens": 3, "reasoning_tokens": 4},
    )
    server.model("openai", service_tier="flex").invoke("hi")


def _images(server: ProviderServer) -> None:
    tokens = [{"modality": "IMAGE", "tokenCount": 5}]
    server.default = {
        "candidates": [
            {"content": {"role": "model", "parts": [{"text": "x"}]}, "finishReason": "STOP"}
        ],
        "usageMetadata": {
            "promptTokenCount": 9,
            "candidatesTokenCount": 9,
            "totalTokenCount": 18,
            "promptTokensDetails": tokens,
            "candidatesTokensDetails": tokens,
        },
        "modelVersion": "m",
        "responseId": "r",
    }
    server.model("gemini").invoke("hi")


def _failing(server: ProviderServer) -> None:
    server.default = faults.status(500)
    with pytest.raises(ModelwireError):
        server.model("openai", max_retries=0).invoke("hi")


def _guarded(server: ProviderServer) -> None:
    guardrail = {"guardrailIdentifier": "gr-1", "guardrailVersion": "1"}
    server.model("bedrock", guardrail_config=guardrail).invoke("hi")


def _failing_tool(server: ProviderServer) -> None:
    lenient = weather.model_copy(update={"handle_tool_error": True})
    lenient.invoke({"name": "weather", "args": {"city": "nowhere"}, "id": "c", "type": "tool_call"})


def _mcp_tool(server: ProviderServer) -> None:
    about = {"mcp.method.name": "tools/call", "network.transport": "pipe"}
    weather.model_copy(update={"metadata": about}).invoke({"city": "Bern"})


def _embed(server: ProviderServer) -> None:
    model = server.embeddings("openai", dimensions=3)
    model.embed_query("hi")


def _failing_embeddings(server: ProviderServer) -> None:
    server.say(faults.status(500))
    with pytest.raises(ModelwireError):
        server.embeddings("openai", max_retries=0).embed_query("hi")


SETTINGS = [
    Setting(
        "chat",
        _sampling,
        (
            "gen_ai.operation.name",
            "gen_ai.provider.name",
            "gen_ai.request.model",
            "gen_ai.request.temperature",
            "gen_ai.request.top_p",
            "gen_ai.request.max_tokens",
            "gen_ai.request.seed",
            "gen_ai.request.choice.count",
            "gen_ai.request.stop_sequences",
            "gen_ai.request.frequency_penalty",
            "gen_ai.request.presence_penalty",
            "gen_ai.output.type",
            "gen_ai.response.id",
            "gen_ai.response.model",
            "gen_ai.response.finish_reasons",
            "gen_ai.usage.input_tokens",
            "gen_ai.usage.output_tokens",
            "gen_ai.input.messages",
            "gen_ai.output.messages",
            "server.address",
            "server.port",
            "openai.api.type",
        ),
    ),
    Setting(
        "chat",
        _anthropic,
        (
            "gen_ai.request.top_k",
            "gen_ai.request.reasoning.level",
            "gen_ai.system_instructions",
            "gen_ai.tool.definitions",
            "gen_ai.usage.cache_read.input_tokens",
            "gen_ai.usage.cache_write.input_tokens",
        ),
    ),
    Setting(
        "chat",
        _of_the_program,
        (
            "gen_ai.prompt.name",
            "gen_ai.prompt.version",
            "gen_ai.conversation.id",
            "gen_ai.conversation.compacted",
            "gen_ai.request.stream",
            "gen_ai.response.time_to_first_chunk",
        ),
    ),
    Setting(
        "chat",
        _details,
        (
            "gen_ai.usage.audio.input_tokens",
            "gen_ai.usage.audio.output_tokens",
            "gen_ai.usage.reasoning.output_tokens",
            "openai.request.service_tier",
            "openai.response.service_tier",
            "openai.response.system_fingerprint",
        ),
    ),
    Setting(
        "chat", _images, ("gen_ai.usage.image.input_tokens", "gen_ai.usage.image.output_tokens")
    ),
    Setting("chat", _failing, ("error.type",)),
    Setting("chat", _guarded, ("aws.bedrock.guardrail.id",)),
    Setting(
        "chat",
        lambda server: server.model("responses", previous_response_id="resp_1").invoke("hi"),
        ("gen_ai.request.previous_response.id",),
    ),
    Setting(
        "execute_tool",
        _failing_tool,
        (
            "gen_ai.operation.name",
            "gen_ai.tool.name",
            "gen_ai.tool.type",
            "gen_ai.tool.description",
            "gen_ai.tool.call.id",
            "gen_ai.tool.call.arguments",
            "gen_ai.tool.call.result",
            "error.type",
        ),
    ),
    Setting("execute_tool", _mcp_tool, ("mcp.method.name", "network.transport")),
    Setting(
        "embeddings",
        _embed,
        (
            "gen_ai.operation.name",
            "gen_ai.provider.name",
            "gen_ai.request.model",
            "gen_ai.request.encoding_formats",
            "gen_ai.embeddings.dimension.count",
            "gen_ai.response.model",
            "gen_ai.usage.input_tokens",
            "server.address",
            "server.port",
        ),
    ),
    Setting("embeddings", _failing_embeddings, ("error.type",)),
]


@pytest.mark.parametrize("one", SETTINGS, ids=lambda one: f"{one.operation} {one.run.__name__}")
def test_an_attribute_is_set_by_its_scene(one: Setting, server: ProviderServer, seen: Seen) -> None:
    one.run(server)
    assert set(one.sets) - set(seen.facts(one.operation)) == set()
    assert seen.violations() == []


def test_each_attribute_of_the_conventions_has_a_scene_or_a_reason() -> None:
    own = {name for names in conventions.OWN.values() for name in names}
    wanted = {
        "chat": {*conventions.INFERENCE, *own},
        "embeddings": set(conventions.EMBEDDINGS),
        "execute_tool": {*conventions.EXECUTE_TOOL, *conventions.MCP},
    }
    for operation, names in wanted.items():
        set_somewhere = {
            name for one in SETTINGS if one.operation == operation for name in one.sets
        }
        if operation == "execute_tool":
            set_somewhere |= OF_MCP_SERVERS
        assert set_somewhere | set(WHY_NOT[operation]) == names
        assert set_somewhere & set(WHY_NOT[operation]) == set()
