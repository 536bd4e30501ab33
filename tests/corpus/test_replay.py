"""Every recorded exchange over HTTP through the real models, as the official SDKs read it; skipped without recordings.

`check.py` of the recordings serves them cut into pieces at the worst places, and compares; `answers.py` answers.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.recordings import CORPUS, decoded, records

from modelwire.adapters.wires.anthropic.codec import MessagesCodec
from modelwire.adapters.wires.gemini.codec import GenerateContentCodec
from modelwire.adapters.wires.openai_chat.codec import ChatCompletionsCodec
from modelwire.adapters.wires.openai_responses.codec import ResponsesCodec
from modelwire.errors import ChatError

TESTS = Path(__file__).resolve().parents[1]
RECORDS = {
    "openai_chat": (572, 110),
    "anthropic_messages": (247, 52),
    "openai_responses": (319, 82),
    "bedrock_converse": (171, 31),
    "gemini_generate": (555, 97),
}  # all, streams
CODECS: dict[str, Any] = {
    "openai_chat": ChatCompletionsCodec(),
    "anthropic_messages": MessagesCodec(),
    "openai_responses": ResponsesCodec(),
    "gemini_generate": GenerateContentCodec(),
}


@pytest.mark.parametrize(
    ("endpoint", "cut", "which"),
    [
        pytest.param(
            endpoint,
            cut,
            which,
            # Each starts an interpreter for 2 s of CPU. The fuzz tests of each wire are in `make test`.
            marks=() if (endpoint, cut) == ("anthropic_messages", "random") else pytest.mark.long,
        )
        for endpoint in RECORDS
        for cut, which in (("random", 0), ("byte", 1))
    ],
)
def test_every_recorded_answer_is_read_as_the_sdk_reads_it(
    endpoint: str, cut: str, which: int
) -> None:
    if not (CORPUS / "check.py").exists():
        pytest.skip("the recorded traffic is not on this machine")
    command = [
        sys.executable,
        str(CORPUS / "check.py"),
        "corpus.answers:answer",
        "--data",
        str(CORPUS),
        "--strict",
    ]
    command += [
        "--path",
        str(TESTS),
        "--endpoint",
        endpoint,
        "--split",
        cut,
        *(["--stream"] if cut == "byte" else []),
    ]
    done = subprocess.run(
        command, cwd=TESTS.parent, capture_output=True, text=True, timeout=300, check=False
    )
    number = RECORDS[endpoint][which]
    assert f"SCORE {number}/{number} = 100.00%" in done.stdout, (
        done.stdout[-6000:] + done.stderr[-3000:]
    )


@pytest.mark.parametrize("endpoint", CODECS)
def test_every_recorded_error_has_the_facts_the_sdk_reads(endpoint: str) -> None:
    wrong = []
    for record in records(endpoint, failed=True):
        with pytest.raises(ChatError) as caught:
            decoded(CODECS[endpoint], record)
        told = record["expected"]["error"]
        for fact in ("status", "type", "code", "request_id"):
            value, wanted = getattr(caught.value, fact), told.get(fact)
            if fact in ("type", "code") and not record["response_body_text"].lstrip().startswith(
                ("{", "[")
            ):
                continue  # Google's SDK makes them of the status
            if wanted is None and fact in (
                "status",
                "request_id",
            ):  # what we find beyond it is a gain
                continue
            if value != (
                str(wanted) if fact in ("type", "code") and wanted is not None else wanted
            ):
                wrong.append(f"{record['id']}: {fact} {value!r} is not {wanted!r}")
    assert not wrong, "\n".join(wrong)
