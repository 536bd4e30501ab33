"""What `run_job` gives back: rows in memory, typed values of every file, tables of pandas and Arrow."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from modelwire.errors import AuthenticationError, InvalidArgument, JobStopped
from modelwire.jobs import JobResult, arun_job, run_job
from modelwire.runnables import RunnableLambda
from modelwire.testing import ParrotFakeChatModel

FILES = (None, ".jsonl", ".csv", ".tsv", ".parquet")
ROWS = [
    {"id": 1, "name": "a"},
    {"id": 2, "name": ""},
    {"id": 3, "name": "bad"},
    {"id": 4, "name": "none"},
]


def answer(row: Any) -> dict[str, Any]:
    if row["name"] == "bad":
        raise ValueError("no")
    grape = None if row["name"] == "none" else row["name"] + "x"
    return {
        "grape": grape,
        "year": row["id"] * 10**6,
        "share": 0.5,
        "is_red": row["id"] == 1,
        "notes": ["oak"],
    }


def run(path: Path, suffix: str | None, rows: Any = ROWS, **options: Any) -> JobResult:
    output = None if suffix is None else path / f"o{suffix}"
    return run_job(RunnableLambda(answer), rows, output=output, quiet=True, **options)


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where jobs without a folder keep theirs."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


@pytest.mark.parametrize("suffix", FILES)
def test_values_have_their_types_whatever_the_file(tmp_path: Path, suffix: str | None) -> None:
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    for _ in range(2):  # a finished job tells them again
        one, two, bad, none = run(tmp_path, suffix)
        notes = '["oak"]' if suffix == ".parquet" else ["oak"]
        assert list(one.values())[:7] == [1, "a", "ax", 10**6, 0.5, True, notes]
        assert (two["name"], two["grape"], two["is_red"]) == ("", "x", False)
        assert (bad["id"], bad["grape"], bad["year"], bad["error"]) == (
            3,
            None,
            None,
            "ValueError: no",
        )
        assert none["grape"] is None
        assert (one["error"], one["attempts"], one["cost"], type(one["latency_s"])) == (
            None,
            0,
            0.0,
            float,
        )


@pytest.mark.parametrize("suffix", FILES)
def test_a_result_becomes_a_frame_and_a_table(tmp_path: Path, suffix: str | None) -> None:
    pytest.importorskip("pyarrow")
    pytest.importorskip("pandas")
    result = run(tmp_path, suffix)
    frame, table = result.to_pandas(), result.to_arrow()
    assert list(frame.columns) == table.column_names
    assert list(frame["year"].dropna()) == [10**6, 2 * 10**6, 4 * 10**6]
    assert table.column("year").to_pylist() == [10**6, 2 * 10**6, None, 4 * 10**6]
    assert (str(table.schema.field("id").type), table.num_rows) == ("int64", 4)


def test_a_column_of_several_kinds_is_text_in_arrow() -> None:
    pytest.importorskip("pyarrow")
    result = run_job(
        RunnableLambda(lambda row: row["v"]), [{"v": 1}, {"v": "a"}, {"v": [2]}], quiet=True
    )
    assert result.to_arrow().column("answer").to_pylist() == ["1", "a", "[2]"]
    assert run_job(RunnableLambda(answer), [], quiet=True).to_arrow().num_rows == 0


def test_rows_without_an_output_are_in_memory_and_nothing_is_left(scratch: Path) -> None:
    result = asyncio.run(arun_job(RunnableLambda(answer), ROWS, quiet=True))
    assert (result.output, result.complete, result.rows, result.failed, len(list(result))) == (
        None,
        True,
        4,
        1,
        4,
    )
    assert list(result) == list(result)
    assert list(scratch.iterdir()) == []
    with pytest.raises(InvalidArgument):
        run_job("{nam}", ROWS, model=ParrotFakeChatModel(), quiet=True)
    with pytest.raises(InvalidArgument, match="order"):
        run_job(RunnableLambda(answer), ROWS, quiet=True, order="up")  # type: ignore[arg-type]
    assert list(scratch.iterdir()) == []


def test_a_job_without_an_output_that_fails_says_where_its_rows_are(scratch: Path) -> None:
    calls: list[int] = []

    def once(row: Any) -> str:
        calls.append(row["id"])
        if row["id"] == 3 and calls.count(3) == 1:
            raise AuthenticationError("wrong key")
        return "yes"

    chain = RunnableLambda(once)
    with pytest.raises(JobStopped) as caught:
        run_job(chain, ROWS, quiet=True, max_concurrency=1)
    (kept,) = scratch.iterdir()
    assert f"job_dir={str(kept)!r}" in caught.value.__notes__[0]
    result = run_job(chain, ROWS, quiet=True, max_concurrency=1, job_dir=kept)
    assert [row["answer"] for row in result] == ["yes"] * 4
    assert calls == [1, 2, 3, 3, 4]
    assert kept.exists()  # it was named


def test_the_folder_of_a_job_in_memory_may_be_named(tmp_path: Path) -> None:
    calls: list[int] = []
    chain = RunnableLambda(lambda row: calls.append(row["id"]) or "yes")
    for _ in range(2):
        result = run_job(chain, ROWS, quiet=True, job_dir=tmp_path / "job")
        assert [(row["id"], row["answer"]) for row in result] == [(n, "yes") for n in (1, 2, 3, 4)]
    assert sorted(calls) == [1, 2, 3, 4]
