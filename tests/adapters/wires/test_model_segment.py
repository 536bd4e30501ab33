"""A model's name from outside stays one segment of the path: it leaves neither `/models/` nor the project."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import unquote

import pytest

from modelwire import init_chat_model
from modelwire.adapters import (
    ChatAnthropicVertex,
    ChatBedrockConverse,
    ChatGoogleGenerativeAI,
    ChatVertexAI,
)
from modelwire.errors import InvalidArgument

URL = "http://127.0.0.1:9/v1"
TOKEN = str.upper.__get__("token")


def on_vertex(cls: Any) -> Callable[[str], Any]:
    return lambda model: cls(model=model, base_url=URL, project="p", credentials=TOKEN)


# Each with what comes before the segment, and what behind it.
MODELS: dict[str, tuple[Callable[[str], Any], str, str]] = {
    "gemini": (
        lambda model: ChatGoogleGenerativeAI(model=model, base_url=URL, api_key="k"),
        "/v1/models/",
        ":generateContent",
    ),
    "vertex": (
        on_vertex(ChatVertexAI),
        "/v1/projects/p/locations/global/publishers/google/models/",
        ":generateContent",
    ),
    "claude on vertex": (
        on_vertex(ChatAnthropicVertex),
        "/v1/projects/p/locations/global/publishers/anthropic/models/",
        ":rawPredict",
    ),
    "bedrock": (
        lambda model: ChatBedrockConverse(
            model=model, base_url=URL, region_name="us-east-1", api_key="k"
        ),
        "/v1/model/",
        "/converse",
    ),
}
NAMES = [
    "../../files",
    "m/../../../v1/cachedContents",
    "a/b",
    "m?key=1",
    "m#x",
    "m%2Fx",
    "models/../../x",
    "tunedModels/../x",
    "publishers/../../../x/y",
    "projects/q/locations/../../x",
    "endpoints/..%2F/x",
    "x:delete",
    "m\\..\\x",
    "ü",
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("wire", MODELS)
def test_a_name_is_one_segment(wire: str, name: str) -> None:
    make, before, behind = MODELS[wire]
    for request in (
        make(name).build_request("hi"),
        make("usual").build_request("hi", model=name),
    ):
        path = request.url.removeprefix("http://127.0.0.1:9")
        assert path.startswith(before)
        assert path.endswith(behind)
        segment = path.removeprefix(before).removesuffix(behind)
        assert not set(segment) & set("/?#:\\")
        assert unquote(segment) in (name, name.removeprefix("models/"))


@pytest.mark.parametrize("name", [".", "..", "models/..", "publishers/../models/x"])
@pytest.mark.parametrize("wire", MODELS)
def test_a_name_of_dots_leads_nowhere(wire: str, name: str) -> None:
    make, before, _ = MODELS[wire]
    with suppress(InvalidArgument):
        path = make(name).build_request("hi").url.removeprefix("http://127.0.0.1:9")
        assert path.startswith(before)
        assert "/.." not in path


@pytest.mark.parametrize("wire", MODELS)
def test_a_name_that_no_segment_can_be_is_refused(wire: str) -> None:
    with pytest.raises(InvalidArgument, match="`model`"):
        MODELS[wire][0]("..").build_request("hi")


def test_a_name_of_a_config_stays_where_it_belongs() -> None:
    model: Any = init_chat_model(
        "google_genai:m", base_url=URL, api_key="k", configurable_fields=("model",)
    )
    chosen = model._model({"model": "google_genai:../../files/secret"})
    assert chosen.build_request("hi").url.startswith("http://127.0.0.1:9/v1/models/..%2F..%2Ffiles")


@pytest.mark.parametrize(
    ("wire", "name"),
    [
        ("gemini", "models/gemini-2.5-flash"),
        ("gemini", "tunedModels/mine-1"),
        ("vertex", "publishers/meta/models/llama-4"),
        ("vertex", "endpoints/1234"),
    ],
)
def test_the_services_own_names_go_as_they_are(wire: str, name: str) -> None:
    assert MODELS[wire][0](name).build_request("hi").url.endswith(f"/{name}:generateContent")
