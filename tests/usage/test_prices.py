"""What answers cost, by the list of `genai-prices`; the expected sums come from that list, not from here."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from modelwire.adapters import ChatOpenAI
from modelwire.budgets import budget
from modelwire.errors import InvalidArgument
from modelwire.jobs import price_of
from modelwire.jobs.work import check_prices
from modelwire.messages import AIMessage
from modelwire.usage.prices import BATCH_SHARE, price_of_usage

genai_prices = pytest.importorskip("genai_prices", reason="`modelwire[profiles]` is not installed")


def listed(model: str, provider: str, kind: dict[str, str] | None = None, **counts: int) -> Decimal:
    count = genai_prices.Usage(**counts)
    return Decimal(
        genai_prices.calc_price(count, model, provider_id=provider, price_context=kind).total_price
    )


def answer(usage: Any, model: str = "gpt-4o-mini", provider: str = "openai") -> AIMessage:
    return AIMessage(
        "a",
        usage_metadata=usage,
        response_metadata={"model_name": model, "model_provider": provider},
    )


def usage(
    sent: int, made: int, total: int | None = None, **details: dict[str, int]
) -> dict[str, Any]:
    return {
        "input_tokens": sent,
        "output_tokens": made,
        "total_tokens": total or sent + made,
        **details,
    }


CASES = {
    "plain": (
        usage(1000, 100),
        "gpt-4o-mini",
        "openai",
        {"input_tokens": 1000, "output_tokens": 100},
    ),
    "read from the cache": (
        usage(1000, 100, input_token_details={"cache_read": 800}),
        "gpt-4o-mini",
        "openai",
        {"input_tokens": 1000, "output_tokens": 100, "cache_read_tokens": 800},
    ),
    "written into the cache for an hour": (
        usage(
            1000,
            10,
            input_token_details={
                "cache_read": 100,
                "cache_creation": 600,
                "ephemeral_5m_input_tokens": 0,
                "ephemeral_1h_input_tokens": 600,
            },
        ),
        "claude-sonnet-4-5",
        "anthropic",
        {
            "input_tokens": 1000,
            "output_tokens": 10,
            "cache_read_tokens": 100,
            "cache_write_tokens": 600,
            "cache_write_1h_tokens": 600,
        },
    ),
    "lifetimes without their sum": (
        usage(1000, 10, input_token_details={"ephemeral_5m_input_tokens": 600}),
        "claude-sonnet-4-5",
        "anthropic",
        {
            "input_tokens": 1000,
            "output_tokens": 10,
            "cache_write_tokens": 600,
            "cache_write_5m_tokens": 600,
        },
    ),
    "reasoning is output": (
        usage(10, 500, output_token_details={"reasoning": 400}),
        "o3-mini",
        "openai",
        {"input_tokens": 10, "output_tokens": 500},
    ),
    "reasoning in the total only": (
        usage(35, 12, 109),
        "gemini-2.5-flash",
        "google_genai",
        {"input_tokens": 35, "output_tokens": 74},
    ),
    "a long prompt, dearer": (
        usage(300_000, 10),
        "claude-sonnet-4-5",
        "anthropic",
        {"input_tokens": 300_000, "output_tokens": 10},
    ),
}
LISTED_AS = {"google_genai": "google"}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_tokens_are_priced_by_what_they_are(case: Any) -> None:
    used, model, provider, counts = case
    price = price_of(answer(used, model, provider))
    assert price == listed(model, LISTED_AS.get(provider, provider), **counts)
    assert isinstance(price, Decimal)
    assert price > 0
    in_batch = price_of(answer(used, model, provider), batch=True)
    assert in_batch == listed(
        model, LISTED_AS.get(provider, provider), {"processing": "batch"}, **counts
    )
    assert price * BATCH_SHARE <= in_batch < price


def test_a_batch_of_a_model_whose_batch_price_is_not_listed_costs_half() -> None:
    used, model, provider, counts = (
        usage(1000, 100),
        "kimi-k2-0905-preview",
        "moonshot",
        {"input_tokens": 1000},
    )
    assert listed(model, "moonshotai", **counts) == listed(
        model, "moonshotai", {"processing": "batch"}, **counts
    )
    price = price_of(answer(used, model, provider))
    assert price and price_of(answer(used, model, provider), batch=True) == price * BATCH_SHARE


def test_an_unknown_model_or_usage_has_no_price() -> None:
    assert price_of(answer(usage(1, 1), "no-such-model-at-all")) is None
    assert price_of(answer(usage(1, 1), provider="no-such-provider")) is None
    assert price_of(answer(None)) is None
    assert price_of(AIMessage("a", usage_metadata=usage(1, 1))) is None  # type: ignore[arg-type]


def test_an_answer_out_of_the_cache_and_a_local_model_cost_nothing() -> None:
    assert (
        price_of_usage({**usage(1000, 100), "total_cost": 0}, "gpt-4o-mini", provider="openai") == 0
    )
    assert price_of(answer(usage(1000, 100), "smollm2", "local")) == 0


def test_counts_that_contradict_each_other_have_no_price() -> None:
    assert price_of(answer(usage(10, 1, input_token_details={"cache_read": 800}))) is None


@pytest.mark.parametrize(
    ("tier", "share"),
    [("flex", "0.5"), ("priority", "1.8"), ("default", "1"), ({"type": "x"}, "1")],
)
def test_an_answer_is_priced_by_the_tier_that_it_says(tier: Any, share: str) -> None:
    plain = answer(usage(1000, 100), "gpt-5-mini")
    billed = answer(usage(1000, 100), "gpt-5-mini")
    billed.response_metadata["service_tier"] = tier
    usual = price_of(plain)
    assert usual and price_of(billed) == usual * Decimal(share)
    assert (
        price_of(billed, batch=True) == usual * BATCH_SHARE
    )  # and no tier is cheaper than a batch


AUDIO = {
    "input_tokens": 1000,
    "output_tokens": 1000,
    "total_tokens": 2000,
    "input_token_details": {"audio": 1000},
    "output_token_details": {"audio": 1000},
}


@pytest.mark.parametrize(
    ("model", "usage", "usd"),
    [
        ("gpt-audio", AUDIO, Decimal("0.096")),
        ("gpt-4o-audio-preview", AUDIO, None),
        ("gpt-4o-audio-preview", {"input_tokens": 1000, "output_tokens": 1000}, None),
        ("gpt-4o", AUDIO, None),
        ("gpt-4o", {"input_tokens": 1000, "output_tokens": 1000}, Decimal("0.0125")),
    ],
)
def test_audio_is_never_priced_as_text(model: str, usage: Any, usd: Decimal | None) -> None:
    assert price_of_usage(usage, model, provider="openai") == usd


def test_a_limit_in_dollars_is_refused_for_audio_without_a_price() -> None:
    model = ChatOpenAI(model="gpt-4o-audio-preview", api_key="k")
    with pytest.raises(InvalidArgument, match="no price of `gpt-4o-audio-preview` is known"):
        check_prices(model)
    with (
        budget(usd=1),
        pytest.raises(InvalidArgument, match="no price of `gpt-4o-audio-preview` is known"),
    ):
        model.invoke("hi")
