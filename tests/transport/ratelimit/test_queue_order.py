"""Which of those that wait goes next: single calls before the rows of batches (P33), and a stated limit (P34)."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import pytest
from support.asking import ask
from support.raw_provider import RawProvider
from support.simulated_provider import Job, Outcome, Provider, TokenBucket, World
from support.ways import model_of

from modelwire.transport.ratelimit.admission import Admission, AdmissionQueue
from modelwire.transport.ratelimit.limiter import AdaptiveRateLimiter

PER_S = 10.0


def learned(now: float = 0.0) -> AdaptiveRateLimiter:
    """Return the limiter of a key that takes ten requests a second."""
    limiter = AdaptiveRateLimiter(now, Random(1))
    limiter.rate.rate, limiter.rate.ramp, limiter.rate.level = PER_S, float("inf"), 0.0
    limiter.congestion.sent = 100
    return limiter


def order_of(limiter: AdaptiveRateLimiter, waiting: dict[str, Any], permits: int) -> list[str]:
    """Let so much time pass that this many may go. Return their names in order."""
    granted: list[str] = []
    now = 0.0
    while len(granted) < permits:
        now += 0.02
        for name, admission in waiting.items():
            limiter.poll(admission, now)
            if admission.granted and name not in granted:
                granted.append(name)
    return granted


def test_a_single_call_goes_before_the_rows_that_wait() -> None:
    limiter = learned()
    waiting = {f"row {n}": ask(limiter, 0.0, patient=True) for n in range(200)}
    waiting["again"] = ask(limiter, 0.0, patient=True, again=True)
    waiting["call"] = ask(limiter, 0.0)
    assert order_of(limiter, waiting, 4) == ["call", "again", "row 0", "row 1"]


def test_single_calls_do_not_starve_the_rows() -> None:
    limiter = learned()
    waiting = {f"row {n}": ask(limiter, 0.0, patient=True) for n in range(3)}
    waiting |= {f"call {n}": ask(limiter, 0.0) for n in range(20)}
    order = order_of(limiter, waiting, 13)
    assert [order.index(f"row {n}") for n in range(3)] == [3, 7, 11]
    assert [name for name in order if name.startswith("call")] == [f"call {n}" for n in range(10)]


def test_single_calls_that_went_while_no_row_waited_count_for_nothing() -> None:
    queue = AdmissionQueue()

    def admission(*, patient: bool) -> Admission:
        return Admission(0.0, again=False, patient=patient, size=0, max_output=None)

    for _ in range(10):
        queue.add(admission(patient=False))
        queue.pop_first()
    row, call = admission(patient=True), admission(patient=False)
    queue.add(row)
    queue.add(call)
    assert queue.first() is call


def test_an_owner_who_has_left_holds_no_turn() -> None:
    limiter = learned()
    gone = [ask(limiter, 0.0) for _ in range(3)]
    row = ask(limiter, 0.0, patient=True)
    for admission in gone:
        limiter.leave(admission, 0.0, sent=False)
    assert order_of(limiter, {"row": row}, 1) == ["row"]
    limiter.leave(row, 1.0)
    assert limiter.is_idle()


def test_a_call_made_during_a_job_starts_within_two_permits() -> None:
    """P33: it waited behind 200 rows, for 20 s."""
    world, outcome, own = World(), Outcome(), Outcome()
    limit = TokenBucket(((0.0, PER_S),), 0.1)
    provider = Provider(world, requests=limit, latency_s=0.5)
    job = Job(world, provider, iter(range(300)), outcome)
    waits: list[float] = []
    for second in (10, 15, 20):

        def call(second: int = second) -> None:
            assert job.limiter.waiting() > 50
            one = Job(world, provider, iter(range(1)), own, workers=1, limiter=job.limiter)
            one.patient = False
            began = world.now
            sent = job.limiter.congestion.sent

            def look() -> None:
                if own.done > len(waits):
                    waits.append(world.now - began)
                else:
                    world.at(world.now + 0.05, look)

            world.at(world.now + 0.05, look)
            assert job.limiter.congestion.sent - sent <= 2

        world.at(float(second), call)
    world.run()
    assert (outcome.lost, own.lost, own.done, outcome.done) == (0, 0, 3, 300)
    assert max(waits) <= 0.5 * 4 + 4 / PER_S  # the slowest of a few answers, and the permits


def test_a_call_beside_a_batch_is_not_the_last_over_a_socket() -> None:
    """P33. The order of arrival shows it on a machine of any speed."""
    rows = [f"row {n}" for n in range(60)]

    async def both(server: RawProvider) -> list[Any]:
        model = model_of(server, rpm=600)
        batch = asyncio.create_task(model.abatch(rows, {"max_concurrency": 60}))
        for _ in range(1000):
            if len(server.arrivals) >= 15:
                break
            await asyncio.sleep(0.01)
        call = await model.ainvoke("call")
        return [call, *await batch]

    with RawProvider(lambda since_s, _: 200, latency_s=0.02) as server:
        answers = asyncio.run(both(server))
        assert [answer.text for answer in answers] == ["call", *rows]
        order = [arrival.text for arrival in server.arrivals]
    assert order.index("call") < 45


# ---------------------------------------------------------------- a limit that the user states


def starts(per_minute: float, rows: int, share: float = 1.0) -> list[float]:
    world = World()
    provider = Provider(world, latency_s=0.3)
    limiter = AdaptiveRateLimiter(0.0, Random(1))
    limiter.state(per_minute, None, 0.0)
    limiter.take_share(share, 0.0)
    Job(world, provider, iter(range(rows)), Outcome(), limiter=limiter)
    world.run()
    return [at for at, _ in provider.arrivals]


@pytest.mark.parametrize("per_minute", [1, 2, 6, 20, 60, 100, 600, 1000])
def test_no_minute_has_more_requests_than_the_user_states(per_minute: int) -> None:
    """P34: `rpm=6` let eight go at once, and fourteen in the first minute."""
    times = starts(per_minute, 4 * per_minute)
    assert len(times) == 4 * per_minute
    assert all(
        later - earlier > 60 for earlier, later in zip(times, times[per_minute:], strict=False)
    )
    assert times[-1] <= 250


def test_less_than_one_a_minute_is_held_too() -> None:
    first, second, third = starts(0.5, 3)
    assert second - first > 120 and third - second > 120


def test_a_share_of_a_stated_limit_is_held_in_each_minute() -> None:
    times = starts(20, 20, share=0.25)
    assert all(later - earlier > 60 for earlier, later in zip(times, times[5:], strict=False))


def test_a_limit_that_is_stated_anew_counts_what_went_before() -> None:
    limiter = AdaptiveRateLimiter(0.0, Random(1))
    limiter.state(6, None, 0.0)
    granted = [ask(limiter, 0.0) for _ in range(6)]
    limiter._first_ended(0.0)
    for admission in granted:
        limiter.poll(admission, 1.0)
    assert all(admission.granted for admission in granted)
    limiter.state(7, None, 1.0)
    assert [ask(limiter, 30.0).granted for _ in range(2)] == [True, False]


def test_a_grant_that_was_never_sent_is_free_again() -> None:
    limiter = AdaptiveRateLimiter(0.0, Random(1))
    limiter.state(1, None, 0.0)
    limiter.leave(ask(limiter, 0.0), 0.0, sent=False)
    assert ask(limiter, 1.0).granted
    assert not ask(limiter, 2.0).granted


def test_a_stated_limit_without_measure_is_none() -> None:
    limiter = AdaptiveRateLimiter(0.0, Random(1))
    limiter.state(1e300, None, 0.0)
    assert ask(limiter, 0.0).granted
