"""The pure decisions of a pool: where a call goes, which deployment is out, when a second one is asked."""

from __future__ import annotations

from math import inf
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwire.errors import (
    AuthenticationError,
    BadRequest,
    BudgetExceeded,
    ChatError,
    ConnectionLost,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    RetryClass,
    ServerError,
    Timeout,
)
from modelwire.messages import AIMessage, HumanMessage, SystemMessage
from modelwire.pools.call import PoolCall
from modelwire.pools.choice import Candidate, Preference, WaitFor, choose, fast_ones
from modelwire.pools.deployment import Deployment
from modelwire.pools.health import Health, Verdict, verdict_of
from modelwire.pools.hedging import HedgeBudget
from modelwire.pools.scheduler import Scheduler, _medians
from modelwire.pools.sticky import StickyTable, cold_s, prefix_of
from modelwire.pools.times import Times
from modelwire.transport.ratelimit.admission import Admission
from modelwire.transport.ratelimit.forecast import may_start, start_forecast
from modelwire.transport.ratelimit.limiter import AdaptiveRateLimiter


def at(wait_s: float = 0.0, median_s: float = 1.0, **more: Any) -> Candidate:
    return Candidate(wait_s=wait_s, median_s=median_s, **more)


PAUSED = at(5.0, pause_s=5.0)
OUT = at(inf, pause_s=inf)


@pytest.mark.parametrize(
    ("candidates", "options", "expected"),
    [
        ([at(), at()], {}, 0),
        ([at(in_flight=3), at(in_flight=2)], {}, 1),
        ([at(median_s=9.0), at()], {}, 1),
        ([at(0.4), at(median_s=9.0)], {}, 0),
        ([PAUSED, at(median_s=3.0)], {}, 1),
        ([PAUSED, OUT], {}, WaitFor(0.5)),
        ([at(0.8, pause_s=0.8), OUT], {}, WaitFor(0.5)),
        ([at(0.9, queued=5)], {}, WaitFor(pytest.approx(0.4))),  # type: ignore[arg-type]
        ([OUT, at(is_probe_due=True, median_s=9.0), at()], {}, 1),
        # A cold prompt is worth a wait.
        ([at(0.4), at(penalty_s=2.0)], {}, 0),
        ([at(4.0, queued=9, per_s=2.0), at(penalty_s=2.0)], {}, 1),
        # A long queue uses the slow deployment, too; a short one does not.
        ([at(0.9, queued=9, per_s=10.0), at(median_s=9.0)], {"waiting": 200}, 1),
        ([at(0.9, queued=9, per_s=10.0), at(median_s=9.0)], {"waiting": 3}, WaitFor(0.4)),
        # A slow pace has waiting calls while the pool's queue is longer.
        ([at(3.0, queued=0, per_s=0.3), at(0.9, queued=9, per_s=1.0)], {"waiting": 50}, 0),
        ([at(0.2), at()], {"prefer": "first"}, 0),
        ([PAUSED, at(), at()], {"prefer": "first"}, 1),
        ([at(weight=1, recent=1), at(weight=3, recent=2)], {"prefer": "weights"}, 1),
        ([at(weight=1, recent=0), at(weight=3, recent=9)], {"prefer": "weights"}, 0),
        ([at(weight=1), PAUSED._replace(weight=9)], {"prefer": "weights"}, 0),
    ],
)
def test_where_a_call_goes(candidates: Any, options: Any, expected: object) -> None:
    found = choose(candidates, **options)
    if isinstance(expected, WaitFor):
        assert isinstance(found, WaitFor)
        assert found.seconds == pytest.approx(0.4) or found == expected
    else:
        assert found == expected


times = st.one_of(st.just(0.0), st.floats(0, 30), st.just(inf))
candidates_in_any_state = st.builds(
    lambda wait_s, median_s, queued, in_flight, per_s, penalty_s, pauses: Candidate(
        wait_s, median_s, wait_s if pauses else 0.0, queued, in_flight, per_s, penalty_s
    ),
    times,
    st.floats(0.01, 60),
    st.integers(0, 50),
    st.integers(0, 50),
    st.one_of(st.just(inf), st.floats(0.01, 100)),
    st.floats(0, 10),
    st.booleans(),
)


