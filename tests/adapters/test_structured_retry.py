"""`with_structured_output(schema, retries=n)`: what does not fit goes back with what is wrong, and all of it counts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from modelwire.callbacks import get_usage_metadata_callback
from modelwire.errors import InvalidArgument, ModelRefusalError, OutputParserException
from modelwire.jobs import run_job
from modelwire.messages import AIMessage
from modelwire.testing import Answer, ProviderServer


class City(BaseModel):
    """A city."""

    name: str
    kind: Literal["old", "new"]


TRUE = {"name": "Bern", "kind": "old"}
LIE = {"name": "Bern", "kind": "older"}
WIRES = ("openai", "responses", "anthropic", "gemini", "bedrock")
ARGUMENTS_ARE_JSON = ("anthropic", "gemini", "bedrock")  # whole answers have them as an object
METHODS = ("function_calling", "json_schema")
TURNS = ("messages", "input", "contents")


@pytest.fixture
def server() -> Iterator[ProviderServer]:
    with ProviderServer() as made:
        yield made


def chain_of(server: ProviderServer, wire: str, method: str, **options: Any) -> Any:
    model: Any = server.model(wire)  # type: ignore[arg-type]
    return model.with_structured_output(City, method=method, **options)


def said(method: str, value: Any, **more: Any) -> Answer:
    if method == "json_schema":
        return Answer(json.dumps(value), **more)
    return Answer(tool_calls=[{"name": "City", "args": value}], **more)


WRONG = {
    "lying": lambda method: said(method, LIE),
    "talking": lambda method: Answer("Bern, I think."),
    "silent": lambda method: Answer(""),
    "cut": lambda method: (
        said(method, TRUE, stop="length") if method == "function_calling" else Answer('{"name": "B')
    ),
    "no JSON in the call": lambda method: Answer(
        tool_calls=[{"name": "City", "args": '{"name": '}]
    ),
}


@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("wire", WIRES)
def test_the_model_is_told_what_is_wrong(
    colour: Any, wire: str, method: str, kind: str, server: ProviderServer
) -> None:
    if kind == "no JSON in the call" and (wire in ARGUMENTS_ARE_JSON or method == "json_schema"):
        pytest.skip("the wire has arguments as JSON itself, or there is no call")
    chain = chain_of(server, wire, method, retries=1)
    for call in (colour.invoke, colour.stream):
        server.say(WRONG[kind](method), said(method, TRUE))
        found = call(chain, "hi")
        assert (found[-1] if isinstance(found, list) else found) == City(**TRUE)
        first, second = server.requests[-2:]
        turns = [next(it[key] for key in TURNS if key in it) for it in (first.body, second.body)]
        if kind != "silent" or wire in ("openai", "responses"):  # two turns of the user may be one
            assert turns[1][: len(turns[0])] == turns[0]
        told = json.dumps(turns[1])
        assert "does not fit the form" in told
        if kind == "lying":
            assert "Input should be 'old' or 'new'" in told
            assert "older" in told  # the answer itself is there, too
            assert "errors.pydantic.dev" not in told


def test_none_are_asked_by_default_and_the_last_error_is_raised(
    colour: Any, server: ProviderServer
) -> None:
    server.default = said("json_schema", LIE)
    with pytest.raises(OutputParserException):
        colour.invoke(chain_of(server, "openai", "json_schema"), "hi")
    assert len(server.requests) == 1
    with pytest.raises(OutputParserException, match="older"):
        colour.invoke(chain_of(server, "openai", "json_schema", retries=2), "hi")
    assert len(server.requests) == 4
    with pytest.raises(OutputParserException, match="older"):
        colour.stream(chain_of(server, "openai", "json_schema", retries=2), "hi")
    assert len(server.requests) == 7


@pytest.mark.parametrize("wire", WIRES)
def test_a_refusal_is_not_asked_again(colour: Any, wire: str, server: ProviderServer) -> None:
    server.say(Answer(refusal="I will not."))
    with pytest.raises(ModelRefusalError):
        colour.invoke(chain_of(server, wire, "json_schema", retries=3), "hi")
    assert len(server.requests) == 1


@pytest.mark.parametrize("wire", WIRES)
def test_the_raw_answer_is_the_last_one(colour: Any, wire: str, server: ProviderServer) -> None:
    chain = chain_of(server, wire, "function_calling", retries=1, include_raw=True)
    for wrong, error in ((1, type(None)), (2, OutputParserException)):
        server.say(
            *[said("function_calling", LIE)] * wrong,
            *[said("function_calling", TRUE)] * (2 - wrong),
        )
        found = colour.invoke(chain, "hi")
        server.say(
            *[said("function_calling", LIE)] * wrong,
            *[said("function_calling", TRUE)] * (2 - wrong),
        )
        pieces = colour.stream(chain, "hi")
        total = pieces[0]
        for piece in pieces[1:]:
            total = total + piece
        for one in (found, total):
            assert isinstance(one["parsing_error"], error)
            assert one["parsed"] == (City(**TRUE) if wrong == 1 else None)
            (call,) = one["raw"].tool_calls
            assert call["args"] == (TRUE if wrong == 1 else LIE)
        assert isinstance(found["raw"], AIMessage)


def test_every_ask_counts(colour: Any, server: ProviderServer, tmp_path: Any) -> None:
    usage = {"input_tokens": 10, "output_tokens": 4}
    answers = [said("json_schema", LIE, usage=usage), said("json_schema", TRUE, usage=usage)]
    server.say(*answers)
    with get_usage_metadata_callback() as counted:
        colour.invoke(chain_of(server, "openai", "json_schema", retries=1), "hi")
    (total,) = counted.usage_metadata.values()
    assert (total["input_tokens"], total["output_tokens"]) == (20, 8)
    server.say(*answers)
    result = run_job(
        chain_of(server, "openai", "json_schema", retries=1),
        ["hi"],
        output=tmp_path / "o.jsonl",
        quiet=True,
    )
    (row,) = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    assert (row["name"], row["input_tokens"], row["attempts"]) == ("Bern", 20, 2)
    assert (result.failed, result.input_tokens) == (0, 20)


@pytest.mark.parametrize("retries", [-1, 1.5, True, "2"])
def test_retries_is_a_number(retries: Any, server: ProviderServer) -> None:
    with pytest.raises(InvalidArgument, match="how often to ask again"):
        chain_of(server, "openai", "json_schema", retries=retries)
