"""Embeddings without a model, for tests."""

from __future__ import annotations

from random import Random

from modelwire.embeddings import Embeddings


class FakeEmbeddings(Embeddings):
    """Returns random vectors of `size` numbers, which differ at each call."""

    def __init__(self, *, size: int) -> None:
        self.size = size

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return a random vector for each text."""
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        """Return a random vector."""
        return self._numbers(Random())  # noqa: S311 - not for secrets

    def _numbers(self, rng: Random) -> list[float]:
        return [rng.gauss(0, 1) for _ in range(self.size)]


class DeterministicFakeEmbedding(FakeEmbeddings):
    """Returns a vector of `size` random numbers, which is always the same for the same text."""

    def embed_query(self, text: str) -> list[float]:
        """Return the vector of this text."""
        return self._numbers(Random(text))  # noqa: S311 - not for secrets
