"""What a budget and a cache that processes share over Redis cost: the CPU of a call with and without, interleaved.

The Redis is a real one. Calls go to loopback, ten at a time, and each question of the cache is a new one.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
import sys
import time
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from benchmarks.tables import Budget, Table
from benchmarks.worker import Failed, Session

if TYPE_CHECKING:
    from benchmarks.lineup import Lineup

__all__ = ["calls", "run"]

WAYS = {
    "none": "no budget, no cache",
    "nameless": "a budget without a name",
    "file": "a named budget, in the user's file",
    "redis": "a named budget, shared over Redis",
    "file cache": "SQLiteCache, each lookup a miss",
    "redis cache": "RedisCache, each lookup a miss",
}
_AT_A_TIME = 10
_numbers = count()


def run(lineup: Lineup) -> list[Table]:
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from support.redis_server import redis_binary, redis_server

    rounds, calls_of_round = (3, 200) if lineup.quick else (8, 500)
    seen: dict[str, list[float]] = {way: [] for way in WAYS}
    table = Table(
        f"Shared budgets and answers: CPU a call, the median of {rounds} interleaved rounds",
        ["", "us", "of that of a named budget in a file"],
    )
    if redis_binary() is None:
        table.notes = ["There is no redis-server: install `redis-server` or `valkey-server`."]
        return [table]
    try:
        with redis_server() as redis, lineup.fresh_worker("modelwire") as worker:
            arguments = {"root": f"{lineup.servers.loopback}/wait-20", "redis": redis.url}
            # The first round loads the code.
            for turn in range(rounds + 1):
                for way, found in seen.items():
                    cpu_us = worker.measure(
                        "shared_budget.calls", way=way, count=calls_of_round, **arguments
                    )
                    if turn:
                        found.append(cpu_us)
    except Failed as failure:
        table.notes.append(str(failure))
        return [table]
    us = {way: statistics.median(found) for way, found in seen.items()}
    table.rows = [
        [text, f"{us[way]:.0f}", f"{us[way] / us['file']:.2f}x"] for way, text in WAYS.items()
    ]
    table.budgets = [
        Budget("shared budget: CPU of a call, of that in a file", 1.15, us["redis"] / us["file"]),
    ]
    return [table]


def calls(session: Session, *, root: str, redis: str, way: str, count: int) -> float:
    """Make calls, ten at a time. Return the CPU of one in microseconds, with that of all threads."""
    from modelwire import ChatOpenAI, budget, shared
    from modelwire.caches import RedisCache, SQLiteCache

    limits: dict[str, Any] = {"usd": 1000}
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory())
        os.environ["XDG_CONFIG_HOME"] = folder
        cache: Any = None
        if way == "redis":
            stack.callback(shared(redis).close)
        elif way == "file cache":
            cache = SQLiteCache(Path(folder) / "answers.db")
        elif way == "redis cache":
            cache = RedisCache(redis)
        if way in ("file", "redis"):
            stack.enter_context(budget("bench", per="day", **limits))
        elif way == "nameless":
            stack.enter_context(budget(**limits))
        model = ChatOpenAI(
            model="gpt-4o-mini",
            base_url=f"{root}/v1",
            api_key="k",
            max_tokens=60,
            rate_limit=None,
            cache=cache,
        )
        asyncio.run(_ask(model, _AT_A_TIME))
        cpu_s = time.process_time()
        asyncio.run(_ask(model, count))
        return (time.process_time() - cpu_s) / count * 1e6


async def _ask(model: Any, calls: int) -> None:
    left = iter(range(calls))

    async def ask() -> None:
        for _ in left:
            await model.ainvoke(f"Question {next(_numbers)}")

    await asyncio.gather(*(ask() for _ in range(_AT_A_TIME)))
