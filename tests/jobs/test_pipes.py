from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from shutil import rmtree

import pytest

from modelwire.cli import main

CHAIN = """
from modelwire.runnables import RunnableLambda
def answer(row):
    open("asked", "a").write(row["a"])
    return row["a"].upper()
chain = RunnableLambda(answer)
"""


def batch(
    folder: Path, given: str, *options: str, chain: str = CHAIN
) -> subprocess.CompletedProcess[str]:
    (folder / "mine.py").write_text(chain)
    (folder / "tmp").mkdir(exist_ok=True)
    command = [
        sys.executable,
        "-m",
        "modelwire.cli",
        "batch",
        "-",
        "--chain",
        "mine:chain",
        *options,
    ]
    root = str(Path(__file__).parents[2])
    env = {**os.environ, "TMPDIR": str(folder / "tmp"), "PYTHONPATH": root}
    return subprocess.run(
        command, input=given, text=True, capture_output=True, cwd=folder, env=env, check=False
    )


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_a_table_goes_through_from_standard_input_to_standard_output(
    tmp_path: Path, form: str
) -> None:
    given = "a\nx\ny\n" if form == "csv" else "".join(json.dumps({"a": a}) + "\n" for a in "xy")
    done = batch(tmp_path, given, "--output", "-", "--format", form)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    if form == "csv":
        assert lines[0].startswith("a,answer,error,finish_reason")
        assert [line.split(",")[:2] for line in lines[1:]] == [["x", "X"], ["y", "Y"]]
    else:
        assert [(row["a"], row["answer"]) for row in map(json.loads, lines)] == [
            ("x", "X"),
            ("y", "Y"),
        ]
    assert "2 rows" in done.stderr
    assert list((tmp_path / "tmp").iterdir()) == []


def test_standard_input_goes_on_and_takes_more_rows(tmp_path: Path) -> None:
    for given in ("a\nx\n", "a\nx\ny\n"):
        done = batch(tmp_path, given, "--output", "o.jsonl", "--format", "csv")
        assert (done.returncode, done.stdout.strip()) == (0, "o.jsonl"), done.stderr
    assert (tmp_path / "asked").read_text() == "xy"
    assert batch(tmp_path, "a\nz\n", "--output", "o.jsonl", "--format", "csv").returncode == 1


@pytest.mark.long
def test_what_a_stopped_job_has_paid_for_is_kept_though_its_table_was_for_standard_output(
    tmp_path: Path,
) -> None:
    broke = CHAIN.replace(
        "    return", "    if row['a'] == 'y': raise QuotaExhausted('Nothing left.')\n    return"
    )
    broke = f"from modelwire.errors import QuotaExhausted\n{broke}"
    for given, kept in (("a\nx\ny\n", True), ("a\ny\n", False)):
        done = batch(
            tmp_path,
            given,
            "--output",
            "-",
            "--format",
            "csv",
            "--max-concurrency",
            "1",
            chain=broke,
        )
        assert done.returncode == 1 and done.stdout == "" and "Nothing left." in done.stderr
        assert ("What is done is kept: `modelwire jobs write " in done.stderr) == kept
        (folder,) = (tmp_path / "tmp").iterdir() if kept else (None,)
        if folder is None:
            continue
        assert main(["jobs", "write", str(folder / "stdout.csv.job")]) == 0
        assert (folder / "stdout.csv").read_text().splitlines()[1].startswith("x,X,")
        rmtree(folder)
    assert not list((tmp_path / "tmp").iterdir())


def test_a_job_for_standard_output_offers_no_retry_of_its_failed_rows(tmp_path: Path) -> None:
    done = batch(tmp_path, '{"a":"x"}\nno json\n', "--output", "-")
    assert "1 failed" in done.stderr
    assert "jobs retry" not in done.stderr and "`--output FILE`" in done.stderr
    done = batch(tmp_path, '{"a":"x"}\nno json\n', "--output", "o.jsonl")
    assert "jobs retry" in done.stderr


def test_a_batch_api_wants_files(tmp_path: Path) -> None:
    done = batch(tmp_path, "", "--output", "-", "--via", "batch-api")
    assert done.returncode == 2
    assert "needs files" in done.stderr


def shell(folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    (folder / "mine.py").write_text(CHAIN)
    (folder / "tmp").mkdir(exist_ok=True)
    root = str(Path(__file__).parents[2])
    env = {**os.environ, "TMPDIR": str(folder / "tmp"), "PYTHONPATH": root}
    command = command.replace("modelwire batch", f"{sys.executable} -m modelwire.cli batch")
    return subprocess.run(
        ["bash", "-c", command], text=True, capture_output=True, cwd=folder, env=env, check=False
    )


@pytest.mark.parametrize("sink", [" > /dev/full", " | true"])
def test_answers_that_standard_output_does_not_take_are_kept(tmp_path: Path, sink: str) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("only Linux has /dev/full")
    (tmp_path / "in.csv").write_text("a\n" + "".join(f"{'x' * 2000}{n}\n" for n in range(200)))
    done = shell(
        tmp_path,
        f"sleep 0; modelwire batch in.csv --chain mine:chain --output -{sink}; exit $PIPESTATUS",
    )
    assert "What is done is kept: `modelwire jobs write " in done.stderr
    (folder,) = (tmp_path / "tmp").iterdir()
    assert main(["jobs", "write", str(folder / "stdout.jsonl.job")]) == 0
    assert len((folder / "stdout.jsonl").read_text().splitlines()) == 200


WAITS = CHAIN.replace(
    "    return",
    "    import os, time\n    while not os.path.exists('go'): time.sleep(0.01)\n    return",
)


def test_a_second_command_leaves_the_input_of_the_first_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(WAITS)
    root = str(Path(__file__).parents[2])
    command = [sys.executable, "-m", "modelwire.cli", "batch", "-", "--chain", "mine:chain"]
    command += ["--output", "o.jsonl", "--format", "csv", "--max-concurrency", "1"]
    given = "a\n" + "".join(f"{n}\n" for n in range(20))
    first = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": root},
    )
    assert first.stdin is not None
    first.stdin.write(given)
    first.stdin.close()
    first.stdin = None
    while not (tmp_path / "asked").exists():
        assert first.poll() is None
        time.sleep(0.01)
    second = batch(tmp_path, "a\nz\n", "--output", "o.jsonl", "--format", "csv", chain=WAITS)
    assert second.returncode == 1
    assert "Another process reads `o.jsonl.stdin.csv`" in second.stderr
    assert (tmp_path / "o.jsonl.stdin.csv").read_text() == given
    (tmp_path / "go").touch()
    _, errors = first.communicate(timeout=60)
    assert first.returncode == 0, errors
    assert len((tmp_path / "o.jsonl").read_text().splitlines()) == 20
