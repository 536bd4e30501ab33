"""What goes wrong around a job: its input, its disk, its table, its provider."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from modelwire.errors import DiskError
from modelwire.jobs import JobFolder, run_job
from modelwire.jobs.csv_rows import CsvSource
from modelwire.jobs.rows import Row
from modelwire.runnables import RunnableLambda
from modelwire.testing import ParrotFakeChatModel


def test_answers_on_their_way_are_kept_when_the_input_cannot_be_read_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows_of_file = CsvSource._rows

    def failing(self: CsvSource) -> Iterator[Row]:
        yield from islice(rows_of_file(self), 3)
        raise OSError(errno.EIO, "Input/output error")

    asked: list[str] = []

    async def answer(row: Any) -> str:
        asked.append(row["t"])
        await asyncio.sleep(0.2)  # the input fails meanwhile
        return "done"

    (tmp_path / "in.csv").write_text("t\na\nb\nc\nd\n")
    options: Any = {"output": tmp_path / "o.jsonl", "quiet": True}
    with monkeypatch.context() as patch, pytest.raises(DiskError, match="Input/output error"):
        patch.setattr(CsvSource, "_rows", failing)
        run_job(RunnableLambda(answer), tmp_path / "in.csv", **options)
    assert run_job(RunnableLambda(answer), tmp_path / "in.csv", **options).complete
    assert asked == ["a", "b", "c", "d"]


def test_columns_stand_in_the_order_of_the_input_whatever_is_answered_first(tmp_path: Path) -> None:
    async def answer(row: Any) -> dict[str, Any]:
        await asyncio.sleep(0.02 * (4 - row["n"]))  # the last one first
        return {"late": 1, "z": 2} if row["n"] > 1 else {"a": 1, "late": 2}

    rows: list[Any] = ["a text", *({"n": n} if n % 2 else {"m": 0, "n": n} for n in range(1, 5))]
    chain = RunnableLambda(lambda row: row if isinstance(row, dict) else {"n": 0}) | RunnableLambda(
        answer
    )
    for name in ("o.csv", "o.jsonl"):
        (first, *_) = run_job(chain, rows, output=tmp_path / name, order="arrival", quiet=True)
        assert list(first)[:6] == ["input", "n", "m", "a", "late", "z"]


def test_a_line_that_is_no_json_is_counted_once(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('"fine"\n{"a": \n')
    _, row = run_job("{input}", tmp_path / "in.jsonl", model=ParrotFakeChatModel(), quiet=True)
    assert row["error"] == "Line 2: Not valid JSON: EOF while parsing a value at column 6."


def test_a_job_in_a_folder_that_is_only_read_is_listed_as_it_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = run_job(
        "{input}", ["a"], model=ParrotFakeChatModel(), output=tmp_path / "o.jsonl", quiet=True
    )
    open_file = os.open

    def read_only(path: Any, flags: int, *mode: int) -> int:
        if flags & (os.O_RDWR | os.O_WRONLY):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return open_file(path, flags, *mode)

    job = JobFolder(result.job_dir)
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", read_only)
        patch.setattr(os, "access", lambda *_: False)
        assert job.state() == "complete"
        (result.job_dir / "lock").unlink()
        assert job.state() == "not begun"
