from __future__ import annotations

import logging
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError
from pydantic.v1 import BaseModel as OldModel

from modelwire.errors import InvalidType, ModelRefusalError, OutputParserException
from modelwire.messages import AIMessage, AIMessageChunk, HumanMessage
from modelwire.output_parsers import (
    JsonOutputKeyToolsParser,
    JsonOutputToolsParser,
    PydanticToolsParser,
)
from modelwire.output_parsers.openai_tools import (
    make_invalid_tool_call,
    parse_tool_call,
    parse_tool_calls,
)


class Weather(BaseModel):
    city: str
    days: int


class OldPlace(OldModel):
    city: str


class Titled(BaseModel):
    model_config = {"title": "shown_name"}
    x: int


def raw(name: str, arguments: Any, id: str = "1") -> dict[str, Any]:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


CALLS = [
    {"name": "other", "args": {"b": 2}, "id": "0"},
    {"name": "f", "args": {"a": 1}, "id": "1"},
    {"name": "f", "args": {"a": 3}, "id": "2"},
]
RAW = [raw("other", '{"b": 2}', "0"), raw("f", '{"a": 1}', "1"), raw("f", '{"a": 3}', "2")]
MESSAGES = [AIMessage("", tool_calls=CALLS), AIMessage("", additional_kwargs={"tool_calls": RAW})]

STREAM = [
    AIMessageChunk("thinking"),
    AIMessageChunk("", tool_call_chunks=[{"name": "Weather", "args": "", "id": "1", "index": 0}]),
    *(
        AIMessageChunk("", tool_call_chunks=[{"name": None, "args": part, "id": None, "index": 0}])
        for part in ('{"ci', 'ty": "Ky', 'oto", "da', 'ys": 1', "4}")
    ),
]
GROWTH = [
    {},
    {"city": "Ky"},
    {"city": "Kyoto"},
    {"city": "Kyoto", "days": 1},
    {"city": "Kyoto", "days": 14},
]


@pytest.mark.parametrize("message", MESSAGES)
def test_calls_are_read_as_dicts(colour: Any, message: AIMessage) -> None:
    shown = [{"type": call["name"], "args": call["args"]} for call in CALLS]
    assert colour.invoke(JsonOutputToolsParser(), message) == shown
    assert colour.invoke(JsonOutputToolsParser(first_tool_only=True), message) == shown[0]
    assert colour.invoke(JsonOutputToolsParser(return_id=True), message)[2] == {
        **shown[2],
        "id": "2",
    }


@pytest.mark.parametrize("message", MESSAGES)
def test_the_calls_of_one_tool_are_read(colour: Any, message: AIMessage) -> None:
    assert colour.invoke(JsonOutputKeyToolsParser(key_name="f"), message) == [{"a": 1}, {"a": 3}]
    assert colour.invoke(JsonOutputKeyToolsParser(key_name="f", first_tool_only=True), message) == {
        "a": 1
    }
    with_id = JsonOutputKeyToolsParser(key_name="f", first_tool_only=True, return_id=True)
    assert colour.invoke(with_id, message) == {"type": "f", "args": {"a": 1}, "id": "1"}
    for asked in (message, AIMessage("")):
        assert colour.invoke(JsonOutputKeyToolsParser(key_name="absent"), asked) == []
        assert (
            colour.invoke(JsonOutputKeyToolsParser(key_name="absent", first_tool_only=True), asked)
            is None
        )


def test_a_stream_gives_calls_as_they_grow(colour: Any) -> None:
    assert colour.transform(JsonOutputToolsParser(), STREAM) == [
        [],
        *([{"type": "Weather", "args": args}] for args in GROWTH),
    ]
    first = JsonOutputKeyToolsParser(key_name="Weather", first_tool_only=True)
    assert colour.transform(first, STREAM) == GROWTH
    assert colour.transform(PydanticToolsParser(tools=[Weather], first_tool_only=True), STREAM) == [
        Weather(city="Kyoto", days=1),
        Weather(city="Kyoto", days=14),
    ]


def test_objects_are_made_by_the_class_with_the_calls_name(colour: Any) -> None:
    calls = [
        {"name": "Weather", "args": {"city": "Rom", "days": 3}, "id": "1"},
        {"name": "OldPlace", "args": {"city": "Rom"}, "id": "2"},
        {"name": "shown_name", "args": {"x": 1}, "id": "3"},
    ]
    parser = PydanticToolsParser(tools=[Weather, OldPlace, Titled])
    made = [Weather(city="Rom", days=3), OldPlace(city="Rom"), Titled(x=1)]
    assert colour.invoke(parser, AIMessage("", tool_calls=calls)) == made
    assert colour.invoke(parser, AIMessage("none")) == []
    assert (
        colour.invoke(PydanticToolsParser(tools=[Weather], first_tool_only=True), AIMessage("none"))
        is None
    )


