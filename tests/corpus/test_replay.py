"""Every recorded exchange over HTTP through the real models, as the official SDKs read it; skipped without recordings.

`check.py` of the recordings serves them cut into pieces at the worst places, and compares; `answers.py` answers.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

# Read now: tests run without the developer's environment.
CORPUS = Path(os.environ.get("MODELWIRE_CORPUS") or Path(__file__).resolve().parents[3] / "shared" / "corpus")
TESTS = Path(__file__).resolve().parents[1]
RECORDS = {"openai_chat": (572, 110), "anthropic_messages": (247, 52), "openai_responses": (319, 82)}  # all, streams


@pytest.mark.parametrize(("cut", "which"), [("random", 0), ("byte", 1)])
@pytest.mark.parametrize("endpoint", RECORDS)
def test_every_recorded_answer_is_read_as_the_sdk_reads_it(endpoint: str, cut: str, which: int) -> None:
    if not (CORPUS / "check.py").exists():
        pytest.skip("the recorded traffic is not on this machine")
    command = [sys.executable, str(CORPUS / "check.py"), "corpus.answers:answer", "--data", str(CORPUS)]
    command += ["--path", str(TESTS), "--endpoint", endpoint, "--split", cut, *(["--stream"] if cut == "byte" else [])]
    done = subprocess.run(command, cwd=TESTS.parent, capture_output=True, text=True, timeout=300, check=False)
    number = RECORDS[endpoint][which]
    assert f"SCORE {number}/{number} = 100.00%" in done.stdout, done.stdout[-6000:] + done.stderr[-3000:]
