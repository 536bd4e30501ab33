"""Embeddings of a real model on this machine."""

from __future__ import annotations

from typing import Any

import pytest

from modelwire import init_embeddings
from modelwire.errors import ContextTooLong
from modelwire.local import ensure_server
from modelwire.usage import track

pytestmark = pytest.mark.local

SMALL: dict[str, Any] = {"n_ctx": 256, "n_parallel": 1}
SEA = "The tide is high."


def _likeness(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def test_like_texts_have_like_vectors_and_one_server_answers_them(colour: Any) -> None:
    model = init_embeddings("local:smollm2", **SMALL)
    texts = [SEA, "The sea is rising.", "Pay the invoice by Friday."]
    with track() as spent:
        sea, also_sea, bill = colour.run(
            lambda: model.embed_documents(texts), lambda: model.aembed_documents(texts)
        )
    assert _likeness(sea, sea) == pytest.approx(1, abs=1e-3)
    assert _likeness(sea, also_sea) > _likeness(sea, bill)
    assert _likeness(model.embed_query(SEA), sea) > 0.999
    assert (spent.total.calls, spent.total.cost, spent.total.unpriced) == (1, 0, 0)
    server = ensure_server("smollm2", embeddings=True, **SMALL)
    assert model.base_url == server.base_url_for("openai")
    assert server is not ensure_server("smollm2", **SMALL)


def test_a_text_that_is_too_long_is_split_or_says_so() -> None:
    long = "the sea " * 150
    model = init_embeddings("local:smollm2", **SMALL)
    with pytest.warns(UserWarning, match="split by an estimate"):
        assert _likeness(model.embed_query(long), model.embed_query(SEA)) > 0
    whole = init_embeddings("local:smollm2", check_embedding_ctx_length=False, **SMALL)
    with pytest.raises(ContextTooLong, match="too large to process"):
        whole.embed_query(long)
