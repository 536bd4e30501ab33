"""A pickled model takes the environment's key where it wakes up only for an address that gets this key anyway."""

from __future__ import annotations

import copy
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from support.provider_bodies import openai_answer
from support.raw_server import answer

from modelwire import init_chat_model
from modelwire.adapters import (
    AzureChatOpenAI,
    ChatAnthropic,
    ChatAnthropicVertex,
    ChatBedrockConverse,
    ChatGoogleGenerativeAI,
    ChatOpenAI,
    ChatVertexAI,
)
from modelwire.errors import MissingKey

HOUSE = "https://house.example/v1"
VARIABLES = (
    "OPENAI_API_KEY",
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "AZURE_OPENAI_API_KEY",
    "AZURE_OPENAI_AD_TOKEN",
    "AWS_BEARER_TOKEN_BEDROCK",
    "DEEPSEEK_API_KEY",
    "GOOGLE_API_KEY",
)
AWS = {"aws_access_key_id": "mine-id", "aws_secret_access_key": "mine", "region_name": "us-east-1"}
BEARER = {"Authorization": "Bearer mine"}


def with_client() -> httpx2.Client:
    return httpx2.Client(headers=BEARER)


# What the code says who calls with, for an address that is not the provider's own.
OWN: dict[str, Callable[[], Any]] = {
    "a key": lambda: ChatOpenAI(model="m", base_url=HOUSE, api_key="mine"),
    "a function": lambda: ChatOpenAI(model="m", base_url=HOUSE, api_key=str.upper.__get__("mine")),
    "a token": lambda: ChatAnthropic(model="m", base_url=HOUSE, auth_token="mine"),
    "a header": lambda: ChatOpenAI(model="m", base_url=HOUSE, default_headers=BEARER),
    "a header of calls": lambda: ChatAnthropic(model="m", base_url=HOUSE, extra_headers=BEARER),
    "a binding": lambda: ChatOpenAI(model="m", base_url=HOUSE).bind(extra_headers=BEARER),
    "a password": lambda: ChatOpenAI(model="m", base_url=HOUSE.replace("://", "://me:mine@")),
    "a client": lambda: ChatOpenAI(model="m", base_url=HOUSE, http_client=with_client()),
    "a service": lambda: ChatOpenAI(model="m", provider="deepseek", base_url=HOUSE, api_key="mine"),
    "Azure": lambda: AzureChatOpenAI(azure_endpoint=HOUSE, azure_deployment="d", api_key="mine"),
    "Azure's token": lambda: AzureChatOpenAI(
        azure_endpoint=HOUSE, azure_deployment="d", azure_ad_token="mine"
    ),
    "AWS": lambda: ChatBedrockConverse(model="m", base_url=HOUSE, **AWS),
    "Bedrock's key": lambda: ChatBedrockConverse(
        model="m", base_url=HOUSE, region_name="us-east-1", api_key="mine"
    ),
    "Gemini": lambda: ChatGoogleGenerativeAI(model="m", base_url=HOUSE, api_key="mine"),
    "Vertex": lambda: ChatVertexAI(
        model="m", base_url=HOUSE, project="p", credentials=str.upper.__get__("mine")
    ),
    "Claude on Vertex": lambda: ChatAnthropicVertex(
        model="m", base_url=HOUSE, project="p", credentials=str.upper.__get__("mine")
    ),
    "a configurable": lambda: init_chat_model(
        "openai:m", base_url=HOUSE, api_key="mine", configurable_fields=("temperature",)
    ),
    "a configurable with a token": lambda: init_chat_model(
        "anthropic:m", base_url=HOUSE, auth_token="mine", configurable_fields=("temperature",)
    ),
    "a configurable with a password": lambda: init_chat_model(
        "openai:m",
        base_url=HOUSE.replace("://", "://me:mine@"),
        configurable_fields=("temperature",),
    ),
}


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], Any]:
    """Unpickle where the environment has a key for every provider."""

    def wake(data: bytes) -> Any:
        for name in VARIABLES:
            monkeypatch.setenv(name, f"of-{name}")
        return pickle.loads(data)

    return wake


def request_of(model: Any) -> Any:
    kwargs = getattr(model, "kwargs", {})
    return getattr(model, "bound", model).build_request("hi", **kwargs)


def travelled(model: Any) -> bytes:
    return pickle.dumps(model)


@pytest.mark.filterwarnings("ignore:A pickled")
@pytest.mark.parametrize("way", OWN)
@pytest.mark.parametrize("times", [1, 2])
def test_what_the_code_set_shuts_out_the_environment_where_the_model_wakes_up(
    way: str, times: int, there: Callable[[bytes], Any]
) -> None:
    data = travelled(OWN[way]())
    assert b"mine" not in data
    for _ in range(times):
        woken = there(data)
        data = travelled(woken)
    with pytest.raises(MissingKey, match="never pickled"):
        request_of(woken)


@pytest.mark.filterwarnings("ignore:A pickled")
def test_no_request_leaves_a_process_that_has_another_key(
    raw_server: Any, there: Callable[[bytes], Any], colour: Any
) -> None:
    server = raw_server([[answer(json.dumps(openai_answer("ok")).encode())]], repeat=True)
    woken = there(travelled(ChatOpenAI(model="m", base_url=server.url, api_key="mine")))
    with pytest.raises(MissingKey):
        colour.invoke(woken, "hi")
    with pytest.raises(MissingKey):
        colour.stream(woken, "hi")
    assert server.requests == []
    woken = woken.model_copy(update={"api_key": "set again"})
    assert colour.invoke(woken, "hi").text == "ok"
    assert b"Bearer set again" in server.requests[0]


