"""A refusal of a row is that row's and is kept; one of the key, or of everything, stops the job and fails no row."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelwire.errors import BadRequest, ChatError, JobStopped, NotFound, PermissionDenied
from modelwire.jobs import JobResult, run_job
from modelwire.jobs.failure_streak import FailureStreak, probe_rows
from modelwire.jobs.rows import Row
from modelwire.runnables import RunnableLambda
from modelwire.testing import Answer, ProviderServer, faults

KINDS = [PermissionDenied, NotFound, BadRequest]


class Gateway:
    """Answers rows, refuses some, and counts what it was asked."""

    def __init__(self, refuses: Callable[[int], bool], error: type[ChatError]) -> None:
        self.refuses, self.error = refuses, error
        self.asked: list[int] = []
        self.is_shut = False
        self.chain = RunnableLambda(self)

    async def __call__(self, row: Any) -> str:
        self.asked.append(row["id"])
        if self.is_shut or self.refuses(row["id"]):
            raise self.error("not this one")
        return "fine"

    def run(self, tmp_path: Path, count: int, **options: Any) -> JobResult:
        rows = [{"id": n} for n in range(count)]
        return run_job(self.chain, rows, output=tmp_path / "o.jsonl", quiet=True, **options)


def failed_ids(result: JobResult) -> list[int]:
    return [row["id"] for row in result if row["error"] is not None]


@pytest.mark.parametrize("error", KINDS)
@pytest.mark.parametrize("bad", [0, 7, 29])
@pytest.mark.parametrize("at_once", [1, 4])
def test_one_refused_row_fails_alone(
    tmp_path: Path, error: type[ChatError], bad: int, at_once: int
) -> None:
    gateway = Gateway(lambda n: n == bad, error)
    result = gateway.run(tmp_path, 30, max_concurrency=at_once)
    assert (result.complete, failed_ids(result)) == (True, [bad])
    assert gateway.run(tmp_path, 30).asked == 0
    again = gateway.run(
        tmp_path, 30, retry_failed=True
    )  # the only row that is asked: an answered one tells
    assert (again.complete, failed_ids(again)) == (True, [bad])


@pytest.mark.long
@pytest.mark.parametrize("error", KINDS)
@pytest.mark.parametrize(
    "bad", [range(10, 320), range(300), range(30, 330), range(5, 325, 2)], ids=str
)
def test_a_long_block_of_refused_rows_is_got_through_in_one_run(
    tmp_path: Path, error: type[ChatError], bad: range
) -> None:
    gateway = Gateway(lambda n: n in bad, error)
    result = gateway.run(tmp_path, 330)
    assert (result.complete, result.rows, failed_ids(result)) == (True, 330, list(bad))
    assert (
        len(gateway.asked) <= 330 + 330 // 8
    )  # none twice, but an answered row where a doubt has to be settled


@pytest.mark.parametrize("error", KINDS)
@pytest.mark.parametrize("answered", [0, 40])
def test_a_door_that_shuts_stops_the_job_and_fails_no_row(
    tmp_path: Path, error: type[ChatError], answered: int
) -> None:
    gateway = Gateway(lambda n: False, error)
    gateway.refuses = lambda n: len(gateway.asked) > answered and not gateway.is_open
    gateway.is_open = False  # type: ignore[attr-defined]
    with pytest.raises(JobStopped, match=r"have all failed: .*not this one"):
        gateway.run(tmp_path, 1000, max_concurrency=4)
    most = 4 + 8 if error is not BadRequest else 51 + 4
    assert len(gateway.asked) <= answered + most + 15  # the probe_rows, and one that was answered
    kept = json.loads((tmp_path / "o.jsonl.job" / "summary.json").read_text())
    assert (kept["rows"], kept["failed"]) == (answered, 0)
    gateway.is_open = True  # type: ignore[attr-defined]
    assert gateway.run(tmp_path, 1000).failed == 0


def test_a_row_asked_again_to_settle_a_doubt_keeps_its_answer_and_its_call_is_counted(
    tmp_path: Path,
) -> None:
    def answer(request: Any) -> Any:
        return faults.status(403) if "bad" in request.text else f"answer {len(server.requests)}"

    rows = [{"text": "good"}, *({"text": f"bad {n}"} for n in range(9))]
    with ProviderServer(default=answer) as server:
        model = server.model(model="gpt-4o-mini", max_retries=0)
        result = run_job(
            "{text}", rows, model=model, output=tmp_path / "o.jsonl", quiet=True, max_concurrency=1
        )
        calls = sum("good" in request.text for request in server.requests)
    assert (result.failed, calls) == (9, 2)
    assert next(iter(result))["answer"] == "answer 1"
    one_price = next(iter(result))["cost"]
    assert float(result.cost) == pytest.approx(2 * one_price, rel=0.2)


def test_scouts_are_ever_further_rows_up_to_the_last() -> None:
    rows = [Row(n, n, {}) for n in range(100)]
    assert [row.number for row in probe_rows(rows, lambda row: True)] == [
        0,
        1,
        3,
        7,
        15,
        31,
        63,
        99,
    ]
    assert [row.number for row in probe_rows(rows, lambda row: row.number == 50)] == [50]
    assert probe_rows([], lambda row: True) == []


def test_a_streak_is_doubtful_when_it_is_longer_than_what_is_in_flight() -> None:
    streak = FailureStreak()
    for _ in range(60):
        streak.add("row", "no")
    assert streak.may_have_common_cause(10) and not streak.may_have_common_cause(60)
    streak.end()
    for _ in range(8):
        streak.add("key", "no")
    assert streak.may_have_common_cause(200)


@pytest.mark.parametrize("wire", ["openai", "responses", "anthropic", "bedrock", "gemini"])
def test_a_row_that_the_model_refuses_fails_with_the_reason(tmp_path: Path, wire: Any) -> None:
    def answer(request: Any) -> Answer:
        return Answer(refusal="I cannot.") if "bad" in request.text else Answer("Fine.")

    rows = [{"q": text} for text in ("good", "bad one", "fair")]
    with ProviderServer(default=answer) as server:
        options: Any = {"model": server.model(wire), "output": tmp_path / "o.jsonl", "quiet": True}
        result = run_job("{q}", rows, **options)
        errors = [row["error"] for row in result]
        assert [error is None for error in errors] == [True, False, True]
        assert errors[1].startswith("Refused: ")
        assert (result.rows, result.failed, result.refused) == (3, 1, 1)
        assert "1 failed (1 refused)" in str(result)
        assert list(result)[1]["output_tokens"] > 0  # the refusal was paid for
        server.default = "Fine after all."
        again = run_job("{q}", rows, retry_failed=True, **options)
        assert (again.asked, again.failed, again.refused) == (1, 0, 0)
        assert [row["error"] for row in again] == [None] * 3


def test_a_job_whose_every_row_is_refused_goes_on(tmp_path: Path) -> None:
    rows = [{"q": f"number {n}"} for n in range(70)]
    with ProviderServer(default=Answer(refusal="I cannot.")) as server:
        model = server.model()
        result = run_job("{q}", rows, model=model, output=tmp_path / "o.jsonl", quiet=True)
    assert (result.rows, result.failed, result.refused) == (70, 70, 70)


def test_on_refusal_message_makes_the_reason_the_answer(tmp_path: Path) -> None:
    with ProviderServer(default=Answer(refusal="I cannot.")) as server:
        model = server.model(on_refusal="message")
        result = run_job("{q}", [{"q": "a"}], model=model, output=tmp_path / "o.jsonl", quiet=True)
    assert [row["answer"] for row in result] == ["I cannot."]
    assert (result.failed, result.refused) == (0, 0)
