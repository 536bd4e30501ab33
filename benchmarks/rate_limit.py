"""The same question as `makespan`, by the clock and over sockets: jobs against a `ProviderServer` with a rate limit.

The real clients ask the same server; it counts what it refuses. Its minute lasts 15 s, so that a job is soon over.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from benchmarks.tables import Budget, Table
from modelwire.testing.server import Limits, ProviderServer

if TYPE_CHECKING:
    from benchmarks.lineup import Lineup
    from benchmarks.worker import Session

__all__ = ["run"]

_PER_S, _LATENCY_S, _AT_ONCE = 40.0, 0.5, 200
_PATIENCE_S = 300.0


def run(lineup: Lineup) -> list[Table]:
    rows = 400 if lineup.quick else 2000
    ideal_s = (rows - _PER_S) / _PER_S + _LATENCY_S  # a second's burst is there at once
    table = Table(
        f"{rows} rows at {_PER_S:g} requests a second, {_AT_ONCE} at a time, over sockets ({ideal_s:.1f} s at best)",
        ["", "headers", "of the ideal", "refused", "lost"],
    )
    for what, name, task, headers in (
        ("modelwire", "modelwire", "batch", "none"),
        ("modelwire", "modelwire", "batch", "own"),
        ("SDK, 2 retries", "SDK", "sdk", "own"),
        ("SDK, 1000 retries", "SDK", "patient_sdk", "own"),
        ("tenacity, 3 tries", "SDK", "tenacity", "own"),
    ):
        if name not in lineup.names or not lineup.is_present(name):
            continue
        limits = Limits(rpm=_PER_S * 60, window_s=1.0, headers=headers)
        with (
            ProviderServer(limits=limits, latency=_LATENCY_S, keep=1) as server,
            lineup.fresh_worker(name) as worker,
        ):
            took_s, lost = worker.measure(
                f"rate_limit.{task}",
                patience_s=_PATIENCE_S,
                address=server.base_url_for("openai"),
                rows=rows,
            )
            refused = server.counts.throttled / server.counts.requests
        table.rows.append([what, headers, f"{took_s / ideal_s:.2f}x", f"{refused:.1%}", f"{lost}"])
        if name == "modelwire" and not lineup.quick:
            table.budgets.append(
                Budget(f"over sockets, headers `{headers}`: makespan", 1.05, took_s / ideal_s)
            )
            table.budgets.append(
                Budget(f"over sockets, headers `{headers}`: refused", 2.0, refused * 100, unit="%")
            )
    table.notes = [
        "`lost`: rows without an answer, which is why some are so quick.",
        "tenacity: around an SDK that does not retry.",
    ]
    return [table]


def batch(session: Session, *, address: str, rows: int) -> tuple[float, int]:
    """Ask as our users do."""
    from modelwire.adapters import ChatOpenAI

    model = ChatOpenAI(model="gpt-test", base_url=address, api_key="test")
    began = time.perf_counter()
    answers = session.runner.run(
        model.abatch(
            [f"row {n}" for n in range(rows)], {"max_concurrency": _AT_ONCE}, return_exceptions=True
        )
    )
    took_s = time.perf_counter() - began
    return took_s, sum(
        getattr(answer, "content", None) != f"row {n}" for n, answer in enumerate(answers)
    )


def sdk(session: Session, *, address: str, rows: int) -> tuple[float, int]:
    return _by_sdk(session, address, rows, max_retries=2)


def patient_sdk(session: Session, *, address: str, rows: int) -> tuple[float, int]:
    return _by_sdk(session, address, rows, max_retries=1000)


def tenacity(session: Session, *, address: str, rows: int) -> tuple[float, int]:
    from tenacity import AsyncRetrying, stop_after_attempt, wait_exponential_jitter

    def again(ask: Callable[[int], Awaitable[Any]]) -> Callable[[int], Awaitable[Any]]:
        return AsyncRetrying(
            wait=wait_exponential_jitter(), stop=stop_after_attempt(3), reraise=True
        ).wraps(ask)

    return _by_sdk(session, address, rows, max_retries=0, again=again)


def _by_sdk(
    session: Session,
    address: str,
    rows: int,
    *,
    max_retries: int,
    again: Callable[[Any], Any] = lambda ask: ask,
) -> tuple[float, int]:
    import openai

    client = openai.AsyncOpenAI(base_url=address, api_key="test", max_retries=max_retries)

    async def ask(n: int) -> bool:
        messages: Any = [{"role": "user", "content": f"row {n}"}]
        answer = await client.chat.completions.create(model="gpt-test", messages=messages)
        return answer.choices[0].message.content == f"row {n}"

    asked = again(ask)

    async def ask_all() -> int:
        places = asyncio.Semaphore(_AT_ONCE)

        async def row(n: int) -> bool:
            async with places:
                try:
                    return await asked(n)
                except openai.APIError:
                    return False

        return rows - sum(await asyncio.gather(*map(row, range(rows))))

    began = time.perf_counter()
    lost = session.runner.run(ask_all())
    return time.perf_counter() - began, lost
