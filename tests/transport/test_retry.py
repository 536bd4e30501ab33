"""When a call is tried again: R1-R4 and R13 of the reliability page, as decisions without I/O."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
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
from modelwire.transport.retry import (
    GiveUp,
    History,
    RetryPolicy,
    read_retry_after,
    wait_before_retry,
)


@pytest.fixture(autouse=True)
def waits_of_the_product(real_waits: None) -> None:
    """Wait as the product does."""


def waits(
    *errors: ChatError,
    policy: RetryPolicy | None = None,
    remaining_s: float | None = None,
    in_queue: bool = False,
) -> list[float | GiveUp]:
    history, out, waited_s = History(), [], 0.0
    for error in errors:
        history.record(error, 0.1)
        out.append(
            wait_before_retry(
                error,
                history,
                policy or RetryPolicy(),
                remaining_s=remaining_s,
                rng=Random(7),
                waited_s=waited_s,
                in_queue=in_queue,
            )
        )
        waited_s += out[-1] if not isinstance(out[-1], GiveUp) else 0.0
    return out


def limited(retry_after: float | None = None) -> RateLimited:
    return RateLimited("slow down", status=429, retry_after=retry_after)


def test_bad_luck_is_tried_five_times_in_all_over_five_seconds_at_least() -> None:
    """A provider that fails for five seconds loses not even a lone call."""
    *tried, last = waits(*(ServerError("500") for _ in range(5)))
    assert all(
        (0.75 if n else 0) * 0.5 * 2**n <= wait <= 0.5 * 2**n for n, wait in enumerate(tried)
    )
    assert sum(tried) > 5
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


def counted(out: list[float | GiveUp]) -> list[float]:
    return [wait for wait in out if not isinstance(wait, GiveUp)]


def test_refusals_wait_for_twice_as_long_each_time_and_for_max_wait_in_all() -> None:
    tried = counted(out := waits(*(limited() for _ in range(12))))
    assert all(0.5 * 2**k <= wait <= 1.1 * 0.5 * 2**k for k, wait in enumerate(tried[:-1], start=1))
    assert sum(tried) == pytest.approx(
        60
    )  # the last wait is cut to what is left, and there is one try after it
    assert len(tried) == 6
    assert "max_wait" in str(out[6])


@pytest.mark.parametrize(
    "error", [limited(), limited(0.01), Overloaded("x", retry_after=1.0), ServerError("x")]
)
@pytest.mark.parametrize("retries", [1, 3, 7])
def test_set_retries_bound_the_requests_of_every_class(error: ChatError, retries: int) -> None:
    policy = RetryPolicy(max_retries=retries, max_wait_s=1e6, max_requests=1 + retries)
    assert len(counted(waits(*(error for _ in range(20)), policy=policy))) == retries


def test_refusals_and_bad_luck_in_turn_are_ten_requests_at_most() -> None:
    errors: list[ChatError] = [
        limited(),
        MalformedResponse("?"),
        ServerError("x"),
        *[limited()] * 3,
        ServerError("x"),
    ]
    errors += [ServerError("x")] * 2 + [limited(), limited(), limited()]
    assert len(counted(waits(*errors, policy=RetryPolicy(max_wait_s=1e6)))) == 9


def test_no_refusal_is_followed_by_a_try_within_a_quarter_of_a_second() -> None:
    row = RetryPolicy(max_requests=float("inf"), max_wait_s=float("inf"))
    assert set(waits(*(limited(0.01) for _ in range(50)), policy=row, in_queue=True)) == {0.25}
    tight = counted(waits(*(limited(0.01) for _ in range(9)), policy=RetryPolicy(max_wait_s=1.2)))
    assert tight == [pytest.approx(1.0, rel=0.11)]  # what is left then is less


def test_a_rate_limit_does_not_use_up_the_tries_for_bad_luck() -> None:
    out = waits(limited(), limited(), *(ServerError("x") for _ in range(4)))
    assert not any(isinstance(wait, GiveUp) for wait in out)


@given(st.floats(0.1, 59 / 1.1))
def test_retry_after_is_a_floor_spread_upward_by_at_most_a_tenth(asked_s: float) -> None:
    (wait,) = waits(limited(asked_s))
    assert max(asked_s, 1.0) <= wait <= max(asked_s, 1.0) * 1.1


def test_a_day_of_retry_after_raises_at_once_and_says_so() -> None:
    (wait,) = waits(limited(86400.0))
    assert isinstance(wait, GiveUp)
    assert "86400 s" in wait


def test_nothing_sleeps_past_the_deadline() -> None:
    (wait,) = waits(limited(5.0), remaining_s=2.0)
    assert isinstance(wait, GiveUp)
    assert "2 s left" in wait


@pytest.mark.parametrize(
    "error", [ConnectFailed("refused"), ConnectionLost("stale", code="stale_connection")]
)
def test_what_was_provably_not_sent_is_sent_again_at_once_but_only_once(error: ChatError) -> None:
    first, second = waits(error, error)
    assert first == 0.0
    assert second != 0.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        (
            {
                "retry-after": "Sat, 21 Nov 2026 10:00:30 GMT",
                "date": "Sat, 21 Nov 2026 10:00:00 GMT",
            },
            30.0,
        ),
        ({"retry-after": "Sat, 21 Nov 2026 10:00:30 GMT"}, None),
        (
            {
                "retry-after": "Sat, 21 Nov 2026 09:00:00 GMT",
                "date": "Sat, 21 Nov 2026 10:00:00 GMT",
            },
            None,
        ),
        *(
            ({"retry-after": garbage}, None)
            for garbage in ("-5", "0", "nan", "inf", "soon", "", "1e999", "\x00")
        ),
        ({}, None),
    ],
)
def test_retry_after_is_read_in_every_form_and_garbage_is_ignored(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert read_retry_after(headers) == seconds


def test_a_date_in_an_answer_without_a_date_is_measured_against_our_clock() -> None:
    in_an_hour = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    seconds = read_retry_after({"retry-after": in_an_hour})
    assert seconds is not None
    assert 3000 < seconds <= 3600  # the test may have to wait for a processor


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
def test_an_attempt_counts_as_paid_for_where_the_whole_request_had_gone(
    error: ChatError, *, billed: bool
) -> None:
    history = History()
    history.record(error, 0.1)
    assert history.maybe_billed == error.maybe_billed_attempts == billed


def test_an_attempt_that_had_begun_to_answer_counts_as_paid_for() -> None:
    history = History()
    history.begun = True
    history.record(ServerError("error event", status=500), 0.1)
    history.record(ServerError("refused", status=500), 0.1)
    assert history.maybe_billed == 1
