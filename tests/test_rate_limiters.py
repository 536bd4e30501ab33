"""The token bucket, under a clock of ours."""

import asyncio
import pickle
from typing import Any

import pytest

from modelwire import rate_limiters
from modelwire.errors import InvalidArgument
from modelwire.rate_limiters import InMemoryRateLimiter


class Clock:
    """Stands in for the module `time`; sleeping passes time."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(rate_limiters, "time", clock)

    async def sleep(seconds: float) -> None:
        clock.sleep(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    return clock


def take(limiter: InMemoryRateLimiter, colour: Any, *, blocking: bool = False) -> bool:
    return colour.run(
        lambda: limiter.acquire(blocking=blocking), lambda: limiter.aacquire(blocking=blocking)
    )


def test_a_bucket_starts_empty_fills_with_time_and_runs_over(clock: Clock, colour: Any) -> None:
    limiter = InMemoryRateLimiter(requests_per_second=2, max_bucket_size=3)
    assert limiter.available_tokens == 0
    assert not take(limiter, colour)
    clock.now += 0.4
    assert not take(limiter, colour)
    assert limiter.available_tokens == 0
    clock.now += 0.6
    assert take(limiter, colour)
    assert limiter.available_tokens == 1
    clock.now += 100
    assert [take(limiter, colour) for _ in range(4)] == [True, True, True, False]


def test_waiting_looks_again_at_the_interval(clock: Clock, colour: Any) -> None:
    limiter = InMemoryRateLimiter(requests_per_second=4, check_every_n_seconds=0.1)
    assert take(limiter, colour, blocking=True)
    assert clock.slept == [0.1, 0.1, 0.1]


def test_over_a_long_time_the_rate_is_the_rate(clock: Clock, colour: Any) -> None:
    limiter = InMemoryRateLimiter(
        requests_per_second=20, check_every_n_seconds=0.01, max_bucket_size=1
    )
    start = clock.now
    for _ in range(200):
        take(limiter, colour, blocking=True)
    assert 200 / (clock.now - start) == pytest.approx(20, rel=0.25)


@pytest.mark.parametrize(
    ("name", "value"),
    [("requests_per_second", 0), ("check_every_n_seconds", -1), ("max_bucket_size", 0.5)],
)
def test_a_bucket_that_would_never_let_anything_through_is_refused(name: str, value: float) -> None:
    with pytest.raises(InvalidArgument, match=name):
        InMemoryRateLimiter(**{name: value})


def test_a_limiter_can_be_pickled() -> None:
    limiter = pickle.loads(pickle.dumps(InMemoryRateLimiter(requests_per_second=3)))
    assert limiter.requests_per_second == 3
    assert not limiter.acquire(blocking=False)
