"""The program of `docs/fleet.md` prints what the page shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.redis_server import RedisServer

pytest.importorskip("genai_prices")
PAGE = Path(__file__).parents[2] / "docs" / "fleet.md"


def test_the_program_prints_what_the_page_shows(redis: RedisServer, tmp_path: Path) -> None:
    text = PAGE.read_text(encoding="utf-8")
    found = re.search(
        r'```py title="shared_budget.py"\n(.*?)```\n\n```text\n(.*?)```', text, re.DOTALL
    )
    assert found is not None
    program, shown = found.groups()
    (tmp_path / "shared_budget.py").write_text(program, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "shared_budget.py"],
        cwd=tmp_path,
        env={
            **os.environ,
            "MODELWIRE_SHARED": redis.patient_url,
            "PYTHONPATH": str(PAGE.parents[1]),
            # Unbuffered, `print` writes a text and the end of its line apart, and two processes may mix them.
            "PYTHONUNBUFFERED": "",
        },
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    without_amounts = [
        sorted(re.sub(r"\$[\d.]+ spent", "$0 spent", each).splitlines())
        for each in (done.stdout, shown)
    ]
    assert without_amounts[0] == without_amounts[1]
