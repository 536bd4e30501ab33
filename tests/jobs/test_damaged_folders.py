"""What happened to a job's files outside of it is told as `DiskError`, and never taken for a new job."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Any

import pytest

from modelwire import cli
from modelwire.errors import DiskError, JobChanged, ModelwireError
from modelwire.jobs import JobResult, run_job
from modelwire.jobs.row_records import stored_records
from modelwire.jobs.store import STORE_NAME
from modelwire.runnables import RunnableLambda

ROWS = [{"id": n, "text": "x" * 300} for n in range(60)]


def job(output: Path, rows: Any = ROWS, **options: Any) -> JobResult:
    return run_job(
        RunnableLambda(lambda row: f"to {row['id']}"), rows, output=output, quiet=True, **options
    )


@pytest.mark.parametrize("is_empty", [False, True])
def test_a_store_that_is_gone_or_empty_is_no_new_job(tmp_path: Path, *, is_empty: bool) -> None:
    first = job(tmp_path / "o.jsonl")
    store = first.job_dir / STORE_NAME
    store.unlink()
    if is_empty:
        store.touch()
    says = "is empty" if is_empty else "is gone"
    with pytest.raises(DiskError, match=f"{says}, .* Put a copy of it back"):
        job(tmp_path / "o.jsonl")
    assert store.exists() == is_empty


@pytest.mark.parametrize("seed", range(8))
def test_a_damaged_page_is_a_disk_error_at_every_door(tmp_path: Path, seed: int) -> None:
    folder = job(tmp_path / "o.jsonl").job_dir
    store = folder / STORE_NAME
    data = bytearray(store.read_bytes())
    rng = Random(seed)
    page = rng.randrange(1, len(data) // 4096)
    data[page * 4096 : page * 4096 + 4096] = rng.randbytes(4096)
    store.write_bytes(data)
    (tmp_path / "o.jsonl").unlink()
    for command in (
        ["show", str(folder)],
        ["list", "--dir", str(tmp_path)],
        ["write", str(folder)],
    ):
        assert cli.main(["jobs", *command]) in (0, 1, 2)
    try:
        again = job(tmp_path / "o.jsonl")
    except ModelwireError:
        return
    assert len(list(again)) == len(ROWS)


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks_warns_and_runs_the_job(
    tmp_path: Path,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    fcntl = pytest.importorskip("fcntl")

    def refuse(fd: int, operation: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert job(tmp_path / "o.jsonl").complete
    assert "The file system has no locks" in caplog.text


def test_a_lock_that_fails_for_another_reason_is_a_disk_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fcntl = pytest.importorskip("fcntl")

    def refuse(fd: int, operation: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(DiskError, match="Input/output error"):
        job(tmp_path / "o.jsonl")


KILLED = """
import os, sys
from modelwire.jobs import run_job
from modelwire.runnables import RunnableLambda

def answer(row):
    if row["id"] == 40:
        os._exit(9)
    return "yes"

rows = [{"id": n} for n in range(60)]
run_job(RunnableLambda(answer), rows, output=sys.argv[1], quiet=True, max_concurrency=1)
"""


def test_a_killed_job_in_a_folder_that_is_read_only_now_shows_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = str(Path(__file__).parents[2])
    subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "o.jsonl")],
        env={**os.environ, "PYTHONPATH": root},
        check=False,
    )
    folder = tmp_path / "o.jsonl.job"
    assert (folder / f"{STORE_NAME}-wal").stat().st_size > 0
    expected = len(list(stored_records(Path(shutil.copytree(folder, tmp_path / "copy")))))
    assert expected > 30
    writable = os.access
    monkeypatch.setattr(
        "os.access",
        lambda path, mode: writable(path, mode) and not (mode & os.W_OK and folder == Path(path)),
    )
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert len(list(stored_records(folder))) == expected
    cli.main(["jobs", "show", str(folder)])
    assert f"{expected} " in capsys.readouterr().out
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.long
@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_an_input_that_becomes_shorter_while_it_is_read_ends_the_job(
    tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"in{suffix}"
    header = "id\n" if suffix == ".csv" else ""
    line = "{}\n" if suffix == ".csv" else '{{"id": {}}}\n'
    path.write_text(header + "".join(line.format(n) for n in range(50_000)))

    def answer(row: Any) -> str:
        if int(row["id"]) == 3:
            os.truncate(path, 2000)
        return "yes"

    with pytest.raises(JobChanged, match="became shorter while it was read"):
        run_job(
            RunnableLambda(answer), path, output=tmp_path / "o.jsonl", quiet=True, max_concurrency=2
        )
    assert not (tmp_path / "o.jsonl").exists()
