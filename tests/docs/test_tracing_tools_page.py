"""The program of each page of `docs/tracing-tools` sends what the tool takes, and all that its view needs.

The server is strict about path, headers and format (`support/trace_ingest.py`). The tree on the page is the one that
was received, and each attribute in the page's table was in it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from support.thinned import of_make_test
from support.trace_ingest import Ingest, ReceivedSpan, receiving, tree

from modelwire.testing import ProviderServer

pytest.importorskip("opentelemetry.exporter.otlp.proto.http")

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs/tracing-tools"
# The path and the headers that each tool's own page wants; the sources are on our pages.
WANTED: dict[str, tuple[str, dict[str, str]]] = {
    "langfuse": (
        "/api/public/otel/v1/traces",
        {
            "authorization": "Basic " + b64encode(b"pk-lf-1:sk-lf-2").decode(),
            "x-langfuse-ingestion-version": "4",
        },
    ),
    "langsmith": ("/otel/v1/traces", {"x-api-key": "lsv2_1", "langsmith-project": "demo"}),
    "phoenix": ("/v1/traces", {"authorization": "Bearer px-1"}),
    "logfire": ("/v1/traces", {"authorization": "pylf_v1_us_1"}),
    "datadog": ("/v1/traces", {"dd-api-key": "dd-1", "dd-otlp-source": "llmobs"}),
    "grafana": (
        "/otlp/v1/traces",
        {"authorization": "Basic " + b64encode(b"123456:glc_1").decode()},
    ),
}
# What every tool shows of a call.
SHOWN_EVERYWHERE = {"name", "model", "tokens"}
# Words that pages use for the same.
SAME = {"usage": "tokens", "inputs": "input", "outputs": "output"}


def text_of(name: str) -> str:
    return (FOLDER / f"{name}.md").read_text(encoding="utf-8")


def block(text: str, start: str) -> str:
    found = re.search(rf"^```{start}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


def needs_of(text: str) -> dict[str, list[list[str]]]:
    """Return what the table of a page lists: for each part of the view the attributes, as lists of alternatives."""
    table = re.search(r"^\| there \| from \|\n\|---\|---\|\n((?:\|.*\n)+)", text, re.MULTILINE)
    assert table is not None
    needs = {}
    for line in table[1].splitlines():
        part, source = (cell.strip() for cell in line.strip("|").split("|"))
        needs[part] = [
            re.findall(r"`([^`]+)`", one)
            for one in re.split(r", (?!or else)", source)
            if "`" in one
        ]
    return needs


def missing(needs: dict[str, list[list[str]]], attributes: dict[str, Any]) -> list[str]:
    """Return the parts of a view for which attributes are missing or empty."""
    found = {name for name, value in attributes.items() if value not in ("", None, [])}
    return [
        part
        for part, groups in needs.items()
        for alternatives in groups
        for group in _groups(alternatives, part)
        if not found & group
    ]


def _groups(alternatives: list[str], part: str) -> list[set[str]]:
    return [set(alternatives)] if part == "model" else [{one} for one in alternatives]


def run_program(name: str, ingest: Ingest, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a page's program in a shell with the page's variables, which lead to the loopback server."""
    text = text_of(name)
    exports = re.findall(r"^export .*$", text, re.MULTILINE)
    here = [
        re.sub(r"(_ENDPOINT=)https?://[^/\s]+", rf"\1{ingest.address}", line)
        for line in exports
        if "LANGSMITH" not in line
    ]
    (folder / "app.py").write_text(block(text, 'python title="app.py"'))
    script = "\n".join([*here, f"exec {sys.executable} app.py"])
    unset = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}
    with ProviderServer("Bern.") as server:
        own = {"OPENAI_BASE_URL": server.base_url_for("openai"), "OPENAI_API_KEY": "k"}
        return subprocess.run(
            ["bash", "-c", script],
            cwd=folder,
            env={**unset, **own, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )


def test_every_tool_has_a_page_with_a_short_program() -> None:
    assert {path.stem for path in FOLDER.glob("*.md")} == set(WANTED)
    overview = (ROOT / "docs/tracing-tools.md").read_text(encoding="utf-8")
    for name in WANTED:
        programs = re.findall(r"^```python.*?\n(.*?)^```$", text_of(name), re.DOTALL | re.MULTILINE)
        assert [len(one.splitlines()) <= 15 for one in programs] == [True] * len(programs) != []
        assert f"(tracing-tools/{name}.md)" in overview
        parts = {SAME.get(part, part) for part in needs_of(text_of(name))}
        assert parts >= SHOWN_EVERYWHERE
        assert parts >= {"input", "output"} or "messages" in parts


@pytest.mark.parametrize("name", of_make_test("phoenix", WANTED))
def test_a_tool_gets_what_its_page_shows(name: str, tmp_path: Path) -> None:
    with receiving(*WANTED[name]) as ingest:
        done = run_program(name, ingest, tmp_path)
    assert (done.returncode, done.stdout) == (0, "Bern.\n"), done.stderr
    assert ingest.refused == []
    text = text_of(name)
    received = re.sub(r"(server\.address: ).*", r"\1api.openai.com", tree(ingest.spans))
    received = re.sub(r"(server\.port: ).*", r"\g<1>443", received)
    received = re.sub(r"(gen_ai\.response\.id: ).*", r"\1chatcmpl-1", received)
    assert received == block(text, "text")
    [call] = [span for span in ingest.spans if span.name.startswith("chat ")]
    assert missing(needs_of(text), call.attributes) == []


@pytest.mark.parametrize("name", WANTED)
def test_an_attribute_that_a_view_needs_is_missed(name: str) -> None:
    needs = needs_of(text_of(name))
    shown = re.findall(r"^     (\S+): (.*)$", block(text_of(name), "text"), re.MULTILINE)
    attributes: dict[str, Any] = dict(shown)
    assert missing(needs, attributes) == []
    for part, groups in needs.items():
        for alternatives in groups:
            for group in _groups(alternatives, part):
                rest = {key: value for key, value in attributes.items() if key not in group}
                assert part in missing(needs, rest)


@pytest.mark.parametrize("name", of_make_test("langfuse", ["langfuse", "grafana", "datadog"]))
def test_the_server_is_strict(name: str, tmp_path: Path) -> None:
    path, headers = WANTED[name]
    with receiving(path, {**headers, next(iter(headers)): "another"}) as ingest:
        done = run_program(name, ingest, tmp_path)
    assert ingest.spans == []
    assert len(ingest.refused) == 1
    assert "401" in done.stderr


def test_a_tree_without_its_root_is_none() -> None:
    orphan = ReceivedSpan("2", "1", "chat m", {})
    with pytest.raises(ValueError, match="missing"):
        tree([orphan])
