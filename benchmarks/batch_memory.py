"""A batch of 100,000: how soon the first item runs and how much memory beyond the results; and both colours' CPU."""

from __future__ import annotations

import asyncio
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.answers import TEXT
from benchmarks.contenders import QUESTION
from benchmarks.lineup import Lineup, Outcome
from benchmarks.tables import Budget, Table, ratio
from benchmarks.worker import Failed, Session

_CONTENDERS = ("modelwire", "langchain")
_COLOURS = ("batch", "abatch")


def run(lineup: Lineup) -> list[Table]:
    """Measure the schedule on a trivial step, then real calls in both colours."""
    names = [name for name in _CONTENDERS if name in lineup.names]
    inputs = 20_000 if lineup.quick else 100_000
    return [_schedule(lineup, names, inputs), _colours(lineup, names)]


def trivial_batch(session: Session, *, colour: str, inputs: int) -> dict[str, float]:
    """Run a step that returns its input over `inputs` inputs, 64 at once; in a process of its own, for its peak."""
    first_s = 0.0

    def note_start() -> None:
        nonlocal first_s
        first_s = first_s or time.perf_counter()

    def step(value: int) -> int:
        note_start()
        return value

    async def astep(value: int) -> int:
        note_start()
        await asyncio.sleep(0)
        return value

    runnable = session.kind.runnable_lambda(step if colour == "batch" else astep)  # type: ignore[attr-defined]
    config = {"max_concurrency": 64}
    values = list(range(inputs))
    _batch(
        session, runnable, colour, values[:100], config
    )  # imports and lazy set-up are no part of it
    first_s = 0.0
    before_mb = _restart_peak_mb()
    start_s, cpu_s = time.perf_counter(), time.process_time()
    results = _batch(session, runnable, colour, values, config)
    cpu_s, peak_mb = time.process_time() - cpu_s, _peak_mb()
    if results != values:
        raise ValueError("results are not in the order of their inputs")
    return {
        "first_ms": (first_s - start_s) * 1e3,
        "growth_mb": peak_mb - before_mb - sys.getsizeof(results) / 1e6,
        "cpu_us": cpu_s / inputs * 1e6,
    }


def batch_of_calls(
    session: Session, *, root: str, colour: str, calls: int, in_flight: int
) -> float:
    """Ask the server `calls` times in one batch; give CPU microseconds a call."""
    model = session.contender(root).model  # type: ignore[attr-defined]
    cpu_s = time.process_time()
    answers = _batch(session, model, colour, [QUESTION] * calls, {"max_concurrency": in_flight})
    cpu_s = time.process_time() - cpu_s
    if any(answer.content != TEXT for answer in answers):
        raise ValueError("a wrong answer")
    return cpu_s / calls * 1e6


def _batch(
    session: Session, runnable: Any, colour: str, values: list[Any], config: dict[str, int]
) -> list[Any]:
    if colour == "batch":
        results: list[Any] = runnable.batch(values, config)
    else:
        results = session.runner.run(runnable.abatch(values, config))
    return results


def _restart_peak_mb() -> float:
    """Forget the peak so far (Linux; elsewhere the process is young) and give the present resident size."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
    except OSError:
        return _peak_mb()


def _peak_mb() -> float:
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # bytes on macOS


def _schedule(lineup: Lineup, names: list[str], inputs: int) -> Table:
    table = Table(
        f"Batch of {inputs:,} inputs through a trivial step, 64 at once",
        [
            "contender",
            "first starts after ms",
            "peak MB beyond inputs and results",
            "CPU us an item",
        ],
    )
    for name in names:
        for colour in _COLOURS:
            label = f"{name} {colour}"
            with lineup.fresh_worker(name) as worker:
                try:
                    result = worker.measure(
                        "batch_memory.trivial_batch", colour=colour, inputs=inputs
                    )
                except Failed as failure:
                    table.rows.append([label, str(failure)])
                    result = {}
            if result:
                table.rows.append(
                    [label, *(f"{result[key]:.1f}" for key in ("first_ms", "growth_mb", "cpu_us"))]
                )
            if name == "modelwire":
                what = f"{colour} of {inputs:,} inputs:"
                table.budgets.append(
                    Budget(f"{what} first starts", 20, result.get("first_ms"), unit=" ms")
                )
                table.budgets.append(
                    Budget(f"{what} beyond the results", 20, result.get("growth_mb"), unit=" MB")
                )
    return table


def _colours(lineup: Lineup, names: list[str]) -> Table:
    rounds, calls = (2, 300) if lineup.quick else (5, 600)
    table = Table(
        f"Batch of {calls} calls, 10 in flight: CPU a call, {rounds} interleaved rounds",
        ["contender", "batch us", "abatch us", "batch / abatch"],
    )
    common: dict[str, Any] = {
        "root": lineup.servers.plain,
        "calls": calls,
        "in_flight": 10,
        "rounds": rounds,
        "names": names,
    }
    outcomes = {
        colour: lineup.in_turn("batch_memory.batch_of_calls", colour=colour, **common)
        for colour in _COLOURS
    }
    for name in names:
        sync, concurrent = (outcomes[colour][name] for colour in _COLOURS)
        against = ratio(sync.least(), concurrent.least())
        table.rows.append(
            [
                name,
                *(each.excuse or f"{each.least():.0f}" for each in (sync, concurrent)),
                "-" if against is None else f"{against:.2f}",
            ]
        )
    ours = [outcomes[colour].get("modelwire", Outcome()).least() for colour in _COLOURS]
    table.budgets.append(Budget("sync batch, CPU x abatch", 1.3, ratio(*ours)))
    return table
