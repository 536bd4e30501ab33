"""How many streams of 50 tokens a second one core reads without falling behind.

A stream is held when it ends within 5% of the time its server took as planned. A count of streams is held when the
median of them is. The search starts at a low count, guesses the limit from the CPU spent there, and closes in.
"""

from __future__ import annotations

import asyncio
import time
import urllib.request
from dataclasses import dataclass
from typing import Any

from benchmarks.contenders import Contender
from benchmarks.lineup import Lineup, Outcome
from benchmarks.tables import Budget, Table, ratio
from benchmarks.worker import Failed, Session

_TOKENS_PER_S = 50
_LATE = 1.05  # of the ideal duration
_FIRST_COUNT = 32
_MOST_STREAMS = 2_048
_MOST_PROBES = 7


@dataclass
class Limit:
    """How many streams one contender holds, and its lag and cost there."""

    streams: int
    lag_ms: float
    token_us: float
    guessed: bool = False


def run(lineup: Lineup) -> list[Table]:
    """Share of a core at a low count, in turn; then each contender's limit."""
    seconds = 1.5 if lineup.quick else 2.5
    shares = lineup.in_turn(
        "live_streams.read_streams",
        rounds=1,
        warm_up=not lineup.quick,
        **_probe(lineup, _FIRST_COUNT, seconds),
    )
    limits: dict[str, Limit | str] = {}
    for name, outcome in shares.items():
        try:
            if outcome.failure:
                raise Failed(outcome.failure)
            limits[name] = _limit(lineup, name, outcome.results[0], seconds)
        except Failed as failure:
            limits[name] = str(failure)
    return [_table(shares, limits, seconds)]


def _probe(lineup: Lineup, streams: int, seconds: float) -> dict[str, Any]:
    return {
        "root": lineup.servers.loopback,
        "streams": streams,
        "tokens": int(seconds * _TOKENS_PER_S),
    }


def _limit(lineup: Lineup, name: str, first: dict[str, float], seconds: float) -> Limit:
    """Find the largest count that is held, to about 5%; in a quick run only guess it."""
    guess = int(0.95 * _FIRST_COUNT / first["core_share"])
    if lineup.quick:
        return Limit(guess, first["lag_ms"], first["token_us"], guessed=True)
    limit, failed = Limit(0, first["lag_ms"], first["token_us"]), _FIRST_COUNT + 1
    if first["lateness"] <= _LATE:
        limit, failed = Limit(_FIRST_COUNT, first["lag_ms"], first["token_us"]), _MOST_STREAMS + 1
    streams = guess if limit.streams else _FIRST_COUNT // 2
    for _ in range(_MOST_PROBES):
        result = lineup.worker(name).measure(
            "live_streams.read_streams", **_probe(lineup, streams, seconds)
        )
        if result["lateness"] <= _LATE:
            limit = Limit(streams, result["lag_ms"], result["token_us"])
        else:
            failed = streams
        if failed - limit.streams <= max(1, limit.streams // 20):
            break
        streams = min(max(limit.streams * 5 // 4, 1), (limit.streams + failed) // 2)
    return limit


def read_streams(session: Session, *, root: str, streams: int, tokens: int) -> dict[str, float]:
    """Read that many streams at once, all begun by the server at the same moment."""
    with urllib.request.urlopen(f"{root}/plan-{streams}-{_TOKENS_PER_S}-{tokens}", timeout=10):
        contender = session.contender(f"{root}/pace")
    return session.runner.run(_read_streams(contender, streams, (tokens - 1) / _TOKENS_PER_S))


async def _read_streams(contender: Contender, streams: int, ideal_s: float) -> dict[str, float]:
    readers = [_Reader() for _ in range(streams)]
    tasks = [asyncio.ensure_future(contender.read_astream(reader.take)) for reader in readers]
    while not any(reader.last_s for reader in readers):  # opening the streams is not measured
        await asyncio.sleep(0.01)
        for task in tasks:
            if task.done():
                await task
    cpu_s, start_s = time.process_time(), time.monotonic()
    await asyncio.gather(*tasks)
    cpu_s, wall_s = time.process_time() - cpu_s, time.monotonic() - start_s
    lateness = sorted((reader.last_s - reader.first_stamp_s) / ideal_s for reader in readers)
    lags = sorted(reader.last_s - reader.last_stamp_s for reader in readers)
    return {
        "lateness": lateness[streams // 2],
        "lag_ms": lags[streams // 2] * 1e3,
        "core_share": cpu_s / max(ideal_s, wall_s),
        "token_us": cpu_s / sum(reader.tokens for reader in readers) * 1e6,
    }


class _Reader:
    """Notes when the first token was written, and when the last one was written and read."""

    first_stamp_s = last_stamp_s = last_s = 0.0
    tokens = 0

    def take(self, text: str) -> None:
        if text:
            self.tokens += 1
            self.last_s = time.monotonic()
            self.last_stamp_s = float(text)
            if not self.first_stamp_s:
                self.first_stamp_s = self.last_stamp_s


def _table(shares: dict[str, Outcome], limits: dict[str, Limit | str], seconds: float) -> Table:
    table = Table(
        f"Live streams of {_TOKENS_PER_S} tokens/s held by one core, {seconds:g} s each",
        [
            "contender",
            "held",
            "x httpx2",
            "last token's lag ms",
            "CPU us a token",
            f"at {_FIRST_COUNT} streams",
        ],
    )
    counts = {name: limit.streams for name, limit in limits.items() if isinstance(limit, Limit)}
    for name, limit in limits.items():
        if not isinstance(limit, Limit):
            table.rows.append([name, limit])
            continue
        against = ratio(limit.streams, counts.get("httpx2"))
        cells = [
            f"{'~' if limit.guessed else ''}{limit.streams}",
            "-" if against is None else f"{against:.2f}",
        ]
        token_us = shares[name].results[0]["token_us"]
        table.rows.append(
            [name, *cells, f"{limit.lag_ms:.0f}", f"{limit.token_us:.0f}", f"{token_us:.0f}"]
        )
    table.notes.append(
        "held: the median stream ends within 5% of its plan; ~: a low guess from the core share, not tried"
    )
    for what, least, ours, bare in (
        ("live streams, x bare httpx2", 0.95, "modelwire", "httpx2"),
        ("live streams with aiohttp, x bare aiohttp", 0.8, "modelwire+aiohttp", "aiohttp"),
    ):
        table.budgets.append(
            Budget(what, least, ratio(counts.get(ours), counts.get(bare)), at_least=True)
        )
    return table