@given(
    st.lists(candidates_in_any_state, min_size=1, max_size=5),
    st.integers(0, 300),
    st.sampled_from(["fastest", "first", "weights"]),
)
def test_a_choice_can_start_and_a_wait_ends(
    candidates: list[Candidate], waiting: int, prefer: Preference
) -> None:
    found = choose(candidates, waiting=waiting, prefer=prefer)
    if isinstance(found, WaitFor):
        assert 0 < found.seconds <= 0.5
    else:
        assert candidates[found].wait_s < inf
        assert candidates[found].pause_s <= 0.5


@given(st.lists(st.tuples(st.floats(0.001, 60), st.integers(0, 9)), min_size=1, max_size=5))
def test_the_short_way_chooses_the_same(free: list[tuple[float, int]]) -> None:
    candidates = [at(median_s=median_s, in_flight=busy) for median_s, busy in free]
    medians_s, busy = zip(*free, strict=True)
    fast = fast_ones(medians_s)
    assert min(fast, key=lambda position: busy[position]) == choose(candidates)


class Part:
    """A model of a pool of which only the limiter is read."""

    def __init__(self, limiter: AdaptiveRateLimiter | None) -> None:
        self.limiter = limiter

    def current_limiter(self) -> AdaptiveRateLimiter | None:
        return self.limiter


parts = st.fixed_dictionaries(
    {
        "rpm": st.sampled_from([None, None, 60, 6000]),
        "headers": st.booleans(),
        "busy": st.integers(0, 3),
        "took_s": st.lists(st.floats(0.01, 5), max_size=3),
        "failures": st.integers(0, 3),
        "refused": st.booleans(),
        "requests": st.integers(0, 3),
    }
)
HEADERS = {
    "x-ratelimit-limit-requests": "500",
    "x-ratelimit-remaining-requests": "400",
    "x-ratelimit-reset-requests": "12s",
    "x-ratelimit-limit-tokens": "30000",
    "x-ratelimit-remaining-tokens": "9000",
    "x-ratelimit-reset-tokens": "42s",
}


@given(
    st.lists(parts, min_size=1, max_size=4),
    st.integers(0, 40_000),
    st.floats(0, 3),
    st.booleans(),
    st.one_of(st.none(), st.integers(0, 3)),
)
def test_what_starts_at_once_is_among_the_best_of_all(
    states: list[dict[str, Any]], tokens: int, later_s: float, known: bool, warm: int | None
) -> None:
    now = 10.0
    deployments = []
    for position, state in enumerate(states):
        one = limiter(**({"rpm": state["rpm"]} if state["rpm"] else {}))
        for _ in range(state["requests"]):
            admission = admitted(one, now)
            if not admission.granted:
                one.leave(admission, now)
                break
            if state["refused"]:
                one.failed(admission, now, RateLimited("no", retry_after=1.0))
            else:
                one.answered(admission, now, HEADERS if state["headers"] else {})
            one.leave(admission, now)
        deployment = Deployment(f"part-{position}", Part(one))
        deployment.in_flight = state["busy"]
        for seconds in state["took_s"]:
            deployment.times.took(seconds, 3)
            deployment.sent_at = now
        deployments.append(deployment)
    scheduler = Scheduler(deployments)
    for deployment, state in zip(deployments, states, strict=True):
        for _ in range(state["failures"]):
            failing = PoolCall(scheduler, now)
            failing.place(deployment, now)
            failing.failed(now, ServerError("no"))
    now += later_s
    if known:  # The fast ones are remembered from a call before.
        scheduler.picked(PoolCall(scheduler, now, chars=4 * tokens), now)
    prefix = None
    if warm is not None and warm < len(states):
        prefix = (7, 40_000)
        scheduler.table.sent(7, warm, now)
    else:
        warm = None
    call = PoolCall(scheduler, now, chars=4 * tokens, prefix=prefix)
    at_once = scheduler._at_once(call, warm, now)
    if at_once is None:
        return
    medians = _medians(deployments, call.size, now)
    penalties = [0.0 if warm in {None, one.position} else cold_s(40_000) for one in deployments]
    candidates = [
        one.candidate(now, tokens, median_s, penalty_s)
        for one, median_s, penalty_s in zip(deployments, medians, penalties, strict=True)
    ]
    chosen = candidates[at_once.position]
    assert chosen.wait_s <= 0
    assert not any(one.health.is_probe_due(now) for one in deployments)
    # All that could start as early and end as early are at least as busy.
    found = choose(candidates)
    if not any(one.is_probe_due for one in candidates) and isinstance(found, int):
        best = candidates[found]
        assert chosen.median_s <= best.median_s * 1.25 + 0.05 + best.wait_s
        if best.wait_s <= 0 and best.median_s <= min(medians) * 1.25:
            assert chosen.in_flight <= best.in_flight


