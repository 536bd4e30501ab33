"""A provider that fails for a moment: how many calls in flight are lost, and how many requests each of them costs.

Every client has its own defaults; all calls are made at once, by `gather`. Then limits that allow no bursts, by the
clock: how near to the ideal time a job comes, and how much of what it sends is refused.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from benchmarks.tables import Budget, Table
from modelwire.testing.server import Limits, ProviderServer, Rule, faults

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from benchmarks.lineup import Lineup
    from benchmarks.worker import Session

__all__ = ["run"]

_FAILURES = {"500": faults.status(500), "reset": faults.reset()}
_SCENES = [
    (what, seconds, calls)
    for what in _FAILURES
    for seconds in (0.2, 1.0, 5.0)
    for calls in (20, 200)
]
_QUICK = [("500", 1.0, 200), ("reset", 1.0, 200)]
_CLIENTS = (
    ("modelwire", "modelwire", "ours"),
    ("modelwire, rate_limit=None", "modelwire", "ours_without_limiter"),
    ("openai SDK", "SDK", "sdk"),
)
_LATENCY_S, _PATIENCE_S = 0.05, 300.0
_BURST_LATENCY_S, _ROWS = 0.5, 600


def run(lineup: Lineup) -> list[Table]:
    return [_failures(lineup), _small_bursts(lineup)]


def _failures(lineup: Lineup) -> Table:
    clients = [one for one in _CLIENTS if one[1] in lineup.names and lineup.is_present(one[1])]
    table = Table(
        "Lost calls, requests a call, seconds: everything fails from the first request on, then all is well",
        ["", "for", "calls", *(what for what, _, _ in clients)],
    )
    for what, seconds, calls in _QUICK if lineup.quick else _SCENES:
        cells = [what, f"{seconds:g} s", f"{calls}"]
        for _, name, task in clients:
            lost, a_call, took_s = _scene(lineup, name, task, what, seconds, calls)
            cells.append(f"{lost} lost, {a_call:.2f}, {took_s:.1f} s")
            if task == "ours":
                table.budgets.append(
                    Budget(f"{what} for {seconds:g} s, {calls} calls: lost", 0, lost, unit="")
                )
                table.budgets.append(
                    Budget(f"{what} for {seconds:g} s, {calls} calls: requests each", 3, a_call)
                )
        table.rows.append(cells)
    return table


def _scene(
    lineup: Lineup, name: str, task: str, what: str, seconds: float, calls: int
) -> tuple[int, float, float]:
    began: list[float] = []

    def is_down(request: Any) -> bool:
        began.append(time.monotonic()) if not began else None
        return time.monotonic() - began[0] < seconds

    rules = [Rule(_FAILURES[what], when=is_down)]
    with (
        ProviderServer(faults=rules, latency=_LATENCY_S, keep=1) as server,
        lineup.fresh_worker(name) as worker,
    ):
        took_s, lost = worker.measure(
            f"short_failures.{task}",
            patience_s=_PATIENCE_S,
            address=server.base_url_for("openai"),
            rows=calls,
        )
        return lost, server.counts.requests / calls, took_s


def _small_bursts(lineup: Lineup) -> Table:
    table = Table(
        f"Limits that allow few requests at once: rows by `abatch`, {_BURST_LATENCY_S:g} s an answer, no headers",
        ["", "bucket", "rows", "of the ideal", "refused", "lost"],
    )
    if "modelwire" not in lineup.names:
        return table
    for bucket, most in ((1, 1.15), (2, 1.10), (10, 1.05)):
        rows = 100 if lineup.quick else _ROWS
        limits = Limits(rpm=600, window_s=bucket / 10, headers="none")
        with (
            ProviderServer(limits=limits, latency=_BURST_LATENCY_S, keep=1) as server,
            lineup.fresh_worker("modelwire") as worker,
        ):
            took_s, lost = worker.measure(
                "rate_limit.batch",
                patience_s=_PATIENCE_S,
                address=server.base_url_for("openai"),
                rows=rows,
            )
            refused = server.counts.throttled / server.counts.requests
        ratio = took_s / ((rows - bucket) / 10 + _BURST_LATENCY_S)
        table.rows.append(
            ["10 a second", f"{bucket}", f"{rows}", f"{ratio:.2f}x", f"{refused:.1%}", f"{lost}"]
        )
        if not lineup.quick:
            table.budgets.append(Budget(f"a bucket of {bucket}: makespan", most, ratio))
            table.budgets.append(
                Budget(f"a bucket of {bucket}: refused", 2.0, refused * 100, unit="%")
            )
    return table


def ours(session: Session, *, address: str, rows: int) -> tuple[float, int]:
    return _by_us(session, address, rows)


def ours_without_limiter(session: Session, *, address: str, rows: int) -> tuple[float, int]:
    return _by_us(session, address, rows, rate_limit=None)


def _by_us(session: Session, address: str, rows: int, **settings: Any) -> tuple[float, int]:
    from modelwire.adapters import ChatOpenAI

    model = ChatOpenAI(model="gpt-test", base_url=address, api_key="test", **settings)

    async def ask(n: int) -> str:
        text: str = (await model.ainvoke(f"row {n}")).text
        return text

    return _all_at_once(session, rows, ask)


def sdk(session: Session, *, address: str, rows: int) -> tuple[float, int]:
    import openai

    client = openai.AsyncOpenAI(base_url=address, api_key="test")

    async def ask(n: int) -> str | None:
        messages: Any = [{"role": "user", "content": f"row {n}"}]
        answer = await client.chat.completions.create(model="gpt-test", messages=messages)
        return answer.choices[0].message.content

    return _all_at_once(session, rows, ask)


def _all_at_once(
    session: Session, rows: int, ask: Callable[[int], Awaitable[str | None]]
) -> tuple[float, int]:
    async def ask_all() -> list[Any]:
        return await asyncio.gather(*map(ask, range(rows)), return_exceptions=True)

    began = time.perf_counter()
    answers = session.runner.run(ask_all())
    return time.perf_counter() - began, sum(
        answer != f"row {n}" for n, answer in enumerate(answers)
    )
