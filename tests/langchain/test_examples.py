"""The two examples that need LangChain run as a user runs them; so do the snippets of docs/langchain.md."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHOWS = {
    "langgraph_agent": [
        "you> Do you have violins?",
        "<- in_stock: 3",
        "There are 3 violins.",
        "<- delivery_days: 2 days",
        "A violin is in Bern in 2 days.",
        "8 messages in the memory",
    ],
    "langchain_rag": [
        "When does the harbour close at night?",
        "closes at ten at night.",
        "What does a berth",
        "20 francs",
    ],
}


@pytest.mark.parametrize("name", sorted(SHOWS))
def test_an_example_runs_against_its_stand_in(name: str) -> None:
    command = [sys.executable, f"examples/{name}.py"]
    done = subprocess.run(
        command, capture_output=True, text=True, encoding="utf-8", check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    at = 0
    for piece in SHOWS[name]:
        assert (at := done.stdout.find(piece, at)) >= 0, f"{piece!r}: {done.stdout}"


def test_the_snippets_of_the_page_run() -> None:
    page = (ROOT / "docs" / "langchain.md").read_text(encoding="utf-8")
    snippets = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(snippets) >= 4
    program = "\n".join([_BEFORE, *snippets, _AFTER])
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("7 calls\n"), done.stdout


_BEFORE = """
import os
from modelwire.testing import ProviderServer
server = ProviderServer().start()
os.environ |= {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": server.base_url + "/v1"}
"""
_AFTER = """
print(server.counts.chat_calls, "calls")
server.close()
"""
