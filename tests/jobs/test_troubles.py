"""What goes wrong around a job: its input, its disk, its table, its provider."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from modelwire.errors import DiskError
from modelwire.jobs import run_job
from modelwire.jobs.csv_rows import CsvSource
from modelwire.jobs.rows import Row
from modelwire.runnables import RunnableLambda


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
