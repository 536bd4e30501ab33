from __future__ import annotations

import asyncio
import csv
import json
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from support.full_disk import file_limit

from modelwire.caches import InMemoryCache
from modelwire.errors import (
    AuthenticationError,
    BadRequest,
    DiskError,
    InvalidArgument,
    InvalidType,
    JobBusy,
    JobChanged,
    JobStopped,
    MissingDependency,
    MissingVariable,
    RateLimited,
)
from modelwire.jobs import JobResult, arun_job, progress, run_job, work
from modelwire.jobs import concurrency as window
from modelwire.jobs import row_caller as asking
from modelwire.jobs.output import ABOUT
from modelwire.jobs.runner import Job, open_job
from modelwire.jobs.sources import open_source
from modelwire.messages import AIMessage
from modelwire.prompts import ChatPromptTemplate
from modelwire.runnables import Runnable, RunnableLambda, route
from modelwire.testing import (
    Answer,
    GenericFakeChatModel,
    ParrotFakeChatModel,
    ProviderServer,
    faults,
)
from modelwire.usage import prices

FILES = (".jsonl", ".csv", ".tsv", ".parquet")


class Asked:
    """A chain that answers `f` of its input, and remembers what it was asked."""

    def __init__(
        self, answer: Callable[[Any], Any] = lambda row: f"answer to {row['text']}"
    ) -> None:
        self.inputs: list[Any] = []
        self.answer = answer

    async def __call__(self, row: Any) -> Any:
        self.inputs.append(row)
        await asyncio.sleep(0)
        return self.answer(row)

    @property
    def chain(self) -> Runnable[Any, Any]:
        return RunnableLambda(self)


@pytest.fixture(params=["run_job", "arun_job"])
def job(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., JobResult]:
    """Run a job, both ways, quietly, its output in `tmp_path` unless told otherwise."""

    def run(chain: Any, rows: Any, **options: Any) -> JobResult:
        options = {"output": tmp_path / "out.jsonl", "quiet": True, **options}
        if request.param == "run_job":
            return run_job(chain, rows, **options)
        return asyncio.run(arun_job(chain, rows, **options))

    return run


@pytest.fixture
def out(tmp_path: Path) -> Callable[[], list[dict[str, Any]]]:
    return lambda: [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]


def texts(count: int) -> list[dict[str, Any]]:
    return [{"id": n, "text": f"t{n}"} for n in range(count)]


# ---------------------------------------------------------------- what comes out


def test_every_row_has_its_answer_in_the_order_of_the_input(job: Any, out: Any) -> None:
    result = job(Asked().chain, texts(500))
    assert [(row["id"], row["answer"]) for row in out()] == [
        (n, f"answer to t{n}") for n in range(500)
    ]
    assert (result.rows, result.failed, result.complete, result.stopped) == (500, 0, True, None)
    assert [row["answer"] for row in result] == [f"answer to t{n}" for n in range(500)]
    assert out()[0].keys() == {
        "id",
        "text",
        "answer",
        "error",
        "finish_reason",
        "input_tokens",
        "output_tokens",
        "cost",
        "latency_s",
        "attempts",
    }


def test_the_order_of_arrival_is_the_order_in_which_rows_were_done(job: Any, out: Any) -> None:
    async def slow_first(row: Any) -> str:
        await asyncio.sleep(0.05 if row["id"] == 0 else 0)
        return "done"

    job(RunnableLambda(slow_first), texts(5), order="arrival")
    assert [row["id"] for row in out()][-1] == 0
    assert sorted(row["id"] for row in out()) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("suffix", FILES)
@pytest.mark.parametrize("given", FILES)
def test_any_kind_of_file_goes_in_and_out(tmp_path: Path, given: str, suffix: str) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = [{"name": "a", "text": 'x,\n"y" é'}, {"name": "b", "text": "=1+1"}]
    source, target = tmp_path / f"in{given}", tmp_path / f"out{suffix}"
    if given == ".jsonl":
        source.write_text("".join(json.dumps(row) + "\n" for row in table))
    elif given == ".parquet":
        parquet.write_table(pa.Table.from_pylist(table), source)
    else:
        with source.open("w", newline="") as file:
            writer = csv.DictWriter(
                file, ["name", "text"], delimiter="\t" if given == ".tsv" else ","
            )
            writer.writeheader()
            writer.writerows(table)
    found = list(run_job("{text}", source, model=ParrotFakeChatModel(), output=target, quiet=True))
    assert [(row["name"], row["text"], row["answer"]) for row in found] == [
        (row["name"], row["text"], row["text"]) for row in table
    ]
    assert not target.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)


