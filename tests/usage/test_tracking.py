"""`track`: tokens, dollars and seconds of a block."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from modelwire.caches import InMemoryCache
from modelwire.jobs import CostTracker, price_of, track
from modelwire.messages import AIMessage
from modelwire.outputs import ChatGeneration, LLMResult
from modelwire.testing import BatchPlan, GenericFakeChatModel, ProviderServer
from modelwire.usage.tracking import percentile

pytest.importorskip("genai_prices", reason="`modelwire[profiles]` is not installed")


def answer(model: str = "gpt-4o-mini") -> AIMessage:
    return AIMessage(
        "hi there",
        usage_metadata={"input_tokens": 1000, "output_tokens": 100, "total_tokens": 1100},
        response_metadata={"model_name": model, "model_provider": "openai"},
    )


def fake(*answers: Any) -> GenericFakeChatModel:
    return GenericFakeChatModel(messages=iter(answers))


def test_a_block_counts_its_calls_in_either_colour(colour: Any) -> None:
    model = fake(answer(), answer(), answer("gpt-nobody-knows"))
    with track() as spent:
        for _ in range(3):
            colour.invoke(model, "hi")
    assert spent.total.calls == 3
    assert spent.cost == 2 * (price_of(answer()) or Decimal("nan"))
    assert spent.total.unpriced == 1
    assert spent.by_model["gpt-4o-mini"].calls == 2
    assert spent.usage_metadata["gpt-4o-mini"]["input_tokens"] == 2000
    assert len(spent.latencies_s) == 3
    assert "and 1 calls of unknown price" in str(spent)
    assert "p95" in str(spent)


def test_calls_outside_of_the_block_do_not_count() -> None:
    model = fake(answer(), answer())
    with track() as spent:
        model.invoke("hi")
    model.invoke("hi")
    assert spent.total.calls == 1


def test_an_answer_out_of_a_cache_is_a_call_that_took_no_tokens(colour: Any) -> None:
    with ProviderServer() as server, track() as spent:
        model = server.model(model="gpt-4o-mini", cache=InMemoryCache())
        answers = [colour.invoke(model, "hi") for _ in range(3)]
    assert (len(server.requests), spent.total.calls, spent.total.unpriced) == (1, 3, 0)
    assert list(spent.usage_metadata.values()) == [answers[0].usage_metadata]
    assert spent.cost == price_of(answers[0])


def test_blocks_within_blocks_both_count() -> None:
    with track() as outer:
        with track() as inner:
            fake(answer()).invoke("hi")
        fake(answer()).invoke("hi")
    assert (outer.total.calls, inner.total.calls) == (2, 1)


def test_failures_are_counted_with_their_seconds() -> None:
    class Failing(GenericFakeChatModel):
        def _generate(self, *args: Any, **kwargs: Any) -> Any:
            raise ValueError("no")

    with track() as spent, pytest.raises(ValueError, match="no"):
        Failing(messages=iter(())).invoke("hi")
    assert (spent.errors, spent.total.calls, len(spent.latencies_s)) == (1, 0, 1)


def test_calls_of_many_threads_add_up() -> None:
    tracker = CostTracker()

    def one(_: int) -> None:
        run = uuid4()
        tracker.on_chat_model_start({}, [], run_id=run)
        tracker.on_llm_end(LLMResult(generations=[[ChatGeneration(message=answer())]]), run_id=run)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, range(400)))
    assert tracker.total.calls == 400
    assert tracker.cost == 400 * (price_of(answer()) or Decimal("nan"))
    assert not tracker._started


def test_nothing_called_is_said_without_numbers() -> None:
    with track() as spent:
        pass
    assert (spent.elapsed_s, spent.calls_per_s, spent.tokens_per_s, spent.latency_s(50)) == (
        0,
        0,
        0,
        None,
    )
    assert "0 calls" in str(spent)


@pytest.mark.parametrize(
    ("percent", "expected"), [(0, 1), (25, 1), (50, 2), (75, 3), (76, 4), (100, 4)]
)
def test_a_percentile_is_one_of_the_values(percent: float, expected: float) -> None:
    assert percentile([4, 2, 3, 1], percent) == expected


@pytest.mark.parametrize("wire", ["openai", "anthropic"])
def test_answers_of_a_batch_count_once_and_at_the_price_of_batches(
    wire: Any, tmp_path: Path
) -> None:
    with ProviderServer(batches=BatchPlan(rows={2: "missing"})) as server:
        model = server.model(wire, model="gpt-4o-mini" if wire == "openai" else "claude-sonnet-4-5")
        with track() as outer:
            job = model.submit_batch(
                ["a", "b", "c", "a"], dir=tmp_path / "a.job", max_rounds=1
            ).wait(poll=0.01)
            assert outer.total.calls == 0
            for _ in range(2):
                list(job.results())
            assert (outer.total.calls, outer.errors, len(outer.latencies_s)) == (2, 1, 0)
            assert outer.cost == job.cost().usd > 0
            with track() as inner:
                assert job.finish_live() == 1
                live = inner.cost
                list(job.results())  # what was asked live has been counted when it was
        assert inner.total.calls == 3 and inner.cost == outer.cost == job.cost().usd
        assert 0 < live < job.cost().usd


def test_a_stream_left_early_is_a_call_of_unknown_price(colour: Any) -> None:
    with ProviderServer(default="one two three four five six") as server:
        model = server.model(model="gpt-4o-mini")

        def leave() -> None:
            stream = model.stream("hi")
            next(stream)
            stream.close()  # type: ignore[attr-defined]

        async def aleave() -> None:
            stream = model.astream("hi")
            await anext(stream)
            await stream.aclose()  # type: ignore[attr-defined]

        with track() as spent:
            colour.run(leave, aleave)
        assert (spent.total.calls, spent.total.unpriced, spent.errors) == (1, 1, 0)
        assert spent.by_model["gpt-4o-mini"].calls == 1
        assert "1 calls, 0 errors, cost unknown" in str(spent)


def test_calls_and_tokens_count_without_the_list_of_prices(
    colour: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from modelwire.usage import prices

    prices._price.cache_clear()
    prices._list.cache_clear()
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    with ProviderServer() as server, track() as spent:
        colour.invoke(server.model(model="gpt-4o-mini"), "hi")
    assert "cost unknown (`pip install 'modelwire[profiles]'` installs the price list)" in str(
        spent
    )
    prices._list.cache_clear()
    prices._price.cache_clear()
    assert (spent.total.calls, spent.total.unpriced, spent.cost) == (1, 1, 0)
    assert spent.usage_metadata
