"""What a job writes is what a reader of that format reads: cells, types, columns, and the file itself."""

from __future__ import annotations

import csv
import json
import os
import stat
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from modelwire import cli
from modelwire.errors import DiskError, InvalidArgument, JobBusy, JobChanged
from modelwire.jobs import JobFolder, JobResult, run_job
from modelwire.messages import AIMessage, HumanMessage
from modelwire.prompts import ChatPromptTemplate
from modelwire.runnables import RunnableLambda, RunnablePassthrough


def say(answers: dict[Any, Any]) -> RunnableLambda[Any, Any]:
    return RunnableLambda(lambda row: answers[row["id"]])


def run(chain: Any, rows: Any, output: Path, **options: Any) -> JobResult:
    return run_job(chain, rows, output=output, quiet=True, **options)


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_a_lone_carriage_return_does_not_tear_a_row(tmp_path: Path, suffix: str) -> None:
    cell = "one\rtwo"
    result = run(
        say({0: cell, 1: "\r", 2: "a\r\nb"}),
        [{"id": n, "t": cell} for n in range(3)],
        tmp_path / f"o{suffix}",
    )
    assert [(row["t"], row["answer"]) for row in result] == [
        (cell, cell),
        (cell, "\r"),
        (cell, "a\r\nb"),
    ]
    with result.output.open(newline="") as file:
        reader = csv.DictReader(file, delimiter="\t" if suffix == ".tsv" else ",")
        assert [row["answer"] for row in reader] == [cell, "\r", "a\r\nb"]


def test_rows_end_in_a_line_feed_and_only_what_needs_them_has_quotes(tmp_path: Path) -> None:
    result = run(say({0: "plain"}), [{"id": 0, "t": 'a "b"'}], tmp_path / "o.csv")
    assert result.output.read_bytes().split(b"\n")[1].startswith(b'0,"a ""b""",plain,,')


