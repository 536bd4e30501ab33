"""How long a job of embeddings takes at a limit of tokens that it is not told, on a virtual clock."""

from __future__ import annotations

import pytest
from support.embedding_scene import embedding_scene


@pytest.mark.parametrize("headers", ["none", "full"])
def test_short_texts_take_the_least_time_that_a_limit_of_tokens_allows(headers: str) -> None:
    score = embedding_scene(texts=400_000, tokens_a_minute=1_000_000, burst_s=10, headers=headers)
    assert score.done == score.requests == 196
    assert score.ratio <= 1.05
    assert score.wasted <= 0.2


@pytest.mark.long
@pytest.mark.parametrize("headers", ["none", "full"])
@pytest.mark.parametrize(
    ("tokens_a_minute", "burst_s"),
    # A full bucket of 10 million tokens holds the whole job, so there is no such scene.
    [(1_000_000, 10), (1_000_000, 60), (5_000_000, 10), (5_000_000, 60), (10_000_000, 10)],
)
def test_a_million_texts_take_the_least_time(
    tokens_a_minute: float, burst_s: float, headers: str
) -> None:
    score = embedding_scene(
        texts=1_000_000, tokens_a_minute=tokens_a_minute, burst_s=burst_s, headers=headers
    )
    assert score.done == score.requests == 489
    assert score.ratio <= 1.05
    assert score.wasted <= 0.1


@pytest.mark.long
def test_more_requests_are_in_flight_if_that_is_faster() -> None:
    few = embedding_scene(texts=300_000, tokens_a_minute=1_000_000)
    many = embedding_scene(texts=1_000_000, tokens_a_minute=10_000_000, burst_s=10)
    assert few.most_rows < many.most_rows
