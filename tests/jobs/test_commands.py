from __future__ import annotations

import argparse
import io
import json
import os
import shlex
import sqlite3
import subprocess
import sys
import types
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from modelwire import cli
from modelwire.jobs import preview, progress, work
from modelwire.jobs.folder import JobFolder
from modelwire.jobs.options import JobOptions
from modelwire.jobs.progress import Progress, Standing
from modelwire.testing import ProviderServer
from modelwire.usage import prices

CHAIN = """
from modelwire.prompts import ChatPromptTemplate
from modelwire.testing import ParrotFakeChatModel
from modelwire.usage import prices

chain = ChatPromptTemplate.from_template("Say {text}") | ParrotFakeChatModel()
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "parrot_chain.py").write_text(CHAIN)
    (tmp_path / "in.csv").write_text('id,text\n1,a\n2,"b\n3,"c"\n')
    monkeypatch.delitem(sys.modules, "parrot_chain", raising=False)
    return tmp_path


def batch(*more: str) -> int:
    return cli.main(["batch", "in.csv", "--chain", "parrot_chain:chain", "-o", "out.csv", *more])


def test_batch_writes_the_table_and_says_where_it_is(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert batch() == 0
    said = capsys.readouterr()
    assert said.out == "out.csv\n"
    assert "3 rows, 1 failed" in said.err
    assert (here / "out.csv").read_text().splitlines()[1].startswith("1,a,Say a,,")


def test_quiet_says_nothing_but_where_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert batch("--quiet") == 0
    assert capsys.readouterr() == ("out.csv\n", "")


def test_jobs_are_listed_shown_and_retried(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    batch("-q")
    capsys.readouterr()
    assert cli.main(["jobs", "list"]) == 0
    header, line = capsys.readouterr().out.splitlines()
    job_id, state, rows, failed, _, folder = line.split()
    assert header.split()[0] == "ID"
    assert (state, rows, failed, folder) == ("complete", "3", "1", "out.csv.job")
    for name in (job_id, "out.csv.job", "out.csv"):
        assert cli.main(["jobs", "show", name]) == 0
        said = capsys.readouterr().out
        assert "rows     3, 1 failed, 0 + 0 tokens, cost unknown\n" in said
        assert "1 x A quote is opened and not closed. (line 3)" in said
        assert "Say {text}" in said
    assert cli.main(["jobs", "retry", job_id, "-q"]) == 0
    assert capsys.readouterr().out == f"{here / 'out.csv'}\n"


def test_retry_works_from_another_folder(
    here: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    batch("-q", "--limit", "1")
    (here / "out.csv").unlink()
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert cli.main(["jobs", "retry", str(here / "out.csv.job"), "-q"]) == 0
    assert (here / "out.csv").exists()


def test_a_killed_job_is_listed_with_what_its_store_has(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    batch("-q")
    (here / "out.csv.job" / "summary.json").unlink()
    store = here / "out.csv.job" / "job.sqlite"
    store.write_bytes(
        store.read_bytes().replace(b'"n":2', b'"n":3')
    )  # a record is damaged: what is whole counts
    capsys.readouterr()
    cli.main(["jobs", "list"])
    (_, line) = capsys.readouterr().out.splitlines()
    assert line.split()[1:] == ["interrupted", "2", "1", "-", "out.csv.job"]
    cli.main(["jobs", "show", "out.csv"])
    assert "2 so far, 1 failed" in capsys.readouterr().out


ODD_FOLDERS = {
    "nothing in it": (None, "no `job.json`"),
    "of somebody else": ("[1]", "holds no JSON object"),
    "no JSON": ("{", "is not a job's"),
    "another's job.json": ('{"name": "build"}', "it lacks `id`, `begun` or `fingerprint`"),
    "of a later version": ('{"version": 3, "id": "x"}', "its format is 3, and this one knows 2"),
}


@pytest.mark.parametrize("kind", ODD_FOLDERS)
@pytest.mark.parametrize("command", ["show", "retry", "wait"])
def test_an_odd_folder_is_explained(
    here: Path, capsys: pytest.CaptureFixture[str], kind: str, command: str
) -> None:
    said, explanation = ODD_FOLDERS[kind]
    (here / "odd.job").mkdir()
    if said is not None:
        (here / "odd.job" / "job.json").write_text(said)
    for name in ("odd.job", "odd") if said is not None else ("odd.job",):
        assert cli.main(["jobs", command, name]) == 2
        assert explanation in capsys.readouterr().err


def test_an_odd_folder_hides_no_other_job(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    batch("-q")
    (here / "odd.job").mkdir()
    (here / "odd.job" / "job.json").write_text("{")
    capsys.readouterr()
    assert cli.main(["jobs", "list"]) == 0
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 2 and "odd.job" in said.err
    assert cli.main(["jobs", "show", said.out.splitlines()[1].split()[0]]) == 0


def test_jobs_under_any_name_are_listed_and_what_is_none_of_ours_is_passed_over(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "runs" / "theirs").mkdir(parents=True)
    (here / "runs" / "theirs" / "job.json").write_text('{"name": "build"}')
    batch("-q", "--job-dir", "runs/reviews")
    capsys.readouterr()
    assert cli.main(["jobs", "list", "--dir", "runs"]) == 0
    said = capsys.readouterr()
    assert [line.split()[-1] for line in said.out.splitlines()[1:]] == [
        "runs/reviews"
    ] and not said.err
    assert cli.main(["jobs", "list", "--dir", "nowhere"]) == 2
    said = capsys.readouterr()
    assert said.err == "modelwire: There is no folder `nowhere`.\n" and not said.out


FAILING = """
from modelwire.errors import BadRequest
from modelwire.runnables import RunnableLambda

