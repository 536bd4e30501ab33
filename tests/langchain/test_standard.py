"""LangChain's own tests of chat models, on each wire: against a provider on this machine that answers sensibly."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.integration_tests import chat_models as their_module
from langchain_tests.unit_tests import ChatModelUnitTests
from support.sensible import sensible

from modelwire.langchain import ModelwireChatModel
from modelwire.testing import ProviderServer

PIXEL = b"\x89PNG\r\n\x1a\n some bytes"  # what their tests would fetch
# Wire -> the model string, the arguments, and the variable that holds the key.
MODELS: dict[str, tuple[str, dict[str, Any], str]] = {
    "openai": ("openai:gpt-4o-mini", {}, "OPENAI_API_KEY"),
    "responses": ("openai:gpt-4o-mini", {"use_responses_api": True}, "OPENAI_API_KEY"),
    "anthropic": ("anthropic:claude-sonnet-4-5", {}, "ANTHROPIC_API_KEY"),
    "groq": ("groq:llama-3.3-70b-versatile", {}, "GROQ_API_KEY"),
}


class _About:
    """What is the same for every wire."""

    wire: str

    @property
    def chat_model_class(self) -> type:
        return ModelwireChatModel

    @property
    def chat_model_params(self) -> dict[str, Any]:
        model, more, _ = MODELS[self.wire]
        return {"model": model, "api_key": "k", "base_url": self._url(), **more}

    def _url(self) -> str:
        return "http://127.0.0.1:9/v1"

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str:
        return "another-model"


class Unit(_About, ChatModelUnitTests):
    __test__ = False

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        model, more, variable = MODELS[self.wire]
        return (
            {variable: "key-of-the-environment"},
            {"model": model, **more},
            {"model": model.partition(":")[2]},
        )


class Integration(_About, ChatModelIntegrationTests):
    __test__ = False
    server: ProviderServer

    @pytest.fixture(autouse=True)
    def serve(
        self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[None]:
        monkeypatch.setattr(
            their_module.httpx, "get", lambda *args, **kwargs: SimpleNamespace(content=PIXEL)
        )
        with ProviderServer(default=sensible) as server:
            type(self).server = server
            yield

    @pytest.fixture
    def model(self, request: Any, serve: None) -> Any:
        params = {
            **self.standard_chat_model_params,
            **self.chat_model_params,
            **(getattr(request, "param", None) or {}),
        }
        return self.chat_model_class(**params)

    def _url(self) -> str:
        return type(self).server.base_url + ("" if self.wire == "anthropic" else "/v1")

    @property
    def supports_image_inputs(self) -> bool:
        return True

    @property
    def supports_image_urls(self) -> bool:
        return False  # their test would fetch it

    @property
    def supports_pdf_inputs(self) -> bool:
        return self.wire != "groq"

    @property
    def supports_anthropic_inputs(self) -> bool:
        return self.wire == "anthropic"


for _wire in MODELS:
    for _base in (Unit, Integration):
        _name = f"Test{_base.__name__}{_wire.title()}"
        globals()[_name] = type(_name, (_base,), {"wire": _wire, "__test__": True})
