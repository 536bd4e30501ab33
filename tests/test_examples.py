"""Every example runs as it stands, on the real local model, and so do the README's first lines."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.local


def _run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        cwd=ROOT,
        env=os.environ | {"PYTHONIOENCODING": "utf-8"} | environment,
    )


def test_quickstart_answers_over_both_wires(local_model: Path) -> None:
    done = _run("examples/quickstart.py")
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.split("━━ local:smollm2 over the Anthropic wire")
    for half in (first, second):
        assert "The capital of Japan is Tokyo." in half
        assert half.count("tokens a second") == 4
        assert " 0 out" not in half


@pytest.mark.parametrize("name", ["openai:gpt-4o-mini", "anthropic:claude-haiku-4-5", "local:smolm2", "nobody:x"])
def test_quickstart_says_in_one_line_what_is_missing(name: str) -> None:
    done = _run("examples/quickstart.py", name)
    assert done.returncode == 1
    assert done.stderr.startswith("quickstart: ")
    assert "Traceback" not in done.stderr


def test_the_readmes_first_lines_run(local_model: Path) -> None:
    blocks = (ROOT / "README.md").read_text(encoding="utf-8").split("```python\n")
    done = _run("-c", blocks[1].partition("```")[0])
    assert done.returncode == 0, done.stderr
    assert "volcano" in done.stdout
