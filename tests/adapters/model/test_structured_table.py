"""One rule for structured output: on every wire, by every method, an answer fits or `OutputParserException` is raised.

The table: every wire, four methods, and a model that obeys, one that talks, one that is cut short and one that lies.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from typing import Any, Literal, TypedDict

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError
from support.raw_server import CHUNKED, END_CHUNKED, RawServer, chunk
from support.thinned import thinned

from modelwire.adapters import ChatAnthropic
from modelwire.errors import InvalidArgument, OutputParserException
from modelwire.messages import AIMessage
from modelwire.testing import Answer, ProviderServer


class City(BaseModel):
    """A city."""

    name: str
    kind: Literal["old", "new"] = "old"
    people: int | None = None


class CityDict(TypedDict):
    """A city."""

    name: str
    kind: Literal["old", "new"]


CITY_SCHEMA = {
    "title": "City",
    "type": "object",
    "properties": {"name": {"type": "string"}, "kind": {"enum": ["old", "new"]}},
    "required": ["name", "kind"],
    "additionalProperties": False,
}
SCHEMAS: dict[str, Any] = {"pydantic": City, "typed dict": CityDict, "json schema": CITY_SCHEMA}

WIRES = ("openai", "responses", "anthropic", "gemini", "bedrock")
METHODS = (None, "function_calling", "json_schema", "json_mode")
TRUE = {"name": "Bern", "kind": "old"}
LIES: dict[str, Any] = {
    "a wrong enum": {"name": "Bern", "kind": "older"},
    "a wrong type": {"name": 3, "kind": "old"},
    "a misspelt key": {"nmae": "Bern", "kind": "old"},
    "nothing in it": {},
}


@pytest.fixture
def server() -> Iterator[ProviderServer]:
    with ProviderServer() as made:
        yield made


def chain_of(
    server: ProviderServer, wire: Any, method: str | None, schema: Any, **options: Any
) -> Any:
    return server.model(wire).with_structured_output(
        schema, **({"method": method} if method else {}), **options
    )


def by_tool(wire: str, method: str | None) -> bool:
    return method == "function_calling" or (method is None and wire in ("anthropic", "bedrock"))


def said(
    wire: str, method: str | None, schema: Any, value: Any, *, stop: str | None = None
) -> Answer:
    """What a model answers that gives `value`, where it is asked to."""
    if not by_tool(wire, method):
        text = json.dumps(value)
        return Answer(text[:-4] if stop else text, stop=stop)
    name = "City" if isinstance(schema, dict) else schema.__name__
    return Answer(tool_calls=[{"name": name, "args": value}], stop=stop)


def fits(found: Any, schema: Any) -> bool:
    return bool(found == (City(**TRUE) if schema is City else TRUE))


def check_error(error: Any, answer: Answer) -> None:
    assert isinstance(error, OutputParserException)
    assert isinstance(error.raw_message, AIMessage)
    assert error.raw_message.text == answer.text
    assert [call["args"] for call in error.raw_message.tool_calls] == [
        call["args"] for call in answer.tool_calls
    ]


@thinned(wire=WIRES, method=METHODS, schema=SCHEMAS)
def test_a_model_that_obeys(
    colour: Any, wire: str, method: str | None, schema: Any, server: ProviderServer
) -> None:
    answer = said(wire, method, schema, TRUE)
    server.say(*[answer] * 3)
    assert fits(colour.invoke(chain_of(server, wire, method, schema), "hi"), schema)
    assert fits(colour.stream(chain_of(server, wire, method, schema), "hi")[-1], schema)
    both = colour.invoke(chain_of(server, wire, method, schema, include_raw=True), "hi")
    assert fits(both["parsed"], schema)
    assert both["parsing_error"] is None


WRONG = {
    "talking": lambda wire, method, schema: Answer("Bern is nice, and old."),
    "cut": lambda wire, method, schema: said(wire, method, schema, {"name": "Be"}, stop="length"),
    "lying": lambda wire, method, schema: said(wire, method, schema, LIES["a wrong enum"]),
}


class StrictTrip(BaseModel):
    """A trip."""

    model_config = ConfigDict(strict=True)

    day: date
    towns: tuple[str, ...]
    number: int


@pytest.mark.parametrize("method", METHODS[1:])
def test_a_strict_class_reads_json_as_json(
    colour: Any, method: str, server: ProviderServer
) -> None:
    value = {"day": "2026-11-22", "towns": ["Bern"], "number": 3}
    answer = said("openai", method, StrictTrip, value)
    server.say(answer, answer, said("openai", method, StrictTrip, {**value, "number": "3"}))
    chain = chain_of(server, "openai", method, StrictTrip)
    trip = StrictTrip(day=date(2026, 11, 22), towns=("Bern",), number=3)
    assert colour.invoke(chain, "hi") == trip
    assert colour.stream(chain, "hi") == [trip]
    with pytest.raises(ValidationError, match="valid integer"):
        colour.invoke(chain, "hi")


@thinned(one_in=4, wire=WIRES, method=METHODS, schema=SCHEMAS, kind=WRONG.keys())
def test_a_model_that_does_not(
    colour: Any, wire: str, method: str | None, schema: Any, kind: str, server: ProviderServer
) -> None:
    answer = WRONG[kind](wire, method, schema)
    chain = chain_of(server, wire, method, schema)
    for call in (colour.invoke, colour.stream):
        server.say(answer)
        with pytest.raises(OutputParserException) as caught:
            call(chain, "hi")
        check_error(caught.value, answer)
        if kind == "cut":
            assert "max_tokens" in str(caught.value)
    server.say(answer, answer)
    raw = chain_of(server, wire, method, schema, include_raw=True)
    for both in (colour.invoke(raw, "hi"), colour.stream(raw, "hi")[-1]):
        assert both["parsed"] is None
        check_error(both["parsing_error"], answer)
    if kind == "talking":  # nothing has been handed out before: a stream falls back, too
        server.say(answer, said(wire, method, schema, TRUE))
        assert fits(colour.stream(chain.with_fallbacks([chain]), "hi")[-1], schema)
    server.say(answer, said(wire, method, schema, TRUE))
    assert fits(colour.invoke(chain.with_fallbacks([chain]), "hi"), schema)


@thinned(wire=WIRES, method=METHODS[1:], schema=SCHEMAS, lie=LIES)
def test_no_lie_fits(wire: str, method: str, schema: Any, lie: Any, server: ProviderServer) -> None:
    server.say(said(wire, method, schema, lie))
    with pytest.raises(OutputParserException) as caught:
        chain_of(server, wire, method, schema).invoke("hi")
    error: Any = caught.value
    assert isinstance(error, ValidationError) == (schema is not CITY_SCHEMA)
    if isinstance(error, ValidationError):
        assert error.errors()[0]["loc"]
    assert json.loads(str(error.llm_output)) == lie


@pytest.mark.parametrize("method", METHODS[1:])
@pytest.mark.parametrize("wire", WIRES)
def test_silence_does_not_fit(wire: str, method: str, server: ProviderServer) -> None:
    for schema in SCHEMAS.values():
        server.say(Answer(""))
        with pytest.raises(OutputParserException):
            chain_of(server, wire, method, schema).invoke("hi")


@pytest.mark.parametrize("wire", WIRES)
def test_a_list_of_what_was_asked_for_is_not_it(wire: str, server: ProviderServer) -> None:
    for schema in SCHEMAS.values():
        server.say(json.dumps([TRUE]), "null")
        for _ in range(2):
            with pytest.raises(OutputParserException):
                chain_of(server, wire, "json_schema", schema).invoke("hi")


@pytest.mark.parametrize("kind", [ValidationError, OutputParserException, ValueError])
@pytest.mark.parametrize("method", METHODS[1:])
def test_except_of_either_class_catches_what_pydantic_refuses(
    method: str, kind: Any, server: ProviderServer
) -> None:
    server.say(said("openai", method, City, LIES["a wrong type"]))
    caught = None
    try:
        chain_of(server, "openai", method, City).invoke("hi")
    except kind as exc:
        caught = exc
    assert caught is not None
    assert caught.error_count() == 1
    assert "name" in str(caught)


@pytest.mark.parametrize("stream", [False, True])
def test_a_cut_call_on_anthropics_wire_never_counts_though_what_is_there_would_fit(
    stream: bool,
) -> None:
    """Anthropic gives the arguments parsed: nothing in them says that the rest is missing."""
    use = {"type": "tool_use", "id": "t1", "name": "City", "input": {"name": "Be"}}
    whole = {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [use],
        "stop_reason": "max_tokens",
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**whole, "content": [], "stop_reason": None}},
        {"type": "content_block_start", "index": 0, "content_block": {**use, "input": {}}},
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "input_json_delta", "partial_json": '{"na'},
        },
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "max_tokens"},
            "usage": {"output_tokens": 1},
        },
        {"type": "message_stop"},
    ]
    body = json.dumps(whole).encode()
    script: list[Any] = [b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)]
    if stream:
        sent = b"".join(
            f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events
        )
        script = [CHUNKED, chunk(sent), END_CHUNKED]
    raw = RawServer([script])
    try:
        model = ChatAnthropic(
            model="m", api_key="k", base_url=raw.url.removesuffix("/v1"), max_retries=0
        )
        chain = model.with_structured_output(City)
        with pytest.raises(OutputParserException, match="cut short"):
            _ = list(chain.stream("hi")) if stream else chain.invoke("hi")
    finally:
        raw.close()


def test_only_a_json_schema_pays_for_its_checker() -> None:
    program = """
