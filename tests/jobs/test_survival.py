"""Jobs in processes of their own, killed and stopped in every way there is."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from support.job_program import WINDOW

from modelwire.errors import DiskError
from modelwire.jobs import folder, run_job
from modelwire.jobs.runner import open_job
from modelwire.runnables import RunnableLambda
from modelwire.testing import Answer, ParrotFakeChatModel, ProviderServer, faults

PROGRAM = Path(__file__).parents[1] / "support" / "job_program.py"
PATIENCE_S = 60.0


class Scene:
    """An input of `rows` rows, and the program that asks about them."""

    def __init__(self, folder: Path, rows: int, wait_ms: float = 5) -> None:
        self.rows = rows
        self.input, self.output, self.asked = (
            folder / name for name in ("in.csv", "out.jsonl", "asked")
        )
        self.input.write_text("id,text\n" + "".join(f"{n},t{n}\n" for n in range(rows)))
        self.asked.touch()
        self.wait_ms = wait_ms

    def start(self) -> subprocess.Popen[str]:
        command = [
            sys.executable,
            str(PROGRAM),
            str(self.input),
            str(self.output),
            str(self.asked),
            str(self.wait_ms),
        ]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def asked_bytes(self) -> int:
        return self.asked.stat().st_size

    def wait_for(self, size_bytes: int, program: subprocess.Popen[str]) -> bool:
        """Wait until so much has been asked; tell whether the program still runs."""
        ends = time.monotonic() + PATIENCE_S
        while self.asked_bytes() < size_bytes and program.poll() is None:
            assert time.monotonic() < ends, "the job does not go on"
            time.sleep(0.001)
        return program.poll() is None

    def finish(self) -> str:
        program = self.start()
        said, errors = program.communicate(timeout=PATIENCE_S)
        assert program.returncode == 0, errors
        return said

    def check(self, *, interruptions: int) -> None:
        """Every row is there once, and what was asked twice was in flight when the job was interrupted."""
        rows = [json.loads(line) for line in self.output.read_text().splitlines()]
        assert [(row["id"], row["answer"], row["error"]) for row in rows] == [
            (str(n), f"answer to t{n}", None) for n in range(self.rows)
        ]
        asked = Counter(self.asked.read_text().split())
        assert len(asked) == self.rows
        assert asked.total() - self.rows <= WINDOW * interruptions


def killed_often(scene: Scene, kills: int, seed: int) -> None:
    rng = random.Random(seed)
    done = 0
    while done < kills:
        program = scene.start()
        alive = scene.wait_for(
            scene.asked_bytes() + rng.randrange(1, 8 * scene.rows // kills), program
        )
        time.sleep(rng.uniform(0, 0.01))
        program.kill()
        program.communicate(timeout=PATIENCE_S)
        done += 1
        if not alive and scene.output.exists():
            break
    assert done >= kills * 3 // 4
    scene.finish()
    scene.check(interruptions=done)


@pytest.mark.long
def test_a_job_killed_at_any_moment_completes_without_a_row_missing_or_twice(
    tmp_path: Path,
) -> None:
    killed_often(Scene(tmp_path, rows=400), kills=5, seed=1)


@pytest.mark.long
def test_fifty_kills_of_a_job_of_two_thousand_rows(tmp_path: Path) -> None:
    killed_often(Scene(tmp_path, rows=2000), kills=50, seed=50)


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        pytest.param(signal.SIGINT, -signal.SIGINT, id="INT", marks=pytest.mark.long),
        pytest.param(signal.SIGTERM, 128 + signal.SIGTERM, id="TERM"),
    ],
)
def test_a_signal_drains_the_job_and_it_goes_on(
    tmp_path: Path, sent: signal.Signals, code: int
) -> None:
    scene = Scene(tmp_path, rows=300, wait_ms=50)
    program = scene.start()
    assert scene.wait_for(200, program)
    program.send_signal(sent)
    program.communicate(timeout=PATIENCE_S)
    assert program.returncode in (code, 130)
    assert (
        json.loads((tmp_path / "out.jsonl.job" / "summary.json").read_text())["state"]
        == "interrupted"
    )
    assert not scene.output.exists()
    scene.finish()
    scene.check(interruptions=0)  # those in flight were waited for


SIGNALS = [signal.SIGINT, signal.SIGTERM]


@pytest.mark.long
@pytest.mark.parametrize("second", SIGNALS, ids=["then INT", "then TERM"])
@pytest.mark.parametrize("first", SIGNALS, ids=["INT", "TERM"])
def test_calls_that_do_not_end_are_not_waited_for_for_ever(
    tmp_path: Path, first: signal.Signals, second: signal.Signals
) -> None:
    scene = Scene(tmp_path, rows=100, wait_ms=60_000)
    program = scene.start()
    assert scene.wait_for(1, program)
    began = time.monotonic()
    program.send_signal(first)
    time.sleep(0.3)
    program.send_signal(second)  # which does not wait at all
    _, errors = program.communicate(timeout=PATIENCE_S)
    assert program.returncode != 0
    assert time.monotonic() - began < 45  # a call takes a minute
    assert "0 rows are done and kept." in errors
    assert "never retrieved" not in errors and "RuntimeError" not in errors
    scene.wait_ms = 1
    scene.finish()
    scene.check(interruptions=1)


SIGNALLED = """
import asyncio, os, signal, sys, threading
from modelwire.jobs import run_job, runner
from modelwire.runnables import RunnableLambda