def fail(row):
    if row["text"] == "fine":
        return "yes"
    raise BadRequest(f"Refused, request req_{row['id']}x." if row["text"] == "a" else "Too long.")

chain = RunnableLambda(fail)
"""


def test_the_commonest_reasons_of_failed_rows_are_said(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "failing_chain.py").write_text(FAILING)
    (here / "in.csv").write_text("id,text\n1,b\n2,a\n3,a\n4,fine\n")
    assert batch("--chain", "failing_chain:chain") == 0
    said = capsys.readouterr().err.splitlines()
    job_id = json.loads((here / "out.csv.job" / "job.json").read_text())["id"]
    assert said[1:] == [
        "2 x such as: BadRequest: Refused, request req_2x. (lines 3, 4)",
        "1 x BadRequest: Too long. (line 2)",
        f"`modelwire jobs retry {job_id}` calls the model for them again, once the cause is fixed.",
    ]
    (here / "in.csv").write_text("id,text\n1,a\n")
    assert batch("--chain", "failing_chain:chain", "-o", "all.csv", "-q") == 1
    said = capsys.readouterr()
    assert "1 x BadRequest: Refused" in said.err and said.out == "all.csv\n"


def test_rows_in_another_encoding_are_told_how_to_read_them(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "in.csv").write_bytes(b"id,text\n1,a\n2,caf\xe9\n")
    assert batch() == 0
    assert "`--encoding cp1252 --retry-failed`" in capsys.readouterr().err
    assert batch("--encoding", "cp1252", "--retry-failed") == 0
    assert "Say café" in (here / "out.csv").read_text()


def test_what_is_done_of_a_stopped_job_can_be_written(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "known_price", lambda message: Decimal("0.5"))
    (here / "in.csv").write_text("id,text\n1,a\n2,b\n3,c\n")
    assert batch("--max-cost", "1.2", "--max-concurrency", "1", "-q") == 1
    said = capsys.readouterr()
    job_id = json.loads((here / "out.csv.job" / "job.json").read_text())["id"]
    assert f"modelwire jobs write {job_id}" in said.err and not said.out
    assert cli.main(["jobs", "show", job_id]) == 0
    said = capsys.readouterr()
    assert (
        "stopped  near `max_cost`\n" in said.out
        and "rows     2 so far, 0 failed, 0 + 0 tokens, $1.0000\n" in said.out
    )
    assert cli.main(["jobs", "write", job_id]) == 0
    assert capsys.readouterr().out == f"{here / 'out.csv'}\n"
    assert [line.split(",")[2] for line in (here / "out.csv").read_text().splitlines()] == [
        "answer",
        "Say a",
        "Say b",
    ]
    assert cli.main(["jobs", "write", job_id, "-o", "in.csv"]) == 2
    assert batch("--max-cost", "9", "-q") == 0
    assert len((here / "out.csv").read_text().splitlines()) == 4
    assert json.loads((here / "out.csv.job" / "summary.json").read_text())["stopped"] is None


def test_a_folder_with_something_else_in_it_is_left_alone(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "mine").mkdir()
    (here / "mine" / "log").write_text("years of work\n")
    assert batch("--job-dir", "mine") == 2
    assert "it has `log`, and no `job.json`" in capsys.readouterr().err
    assert {path.name for path in (here / "mine").iterdir()} == {"log"}
    assert (here / "mine" / "log").read_text() == "years of work\n"


def test_a_dry_run_shows_three_prompts_and_an_estimate_and_asks_nothing(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "known_price", lambda message: Decimal("0.001"))
    monkeypatch.setattr(preview, "MEASURED_ROWS", 1000)
    (here / "in.csv").write_text("id,text\n" + "".join(f"{n},row {n}\n" for n in range(5000)))
    arguments = [
        "batch",
        "in.csv",
        "--prompt",
        "Sum up {text}",
        "--system",
        "Be kind.",
        "-o",
        "out.csv",
        "--dry-run",
    ]
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    assert cli.main([*arguments, "--model", "openai:gpt-4o-mini", "--param", "max_tokens=50"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("--- line 2\nsystem: Be kind.\nhuman: Sum up row 0\n--- line 3\n")
    assert "row 3" not in said
    estimate = next(line for line in said.splitlines() if line.startswith("About"))
    rows = int(estimate.split()[1].replace(",", ""))
    assert 4000 < rows < 6000
    assert f"{rows * 50:,} of answers" in estimate
    assert f"about ${rows / 1000:,.4f}" in said and "equal rows are asked once" in said
    assert not (here / "out.csv.job").exists()
    assert (
        cli.main([*arguments, "--model", "openai:gpt-4o-mini", "--via", "batch-api", "--no-dedupe"])
        == 0
    )
    said = capsys.readouterr().out
    assert (
        f"At half the price of `gpt-4o-mini`, that of its Batch API: about ${rows / 2000:,.4f}"
        in said
    )
    assert "equal rows are asked each" in said


def test_a_dry_run_without_the_price_list_names_its_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(prices, "_list", cache(lambda: None))
    assert batch("--dry-run") == 0
    assert "pip install 'modelwire[profiles]'" in capsys.readouterr().out


def test_a_dry_run_says_which_rows_cannot_be_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert batch("--dry-run") == 0
    said = capsys.readouterr().out
    assert "cannot be read: A quote" in said
    assert "no price for this chain" in said
    assert (
        "1 of the first 3 rows cannot be asked. The first: line 3 cannot be read: A quote" in said
    )


@pytest.mark.parametrize("output", ["out.xlsx", "nowhere/out.csv"])
def test_a_dry_run_refuses_an_output_that_the_job_would_refuse(
    output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert batch("--dry-run", "-o", output) != 0
    said = capsys.readouterr()
    assert said.out == "" and output.split("/")[0] in said.err


def test_an_empty_table_is_said_to_be_empty(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "in.csv").write_text("")
    assert (
        cli.main(
            [
                "batch",
                "in.csv",
                "--prompt",
                "Say {text}",
                "--model",
                "local:smollm2",
                "-o",
                "out.csv",
            ]
        )
        != 0
    )
    assert "is it empty?" in capsys.readouterr().err


def test_a_prompt_file_and_a_schema_are_read(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def run_job(given: Any, rows: Any, **options: Any) -> Any:
        seen.update(options, work=given)
        raise KeyboardInterrupt

    monkeypatch.setattr("modelwire.jobs.run_job", run_job)
    (here / "p.txt").write_text("Sum up {text}\n")
    (here / "s.json").write_text('{"title": "T", "type": "object", "properties": {}}')
    arguments = [
        "--prompt-file",
        "p.txt",
        "--schema",
        "s.json",
        "--model",
        "openai:m",
        "--param",
        "api_base=x",
    ]
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    with pytest.warns(UserWarning, match="api_base"):
        assert cli.main(["batch", "in.csv", "-o", "out.csv", "--max-cost", "2", *arguments]) == 130
    assert (seen["work"], seen["schema"]["title"], seen["max_cost"]) == ("Sum up {text}", "T", "2")
    assert seen["command"]["prompt"] == "Sum up {text}"
    assert Path(seen["command"]["input"]).is_absolute()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--chain", "parrot_chain"], "MODULE:NAME"),
        (["--chain", "parrot_chain:chian"], "no `chian`"),
        (["--chain", "parot_chain:chain"], "`parot_chain`"),
        (["--prompt-file", "nowhere.txt"], "nowhere.txt"),
        (["--prompt", "{text}", "--model", "openai:m", "--param", "api_key=k"], "environment"),
        (["--prompt", "{text}", "--model", "openai:m", "--param", "api"], "NAME=VALUE"),
        (["--prompt", "{text}", "--schema", "in.csv"], "not valid JSON"),
        (
            ["--prompt", "{text}", "--schema", "no.json"],
            ": `no.json` cannot be read: No such file or directory.\n",
        ),
        (
            ["--prompt", "{text}"],
            "No model is named: write `--model openai:gpt-4o-mini`, set `MODELWIRE_MODEL`, or give",
        ),
        (
            ["--prompt", "Hello", "--model", "openai:m"],
            "Write `{text}` where that column goes. The input has `id`, `text`.",
        ),
        (["--prompt", "", "--model", "openai:m", "--dry-run"], "The prompt names no column"),
        (
            ["--prompt", "Hello", "--model", "openai:m", "--via", "batch-api"],
            "The prompt names no column",
        ),
        (
            ["--prompt", "{txt}", "--model", "openai:m"],
            "column `txt`, but the input has no such column. Did you mean `text`?\n",
        ),
        (
            ["--prompt", "{review}", "--model", "openai:m"],
            "but the input has no such column. It has `id`, `text`.\n",
        ),
        (
            ["--prompt", '{"a": 1} {text}', "--model", "openai:m"],
            'column `"a"`, but the input has no such column. It has `id`, `text`. '
            "Write a brace that is text as `{{`.\n",
        ),
    ],
)
def test_what_cannot_be_is_said_in_one_line(
    arguments: list[str],
    says: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.delenv("MODELWIRE_MODEL", raising=False)
    assert cli.main(["batch", "in.csv", "-o", "out.csv", *arguments]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1


def test_an_unknown_job_and_one_from_python_are_explained(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from modelwire.jobs import run_job
    from modelwire.runnables import RunnableLambda

    assert cli.main(["jobs", "show", "abc"]) == 2
    assert "no job `abc`" in capsys.readouterr().err
    run_job(RunnableLambda(len), ["a"], output="py.jsonl", quiet=True)
    assert cli.main(["jobs", "retry", "py.jsonl"]) == 2
    assert "from Python" in capsys.readouterr().err


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:
        for inner in (
            (action.choices or {}).values()
            if isinstance(action, argparse._SubParsersAction)
            else ()
        ):
            yield from parsers(inner)


def test_every_option_is_explained_with_its_default() -> None:
    seen = set()
    for parser in parsers(cli._parser()):
        parser.format_help()  # a `%` in a help text that is none of argparse's fails here
        for action in parser._actions:
            if isinstance(
                action, (argparse._SubParsersAction, argparse._HelpAction, argparse._VersionAction)
            ):
                continue
            seen.add(action.dest)
            says = f"{parser.prog} {action.dest}: {action.help}"
            assert action.help, says
            chosen_for_them = (
                not action.required
                and action.nargs != 0
                and "may be given more than once" not in says
            )
            of_a_group = action.dest in ("prompt", "prompt_file", "chain")
            optional = (
                action.dest in ("system", "schema") or action.help is argparse.SUPPRESS
            )  # nothing where they are left out
            assert "default" in says or not chosen_for_them or of_a_group or optional, says
    assert {"max_cost", "engine", "workers", "time_scale", "n_ctx", "dir"} <= seen


@pytest.mark.parametrize("where", ["docs/jobs.md", "modelwire/jobs/options.py"])
def test_every_option_of_a_job_is_explained(where: str) -> None:
    text = (Path(__file__).parents[2] / where).read_text(encoding="utf-8")
    said = JobOptions.__doc__ if where.endswith(".py") else text[text.index("| option |") :]
    assert [name for name in JobOptions.__annotations__ if f"`{name}`" not in str(said)] == []


@pytest.mark.skipif(find_spec("ray") is not None, reason="says what to install without Ray")
@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--engine", "ray"), "modelwire[ray]"),
        (("--workers", "2"), "needs `--engine ray`"),
        (
            ("--via", "batch-api", "--engine", "ray"),
            "`--engine` applies to rows that are called directly",
        ),
    ],
)
def test_ray_is_asked_for_by_its_own_options(
    here: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], says: str
) -> None:
    assert batch(*more) == 2
    assert says in capsys.readouterr().err
    assert not (here / "out.csv.job").exists()


# ---------------------------------------------------------------- progress


def test_elsewhere_than_on_a_terminal_progress_is_lines(capsys: pytest.CaptureFixture[str]) -> None:
    shown = Progress()
    shown.show(Standing())
    standing = Standing(
        rows=1200,
        asked=1200,
        failed=3,
        input_tokens=123_456,
        output_tokens=900,
        cost=Decimal("1.5"),
        elapsed_s=60,
        total=2400,
    )
    shown.show(standing)
    shown.close()
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == "1,200 rows  3 failed  20.0/s  123k + 900 tokens  $1.5000  1:00 left"
    standing.total = 1200  # failed rows that are asked again are counted already
    assert standing.text().endswith("$1.5000")


def test_time_left_goes_by_the_rate_of_this_run() -> None:
    assert Standing(rows=60, asked=10, total=100, elapsed_s=10).left_s() == 40
    assert Standing(rows=60, total=100).left_s() is None
    assert Standing(rows=60, asked=10, elapsed_s=10).left_s() is None


def test_a_refused_run_leaves_the_job_as_it_was(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    batch("-q")
    (here / "in.csv").write_text("id,text\n1,b\n")
    assert batch("-q") == 1
    cli.main(["jobs", "list"])
    assert "complete" in capsys.readouterr().out


def test_quiet_progress_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    shown = Progress(quiet=True)
    shown.show(Standing())
    shown.close()
    assert capsys.readouterr().err == ""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_a_bar_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rich")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")
    shown = Progress()
    assert shown.every_s == progress.BAR_EVERY_S
    shown.show(Standing(rows=5, asked=5, total=10, elapsed_s=1))
    shown.close()
    assert "50%" in terminal.getvalue()
    assert "5 rows" in terminal.getvalue()


def test_the_bar_ends_as_the_job_does_and_guesses_no_share(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rich")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")
    shown, standing = Progress(), Standing(rows=5, asked=5, elapsed_s=1)
    shown.show(standing)
    standing.rows = 7  # calls in flight have ended
    shown.close()
    assert (
        "7 rows" in terminal.getvalue().rpartition("5 rows")[2] and "%" not in terminal.getvalue()
    )


def test_in_a_notebook_one_bar_is_renewed_in_place(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pages: list[Any] = []

    class Cell:
        def update(self, page: Any) -> None:
            pages[-1:] = [page]

    def display(page: Any, *, display_id: bool) -> Cell:
        assert display_id
        pages.append(page)
        return Cell()

    shell = types.SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    page = types.SimpleNamespace(HTML=str, display=display)
    monkeypatch.setitem(sys.modules, "IPython.display", page)
    shown = Progress()
    assert shown.every_s == progress.BAR_EVERY_S
    standing = Standing(rows=5, asked=5, total=10, elapsed_s=1, waiting="<b>")
    shown.show(standing)
    assert len(pages) == 1
    assert 'value="0.5000"' in pages[0]
    assert "5 rows" in pages[0]
    assert "<b>" not in pages[0]
    standing.rows = 10
    shown.close()
    assert len(pages) == 1
    assert 'value="1.0000"' in pages[0]
    bar = progress.notebook_bar()
    assert bar is not None
    bar({"done": 3, "submitted": 4, "ended": 1, "parts": 2})
    assert len(pages) == 2
    assert 'value="0.7500"' in pages[1]
    assert "3 of 4 rows, 1 of 2 batches ended" in pages[1]
    assert capsys.readouterr().err == ""
    Progress(quiet=True).show(standing)
    del shell.kernel  # IPython in a terminal
    assert progress.notebook_bar() is None
    assert len(pages) == 2


def test_a_job_shows_how_it_stands_while_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import asyncio

    from modelwire.jobs import run_job
    from modelwire.runnables import RunnableLambda

    async def slow(row: Any) -> str:
        await asyncio.sleep(0.05)
        return "done"

    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.02)
    monkeypatch.setattr(Progress, "every_s", 0.02, raising=False)
    run_job(RunnableLambda(slow), ["a", "b", "c"], output=tmp_path / "o.jsonl", max_concurrency=1)
    assert " rows " in capsys.readouterr().err


def test_records_are_json_that_anybody_can_read(here: Path) -> None:
    batch("-q")
    with closing(sqlite3.connect(here / "out.csv.job" / "job.sqlite")) as store:
        (record,) = store.execute("SELECT record FROM rows ORDER BY id LIMIT 1").fetchone()
    assert json.loads(record)["answer"] == "Say a"


# ---------------------------------------------------------------- what used to be a traceback


@pytest.mark.parametrize("amount", ["nan", "-1", "0", "inf", "sNaN", "1e"])
def test_a_max_cost_that_is_no_amount_is_refused(
    capsys: pytest.CaptureFixture[str], amount: str
) -> None:
    with pytest.raises(SystemExit) as left:
        batch(f"--max-cost={amount}")
    assert left.value.code == 2
    assert "`max_cost` must be an amount in USD" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--finish-by", "yesterday", "is not a time: write"),
        ("--finish-by", "2020-01-01", "is past"),
        ("--limit", "0", "a whole number of at least 1, not '0'"),
        ("--sample", "x", "a whole number of at least 1, not 'x'"),
        ("--max-concurrency", "-3", "a whole number of at least 1"),
        ("--workers", "1.5", "a whole number of at least 1"),
    ],
)
def test_a_value_that_an_option_cannot_have_is_wrong_usage(
    capsys: pytest.CaptureFixture[str], option: str, value: str, says: str
) -> None:
    with pytest.raises(SystemExit) as left:
        batch(f"{option}={value}")
    said = capsys.readouterr().err
    assert left.value.code == 2 and f"argument {option}: " in said and says in said


@pytest.mark.parametrize("command", ["wait", "retry"])
def test_a_job_that_a_command_cannot_do_says_what_does(
    here: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    batch("-q")
    if command == "wait":
        assert cli.main(["jobs", "wait", "out.csv"]) == 2
        assert "is not a batch job: run its command again" in capsys.readouterr().err
    about = json.loads((here / "out.csv.job" / "job.json").read_text())
    (here / "out.csv.job" / "job.json").write_text(
        json.dumps({**about, "batch": {}, "command": None})
    )
    assert cli.main(["jobs", command, "out.csv"]) == 2
    assert "was submitted from Python: `BatchJob.load('out.csv.job'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name", ["model", "model_provider", "configurable_fields", "config_prefix", "config_file"]
)
def test_what_names_the_model_is_no_parameter_of_it(
    capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert (
        cli.main(
            [
                "batch",
                "in.csv",
                "--prompt",
                "{text}",
                "--model",
                "openai:m",
                "--param",
                f"{name}=x",
                "-o",
                "out.csv",
            ]
        )
        == 2
    )
    said = capsys.readouterr().err
    assert f"`--param {name}=...`" in said and said.count("\n") == 1


def test_a_dry_run_shows_the_sample(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "in.csv").write_text("id,text\n" + "".join(f"{n},t{n}\n" for n in range(1000)))
    shown = []
    for seed in ("1", "1", "2"):
        assert batch("--dry-run", "--sample", "5", "--seed", seed) == 0
        shown.append(capsys.readouterr().out)
        assert "5 rows, about" in shown[-1] and "--- line" in shown[-1]
    assert shown[0] == shown[1] != shown[2]
    assert batch("--dry-run", "--sample", "5", "--limit", "2") == 0
    assert "\n2 rows, about" in capsys.readouterr().out


def test_a_retry_from_another_folder_finds_the_jobs_models(
    here: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.delenv("MODELWIRE_CONFIG", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    with ProviderServer(default="fine") as server:
        (here / "modelwire.toml").write_text(
            f'[models.mine]\nprovider = "openai"\nmodel = "m"\nbase_url = "{server.base_url}"\n'
        )
        arguments = ["--prompt", "{text}", "--model", "mine", "-o", "out.csv", "-q"]
        assert cli.main(["batch", "in.csv", *arguments]) == 2
        assert server.requests == []
        assert cli.main(["config", "trust"]) == 0
        assert cli.main(["batch", "in.csv", *arguments]) == 0
        (here / "in.csv").write_text('id,text\n1,a\n2,"b"\n3,"c"\n')
        elsewhere = tmp_path_factory.mktemp("elsewhere")
        monkeypatch.chdir(elsewhere)
        assert cli.main(["jobs", "retry", str(here / "out.csv.job"), "-q"]) == 0
        assert len(server.requests) == 3
        (elsewhere / "modelwire.toml").write_text(
            '[models.other]\nprovider = "openai"\nmodel = "m"\n'
        )
        assert cli.main(["jobs", "retry", str(here / "out.csv.job"), "-q"]) == 0


def program(shell: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command as `$MODELWIRE` in a shell."""
    command = f"{shlex.quote(sys.executable)} -m modelwire.cli"
    variables = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(folder), *sys.path]),
        **environment,
    }
    return subprocess.run(
        ["bash", "-c", shell.replace("$MODELWIRE", command)],
        cwd=folder,
        env=variables,
        text=True,
        capture_output=True,
        check=False,
    )


