"""Pickles and serialised ids name public paths only, so that the classes behind them may move."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
from importlib import import_module
from typing import Any

import pytest
from pydantic import BaseModel

import modelwire.adapters
import modelwire.messages
from modelwire import AIMessage, ChatPromptTemplate, StrOutputParser, init_chat_model
from modelwire.adapters import (
    AzureChatOpenAI,
    ChatAnthropic,
    ChatAnthropicVertex,
    ChatBedrockConverse,
    ChatGoogleGenerativeAI,
    ChatOpenAI,
    ChatVertexAI,
)
from modelwire.load import dumpd, load

INTERNAL = re.compile(rb"modelwire[./]adapters[./](providers|model|wires)")
MODELS = {
    "openai": lambda: ChatOpenAI(model="m", api_key="k", temperature=0.5),
    "anthropic": lambda: ChatAnthropic(model="m", api_key="k", max_tokens=5),
    "bedrock": lambda: ChatBedrockConverse(model="m", api_key="k", region_name="us-east-1"),
    "azure": lambda: AzureChatOpenAI(
        azure_endpoint="https://a.test", azure_deployment="m", api_key="k"
    ),
    "gemini": lambda: ChatGoogleGenerativeAI(model="m", api_key="k", top_k=3),
    "vertex": lambda: ChatVertexAI(model="m", project="p", location="us"),
    "claude on vertex": lambda: ChatAnthropicVertex(model="m", project="p"),
}


class Mine(ChatOpenAI):
    """A user's own class keeps its own path."""

    tone: str = "kind"


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "OPENAI_API_KEY",
        "ANTHROPIC_API_KEY",
        "AZURE_OPENAI_API_KEY",
        "AWS_BEARER_TOKEN_BEDROCK",
        "GOOGLE_API_KEY",
    ):
        monkeypatch.setenv(name, "k")


def same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and repr(one) == repr(other)


def test_every_public_model_class_is_tried_below() -> None:
    classes = {name: getattr(modelwire.adapters, name) for name in modelwire.adapters.__all__}
    public = {
        name
        for name, made in classes.items()
        if issubclass(made, BaseModel) and not inspect.isabstract(made)
    }
    assert public == {type(make()).__name__ for make in MODELS.values()}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("name", MODELS)
def test_a_pickled_model_names_no_module_below_adapters(name: str, protocol: int) -> None:
    model = MODELS[name]()
    data = pickle.dumps(model, protocol)
    assert INTERNAL.search(data) is None
    assert same(pickle.loads(data), model)


@pytest.mark.parametrize("name", MODELS)
def test_neither_does_a_chain_with_one(name: str) -> None:
    model = MODELS[name]()
    for chain in (
        ChatPromptTemplate.from_template("{x}") | model | StrOutputParser(),
        model.bind(stop=["a"]),
        model.with_retry(),
        model.with_fallbacks([model]),
        model.with_structured_output({"title": "t", "type": "object", "properties": {}}),
    ):
        data = pickle.dumps(chain)
        assert INTERNAL.search(data) is None
        assert type(pickle.loads(data)) is type(chain)


def test_neither_does_a_model_that_waits_for_its_config() -> None:
    model = init_chat_model("openai:m", configurable_fields="any", api_key="k")
    data = pickle.dumps(model)
    assert INTERNAL.search(data) is None
    assert same(pickle.loads(data), init_chat_model("openai:m", configurable_fields="any"))


def test_a_class_of_the_users_own_keeps_its_path() -> None:
    data = pickle.dumps(Mine(model="m", api_key="k", tone="stern"))
    assert Mine.__module__.encode() in data
    assert INTERNAL.search(data) is None
    assert pickle.loads(data).tone == "stern"


@pytest.mark.parametrize("name", MODELS)
def test_a_copy_of_a_model_is_whole(name: str) -> None:
    model = MODELS[name]()
    for made in (copy.copy(model), copy.deepcopy(model)):
        assert same(made, model)
        assert made.api_key is not None or made.credentials is not None


@pytest.mark.parametrize("name", MODELS)
def test_the_serialised_id_of_a_model_is_langchains(name: str) -> None:
    model = MODELS[name]()
    written = dumpd(model)
    assert written["id"][:2] in (["langchain", "chat_models"], ["langchain_aws", "chat_models"])
    keys = dict.fromkeys(model.lc_secrets.values(), "k")
    read = load(written, allowed_objects="all", secrets_map=keys, secrets_from_env=not keys)
    assert type(read) is type(model)


def test_pickled_messages_load_under_their_public_path() -> None:
    for name in modelwire.messages.__all__:
        cls = getattr(modelwire.messages, name)
        if inspect.isclass(cls) and name.endswith("Message") and not name.startswith("Base"):
            assert cls.__module__.startswith("modelwire.messages.")
            assert getattr(import_module("modelwire.messages"), cls.__name__) is cls
    message = AIMessage("hi", tool_calls=[{"name": "f", "args": {}, "id": "1"}])
    data = pickle.dumps(message)
    assert INTERNAL.search(data) is None
    assert pickle.loads(data) == message