@pytest.mark.filterwarnings("ignore:A pickled")
def test_a_process_of_its_own_does_not_send_its_key_either(raw_server: Any) -> None:
    server = raw_server([[answer(json.dumps(openai_answer("ok")).encode())]], repeat=True)
    data = travelled(ChatOpenAI(model="m", base_url=server.url, api_key="mine"))
    program = (
        "import pickle, sys\n"
        "try: pickle.loads(sys.stdin.buffer.read()).invoke('hi')\n"
        "except Exception as exc: print(type(exc).__name__)"
    )
    child = subprocess.run(
        [sys.executable, "-c", program],
        input=data,
        capture_output=True,
        env=os.environ | {"OPENAI_API_KEY": "of-the-child"},
        check=True,
    )
    assert child.stdout.split() == [b"MissingKey"]
    assert server.requests == []


def test_a_header_of_the_call_still_says_who_calls(there: Callable[[bytes], Any]) -> None:
    woken = there(travelled(OWN["a key"]()))
    headers = woken.build_request("hi", extra_headers={"Authorization": "Bearer new"}).headers
    assert headers["Authorization"] == "Bearer new"


def test_a_model_without_any_key_wakes_up_without_one(there: Callable[[bytes], Any]) -> None:
    headers = there(travelled(ChatOpenAI(model="m", base_url=HOUSE))).build_request("hi").headers
    assert not [name for name in headers if name.lower() == "authorization"]


@pytest.mark.parametrize("base_url", [None, HOUSE, "https://api.openai.com/v1/"])
def test_a_model_with_the_environments_key_takes_the_one_there(
    base_url: str | None, there: Callable[[bytes], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "here")
    woken = there(travelled(ChatOpenAI(model="m", base_url=base_url)))
    assert woken.build_request("hi").headers["Authorization"] == "Bearer of-OPENAI_API_KEY"


OF_THE_PROVIDER: dict[str, Callable[[], Any]] = {
    "OPENAI_API_KEY": lambda: ChatOpenAI(model="m", api_key="mine"),
    "ANTHROPIC_API_KEY": lambda: ChatAnthropic(model="m", auth_token="mine"),
    "AWS_BEARER_TOKEN_BEDROCK": lambda: ChatBedrockConverse(model="m", **AWS),
    "DEEPSEEK_API_KEY": lambda: ChatOpenAI(
        model="m", provider="deepseek", base_url="https://api.deepseek.com/v1", api_key="mine"
    ),
    "GOOGLE_API_KEY": lambda: init_chat_model(
        "google_genai:m", api_key="mine", configurable_fields=("temperature",)
    ),
}


@pytest.mark.parametrize("variable", OF_THE_PROVIDER)
def test_at_the_providers_own_address_the_environment_there_serves(
    variable: str, there: Callable[[bytes], Any]
) -> None:
    woken = there(travelled(OF_THE_PROVIDER[variable]()))
    assert f"of-{variable}" in "".join(woken.build_request("hi").headers.values())


def test_at_the_address_that_the_environment_names_it_does_too(
    there: Callable[[bytes], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = travelled(ChatOpenAI(model="m", base_url=HOUSE, api_key="mine"))
    monkeypatch.setenv("OPENAI_BASE_URL", HOUSE)
    assert there(data).build_request("hi").headers["Authorization"] == "Bearer of-OPENAI_API_KEY"


def test_the_local_model_wakes_up_as_it_was(there: Callable[[bytes], Any]) -> None:
    local = ChatOpenAI(
        model="m", provider="local", base_url="http://127.0.0.1:1/v1", api_key="local"
    )
    headers = there(travelled(local)).build_request("hi").headers
    assert "of-OPENAI_API_KEY" not in str(dict(headers))


def test_a_pickle_says_that_the_proxy_is_gone() -> None:
    model = ChatOpenAI(model="m", api_key="mine", proxy="http://proxy.example:3128")
    with pytest.warns(UserWarning, match="`proxy`"):
        data = pickle.dumps(model)
    assert b"proxy.example" not in data
    assert pickle.loads(data).proxy is None


def test_a_provider_without_a_row_gets_no_key_of_another(
    there: Callable[[bytes], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    there(pickle.dumps(None))
    monkeypatch.setenv("OPENAI_ORG_ID", "of-the-organisation")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "of-the-project")
    for cls in (ChatOpenAI, ChatAnthropic):
        request = cls(model="m", provider="house", base_url=HOUSE).build_request("hi")
        assert "of-" not in str(dict(request.headers))
    assert "of-OPENAI_API_KEY" in str(
        dict(ChatOpenAI(model="m", base_url=HOUSE).build_request("hi").headers)
    )


@pytest.mark.parametrize(
    "copied",
    [copy.copy, copy.deepcopy, lambda model: model.with_config(configurable={"model": "openai:n"})],
    ids=["copy", "deepcopy", "with_config"],
)
def test_a_copy_in_this_process_keeps_the_credential(
    copied: Callable[[Any], Any], raw_server: Any, colour: Any
) -> None:
    server = raw_server([[answer(json.dumps(openai_answer("hi")).encode())]])
    made = init_chat_model(
        "openai:m", base_url=server.url, api_key="mine", configurable_fields=("model",)
    )
    assert colour.invoke(copied(made), "hi").text == "hi"
    assert b"Bearer mine" in server.requests[0]