def test_a_closed_stderr_changes_nothing(here: Path) -> None:
    ended = program("$MODELWIRE batch in.csv --chain parrot_chain:chain -o out.csv 2>&-", here)
    assert (ended.returncode, ended.stdout) == (0, "out.csv\n")
    assert program("$MODELWIRE jobs show nowhere 2>&-", here).stdout == ""


def test_a_terminal_that_lacks_a_letter_is_no_failure(here: Path) -> None:
    ended = program(
        "$MODELWIRE batch in.csv --chain parrot_chain:chain -o wi\u0142o.csv",
        here,
        PYTHONIOENCODING="cp1252",
    )
    assert (ended.returncode, ended.stdout) == (0, "wi\\u0142o.csv\n")
    assert (here / "wi\u0142o.csv").exists()


def test_a_reader_that_has_gone_is_no_traceback(here: Path) -> None:
    batch("-q")
    ended = program("set -o pipefail; $MODELWIRE jobs list | true; echo $?", here)
    assert ended.stderr == ""
    ended = program(
        "$MODELWIRE batch in.csv --chain parrot_chain:chain -o other.csv 2>&1 | true", here
    )
    assert ended.stderr == "" and (here / "other.csv").exists()


def test_a_job_is_removed_when_the_user_agrees_and_its_output_stays(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    batch("-q")
    folder, output = here / "out.csv.job", (here / "out.csv").read_bytes()
    monkeypatch.setattr("sys.stdin", None)
    assert cli.main(["jobs", "rm", "out.csv"]) == 2
    assert "Nothing was deleted." in capsys.readouterr().err and folder.exists()
    running = JobFolder(folder)
    running.claim()
    assert cli.main(["jobs", "rm", "out.csv", "--yes"]) == 1
    assert "is being worked on by process" in capsys.readouterr().err and folder.exists()
    running.release()
    assert cli.main(["jobs", "rm", "out.csv", "--yes"]) == 0
    assert not folder.exists() and (here / "out.csv").read_bytes() == output
    assert cli.main(["jobs", "rm", "out.csv", "--yes"]) == 2


def test_a_damaged_job_is_removed_too(here: Path) -> None:
    batch("-q")
    (here / "out.csv.job" / "job.sqlite").write_bytes(b"no store")
    assert cli.main(["jobs", "rm", "out.csv", "--yes"]) == 0
    assert not (here / "out.csv.job").exists()