class Wine(BaseModel):
    grape: str | None
    year: int
    notes: list[str]


@pytest.mark.parametrize("suffix", FILES)
def test_a_structured_answer_becomes_columns(tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("pyarrow")
    chain = RunnableLambda(
        lambda row: Wine(grape=None if row["year"] else "x", year=row["year"], notes=["oak"])
    )
    result = run_job(
        chain, [{"year": 0}, {"year": 10**30}], output=tmp_path / f"out{suffix}", quiet=True
    )
    first, second = result
    assert list(first)[:4] == ["year", "grape", "answer_year", "notes"]
    # A whole number beyond 64 bits, and a list, are JSON text where a format has neither.
    assert str(first["answer_year"]) == "0"
    assert str(second["answer_year"]) == str(10**30)
    assert first["notes"] == ('["oak"]' if suffix == ".parquet" else ["oak"])
    assert second["grape"] in (None, "")


def test_names_that_the_input_has_already_are_set_apart(job: Any, out: Any) -> None:
    job(RunnableLambda(lambda row: "yes"), [{"answer": 1, "error": 2, "cost": 3}])
    (row,) = out()
    assert (row["answer"], row["error"], row["cost"]) == (1, 2, 3)
    assert (row["answer_answer"], row["job_error"], row["attempts"]) == ("yes", None, 0)


def test_the_formula_guard_quotes_what_a_spreadsheet_would_run(tmp_path: Path) -> None:
    (row,) = run_job(
        RunnableLambda(lambda row: "=cmd()"),
        [{"n": -1}],
        output=tmp_path / "o.csv",
        quiet=True,
        formula_guard=True,
    )
    assert (row["answer"], row["n"]) == ("'=cmd()", -1)


def test_texts_are_rows_of_one_column(job: Any, out: Any) -> None:
    job(ParrotFakeChatModel(), ["a", "b"])
    assert [(row["input"], row["answer"]) for row in out()] == [("a", "a"), ("b", "b")]


@pytest.mark.parametrize(
    "answer", [float("nan"), b"\xff", {1: 2}, object(), AIMessage("hi"), None, ["a"], 1.5, ""]
)
def test_any_answer_can_be_written(job: Any, out: Any, answer: Any) -> None:
    assert job(RunnableLambda(lambda row: answer), [{"a": 1}]).failed == 0
    assert len(out()) == 1


def test_half_of_a_character_fails_its_row_alone(job: Any, out: Any) -> None:
    result = job(RunnableLambda(lambda row: row["text"] * 2), [{"text": "\ud800"}, {"text": "a"}])
    assert (result.rows, result.failed) == (2, 1)
    assert [row["answer"] for row in out()] == [None, "aa"]
    assert job(RunnableLambda(lambda row: "\ud800"), ["b"], output=out_path(result)).failed == 1


def out_path(result: JobResult) -> Path:
    assert result.output is not None
    return result.output.with_name("other.jsonl")


# ---------------------------------------------------------------- bad rows, failing rows


def test_bad_rows_fail_alone_with_their_line(tmp_path: Path, job: Any, out: Any) -> None:
    (tmp_path / "t.csv").write_bytes(b'id,text\n1,a\n2,"b\n3,"c"\n4,\xff\n5,d\n')
    result = job("{text}", tmp_path / "t.csv", model=ParrotFakeChatModel())
    assert (result.rows, result.failed) == (5, 2)
    assert [(row["answer"], (row["error"] or "")[:7]) for row in out()] == [
        ("a", ""),
        (None, "Line 3:"),
        ("c", ""),
        (None, "Line 5:"),
        ("d", ""),
    ]


def test_a_row_without_a_column_fails_alone(job: Any, out: Any) -> None:
    job("{text}", [{"text": "a"}, {"txt": "b"}], model=ParrotFakeChatModel())
    assert [row["answer"] for row in out()] == ["a", None]
    assert "text" in out()[1]["error"]


def test_a_column_that_no_row_has_is_refused_before_anything_is_asked(
    tmp_path: Path, job: Any
) -> None:
    (tmp_path / "t.csv").write_text("id,text\n1,a\n")
    with pytest.raises(InvalidArgument, match="Did you mean `text`"):
        job("{txt}", tmp_path / "t.csv", model=ParrotFakeChatModel())
    assert not (tmp_path / "out.jsonl.job").exists()


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_a_table_without_rows_has_its_columns_all_the_same(
    job: Any, tmp_path: Path, suffix: str
) -> None:
    (tmp_path / "in.csv").write_text("id,text\n\n")
    output = tmp_path / f"out{suffix}"
    output.write_text("what was there before")
    assert job(Asked().chain, tmp_path / "in.csv", output=output).complete
    source = open_source(output)
    source.close()
    assert source.columns == ["id", "text", "answer", *ABOUT]


NFD = "gro\u0308ße"
REFUSED = {
    "a column that no JSON line has": ('{"txt": 1}\n', {}, r"Did you mean `txt`\?"),
    "a column in another Unicode form": (
        f'{{"{NFD}": 1}}\n',
        {"prompt": "{größe}"},
        r"other code points: 'gro\\u0308",
    ),
    "an empty table": ("", {"given": "in.csv"}, "is it empty"),
    "a folder for the output": ('{"text": 1}\n', {"output": "folder.jsonl"}, "is a folder"),
    "the input for the output": ('{"text": 1}\n', {"output": "in.jsonl"}, "is the input"),
    "the input by another way": (
        '{"text": 1}\n',
        {"output": "folder.jsonl/../in.jsonl"},
        "is the input",
    ),
    "the output for the job's folder": (
        '{"text": 1}\n',
        {"job_dir": "out.jsonl"},
        "or the job's folder",
    ),
    "a file for the job's folder": ('{"text": 1}\n', {"job_dir": "in.jsonl/x"}, "Not a directory"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_end_well_is_refused_before_anything_is_asked(
    job: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    data, options, says = REFUSED[what]
    monkeypatch.chdir(tmp_path)
    given = Path(options.get("given", "in.jsonl"))
    given.write_text(data)
    Path("folder.jsonl").mkdir()
    asked = Asked()
    chain = ChatPromptTemplate.from_template(options.get("prompt", "{text}")) | asked.chain
    with pytest.raises((InvalidArgument, DiskError), match=says):
        job(
            chain,
            given,
            **{name: options[name] for name in ("output", "job_dir") if name in options},
        )
    assert not asked.inputs and given.read_text() == data
    assert {path.name for path in tmp_path.iterdir()} == {given.name, "folder.jsonl"}


def test_another_order_of_the_output_is_written_though_nothing_is_asked(
    job: Any, tmp_path: Path, out: Any
) -> None:
    async def answer(row: Any) -> str:
        await (asyncio.sleep(0.05) if row["id"] == 0 else asyncio.sleep(0))
        return "yes"

    chain = RunnableLambda(answer)
    job(chain, texts(3))
    assert [row["id"] for row in out()] == [0, 1, 2]
    written = (tmp_path / "out.jsonl").stat().st_ino
    assert job(chain, texts(3), order="arrival").asked == 0
    assert [row["id"] for row in out()][-1] == 0
    again = (tmp_path / "out.jsonl").stat().st_ino
    assert job(chain, texts(3), order="arrival").asked == 0
    assert again == (tmp_path / "out.jsonl").stat().st_ino != written  # as it is there already


def test_failed_rows_stay_failed_until_they_are_retried(job: Any, out: Any) -> None:
    broken = True
    asked = Asked()

    def answer(row: Any) -> str:
        if broken and row["id"] % 2:
            raise BadRequest("no such thing sk-abcdefghijklmnopqrstuvwx")
        return "fine"

    asked.answer = answer
    assert job(asked.chain, texts(4)).failed == 2
    assert out()[1]["error"].startswith("BadRequest: no such thing")
    assert "sk-abc" not in out()[1]["error"]
    assert job(asked.chain, texts(4)).asked == 0
    broken = False
    result = job(asked.chain, texts(4), retry_failed=True)
    assert (result.asked, result.failed, result.rows) == (2, 0, 4)
    assert [row["answer"] for row in out()] == ["fine"] * 4
    assert [row["error"] for row in out()] == [None] * 4


def test_a_row_put_right_in_the_input_is_asked_by_a_retry_and_no_other_may_change(
    tmp_path: Path, job: Any, out: Any
) -> None:
    path = tmp_path / "t.csv"
    asked = Asked()
    path.write_text('id,text\n1,a\n2,"b\n3,"c"\n')
    assert job(asked.chain, path).failed == 1
    path.write_text('id,text\n1,a\n2,"b"\n3,"c"\n')
    with pytest.raises(JobChanged, match=r"Line 3 .*retry_failed=True"):
        job(asked.chain, path)
    result = job(asked.chain, path, retry_failed=True)
    assert (result.asked, result.failed) == (1, 0)
    assert [row["answer"] for row in out()] == ["answer to a", "answer to b", "answer to c"]
    path.write_text('id,text\n1,a\n2,"b"\n3,"d"\n')
    with pytest.raises(JobChanged, match="Line 4"):
        job(asked.chain, path, retry_failed=True)


def failing(error: Exception) -> Runnable[Any, Any]:
    def fail(row: Any) -> str:
        raise error

    return Asked(fail).chain


def test_what_would_fail_every_row_stops_the_job_and_fails_none(job: Any, tmp_path: Path) -> None:
    key_is_wrong = True
    asked = Asked()

    def answer(row: Any) -> str:
        if key_is_wrong:
            raise AuthenticationError("wrong key")
        return "fine"

    asked.answer = answer
    with pytest.raises(JobStopped, match="wrong key") as caught:
        job(asked.chain, texts(100), max_concurrency=4)
    assert isinstance(caught.value.__cause__, AuthenticationError)
    assert len(asked.inputs) <= 4
    assert not (tmp_path / "out.jsonl").exists()
    key_is_wrong = False
    result = job(asked.chain, texts(100))
    assert (result.failed, result.asked) == (0, 100)


def test_when_all_rows_fail_the_job_stops(job: Any) -> None:
    chain = failing(BadRequest("no"))
    with pytest.raises(JobStopped, match="have all failed: BadRequest: no"):
        job(chain, texts(1000), max_concurrency=4)


def test_the_rows_whose_failures_stopped_the_job_are_asked_anew_and_no_others(
    job: Any, tmp_path: Path
) -> None:
    asked: list[int] = []
    is_down = False

    async def answer(row: Any) -> str:
        nonlocal is_down
        asked.append(row["id"])
        is_down = is_down or len(asked) == 31
        if row["id"] == 5 or is_down:
            raise BadRequest("no")
        return "fine"

    chain = RunnableLambda(answer)
    with pytest.raises(JobStopped, match=r"The last \d+ rows .* which asks those anew, to go on"):
        job(chain, texts(200), max_concurrency=4)
    kept = json.loads((tmp_path / "out.jsonl.job" / "summary.json").read_text())
    assert (kept["rows"], kept["failed"], kept["asked"]) == (30, 1, 30)
    is_down = False
    asked[:] = [-1] * 31
    result = job(chain, texts(200))
    assert (result.rows, result.failed, result.asked) == (200, 1, 170)
    assert sorted(asked[31:]) == list(range(30, 200))


def test_a_throttled_row_is_asked_again(
    job: Any, out: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "BACKOFF", asking.BACKOFF._replace(first_s=0.0))
    asked = Asked()

    def answer(row: Any) -> str:
        if len(asked.inputs) < 5:
            raise RateLimited("slow down")
        return "fine"

    asked.answer = answer
    assert job(asked.chain, texts(1)).failed == 0
    assert len(asked.inputs) == 5


@pytest.mark.parametrize(
    "options", [{"rpm": 1}, {"rate_limit": None}], ids=["in the queue", "before a retry"]
)
def test_told_to_stop_rows_that_wait_are_given_up_and_those_on_the_wire_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: dict[str, Any]
) -> None:
    def answer(request: Any) -> Any:
        return (
            Answer("done", latency_s=1.0)
            if "t0" in request.text
            else faults.status(503, retry_after=30)
        )

    async def stopped(job: Job) -> tuple[JobResult, int]:
        running = asyncio.create_task(job.run())
        while job.calls.caller.wire_count() != (1, 9) or not server.requests:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
        sent = len(server.requests)
        job.stop("interrupted")
        await asyncio.sleep(0.1)
        assert job.calls.caller.wire_count()[1] == 0
        return await running, len(server.requests) - sent

    with ProviderServer(default=answer) as server:
        model = server.model(**options)
        given: Any = {"output": tmp_path / "o.jsonl", "model": model}
        result, sent_after = asyncio.run(stopped(open_job("{text}", texts(10), given)))
        assert (result.stopped, result.rows, sent_after) == ("interrupted", 1, 0)
        server.default = "fine"
        assert run_job("{text}", texts(10), **given, max_concurrency=1, limit=1).asked == 0
    said = capsys.readouterr().err
    assert "Waiting at most 10 s for 1 call; Ctrl-C leaves it.\n" in said
    assert "1 rows are done and kept." in said


def test_an_outage_says_what_the_job_waits_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.05)
    down = [faults.status(503, retry_after=0.5)] * 4
    with ProviderServer(["one", *down], default="fine") as server:
        result = run_job(
            "{text}", texts(3), model=server.model(), output=tmp_path / "o.jsonl", max_concurrency=1
        )
    assert (result.rows, result.failed) == (3, 0)
    lines = [line for line in capsys.readouterr().err.splitlines() if "waiting" in line]
    assert lines and all(
        line.endswith("waiting: the provider says 503, since 0:00") for line in lines[:3]
    )
    assert not any("/s" in line or "left" in line for line in lines)


def test_a_provider_that_asks_to_come_back_tomorrow_stops_the_job(job: Any) -> None:
    with pytest.raises(
        JobStopped, match=r"day limit\. The job has stopped .*again in 86,400 s to go on\.$"
    ):
        job(failing(RateLimited("day limit", retry_after=86400)), texts(3))


# ---------------------------------------------------------------- asked once


def test_equal_questions_are_asked_once_and_the_saving_is_told(job: Any, out: Any) -> None:
    model = ParrotFakeChatModel(cache=False)
    rows = [{"id": n, "text": f"t{n % 3}"} for n in range(60)]
    result = job("{text}", rows, model=model, max_concurrency=7)
    assert result.same == 57
    assert ", about $0.0100 saved, " in str(replace(result, saved=Decimal("0.01")))
    assert "saved" not in str(replace(result, saved=Decimal("0.000001")))
    assert [row["answer"] for row in out()] == [row["text"] for row in rows]
    assert sum(row["attempts"] for row in out()) == 3
    assert job("{text}", rows, model=model).asked == 0


def test_without_dedupe_each_row_is_asked(job: Any) -> None:
    asked = Asked()
    assert job(asked.chain, [{"text": "a"}] * 5, dedupe=False).same == 0
    assert len(asked.inputs) == 5


def test_an_equal_row_shares_a_failure_in_flight_but_not_an_old_one(job: Any) -> None:
    asked = Asked()

    def answer(row: Any) -> str:
        if len(asked.inputs) == 1:
            raise BadRequest("the first time")
        return "fine"

    asked.answer = answer
    result = job(asked.chain, [{"text": "a"}] * 4 + [{"text": "b"}], max_concurrency=4)
    assert (result.failed, len(asked.inputs)) == (4, 2)
    assert job(asked.chain, [{"text": "a"}] * 4 + [{"text": "b"}], retry_failed=True).failed == 0
    assert len(asked.inputs) == 3


def test_the_cache_of_the_model_serves_jobs_and_is_counted(tmp_path: Path) -> None:
    cache = InMemoryCache()
    said = AIMessage(
        "hi", usage_metadata={"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}
    )

    def once(name: str) -> JobResult:
        model = GenericFakeChatModel(messages=iter([said] * 2), cache=cache)
        return run_job("{text}", texts(2), model=model, output=tmp_path / name, quiet=True)

    first, second = once("a.jsonl"), once("b.jsonl")
    assert (first.cached, first.input_tokens, first.output_tokens) == (0, 6, 4)
    assert (second.cached, second.input_tokens) == (2, 0)
    assert "2 answers from the cache" in str(second)


# ---------------------------------------------------------------- tokens, cost, attempts


def priced(monkeypatch: pytest.MonkeyPatch, price: Decimal | None) -> None:
    monkeypatch.setattr(work, "known_price", lambda message: price)


def spending() -> Any:
    said = AIMessage(
        "hi", usage_metadata={"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}
    )
    return GenericFakeChatModel(messages=iter([said] * 10_000))


def test_tokens_and_cost_add_up_over_the_calls_of_a_row_and_over_runs(
    job: Any, out: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    priced(monkeypatch, Decimal("0.1"))
    model = spending()

    async def twice(row: Any) -> Any:
        await model.ainvoke("one")
        async for _ in model.astream("two"):
            pass
        return model.invoke("three")

    chain = RunnableLambda(twice)
    job(chain, texts(3), limit=1)
    result = job(chain, texts(3))
    assert [(row["input_tokens"], row["output_tokens"], row["attempts"]) for row in out()] == [
        (30, 15, 3)
    ] * 3
    assert [row["cost"] for row in out()] == [0.3] * 3
    assert (result.input_tokens, result.cost, result.asked) == (90, Decimal("0.9"), 2)


def test_max_cost_stops_and_more_money_goes_on(
    job: Any, out: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    priced(monkeypatch, Decimal("0.01"))
    options: dict[str, Any] = {"model": spending(), "max_concurrency": 3}
    result = job("{text}", texts(100), max_cost="0.20", **options)
    assert (result.stopped, result.complete) == ("max_cost", False)
    assert Decimal("0.15") <= result.cost <= Decimal("0.22")
    assert not result.output.exists()
    result = job("{text}", texts(100), max_cost=10, **options)
    assert (result.complete, result.cost, len(out())) == (True, Decimal("1.00"), 100)


def test_max_cost_holds_while_no_row_has_told_its_cost(
    job: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    priced(monkeypatch, Decimal("0.01"))
    model = spending()

    async def slowly(row: Any) -> Any:
        await asyncio.sleep(0.2)
        return await model.ainvoke("x")

    result = job(RunnableLambda(slowly), texts(300), max_cost="0.20")
    assert result.stopped == "max_cost"
    assert Decimal("0.15") <= result.cost <= Decimal("0.22")


def test_a_job_that_is_complete_stays_so_whatever_it_has_cost(
    job: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    priced(monkeypatch, Decimal("0.01"))
    for max_cost in (1, "0.01"):
        result = job("{text}", texts(5), model=spending(), max_cost=max_cost)
        assert (result.complete, result.stopped, result.cost) == (True, None, Decimal("0.05"))


def test_an_unknown_price_is_said_and_cannot_hold_a_max_cost(
    job: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    priced(monkeypatch, None)
    result = job("{text}", texts(2), model=spending())
    assert (result.unpriced, result.cost) == (2, 0)
    assert "cost unknown" in str(result)
    with pytest.raises(JobStopped, match=r"price.* run it again without `max_cost`"):
        job("{text}", texts(20), model=spending(), max_cost=1, output=out_path(result))


PRICED, UNPRICED = "gpt-4o-mini", "nobody-knows-me"


@pytest.mark.parametrize(
    ("make", "refused"),
    [
        (lambda serve: serve.model(model=UNPRICED), True),
        (lambda serve: serve.model(model=UNPRICED).with_retry(), True),
        (
            lambda serve: serve.model(model=PRICED).with_fallbacks([serve.model(model=UNPRICED)]),
            True,
        ),
        (
            lambda serve: route(
                lambda _: "b", {"a": serve.model(model=UNPRICED), "b": serve.model(model=PRICED)}
            ),
            True,
        ),
        (lambda serve: serve.model(model=PRICED), False),
        (
            lambda serve: serve.model(model=UNPRICED, provider="azure_openai"),
            False,
        ),  # the name of a deployment
    ],
)
def test_a_max_cost_that_cannot_be_held_is_refused_before_anything_is_spent(
    job: Any, tmp_path: Path, make: Any, refused: bool
) -> None:
    with ProviderServer() as server:
        chain = ChatPromptTemplate.from_template("{text}") | make(server)
        if refused:
            with pytest.raises(InvalidArgument, match=f"no price of `{UNPRICED}`.*`limit`"):
                job(chain, texts(5), max_cost=1)
            assert not server.requests and not (tmp_path / "out.jsonl.job").exists()
        else:
            with suppress(JobStopped):  # the server answers in the name that was asked for
                job(chain, texts(5), max_cost=1)
            assert server.requests


def test_a_max_cost_without_a_price_list_says_what_to_install(
    job: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prices, "_list", cache(lambda: None))
    with pytest.raises(MissingDependency, match=r"modelwire\[profiles\]"):
        job("{text}", texts(1), model=spending(), max_cost=1)


# ---------------------------------------------------------------- going on


def test_limit_and_sample_choose_rows_and_a_later_run_goes_on(job: Any, out: Any) -> None:
    asked = Asked()
    assert job(asked.chain, texts(50), limit=3).rows == 3
    assert [row["id"] for row in out()] == [0, 1, 2]
    sample = job(asked.chain, texts(50), sample=10, seed=7)
    ids = [row["id"] for row in out()]
    assert sample.rows == len(ids) == 10
    assert sorted(ids) == ids
    assert job(asked.chain, texts(50), sample=10, seed=7).asked == 0
    assert job(asked.chain, texts(50)).rows == 50
    assert len(asked.inputs) == 50


def test_a_changed_prompt_model_or_input_is_refused_with_the_difference(
    tmp_path: Path, job: Any
) -> None:
    path = tmp_path / "t.csv"
    path.write_text("id,text\n1,a\n2,b\n")
    job("Say {text}", path, model=ParrotFakeChatModel())
    with pytest.raises(JobChanged, match=r"The prompt: `Say \{text\}` became `Sing \{text\}`"):
        job("Sing {text}", path, model=ParrotFakeChatModel())
    with pytest.raises(JobChanged, match=r"The model: `Parrot.* became `Generic"):
        job("Say {text}", path, model=GenericFakeChatModel(messages=iter(())))
    for body, said in (
        ("1,a\n2,c\n", "Line 3 .* another output"),
        ("1,a\n", "has 1 rows and had 2"),
    ):
        path.write_text(f"id,text\n{body}")
        with pytest.raises(JobChanged, match=said) as caught:
            job("Say {text}", path, model=ParrotFakeChatModel())
        assert "delete" not in str(caught.value)
    path.write_text("id,text\n1,a\n2,b\n")
    about = tmp_path / "out.jsonl.job" / "job.json"
    older = json.loads(about.read_text())
    del (
        older["fingerprint"]["prompt"],
        older["fingerprint"]["model"],
    )  # as it was before they were kept
    about.write_text(json.dumps(older))
    with pytest.raises(JobChanged, match=r"(?s)The work: .*Say .* became .*Sing "):
        job("Sing {text}", path, model=ParrotFakeChatModel())
    assert job("Say {text}", path, model=ParrotFakeChatModel()).complete


def test_patience_and_address_are_not_the_question(tmp_path: Path, job: Any) -> None:
    from modelwire.adapters import ChatOpenAI

    def described(**changed: Any) -> dict[str, str]:
        model = ChatOpenAI(**{"model": "m", "api_key": "k", "max_retries": 1, **changed})
        chain = RunnableLambda(len).assign(
            x=ChatPromptTemplate.from_template("{a}") | model.bind(stop=["."])
        )
        return work.make_work(chain).fingerprint()

    assert described(max_retries=5, timeout=3, base_url="http://127.0.0.1:9") == described()
    assert described(temperature=1) != described()


def test_rows_that_changed_or_went_away_are_noticed_without_a_file(job: Any) -> None:
    chain = Asked().chain
    job(chain, texts(5))
    changed = [*texts(3), {"id": 3, "text": "another"}]
    with pytest.raises(JobChanged, match="Line 4"):
        job(chain, changed)
    with pytest.raises(JobChanged, match="3 rows and had 5"):
        job(chain, texts(3))
    assert job(chain, texts(6)).asked == 1


def test_a_job_that_runs_is_refused_to_others(tmp_path: Path) -> None:
    async def both() -> None:
        began, gate = asyncio.Event(), asyncio.Event()

        async def wait(row: Any) -> str:
            began.set()
            await gate.wait()
            return "done"

        options: Any = {"output": tmp_path / "out.jsonl", "quiet": True}
        first = asyncio.create_task(arun_job(RunnableLambda(wait), texts(1), **options))
        await began.wait()
        with pytest.raises(JobBusy, match=f"process {os.getpid()}"):
            await arun_job(RunnableLambda(wait), texts(1), **options)
        gate.set()
        assert (await first).complete

    asyncio.run(both())


def test_a_cancelled_job_goes_on(tmp_path: Path) -> None:
    many = asyncio.Event()
    asked = Asked(lambda row: many.set() if len(asked.inputs) >= 300 else "done")

    async def cancelled() -> None:
        running = asyncio.create_task(
            arun_job(asked.chain, endless(), output=tmp_path / "o.jsonl", quiet=True)
        )
        await many.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(cancelled())
    before = len(asked.inputs)
    result = run_job(asked.chain, endless(), output=tmp_path / "o.jsonl", quiet=True, limit=before)
    assert result.rows == before
    assert len(asked.inputs) - before <= window.START


def endless() -> Iterator[dict[str, Any]]:
    n = 0
    while True:
        yield {"text": f"t{n}"}
        n += 1


# ---------------------------------------------------------------- disks, secrets, wrong arguments


def test_a_full_disk_stops_the_job_and_room_lets_it_go_on(
    tmp_path: Path, job: Any, out: Any
) -> None:
    asked = Asked(lambda row: "x" * 1000)
    with file_limit(50_000), pytest.raises(DiskError, match=r"out\.jsonl\.job/job\.sqlite"):
        job(asked.chain, texts(100), max_concurrency=10)
    assert job(asked.chain, texts(100)).rows == 100
    assert 100 <= len(asked.inputs) <= 100 + 10
    (tmp_path / "out.jsonl").unlink()
    with file_limit(50_000), pytest.raises(DiskError, match=r"out\.jsonl`"):
        job(asked.chain, texts(100))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.jsonl.job"]
    assert job(asked.chain, texts(100)).asked == 0
    assert len(out()) == 100


def test_no_secret_is_in_a_jobs_folder(tmp_path: Path, job: Any) -> None:
    from modelwire.adapters import ChatOpenAI

    canary = "sk-canary0123456789abcdef"
    model = ChatOpenAI(
        model="m",
        api_key=canary,
        default_headers={"x-api-key": canary},
        base_url="http://127.0.0.1:9",
        max_retries=0,
    )
    bound = model.bind(
        extra_headers={"Authorization": f"Bearer {canary}"}, api_token="plain-secret-word"
    )
    chain = ChatPromptTemplate.from_template("{text}") | bound
    assert job(chain, texts(3)).failed == 3
    for path in (tmp_path / "out.jsonl.job").iterdir():
        assert canary.encode() not in path.read_bytes()
        assert b"plain-secret-word" not in path.read_bytes()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"output": "out.doc"}, "`.csv`"),
        ({"output": "no folder/out.csv"}, "no folder"),
        ({"order": "inpt"}, "Did you mean `input`"),
        ({"limit": 0}, "`limit`"),
        ({"max_concurrency": "many"}, "`max_concurrency`"),
        ({"max_cost": "much"}, "`max_cost`"),
        ({"modl": "x"}, "Did you mean `model`"),
        ({"output": 3}, "`output`"),
        ({"model": ParrotFakeChatModel()}, "its own model"),
    ],
)
def test_wrong_options_are_refused(job: Any, options: Any, says: str) -> None:
    with pytest.raises(InvalidArgument, match=says):
        job(Asked().chain, texts(1), **options)


def test_a_prompt_that_does_not_fit_the_rows_is_refused_before_any_is_asked(
    tmp_path: Path, job: Any
) -> None:
    with pytest.raises(InvalidArgument, match="names no column"):
        job("Hello", texts(1), model=ParrotFakeChatModel())
    with pytest.raises(InvalidArgument, match="`txt`, but the input has no such column"):
        job(ChatPromptTemplate.from_template("{txt}") | ParrotFakeChatModel(), texts(1))
    assert not (tmp_path / "out.jsonl.job").exists()


def test_a_prompt_needs_a_model_and_a_job_its_work(job: Any) -> None:
    with pytest.raises(InvalidArgument, match="model"):
        job("{text}", texts(1))
    with pytest.raises(InvalidType, match="`int`"):
        job(5, texts(1))
    assert issubclass(MissingVariable, KeyError)


def test_an_error_of_the_rows_ends_the_job_and_what_is_done_is_kept(job: Any) -> None:
    asked = Asked()

    def rows() -> Iterator[Any]:
        yield from texts(10)
        raise RuntimeError("the database has gone")

    with pytest.raises(RuntimeError, match="the database"):
        job(asked.chain, rows())
    assert job(asked.chain, texts(10)).asked == 0


def test_nothing_of_a_row_stays_when_it_is_done(job: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker calls one row after the other in one context, which must not keep the rows before alive."""
    import gc
    from weakref import WeakSet

    observers: WeakSet[Any] = WeakSet()

    class Observer(asking._RowObserver):
        """Counted while it is alive; those that other tests left behind in this process are not."""

        def __init__(self, caller: Any) -> None:
            super().__init__(caller)
            observers.add(self)

    alive: list[int] = []

    async def answer(row: Any) -> str:
        alive.append(len(observers))
        return "done"

    monkeypatch.setattr(asking, "_RowObserver", Observer)
    gc.disable()
    try:
        assert job(RunnableLambda(answer), texts(40), max_concurrency=2).complete
    finally:
        gc.enable()
    assert 1 <= max(alive) <= 3
