"""`init_chat_model(..., configurable_fields=...)`: the config of a call says which model answers."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import httpx2
import pytest
from support.mocked import answered_by

from modelwire import ChatPromptTemplate, StrOutputParser, init_chat_model
from modelwire.adapters import ChatAnthropic, ChatOpenAI
from modelwire.errors import InvalidArgument, InvalidType, UnknownModel
from modelwire.runnables import ConfigurableField


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "canary-openai")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "canary-anthropic")


def set_to(**values: Any) -> Any:
    return {"configurable": values}


def test_the_config_of_a_call_names_the_model() -> None:
    model = init_chat_model(
        "openai:gpt-4o-mini", configurable_fields=("model", "temperature"), temperature=0.5
    )
    plain, _ = model.prepare()
    assert (type(plain), plain.model, plain.temperature) == (ChatOpenAI, "gpt-4o-mini", 0.5)
    other, _ = model.prepare(set_to(model="anthropic:claude-sonnet-4-5", temperature=1))
    assert (type(other), other.model, other.temperature) == (ChatAnthropic, "claude-sonnet-4-5", 1)
    assert model.prepare(set_to(model="anthropic:claude-sonnet-4-5", temperature=1))[0] is other


def test_what_is_not_listed_is_not_configurable() -> None:
    model = init_chat_model("openai:gpt-4o-mini", configurable_fields=("model",))
    made, _ = model.prepare(set_to(base_url="https://elsewhere.example", temperature=1))
    assert (made.base_url, made.temperature) == (None, None)
    loose = init_chat_model("openai:gpt-4o-mini", configurable_fields="any")
    assert loose.prepare(set_to(temperature=1))[0].temperature == 1
    assert (
        loose.prepare(set_to(__pregel_runtime=object()))[0] == loose.prepare()[0]
    )  # LangGraph's own


def test_a_prefix_tells_two_models_of_a_chain_apart() -> None:
    first = init_chat_model(
        "openai:gpt-4o-mini", configurable_fields=("model",), config_prefix="first"
    )
    assert first.prepare(set_to(first_model="gpt-5", model="gpt-x"))[0].model == "gpt-5"
    assert [(spec.id, spec.default) for spec in first.config_specs] == [
        ("first_model", "openai:gpt-4o-mini")
    ]


def test_without_a_model_the_config_must_name_one(colour: Any) -> None:
    model = init_chat_model(configurable_fields=("model", "model_provider"))
    assert model.prepare(set_to(model="gpt-5"))[0].model == "gpt-5"
    with pytest.raises(UnknownModel, match="No model is named"):
        colour.invoke(model, "hi")
    with pytest.raises(UnknownModel, match="No model is named"):
        colour.stream(model, "hi")


def test_the_call_goes_to_the_chosen_provider(colour: Any) -> None:
    seen: list[tuple[str, Any]] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append((request.url.path, json.loads(request.content).get("model")))
        body: dict[str, Any] = {
            "id": "1",
            "model": "m",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": "hello"},
                    "finish_reason": "stop",
                }
            ],
        }
        return httpx2.Response(200, json=body)

    model = init_chat_model(
        "openai:gpt-4o-mini", configurable_fields=("model",), **answered_by(answer)
    )
    chain = model | (lambda message: message.content)
    assert colour.invoke(chain, "hi") == "hello"
    assert colour.invoke(chain, "hi", set_to(model="gpt-5")) == "hello"
    assert (
        colour.batch(model.bind(temperature=0), ["a"], set_to(model="gpt-4.1"))[0].content
        == "hello"
    )
    assert seen == [
        ("/v1/chat/completions", "gpt-4o-mini"),
        ("/v1/chat/completions", "gpt-5"),
        ("/v1/chat/completions", "gpt-4.1"),
    ]


def test_tools_wait_for_the_model_that_is_chosen() -> None:
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    model = init_chat_model("openai:gpt-4o-mini", configurable_fields=("model",)).bind_tools([add])
    openai, _ = model.prepare()
    anthropic, _ = model.prepare(set_to(model="claude-sonnet-4-5"))
    assert openai.kwargs["tools"][0]["function"]["name"] == "add"
    assert anthropic.kwargs["tools"][0]["name"] == "add"
    assert [spec.id for spec in model.config_specs] == ["model"]


def test_other_attributes_are_the_models() -> None:
    model = init_chat_model("openai:gpt-4o-mini", configurable_fields=("model",))
    assert model.model == "gpt-4o-mini"
    assert model.with_config(configurable={"model": "gpt-5"}).model == "gpt-5"
    with pytest.raises(AttributeError):
        _ = model.nothing


def test_no_secret_is_shown_or_pickled() -> None:
    model = init_chat_model("openai:gpt-4o-mini", configurable_fields=("model",), api_key="canary")
    model.prepare()
    assert "canary" not in repr(model)
    pickled = pickle.dumps(model)
    assert b"canary" not in pickled
    assert pickle.loads(pickled).prepare(set_to(model="gpt-5"))[0].model == "gpt-5"
    assert copy.copy(model).prepare()[0].model == "gpt-4o-mini"


def test_bad_arguments_are_told_at_construction() -> None:
    with pytest.raises(InvalidType, match="names of arguments"):
        init_chat_model("gpt-5", configurable_fields="model")  # type: ignore[call-overload]
    with pytest.raises(InvalidArgument, match="pass those too"):
        init_chat_model("gpt-5", config_prefix="x")


def test_a_built_chain_changes_its_provider_by_config(colour: Any) -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        usage = {"input_tokens": 1, "output_tokens": 1}
        if request.url.path == "/v1/messages":
            content = [{"type": "text", "text": "anthropic"}]
            body: dict[str, Any] = {
                "id": "1",
                "type": "message",
                "role": "assistant",
                "model": "m",
                "content": content,
                "stop_reason": "end_turn",
                "usage": usage,
            }
        else:
            message = {"role": "assistant", "content": "openai"}
            body = {
                "id": "1",
                "model": "m",
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            }
        return httpx2.Response(200, json=body)

    clients = answered_by(answer)
    model = ChatOpenAI(model="gpt-5", **clients).configurable_alternatives(
        ConfigurableField(id="llm"),
        default_key="openai",
        anthropic=ChatAnthropic(model="claude-x", **clients),
    )
    chain = ChatPromptTemplate.from_template("{question}") | model | StrOutputParser()
    question = {"question": "who?"}
    assert colour.invoke(chain, question) == "openai"
    assert colour.invoke(chain, question, set_to(llm="anthropic")) == "anthropic"
    assert colour.batch(chain, [question] * 2, [set_to(), set_to(llm="anthropic")]) == [
        "openai",
        "anthropic",
    ]
    assert (
        colour.invoke(chain.with_config(configurable={"llm": "anthropic"}), question) == "anthropic"
    )
    assert [spec.id for spec in chain.config_specs] == ["llm"]


def test_without_a_model_anywhere_each_call_names_it(
    colour: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = init_chat_model(temperature=0)
    made, _ = model.prepare(set_to(model="claude-sonnet-4-5"))  # type: ignore[attr-defined]
    assert (type(made).__name__, made.temperature) == ("ChatAnthropic", 0)
    with pytest.raises(UnknownModel, match="name it in the config of the call"):
        colour.invoke(model, "hi")
    monkeypatch.setenv("MODELWIRE_MODEL", "openai:gpt-4o-mini")
    assert init_chat_model(temperature=0).model == "gpt-4o-mini"  # type: ignore[attr-defined]


def test_other_names_of_a_field_are_configurable_too() -> None:
    model = ChatOpenAI(model="gpt-4o-mini").configurable_fields(
        model_name=ConfigurableField(id="m")
    )
    assert model.prepare(set_to(m="gpt-5"))[0].model == "gpt-5"
    assert [(spec.id, spec.default) for spec in model.config_specs] == [("m", "gpt-4o-mini")]


def test_a_colon_in_a_models_name_names_no_provider() -> None:
    model = init_chat_model("llama3:70b", model_provider="ollama", configurable_fields=("model",))
    assert model.prepare(set_to(model="llama3:8b"))[0].model == "llama3:8b"
    other, _ = model.prepare(set_to(model="anthropic:claude-sonnet-4-5"))
    assert (type(other), other.model) == (ChatAnthropic, "claude-sonnet-4-5")


@pytest.mark.parametrize(
    "named", ["openai:gpt-4o-mini", "google_genai:gemini-2.5-flash", "deepseek:d", None]
)
@pytest.mark.parametrize("slip", ["temprature", "max_token", "model_name_", "api_keys"])
def test_a_misspelt_configurable_field_is_refused_at_once(named: str | None, slip: str) -> None:
    with pytest.raises(InvalidArgument, match=f"no argument `{slip}`.*Did you mean"):
        init_chat_model(named, configurable_fields=("model", slip))


@pytest.mark.parametrize("fields", ["model", [1]])
def test_fields_that_are_no_names_are_refused(fields: Any) -> None:
    with pytest.raises(InvalidType, match="names of arguments"):
        init_chat_model("openai:gpt-4o-mini", configurable_fields=fields)


def test_other_names_and_parameters_of_the_provider_may_be_configurable() -> None:
    fields = (
        "model",
        "model_provider",
        "max_completion_tokens",
        "top_k",
        "wire",
        "something_of_the_provider",
        "api_key",
    )
    init_chat_model("openai:gpt-4o-mini", configurable_fields=fields)
    init_chat_model(
        "google_genai:gemini-2.5-flash", configurable_fields=("thinking_budget", "candidate_count")
    )
    init_chat_model("nobody:m", configurable_fields=("model",))  # said when a call makes it
