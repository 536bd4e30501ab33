"""Who may send, and when: the limiter alone, with a clock that is a number."""

from math import inf
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.asking import ask

from modelwire.errors import (
    BadRequest,
    ChatError,
    ConnectFailed,
    ConnectionLost,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    ServerError,
    Timeout,
)
from modelwire.transport.ratelimit import limiter as gate
from modelwire.transport.ratelimit.admission import Admission
from modelwire.transport.ratelimit.limiter import AdaptiveRateLimiter


@pytest.fixture(autouse=True)
def _nobody_goes_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the first request of a key does for the others is in test_first_request.py."""
    monkeypatch.setattr(gate, "_FIRST_ALONE_S", 0.0)
    monkeypatch.setattr(gate, "_FEW_ALONE_S", 0.0)


def fresh() -> AdaptiveRateLimiter:
    return AdaptiveRateLimiter(0.0, Random(1), name="x m #1")


def sent(
    limiter: AdaptiveRateLimiter, count: int, now: float = 0.0, **settings: Any
) -> list[Admission]:
    admissions = [ask(limiter, now, **settings) for _ in range(count)]
    assert all(admission.granted for admission in admissions)
    return admissions


def fail(limiter: AdaptiveRateLimiter, admission: Admission, now: float, error: ChatError) -> None:
    limiter.failed(admission, now, error)
    limiter.leave(admission, now)


def answer(limiter: AdaptiveRateLimiter, admission: Admission, now: float) -> None:
    limiter.answered(admission, now)
    limiter.leave(admission, now)


def opened(limiter: AdaptiveRateLimiter) -> float:
    return limiter.gate.paused_until + 0.001


def test_the_first_calls_go_at_once_and_the_next_on_a_ramp() -> None:
    limiter = fresh()
    sent(limiter, 8)
    ninth = ask(limiter, 0.0)
    assert not ninth.granted
    wait_s = limiter.poll(ninth, 0.0)
    assert wait_s is not None
    assert 0.01 < wait_s < 0.05  # 40 a second
    assert limiter.poll(ninth, wait_s) is None


def test_every_answer_lets_two_more_go_so_that_a_quick_server_sees_no_ramp() -> None:
    limiter = fresh()
    running, started = sent(limiter, 8), 8
    waiting = [ask(limiter, 0.0) for _ in range(192)]
    rounds = 0
    while running:
        for admission in running:
            answer(limiter, admission, 0.0)
        running = [
            admission for admission in waiting if admission.granted and not admission.released
        ]
        started += len(running)
        rounds += 1
    assert started == 200
    assert rounds <= 7


def test_a_burst_of_a_hundred_refusals_is_one_cut() -> None:
    """P19."""
    limiter = fresh()
    limiter.rate.ramp = inf
    admissions = sent(limiter, 100)
    for admission in admissions:
        fail(limiter, admission, 0.1, RateLimited("slow down"))
    assert limiter.rate.cuts <= 1
    assert limiter.gate.pauses <= 1


def test_an_answer_to_an_older_request_does_not_end_a_pause() -> None:
    limiter = fresh()
    old, refused = sent(limiter, 2)
    fail(limiter, refused, 0.1, RateLimited("slow down", retry_after=5.0))
    answer(limiter, old, 0.2)
    assert limiter.gate.pause_s(0.2) >= 4.8
    assert not ask(limiter, 0.2).granted


def test_retry_after_is_a_floor_spread_upward() -> None:
    limiter = fresh()
    (admission,) = sent(limiter, 1)
    fail(limiter, admission, 1.0, RateLimited("slow down", retry_after=7.0))
    assert 8.0 <= limiter.gate.paused_until <= 8.7


def test_when_nothing_gets_through_one_probe_goes_and_not_all() -> None:
    limiter = fresh()
    for admission in sent(limiter, 3):
        fail(limiter, admission, 0.1, RateLimited("slow down"))
    waiting = [ask(limiter, 0.2) for _ in range(50)]
    limiter.poll(waiting[0], opened(limiter))
    assert [admission.granted for admission in waiting].count(True) == 1
    first_pause = limiter.gate.paused_until
    fail(limiter, waiting[0], opened(limiter), RateLimited("slow down"))
    assert limiter.gate.paused_until - first_pause > 1.4  # twice as long, less a quarter at most
    limiter.poll(waiting[1], opened(limiter))
    answer(limiter, waiting[1], opened(limiter))
    assert sum(admission.granted for admission in waiting) >= 3


def test_a_probe_that_is_given_up_makes_room_for_another() -> None:
    limiter = fresh()
    (refused,) = sent(limiter, 1)
    fail(limiter, refused, 0.1, RateLimited("slow down"))
    probe, other = ask(limiter, 0.2), ask(limiter, 0.2)
    limiter.poll(probe, opened(limiter))
    assert (probe.granted, other.granted) == (True, False)
    limiter.leave(probe, opened(limiter))
    assert other.granted


def test_overloads_narrow_and_answers_widen() -> None:
    limiter = fresh()
    limiter.rate.ramp = inf
    admissions = sent(limiter, 100)
    fail(limiter, admissions[0], 0.1, Overloaded("busy"))
    assert limiter.concurrency.most == 90
    fail(limiter, admissions[1], 0.1, Overloaded("busy"))
    assert limiter.concurrency.most == 90  # the same epoch
    limiter.rate.ramp = inf
    waiting = [ask(limiter, 0.2) for _ in range(200)]
    for admission in (*admissions[2:], *waiting):
        answer(limiter, admission, 0.2)
    assert 93 < limiter.concurrency.most < 110


def test_a_timeout_narrows_and_never_goes_half_open() -> None:
    limiter = fresh()
    for n in range(5):
        limiter.rate.restart(float(n), 8.0)
        admissions = sent(limiter, 1, now=float(n))
        fail(limiter, admissions[0], n + 0.5, Timeout("slow", retry_class=ServerError.retry_class))
    assert limiter.concurrency.most == 1
    assert limiter.gate.pause_s(5.0) == 0


def test_without_credit_waiters_are_told_and_never_sent() -> None:
    limiter = fresh()
    admissions = sent(limiter, 8, patient=True)
    waiting = [ask(limiter, 0.0, patient=True) for _ in range(192)]
    rung = []
    waiting[5].on_wake = lambda: rung.append(1)
    fail(limiter, admissions[0], 0.1, QuotaExhausted("no credit", code="insufficient_quota"))
    assert all(isinstance(admission.rejection, QuotaExhausted) for admission in waiting)
    assert not any(admission.granted for admission in waiting)
    assert rung
    assert ask(limiter, 1.0, patient=True).rejection is not None  # a later row of the same batch
    assert ask(limiter, 1.0).granted  # a call of its own asks the provider again


def test_a_call_given_up_in_the_queue_sends_nothing_and_leaves_nothing() -> None:
    """P20."""
    limiter = fresh()
    sent(limiter, 8)
    waiting, behind = ask(limiter, 0.0), ask(limiter, 0.0)
    limiter.leave(waiting, 0.0, sent=False)
    assert limiter.congestion.in_flight == 8
    wait_s = limiter.poll(behind, 0.0)
    assert wait_s is not None
    assert limiter.poll(behind, wait_s) is None
    assert limiter.congestion.sent == 9


def test_a_granted_call_that_never_went_gives_everything_back() -> None:
    limiter = fresh()
    level = limiter.rate.level
    admission = ask(limiter, 0.0)
    limiter.leave(admission, 0.0, sent=False)
    limiter.leave(admission, 0.0, sent=False)  # twice does no harm
    assert (limiter.congestion.in_flight, limiter.rate.level) == (0, level)


LOST = ConnectionLost("reset")


def test_where_nearly_all_fail_they_wait_behind_the_gate_and_one_probes() -> None:
    limiter = fresh()
    limiter.rate.ramp = inf
    admissions = sent(limiter, 60)
    for admission in admissions:
        limiter.failed(admission, 1.0, LOST)
    assert not any(limiter.may_retry(admission, 1.0, LOST) for admission in admissions)
    for admission in admissions:
        limiter.leave(admission, 1.0)
    waiting = [ask(limiter, 1.0, again=True) for _ in range(60)]
    assert 0.35 < limiter.gate.pause_s(1.0) <= 0.5
    limiter.poll(waiting[0], opened(limiter))
    assert [admission.granted for admission in waiting].count(True) == 1
    answer(limiter, waiting[0], opened(limiter))
    assert sum(admission.granted for admission in waiting) >= 2  # it, and the first of a ramp
    assert not limiter.outage.is_on
    (failing,) = [
        next(admission for admission in waiting if admission.granted and not admission.released)
    ]
    fail(limiter, failing, opened(limiter), LOST)
    assert limiter.may_retry(failing, opened(limiter), LOST)  # the count begins anew


def failures_until_the_gate_shuts(every: int) -> int:
    """Have one request in so many answered, each retry fail again; return how many failed."""
    limiter, failed = fresh(), 0
    for n in range(10_000):
        limiter.rate.restart(float(n), 8.0)
        (admission,) = sent(limiter, 1, now=float(n), again=n % every > 1)
        if n % every == 0:
            answer(limiter, admission, n + 0.5)
            continue
        failed += 1
        fail(limiter, admission, n + 0.5, LOST)
        if not limiter.may_retry(admission, n + 0.5, LOST):
            return failed
    return failed


def test_an_empty_retry_budget_shuts_the_gate_too() -> None:
    """500 tokens, 14 a retry: a provider that fails two requests of three is spared, and one of twenty is not felt."""
    assert 35 <= failures_until_the_gate_shuts(3) <= 40
    limiter = fresh()
    for n in range(2000):
        limiter.rate.restart(float(n), 8.0)
        (admission,) = sent(limiter, 1, now=float(n))
        if n % 20:
            answer(limiter, admission, n + 0.5)
        else:
            fail(limiter, admission, n + 0.5, LOST)
            assert limiter.may_retry(admission, n + 0.5, LOST)


def test_an_address_nobody_ever_answered_at_is_not_waited_for() -> None:
    limiter = fresh()
    limiter.rate.ramp = inf
    refused = ConnectFailed("refused")
    admissions = sent(limiter, 60)
    for admission in admissions:
        limiter.failed(admission, 1.0, refused)
    assert all(limiter.may_retry(admission, 1.0, refused) for admission in admissions)
    answer(limiter, sent(limiter, 1, now=2.0)[0], 2.0)
    for admission in (later := sent(limiter, 60, now=3.0)):
        limiter.failed(admission, 3.0, refused)
    assert not limiter.may_retry(later[0], 3.0, refused)


def test_a_short_retry_after_is_no_schedule() -> None:
    """R4: it is a floor; the pauses double all the same."""
    limiter, now, pauses = fresh(), 0.0, []
    for _ in range(5):
        (admission,) = sent(limiter, 1, now=now)
        fail(limiter, admission, now, RateLimited("slow down", retry_after=0.01))
        pauses.append(limiter.gate.pause_s(now))
        now = opened(limiter)
    assert all(pause >= 0.75 * min(2.0**k, 8.0) for k, pause in enumerate(pauses))


def test_the_first_overload_of_a_key_that_never_answered_lets_one_probe_at_a_time() -> None:
    limiter = fresh()
    (first,) = sent(limiter, 1)
    fail(limiter, first, 0.1, Overloaded("busy"))
    waiting = [ask(limiter, 0.1) for _ in range(50)]
    assert not any(admission.granted for admission in waiting)
    limiter.poll(waiting[0], opened(limiter))
    assert [admission.granted for admission in waiting].count(True) == 1


def test_a_bad_request_shows_that_the_provider_is_there() -> None:
    limiter = fresh()
    (refused,) = sent(limiter, 1)
    fail(limiter, refused, 0.1, RateLimited("slow down"))
    probe = ask(limiter, 0.2)
    limiter.poll(probe, opened(limiter))
    fail(limiter, probe, opened(limiter), BadRequest("no such parameter"))
    assert limiter.gate.closed_at is None


def test_changes_are_told_once_and_at_most_once_a_second() -> None:
    limiter = fresh()
    for n in range(10):
        limiter.rate.restart(n / 10, 8.0)
        limiter.gate.paused_until = 0.0
        limiter.gate.probing = False
        fail(limiter, sent(limiter, 1, now=n / 10)[0], n / 10, RateLimited("slow down"))
        if n == 0:
            change = limiter.take_change()
            assert change is not None
            assert (change.kind, change.key) == ("half_open", "x m #1")
            assert change.pause_s > 0
    assert limiter.take_change() is None


def test_limits_show_what_was_learned() -> None:
    limiter = fresh()
    assert repr(limiter.limits(0.0)) == "Limits(none known)"
    limiter.state(600, 100_000, 0.0)
    limits = limiter.limits(0.0)
    assert (limits.requests_per_minute, limits.tokens_per_minute) == (600, 100_000)
    assert repr(limits) == "Limits(requests_per_minute=600, tokens_per_minute=100000)"
    limiter.state(None, None, 0.0)
    assert limiter.limits(0.0).requests_per_minute is None


def test_what_the_user_states_is_the_pace() -> None:
    limiter = fresh()
    limiter.state(60, None, 0.0)
    now, starts = 0.0, []
    for _ in range(30):
        admission = ask(limiter, now)
        while (wait_s := None if admission.granted else limiter.poll(admission, now)) is not None:
            now += wait_s
        starts.append(now)
        answer(limiter, admission, now)
    assert 20 <= starts[-1] <= 31  # a burst of 8, then one a second


ERRORS = [
    RateLimited("x"),
    RateLimited("x", retry_after=3.0),
    Overloaded("x"),
    ConnectionLost("x"),
    BadRequest("x"),
    Timeout("x"),
    QuotaExhausted("x"),
    None,
]


@given(
    st.lists(
        st.tuples(st.sampled_from(["ask", "end", "leave", "time"]), st.integers(0, 50)),
        max_size=150,
    )
)
def test_whatever_happens_nothing_is_counted_twice_and_everybody_goes_in_the_end(
    script: list[tuple[str, int]],
) -> None:
    """P21: cancelled, refused, broken in any order, the books are right and the queue empties."""
    limiter, now = fresh(), 0.0
    waiting: list[Admission] = []
    running: list[Admission] = []

    def sort() -> None:
        for admission in [
            admission
            for admission in waiting
            if admission.granted or admission.rejection is not None
        ]:
            waiting.remove(admission)
            if admission.granted:
                running.append(admission)

    for action, n in script:
        if action == "ask":
            waiting += [
                ask(limiter, now, again=n % 3 == 0, patient=n % 2 == 0) for _ in range(n % 5 + 1)
            ]
        elif action == "time":
            now += n / 10
            if waiting:
                limiter.poll(waiting[n % len(waiting)], now)
        elif action == "leave" and waiting:
            limiter.leave(waiting.pop(n % len(waiting)), now, sent=False)
        elif action == "end" and running:
            admission, error = running.pop(n % len(running)), ERRORS[n % len(ERRORS)]
            if error is None:
                limiter.answered(admission, now)
            else:
                limiter.failed(admission, now, error)
            limiter.leave(admission, now)
        sort()
        assert limiter.congestion.in_flight == len(running)
        assert limiter.waiting() == len(waiting)
    for _ in range(3000):
        if not waiting and not running:
            break
        for admission in running:
            answer(limiter, admission, now)
        running.clear()
        for admission in list(waiting):
            limiter.poll(admission, now)
        sort()
        now += 0.5
    assert limiter.is_idle()


def test_a_call_that_the_garbage_collector_ends_inside_of_the_lock_leaves_soon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limiter = fresh()
    forgotten, failing = sent(limiter, 2)
    refused = limiter.congestion.refused

    def collected(*arguments: Any) -> None:
        limiter.leave(forgotten, 0.1)  # as a generator's `finally` does
        refused(*arguments)

    monkeypatch.setattr(limiter.congestion, "refused", collected)
    fail(limiter, failing, 0.1, RateLimited("slow down"))
    assert limiter.congestion.in_flight == 0


def test_who_waits_sees_what_was_left_inside_of_the_lock() -> None:
    limiter = fresh()
    (forgotten,) = sent(limiter, 1)
    limiter.concurrency.most = 1
    waiting = ask(limiter, 0.0)
    with limiter._lock:
        limiter._is_changing = True
        limiter.leave(forgotten, 0.1)
        limiter._is_changing = False
    assert limiter.poll(waiting, 0.2) is None
