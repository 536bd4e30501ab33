"""Pools of deployments against a client that knows their limits, in virtual time: the real scheduler and limiters."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from time import thread_time
from typing import TYPE_CHECKING

from benchmarks.answers import whole_answer
from benchmarks.tables import Budget, Table

if TYPE_CHECKING:
    from benchmarks.lineup import Lineup

__all__ = ["run"]

_SEEDS = (1, 2, 3, 4, 5)
_ROWS = 6000


def run(lineup: Lineup) -> list[Table]:
    # The simulated provider is the tests' own.
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    seeds = _SEEDS[:2] if lineup.quick else _SEEDS
    return [_scenes(seeds), _hedges(), _warm_prompts(), _call_cost()]


def _scenes(seeds: Sequence[int]) -> Table:
    from support.pool_scenes import SCENES
    from support.simulated_pool import run_pool

    title = f"{_ROWS} rows over a pool, 200 at a time: the mean of {len(seeds)} runs"
    table = Table(title, ["", "makespan", "refused", "lost", "rows of each deployment"])
    for what, scene in SCENES.items():
        scores = [run_pool(scene, rows=_ROWS, seed=seed) for seed in seeds]
        ratio = sum(score.ratio for score in scores) / len(scores)
        refused = sum(score.refused for score in scores) / len(scores)
        lost = sum(_ROWS - score.outcome.done for score in scores)
        spread = " ".join(str(one.seen[200]) for one in scores[0].providers)
        table.rows.append([what, f"{ratio:.3f}x", f"{refused:.2%}", str(lost), spread])
        table.budgets += [
            Budget(f"pool, makespan: {what}", 1.05, ratio),
            Budget(f"pool, refused: {what}", 2.0, refused * 100, unit="%"),
            Budget(f"pool, lost: {what}", 0, lost, unit=""),
        ]
    table.notes = [
        "x: the time of a client that knows all limits and outages, with latencies of the same kind.",
        "random 429: 1 % of the requests are refused whatever the pace.",
    ]
    return table


def _hedges() -> Table:
    from support.pool_tails import tail

    alone, hedged = tail(None), tail("p95")
    table = Table("4000 calls, 2 % of which take 15 s", ["", "99th percentile", "extra calls"])
    for what, one in (("without hedges", alone), ('hedge="p95"', hedged)):
        table.rows.append([what, f"{one.p99_s:.2f} s", f"{one.extra:.1%}"])
    table.budgets = [
        Budget("hedges: 99th percentile, of that without", 0.6, hedged.p99_s / alone.p99_s),
        Budget("hedges: extra calls", 5.0, round(hedged.extra * 100, 6), unit="%"),
    ]
    return table


def _warm_prompts() -> Table:
    from support.pool_tails import warmth

    rows = {
        "one deployment": warmth(1),
        "a pool of three": warmth(3),
        "the same, sticky=False": warmth(3, sticky=False),
    }
    table = Table("60 conversations of 8 turns, 10,000 tokens each", ["", "cached tokens", "time"])
    for what, one in rows.items():
        table.rows.append([what, f"{one.cached:,}", f"{one.seconds:.0f} s"])
    single, sticky = rows["one deployment"], rows["a pool of three"]
    table.budgets = [
        Budget(
            "sticky: cached tokens, of one deployment's",
            0.95,
            sticky.cached / single.cached,
            at_least=True,
        ),
        Budget("sticky: time, of one deployment's", 1.05, sticky.seconds / single.seconds),
    ]
    return table


def _call_cost() -> Table:
    """Compare calls of a pool of three with calls of one model, in turns; no connection is opened."""
    table = Table("CPU of a call in process", ["", "one model", "a pool of three", "more"])
    for what, headers in (("no limits known", {}), ("headers advertise limits", _ADVERTISED)):
        one, three = _times(headers)
        more = three - one
        table.rows.append([what, f"{one:.0f} us", f"{three:.0f} us", f"{more:.0f} us"])
        name = f"a pool of three, more than a model: {what}"
        table.budgets.append(Budget(name, 25.0, round(more, 1), unit=" us"))
    table.notes = ["us: the tenth percentile of 250 times 8 calls."]
    return table


_ADVERTISED = {
    "x-ratelimit-limit-requests": "10000",
    "x-ratelimit-remaining-requests": "9999",
    "x-ratelimit-reset-requests": "6ms",
    "x-ratelimit-limit-tokens": "2000000",
    "x-ratelimit-remaining-tokens": "1999990",
    "x-ratelimit-reset-tokens": "0s",
}


def _times(headers: dict[str, str]) -> tuple[float, float]:
    import httpx2

    from modelwire import pool
    from modelwire.adapters import ChatOpenAI

    body = whole_answer("openai")
    sent = {**headers, "content-type": "application/json"}

    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, content=body, headers=sent)

    def model(name: str) -> ChatOpenAI:
        client = httpx2.Client(transport=httpx2.MockTransport(answer))
        return ChatOpenAI(
            model="m", api_key=name, base_url=f"http://{name}.test/v1", http_client=client
        )

    models = [model("one"), pool([model("a"), model("b"), model("c")])]
    seconds: list[list[float]] = [[], []]
    for turn in range(300):
        for one, took in zip(models, seconds, strict=True):
            one.invoke("hello")
            started = thread_time()
            for _ in range(8):
                one.invoke("hello")
            if turn >= 50:  # The first ones warm up.
                took.append((thread_time() - started) / 8 * 1e6)
    one_us, three_us = (sorted(took)[len(took) // 10] for took in seconds)
    return one_us, three_us
