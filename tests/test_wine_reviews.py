"""The scene of `examples/wine_reviews`, on its own file: all of it on a stand-in, some rows on the real model."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from modelwire.jobs.row_records import stored_records
from modelwire.testing import ProviderServer

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "examples" / "wine_reviews" / "wine_reviews.py"
ROWS, BROKEN, SAME = 60, 1, 1
ASKED = 2 * (ROWS - BROKEN - SAME)
FEATURES = {
    "colour": "white",
    "sweetness": "dry",
    "body": "light",
    "fruit": "citrus",
    "drink": "now",
}
PATIENCE_S = 120.0


def _answer(request: Any) -> str:
    if "name features" in request.body["messages"][0]["content"]:
        assert request.text.startswith("In short: ")
        return json.dumps(FEATURES)
    return json.dumps({"summary": f"In short: {request.text}", "sentiment": "positive"})


def _start(
    folder: Path, *arguments: str, server: ProviderServer | None = None
) -> subprocess.Popen[str]:
    address = (
        {"OPENAI_BASE_URL": server.base_url_for("openai"), "OPENAI_API_KEY": "test"}
        if server
        else {}
    )
    return subprocess.Popen(
        [sys.executable, "-W", "error", str(SCRIPT), *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env=os.environ | {"PYTHONIOENCODING": "utf-8"} | address,
    )


def _end(program: subprocess.Popen[str]) -> str:
    said, errors = program.communicate(timeout=PATIENCE_S)
    assert program.returncode == 0, errors
    return said


def _table(folder: Path) -> list[dict[str, str]]:
    with (folder / "wine_features.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.long
def test_every_review_is_asked_about_twice_and_none_of_it_again(tmp_path: Path) -> None:
    with ProviderServer(default=_answer) as server:
        said = _end(_start(tmp_path, "openai:gpt-4o-mini", server=server))
        assert said.startswith(
            f"{ROWS} rows, {BROKEN} failed, {SAME} duplicate{'s' if SAME > 1 else ''}, "
        )
        assert server.counts.chat_calls == ASKED
        _end(_start(tmp_path, "openai:gpt-4o-mini", server=server))
        assert server.counts.chat_calls == ASKED
    rows = _table(tmp_path)
    assert [row["id"] or "broken" for row in rows] == [
        str(n) if n != 56 else "broken" for n in range(1, ROWS + 1)
    ]
    assert rows[5]["summary"] == rows[56]["summary"] == f"In short: {rows[5]['review']}"
    assert rows[54]["summary"].count("\n") == 2  # a review of three lines
    assert "3 cells" in rows[55]["error"]
    assert {tuple(row[name] for name in FEATURES) for row in rows if not row["error"]} == {
        tuple(FEATURES.values())
    }
    assert float(rows[0]["cost"]) > 0


@pytest.mark.long  # of jobs in general, tests/jobs/test_survival.py holds it in `make test`
def test_killed_half_way_it_goes_on_and_pays_only_what_was_in_flight_again(tmp_path: Path) -> None:
    with ProviderServer(default=_answer, latency=0.02) as server:
        folder = tmp_path / "wine_features.csv.job"
        program = _start(tmp_path, "openai:gpt-4o-mini", "--limit", "30", server=server)
        ends = time.monotonic() + PATIENCE_S
        while next(stored_records(folder), None) is None and program.poll() is None:
            assert time.monotonic() < ends
            time.sleep(0.001)
        program.kill()
        program.communicate(timeout=PATIENCE_S)
        _end(_start(tmp_path, "openai:gpt-4o-mini", server=server))
        assert ASKED <= server.counts.chat_calls <= ASKED + 2 * 30
    assert len(_table(tmp_path)) == ROWS


def test_what_is_missing_is_said_in_one_line(tmp_path: Path) -> None:
    program = _start(tmp_path, "openai:gpt-4o-mini")
    said, errors = program.communicate(timeout=PATIENCE_S)
    assert (program.returncode, said) == (1, "")
    assert errors.startswith("wine_reviews: ")
    assert errors.count("\n") == 1


@pytest.mark.long
@pytest.mark.local
def test_some_rows_on_the_real_model(local_model: Path, tmp_path: Path) -> None:
    said = _end(_start(tmp_path, "--limit", "2"))
    assert said.startswith("2 rows, ")
    rows = _table(tmp_path)
    for row in rows:
        assert row["error"] or row["sentiment"] in ("positive", "negative", "mixed")
        assert int(row["output_tokens"]) > 0
    assert any(row["body"] for row in rows)
