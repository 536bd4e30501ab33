"""One row fails alone, whatever it holds and its chain raises; what ends a program ends a job and loses nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelwire import cli
from modelwire.adapters import ChatOpenAI
from modelwire.budgets import budget
from modelwire.errors import JobStopped
from modelwire.jobs import JobResult, arun_job, run_job
from modelwire.runnables import RunnableLambda

ROWS = [{"id": n} for n in range(5)]
BAD = 2  # the id of the row that is not like the others


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def nested(depth: int) -> Any:
    value: Any = "core"
    for _ in range(depth):
        value = [value]
    return value


def job(output: Path, act: Callable[[], Any], rows: Any = ROWS, **options: Any) -> JobResult:
    """Run a job in which the row `BAD` does `act`."""

    def answer(row: Any) -> Any:
        return act() if row["id"] == BAD else "yes"

    return run_job(RunnableLambda(answer), rows, output=output, quiet=True, **options)


def raising(error: BaseException) -> Callable[[], Any]:
    def act() -> Any:
        raise error

    return act


@pytest.mark.parametrize(
    ("act", "says"),
    [
        (raising(ValueError("half \ud83d of a character")), "half \\ud83d of a character"),
        (raising(Unprintable()), "Unprintable: its message cannot be read"),
        (raising(asyncio.CancelledError("by a library")), "CancelledError: by a library"),
        (lambda: "half \ud83d", "surrogates not allowed"),
        (lambda: nested(199), ""),
        (lambda: nested(200), "recursion limit exceeded"),
        (lambda: nested(5000), "recursion"),
        (lambda: 10**5000, "number out of range"),
    ],
    ids=range(8),
)
def test_a_row_with_such_an_answer_or_error_fails_alone(
    tmp_path: Path, act: Callable[[], Any], says: str
) -> None:
    output = tmp_path / "o.jsonl"
    result = job(output, act)
    assert result.complete
    assert [row["answer"] for row in result if row["id"] != BAD] == ["yes"] * 4
    (bad,) = [row for row in result if row["id"] == BAD]
    assert (says in (bad["error"] or "")) == bool(says or bad["error"] is None)
    assert result.failed == bool(says)
    for arguments in (["show", str(result.job_dir)], ["list", "--dir", str(tmp_path)]):
        assert cli.main(["jobs", *arguments]) == 0
    again = job(output, act)
    assert again.asked == 0


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("half \ud83d", "surrogates not allowed"),
        (nested(200), "recursion limit exceeded"),
        (10**5000, "number out of range"),
    ],
    ids=["surrogate", "deep", "long"],
)
def test_a_row_that_no_file_can_hold_fails_alone_and_is_not_asked(
    tmp_path: Path, value: Any, says: str
) -> None:
    rows = [{"id": n, "x": value if n == BAD else n} for n in range(5)]
    result = job(tmp_path / "o.jsonl", raising(AssertionError("it was asked")), rows)
    assert result.complete
    (bad,) = [row for row in result if row["error"] is not None]
    assert says in bad["error"]
    assert "it was asked" not in bad["error"]
    again = job(tmp_path / "o.jsonl", raising(AssertionError("it was asked")), rows)
    assert (again.asked, again.failed) == (0, 1)


class Halt(BaseException):
    """What a debugger or a scheduler raises."""


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), Halt("stop")])
@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("max_concurrency", [1, 3])
def test_what_ends_a_program_ends_the_job_and_is_raised(
    tmp_path: Path, error: BaseException, max_concurrency: int, *, is_async: bool
) -> None:
    output = tmp_path / "o.jsonl"
    left = [error]

    async def answer(row: Any) -> Any:
        await asyncio.sleep(0)
        if row["id"] == BAD and left:
            raise left.pop()
        return "yes"

    def run() -> JobResult:
        options: Any = {"output": output, "quiet": True, "max_concurrency": max_concurrency}
        if is_async:
            return asyncio.run(arun_job(RunnableLambda(answer), ROWS, **options))
        return run_job(RunnableLambda(answer), ROWS, **options)

    with pytest.raises(type(error)):
        run()
    assert not output.exists()
    done = run()
    assert (done.complete, done.failed, len(list(done))) == (True, 0, 5)


def test_a_budget_of_a_row_fails_that_row_and_one_around_the_job_stops_it(
    tmp_path: Path, raw_server: Any
) -> None:
    body = (
        b'{"choices":[{"index":0,"message":{"role":"assistant","content":"fine"},'
        b'"finish_reason":"stop"}],"model":"m","usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}'
    )
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
    server = raw_server([[answer]], repeat=True)
    model = ChatOpenAI(model="m", api_key="k", base_url=server.url)

    async def ask(row: Any) -> str:
        with budget(calls=2):
            for _ in range(3 if row["id"] == BAD else 1):
                text = (await model.ainvoke("hi")).text
        return text

    result = run_job(RunnableLambda(ask), ROWS, output=tmp_path / "o.jsonl", quiet=True)
    assert (result.complete, result.failed) == (True, 1)
    (bad,) = [row for row in result if row["error"] is not None]
    assert (bad["id"], "2 calls are made" in bad["error"]) == (BAD, True)
    with budget(calls=3), pytest.raises(JobStopped, match="3 calls are made"):
        run_job("Say {id}", ROWS, model=model, output=tmp_path / "p.jsonl", quiet=True)
