"""Buckets and windows on a clock that is a number."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwire.testing import Limits
from modelwire.testing.server.limits import Bucket, Limiter, Refusal, Window, duration

AT = ("key", "model")


def admitted(limiter: Limiter, times: list[float], tokens: float = 0) -> list[bool]:
    return [limiter.admit(AT, tokens, now) is None for now in times]


def test_a_bucket_takes_a_burst_and_then_its_rate() -> None:
    limiter = Limiter(Limits(rpm=60, window_s=3))
    assert admitted(limiter, [0, 0, 0, 0, 0.5, 1.0, 1.5, 2.0]) == [True] * 3 + [
        False,
        False,
        True,
        False,
        True,
    ]


def test_a_refusal_says_when_there_is_room_again() -> None:
    limiter = Limiter(Limits(rpm=60, window_s=1))
    assert limiter.admit(AT, 0, 0.0) is None
    refused = limiter.admit(AT, 0, 0.25)
    assert refused == Refusal("requests", pytest.approx(0.75))
    assert limiter.admit(AT, 0, 0.25 + refused.wait_s) is None


def test_a_fixed_window_is_filled_at_its_end() -> None:
    limiter = Limiter(Limits(rpm=2, fixed=True))
    assert admitted(limiter, [50, 50.5, 59, 109, 110.1, 110.2, 111]) == [
        True,
        True,
        False,
        False,
        True,
        True,
        False,
    ]
    assert limiter.admit(AT, 0, 150).wait_s == pytest.approx(20)


def test_tokens_are_reserved_and_given_back() -> None:
    limiter = Limiter(Limits(tpm=600))
    assert admitted(limiter, [0], tokens=500) == [True]
    refused = limiter.admit(AT, 200, 0)
    assert refused == Refusal("tokens", pytest.approx(10))
    limiter.settle(AT, 100, 0)
    assert limiter.admit(AT, 200, 0) is None


def test_the_longer_wait_is_the_one_that_is_said() -> None:
    limiter = Limiter(Limits(rpm=1, tpm=60))
    limiter.admit(AT, 60, 0)
    assert limiter.admit(AT, 10, 0) == Refusal("requests", pytest.approx(60))


def test_more_tokens_than_a_bucket_holds_wait_for_a_full_one() -> None:
    limiter = Limiter(Limits(tpm=60))
    assert limiter.admit(AT, 1000, 0) is None
    assert limiter.admit(AT, 1000, 30).wait_s == pytest.approx(30)


def test_a_refused_request_may_cost_too() -> None:
    free, dear = (
        Limiter(Limits(rpm=60, window_s=2)),
        Limiter(Limits(rpm=60, window_s=2, refused_cost=1)),
    )
    hammering = [0, 0] + [n / 10 for n in range(1, 31)]
    assert sum(admitted(free, hammering)) == 5
    assert sum(admitted(dear, hammering)) == 2  # it never fills up


def test_keys_and_models_have_their_own_limits_unless_pooled() -> None:
    for pooled, expected in ((False, [True, True, True]), (True, [True, False, True])):
        limiter = Limiter(Limits(rpm=1, pooled=pooled))
        keys = [("a", "x"), ("a", "y"), ("b", "x")]
        assert [limiter.admit(at, 0, 0.0) is None for at in keys] == expected


def test_other_limits_keep_what_was_spent_in_proportion() -> None:
    limiter = Limiter(Limits(rpm=600))
    assert all(admitted(limiter, [0.0] * 300))
    limiter.change(Limits(rpm=60), 0.0)
    assert sum(admitted(limiter, [0.0] * 60)) == 30


@given(
    rpm=st.integers(1, 600),
    window_s=st.sampled_from([1.0, 10.0, 60.0]),
    fixed=st.booleans(),
    gaps=st.lists(st.floats(0, 5), min_size=1, max_size=80),
)
def test_never_more_than_the_burst_and_the_rate(
    rpm: int, window_s: float, fixed: bool, gaps: list[float]
) -> None:
    limiter, now, let_in = Limiter(Limits(rpm=rpm, window_s=window_s, fixed=fixed)), 0.0, 0
    for gap in gaps:
        now += gap
        let_in += limiter.admit(AT, 0, now) is None
    burst = max(1.0, rpm / 60 * window_s)
    windows = 1 + now // window_s
    assert let_in <= (burst * windows if fixed else burst + now * rpm / 60) + 1e-6


@given(kind=st.sampled_from([Bucket, Window]), spent=st.floats(0, 10), now=st.floats(0, 100))
def test_after_the_wait_there_is_room(kind: type[Bucket], spent: float, now: float) -> None:
    bucket = kind(60, 10, 0.0)
    bucket.refill(now)
    bucket.level -= spent
    later = now + bucket.wait_s(5) + 1e-6
    bucket.refill(later)
    assert bucket.level >= 5 - 1e-3


@pytest.mark.parametrize(
    ("dialect", "expected"),
    [
        (
            "openai",
            {
                "x-ratelimit-limit-requests": "120",
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-requests": "1m0s",
                "x-ratelimit-limit-tokens": "6000",
                "x-ratelimit-remaining-tokens": "5400",
                "x-ratelimit-reset-tokens": "6s",
                "retry-after": "1",
                "retry-after-ms": "500",
            },
        ),
        (
            "anthropic",
            {
                "anthropic-ratelimit-requests-limit": "120",
                "anthropic-ratelimit-requests-remaining": "0",
                "anthropic-ratelimit-requests-reset": "1970-01-01T00:17:40.000Z",
                "anthropic-ratelimit-tokens-limit": "6000",
                "anthropic-ratelimit-tokens-remaining": "5400",
                "anthropic-ratelimit-tokens-reset": "1970-01-01T00:16:46.000Z",
                "retry-after": "1",
            },
        ),
        ("retry-after", {"retry-after": "1"}),
        ("none", {}),
    ],
)
def test_headers_say_limit_rest_and_reset(dialect: str, expected: dict[str, str]) -> None:
    limiter = Limiter(Limits(rpm=120, tpm=6000, headers=dialect))  # type: ignore[arg-type]
    assert all(admitted(limiter, [0.0] * 120, tokens=5))
    refused = limiter.admit(AT, 5, 0.0)
    assert limiter.headers(AT, "openai", 0.0, refused, scale=1, epoch_s=1000) == expected


def test_scaled_headers_are_in_the_clients_seconds() -> None:
    limiter = Limiter(Limits(rpm=60))
    for _ in range(61):
        refused = limiter.admit(AT, 0, 0.0)
    headers = limiter.headers(AT, "openai", 0.0, refused, scale=0.01, epoch_s=0)
    assert headers["retry-after"] == "0.010"
    assert headers["x-ratelimit-reset-requests"] == "600ms"


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (0, "0ms"),
        (0.012, "12ms"),
        (1, "1s"),
        (179.56, "2m59.56s"),
        (360, "6m0s"),
        (3723, "1h2m3s"),
        (3600, "1h0m0s"),
    ],
)
def test_durations_are_written_as_go_does(seconds: float, written: str) -> None:
    assert duration(seconds) == written
