"""`AzureChatOpenAI`: deployments, versions and tokens, under the names Azure's scripts have."""

from __future__ import annotations

from typing import Any

import pytest

from modelwire.adapters import AzureChatOpenAI
from modelwire.config import init_chat_model
from modelwire.errors import InvalidArgument, MissingKey

KEY = "secret-key-of-azure"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "https://me.openai.azure.com/")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-openai-key-for-openai")


def azure(**given: Any) -> AzureChatOpenAI:
    return AzureChatOpenAI(
        **{"azure_endpoint": "https://me.openai.azure.com/", "api_key": KEY, **given}
    )


@pytest.mark.parametrize(
    ("given", "url", "model"),
    [
        ({"azure_deployment": "mine"}, "/v1/chat/completions", "mine"),
        ({"model": "mine"}, "/v1/chat/completions", "mine"),
        ({"azure_deployment": "mine", "model": "gpt-4o"}, "/v1/chat/completions", "mine"),
        (
            {"azure_deployment": "mine", "model": "gpt-4o", "api_version": "2024-10-21"},
            "/deployments/mine/chat/completions?api-version=2024-10-21",
            "gpt-4o",
        ),
        (
            {"deployment_name": "mine", "openai_api_version": "2024-10-21"},
            "/deployments/mine/chat/completions?api-version=2024-10-21",
            "mine",
        ),
    ],
)
def test_azure_is_called_by_deployment(given: dict[str, Any], url: str, model: str) -> None:
    request = azure(**given).build_request("hi")
    assert request.url == f"https://me.openai.azure.com/openai{url}"
    assert request.body["model"] == model
    assert request.headers["api-key"] == KEY
    assert "Authorization" not in request.headers


def test_azures_responses_are_called_for_all_deployments_at_one_address() -> None:
    dated = azure(
        model="gpt-4o",
        azure_deployment="mine",
        api_version="2025-04-01-preview",
        use_responses_api=True,
    )
    assert dated.build_request("hi").url == (
        "https://me.openai.azure.com/openai/responses?api-version=2025-04-01-preview"
    )
    assert dated.build_request("hi").body["model"] == "mine"


def test_azures_variables_say_all_but_the_deployment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_API_VERSION", "2024-10-21")
    for model in (AzureChatOpenAI(model="mine"), init_chat_model("azure_openai:mine")):
        request = model.build_request("hi")  # type: ignore[union-attr]
        assert request.url.endswith(
            "azure.com/openai/deployments/mine/chat/completions?api-version=2024-10-21"
        )
        assert request.headers["api-key"] == KEY
    monkeypatch.delenv("AZURE_OPENAI_ENDPOINT")
    with pytest.raises(InvalidArgument, match="`AZURE_OPENAI_ENDPOINT`"):
        AzureChatOpenAI(model="mine")
    own = AzureChatOpenAI(model="m", base_url="https://gate.example.org/openai/deployments/d/")
    assert own.build_request("hi").url == (
        "https://gate.example.org/openai/deployments/d/chat/completions?api-version=2024-10-21"
    )


def test_a_token_of_entra_is_asked_for_anew_by_each_call_and_goes_instead_of_the_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", KEY)
    tokens = iter(range(100))
    model = AzureChatOpenAI(model="mine", azure_ad_token_provider=lambda: f"token-{next(tokens)}")
    first, second = (model.build_request("hi").headers for _ in range(2))
    assert first["Authorization"] != second["Authorization"]
    assert "api-key" not in first
    fixed = AzureChatOpenAI(model="mine", azure_ad_token="secret-token")
    assert fixed.build_request("hi").headers["Authorization"] == "Bearer secret-token"
    assert "secret-token" not in repr(fixed) + str(fixed.model_dump())


def test_azure_without_a_deployment_or_a_key_says_so() -> None:
    with pytest.raises(InvalidArgument, match="`azure_deployment`"):
        AzureChatOpenAI(azure_endpoint="https://me.openai.azure.com")
    with pytest.raises(MissingKey, match="`AZURE_OPENAI_API_KEY`"):
        azure(model="mine", api_key=None)
