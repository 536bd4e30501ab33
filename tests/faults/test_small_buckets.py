"""P30 over bare sockets: a limit that allows no burst. The same on a virtual clock: tests/transport/ratelimit."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.raw_provider import RawProvider
from support.ways import Ask, by_abatch, by_batch, by_gather, by_threads, model_of


@pytest.fixture(autouse=True)
def waits_of_the_product(real_waits: None) -> None:
    """Wait as the product does: this promise is about its waits."""


def bucket_of(size: float, per_s: float) -> Callable[[float, str], int]:
    """Decide as a provider does that fills a bucket of this size: 200 or 429."""
    state = [size, 0.0]

    def decide(since_s: float, text: str) -> int:
        state[0] = min(state[0] + (since_s - state[1]) * per_s, size) - 1
        state[1] = since_s
        if state[0] >= 0:
            return 200
        state[0] += 1
        return 429

    return decide


@pytest.mark.long
@pytest.mark.parametrize("ask", [by_abatch, by_batch, by_gather, by_threads])
@pytest.mark.parametrize("size", [1, 2, 10])
def test_a_limit_that_allows_few_at_once_loses_nothing_over_a_socket(ask: Ask, size: int) -> None:
    """How near it comes to the ideal is measured (`python -m benchmarks`): a busy machine sends as it may."""
    rows = [f"row {n}" for n in range(100)]
    with RawProvider(bucket_of(size, 10.0), latency_s=0.5) as server:
        answers = ask(model_of(server), rows)
        assert [getattr(answer, "text", answer) for answer in answers] == rows
        assert sum(arrival.status == 200 for arrival in server.arrivals) == len(rows)
