"""Spans and metrics by the GenAI conventions, read out of the SDK's in-memory exporters."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

pytest.importorskip("opentelemetry.sdk")

from opentelemetry import trace
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from modelwire import otel
from modelwire.callbacks import BaseCallbackHandler, CallbackManager
from modelwire.errors import ServerError
from modelwire.ext import CallObserver
from modelwire.jobs import arun_job, run_job
from modelwire.prompts import ChatPromptTemplate
from modelwire.runnables import RunnableLambda, RunnableParallel
from modelwire.testing import faults, recorded, replayed
from modelwire.testing.server import ProviderServer
from modelwire.tools import tool

OURS = str(Path(otel.__file__).parents[1])
PROMPT = "the canary sings at noon"


class Seen(NamedTuple):
    exporter: InMemorySpanExporter
    tracer: Any
    reader: InMemoryMetricReader

    def spans(self) -> dict[str, Any]:
        return {span.name: span for span in self.exporter.get_finished_spans()}

    def tree(self) -> Counter[tuple[str, str | None]]:
        """Count the spans by their names and their parents'."""
        spans = self.exporter.get_finished_spans()
        names = {span.context.span_id: span.name for span in spans}
        return Counter((span.name, span.parent and names[span.parent.span_id]) for span in spans)

    def points(self) -> dict[str, list[Any]]:
        data = self.reader.get_metrics_data()
        found = [
            m for r in data.resource_metrics for scope in r.scope_metrics for m in scope.metrics
        ]
        return {metric.name: list(metric.data.data_points) for metric in found}


