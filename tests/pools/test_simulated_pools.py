"""The ten scenes of a pool in virtual time, its hedges and its warm prompts: the figures that docs/pool.md names."""

from __future__ import annotations

import pytest
from support.pool_scenes import SCENES
from support.pool_tails import tail, warmth
from support.simulated_pool import run_pool

SEEDS = (1, 2, 3, 4, 5)
ROWS = 6000
# Makespan against a client that knows the limits, and the part of answers that refuse because of a limit.
MOST = dict.fromkeys(SCENES, (1.05, 0.02))


@pytest.mark.long
@pytest.mark.parametrize("scene", list(SCENES))
def test_a_scene(scene: str) -> None:
    scores = [run_pool(SCENES[scene], rows=ROWS, seed=seed) for seed in SEEDS]
    assert [(score.outcome.done, score.outcome.lost) for score in scores] == [(ROWS, 0)] * len(
        SEEDS
    )
    ratio = sum(score.ratio for score in scores) / len(scores)
    refused = sum(score.refused for score in scores) / len(scores)
    most_ratio, most_refused = MOST[scene]
    assert ratio <= most_ratio
    assert refused <= most_refused


def test_a_short_job_loses_nothing_while_a_key_is_revoked_and_another_place_is_down() -> None:
    scene = [*SCENES["one key revoked"], *SCENES["one down"]]
    score = run_pool(scene, rows=1500)
    assert (score.outcome.done, score.outcome.lost) == (1500, 0)


@pytest.mark.long
def test_hedges_cut_the_tail_at_few_extra_calls() -> None:
    alone, hedged = tail(None), tail("p95")
    assert hedged.p99_s <= 0.6 * alone.p99_s
    assert 0 < hedged.extra <= 0.0501


def test_warm_prompts_stay_where_they_are() -> None:
    single, sticky, loose = warmth(1), warmth(3), warmth(3, sticky=False)
    assert sticky.cached >= 0.95 * single.cached
    assert sticky.seconds <= 1.05 * single.seconds
    assert loose.cached < 0.9 * single.cached
