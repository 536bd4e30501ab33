"""LangGraph's tests of its prebuilt agent, and LangChain's of agents and middleware, with our models.

`make test-long` fetches them (`third_party/fetch.py`), and each suite runs in a process of its own with the plugin
`third_party/agent_models.py`. What fails with our models is in `third_party/agent_exceptions.py`, with the reason.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from third_party.fetch import SUITES

import modelwire

pytestmark = pytest.mark.long
# Suite -> its folder, and how many tests our models answer at least. The others use no model, or have one of their own.
FOLDERS = {
    "langgraph-prebuilt": ("tests", 65),
    "langchain": ("tests/unit_tests/agents", 418),
}
PATH = (Path(modelwire.__file__).parents[1], Path(__file__).parents[1])
LIMIT_S = 900


@pytest.mark.parametrize("wire", ["openai", "anthropic"])
@pytest.mark.parametrize("name", FOLDERS)
def test_the_suite_passes_with_our_models(name: str, wire: str, tmp_path: Path) -> None:
    suite, (folder, answered) = SUITES[name], FOLDERS[name]
    if not suite.home.exists():
        pytest.skip(f"`make test-langchain-long` fetches the tests of {name}")
    assert version(suite.package) == suite.version, "`fetch.py` and `langchain-dev` differ"
    reached = tmp_path / "reached.json"
    command = [sys.executable, "-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider"]
    command += ["-p", "third_party.agent_models", "--suite", name, "--wire", wire]
    command += ["--reached", str(reached), folder]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, PATH))}
    run = subprocess.run(
        command, cwd=suite.home, env=environment, capture_output=True, text=True, timeout=LIMIT_S
    )
    assert run.returncode == 0, f"{run.stdout[-20_000:]}\n{run.stderr[-2_000:]}"
    count = len(json.loads(reached.read_text()))
    print(f"{name} on {wire}: our models answered in {count} tests. {run.stdout.splitlines()[-1]}")
    assert count >= answered
