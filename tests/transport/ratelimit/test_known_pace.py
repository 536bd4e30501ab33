"""A pace that is known outlasts what says nothing of it: outages, other limits, refusals by chance, trials."""

from __future__ import annotations

from math import inf
from random import Random

import pytest
from support.simulated_provider import Score, TokenBucket, run_job

from modelwire.errors import Overloaded, RateLimited
from modelwire.transport.ratelimit.admission import Admission
from modelwire.transport.ratelimit.concurrency import ConcurrencyLimit
from modelwire.transport.ratelimit.limiter import AdaptiveRateLimiter
from modelwire.transport.ratelimit.random_refusals import RandomRefusals
from modelwire.transport.ratelimit.rate import RateEstimate

TEN_A_SECOND = TokenBucket(((0.0, 10.0),), 1.0)


def outage(status: int) -> Score:
    return run_job(rows=1500, requests=TEN_A_SECOND, outages=[(60.0, 80.0, status)])


@pytest.mark.parametrize("status", [500, 503])
def test_after_an_outage_the_pace_goes_on(status: int) -> None:
    score = outage(status)
    after = [seen for at, seen in score.provider.arrivals if at >= 80.0]
    assert after.count(429) <= 0.02 * len(after)
    assert score.ratio <= 1.07, str(score)


@pytest.mark.parametrize("status", [500, 503])
def test_after_an_outage_the_requests_come_back_within_seconds_and_not_at_once(status: int) -> None:
    times = [at for at, _ in outage(status).provider.arrivals if at >= 80.0]
    probed, *rest = times
    back = rest[0]
    assert back - probed > 0.3  # The probe is answered first.
    assert sum(at < back + 1.0 for at in rest) <= 8
    assert sum(back + 3.0 <= at < back + 5.0 for at in rest) >= 18


def learned(rate: float = 10.0, cuts: int = 3) -> RateEstimate:
    pace = RateEstimate(0.0)
    pace.rate = pace.rate_after_cut = pace.proven = rate
    pace.cuts, pace.ramp, pace.cut_at = cuts, inf, 0.0
    return pace


def test_a_rate_does_not_grow_while_another_limit_holds_requests_back() -> None:
    pace = learned()
    for step in range(1, 600):
        pace.held_back(step / 10)
    assert pace.rate == 10.0
    pace.ready_at(60.1, waiting=True, mirrored=False)
    assert pace.rate == 10.0


def test_places_that_held_nothing_back_are_as_many_after_an_outage_as_before() -> None:
    used, unused = ConcurrencyLimit(), ConcurrencyLimit()
    used.most, unused.most = 20.0, 100.0
    for limit in (used, unused):
        limit.narrow(20.0, in_a_row=True)
        limit.narrow(5.0, in_a_row=True)
    assert used.reopen(keeps_unused=True)
    assert used.most == pytest.approx(14.0)
    assert unused.reopen(keeps_unused=True)
    assert unused.most == 100.0
    assert not unused.reopen(keeps_unused=True)


def test_a_trial_that_finds_the_limit_again_takes_up_the_rate_that_was_known() -> None:
    pace = learned()
    pace.forget(20.0)
    assert pace.rate == inf
    pace.cut(20.3, 2, 0.3)
    assert pace.rate == 10.0
    pace.forget(30.0)
    pace.cut(30.1, 0, 0.1)
    assert pace.rate == 10.0
    pace.forget(40.0)
    pace.cut(41.0, 40, 1.0)
    assert pace.rate == pytest.approx(34.0)


class Proven:
    """A limiter that has sent 300 requests at a learned pace, and is refused now and then."""

    def __init__(self) -> None:
        self.limiter = AdaptiveRateLimiter(0.0, Random(1))
        self.limiter.rate = self.limiter.congestion.rate = learned()
        self.limiter.congestion.accepted.refusals = 1
        self.now = 0.0
        for _ in range(300):
            self.send()

    def send(self, error: Exception | None = None) -> float:
        """Send a request that is answered, or fails; return the rate after it."""
        self.now += 0.1
        self.limiter.rate.level = 5.0
        admission = Admission(self.now, again=False, patient=True, size=40, max_output=None)
        self.limiter.admit(admission)
        assert admission.granted
        if error is None:
            self.limiter.answered(admission, self.now)
        else:
            self.limiter.failed(admission, self.now, error)  # type: ignore[arg-type]
        self.limiter.leave(admission, self.now)
        return self.limiter.rate.rate


def test_one_refusal_at_a_pace_long_proven_changes_nothing_and_the_second_cuts_it() -> None:
    proven = Proven()
    assert proven.send(RateLimited("no")) == 10.0
    assert proven.limiter.gate.pause_s(proven.now) == 0.0
    for _ in range(20):
        proven.send()
    assert proven.send(RateLimited("no")) < 10.0


def test_a_single_refusal_with_a_retry_after_pauses_all_the_same() -> None:
    proven = Proven()
    assert proven.send(RateLimited("no", retry_after=3.0)) == 10.0
    assert proven.limiter.gate.pause_s(proven.now) >= 3.0


def test_an_overload_is_no_refusal_by_chance() -> None:
    proven = Proven()
    proven.send(Overloaded("no"))
    assert proven.limiter.concurrency.most < inf


def test_cuts_of_a_grown_pace_among_rare_refusals_put_off_the_trial() -> None:
    luck = RandomRefusals()
    for _ in range(30):
        for in_vain in (True, False):
            for _ in range(60):
                luck.sent()
            luck.refused()
            assert not luck.slowed(in_vain=in_vain)


def test_many_refusals_begin_a_trial_whatever_cuts_lie_between() -> None:
    luck = RandomRefusals()
    trials = 0
    for _ in range(30):
        for in_vain in (True, False):
            for _ in range(15):
                luck.sent()
            luck.refused()
            trials += luck.slowed(in_vain=in_vain)
    assert trials >= 1
