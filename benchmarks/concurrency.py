"""Calls a second and CPU a call with 1, 16, 100 and 1,000 calls in flight, each really waiting for its answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from benchmarks.answers import TEXT
from benchmarks.lineup import Lineup, Outcome, failures
from benchmarks.tables import Budget, Table, ratio
from benchmarks.worker import Session

# In flight: the server's delay in ms. Short at the small levels, so that the CPU of an idle loop stays out of it.
_LEVELS_MS = {1: 1, 16: 20, 100: 50, 1_000: 50}
_QUICK_LEVELS_MS = {16: 20, 500: 50}


def run(lineup: Lineup) -> list[Table]:
    """Measure every level, in turn; then 10 in flight again, with the connections of the last burst still open."""
    delays_ms = _QUICK_LEVELS_MS if lineup.quick else _LEVELS_MS
    levels = {
        in_flight: _measure(lineup, in_flight, delay_ms)
        for in_flight, delay_ms in delays_ms.items()
    }
    after = _measure(lineup, 10, delays_ms[max(levels)])
    return [_table(lineup, levels, after, delays_ms)]


def _measure(lineup: Lineup, in_flight: int, delay_ms: int) -> dict[str, Outcome]:
    rounds, window_s = (1, 0.5) if lineup.quick else (2, 1.0)
    root = f"{lineup.servers.loopback}/wait-{delay_ms}"
    return lineup.in_turn(
        "concurrency.closed_loop",
        rounds=rounds,
        warm_up=in_flight == 1,
        root=root,
        in_flight=in_flight,
        window_s=window_s,
    )


def closed_loop(
    session: Session, *, root: str, in_flight: int, window_s: float
) -> dict[str, float]:
    """Keep `in_flight` calls going; measure a window that begins when every one has been answered once."""
    contender = session.contender(root)
    return session.runner.run(_closed_loop(contender.acall, in_flight, window_s))


async def _closed_loop(
    acall: Callable[[], Awaitable[str]], in_flight: int, window_s: float
) -> dict[str, float]:
    done = 0
    going = True

    async def call_repeatedly() -> None:
        nonlocal done
        while going:
            if await acall() != TEXT:
                raise ValueError("a wrong answer")
            done += 1

    async def reach(count: int, until_s: float) -> None:
        while done < count and time.perf_counter() < until_s:
            if failed := [task for task in tasks if task.done()]:
                await failed[0]
            await asyncio.sleep(0.02)

    tasks = [asyncio.ensure_future(call_repeatedly()) for _ in range(in_flight)]
    await reach(in_flight, time.perf_counter() + 20)
    done_before, cpu_s, start_s = done, time.process_time(), time.perf_counter()
    await asyncio.sleep(window_s)
    await reach(done_before + in_flight, start_s + 4 * window_s)
    cpu_s, wall_s, calls = (
        time.process_time() - cpu_s,
        time.perf_counter() - start_s,
        done - done_before,
    )
    going = False
    await asyncio.gather(*tasks)
    return {
        "cpu_us": cpu_s / calls * 1e6,
        "calls_per_s": calls / wall_s,
        "core_share": cpu_s / wall_s,
    }


def _table(
    lineup: Lineup,
    levels: dict[int, dict[str, Outcome]],
    after: dict[str, Outcome],
    delays_ms: dict[int, int],
) -> Table:
    columns = ["contender"]
    for in_flight in levels:
        columns += [f"{in_flight}: us", "calls/s"]
    table = Table(
        "Concurrency: CPU a call and calls/s by calls in flight",
        [*columns, f"{max(levels)} / 16", "then 10: us"],
    )
    for name in lineup.names:
        cells = [name]
        for outcomes in levels.values():
            outcome = outcomes[name]
            if outcome.failure:
                cells += [outcome.excuse, ""]
            else:
                cells += [f"{outcome.least('cpu_us'):.0f}", f"{_most(outcome):.0f}"]
        growth = _growth(levels, name)
        again = after[name].excuse or f"{after[name].least('cpu_us'):.0f}"
        table.rows.append([*cells, "-" if growth is None else f"{growth:.2f}", again])
    table.notes += failures(levels.values())
    delays = ", ".join(f"{n}: {ms} ms" for n, ms in delays_ms.items())
    table.notes.append(
        f"the server answers after ({delays}), so calls/s at the lower levels show its delay"
    )
    table.notes.append(
        "then 10: 10 in flight to the same server after all of these, while idle connections are kept"
    )
    what = f"CPU of one ainvoke, {max(levels):,} in flight, x 16 in flight"
    table.budgets.append(Budget(what, 1.3, _growth(levels, "modelwire")))
    return table


def _most(outcome: Outcome) -> float:
    return max(float(result["calls_per_s"]) for result in outcome.results)


def _growth(levels: dict[int, dict[str, Outcome]], name: str) -> float | None:
    few, many = (
        levels[in_flight].get(name, Outcome()).least("cpu_us") for in_flight in (16, max(levels))
    )
    return ratio(many, few)
