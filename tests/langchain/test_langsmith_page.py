"""The program of `docs/tracing-tools/langsmith.md` with LangSmith's client sends a run that has all its view needs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.trace_ingest import Ingest, receiving

from modelwire.testing import ProviderServer

pytest.importorskip("langsmith")

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/tracing-tools/langsmith.md").read_text(encoding="utf-8")


def runs_program() -> str:
    found = re.search(r'^```python title="runs.py"\n(.*?)^```$', PAGE, re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


def paths_of_the_table() -> list[str]:
    """Return the paths in the second table of the page: where each part of the view is in a run."""
    *_, table = re.findall(r"^\| there \| from \|\n\|---\|---\|\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    return re.findall(r"`([^`]+)`", table)


def value_at(run: dict[str, Any], path: str) -> Any:
    value: Any = run
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def run_program(program: str, ingest: Ingest, folder: Path) -> subprocess.CompletedProcess[str]:
    (folder / "runs.py").write_text(program)
    exports = dict(re.findall(r"^export (LANGSMITH_\w+)=(.*)$", PAGE, re.MULTILINE))
    with ProviderServer("Bern.") as server:
        own = {
            "OPENAI_BASE_URL": server.base_url_for("openai"),
            "OPENAI_API_KEY": "k",
            "LANGSMITH_ENDPOINT": ingest.address,
            "PYTHONPATH": str(ROOT),
        }
        return subprocess.run(
            [sys.executable, "runs.py"],
            cwd=folder,
            env={**os.environ, **exports, **own},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,  # a client whose thread has died would wait for ever
        )


def test_the_clients_run_has_what_the_view_needs(tmp_path: Path) -> None:
    with receiving("/runs/multipart", {"x-api-key": "lsv2_1"}) as ingest:
        done = run_program(runs_program(), ingest, tmp_path)
    assert (done.returncode, done.stdout) == (0, "Bern.\n"), done.stderr
    assert ingest.refused == []
    [run] = ingest.runs.values()
    assert len(paths_of_the_table()) >= 8
    assert [path for path in paths_of_the_table() if not value_at(run, path)] == []
    assert (run["name"], run["run_type"], run["session_name"]) == ("capital", "llm", "demo")
    assert run["outputs"]["usage_metadata"]["output_tokens"] == 1
    assert run["inputs"]["messages"][0]["content"] == "What is the capital of Switzerland?"
    assert run["end_time"] > run["start_time"]


@pytest.mark.parametrize("part", ['"ls_model_name"', '"usage_metadata"', '"content": answer.text'])
def test_a_part_that_is_not_sent_is_missed(part: str, tmp_path: Path) -> None:
    program = runs_program()
    assert part in program
    renamed = program.replace(part, part.replace('"', '"x_', 1))
    program = renamed.replace(')["content"]', ").get('role')")
    with receiving("/runs/multipart", {"x-api-key": "lsv2_1"}) as ingest:
        done = run_program(program, ingest, tmp_path)
    assert done.returncode == 0, done.stderr
    [run] = ingest.runs.values()
    assert [path for path in paths_of_the_table() if not value_at(run, path)] != []
