"""CPU of one whole call against an instant server: 10 in flight on one loop, and one after the other without a loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from benchmarks.answers import TEXT
from benchmarks.lineup import Lineup, Outcome, failures
from benchmarks.tables import Budget, Table, ratio
from benchmarks.worker import Session


def run(lineup: Lineup) -> list[Table]:
    """Measure both wires, both colours."""
    rounds, calls = (2, 200) if lineup.quick else (9, 400)
    tables = []
    for wire in ("openai", "anthropic"):
        common: dict[str, Any] = {"root": lineup.servers.plain, "wire": wire, "rounds": rounds}
        concurrent = lineup.in_turn(
            "call_overhead.concurrent_calls", in_flight=10, calls=calls, **common
        )
        single = lineup.in_turn("call_overhead.single_calls", calls=calls // 2, **common)
        tables.append(_table(wire, concurrent, single, rounds))
    return tables


def concurrent_calls(
    session: Session, *, root: str, wire: str, in_flight: int, calls: int
) -> dict[str, float]:
    """Keep `in_flight` calls going until `calls` are done."""
    contender = session.contender(root, wire)
    return session.runner.run(_keep_in_flight(contender.acall, in_flight, calls))


async def _keep_in_flight(
    acall: Callable[[], Awaitable[str]], in_flight: int, calls: int
) -> dict[str, float]:
    _check(await acall())

    async def call_repeatedly() -> None:
        for _ in range(calls // in_flight):
            await acall()

    cpu_s, wall_s = time.process_time(), time.perf_counter()
    await asyncio.gather(*(call_repeatedly() for _ in range(in_flight)))
    return _per_call(time.process_time() - cpu_s, time.perf_counter() - wall_s, calls)


def single_calls(session: Session, *, root: str, wire: str, calls: int) -> dict[str, float]:
    """Call `calls` times, synchronously."""
    contender = session.contender(root, wire)
    _check(contender.call())
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    for _ in range(calls):
        contender.call()
    return _per_call(time.process_time() - cpu_s, time.perf_counter() - wall_s, calls)


def _per_call(cpu_s: float, wall_s: float, calls: int) -> dict[str, float]:
    return {"cpu_us": cpu_s / calls * 1e6, "wall_us": wall_s / calls * 1e6}


def _check(answer: str) -> None:
    if answer != TEXT:
        raise ValueError(f"the answer was {answer!r}")


def _table(
    wire: str, concurrent: dict[str, Outcome], single: dict[str, Outcome], rounds: int
) -> Table:
    table = Table(
        f"Call overhead, {wire} wire: CPU a call, {rounds} interleaved rounds",
        ["contender", "ainvoke us", "median us", "x httpx2", "invoke us", "median us", "x httpx2"],
    )
    for name in concurrent:
        cells = [name]
        for outcomes in (concurrent, single):
            outcome = outcomes[name]
            if outcome.failure:
                cells += [outcome.excuse, "", ""]
                continue
            against = ratio(outcome.least("cpu_us"), _bare(outcomes))
            cells += [
                f"{outcome.least('cpu_us'):.0f}",
                f"{outcome.middle('cpu_us'):.0f}",
                "-" if against is None else f"{against:.2f}",
            ]
        table.rows.append(cells)
    table.notes += failures((concurrent, single))
    table.notes.append(
        "ainvoke: 10 in flight on one event loop; us is the least of the rounds, and so is the ratio"
    )
    ours = concurrent.get("modelwire", Outcome()).least("cpu_us")
    what = f"CPU of one ainvoke, 10 in flight, x bare httpx2 ({wire} wire)"
    table.budgets.append(Budget(what, 1.0, ratio(ours, _bare(concurrent))))
    return table


def _bare(outcomes: dict[str, Outcome]) -> float | None:
    return outcomes.get("httpx2", Outcome()).least("cpu_us")
