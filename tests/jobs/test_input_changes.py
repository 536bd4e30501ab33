"""What a job does when its input is not the one of the last run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from modelwire.errors import JobChanged
from modelwire.jobs import JobResult, run_job
from modelwire.messages import AIMessage
from modelwire.runnables import RunnableLambda
from modelwire.testing import GenericFakeChatModel

SUFFIXES = (".csv", ".jsonl", ".parquet")


def write(path: Path, texts: list[str]) -> None:
    if path.suffix == ".csv":
        path.write_text("\n".join(["text", *texts]))  # no line feed at the end
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    else:
        pa = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        parquet.write_table(pa.table({"text": texts}), path)


def run(path: Path, asked: list[str], **options: Any) -> JobResult:
    def answer(row: Any) -> str:
        asked.append(row["text"])
        if row["text"] == "bad":
            raise ValueError("no")
        return f"to {row['text']}"

    return run_job(
        RunnableLambda(answer), path, output=path.with_name("out.jsonl"), quiet=True, **options
    )


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_rows_that_were_appended_are_asked_and_no_other(tmp_path: Path, suffix: str) -> None:
    path, asked = tmp_path / f"in{suffix}", []
    write(path, ["a", "b"])
    run(path, asked)
    write(path, ["a", "b", "c", "d"])
    result = run(path, asked)
    assert (sorted(asked), result.asked, result.rows, result.complete) == (
        ["a", "b", "c", "d"],
        2,
        4,
        True,
    )
    assert [row["answer"] for row in result] == ["to a", "to b", "to c", "to d"]
    assert run(path, asked).asked == 0


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("texts", [["a", "B", "c"], ["a", "bc"], ["new", "a", "b"], ["a"], ["b"]])
def test_rows_that_changed_are_refused_before_any_request(
    tmp_path: Path, suffix: str, texts: list[str]
) -> None:
    path, asked = tmp_path / f"in{suffix}", []
    write(path, ["a", "b"])
    run(path, asked)
    write(path, texts)
    for _ in range(2):  # nothing of the refused run is kept
        with pytest.raises(JobChanged, match="another output, which begins a new job") as caught:
            run(path, asked)
        assert "delete" not in str(caught.value)
    assert sorted(asked) == ["a", "b"]
    write(path, ["a", "b", "c"])
    assert run(path, asked).asked == 1


def test_a_failed_row_that_changed_is_told_of_the_retry(tmp_path: Path) -> None:
    path, asked = tmp_path / "in.csv", []
    write(path, ["a", "bad"])
    assert run(path, asked).failed == 1
    write(path, ["a", "good", "c"])
    with pytest.raises(JobChanged, match=r"Line 3 .* failed: `retry_failed=True`"):
        run(path, asked)
    result = run(path, asked, retry_failed=True)
    assert (result.asked, result.failed, result.rows) == (2, 0, 3)


@pytest.mark.parametrize(
    ("metadata", "cut"),
    [
        ({"finish_reason": "length"}, True),
        ({"stop_reason": "max_tokens"}, True),
        ({"finish_reason": "stop"}, False),
        ({"stop_reason": "end_turn"}, False),
        ({}, False),
    ],
)
@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_an_answer_that_was_cut_is_marked_and_counted(
    tmp_path: Path, metadata: dict[str, str], cut: bool, suffix: str
) -> None:
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    messages = iter([AIMessage("One, two", response_metadata=metadata)] * 2)
    model = GenericFakeChatModel(messages=messages)
    output = tmp_path / f"out{suffix}"
    rows = [{"text": "a"}, {"text": "a"}, {"text": "b"}]
    result = run_job("{text}", rows, model=model, output=output, quiet=True)
    reason = next(iter(metadata.values()), "" if suffix == ".csv" else None)
    assert [row["finish_reason"] for row in result] in ([reason] * 3, [reason or None] * 3)
    assert result.cut == (2 if cut else 0)
    assert ("2 answers cut by max_tokens" in str(result)) == cut
    assert run_job("{text}", rows, model=model, output=output, quiet=True).cut == result.cut
