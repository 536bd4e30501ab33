"""The public doors of jobs raise errors of ours, whatever call of the system fails and whatever a file holds.

A failure is injected into the nth call that modelwire itself makes, for each n of the run.
"""

from __future__ import annotations

import builtins
import errno
import os
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.thinned import thinned

from modelwire import cli
from modelwire.errors import InvalidConfig, ModelwireError
from modelwire.jobs import BatchJob, run_job, submit_batch
from modelwire.jobs.job_result import JobResult
from modelwire.jobs.store import STORE_NAME
from modelwire.prompts import ChatPromptTemplate
from modelwire.runnables import RunnableLambda
from modelwire.testing import BatchPlan, ProviderServer

PACKAGE = str(Path(cli.__file__).parent)
ROWS = [{"id": n} for n in range(12)]
PROMPT = ChatPromptTemplate.from_template("say {id}")


class FailAt:
    """Raises an error at the nth counted call, and at no other."""

    def __init__(self, nth: int, error: Callable[[], Exception]) -> None:
        self.nth, self.error, self.calls = nth, error, 0

    def count(self) -> None:
        self.calls += 1
        if self.calls == self.nth:
            raise self.error()


def is_called_by_us() -> bool:
    """Return whether the caller of the patched function is a module of the package."""
    return sys._getframe(2).f_code.co_filename.startswith(PACKAGE)


def patched(owner: Any, name: str) -> Callable[[pytest.MonkeyPatch, FailAt], None]:
    def patch(monkeypatch: pytest.MonkeyPatch, fail_at: FailAt) -> None:
        original = getattr(owner, name)

        def called(*args: Any, **kwargs: Any) -> Any:
            if is_called_by_us():
                fail_at.count()
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, called)

    return patch


def patched_sqlite(monkeypatch: pytest.MonkeyPatch, fail_at: FailAt) -> None:
    class Connection(sqlite3.Connection):
        def execute(self, *args: Any) -> Any:
            fail_at.count()
            return super().execute(*args)

        def executemany(self, *args: Any) -> Any:
            fail_at.count()
            return super().executemany(*args)

    connect = sqlite3.connect

    def connected(*args: Any, **kwargs: Any) -> Any:
        fail_at.count()
        return connect(*args, factory=Connection, **kwargs)

    monkeypatch.setattr(sqlite3, "connect", connected)


def no_space() -> Exception:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def io_error() -> Exception:
    return OSError(errno.EIO, os.strerror(errno.EIO))


def locked() -> Exception:
    return sqlite3.OperationalError("database is locked")


POINTS = {
    "os.open": (patched(os, "open"), io_error),
    "os.write": (patched(os, "write"), no_space),
    "os.fsync": (patched(os, "fsync"), io_error),
    "os.replace": (patched(os, "replace"), no_space),
    "open": (patched(builtins, "open"), no_space),
    "Path.open": (patched(Path, "open"), no_space),
    "Path.mkdir": (patched(Path, "mkdir"), no_space),
    "Path.read_bytes": (patched(Path, "read_bytes"), io_error),
    "Path.write_bytes": (patched(Path, "write_bytes"), no_space),
    "Path.unlink": (patched(Path, "unlink"), io_error),
    "Path.stat": (patched(Path, "stat"), io_error),
    "sqlite3": (patched_sqlite, locked),
}


def file_job(folder: Path) -> JobResult:
    chain = RunnableLambda(lambda row: f"to {row['id']}")
    return run_job(chain, ROWS, output=folder / "o.jsonl", quiet=True)


def read_file_job(folder: Path) -> None:
    result = file_job(folder)
    list(result)
    result.numbers()


@contextmanager
def a_server() -> Iterator[ProviderServer]:
    with ProviderServer(batches=BatchPlan(polls=1)) as server:
        yield server


def batch_job(folder: Path) -> None:
    with a_server() as server:
        job = (PROMPT | server.model()).submit_batch(ROWS, dir=folder / "b.job")
        job.wait(poll=0.001)
        list(job.results())
        job.write(folder / "b.jsonl")


def stored_batch_job(folder: Path) -> None:
    job = BatchJob.load(folder / "b.job")
    job.status(look=False)
    list(job.results())
    job.cost()
    job.write(folder / "again.jsonl")


def shell(*arguments: str) -> Callable[[Path], None]:
    def run(folder: Path) -> None:
        code = cli.main([argument.format(folder=folder) for argument in arguments])
        assert code in (0, 1, 2)

    return run


DOORS: dict[str, Callable[[Path], object]] = {
    "run_job": read_file_job,
    "submit_batch": batch_job,
    "load": stored_batch_job,
    "list": shell("jobs", "list", "--dir", "{folder}"),
    "show": shell("jobs", "show", "{folder}/o.jsonl.job"),
    "write": shell("jobs", "write", "{folder}/o.jsonl.job"),
    "show batch": shell("jobs", "show", "{folder}/b.job"),
    "write batch": shell("jobs", "write", "{folder}/b.job", "--output", "{folder}/c.jsonl"),
}
BEGUN_ANEW = {"run_job", "submit_batch"}


def prepare(door: str, folder: Path) -> None:
    if door not in BEGUN_ANEW:
        file_job(folder)
        batch_job(folder)


@thinned(one_in=4, door=DOORS.keys(), point=POINTS.keys())
def test_a_call_of_the_system_that_fails_is_an_error_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, door: str, point: str
) -> None:
    patch, error = POINTS[point]
    nth, calls = 0, 1
    # Every call of short runs; of long ones, such as those of a batch, about twenty spread over all.
    step = 1
    while nth < calls:
        nth += step
        folder = tmp_path / str(nth)
        folder.mkdir()
        prepare(door, folder)
        fail_at = FailAt(nth, error)
        with monkeypatch.context() as patches:
            patch(patches, fail_at)
            try:
                DOORS[door](folder)
            except ModelwireError:
                pass
        calls = max(calls, fail_at.calls)
        step = max(1, calls // 12)
        assert "Traceback" not in capsys.readouterr().err


DAMAGE = {
    "empty": b"",
    "no JSON": b"\xff\xfe\x00garbage",
    "deep": b"[" * 100_000,
    "a list": b"[]",
    "an object": b"{}",
    "long number": b'{"version": ' + b"9" * 10_000 + b"}",
    "half a character": b'{"id": "\\ud83d"}',
}
FILES = ["o.jsonl.job/job.json", "o.jsonl.job/summary.json", f"o.jsonl.job/{STORE_NAME}"] + [
    f"b.job/{name}" for name in ("job.json", STORE_NAME)
]


@thinned(file=FILES, damage=DAMAGE.keys())
def test_a_damaged_file_is_an_error_of_ours(
    tmp_path: Path, capsys: Any, file: str, damage: str
) -> None:
    prepare("show", tmp_path)
    (tmp_path / file).write_bytes(DAMAGE[damage])
    for door, act in DOORS.items():
        if door == "submit_batch":
            continue
        try:
            act(tmp_path)
        except ModelwireError:
            pass
        assert "Traceback" not in capsys.readouterr().err


def test_certificates_that_cannot_be_read_are_an_error_of_ours_in_a_batch_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "gone.pem"))
    with ProviderServer() as server, pytest.raises(InvalidConfig, match=r"names .*gone\.pem"):
        submit_batch(server.model("openai"), ["a"], dir=tmp_path / "b.job")
    assert server.requests == []
