"""A job of short texts at a limit of tokens, on the virtual clock of `simulated_provider`.

The texts are packed into requests as the package packs them, the calls are its flows with its limiter, and its tuner
decides how many rows are in flight. The ideal is a client that knows the limit, with the fewest requests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from support.simulated_provider import (
    OUTPUT_TOKENS,
    Job,
    Outcome,
    Provider,
    TokenBucket,
    World,
    ideal_s,
)

from modelwire.adapters.embeddings.texts import packed
from modelwire.embeddings import OpenAIEmbeddings
from modelwire.jobs.concurrency import ConcurrencyTuner
from modelwire.jobs.embedding_rows import REQUESTS_AT_MOST, REQUESTS_AT_ONCE

TEXTS_OF_REQUEST = OpenAIEmbeddings.LIMITS.texts
OBSERVED_EVERY_S = 0.25


@dataclass
class SceneScore:
    """The result of a scene: the time against the ideal, the refused share, requests, and rows in flight at most."""

    ratio: float
    wasted: float
    requests: int
    most_rows: int
    done: int


def texts_of(count: int) -> list[str]:
    """Return short texts, all different."""
    return [f"product {number}: a short text of a few words" for number in range(count)]


def embedding_scene(
    *,
    texts: int,
    tokens_a_minute: float,
    burst_s: float = 60.0,
    headers: str = "none",
    seed: int = 1,
) -> SceneScore:
    """Run a job of so many texts at a limit of tokens a minute."""
    packs = [*packed(texts_of(texts), OpenAIEmbeddings.LIMITS)]
    costs = [sum(len(text) // 4 for text in pack) for pack in packs]

    class Packs(Provider):
        """Knows the tokens of each request."""

        def cost(self, row: int) -> int:
            return costs[row] + OUTPUT_TOKENS

    limit = TokenBucket(((0.0, tokens_a_minute / 60),), burst_s)
    settings: dict[str, Any] = {"tokens": limit, "headers": headers}
    world, outcome = World(), Outcome()
    provider = Packs(world, seed=seed, **{**settings, "tokens": limit.fresh()})
    job = Job(world, provider, iter(range(len(packs))), outcome, workers=REQUESTS_AT_ONCE)
    tuner = ConcurrencyTuner(
        REQUESTS_AT_ONCE * TEXTS_OF_REQUEST, REQUESTS_AT_MOST * TEXTS_OF_REQUEST
    )
    workers = REQUESTS_AT_ONCE

    def observe() -> None:
        nonlocal workers
        tuner.observe(world.now, outcome.done * TEXTS_OF_REQUEST, full=True)
        for _ in range(tuner.size // TEXTS_OF_REQUEST - workers):
            world.at(world.now, job._next)
            workers += 1
        if outcome.done + outcome.lost < len(packs):
            world.at(world.now + OBSERVED_EVERY_S, observe)

    world.at(OBSERVED_EVERY_S, observe)
    world.run(36_000.0)
    fewest = -(-texts // TEXTS_OF_REQUEST)
    ideal = ideal_s(settings, rows=fewest, workers=1_000, seed=seed, kind=Packs)
    refused = provider.seen[429] / sum(provider.seen.values())
    return SceneScore(outcome.makespan_s / ideal, refused, len(packs), tuner.size, outcome.done)
