"""Pools of deployments against a client that knows their limits, in virtual time: the real scheduler and limiters."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.tables import Budget, Table

if TYPE_CHECKING:
    from benchmarks.lineup import Lineup

__all__ = ["run"]

_SEEDS = (1, 2, 3, 4, 5)


def run(lineup: Lineup) -> list[Table]:
    # The simulated provider is the tests' own.
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    return [_scenes(rows=2000 if lineup.quick else 6000), _hedges(), _warm_prompts()]


def _scenes(rows: int) -> Table:
    from support.pool_scenes import SCENES
    from support.simulated_pool import run_pool

    title = f"{rows} rows over a pool, 200 at a time: the mean of {len(_SEEDS)} runs"
    table = Table(title, ["", "makespan", "refused", "lost", "rows of each deployment"])
    for what, scene in SCENES.items():
        scores = [run_pool(scene, rows=rows, seed=seed) for seed in _SEEDS]
        ratio = sum(score.ratio for score in scores) / len(scores)
        refused = sum(score.refused for score in scores) / len(scores)
        lost = sum(rows - score.outcome.done for score in scores)
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