def test_a_suspect_deployment_is_looked_at_before_the_next_call() -> None:
    scheduler = Scheduler([Deployment(name, Part(limiter())) for name in "abc"])
    for _ in range(3):
        failing = PoolCall(scheduler, 1.0)
        failing.place(scheduler.deployments[2], 1.0)
        failing.failed(1.0, ServerError("no"))
    assert scheduler.deployments[2].health.is_out
    assert PoolCall(scheduler, 1.1).poll(1.1) is scheduler.deployments[0]
    probe = PoolCall(scheduler, 9.0)
    assert probe.poll(9.0) is scheduler.deployments[2]
    probe.answered(9.1)
    assert scheduler.deployments[2].health.wait_s(9.1) == 0
    assert not scheduler.deployments[2].is_down(9.1)


def test_a_pool_prefers_the_deployment_whose_median_has_become_better() -> None:
    scheduler = Scheduler([Deployment(name, Part(limiter())) for name in "ab"])

    def answers(position: int, seconds: float, now: float) -> None:
        call = PoolCall(scheduler, now)
        call.place(scheduler.deployments[position], now)
        call.answered(now + seconds)

    now = 1.0
    for position, seconds in ((0, 1.0), (1, 3.0)):
        answers(position, seconds, now)
    assert PoolCall(scheduler, now).poll(now) is scheduler.deployments[0]
    for _ in range(20):
        answers(0, 9.0, now)
    later = PoolCall(scheduler, now)
    assert later.poll(now) is scheduler.deployments[1]
    # After a minute without a call the times of a deployment count no longer.
    first = scheduler.deployments[0]
    assert first.sent_at == now
    for step in range(1, 8):
        answers(1, 3.0, now + 10.0 * step)
    assert PoolCall(scheduler, now + 71.0).poll(now + 71.0) is first


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (RateLimited("no"), Verdict.REFUSED),
        (Overloaded("no"), Verdict.REFUSED),
        (ServerError("no"), Verdict.FAILED),
        (ConnectionLost("no"), Verdict.FAILED),
        (Timeout("no"), Verdict.FAILED),
        (Timeout("the deadline", retry_class=RetryClass.FATAL), Verdict.FINAL),
        (AuthenticationError("no"), Verdict.REJECTED),
        (QuotaExhausted("no"), Verdict.REJECTED),
        (BadRequest("no"), Verdict.FINAL),
        (BudgetExceeded("no"), Verdict.FINAL),
        (KeyError("a bug"), Verdict.FINAL),
    ],
)
def test_what_an_error_means(error: BaseException, verdict: Verdict) -> None:
    assert verdict_of(error) is verdict


def test_a_deployment_leaves_after_three_failures_and_comes_back_by_one_probe() -> None:
    health, error = Health(), ServerError("no")
    for now in (0.0, 1.0):
        health.failed(now, now, error)
        assert not health.is_out
    health.failed(2.0, 2.0, error)
    assert health.is_out
    assert health.wait_s(2.1) == pytest.approx(0.4)
    assert health.is_probe_due(2.6)
    health.sent(2.6)
    assert health.wait_s(2.7) == inf
    health.failed(2.6, 3.0, error)
    assert health.wait_s(3.0) == pytest.approx(1.0)
    health.sent(4.0)
    health.answered(4.0)
    assert not health.is_out
    assert health.is_proven


def test_failures_of_calls_from_before_count_once() -> None:
    health = Health()
    for _ in range(100):
        health.failed(0.0, 1.0, ServerError("no"))
    assert health.wait_s(1.0) == pytest.approx(0.5)


def test_a_cancelled_probe_makes_room_for_another() -> None:
    health = Health()
    health.rejected(0.0, 0.0, AuthenticationError("no"))
    health.sent(10.0)
    assert not health.is_probe_due(10.1)
    health.left(10.0)
    assert health.is_probe_due(10.1)


def test_hedges_are_at_most_one_call_in_twenty() -> None:
    hedges = HedgeBudget("p95")
    spent = 0
    for _ in range(1000):
        hedges.calls += 1
        spent += hedges.spend()
    assert spent == 50