def test_a_call_of_an_unknown_tool_is_an_error(colour: Any) -> None:
    message = AIMessage("", tool_calls=[{"name": "Wether", "args": {}, "id": "1"}])
    with pytest.raises(
        OutputParserException, match=r"Unknown tool type: 'Wether'\. Did you mean `Weather`"
    ):
        colour.invoke(PydanticToolsParser(tools=[Weather]), message)


@pytest.mark.parametrize("ended", [{"stop_reason": "max_tokens"}, {"finish_reason": "length"}])
def test_arguments_that_do_not_fit_raise_and_a_token_limit_is_named(
    colour: Any, caplog: pytest.LogCaptureFixture, ended: dict[str, str]
) -> None:
    calls = [{"name": "Weather", "args": {"city": "R"}, "id": "1"}]
    with pytest.raises(ValidationError):
        colour.invoke(PydanticToolsParser(tools=[Weather]), AIMessage("", tool_calls=calls))
    assert caplog.records == []
    with pytest.raises(ValidationError):
        colour.invoke(
            PydanticToolsParser(tools=[Weather]),
            AIMessage("", tool_calls=calls, response_metadata=ended),
        )
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "`max_tokens` stop reason" in caplog.text


def test_a_call_that_was_cut_short_is_an_error_not_nothing(colour: Any) -> None:
    invalid = [
        {
            "type": "invalid_tool_call",
            "name": "Weather",
            "args": '{"city": "R',
            "id": "1",
            "error": "cut",
        }
    ]
    message = AIMessage(
        "", invalid_tool_calls=invalid, response_metadata={"stop_reason": "max_tokens"}
    )
    for parser in (
        JsonOutputToolsParser(),
        JsonOutputKeyToolsParser(key_name="Weather"),
        PydanticToolsParser(tools=[Weather], first_tool_only=True),
    ):
        with pytest.raises(OutputParserException, match=r"`Weather` cannot be read.*token limit"):
            colour.invoke(parser, message)
    assert colour.invoke(JsonOutputKeyToolsParser(key_name="other"), message) == []
    half = [*STREAM[:4], AIMessageChunk("", chunk_position="last")]
    with pytest.raises(OutputParserException, match="cannot be read"):
        colour.transform(JsonOutputToolsParser(), half)


def test_a_refusal_goes_before_the_calls(colour: Any) -> None:
    message = AIMessage([], tool_calls=CALLS, response_metadata={"stop_reason": "refusal"})
    with pytest.raises(ModelRefusalError):
        colour.invoke(JsonOutputToolsParser(), message)


def test_only_messages_have_calls(colour: Any) -> None:
    with pytest.raises(OutputParserException, match="chat generation"):
        colour.invoke(JsonOutputToolsParser(), "text")
    with pytest.raises(InvalidType, match="not a text"):
        JsonOutputToolsParser().parse("text")
    assert colour.invoke(JsonOutputToolsParser(), HumanMessage("hi")) == []


def test_wrong_parameters_are_refused() -> None:
    with pytest.raises(InvalidType, match="pydantic class"):
        PydanticToolsParser(tools=[{"title": "x"}])
    with pytest.raises(InvalidType, match="key_name"):
        JsonOutputKeyToolsParser(key_name=Weather)  # type: ignore[arg-type]


def test_raw_calls_are_read() -> None:
    assert parse_tool_call(raw("f", None)) == {
        "name": "f",
        "args": {},
        "id": "1",
        "type": "tool_call",
    }
    assert parse_tool_call(raw("f", ""), return_id=False) == {"name": "f", "args": {}}
    assert parse_tool_call(raw("f", {"a": 1}), return_id=False) == {"name": "f", "args": {"a": 1}}
    assert parse_tool_call(raw("f", None), partial=True) is None
    assert parse_tool_call({"id": "1"}) is None
    assert parse_tool_call(raw("f", '{"a": "x'), partial=True, return_id=False) == {
        "name": "f",
        "args": {"a": "x"},
    }
    assert parse_tool_call(raw("f", '{"a": "1\n2"}'), return_id=False) == {
        "name": "f",
        "args": {"a": "1\n2"},
    }
    for strict, arguments in ((True, '{"a": "1\n2"}'), (False, '{"a": '), (True, "nope")):
        with pytest.raises(OutputParserException, match="Function f arguments"):
            parse_tool_call(raw("f", arguments), strict=strict)
    with pytest.raises(OutputParserException, match=r"(?s)Function f .*Function g "):
        parse_tool_calls([raw("f", "{"), raw("ok", "{}"), raw("g", "{")])
    assert parse_tool_calls([raw("f", "{"), raw("g", "x")], partial=True, return_id=False) == [
        {"name": "f", "args": {}}
    ]
    assert make_invalid_tool_call(raw("f", "{"), "why")["error"] == "why"
