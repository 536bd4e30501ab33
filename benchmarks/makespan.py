"""How long a job takes under a rate limit, against an omniscient client; how much of what is sent is refused.

The clock is virtual and so is the provider: a token bucket, refusals in 55 ms, answers in 1.8 s at the median. The
calls of modelwire are its real flows with its real limiter; the others are the retry loops people write and SDKs have.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.tables import Budget, Table

if TYPE_CHECKING:
    from benchmarks.lineup import Lineup

__all__ = ["run"]

_GIVE_UP_S = 1500.0
_Call = Callable[[Any, int], Generator[Any, Any, Any]]


def run(lineup: Lineup) -> list[Table]:
    sys.path.insert(
        0, str(Path(__file__).parents[1] / "tests")
    )  # the simulated provider is the tests' own
    from support.simulated_provider import SlidingWindow, TokenBucket, run_job

    def rpm(*steps: tuple[float, float], burst_s: float = 1.0) -> Any:
        return TokenBucket(steps or ((0.0, 10.0),), burst_s)

    changing = rpm((0.0, 10.0), (150.0, 5.0), (300.0, 20.0))
    outage = {"requests": rpm(), "outages": [(200.0, 260.0, 503)]}
    rows = 1000 if lineup.quick else 5000
    jobs: list[tuple[str, dict[str, Any], float | None, float | None]] = [
        ("600 a minute, no headers", {"requests": rpm()}, 1.05, 2),
        ("the same, Retry-After", {"requests": rpm(), "headers": "retry-after"}, 1.05, 2),
        ("the same, all headers", {"requests": rpm(), "headers": "full"}, 1.05, 0.5),
        ("a minute's burst, no headers", {"requests": rpm(burst_s=60)}, 1.02, 2),
        ("600, then 300, then 1200", {"requests": changing}, 1.08, 2),
        ("refusals use up quota", {"requests": rpm(), "refusals_cost": True}, 1.05, 2),
        ("four processes", {"requests": rpm(), "processes": 4}, 1.15, 5),
        ("64 at a time, else 503", {"slots": 64}, 1.12, 1.5),
        ("an outage of 60 s", outage, None, None),
    ]
    table = _compared(
        f"Makespan of {rows} rows, 200 at a time (of the ideal), and refused requests",
        jobs,
        lambda **settings: run_job(rows=rows, until=_GIVE_UP_S, **settings),
        rows,
        budgets=not lineup.quick,
    )
    nothing_left = {
        "x-ratelimit-limit-requests": "100",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "1764000000",
    }
    odd: list[tuple[str, dict[str, Any], float | None, float | None]] = [
        ("no limit, none refused", {}, 1.5, 0),
        ("1 % refused at random (429)", {"refuses": (429, 0.01)}, 1.5, 2),
        ("2 % refused at random (429)", {"refuses": (429, 0.02)}, 1.5, 3),
        ("5 % refused at random (429)", {"refuses": (429, 0.05)}, 2.0, 7),
        ("2 % refused at random (503)", {"refuses": (503, 0.02)}, 1.5, 3),
        ("headers always say 0 left", {"says_always": nothing_left}, 1.5, 0),
        ("one Retry-After: 3600 (1 lost)", {"asks_at": 300}, 1.5, 1),
        ("100 in any 10 s", {"requests": SlidingWindow(100, 10.0)}, None, None),
        ("10 a second, none from 10 s on", {"requests": rpm((0.0, 10.0), (10.0, 1e5))}, None, None),
    ]
    few = 1000
    chance = _compared(
        f"Odd refusals: {few} rows of 0.3 s, 200 at a time (of the ideal), and refused requests",
        odd,
        lambda **settings: run_job(rows=few, until=_GIVE_UP_S, latency_s=0.3, **settings),
        few,
        budgets=True,
    )
    return [table, chance, _beside_rows(), _stated(), _embeddings(quick=lineup.quick)]


_Settings = dict[str, Any]


def _compared(
    title: str,
    jobs: list[tuple[str, _Settings, float | None, float | None]],
    score_of: Callable[..., Any],
    rows: int,
    *,
    budgets: bool,
) -> Table:
    """Run each job with our calls and with those of the others."""
    names = [
        "modelwire",
        "tenacity, 3 tries",
        "tenacity, for ever",
        "SDK, 2 retries",
        "SDK, for ever",
    ]
    calls: list[_Call | None] = [None, _tenacity(3), _tenacity(None), _sdk(3), _sdk(None)]
    table = Table(title, ["", *names])
    for what, settings, most, refused in jobs:
        cells = [what]
        for call in calls:
            score = score_of(call=call, **settings)
            cells.append(_cell(score, rows))
            if call is None and most is not None and refused is not None and budgets:
                table.budgets.append(Budget(f"makespan: {what}", most, score.ratio))
                table.budgets.append(
                    Budget(f"refused: {what}", refused, score.wasted * 100, unit="%")
                )
        table.rows.append(cells)
    table.notes = [
        "x: the time an omniscient client needs with the same latencies. In brackets: answers that were refusals.",
        f"`n lost`: rows without an answer. `n done`: the job was stopped after {_GIVE_UP_S:g} s.",
        "tenacity: `wait_exponential_jitter`; SDK: the backoff of `openai` 3.52, which heeds Retry-After.",
    ]
    return table


def _beside_rows() -> Table:
    """Make a single call every 5 s while 200 rows wait for the same key, which takes ten requests a second."""
    from support.simulated_provider import Job, Outcome, Provider, TokenBucket, World

    world, rows, singles = World(), Outcome(), Outcome()
    limit = TokenBucket(((0.0, 10.0),), 0.1)
    provider = Provider(world, requests=limit, latency_s=0.5)
    batch = Job(world, provider, iter(range(500)), rows)

    def call() -> None:
        Job(
            world,
            provider,
            iter(range(1)),
            singles,
            workers=1,
            limiter=batch.limiter,
            patient=False,
        )

    for n in range(5):
        world.at(5.0 + 5 * n, call)
    world.run(_GIVE_UP_S)
    waits_s = sorted(wait_s for _, wait_s in singles.waits_s)
    title = (
        "A single call beside 200 queued rows of its key, ten requests a second, 0.5 s an answer"
    )
    table = Table(title, ["", "median", "slowest", "behind the rows"])
    table.rows.append(
        ["until it is answered", f"{waits_s[2]:.2f} s", f"{waits_s[-1]:.2f} s", "20 s"]
    )
    table.budgets.append(Budget("a call beside rows", 3.0, waits_s[-1], unit=" s"))
    return table


def _stated() -> Table:
    """Run jobs with `rpm=` and count the requests of the fullest minute."""
    from random import Random

    from support.simulated_provider import Job, Outcome, Provider, World

    from modelwire.transport.ratelimit.limiter import AdaptiveRateLimiter

    table = Table("`rpm=`: four times as many rows", ["rpm", "fullest minute", "all done after"])
    for per_minute in (6, 60, 600):
        world, outcome = World(), Outcome()
        provider = Provider(world, latency_s=0.3)
        limiter = AdaptiveRateLimiter(0.0, Random(1))
        limiter.state(per_minute, None, 0.0)
        Job(world, provider, iter(range(4 * per_minute)), outcome, limiter=limiter)
        world.run(_GIVE_UP_S)
        times = [at for at, _ in provider.arrivals]
        fullest = max(sum(start <= at < start + 60 for at in times) for start in times)
        table.rows.append([f"{per_minute}", f"{fullest}", f"{outcome.makespan_s:.0f} s"])
        table.budgets.append(
            Budget(f"rpm={per_minute}: fullest minute", per_minute, fullest, unit="")
        )
    return table


def _embeddings(*, quick: bool) -> Table:
    """Embed short texts at limits of tokens a minute."""
    from support.embedding_scene import embedding_scene

    texts = 200_000 if quick else 1_000_000
    table = Table(
        f"Embeddings: {texts:,} short texts at a limit of tokens, which the job is not told",
        ["tokens a minute", "saved up", "headers", "of the ideal", "refused", "requests at most"],
    )
    for tokens_a_minute in (1_000_000, 5_000_000, 10_000_000):
        for headers in ("none", "full"):
            score = embedding_scene(
                texts=texts, tokens_a_minute=tokens_a_minute, burst_s=10, headers=headers
            )
            table.rows.append(
                [
                    f"{tokens_a_minute:,}",
                    "10 s",
                    headers,
                    f"{score.ratio:.3f}x",
                    f"{score.wasted:.1%}",
                    f"{score.most_rows // 2048}",
                ]
            )
            what = f"embeddings at {tokens_a_minute:,} tokens a minute, headers `{headers}`"
            table.budgets.append(Budget(what, 1.05, score.ratio))
    return table


def _cell(score: Any, rows: int) -> str:
    refused = f"({score.wasted:.1%})"
    if score.outcome.lost:
        return f"{score.outcome.lost} lost {refused}"
    if score.outcome.done < rows:
        return f"{score.outcome.done} done {refused}"
    return f"{score.ratio:.2f}x {refused}"


def _tenacity(tries: int | None) -> _Call:
    """Wait as `tenacity.wait_exponential_jitter` does by default: 1 s, doubled up to 60 s, plus up to 1 s."""
    return _retrying(tries, lambda job, n, asked_s: min(2.0 ** min(n, 10), 60.0) + job.rng.random())


def _sdk(tries: int | None) -> _Call:
    """Wait as `openai` 3.52 does: what Retry-After says, else 0.5 s, doubled up to 8 s, less up to a quarter."""

    def wait_s(job: Any, n: int, asked_s: float | None) -> float:
        if asked_s is not None and 0 < asked_s <= 120:
            return asked_s
        return float(min(0.5 * 2.0 ** min(n, 10), 8.0) * (1 - 0.25 * job.rng.random()))

    return _retrying(tries, wait_s)


def _retrying(tries: int | None, wait_s: Callable[[Any, int, float | None], float]) -> _Call:
    from modelwire.errors import ChatError
    from modelwire.transport.retry import read_retry_after
    from modelwire.transport.steps import Send, Sleep
    from modelwire.transport.wire import Reply

    def call(job: Any, row: int) -> Generator[Any, Any, None]:
        from support.simulated_provider import WIRE

        for n in count():
            reply: Reply = yield Send(stream=False, remaining_s=None)
            if reply.status == 200:
                return
            error: ChatError = WIRE.error(reply)
            if n + 1 == tries:
                raise error
            yield Sleep(wait_s(job, n, read_retry_after(reply.headers)), error, n + 1)

    return call
