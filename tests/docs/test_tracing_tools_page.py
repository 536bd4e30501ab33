"""The program of `tracing-tools.md` sends its spans as each tool wants them: to its path, with its headers, in OTLP."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from base64 import b64encode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from modelwire.testing import ProviderServer

pytest.importorskip("opentelemetry.exporter.otlp.proto.http")

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/tracing-tools.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE))
# The path and the headers that each tool's own page wants (sources: `docs/tracing-tools.md`).
WANTED: dict[str, tuple[str, dict[str, str]]] = {
    "Langfuse": (
        "/api/public/otel/v1/traces",
        {
            "authorization": "Basic " + b64encode(b"pk-lf-1:sk-lf-2").decode(),
            "x-langfuse-ingestion-version": "4",
        },
    ),
    "LangSmith": ("/otel/v1/traces", {"x-api-key": "lsv2_1", "langsmith-project": "demo"}),
    "Phoenix": ("/v1/traces", {"authorization": "Bearer px-1"}),
    "Logfire": ("/v1/traces", {"authorization": "pylf_v1_us_1"}),
    "Datadog": ("/v1/traces", {"dd-api-key": "dd-1", "dd-otlp-source": "llmobs"}),
    "Grafana": (
        "/otlp/v1/traces",
        {"authorization": "Basic " + b64encode(b"123456:glc_1").decode()},
    ),
}


@pytest.fixture
def tool() -> Iterator[tuple[str, list[tuple[str, dict[str, str], bytes]]]]:
    """Receive what is sent to a tool: path, headers and body of each request."""
    received: list[tuple[str, dict[str, str], bytes]] = []

    class Receive(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(headers["content-length"]))
            received.append((self.path, headers, body))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *about: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Receive) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", received
        server.shutdown()


def program() -> str:
    found = re.search(r'^```python title="app.py"\n(.*?)^```$', PAGE, re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


def test_the_program_is_short_and_every_tool_has_a_section() -> None:
    assert len(program().splitlines()) <= 15
    assert set(SECTIONS) == set(WANTED)


@pytest.mark.parametrize("name", WANTED)
def test_a_tool_gets_the_spans_as_it_wants_them(
    name: str, tool: tuple[str, list[tuple[str, dict[str, str], bytes]]], tmp_path: Path
) -> None:
    address, received = tool
    exports = re.findall(r"^export .*$", SECTIONS[name], re.MULTILINE)
    here = [re.sub(r"(_ENDPOINT=)https?://[^/\s]+", rf"\1{address}", line) for line in exports]
    (tmp_path / "app.py").write_text(program())
    script = "\n".join([*here, f"exec {sys.executable} app.py"])
    unset = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}
    with ProviderServer("Bern.") as server:
        own = {"OPENAI_BASE_URL": server.base_url_for("openai"), "OPENAI_API_KEY": "k"}
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=tmp_path,
            env={**unset, **own, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stdout) == (0, "Bern.\n"), done.stderr
    [(path, headers, body)] = received
    wanted_path, wanted_headers = WANTED[name]
    assert path == wanted_path
    assert wanted_headers.items() <= headers.items()
    assert headers["content-type"] == "application/x-protobuf"
    [resource] = ExportTraceServiceRequest.FromString(body).resource_spans
    [span] = resource.scope_spans[0].spans
    facts = {one.key: one.value for one in span.attributes}
    assert span.name == "chat gpt-4o-mini"
    assert facts["gen_ai.conversation.id"].string_value == "demo"
    assert facts["gen_ai.usage.output_tokens"].int_value == 1
    assert "capital of Switzerland" in facts["gen_ai.input.messages"].string_value
    assert "Bern." in facts["gen_ai.output.messages"].string_value
