"""The planner: never late where live calls alone would not be, and near the least that anybody could pay."""

from __future__ import annotations

from random import Random

import pytest
from support.plan_scenes import HOUR, SCENES, Scene, all_live_s, least_cost, played

from modelwire.jobs.plan import (
    ASSUMED_RATE,
    BatchState,
    Pace,
    State,
    Tier,
    expected,
    next_step,
    rate_of,
    shortage,
)

# Where live calls alone need most of the time, rows cannot wait: whoever does may be late.
MOST = {"no room to wait": 1.3}


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.what)
def test_a_scene_is_on_time_and_near_the_least_price(scene: Scene) -> None:
    outcome = played(scene)
    assert all_live_s(scene) < scene.left_s and outcome.end_s <= scene.left_s
    assert outcome.paid == scene.rows  # each row once
    least = least_cost(scene, len(outcome.batches) or 1)
    assert 0.99 * least <= outcome.cost <= MOST.get(scene.what, 1.15) * least


def test_random_scenes_are_on_time_wherever_live_calls_alone_are() -> None:
    ratios = []
    for seed in range(60):
        rng = Random(seed)
        rate, left_s = rng.choice([0.5, 2, 10, 50]), rng.uniform(0.5, 12) * HOUR
        takes = [rng.lognormvariate(0, 1) * HOUR for _ in range(40)]
        scene = Scene(
            what=f"seed {seed}",
            rows=int(rate * left_s * rng.uniform(0.02, 0.95)) + 5,
            left_s=left_s,
            rate=lambda now, rate=rate: rate,
            takes_s=lambda number, takes=takes: takes[number % 40],
            piecewise=rng.random() < 0.5,
            advertised=rng.random() < 0.6,
            tiers=(Tier("flex", 0.5, rate * rng.uniform(0.02, 0.9)),) * rng.randrange(2),
        )
        outcome = played(scene)
        assert outcome.end_s <= left_s and outcome.paid == scene.rows, scene.what
        ratios.append(outcome.cost / least_cost(scene, len(outcome.batches) or 1))
    assert sum(ratios) / len(ratios) < 1.1


def state(**facts: object) -> State:
    return State(**{"left_s": 10 * HOUR, "rows": 10_000, "rate": 10.0, "price": 0.01, **facts})  # type: ignore[arg-type]


def test_all_rows_wait_where_there_is_time_and_none_where_there_is_not() -> None:
    assert sum(next_step(state()).submit) == 10_000
    assert next_step(state(left_s=900.0, rows=1_000)).submit == ()
    assert next_step(state(has_batches=False)) == ((), (), 10_000, "live")
    assert next_step(state(chunk=400)).submit == (400,) * 25


def test_no_more_rows_go_live_than_the_money_is_for() -> None:
    assert next_step(state(left_s=1200.0)).live == 8_081
    assert (
        next_step(state(left_s=1200.0, money=60.0)).live == 2_000
    )  # 20 dollars, and 40 for the others


def test_batches_are_ended_one_after_the_other_the_least_done_first() -> None:
    batches = tuple(
        BatchState(number, 2_000, done, 3600.0) for number, done in enumerate((0, 1_500, 300, 900))
    )
    waits = state(rows=0, batches=batches, left_s=3 * HOUR)
    assert next_step(waits).cancel == ()
    assert next_step(state(rows=0, batches=batches, left_s=1500.0)).cancel == (0, 2, 3, 1)
    assert next_step(state(rows=0, batches=batches, left_s=1100.0, cancel_s=100.0)).cancel == (0,)
    assert next_step(state(rows=0, batches=batches, left_s=1500.0, money=50.0)).cancel == (
        0,
    )  # for no more anew


def test_a_cheap_tier_is_taken_while_it_is_fast_enough_and_a_fast_one_when_nothing_else_is() -> (
    None
):
    tiers = (Tier("flex", 0.5, 5.0), Tier("priority", 2.0, 30.0))
    for left_s, name in ((HOUR, "flex"), (2000.0, "live"), (600.0, "priority")):
        assert next_step(state(has_batches=False, tiers=tiers, left_s=left_s)).tier == name
    assert (
        next_step(state(has_batches=False, tiers=tiers, left_s=600.0, money=150.0)).tier == "live"
    )


def test_rows_that_are_kept_from_batches_for_a_cheap_tier_go_there() -> None:
    for rows, rate in ((20_000, 4.0), (200_000, 4.0), (280_000, 9.0), (20_000, 0.05)):
        step = next_step(state(rows=rows, tiers=(Tier("flex", 0.5, rate),)))
        assert step.tier == "flex" and step.live + sum(step.submit) == rows
        assert (step.live < rows) == (rows > 20_000 or rate < 1)
    assert next_step(state(tiers=(Tier("flex", 0.6, 4.0),))).live == 0  # a batch costs less


def test_a_rate_is_what_is_advertised_or_seen_and_a_burst_is_no_rate() -> None:
    assert rate_of(None, 0, 0.0) == (ASSUMED_RATE, False)
    assert rate_of(3.0, 1000, 1.0) == (3.0, True)
    assert rate_of(None, 20, 0.1) == (ASSUMED_RATE, False)
    assert rate_of(None, 20, 10.0) == (2.0, False)
    assert rate_of(None, 6000, 60.0) == (100.0, True)


def test_the_pace_follows_what_was_seen() -> None:
    assert Pace().seconds_for(0.5) == pytest.approx(3600, abs=1)
    assert Pace([300.0] * 36).share_within(301) > 0.9
    assert Pace().share_within(6_400, age_s=80_000) == pytest.approx(1)  # a day is the longest
    assert Pace().share_within(0) == 0 and Pace().share_within(90_000) == 1


def test_an_expectation_adds_up() -> None:
    plan = expected(state(left_s=3 * HOUR))
    assert plan.rows == 10_000 and plan.end_s <= 3 * HOUR
    assert plan.most == pytest.approx(100.0) and plan.cost is not None and 50.0 < plan.cost < 100.0
    assert [line.way for line in plan.lines] == ["batch", "batch, then live"]
    assert expected(state(price=None)).cost is None


@pytest.mark.parametrize(
    ("facts", "late", "earliest_s", "earliest_cost", "hour_cost"),
    [
        ({"left_s": 500.0}, True, 1000.0, 100.0, None),
        ({"left_s": 500.0, "money": 60.0}, True, 86_400.0, 50.0, None),
        ({"left_s": 2 * HOUR, "money": 60.0}, False, 86_400.0, 50.0, 100.0),
        ({"left_s": 2 * HOUR, "money": 10.0}, False, float("inf"), 50.0, 100.0),
    ],
)
def test_what_cannot_be_says_what_can(
    facts: dict[str, float],
    late: bool,
    earliest_s: float,
    earliest_cost: float,
    hour_cost: float | None,
) -> None:
    short = shortage(state(**facts))
    assert short is not None
    assert (short.late, short.earliest_s, short.earliest_cost, short.hour_cost) == (
        late,
        earliest_s,
        pytest.approx(earliest_cost),
        hour_cost,
    )


def test_what_can_be_is_not_refused() -> None:
    assert shortage(state()) is None
    assert shortage(state(money=60.0)) is None
    assert shortage(state(left_s=500.0, tiers=(Tier("priority", 2.0, 30.0),))) is None
