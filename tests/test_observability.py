"""`examples/observability` as a user runs it: on the terminal, into an OTLP receiver, and set up from outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("opentelemetry.sdk", reason="opentelemetry-sdk is not installed")

ROOT = Path(__file__).parents[1]
SCRIPT = str(ROOT / "examples" / "observability" / "observability.py")
SPANS = {"a day's work": 1, "chat gpt-4o-mini": 7, "execute_tool weather": 1}
ANSWERS = ["Good day!", "one two three", "Take an umbrella.", "['one', 'two', 'three']"]


def run(*command: str, **environment: str) -> str:
    done = subprocess.run(
        [*command],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        cwd=ROOT,
        env=os.environ | {"PYTHONIOENCODING": "utf-8"} | environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def printed(output: str) -> list[dict[str, Any]]:
    """Read the JSON objects that a console exporter has put between the lines of the program."""
    found, decoder, at = [], json.JSONDecoder(), 0
    while (at := output.find("\n{", at)) >= 0:
        value, at = decoder.raw_decode(output, at + 1)
        found.append(value)
    return found


def test_the_console_shows_spans_and_metrics_of_every_way_of_calling() -> None:
    output = run(sys.executable, "-W", "error", SCRIPT)
    assert [line for line in output.splitlines() if line in ANSWERS] == ANSWERS
    shown = printed(output)
    spans = [one for one in shown if "context" in one]
    assert Counter(span["name"] for span in spans) == SPANS
    (work,) = (span for span in spans if span["name"] == "a day's work")
    assert {span["parent_id"] for span in spans if span is not work} == {work["context"]["span_id"]}
    chats = [span["attributes"] for span in spans if span["name"].startswith("chat")]
    assert all(
        chat["gen_ai.usage.output_tokens"] > 0
        for chat in chats
        if chat["gen_ai.response.finish_reasons"] == ["stop"]
    )
    assert "Good day" not in json.dumps(
        spans
    )  # no prompt and no answer, as nobody has asked for them
    assert "gen_ai.client.operation.duration" in output


@pytest.fixture
def collector() -> Iterator[tuple[str, dict[str, list[bytes]]]]:
    """Run a collector of a few lines: give its address, and by path what was sent to it."""
    bodies: dict[str, list[bytes]] = {}

    class Receive(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            bodies.setdefault(self.path, []).append(body)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *about: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Receive) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", bodies
        server.shutdown()


def test_a_collector_gets_them_over_otlp(collector: tuple[str, dict[str, list[bytes]]]) -> None:
    pytest.importorskip(
        "opentelemetry.exporter.otlp.proto.http", reason="the exporter is not installed"
    )
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
        ExportMetricsServiceRequest,
    )
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    address, bodies = collector
    run(sys.executable, SCRIPT, address)
    spans = [
        span
        for body in bodies["/v1/traces"]
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    assert Counter(span.name for span in spans) == SPANS
    assert len({span.trace_id for span in spans}) == 1
    names = {
        metric.name
        for body in bodies["/v1/metrics"]
        for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }
    usage, operation = "gen_ai.client.inference.usage", "gen_ai.client.inference.operation"
    assert names == {
        "gen_ai.client.operation.duration",
        "gen_ai.client.token.usage",
        "gen_ai.client.operation.time_to_first_chunk",
        "gen_ai.client.operation.time_per_output_chunk",
        "gen_ai.client.inference.duration",
        "gen_ai.client.inference.time_to_first_chunk",
        "gen_ai.client.inference.time_per_output_chunk",
        "gen_ai.execute_tool.duration",
        f"{usage}.input_tokens",
        f"{usage}.output_tokens",
        f"{operation}.input_tokens",
        f"{operation}.output_tokens",
    }


@pytest.mark.long  # it loads every instrumentation that is installed
def test_it_may_be_set_up_from_outside() -> None:
    pytest.importorskip("opentelemetry.distro", reason="opentelemetry-distro is not installed")
    if not any(
        entry.name == "modelwire" for entry in entry_points(group="opentelemetry_instrumentor")
    ):
        pytest.skip("modelwire is not installed, and so is not found")
    command = str(Path(sys.executable).with_name("opentelemetry-instrument"))
    exporters = {
        "OTEL_TRACES_EXPORTER": "console",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
    }
    spans = printed(run(command, sys.executable, SCRIPT, "--as-it-is", **exporters))
    ours = [span["name"] for span in spans if not span["name"].startswith("POST")]
    assert Counter(ours) == SPANS
