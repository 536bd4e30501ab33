"""Our models under a cache of LangChain's: each call finds its own answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.globals import set_llm_cache

from modelwire.adapters import ChatOpenAI
from modelwire.langchain import as_langchain
from modelwire.language_models import SimpleChatModel
from modelwire.testing import FakeListChatModel, ProviderServer


@pytest.fixture(autouse=True)
def cache() -> Iterator[InMemoryCache]:
    cache = InMemoryCache()
    set_llm_cache(cache)
    yield cache
    set_llm_cache(None)


class Echo(SimpleChatModel):
    """A model of the user's own, which LangChain's `dumpd` cannot write down."""

    voice: str
    client: Any = None

    @property
    def _llm_type(self) -> str:
        return "echo"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"voice": self.voice, **({} if self.client is None else {"client": self.client})}

    def _call(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> str:
        return f"{self.voice} {stop} {kwargs}"


class Loud(Echo):
    """Another class with the same fields."""

    def _call(self, messages: Any, *args: Any, **kwargs: Any) -> str:
        return "LOUD"


def test_models_that_cannot_be_written_down_do_not_share_an_answer(colour: Any) -> None:
    models = [Echo(voice="a"), Echo(voice="b"), Loud(voice="a")]
    said = [colour.invoke(as_langchain(model), "hi").text for model in models]
    assert said == ["a None {}", "b None {}", "LOUD"]
    lc = as_langchain(models[0])
    assert colour.invoke(lc, "hi", stop=["x"]).text == "a ['x'] {}"
    assert colour.invoke(lc, "hi", seed=1).text == "a None {'seed': 1}"


def test_a_model_that_cannot_be_named_is_asked_each_time(colour: Any, cache: InMemoryCache) -> None:
    said = [
        colour.invoke(as_langchain(Echo(voice=voice, client=object())), "hi").text
        for voice in ("a", "b")
    ]
    assert said == ["a None {}", "b None {}"]


def test_an_equal_model_has_its_answer_in_the_cache(server: ProviderServer, colour: Any) -> None:
    server.say("one", "two")
    said = [colour.invoke(as_langchain(server.model("openai")), "hi").text for _ in range(3)]
    assert said == ["one"] * 3
    assert colour.invoke(as_langchain(server.model("openai")), "ho").text == "two"
    assert len(server.requests) == 2
    answers = FakeListChatModel(responses=["one", "two"])
    assert [colour.invoke(as_langchain(answers), "hi").text for _ in range(2)] == ["one", "one"]


# A setting that changes the answer, or where it comes from.
CHANGES: dict[str, Callable[[], dict[str, Any]]] = {
    "output_version": lambda: {"output_version": "v1"},
    "default_query": lambda: {"default_query": {"tenant": "b"}},
    "default_headers": lambda: {"default_headers": {"x-tenant": "b"}},
    "extra_body": lambda: {"extra_body": {"user": "b"}},
    "temperature": lambda: {"temperature": 1},
    "model": lambda: {"model": "other"},
}


@pytest.mark.parametrize("change", CHANGES)
def test_another_setting_is_another_key(change: str, server: ProviderServer, colour: Any) -> None:
    server.say("one", "two")
    first = as_langchain(server.model("openai"))
    second = as_langchain(server.model("openai", **CHANGES[change]()))
    assert [colour.invoke(lc, "hi").text for lc in (first, second)] == ["one", "two"]
    keys = {lc._get_llm_string() for lc in (first, second)}
    assert len(keys) == 2
    assert first._get_llm_string(stop=["x"]) not in keys


def test_another_address_is_another_key_and_a_key_of_the_provider_is_none() -> None:
    def key(**kwargs: Any) -> str:
        made = ChatOpenAI(
            model="m", **{"api_key": "canary", "base_url": "https://a.test", **kwargs}
        )
        text: str = as_langchain(made)._get_llm_string()
        assert "canary" not in text
        return text

    assert key() == key(api_key="another")
    assert key() != key(base_url="https://b.test")


def test_an_answer_that_depends_on_what_went_before_is_not_cached(
    server: ProviderServer, colour: Any
) -> None:
    server.say("one", "two")
    lc = as_langchain(server.model("responses")).bind(conversation="c1")
    assert [colour.invoke(lc, "hi").text for _ in range(2)] == ["one", "two"]


def test_an_answer_of_each_wire_comes_from_the_cache(
    model: Any, server: ProviderServer, colour: Any
) -> None:
    server.say("one", "two")
    assert [colour.invoke(as_langchain(model), "hi").text for _ in range(2)] == ["one", "one"]