signals, early = [int(number) for number in sys.argv[2].split()], sys.argv[3] == "early"
asked = threading.Event()
runner.DRAIN_S = 3600 if early else 1  # two that wait may be one to Python, where their numbers are the same

def send():
    for number in signals:
        os.kill(os.getpid(), number)

async def answer(row):
    asked.set()
    if not early:
        send()  # all of them wait for the main thread at once
    await asyncio.sleep(60)

submit = asyncio.run_coroutine_threadsafe

def submitted(coroutine, loop):
    future = submit(coroutine, loop)
    asked.wait(60)
    send()
    return future

if early:  # the main thread has not come further than this when rows are asked already
    asyncio.run_coroutine_threadsafe = submitted
run_job(RunnableLambda(answer), ["a"], output=sys.argv[1])
"""


@pytest.mark.long
@pytest.mark.parametrize("when", ["early", "waiting"])
@pytest.mark.parametrize("signals", ["INT TERM", "TERM INT", "TERM TERM"])
def test_two_signals_at_once_end_a_job_as_two_in_turn_do(
    tmp_path: Path, signals: str, when: str
) -> None:
    numbers = " ".join(str(int(signal.Signals[f"SIG{name}"])) for name in signals.split())
    command = [sys.executable, "-c", SIGNALLED, str(tmp_path / "o.jsonl"), numbers, when]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode not in (0, -signal.SIGTERM), done.stderr
    assert "0 rows are done and kept." in done.stderr
    assert (
        json.loads((tmp_path / "o.jsonl.job" / "summary.json").read_text())["state"]
        == "interrupted"
    )


def test_after_a_second_ctrl_c_nothing_of_the_job_runs_any_more(tmp_path: Path) -> None:
    async def answer(row: Any) -> None:
        for _ in range(2):
            await asyncio.sleep(0.3)  # until the main thread waits
            os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(PATIENCE_S)

    with pytest.raises(KeyboardInterrupt):
        run_job(RunnableLambda(answer), ["a"], output=tmp_path / "o.jsonl", quiet=True)
    assert (
        json.loads((tmp_path / "o.jsonl.job" / "summary.json").read_text())["state"]
        == "interrupted"
    )


def test_what_is_done_is_kept_though_the_interpreter_has_ended_its_executors(
    tmp_path: Path,
) -> None:
    asked: list[int] = []
    last = asyncio.Event()

    async def answer(row: Any) -> str:
        asked.append(row["id"])
        if row["id"] == 3:
            job.store.disk.shutdown()
            last.set()
        return "done"

    async def left() -> None:
        running = asyncio.create_task(job.run())
        await last.wait()
        await asyncio.sleep(0.05)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    rows: list[Any] = [{"id": n} for n in range(6)]
    options: Any = {"output": tmp_path / "o.jsonl", "quiet": True, "max_concurrency": 1}
    job = open_job(RunnableLambda(answer), rows, options)
    asyncio.run(left())
    assert run_job(RunnableLambda(answer), rows, **options).complete
    assert asked == list(range(6))


KILLED_WHILE_WRITING = """
import os, signal, sys
from modelwire.jobs import output, run_job
from modelwire.testing import ParrotFakeChatModel

