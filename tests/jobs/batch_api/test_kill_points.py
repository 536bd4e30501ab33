"""Killed at every event of its log, a batch job goes on: as many batches are made as it has parts, none twice."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import batch_program

from modelwire.testing import BatchPlan, ProviderServer

Serve = Callable[..., ProviderServer]
PATIENCE_S = 60.0
EVENTS = ("planned", "intent", "uploaded", "created", "ended", "downloaded", "done")
DEATHS = [*(("before", event) for event in EVENTS), ("after", "done")]
OF_A_FILE = ("openai", "gemini file", "gemini vertex")  # Batch APIs whose batches are made of one
# A death before this one; the others: `make test-long`.
OFTEN = {("gemini", "created")}


def run(
    wire: str, server: ProviderServer, folder: Path, *death: str
) -> subprocess.CompletedProcess[str]:
    base_url = server.base_url_for(wire.partition(" ")[0])  # type: ignore[arg-type]
    command = [sys.executable, batch_program.__file__, wire, base_url, str(folder), *death]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


def is_often(wire: str, death: tuple[str, str]) -> bool:
    return death[0] == "before" and (wire, death[1]) in OFTEN


@pytest.mark.parametrize(
    ("wire", "death"),
    [
        pytest.param(
            wire,
            at,
            id=f"{wire}-{' '.join(at)}",
            marks=() if is_often(wire, at) else pytest.mark.long,
        )
        for wire in ("openai", "anthropic", "gemini", *OF_A_FILE[1:])
        for at in DEATHS
        if wire in OF_A_FILE or at[1] != "uploaded"
    ],
)
def test_a_killed_batch_job_makes_as_many_batches_as_it_has_parts(
    serve: Serve, tmp_path: Path, wire: str, death: Any
) -> None:
    server = serve(batches=BatchPlan(polls=1))
    count = "1" if death[1] in ("planned", "done") else "2"  # in the middle of the parts
    killed = run(wire, server, tmp_path / "a.job", *death, count)
    assert killed.returncode == -9, killed.stderr
    finished = run(wire, server, tmp_path / "a.job")
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.splitlines() == [f"{n} succeeded say w{n}" for n in range(7)]
    assert [len(batch.rows) for batch in server.batches.made] == [3, 3, 1]


def locked_at(folder: Path) -> int:
    """Return when a process has last locked the folder; 0 if none has."""
    lock = folder / "lock"
    return lock.stat().st_mtime_ns if lock.exists() else 0


@pytest.mark.long
@pytest.mark.parametrize("seed", range(4))
def test_a_batch_job_that_is_killed_at_random_moments_loses_no_row_and_pays_none_twice(
    serve: Serve, tmp_path: Path, seed: int
) -> None:
    server, folder, rng = serve(batches=BatchPlan(polls=2)), tmp_path / "a.job", random.Random(seed)
    command = [sys.executable, batch_program.__file__, "openai", server.base_url_for("openai")]
    for _ in range(10):
        before = locked_at(folder)
        process = subprocess.Popen([*command, str(folder)], stdout=subprocess.DEVNULL)
        while process.poll() is None and locked_at(folder) == before:
            time.sleep(0.002)  # it imports
        time.sleep(rng.uniform(0, 0.4))
        process.kill()
        process.wait()
    finished = run("openai", server, folder)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.splitlines() == [f"{n} succeeded say w{n}" for n in range(7)]
    assert [len(batch.rows) for batch in server.batches.made] == [3, 3, 1]
