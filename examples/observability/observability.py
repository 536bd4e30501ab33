"""A chat, a stream, a tool call and a batch, and what OpenTelemetry hears of them: spans, tokens, seconds.

python examples/observability/observability.py             spans and metrics as JSON on the terminal
python examples/observability/observability.py http://localhost:4318    to a collector: Jaeger, Grafana, any OTLP
opentelemetry-instrument python examples/observability/observability.py --as-it-is    set up from outside

The answers are those of a test server on this machine; `MODEL=openai:gpt-4o-mini` asks a provider instead.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import Any

from opentelemetry import metrics, trace

from modelwire import HumanMessage, init_chat_model
from modelwire.tools import tool


@tool
def weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"It rains in {city}."


def work(model: Any) -> None:
    """Call the model in four ways, inside of a span of the program's own."""
    with trace.get_tracer(__name__).start_as_current_span("a day's work"):
        print(model.invoke("Say good day.").text)
        print("".join(chunk.text for chunk in model.stream("Count to three.")))
        history: list[Any] = [HumanMessage("How is the weather in Bern?")]
        history.append(model.bind_tools([weather]).invoke(history))
        history += map(weather.invoke, history[-1].tool_calls)
        print(model.bind_tools([weather]).invoke(history).text)
        print([answer.text for answer in model.batch(["one", "two", "three"])])


def set_up(endpoint: str | None) -> None:
    """Send spans and metrics to a collector at `endpoint`, or print them."""
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import (
        ConsoleMetricExporter,
        PeriodicExportingMetricReader,
    )
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter

    import modelwire.otel

    spans: Any = ConsoleSpanExporter()
    numbers: Any = ConsoleMetricExporter()
    if endpoint is not None:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        spans, numbers = (
            OTLPSpanExporter(f"{endpoint}/v1/traces"),
            OTLPMetricExporter(f"{endpoint}/v1/metrics"),
        )
    tracing = TracerProvider()
    tracing.add_span_processor(BatchSpanProcessor(spans))
    trace.set_tracer_provider(tracing)
    metrics.set_meter_provider(MeterProvider([PeriodicExportingMetricReader(numbers)]))
    modelwire.otel.instrument()


@contextmanager
def chosen_model() -> Any:
    """Give the model named by `MODEL`, or one of a server that answers like a provider."""
    if name := os.environ.get("MODEL"):
        yield init_chat_model(name)
        return
    from modelwire.testing import Answer, ProviderServer

    call = Answer("", tool_calls=[{"name": "weather", "args": {"city": "Bern"}}])
    with ProviderServer(["Good day!", "one two three", call, "Take an umbrella."]) as server:
        yield server.model(model="gpt-4o-mini")


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if arguments != ["--as-it-is"]:
        set_up(arguments[0] if arguments else None)
    with chosen_model() as model:
        work(model)