import sys
from pydantic import BaseModel
from modelwire.adapters import ChatOpenAI

City = type("City", (BaseModel,), {"__annotations__": {"name": str}})
model = ChatOpenAI(model="m", api_key="k")
model.with_structured_output(City)
assert "jsonschema" not in sys.modules
model.with_structured_output(City.model_json_schema())
assert "jsonschema" in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_schema_that_is_none_is_said_before_any_request(server: ProviderServer) -> None:
    for broken, said_so in (
        ({**CITY_SCHEMA, "properties": {"name": {"type": "strng"}}}, "`properties.name.type`"),
        (
            {**CITY_SCHEMA, "properties": {"name": {"$ref": "#/$defs/Name"}}},
            r"`#/\$defs/Name` at `name`",
        ),
        (
            {**CITY_SCHEMA, "properties": {"name": {"$ref": "https://example.com/name.json"}}},
            "example.com",
        ),
    ):
        for method in METHODS[1:]:
            with pytest.raises(InvalidArgument, match=said_so):
                chain_of(server, "openai", method, broken)
    assert not server.requests


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("method", METHODS[1:])
def test_an_object_grows_in_a_stream(
    colour: Any, wire: str, method: str, server: ProviderServer
) -> None:
    """As in LangChain: from when its required fields are there, on every wire and by every method."""
    value = {"name": "Bern on the Aare", "kind": "old", "people": 134}
    answer = said(wire, method, City, value)
    server.say(answer)
    parts = colour.stream(chain_of(server, wire, method, City), "hi")
    in_one = wire == "gemini" and method == "function_calling"  # its calls come whole
    assert len(parts) == 1 if in_one else len(parts) > 2
    assert all(type(part) is City for part in parts)
    assert all(value["name"].startswith(part.name) for part in parts)
    assert parts[-1] == City(**value)
    assert len(parts) == len({part.model_dump_json() for part in parts})
