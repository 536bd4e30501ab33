"""When a call is tried again: R1-R4 and R13 of the reliability page, as decisions without I/O."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwire.errors import (
    AuthenticationError,
    ChatError,
    ConnectFailed,
    ConnectionLost,
    MalformedResponse,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    ServerError,
    Timeout,
)
from modelwire.transport.retry import GiveUp, History, RetryPolicy, read_retry_after, wait_before_retry


def waits(
    *errors: ChatError, policy: RetryPolicy | None = None, remaining_s: float | None = None
) -> list[float | GiveUp]:
    history, out = History(), []
    for error in errors:
        history.record(error, 0.1)
        out.append(wait_before_retry(error, history, policy or RetryPolicy(), remaining_s=remaining_s, rng=Random(7)))
    return out


def limited(retry_after: float | None = None) -> RateLimited:
    return RateLimited("slow down", status=429, retry_after=retry_after)


def test_bad_luck_is_tried_five_times_in_all_within_full_jitter() -> None:
    *tried, last = waits(*(ServerError("500") for _ in range(5)))
    assert all(0 <= wait <= min(0.5 * 2**n, 8) for n, wait in enumerate(tried))
    assert last == GiveUp()


@pytest.mark.parametrize("error", [AuthenticationError("no"), QuotaExhausted("empty")])
def test_what_cannot_succeed_is_not_tried_again(error: ChatError) -> None:
    assert waits(error) == [GiveUp()]


@pytest.mark.parametrize(
    "error", [ServerError("x"), limited(), limited(1.0), ConnectFailed("x"), MalformedResponse("x")]
)
def test_zero_retries_switches_every_kind_off(error: ChatError) -> None:
    assert waits(error, policy=RetryPolicy(max_retries=0)) == [GiveUp()]


def test_an_unreadable_answer_is_tried_once_more() -> None:
    first, second = waits(MalformedResponse("?"), MalformedResponse("?"))
    assert not isinstance(first, GiveUp)
    assert isinstance(second, GiveUp)


def test_a_rate_limit_is_bounded_by_time_not_by_count() -> None:
    out = waits(*(limited() for _ in range(40)), policy=RetryPolicy(max_retries=1))
    tried = [wait for wait in out if not isinstance(wait, GiveUp)]
    assert len(tried) > 2
    assert sum(tried) <= 60
    assert "max_wait" in str(out[-1])


def test_a_rate_limit_does_not_use_up_the_tries_for_bad_luck() -> None:
    out = waits(limited(), limited(), *(ServerError("x") for _ in range(4)))
    assert not any(isinstance(wait, GiveUp) for wait in out)


@given(st.floats(0.1, 59 / 1.1))
def test_retry_after_is_a_floor_spread_upward_by_at_most_a_tenth(asked_s: float) -> None:
    (wait,) = waits(limited(asked_s))
    assert asked_s <= wait <= max(asked_s * 1.1, 1.0)


def test_a_day_of_retry_after_raises_at_once_and_says_so() -> None:
    (wait,) = waits(limited(86400.0))
    assert isinstance(wait, GiveUp)
    assert "86400 s" in wait


def test_nothing_sleeps_past_the_deadline() -> None:
    (wait,) = waits(limited(5.0), remaining_s=2.0)
    assert isinstance(wait, GiveUp)
    assert "2 s left" in wait


@pytest.mark.parametrize("error", [ConnectFailed("refused"), ConnectionLost("stale", code="stale_connection")])
def test_what_was_provably_not_sent_is_sent_again_at_once_but_only_once(error: ChatError) -> None:
    first, second = waits(error, error)
    assert first == 0.0
    assert second != 0.0


def test_overload_waits_grow() -> None:
    out = waits(*(Overloaded("529", status=529) for _ in range(5)))
    floors = [0.75 * 2**k for k in range(5)]
    assert all(wait >= floor for wait, floor in zip(out, floors, strict=True) if not isinstance(wait, GiveUp))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after": "Sat, 21 Nov 2026 10:00:30 GMT", "date": "Sat, 21 Nov 2026 10:00:00 GMT"}, 30.0),
        ({"retry-after": "Sat, 21 Nov 2026 10:00:30 GMT"}, None),
        ({"retry-after": "Sat, 21 Nov 2026 09:00:00 GMT", "date": "Sat, 21 Nov 2026 10:00:00 GMT"}, None),
        *(({"retry-after": garbage}, None) for garbage in ("-5", "0", "nan", "inf", "soon", "", "1e999", "\x00")),
        ({}, None),
    ],
)
def test_retry_after_is_read_in_every_form_and_garbage_is_ignored(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert read_retry_after(headers) == seconds


@given(st.text(max_size=40), st.text(max_size=40))
def test_reading_retry_after_never_raises(value: str, date: str) -> None:
    read_retry_after({"retry-after": value, "date": date, "retry-after-ms": value})


def test_an_error_lists_its_attempts_oldest_first() -> None:
    history, last = History(), RateLimited("b", status=429, request_id="req_2")
    history.record(ServerError("a", status=500, code="boom"), 0.5)
    history.record(last, 0.25)
    assert [(a.error, a.status, a.elapsed_s) for a in last.attempts] == [
        ("ServerError", 500, 0.5),
        ("RateLimited", 429, 0.25),
    ]


@pytest.mark.parametrize(
    ("error", "billed"),
    [
        (ConnectFailed("refused"), False),
        (ConnectionLost("stale", code="stale_connection"), False),
        (ConnectionLost("reset"), True),
        (Timeout("silence"), True),
        (Timeout("no connection", code="connect_timeout"), False),
        (MalformedResponse("html"), True),
        (ServerError("no", status=500), False),
        (ServerError("gateway", status=504), True),
        (RateLimited("no", status=429), False),
    ],
)
def test_an_attempt_counts_as_paid_for_where_the_whole_request_had_gone(error: ChatError, *, billed: bool) -> None:
    history = History()
    history.record(error, 0.1)
    assert history.maybe_billed == error.maybe_billed_attempts == billed


def test_an_attempt_that_had_begun_to_answer_counts_as_paid_for() -> None:
    history = History()
    history.begun = True
    history.record(ServerError("error event", status=500), 0.1)
    history.record(ServerError("refused", status=500), 0.1)
    assert history.maybe_billed == 1