def test_infinite_and_missing_numbers_are_three_questions_and_come_back(tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")
    chain = RunnableLambda(lambda row: f"got {row['x']}")
    values = [float("inf"), float("-inf"), float("nan"), 1.5]
    frame = pd.DataFrame({"x": values})
    for suffix in (".csv", ".parquet", ".jsonl"):
        result = run(chain, frame, tmp_path / f"o{suffix}")
        rows = list(result)
        assert [row["answer"] for row in rows] == ["got inf", "got -inf", "got None", "got 1.5"]
        assert result.same == 0
        if suffix != ".jsonl":  # JSON has no such number
            assert [str(row["x"]) for row in rows] == ["inf", "-inf", "None", "1.5"]
        else:
            assert all(
                json.loads(line, parse_constant=pytest.fail)
                for line in result.output.read_text().splitlines()
            )
        assert run(chain, frame, tmp_path / f"o{suffix}").asked == 0


def test_what_looks_equal_in_json_is_not_asked_once(tmp_path: Path) -> None:
    np = pytest.importorskip("numpy")
    day = date(2026, 11, 22)
    values = [
        b"hi",
        "aGk=",
        1,
        1.0,
        True,
        "1",
        [1],
        (1.0,),
        day,
        str(day),
        AIMessage("a"),
        HumanMessage("a"),
        *(np.array([*range(2000), last]) for last in (1, 2)),
        object(),
        object(),
    ]
    twice = [b"hi", float("inf"), float("inf"), day, AIMessage("a"), np.array([*range(2000), 2])]
    rows = [{"x": value} for value in [*values, *twice]]
    chain = RunnablePassthrough() | RunnableLambda(lambda row: asked.append(row) or "yes")
    asked: list[Any] = []
    result = run(chain, rows, tmp_path / "o.jsonl")
    assert (len(asked), result.same) == (len(values) + 1, 5)


@pytest.mark.parametrize(
    "values", [[1.5, 2**53 + 1], [2**60, 0.25, 3], [2**53 + 1, 2], [1.5, 2], [2**64, 1.0]]
)
def test_whole_numbers_of_any_size_beside_fractions_are_written_whole(
    tmp_path: Path, values: list[Any]
) -> None:
    pytest.importorskip("pyarrow")
    rows = [{"id": n, "x": value} for n, value in enumerate(values)]
    found = [
        row["x"] for row in run(say(dict.fromkeys(range(9), "yes")), rows, tmp_path / "o.parquet")
    ]
    assert [json.loads(one) if isinstance(one, str) else one for one in found] == values


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    twice = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    parquet.write_table(twice, tmp_path / "t.parquet")
    for given in (
        pd.DataFrame([[1, 2]], columns=["a", "a"]),
        pd.DataFrame([[1, 2]], columns=[1, "1"]),
        twice,
        tmp_path / "t.parquet",
    ):
        with pytest.raises(InvalidArgument, match=r"`(a|1)` twice"):
            run(RunnableLambda(str), given, tmp_path / "o.csv")
    result = run(RunnableLambda(str), [{1: "a", "1": "b"}, {1: "c"}], tmp_path / "o.csv")
    assert (result.rows, result.failed) == (2, 1)


def test_the_formula_guard_leaves_numbers_and_the_input_alone(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("id,x,y\n0,-12.50,=A1\n1,+1e5,@me\n")
    result = run(say({"0": "-12.50", "1": "=cmd()"}), table, tmp_path / "o.csv", formula_guard=True)
    assert [(row["x"], row["y"], row["answer"]) for row in result] == [
        ("-12.50", "=A1", "-12.50"),
        ("+1e5", "@me", "'=cmd()"),
    ]


def test_a_linked_output_stays_a_link_and_a_file_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    target, link = tmp_path / "real" / "r.csv", tmp_path / "o.csv"
    target.write_text("before")
    target.chmod(0o644)
    link.symlink_to(target)
    run(say({0: "yes"}), [{"id": 0}], link)
    assert link.is_symlink() and "yes" in target.read_text()
    assert stat.S_IMODE(target.stat().st_mode) == 0o644
    target.unlink()  # a link to nothing is followed, too
    assert run(say({0: "yes"}), [{"id": 0}], link).asked == 0
    assert link.is_symlink() and stat.S_IMODE(target.stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["o.csv", "o.csv.job", "real"]


@pytest.mark.skipif(os.name != "posix", reason="who may write in a folder is told another way")
def test_a_folder_in_which_nobody_may_write_is_refused_before_any_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shut = tmp_path / "shut"
    shut.mkdir(mode=0o555)
    if os.geteuid() == 0:  # root may write everywhere: be somebody else as far as this is asked
        monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != shut)
    asked: list[Any] = []
    with pytest.raises(
        DiskError, match=r"You may not write in the folder of the output `.*o\.csv`"
    ):
        run(RunnableLambda(asked.append), [{"id": 0}], shut / "o.csv", job_dir=tmp_path / "a.job")
    assert not asked and not (tmp_path / "a.job").exists()


# ---------------------------------------------------------------- whose output it is


def test_an_output_of_another_job_is_refused(tmp_path: Path) -> None:
    rows, output = [{"id": 0}], tmp_path / "o.csv"
    first: dict[str, Any] = {"job_dir": tmp_path / "a"}
    run(say({0: "one"}), rows, output, **first)
    asked: list[Any] = []
    other = RunnableLambda(lambda row: asked.append(row) or "two")
    for job_dir in (tmp_path / "b", None, tmp_path / "c" / "d"):
        with pytest.raises(JobBusy, match=r"o\.csv` is the output of the job in `.*a`"):
            run(other, rows, output, job_dir=job_dir)
    assert not asked and [row["answer"] for row in run(say({0: "one"}), rows, output, **first)] == [
        "one"
    ]


def test_an_output_that_somebody_else_has_written_is_not_called_complete(tmp_path: Path) -> None:
    rows, output = [{"id": 0}], tmp_path / "o.csv"
    run(say({0: "one"}), rows, output)
    os.utime(output)  # touched and not changed
    assert run(say({0: "one"}), rows, output).complete
    output.write_text(output.read_text().replace("one", "two"))
    with pytest.raises(JobChanged, match=r"o\.csv` is not what this job has written"):
        run(say({0: "one"}), rows, output)
    assert "two" in output.read_text()
    output.unlink()
    assert [row["answer"] for row in run(say({0: "one"}), rows, output)] == ["one"]


# ---------------------------------------------------------------- which rows it has


def test_another_choice_of_rows_is_the_whole_output(tmp_path: Path) -> None:
    asked: list[int] = []

    def chosen(**options: Any) -> list[int]:
        result = run(
            RunnableLambda(lambda row: asked.append(row["id"])),
            [{"id": n} for n in range(50)],
            tmp_path / "o.jsonl",
            **options,
        )
        ids = [row["id"] for row in result]
        assert (result.rows, result.complete) == (len(ids), True)
        return ids

    first = chosen(sample=10, seed=1)
    second = chosen(sample=10, seed=2)
    assert len(first) == len(second) == 10 and first != second
    assert chosen(sample=10, seed=1) == first
    assert chosen(limit=7) == list(range(7))
    assert chosen(limit=3) == list(range(3))
    assert chosen() == list(range(50))
    assert sorted(asked) == list(range(50))
    assert chosen(limit=3, order="arrival") and len(asked) == 50


# ---------------------------------------------------------------- damage


def damage(folder: Path, data: bytes) -> None:
    """Change a bit where `data` stands in the files of a job, as a bad disk does."""
    (path,) = (path for path in folder.iterdir() if data in path.read_bytes())
    path.write_bytes(path.read_bytes().replace(data, bytes([data[0] ^ 1]) + data[1:], 1))


def test_a_row_with_the_answer_of_a_damaged_one_never_gets_a_third_rows_answer(
    tmp_path: Path,
) -> None:
    asked: list[str] = []

    def answer(value: Any) -> str:
        asked.append(value.to_string())
        return f"answer to {value.to_string()}"

    rows = [{"id": n, "text": text} for n, text in enumerate(["first", "twin", "twin", "last"])]
    chain = ChatPromptTemplate.from_template("{text}") | RunnableLambda(answer)
    run(chain, rows, tmp_path / "o.jsonl", max_concurrency=1)
    damage(tmp_path / "o.jsonl.job", b"answer to Human: twin")
    (tmp_path / "o.jsonl.job" / "summary.json").unlink()  # killed
    for order in ("input", "arrival"):
        job = JobFolder(tmp_path / "o.jsonl.job")
        job.note(command={"order": order})
        part = tmp_path / f"{order}.jsonl"
        assert cli.main(["jobs", "write", str(job.path), "-o", str(part)]) == 0
        found = [json.loads(line) for line in part.read_text().splitlines()]
        assert [(row["id"], row["answer"]) for row in found] == [
            (0, "answer to Human: first"),
            (3, "answer to Human: last"),
        ]
    asked.clear()
    result = run(chain, rows, tmp_path / "o.jsonl")
    assert [row["answer"] for row in result] == [f"answer to Human: {row['text']}" for row in rows]
    assert asked == ["Human: twin"]


def test_a_name_too_long_for_the_unfinished_table_is_refused_before_any_row_is_asked(
    tmp_path: Path,
) -> None:
    asked = []
    chain = RunnableLambda(lambda row: asked.append(row) or "yes")
    with pytest.raises(InvalidArgument, match="name has 244 bytes, and 240 is the most"):
        run(chain, [{"id": 0}], tmp_path / f"{'ä' * 118}xx.jsonl")
    assert (asked, list(tmp_path.iterdir())) == ([], [])
    longest = tmp_path / f"{'ä' * 117}.jsonl"
    assert run(chain, [{"id": 0}], longest).complete
    assert json.loads(longest.read_text())["answer"] == "yes"
