"""The first request of a key goes ahead of the others: a key without credit is refused once."""

from random import Random

import pytest
from support.asking import ask

from modelwire.errors import (
    AuthenticationError,
    ChatError,
    NotFound,
    PermissionDenied,
    QuotaExhausted,
)
from modelwire.transport.ratelimit.limiter import AdaptiveRateLimiter


def test_the_first_request_of_a_key_goes_ahead_of_the_rows_of_a_batch() -> None:
    limiter = AdaptiveRateLimiter(0.0, Random(1))
    first, *rows = [ask(limiter, 0.0, patient=True) for _ in range(3)]
    assert first.granted
    assert limiter.poll(rows[0], 0.2) == pytest.approx(0.1)
    limiter.answered(first, 0.25)
    assert all(row.granted for row in rows)


def test_what_is_not_heard_of_in_a_moment_holds_nobody_longer() -> None:
    limiter = AdaptiveRateLimiter(0.0, Random(1))
    _, *rows = [ask(limiter, 0.0, patient=True) for _ in range(3)]
    assert limiter.poll(rows[0], 0.31) is None
    assert rows[1].granted


def test_a_few_single_calls_do_not_wait_for_the_first() -> None:
    limiter = AdaptiveRateLimiter(0.0, Random(1))
    _, *few = [ask(limiter, 0.0) for _ in range(5)]
    assert limiter.poll(few[0], 0.006) is None
    assert all(admission.granted for admission in few)


def test_a_crowd_of_single_calls_does() -> None:
    limiter = AdaptiveRateLimiter(0.0, Random(1))
    first, *crowd = [ask(limiter, 0.0) for _ in range(20)]
    assert limiter.poll(crowd[0], 0.2) == pytest.approx(0.1)
    limiter.failed(first, 0.25, QuotaExhausted("no credit"))
    assert all(isinstance(admission.rejection, QuotaExhausted) for admission in crowd)


def test_calls_that_take_long_to_start_wait_from_the_last_of_them() -> None:
    """An event loop that starts hundreds sends the first request when it has started the last."""
    limiter = AdaptiveRateLimiter(0.0, Random(1))
    _, *crowd = [ask(limiter, 0.0) for _ in range(20)]
    ask(limiter, 0.2)
    assert limiter.poll(crowd[0], 0.31) == pytest.approx(0.2 + 0.3 - 0.31)


def test_a_first_request_that_is_given_up_holds_nobody() -> None:
    limiter = AdaptiveRateLimiter(0.0, Random(1))
    first, *rows = [ask(limiter, 0.0, patient=True) for _ in range(3)]
    limiter.leave(first, 0.01, sent=False)
    assert all(row.granted for row in rows)


@pytest.mark.parametrize(
    "error", [AuthenticationError("no"), NotFound("no", code="model_not_found")]
)
def test_a_key_or_a_model_that_is_not_known_is_refused_once(error: ChatError) -> None:
    limiter = AdaptiveRateLimiter(0.0, Random(1))
    first, *rows = [ask(limiter, 0.0, patient=True) for _ in range(3)]
    limiter.failed(first, 0.1, error)
    assert all(type(row.rejection) is type(error) for row in rows)
    assert ask(limiter, 0.2, patient=True).rejection is not None


def test_what_may_be_of_one_row_is_not_held_against_the_others() -> None:
    for error in (PermissionDenied("moderated"), NotFound("no such file")):
        limiter = AdaptiveRateLimiter(0.0, Random(1))
        first, *rows = [ask(limiter, 0.0, patient=True) for _ in range(3)]
        limiter.failed(first, 0.1, error)
        limiter.leave(first, 0.1)
        assert all(row.granted for row in rows)


def test_a_key_that_was_good_or_is_another_now_is_not_held_against_the_others() -> None:
    limiter = AdaptiveRateLimiter(0.0, Random(1))
    first, *rows = [ask(limiter, 0.0, patient=True) for _ in range(3)]
    limiter.failed(first, 0.1, AuthenticationError("no"), renewed=True)
    limiter.leave(first, 0.1)
    assert all(row.granted for row in rows)
    limiter.answered(rows[0], 0.2)
    limiter.failed(rows[1], 0.3, AuthenticationError("no"))
    assert ask(limiter, 0.3, patient=True).rejection is None
