"""A table through a Batch API, from the command line."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from modelwire import cli
from modelwire.errors import JobBusy
from modelwire.jobs import BatchJob, JobFolder
from modelwire.jobs.batch_api import job as job_module
from modelwire.testing import Answer, BatchPlan, ProviderServer

Serve = Callable[..., ProviderServer]


@pytest.fixture
def server(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ProviderServer:
    server = serve(batches=[BatchPlan(rows={1: "missing"}), BatchPlan()])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv("OPENAI_BASE_URL", server.base_url_for("openai"))
    monkeypatch.setattr(job_module, "POLLS_S", (0.01,))
    (tmp_path / "in.csv").write_text("id,text\n1,a\n2,b\n3,c\n")
    return server


def batch(*more: str) -> int:
    given = [
        "batch",
        "in.csv",
        "--prompt",
        "Say {text}",
        "--model",
        "openai:gpt-test",
        "-o",
        "out.csv",
    ]
    return cli.main([*given, "--via", "batch-api", *more])


def answers() -> list[tuple[str, str]]:
    with Path("out.csv").open(newline="") as file:
        return [(row["id"], row["answer"]) for row in csv.DictReader(file)]


def test_submitted_and_left_then_waited_for_then_what_is_missing_asked_again(
    server: ProviderServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert batch("--detach") == 0
    said = capsys.readouterr()
    name = said.out.strip()
    assert f"modelwire jobs wait {name}" in said.err and "batch_1" in said.err
    assert not Path("out.csv").exists()
    assert cli.main(["jobs", "list"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[1:4] == ["submitted", "3", "0"]
    assert cli.main(["jobs", "show", name]) == 0
    assert "batch_1, 3 rows, created\nrows     3 so far" in capsys.readouterr().out
    assert cli.main(["jobs", "wait", name]) == 0
    said = capsys.readouterr()
    assert said.out.endswith("out.csv\n") and "1 without an answer" in said.err
    assert answers() == [("1", "Say a"), ("2", ""), ("3", "Say c")]
    assert cli.main(["jobs", "show", name]) == 0
    assert "1 failed" in capsys.readouterr().out
    assert cli.main(["jobs", "retry", name, "--quiet"]) == 0
    assert answers() == [("1", "Say a"), ("2", "Say b"), ("3", "Say c")]
    assert [len(made.rows) for made in server.batches.made] == [3, 1]


def test_without_detach_the_table_is_there_at_the_end(
    server: ProviderServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert batch() == 0
    said = capsys.readouterr().err
    assert "3 of 3 rows, 1 of 1 batches ended\n" in said and " left\n" in said
    assert len(answers()) == 3


@pytest.mark.parametrize("more", [("--max-cost", "1"), ("--sample", "2"), ("--formula-guard",)])
def test_what_only_live_rows_know_is_refused(
    server: ProviderServer, capsys: pytest.CaptureFixture[str], more: tuple[str, ...]
) -> None:
    assert batch(*more) == 2
    assert "not to a batch" in capsys.readouterr().err
    assert not server.batches.made


def test_the_input_is_not_written_over(
    server: ProviderServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert batch("-o", "in.csv") == 2
    assert "is the input" in capsys.readouterr().err
    assert not server.batches.made


@pytest.mark.parametrize("more", [(), ("--detach",)])
def test_the_output_of_another_job_is_refused_before_anything_is_submitted(
    server: ProviderServer, capsys: pytest.CaptureFixture[str], more: tuple[str, ...]
) -> None:
    assert batch("--via", "live", "--job-dir", "live.job", "-q") == 0
    before = Path("out.csv").read_bytes()
    capsys.readouterr()
    assert batch("--job-dir", "other.job", *more) == 1
    assert "`out.csv` is the output of the job in `" in capsys.readouterr().err
    assert not server.batches.made and not Path("other.job").exists()
    assert batch("-o", "other.csv", "--job-dir", "other.job") == 0
    job = BatchJob.load("other.job")
    with pytest.raises(JobBusy, match=r"out\.csv` is the output of the job in `.*live\.job"):
        job.write("out.csv")
    assert Path("out.csv").read_bytes() == before
    assert (
        batch("--via", "live", "-o", "other.csv", "--job-dir", "third.job", "-q") == 1
    )  # nor the other way round
    assert "`other.csv` is the output of the job in `" in capsys.readouterr().err
    name = JobFolder(Path("live.job")).id
    assert cli.main(["jobs", "write", name, "--output", "other.csv"]) == 1
    assert "`other.csv` is the output of the job in `" in capsys.readouterr().err


def test_detach_is_for_batches(server: ProviderServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert batch("--via", "live", "--detach") == 2
    assert "needs `--via batch-api`" in capsys.readouterr().err


def test_what_a_retry_needs_is_said(
    server: ProviderServer, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("in.csv").write_text('id,text\n1,a\n2,b\n3,c,d\n4,"e\n')
    assert batch() == 0  # the second is missing, the third and the fourth cannot be read
    said = capsys.readouterr().err
    name = JobFolder(Path("out.csv.job")).id
    assert f"`modelwire jobs retry {name}` calls the model for them again" in said
    assert "2 of them were not submitted: correct these rows in the input.\n" in said
    assert cli.main(["jobs", "retry", name, "-q"]) == 0
    assert cli.main(["jobs", "retry", name]) == 0  # nothing is left that it could ask
    assert "No row is left to submit again." in capsys.readouterr().err
    assert answers() == [("1", "Say a"), ("2", "Say b"), ("", ""), ("", "")]


BROKEN = 'id,text\n1,a\n2,"b\n3,c\n4,long\n'


@pytest.mark.parametrize("again", ["retry", "the command"])
def test_rows_that_could_not_be_read_are_asked_once_they_are_put_right(
    server: ProviderServer, capsys: pytest.CaptureFixture[str], again: str
) -> None:
    server.batches.set_plans(BatchPlan())
    Path("in.csv").write_text(BROKEN)
    assert batch() == 0
    said = capsys.readouterr().err
    assert "calls the model for them again" in said and "A quote is opened" in said
    name = JobFolder(Path("out.csv.job")).id

    def once_more() -> int:
        if again == "retry":
            return cli.main(["jobs", "retry", name])
        return batch("--retry-failed")

    assert once_more() == 0
    assert "No row is left to submit again" in capsys.readouterr().err  # it is as it was
    Path("in.csv").write_text(BROKEN.replace('"b', "b").replace("1,a", "1,x"))
    assert once_more() == 1
    assert "Row 1, line 2 of the input, is not what it was" in capsys.readouterr().err
    Path("in.csv").write_text(BROKEN.replace('"b', "b") + "5,e\n")
    assert once_more() == 1
    assert "Row 5, line 6" in capsys.readouterr().err
    Path("in.csv").write_text(BROKEN.replace('"b', "b"))
    assert once_more() == 0
    assert answers() == [("1", "Say a"), ("2", "Say b"), ("3", "Say c"), ("4", "Say long")]
    assert [len(made.rows) for made in server.batches.made] == [3, 1]
    assert batch() == 0  # and the job is of that input now
    assert once_more() == 0
    assert [len(made.rows) for made in server.batches.made] == [3, 1]


def test_an_empty_cell_is_empty_in_the_prompt_as_in_a_live_job(
    server: ProviderServer, tmp_path: Path
) -> None:
    (tmp_path / "in.jsonl").write_text('{"text": "a"}\n{"text": null}\n')
    given = [
        "batch",
        "in.jsonl",
        "--prompt",
        "Say {text}.",
        "--model",
        "openai:gpt-test",
        "-o",
        "out.jsonl",
        "-q",
    ]
    assert cli.main([*given, "--via", "batch-api"]) == 0
    asked = [body["messages"][-1]["content"] for _, _, body in server.batches.made[0].rows]
    assert asked == ["Say a.", "Say ."]


def test_answers_that_were_cut_are_counted(
    serve: Serve, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        server = serve(default=Answer("One, two", stop="length"), batches=BatchPlan())
        patch.chdir(tmp_path)
        patch.setenv("OPENAI_API_KEY", "k")
        patch.setenv("OPENAI_BASE_URL", server.base_url_for("openai"))
        patch.setattr(job_module, "POLLS_S", (0.01,))
        Path("in.csv").write_text("id,text\n1,a\n2,b\n")
        assert batch() == 0
        assert "2 rows, 2 answers cut by max_tokens" in capsys.readouterr().err


def test_a_missing_sdk_leaves_no_job_in_the_way(
    server: ProviderServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    assert batch("--detach") == 2
    assert "pip install 'modelwire[batch]'" in capsys.readouterr().err
    assert not Path("out.csv.job").exists()
    assert batch("--via", "live") == 0  # the last `--via` holds
    assert len(answers()) == 3


def test_answers_that_do_not_fit_the_schema_are_counted_and_asked_again(
    serve: Serve, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    schema = {"title": "T", "type": "object", "properties": {"n": {"type": "integer"}}}
    schema |= {"required": ["n"], "additionalProperties": False}
    with pytest.MonkeyPatch.context() as patch:
        server = serve([Answer('{"n": 1}')], default=Answer('{"m": 2}'), batches=BatchPlan())
        patch.chdir(tmp_path)
        patch.setenv("OPENAI_API_KEY", "k")
        patch.setenv("OPENAI_BASE_URL", server.base_url_for("openai"))
        Path("in.csv").write_text("id,text\n1,a\n2,b\n")
        Path("schema.json").write_text(json.dumps(schema))
        assert batch("--schema", "schema.json") == 0
        said = capsys.readouterr().err
        assert "2 rows, 1 with an answer that cannot be used" in said and "jobs retry" in said
        server.say(Answer('{"n": 3}'))
        assert cli.main(["jobs", "retry", "out.csv.job"]) == 0
        assert [len(made.rows) for made in server.batches.made] == [2, 1]
        assert "cannot be used" not in capsys.readouterr().err


def test_a_batch_of_which_no_answer_fits_the_schema_fails(
    serve: Serve, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        server = serve(default=Answer("no JSON"), batches=BatchPlan())
        patch.chdir(tmp_path)
        patch.setenv("OPENAI_API_KEY", "k")
        patch.setenv("OPENAI_BASE_URL", server.base_url_for("openai"))
        Path("in.csv").write_text("id,text\n1,a\n")
        Path("schema.json").write_text('{"title": "T", "type": "object", "properties": {}}')
        assert batch("--schema", "schema.json") == 1
