"""Structured output whose form is no object: a list, a union, one of several words, a number."""

from __future__ import annotations

import json
from enum import Enum
from typing import Any, Literal, Optional, Union

import pytest
from pydantic import BaseModel

from modelwire.errors import InvalidArgument, OutputParserException
from modelwire.jobs import run_job
from modelwire.prompts import ChatPromptTemplate
from modelwire.testing import Answer, ProviderServer

WIRES = ["openai", "responses", "anthropic", "gemini", "bedrock"]


class City(BaseModel):
    name: str
    people: int


class Bird(BaseModel):
    wings: int


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


VIENNA = {"name": "Vienna", "people": 2_000_000}
FORMS: list[tuple[Any, Any, Any]] = [
    (
        list[City],
        [VIENNA, {"name": "Graz", "people": 1}],
        [City(**VIENNA), City(name="Graz", people=1)],
    ),
    (City | Bird, {"wings": 2}, Bird(wings=2)),
    (Union[City, None], None, None),
    (Optional[int], 3, 3),
    (Literal["good", "bad"], "bad", "bad"),
    (int, 7, 7),
    (bool, True, True),
    (dict[str, int], {"a": 1}, {"a": 1}),
    (Colour, "blue", Colour.BLUE),
]


@pytest.mark.parametrize(("form", "value", "expected"), FORMS, ids=[str(form[0]) for form in FORMS])
@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_a_value_is_the_answer(
    colour: Any, method: Any, form: Any, value: Any, expected: Any
) -> None:
    with ProviderServer(default=json.dumps({"value": value})) as server:
        if method == "function_calling":
            server.default = answer_of_tool(value)
        chain = server.model().with_structured_output(form, method=method)
        assert colour.invoke(chain, "hi") == expected
        assert colour.stream(chain, "hi") == [expected]
        body = server.requests[-1].body
    sent = json.dumps(body.get("response_format") or body["tools"])
    assert '"value"' in sent and "Answer" in sent


def answer_of_tool(value: Any) -> Any:
    return Answer(tool_calls=[{"name": "Answer", "args": {"value": value}, "id": "c1"}])


@pytest.mark.parametrize("wire", WIRES)
def test_a_list_is_an_answer_on_every_wire(colour: Any, wire: Any) -> None:
    with ProviderServer(default=json.dumps({"value": [VIENNA]})) as server:
        chain = server.model(wire).with_structured_output(list[City], method="json_schema")
        assert colour.invoke(chain, "hi") == [City(**VIENNA)]


@pytest.mark.parametrize("method", ["json_schema", "json_mode"])
def test_a_value_without_its_object_is_read_too(colour: Any, method: Any) -> None:
    with ProviderServer(default=json.dumps([VIENNA])) as server:
        chain = server.model().with_structured_output(list[City], method=method)
        assert colour.invoke(chain, "hi") == [City(**VIENNA)]


def test_with_the_raw_message(colour: Any) -> None:
    with ProviderServer(default=json.dumps({"value": [VIENNA]})) as server:
        chain = server.model().with_structured_output(list[City], include_raw=True)
        answer = colour.invoke(chain, "hi")
        assert answer["parsed"] == [City(**VIENNA)] and answer["parsing_error"] is None
        assert answer["raw"].text.startswith("{")
        server.default = '{"value": "no list"}'
        answer = colour.invoke(chain, "hi")
        assert answer["parsed"] is None
        assert isinstance(answer["parsing_error"], OutputParserException)


def test_a_value_that_does_not_fit_is_asked_for_again(colour: Any) -> None:
    with ProviderServer(['{"value": 12}', '{"value": "good"}']) as server:
        chain = server.model().with_structured_output(Literal["good", "bad"], retries=1)
        assert colour.invoke(chain, "hi") == "good"


def test_a_job_writes_the_value(tmp_path: Any) -> None:
    with ProviderServer(default='{"value": ["a", "b"]}') as server:
        chain = ChatPromptTemplate.from_template("{q}") | server.model().with_structured_output(
            list[str]
        )
        result = run_job(chain, [{"q": "x"}], output=tmp_path / "o.jsonl", quiet=True)
        (row,) = list(result)
    assert row["answer"] == ["a", "b"] and "value" not in row


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_a_json_schema_needs_no_title(colour: Any, method: Any) -> None:
    schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    with ProviderServer(default='{"name": "Graz"}') as server:
        if method == "function_calling":
            call = {"name": "Answer", "args": {"name": "Graz"}, "id": "c1"}
            server.default = Answer(tool_calls=[call])
        chain = server.model().with_structured_output(schema, method=method)
        assert colour.invoke(chain, "hi") == {"name": "Graz"}


@pytest.mark.parametrize("schema", ["City", 3, [City]])
def test_what_is_no_type_is_refused(provider_server: ProviderServer, schema: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"a type such as `list\[City\]`"):
        provider_server.model().with_structured_output(schema)


NAMES: dict[str, Any] = {
    "title": "Names",
    "type": "array",
    "items": {"$ref": "#/$defs/Name"},
    "$defs": {"Name": {"type": "string", "minLength": 2}},
}


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
@pytest.mark.parametrize("wire", WIRES)
def test_a_json_schema_of_a_list_is_wrapped_on_the_wire(
    colour: Any, wire: Any, method: Any
) -> None:
    with ProviderServer(default='{"value": ["Graz", "Linz"]}') as server:
        if method == "function_calling":
            call = {"name": "Names", "args": {"value": ["Graz", "Linz"]}, "id": "c1"}
            server.default = Answer(tool_calls=[call])
        chain = server.model(wire).with_structured_output(NAMES, method=method)
        assert colour.invoke(chain, "hi") == ["Graz", "Linz"]
        assert colour.stream(chain, "hi") == [["Graz", "Linz"]]
        sent = json.dumps(server.requests[-1].body)
    assert "value" in sent and "array" in sent


@pytest.mark.parametrize(
    ("schema", "value"),
    [({"type": "integer"}, 7), ({"type": "string", "enum": ["good", "bad"]}, "bad")],
)
def test_a_json_schema_of_a_single_value_is_wrapped_too(schema: Any, value: Any) -> None:
    with ProviderServer(default=json.dumps({"value": value})) as server:
        assert server.model().with_structured_output(schema).invoke("hi") == value


def test_a_list_that_does_not_fit_its_json_schema_is_an_error() -> None:
    with ProviderServer(default='{"value": ["Graz", "L"]}') as server:
        chain = server.model().with_structured_output(NAMES)
        with pytest.raises(OutputParserException, match="too short"):
            chain.invoke("hi")


def test_a_json_schema_of_a_list_that_contains_itself_is_refused(
    provider_server: ProviderServer,
) -> None:
    tree = {
        "type": "array",
        "items": {"$ref": "#/$defs/Node"},
        "$defs": {"Node": {"type": "array", "items": {"$ref": "#/$defs/Node"}}},
    }
    with pytest.raises(InvalidArgument, match="cannot contain itself"):
        provider_server.model().with_structured_output(tree)