write, rows = output._JsonlWriter.write, []

def dying(self, row):
    write(self, row)
    self._file.flush()
    rows.append(row)
    if len(rows) == 7:
        os.kill(os.getpid(), signal.SIGKILL)

output._JsonlWriter.write = dying
run_job("{text}", sys.argv[1], model=ParrotFakeChatModel(), output=sys.argv[2], quiet=True)
"""


@pytest.mark.long
def test_killed_while_the_output_is_written_it_is_the_old_one_and_then_the_whole_new_one(
    tmp_path: Path,
) -> None:
    given, output = tmp_path / "in.csv", tmp_path / "out.jsonl"
    given.write_text("text\n" + "".join(f"t{n}\n" for n in range(20)))
    options: Any = {"output": output, "quiet": True, "model": ParrotFakeChatModel()}
    run_job("{text}", given, limit=5, **options)
    for _ in range(2):
        killed = subprocess.run(
            [sys.executable, "-c", KILLED_WHILE_WRITING, given, output], check=False
        )
        assert killed.returncode == -signal.SIGKILL
        assert len(output.read_text().splitlines()) == 5
    left = {path.name for path in tmp_path.iterdir()}
    assert len(left) == 4, left  # one part of an output, however often it was begun
    result = run_job("{text}", given, **options)
    assert (result.asked, result.complete) == (0, True)
    assert len(output.read_text().splitlines()) == 20
    assert {path.name for path in tmp_path.iterdir()} == {"in.csv", "out.jsonl", "out.jsonl.job"}


@pytest.mark.long
def test_a_second_process_is_refused_and_a_dead_one_is_no_hindrance(tmp_path: Path) -> None:
    scene = Scene(tmp_path, rows=60, wait_ms=60_000)
    first = scene.start()
    assert scene.wait_for(1, first)
    second = scene.start()
    _, errors = second.communicate(timeout=PATIENCE_S)
    assert second.returncode != 0
    assert f"process {first.pid} on" in errors
    assert "JobBusy" in errors
    first.kill()
    first.communicate(timeout=PATIENCE_S)
    scene.wait_ms = 1
    scene.finish()
    scene.check(interruptions=1)


@pytest.mark.long
def test_a_torn_store_costs_its_last_row_only(tmp_path: Path) -> None:
    scene = Scene(tmp_path, rows=50, wait_ms=1)
    scene.finish()
    store = tmp_path / "out.jsonl.job" / "job.sqlite"
    os.truncate(store, store.stat().st_size - 7)
    assert "50 rows" in scene.finish()
    asked = Counter(scene.asked.read_text().split())
    assert asked.total() == 51


MEMORY = """
import sys
from modelwire.jobs import run_job
from modelwire.runnables import RunnableLambda

async def answer(row):
    return "answer to " + row["text"]

def peak_mb():
    # Not `ru_maxrss`: a child begins with that of the process it was forked from, here a whole test run.
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return int(status["VmHWM"].split()[0]) / 1024