@pytest.fixture
def seen() -> Iterator[Seen]:
    exporter, reader, provider = InMemorySpanExporter(), InMemoryMetricReader(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    otel.instrument(tracer_provider=provider, meter_provider=MeterProvider([reader]))
    yield Seen(exporter, provider.get_tracer("test"), reader)
    otel.uninstrument()


@pytest.fixture
def server() -> Iterator[ProviderServer]:
    with ProviderServer() as server:
        yield server


CLOUDS: list[tuple[Any, dict[str, Any], str]] = [
    ("gemini", {}, "gcp.gemini"),
    ("gemini", {"vertexai": True}, "gcp.vertex_ai"),
    ("bedrock", {}, "aws.bedrock"),
    *(
        ("openai", {"provider": service}, name)
        for service, name in {
            "azure_openai": "azure.ai.openai",
            "mistral": "mistral_ai",
            "xai": "x_ai",
            "watsonx": "ibm.watsonx.ai",
            "bedrock_openai": "aws.bedrock",
            "google_openai": "gcp.gemini",
            "groq": "groq",
        }.items()
    ),
]


@pytest.mark.parametrize(("wire", "settings", "name"), CLOUDS)
def test_providers_have_the_names_of_the_conventions(
    server: ProviderServer, seen: Seen, wire: Any, settings: dict[str, Any], name: str
) -> None:
    server.model(wire, **settings).invoke("hi")
    (span,) = seen.exporter.get_finished_spans()
    assert dict(span.attributes)["gen_ai.provider.name"] == name


def test_a_call_is_a_span_by_the_conventions(
    colour: Any, server: ProviderServer, seen: Seen
) -> None:
    server.say("Good day")
    answer = colour.invoke(server.model(temperature=0.5, max_tokens=9), PROMPT, stop=["x"])
    (span,) = seen.exporter.get_finished_spans()
    facts = dict(span.attributes)
    assert (span.name, span.kind, span.status.is_ok) == (
        "chat gpt-test",
        trace.SpanKind.CLIENT,
        True,
    )
    assert facts["gen_ai.operation.name"] == "chat"
    assert facts["gen_ai.provider.name"] == "openai"
    assert facts["gen_ai.request.model"] == "gpt-test"
    assert (facts["gen_ai.request.temperature"], facts["gen_ai.request.max_tokens"]) == (0.5, 9)
    assert facts["gen_ai.request.stop_sequences"] == ("x",)
    assert facts["gen_ai.response.id"] == answer.response_metadata["id"]
    assert facts["gen_ai.response.finish_reasons"] == ("stop",)
    assert facts["gen_ai.usage.input_tokens"] == answer.usage_metadata["input_tokens"]
    assert facts["gen_ai.usage.output_tokens"] == answer.usage_metadata["output_tokens"]
    assert facts["server.address"] == "127.0.0.1"
    assert facts["server.port"] == int(server.base_url.rpartition(":")[2])
    assert PROMPT not in str(facts)
    assert "Good day" not in str(facts)


def test_the_metrics_of_a_call(colour: Any, server: ProviderServer, seen: Seen) -> None:
    answer = colour.invoke(server.model(), PROMPT)
    chunks = colour.stream(server.model(), PROMPT)
    streamed = sum(chunk.usage_metadata["input_tokens"] for chunk in chunks if chunk.usage_metadata)
    points = seen.points()
    assert sum(point.count for point in points["gen_ai.client.operation.duration"]) == 2
    used = {
        point.attributes["gen_ai.token.type"]: point.sum
        for point in points["gen_ai.client.token.usage"]
    }
    assert used["input"] == answer.usage_metadata["input_tokens"] + streamed
    (first,) = points["gen_ai.client.operation.time_to_first_chunk"]
    assert first.count == 1
    assert first.attributes["gen_ai.request.model"] == "gpt-test"


def test_a_stream_says_when_its_first_chunk_came_and_an_invoke_does_not_stream(
    colour: Any, server: ProviderServer, seen: Seen
) -> None:
    colour.stream(server.model(), PROMPT)
    colour.invoke(server.model(), PROMPT)
    streamed, whole = seen.exporter.get_finished_spans()
    assert [event.name for event in streamed.events] == ["first chunk"]
    assert whole.events == ()
    assert [request.stream for request in server.requests] == [True, False]


def test_attempts_and_waits_are_events(colour: Any, server: ProviderServer, seen: Seen) -> None:
    server.say(faults.status(500), "good")
    colour.invoke(server.model(), PROMPT)
    (span,) = seen.exporter.get_finished_spans()
    assert [event.name for event in span.events] == ["attempt failed", "waited"]
    assert dict(span.events[0].attributes) == {
        "error.type": "ServerError",
        "http.response.status_code": 500,
    }


def test_a_call_that_fails_is_an_error_without_its_words(
    colour: Any, server: ProviderServer, seen: Seen
) -> None:
    server.say(faults.status(500, message=PROMPT))
    with pytest.raises(ServerError):
        colour.invoke(server.model(max_retries=0), PROMPT)
    (span,) = seen.exporter.get_finished_spans()
    assert (span.status.status_code, span.attributes["error.type"]) == (
        trace.StatusCode.ERROR,
        "ServerError",
    )
    assert PROMPT not in span.to_json()
    (point,) = seen.points()["gen_ai.client.operation.duration"]
    assert point.attributes["error.type"] == "ServerError"


def test_content_is_captured_only_when_asked_for(
    colour: Any, server: ProviderServer, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(otel.CAPTURE, "true")
    server.say("Good day")
    colour.invoke(server.model(), PROMPT)
    (span,) = seen.exporter.get_finished_spans()
    assert json.loads(span.attributes["gen_ai.input.messages"]) == [
        {"role": "user", "parts": [{"type": "text", "content": PROMPT}]}
    ]
    (said,) = json.loads(span.attributes["gen_ai.output.messages"])
    assert (said["role"], said["parts"][0]["content"], said["finish_reason"]) == (
        "assistant",
        "Good day",
        "stop",
    )


def test_a_chain_is_the_parent_of_its_calls_and_a_span_of_the_programs_own_is_theirs(
    colour: Any, server: ProviderServer, seen: Seen
) -> None:
    chain = (ChatPromptTemplate.from_messages([("user", "{x}")]) | server.model()).with_config(
        run_name="asking"
    )
    with seen.tracer.start_as_current_span("mine"):
        colour.invoke(chain, {"x": "hi"})
        assert trace.get_current_span().name == "mine"
    spans = seen.spans()
    assert spans["chat gpt-test"].parent.span_id == spans["asking"].context.span_id
    assert spans["asking"].parent.span_id == spans["mine"].context.span_id


def test_the_calls_of_a_batch_belong_to_the_span_around_it(
    colour: Any, server: ProviderServer, seen: Seen
) -> None:
    with seen.tracer.start_as_current_span("mine") as mine:
        colour.batch(server.model(), ["a", "b", "c"])
    calls = [span for span in seen.exporter.get_finished_spans() if span.name == "chat gpt-test"]
    assert [call.parent.span_id for call in calls] == [mine.get_span_context().span_id] * 3


def test_the_calls_of_threads_and_of_steps_side_by_side_belong_to_the_span_around_them(
    colour: Any, server: ProviderServer, seen: Seen
) -> None:
    model = server.model()
    chain = RunnableParallel(
        in_a_thread=RunnableLambda(lambda text: model.invoke(text)), beside_it=model
    )
    with seen.tracer.start_as_current_span("mine"):
        colour.batch(chain, ["a", "b"])
        colour.batch_as_completed(chain, ["c"])
        colour.stream(chain, "d")
    assert seen.tree() == {
        ("RunnableParallel<in_a_thread,beside_it>", "mine"): 4,
        ("RunnableLambda", "RunnableParallel<in_a_thread,beside_it>"): 4,
        ("chat gpt-test", "RunnableLambda"): 4,
        ("chat gpt-test", "RunnableParallel<in_a_thread,beside_it>"): 4,
        ("mine", None): 1,
    }


def test_the_rows_of_a_job_belong_to_the_span_around_it(
    colour: Any, server: ProviderServer, seen: Seen, tmp_path: Path
) -> None:
    rows = [{"text": str(number)} for number in range(5)]
    work = {"model": server.model(), "output": tmp_path / "out.csv"}
    with seen.tracer.start_as_current_span("mine"):
        colour.run(
            lambda: run_job("{text}", rows, **work), lambda: arun_job("{text}", rows, **work)
        )
    assert seen.tree() == {
        ("RunnableSequence", "mine"): 5,
        ("ChatPromptTemplate", "RunnableSequence"): 5,
        ("chat gpt-test", "RunnableSequence"): 5,
        ("mine", None): 1,
    }


def test_a_replayed_call_is_a_span_like_a_live_one(
    colour: Any, server: ProviderServer, seen: Seen, tmp_path: Path
) -> None:
    server.say(faults.status(500), "good")
    model, facts = server.model(), []
    for tape in (recorded(tmp_path / "run.jsonl"), replayed(tmp_path / "run.jsonl")):
        seen.exporter.clear()
        with tape:
            colour.invoke(model, PROMPT)
        (span,) = seen.exporter.get_finished_spans()
        facts.append((dict(span.attributes), [event.name for event in span.events]))
    assert facts[0] == facts[1]


def test_a_stream_that_is_left_ends_its_span_and_leaves_no_span_current(
    server: ProviderServer, seen: Seen
) -> None:
    stream = server.model().stream(PROMPT)
    next(stream)
    assert not trace.get_current_span().get_span_context().is_valid
    stream.close()
    (span,) = seen.exporter.get_finished_spans()
    assert span.status.is_ok


def test_a_tool_is_a_span_of_its_own(colour: Any, seen: Seen) -> None:
    @tool
    def add(a: int, b: int) -> int:
        """Add."""
        return a + b

    colour.invoke(
        add, {"name": "add", "args": {"a": 1, "b": 2}, "id": "call_1", "type": "tool_call"}
    )
    (span,) = seen.exporter.get_finished_spans()
    assert span.name == "execute_tool add"
    assert dict(span.attributes) == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "add",
        "gen_ai.tool.type": "function",
        "gen_ai.tool.description": "Add.",
        "gen_ai.tool.call.id": "call_1",
    }


def test_the_request_goes_out_inside_of_the_span(
    colour: Any, server: ProviderServer, seen: Seen
) -> None:
    current: list[Any] = []

    class After(CallObserver):
        def sent(self, exchange: Any) -> None:
            current.append(trace.get_current_span().get_span_context().span_id)

    colour.invoke(server.model(), PROMPT, {"observers": (After(),)})
    (span,) = seen.exporter.get_finished_spans()
    assert current == [span.context.span_id]


def test_the_conversation_is_found_in_the_callbacks_that_a_step_passes_on(
    colour: Any, server: ProviderServer, seen: Seen
) -> None:
    model = server.model(metadata={"conversation_id": "of the model"})
    for metadata, expected in (
        ({"conversation_id": "of the config"}, "of the model"),
        ({"thread_id": "t1"}, "of the model"),
    ):
        seen.exporter.clear()
        colour.invoke(model, PROMPT, {"metadata": metadata})
        assert seen.spans()["chat gpt-test"].attributes["gen_ai.conversation.id"] == expected
    seen.exporter.clear()
    above = CallbackManager([], metadata={"thread_id": "t2"})
    colour.invoke(server.model(), PROMPT, {"callbacks": above})
    assert seen.spans()["chat gpt-test"].attributes["gen_ai.conversation.id"] == "t2"


def test_nothing_is_seen_after_uninstrument(
    colour: Any, server: ProviderServer, seen: Seen
) -> None:
    otel.ModelwireInstrumentor().uninstrument()
    colour.invoke(server.model(), PROMPT)
    assert seen.exporter.get_finished_spans() == ()


def test_the_wait_for_each_later_chunk_is_measured(
    colour: Any, server: ProviderServer, seen: Seen
) -> None:
    server.say("one two three four")
    chunks = colour.stream(server.model(), PROMPT)
    colour.invoke(server.model(), PROMPT)
    points = seen.points()
    for name in ("inference", "operation"):
        [point] = points[f"gen_ai.client.{name}.time_per_output_chunk"]
        assert point.count == len(chunks) - 1 > 1
        assert point.sum >= 0


def test_a_span_processor_that_raises_ends_no_call(
    colour: Any, server: ProviderServer, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(SpanProcessor):
        def on_start(self, span: Any, parent_context: Any = None) -> None:
            if self.at == "start":
                raise ValueError("the disk is full")

        def on_end(self, span: Any) -> None:
            if self.at == "end":
                raise ValueError("the disk is full")

    for at in ("start", "end"):
        broken, provider = Broken(), TracerProvider()
        broken.at = at
        provider.add_span_processor(broken)
        otel.instrument(tracer_provider=provider)
        caplog.clear()
        try:
            server.say("good")
            assert colour.invoke(server.model(), PROMPT).text == "good"
        finally:
            otel.uninstrument()
        assert "the disk is full" in caplog.text


def test_instrumenting_twice_makes_one_span_with_the_later_providers(
    colour: Any, server: ProviderServer, seen: Seen
) -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    otel.instrument(tracer_provider=provider)
    colour.invoke(server.model(), PROMPT)
    assert [span.name for span in exporter.get_finished_spans()] == ["chat gpt-test"]
    assert seen.exporter.get_finished_spans() == ()


def test_handlers_receive_what_they_receive_without_spans(
    colour: Any, server: ProviderServer, seen: Seen
) -> None:
    heard: list[str] = []

    class Handler(BaseCallbackHandler):
        run_inline = True

        def on_chat_model_start(self, serialized: Any, messages: Any, **about: Any) -> None:
            heard.append("start")

        def on_llm_end(self, response: Any, **about: Any) -> None:
            heard.append("end")

    colour.invoke(server.model(), PROMPT, {"callbacks": [Handler()]})
    assert heard == ["start", "end"]
    assert list(seen.spans()) == ["chat gpt-test"]


def test_a_span_costs_a_call_fewer_functions_of_ours_than_of_opentelemetrys(
    server: ProviderServer,
) -> None:
    model, provider = server.model(), TracerProvider()
    provider.add_span_processor(SpanProcessor())
    entered: Counter[str] = Counter()

    def count(frame: Any, event: str, arg: Any) -> None:
        if event == "call":
            path = frame.f_code.co_filename
            if path.startswith(OURS):
                entered["ours"] += 1
            elif "opentelemetry" in Path(path).parts:
                entered["theirs"] += 1

    def counted() -> Counter[str]:
        for _ in range(3):
            model.invoke(PROMPT)
        least: Counter[str] = Counter()
        for _ in range(3):
            entered.clear()
            sys.setprofile(count)
            try:
                model.invoke(PROMPT)
            finally:
                sys.setprofile(None)
            least = min(least or Counter(entered), Counter(entered), key=Counter.total)
        return least

    without = counted()
    otel.instrument(tracer_provider=provider, meter_provider=NoOpMeterProvider())
    try:
        with_spans = counted()
    finally:
        otel.uninstrument()
    ours = with_spans["ours"] - without["ours"]
    assert ours <= 80
    assert ours < with_spans["theirs"]


def test_it_is_loaded_only_when_asked() -> None:
    says = "import modelwire.adapters, sys; print([m for m in sys.modules if 'opentelemetry' in m])"
    done = subprocess.run([sys.executable, "-c", says], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
