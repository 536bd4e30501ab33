"""What a job and its command say, and what a prompt makes of a null cell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modelwire.cli import main
from modelwire.command.job_reports import reasons_of
from modelwire.jobs import run_job
from modelwire.jobs.preview import preview
from modelwire.jobs.sources import open_source
from modelwire.jobs.work import make_work
from modelwire.testing import ParrotFakeChatModel


def test_a_null_cell_is_empty_in_a_prompt(tmp_path: Path) -> None:
    rows = [{"a": "x", "b": None}, {"a": None, "b": 0}]
    result = run_job("<{a}|{b}>", rows, model=ParrotFakeChatModel(), quiet=True)
    assert [(row["answer"], row["b"]) for row in result] == [("<x|>", None), ("<|0>", 0)]
    shown = list(preview(make_work("<{a}|{b}>", ParrotFakeChatModel()), open_source(rows)))
    assert "human: <x|>" in shown


def test_a_finished_job_that_runs_again_says_that_nothing_was_asked(tmp_path: Path) -> None:
    def run() -> str:
        return str(
            run_job(
                "{a}",
                [{"a": "x"}],
                model=ParrotFakeChatModel(),
                output=tmp_path / "o.csv",
                quiet=True,
            )
        )

    assert "nothing was asked" not in run()
    assert "nothing was asked" in run()


def test_reasons_that_differ_in_a_number_are_not_counted_as_the_first() -> None:
    few, many = "The row has 1 cells and the header 2.", "The row has 9 cells and the header 2."
    assert reasons_of({0: (2, few), 1: (3, many)}, 3) == [f"2 x such as: {few} (lines 2, 3)"]
    assert reasons_of({0: (2, few), 1: (3, few)}, 3) == [f"2 x {few} (lines 2, 3)"]


def test_the_error_of_bytes_that_are_no_text_names_the_option(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"a\n\xff\n")
    (row,) = run_job("{a}", tmp_path / "t.csv", model=ParrotFakeChatModel(), quiet=True)
    assert "`--encoding` (`encoding=`)" in row["error"]


@pytest.mark.parametrize(
    ("typed", "usage", "hint"),
    [
        (["batch", "in.csv", "--promt", "x", "--output", "o.csv"], "modelwire batch", "--prompt"),
        (
            ["batch", "in.csv", "--prompt", "x", "--output", "o.csv", "--limt=3"],
            "modelwire batch",
            "--limit",
        ),
        (["jobs", "retry", "x", "--quite"], "modelwire jobs retry", "--quiet"),
    ],
)
def test_a_wrong_option_is_answered_by_its_command(
    capsys: Any, typed: list[str], usage: str, hint: str
) -> None:
    with pytest.raises(SystemExit) as left:
        main(typed)
    said = capsys.readouterr().err
    assert left.value.code == 2
    assert said.startswith(f"usage: {usage} ")
    assert f"did you mean `{hint}`?" in said