def test_the_percentile_is_known_after_twenty_calls() -> None:
    hedges = HedgeBudget("p95")
    for seconds in range(1, 20):
        hedges.took(seconds, stream=False)
    assert hedges.wait_s(stream=False) is None
    for seconds in range(20, 121):
        hedges.took(seconds, stream=False)
    assert hedges.wait_s(stream=False) == pytest.approx(114, abs=6)
    assert hedges.wait_s(stream=True) is None
    assert HedgeBudget(2).wait_s(stream=True) == 2
    assert HedgeBudget(None).wait_s(stream=True) is None


LONG = "x" * 5000


def test_the_beginning_ends_with_the_first_user_turn() -> None:
    system, first = SystemMessage(LONG), HumanMessage("hi")
    begun = prefix_of([system, first])
    assert begun is not None
    assert prefix_of([system, first, AIMessage("ok"), HumanMessage("and?")]) == begun
    assert prefix_of([system, HumanMessage("ho")]) != begun
    assert prefix_of([system, first], 7) != begun
    assert prefix_of([first]) is None
    assert prefix_of([HumanMessage([{"type": "text", "text": LONG}])]) is not None


def test_a_table_of_prompts_is_bounded_and_forgets() -> None:
    table = StickyTable()
    for digest in range(20_000):
        table.sent(digest, 1, 0.0)
    assert len(table) == 10_000
    assert table.place(19_999, 100.0) == 1
    assert table.place(0, 0.0) is None
    assert table.place(19_999, 400.0) is None
    table.forget(19_999, 0)
    assert table.place(19_999, 0.0) == 1
    table.forget(19_999, 1)
    assert table.place(19_999, 0.0) is None
    assert 0 < cold_s(5_000) < cold_s(50_000) <= 30


def test_the_median_is_that_of_the_size() -> None:
    times = Times()
    assert times.median_s(3) is None
    for seconds in (1.0, 2.0, 9.0):
        times.took(seconds, 3)
    assert times.median_s(3) == 2.0
    assert times.median_s(5) == 2.0
    times.took(50.0, 5)
    assert times.median_s(5) == 50.0
    assert times.median_s(3) == 2.0


def limiter(**stated: float) -> AdaptiveRateLimiter:
    made = AdaptiveRateLimiter(0.0, Random(1))
    if stated:
        made.state(stated.get("rpm"), stated.get("tpm"), 0.0)
    return made


def admitted(one: AdaptiveRateLimiter, now: float) -> Admission:
    admission = Admission(now, again=False, patient=True, size=40, max_output=None)
    one.admit(admission)
    return admission


def test_a_forecast_is_what_the_limiter_then_does() -> None:
    one = limiter(rpm=60)
    first = admitted(one, 0.0)
    one.answered(first, 0.1)
    one.leave(first, 0.1)
    while start_forecast(one, 0.2).wait_s == 0:
        admitted(one, 0.2)
    wait_s = start_forecast(one, 0.2).wait_s
    assert 0 < wait_s <= 61
    queued = admitted(one, 0.2)
    assert not queued.granted
    one.poll(queued, 0.2 + wait_s / 2)
    assert not queued.granted
    one.poll(queued, 0.2 + 1.02 * wait_s)  # The limiter stays a little below the limit.
    assert queued.granted


def test_a_forecast_knows_the_gate_and_the_tokens() -> None:
    one = limiter()
    assert may_start(one, 0.0, tokens=10)
    probe = admitted(one, 0.0)
    refusal: ChatError = RateLimited("no", retry_after=7.0)
    one.failed(probe, 1.0, refusal)
    one.leave(probe, 1.0)
    forecast = start_forecast(one, 1.0)
    assert forecast.pause_s >= 7
    assert forecast.wait_s >= forecast.pause_s
    assert not may_start(one, 1.0, tokens=10)
    stated = limiter(tpm=6000)
    assert start_forecast(stated, 0.0, tokens=100).wait_s == 0
    assert start_forecast(stated, 0.0, tokens=100, ahead=60).wait_s > 0


def test_a_forecast_changes_nothing() -> None:
    one, other = limiter(rpm=600), limiter(rpm=600)
    for now in (0.0, 0.1, 0.2, 0.7):
        for _ in range(9):
            start_forecast(one, now + 0.05, tokens=10)
        assert admitted(one, now).granted == admitted(other, now).granted
        assert one.rate.level == other.rate.level
        assert one.limits(now) == other.limits(now)
