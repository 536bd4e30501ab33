"""A failure of all, and a refusal that lasts, on a virtual clock: who is lost, after how many requests and how long.

P27 and P28 of the reliability page; over sockets they stand in tests/faults/test_short_failures.py.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from support.simulated_provider import Job, Outcome, Provider, World, run_job

from modelwire.transport.retry import RetryPolicy

TWO_HUNDRED = pytest.param(200, marks=pytest.mark.long)
A_THOUSAND = pytest.param(1000, marks=pytest.mark.long)


@pytest.mark.parametrize("patient", [True, False], ids=["rows of a batch", "single calls"])
@pytest.mark.parametrize("calls", [5, 20, 50, TWO_HUNDRED, A_THOUSAND])
@pytest.mark.parametrize("seconds", [0.2, 1.0, 5.0])
@pytest.mark.parametrize("latency_s", [0.05, 1.8])
def test_a_short_failure_loses_no_call(
    seconds: float, calls: int, latency_s: float, *, patient: bool
) -> None:
    """P27: from the first call of a key on, and in the midst of its work."""
    for start, rows in ((0.0, calls), (3.0, 4 * calls)):
        score = run_job(
            rows=rows,
            workers=calls,
            patient=patient,
            latency_s=latency_s,
            outages=[(start, start + seconds, 500)],
        )
        assert (score.outcome.lost, score.outcome.done) == (0, rows)
        if calls >= 20:  # fewer are not told from bad luck
            assert sum(score.provider.seen.values()) <= 2.2 * rows
            if seconds <= 1:
                assert max(failures for failures, _ in score.outcome.waits_s) <= 3


def test_a_call_alone_outlasts_five_seconds() -> None:
    for seed in range(50):
        score = run_job(rows=1, workers=1, patient=False, seed=seed, outages=[(0.0, 5.0, 500)])
        assert score.outcome.lost == 0


def test_a_provider_that_fails_again_and_again_loses_nobody() -> None:
    outages = [(start, start + 1.0, 500) for start in (0.0, 3.0, 5.0, 9.0)]
    score = run_job(rows=2000, workers=200, patient=False, outages=outages)
    assert score.outcome.lost == 0
    assert sum(score.provider.seen.values()) <= 2 * 2000


class Refusing(Provider):
    """Refuses everything, and knows which call it was: each row costs its number."""

    retry_after: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.times_of: dict[int, list[float]] = {}

    def _head(self, now: float, status: int) -> dict[str, str]:
        return {} if self.retry_after is None else {"retry-after": str(self.retry_after)}

    def cost(self, row: int) -> int:
        return row + 1

    def take(self, cost: int, answer: Any) -> None:
        self.times_of.setdefault(cost, []).append(self.world.now)
        super().take(cost, answer)


def refused(
    status: int, retry_after: float | None, calls: int, policy: RetryPolicy
) -> tuple[Refusing, Outcome]:
    world, outcome = World(), Outcome()
    provider = Refusing(world, outages=[(0.0, 1e9, status)])
    provider.retry_after = retry_after
    rows: Iterator[int] = iter(range(calls))
    job = Job(world, provider, rows, outcome, workers=calls, patient=False)
    job.policy = policy
    world.run(1000)
    assert outcome.lost == calls
    return provider, outcome


@pytest.mark.parametrize("calls", [1, 200, A_THOUSAND])
@pytest.mark.parametrize("retry_after", [None, 0.01, 1, 5, 30])
@pytest.mark.parametrize("status", [429, 503, 529])
def test_a_lasting_refusal_is_met_with_few_requests_and_ends_at_max_wait(
    status: int, retry_after: float | None, calls: int
) -> None:
    """P28. With two hundred calls waiting, fifteen requests in all; the SDK sends 800."""
    for policy in (
        RetryPolicy(),
        RetryPolicy(max_retries=3, max_requests=4),
        RetryPolicy(max_wait_s=10.0),
    ):
        provider, outcome = refused(status, retry_after, calls, policy)
        times = provider.times_of
        assert sum(map(len, times.values())) <= 15
        assert max(map(len, times.values())) <= policy.max_requests
        for of_one in times.values():
            assert all(later - earlier >= 0.25 for earlier, later in pairwise(of_one))
        assert (
            outcome.makespan_s <= policy.max_wait_s + 2
        )  # and one attempt; the first goes ahead of the others
