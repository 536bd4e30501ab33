"""What the pace learns of a bucket that holds few, and what it does not take for a lower rate."""

from math import inf

import pytest

from modelwire.transport.ratelimit.rate import RateEstimate


def refused_at_the_start(taken: int, sent: int = 9) -> RateEstimate:
    """One went ahead, the others together: so many of all were taken."""
    pace = RateEstimate(0.0)
    pace.begin_burst(sent - 1, 0.3)
    pace.cut(0.35, taken, 0.3)
    for _ in range(sent - 1 - taken):
        pace.refused_of_burst()
    return pace


def grown_to(pace: RateEstimate, rate: float) -> float:
    """Keep requests waiting until the pace is that; return when."""
    now = 0.35
    while pace.rate < rate:
        now += 0.02
        pace.ready_at(now, waiting=True, mirrored=False)
        pace.level = 0.0
    return now


def test_a_bucket_of_one_is_paced_by_the_gap_and_nothing_is_caught_up() -> None:
    pace = refused_at_the_start(2)
    assert pace.burst == 2
    pace.rate, pace.level, pace.at = 10.0, 0.0, 1.0
    assert pace.ready_at(1.05, waiting=False, mirrored=False) == pytest.approx(1.101, abs=0.001)
    pace.ready_at(5.0, waiting=False, mirrored=False)
    assert pace.level == 1.0


def test_where_the_bucket_was_full_all_the_time_the_pace_is_the_estimate_and_not_what_was_taken() -> (
    None
):
    small, large = refused_at_the_start(2), refused_at_the_start(9)
    for pace in (small, large):
        now = grown_to(pace, 10.5)
        pace.cut(now, 15, 4.0)  # less than four a second were taken: it was full
    assert small.rate > 8.5
    assert large.rate < 6.0


def test_one_refusal_of_a_pair_that_came_too_close_costs_little() -> None:
    pace = refused_at_the_start(2)
    pace.cut(grown_to(pace, 10.0), 15, 4.0)
    before = pace.rate
    pace.cut(pace.cut_at + 2.0, 20, 2.0)
    assert pace.rate >= 0.93 * before


def test_refusals_that_do_not_end_are_a_lower_rate() -> None:
    pace = refused_at_the_start(2)
    pace.cut(grown_to(pace, 10.0), 15, 4.0)
    before = pace.rate
    for _ in range(6):
        pace.cut(pace.cut_at + 2.0, 1, 2.0)
    assert pace.rate < before / 3


def test_the_first_refusal_after_a_while_says_nothing_of_the_bucket() -> None:
    pace = RateEstimate(0.0)
    pace.begin_burst(30, 5.0)
    assert pace.burst == inf


def test_a_look_that_comes_late_lets_no_crowd_go() -> None:
    """The loop had no time to read what was refused meanwhile."""
    pace = RateEstimate(0.0)
    pace.hold_until(0.0)
    pace.level = 0.0
    pace.ready_at(2.0, waiting=True, mirrored=False)
    assert pace.level < 4
