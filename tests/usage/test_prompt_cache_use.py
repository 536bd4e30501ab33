"""What prompt caches read, wrote and saved: for `track()`, for a job, and at the prices of the list."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from modelwire.jobs import run_job, track
from modelwire.messages import AnyMessage, HumanMessage, SystemMessage
from modelwire.runnables import RunnableLambda
from modelwire.testing import ProviderServer
from modelwire.usage import PromptCacheUse, price_of_usage, prompt_cache_use_of

pytest.importorskip("genai_prices", reason="`modelwire[profiles]` is not installed")

SONNET = "claude-sonnet-4-5"
MANUAL = "A sentence of the manual. " * 400


def usage(**details: int) -> dict[str, Any]:
    return {
        "input_tokens": 10_000,
        "output_tokens": 0,
        "total_tokens": 10_000,
        "input_token_details": details,
    }


@pytest.mark.parametrize(
    ("details", "saved"),
    [
        ({"cache_read": 10_000}, "0.027"),
        ({"cache_creation": 10_000}, "-0.0075"),
        ({"cache_creation": 10_000, "ephemeral_5m_input_tokens": 10_000}, "-0.0075"),
        ({"cache_creation": 10_000, "ephemeral_1h_input_tokens": 10_000}, "-0.03"),
        ({"ephemeral_1h_input_tokens": 10_000}, "-0.03"),
        ({"audio": 0}, "0"),
    ],
)
def test_a_read_saves_nine_tenths_and_a_write_costs_a_quarter_or_the_whole_again(
    details: dict[str, int], saved: str
) -> None:
    use = prompt_cache_use_of(usage(**details), SONNET, provider="anthropic")
    assert use.saved == Decimal(saved)
    assert use.read_tokens + use.written_tokens == (0 if "audio" in details else 10_000)


def test_a_model_of_unknown_price_saves_nothing_that_is_known() -> None:
    use = prompt_cache_use_of(usage(cache_read=5000), "nobody-knows", provider="anthropic")
    assert (use.read_tokens, use.saved, use.share_read) == (5000, Decimal(0), 0.5)
    assert str(use) == "50% of the input read from prompt caches"


def test_a_cache_that_costs_more_than_it_saves_says_so() -> None:
    assert str(PromptCacheUse(100, 0, 100, Decimal("-0.01"))) == (
        "0% of the input read from prompt caches (they cost $0.0100 more than they saved)"
    )
    assert str(PromptCacheUse(100)) == ""


def test_track_prints_the_share_read_and_what_it_saved(colour: Any) -> None:
    with ProviderServer() as server, track() as spent:
        model = server.model("anthropic", model=SONNET, prompt_cache=True)
        for question in "abcd":
            colour.invoke(model, [SystemMessage(MANUAL), HumanMessage(question)])
    assert 0.7 < spent.cache.share_read < 0.8
    assert spent.cache.written_tokens > 2000
    full = {**spent.usage_metadata[SONNET], "input_token_details": {}}
    whole = price_of_usage(full, SONNET, provider="anthropic")
    assert whole is not None
    assert spent.cache.saved == whole - spent.cost > 0
    assert f"{spent.cache.share_read:.0%} of the input read from prompt caches ($" in str(spent)


def test_track_prints_nothing_of_caches_where_there_is_none() -> None:
    with ProviderServer() as server, track() as spent:
        server.model("anthropic", model=SONNET).invoke("hi")
    assert "prompt cache" not in str(spent)


def test_a_job_sums_what_the_prompt_cache_did(tmp_path: Path) -> None:
    rows = [{"q": f"question {n}"} for n in range(6)]

    def prompt(row: dict[str, str]) -> list[AnyMessage]:
        return [SystemMessage(MANUAL), HumanMessage(row["q"])]

    with ProviderServer() as server:
        model = server.model("anthropic", model=SONNET, prompt_cache=True)
        job = run_job(
            RunnableLambda(prompt) | model, rows, job_dir=tmp_path / "job", max_concurrency=1
        )
    assert job.cache_read > job.cache_written > 0
    assert job.cache_saved > 0
    assert "of the input read from prompt caches ($" in str(job)
    assert job.numbers()["cache_read"] == job.cache_read