result = run_job(RunnableLambda(answer), sys.argv[1], output=sys.argv[2], quiet=True)
print(result.rows, peak_mb())
"""


def peak_mb(folder: Path, rows: int) -> float:
    path = folder / f"{rows}.csv"
    with path.open("w") as file:
        file.write("id,text\n")
        file.writelines(
            f"{n},a review of wine number {n} with its notes of cherry and oak\n"
            for n in range(rows)
        )
    command = [sys.executable, "-c", MEMORY, str(path), str(folder / f"{rows}.out.jsonl")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    count, peak = done.stdout.split()
    assert int(count) == rows
    return float(peak)


@pytest.mark.long
def test_a_million_rows_fit_into_300_mb(tmp_path: Path) -> None:
    assert peak_mb(tmp_path, 1_000_000) < 300


@pytest.mark.long
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    small, large = peak_mb(tmp_path, 1_000), peak_mb(tmp_path, 40_000)
    assert large - small < 15  # 40 bytes a row, and what the allocator keeps


# ---------------------------------------------------------------- size, space, clocks


@pytest.mark.long
def test_an_input_of_a_gigabyte_is_read_to_its_end_in_little_memory(tmp_path: Path) -> None:
    path, output = tmp_path / "in.csv", tmp_path / "out.csv"
    text = 'a review, "quoted", of some length and\nseveral lines\n' * 1_900
    cell = text.replace('"', '""')
    rows = 2**30 // len(cell) + 1
    with path.open("w") as file:
        file.write("id,text\n")
        file.writelines(f'{n},"{cell}"\n' for n in range(rows))
    assert path.stat().st_size > 2**30
    program = MEMORY.replace('"answer to " + row["text"]', 'str(len(row["text"]))')
    command = [sys.executable, "-c", program, str(path), str(output)]
    count, peak = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert int(count) == rows
    assert (
        float(peak) < 400
    )  # 200 rows of 0.1 MB in flight, each as text, JSON and a record of the store
    with path.open(newline="") as given, output.open(newline="") as written:
        for one, two in zip(csv.DictReader(given), csv.DictReader(written), strict=True):
            assert (one["id"], one["text"], two["error"]) == (two["id"], two["text"], "")
    path.unlink()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a folder with room for 1 MB, a file system of its own; only root can have that."""
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], capture_output=True
    ).returncode:
        pytest.skip("nothing can be mounted here")
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize("full", ["the store", "the output"])
def test_a_job_on_a_full_disk_stops_and_goes_on_when_there_is_room(
    small_disk: Path, full: str, tmp_path: Path
) -> None:
    asked: list[int] = []

    async def answer(row: Any) -> str:
        asked.append(row["id"])
        await asyncio.sleep(0)
        return "x" * 1_000

    rows = [{"id": n} for n in range(3_000 if full == "the store" else 450)]
    options: Any = {"output": small_disk / "out.csv", "quiet": True, "max_concurrency": 16}
    where = r"out\.csv\.job" if full == "the store" else r"out\.csv`"
    with pytest.raises(DiskError, match=f"{where}.*No space left on device"):
        run_job(RunnableLambda(answer), rows, **options)
    assert [path.name for path in small_disk.iterdir()] == ["out.csv.job"]
    with pytest.raises(DiskError):  # and as often as it is tried
        run_job(RunnableLambda(answer), rows, **options)
    subprocess.run(["mount", "-o", "remount,size=32m", small_disk], check=True)
    result = run_job(RunnableLambda(answer), rows, **options)
    assert (result.rows, result.failed) == (len(rows), 0)
    assert [row["id"] for row in result] == [row["id"] for row in rows]
    assert len(asked) - len(rows) <= (2 * 16 if full == "the store" else 0)


def test_a_clock_that_is_set_during_a_job_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An hour forward, and two back: no row is lost, asked twice, or said to have taken an hour."""
    real, shift_s = time.time, 0.0
    monkeypatch.setattr(time, "time", lambda: real() + shift_s)

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.fromtimestamp(real() + shift_s, tz)

    monkeypatch.setattr("datetime.datetime", Clock)  # for what imports it when it needs it
    monkeypatch.setattr(folder, "datetime", Clock)

    def answer(request: Any) -> Any:
        nonlocal shift_s
        count = len(server.requests)
        shift_s = 3600.0 if count >= 80 else 0.0
        shift_s = -3600.0 if count >= 160 else shift_s
        if count % 20 == 0:
            return faults.status(429, retry_after=0.02)
        return Answer("fine", latency_s=0.005)

    rows = [{"text": f"t{n}"} for n in range(240)]
    with ProviderServer(default=answer) as server:
        result = run_job(
            "{text}",
            rows,
            model=server.model(),
            output=tmp_path / "o.jsonl",
            quiet=True,
            max_concurrency=8,
        )
        refused = len(server.requests) // 20
    assert (result.rows, result.failed, len(server.requests) - refused) == (240, 0, 240)
    assert 0 <= result.elapsed_s < 600
    assert all(0 <= row["latency_s"] < 600 for row in result)
    assert result.job_dir.joinpath("summary.json").exists()
