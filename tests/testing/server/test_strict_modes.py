"""What strict modes take: the test server refuses the rest, and our models send none of it."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable, Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

import httpx2
import pytest
from pydantic import AnyUrl, BaseModel, Field, Json, create_model
from support.thinned import thinned

from modelwire.adapters import AzureChatOpenAI
from modelwire.errors import BadRequest, InvalidArgument, OutputParserException
from modelwire.testing import ProviderServer


@pytest.fixture(scope="module")
def server() -> Iterator[ProviderServer]:
    with ProviderServer(default="{}") as running:
        yield running


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Leaf(BaseModel):
    size: int = Field(3, ge=1, lt=100, multiple_of=2)


class Cat(BaseModel):
    kind: Literal["cat"]


class Dog(BaseModel):
    kind: Literal["dog"]
    leaf: Leaf = Field(Leaf(), description="Its leaf.")


class Tree(BaseModel):
    trees: list[Tree] = []
    parent: Tree | None = Field(None, description="Above it.")


# Of pydantic's own types: each has a keyword or a form that one of the strict modes refuses.
KINDS: dict[str, Any] = {
    "url": AnyUrl,
    "path": Path,
    "bytes": bytes,
    "network": ipaddress.IPv4Network,
    "address": ipaddress.IPv6Address,
    "set": set[int],
    "tuple": tuple[int, str],
    "tuples": tuple[int, ...],
    "list": list,
    "any": Any,
    "dict": dict[str, int],
    "decimal": Decimal,
    "dates": date | datetime | time | timedelta,
    "uuid": UUID,
    "enum": Colour,
    "const": Literal[1],
    "json": Json[list[int]],
    "model": Leaf,
    "union": Annotated[Cat | Dog, Field(discriminator="kind")],
    "default": (str, Field("red", pattern="^r", max_length=9, examples=["red"])),
    "bounds": (list[int], Field(min_length=2, max_length=3)),
    "extra": (int, Field(json_schema_extra={"x-unit": "m", "readOnly": True})),
    "contains": (list[int], Field(json_schema_extra={"contains": {"const": 1}})),
}
CLASSES: dict[str, Any] = {
    **{
        name: create_model(
            name.title(), value=kind if isinstance(kind, tuple) else (kind, Field(description="d"))
        )
        for name, kind in KINDS.items()
    },
    "optional": create_model("Optional", value=(AnyUrl | Path | set[int] | None, None)),
    "tree": Tree,
}
WIRES = ("openai", "azure", "responses", "anthropic", "bedrock", "gemini")


def model_of(server: ProviderServer, wire: str) -> Any:
    if wire == "azure":
        return AzureChatOpenAI(
            azure_endpoint=server.base_url,
            azure_deployment="d",
            api_key="k",
            api_version="2024-10-21",
        )
    return server.model(wire)  # type: ignore[arg-type]


@thinned(schema=CLASSES, wire=WIRES)
def test_no_strict_mode_refuses_what_is_made_of_a_class(
    server: ProviderServer, wire: str, schema: type[BaseModel]
) -> None:
    model = model_of(server, wire)
    calls: list[Callable[[], Any]] = [
        lambda: model.with_structured_output(schema).invoke("hi"),
        lambda: model.with_structured_output(schema, method="function_calling").invoke("hi"),
        lambda: model.with_structured_output(schema, strict=True).invoke("hi"),
        lambda: model.bind_tools([schema], strict=True).invoke("hi"),
        lambda: model.bind_tools([schema]).invoke("hi"),
    ]
    for call in calls:
        try:
            call()
        except OutputParserException:  # the answer is no such object, but there is one
            pass
        except InvalidArgument:  # before it is sent
            pass


def test_what_strict_mode_cannot_say_is_read_by_the_model(server: ProviderServer) -> None:
    form = model_of(server, "openai").with_structured_output(CLASSES["url"]).steps[0].kwargs
    sent = form["response_format"]["json_schema"]
    assert sent["strict"] is True
    assert sent["schema"]["properties"]["value"]["description"].endswith("{format: uri}")
    azure = model_of(server, "azure").with_structured_output(CLASSES["default"]).steps[0].kwargs
    sent = azure["response_format"]["json_schema"]
    assert sent["strict"] is True
    assert "default" not in json.dumps(sent["schema"]["properties"]["value"]).replace(
        "{default", ""
    )


@pytest.mark.parametrize("name", ["tuple", "list", "any", "dict"])
def test_a_class_that_strict_mode_cannot_say_is_sent_without_it(
    server: ProviderServer, name: str
) -> None:
    for wire in ("openai", "azure"):
        form = model_of(server, wire).with_structured_output(CLASSES[name]).steps[0].kwargs
        assert "strict" not in form["response_format"]["json_schema"]


def closed(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


TEXT = {"type": "string"}
# Where each provider is asked, and a body with a strict tool of a schema.
ASKED: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "openai": (
        "/v1/chat/completions",
        lambda schema: {
            "tools": [
                {
                    "type": "function",
                    "function": {"name": "n", "strict": True, "parameters": schema},
                }
            ]
        },
    ),
    "azure": (
        "/openai/deployments/d/chat/completions",
        lambda schema: {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "n", "strict": True, "schema": schema},
            }
        },
    ),
    "responses": (
        "/v1/responses",
        lambda schema: {
            "text": {
                "format": {"type": "json_schema", "name": "n", "strict": True, "schema": schema}
            }
        },
    ),
    "anthropic": (
        "/v1/messages",
        lambda schema: {"output_config": {"format": {"type": "json_schema", "schema": schema}}},
    ),
    "bedrock": (
        "/model/m/converse",
        lambda schema: {
            "toolConfig": {
                "tools": [
                    {"toolSpec": {"name": "n", "strict": True, "inputSchema": {"json": schema}}}
                ]
            }
        },
    ),
    "bedrock answers": (
        "/model/m/converse",
        lambda schema: {
            "outputConfig": {
                "textFormat": {
                    "type": "json_schema",
                    "structure": {"jsonSchema": {"schema": json.dumps(schema)}},
                }
            }
        },
    ),
}
MESSAGES: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}]}
BODY: dict[str, Any] = {
    "responses": {"input": "hi"},
    "anthropic": {"max_tokens": 9, **MESSAGES},
    "anthropic answers": {"max_tokens": 9, **MESSAGES},
}
OPENAI = {"openai", "azure", "responses"}
ALL = set(ASKED)
REFUSED: list[tuple[dict[str, Any], set[str]]] = [
    (closed(a={**TEXT, "format": "uri"}), OPENAI),
    (closed(a={**TEXT, "format": "binary"}), ALL),
    (closed(a={"type": "array", "prefixItems": [TEXT]}), ALL),
    (closed(a={"type": "array", "items": TEXT, "uniqueItems": True}), ALL),
    (closed(a={**TEXT, "default": "x"}), ALL - {"openai", "responses"}),
    (closed(a={"type": "integer", "minimum": 1}), ALL - OPENAI),
    (closed(a={**TEXT, "maxLength": 1}), ALL - OPENAI),
    (closed(a={"type": "array", "items": TEXT, "minItems": 2}), ALL - OPENAI),
    (closed(a={"not": TEXT, "type": "string"}), ALL),
    (closed(a={"allOf": [TEXT], "type": "string"}), OPENAI),
    (closed(a={"description": "anything"}), OPENAI),
    (closed(a={"type": "object", "additionalProperties": TEXT}), ALL),
    (closed(a=closed(b={"type": "object", "properties": {}})), OPENAI),
    ({**closed(a=TEXT), "additionalProperties": True}, ALL),
    ({**closed(a=TEXT, b=TEXT), "required": ["a"]}, OPENAI),
    ({**closed(a={"$ref": "#/$defs/D", "description": "d"}), "$defs": {"D": TEXT}}, OPENAI),
    ({"anyOf": [closed(a=TEXT)]}, OPENAI),
    (closed(a={**TEXT, "format": "date", "description": "d", "title": "t"}), set()),
    ({**closed(a={"$ref": "#/$defs/D"}), "$defs": {"D": closed(format=TEXT, type=TEXT)}}, set()),
    (
        closed(a={"type": "array", "items": {"anyOf": [TEXT, {"type": "null"}]}, "minItems": 1}),
        set(),
    ),
]


@pytest.mark.parametrize("provider", ASKED)
@pytest.mark.parametrize(("schema", "refused"), REFUSED)
def test_the_server_refuses_what_strict_mode_does_not_take(
    server: ProviderServer, provider: str, schema: Any, refused: set[str]
) -> None:
    path, body = ASKED[provider]
    asked = {"model": "m", **BODY.get(provider, MESSAGES), **body(schema)}
    reply = httpx2.post(server.base_url + path, json=asked, headers={"x-api-key": "k"})
    assert reply.status_code == (400 if provider in refused else 200), reply.text
    if provider in refused:
        assert "Invalid schema for" in reply.text
    loose = json.loads(json.dumps(asked).replace('"strict": true', '"strict": false'))
    if provider in OPENAI:
        assert httpx2.post(server.base_url + path, json=loose).status_code == 200


def test_a_model_gets_the_refusal_as_its_provider_says_it(server: ProviderServer) -> None:
    form = {"name": "n", "strict": True, "schema": closed(a={**TEXT, "format": "uri"})}
    with pytest.raises(BadRequest, match=r"a.*format.*read 2026-11"):
        server.model("openai").bind(
            response_format={"type": "json_schema", "json_schema": form}
        ).invoke("hi")
