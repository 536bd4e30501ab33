"""A real language model on all three wires: what a model of 135 million parameters can be held to, and no more.

llama.cpp's server keeps the arguments of a call to the tool's schema on every wire; to a schema of the answer itself it
keeps on Chat Completions alone. That a call is made at all is up to the model: it is shown one first, and copies it.
"""

from __future__ import annotations

from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

from modelwire.adapters import ChatAnthropic, ChatOpenAI
from modelwire.messages import AIMessage, HumanMessage, ToolMessage, message_chunk_to_message
from modelwire.tools import tool

pytestmark = pytest.mark.local

WIRES = ["chat", "responses", "messages"]
QUESTION = "What is the capital of France? Answer in one word."
ENDS = {"stop", "end_turn", "completed", "tool_calls", "tool_use"}


@pytest.fixture(params=WIRES)
def wire(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def model(wire: str, local_server: str) -> Any:
    settings = {"model": "smollm2", "api_key": "none", "temperature": 0, "max_tokens": 48}
    if wire == "messages":
        return ChatAnthropic(base_url=local_server, **settings)
    return ChatOpenAI(
        base_url=f"{local_server}/v1", use_responses_api=wire == "responses", **settings
    )


@tool
def weather(city: str) -> str:
    """Tell the weather in a city."""
    return f"It is sunny in {city}."


class City(BaseModel):
    """A city."""

    name: str = Field(max_length=20)
    country: Literal["France", "Germany", "Italy"]


def shown(name: str, args: dict[str, Any], *, asked: str, answer: str, question: str) -> list[Any]:
    """A chat in which the tool `name` was called once, and then another question."""
    call = {"name": name, "args": args, "id": "call_1"}
    return [
        HumanMessage(asked),
        AIMessage("", tool_calls=[call]),
        ToolMessage(answer, tool_call_id="call_1"),
        AIMessage(answer),
        HumanMessage(question),
    ]


WEATHER = shown(
    "weather",
    {"city": "Paris"},
    asked="What is the weather in Paris?",
    answer="It is sunny in Paris.",
    question="What is the weather in Rome?",
)
CITIES = shown(
    "City",
    {"name": "Berlin", "country": "Germany"},
    asked="Tell me about Berlin.",
    answer="Done.",
    question="Tell me about Rome.",
)


def end_of(message: Any) -> str | None:
    about = message.response_metadata
    return about.get("finish_reason") or about.get("stop_reason") or about.get("status")


def joined(chunks: list[Any]) -> Any:
    total = chunks[0]
    for chunk in chunks[1:]:
        total = total + chunk
    return message_chunk_to_message(total)


def test_an_answer_has_text_usage_and_an_end(colour: Any, model: Any) -> None:
    answer = colour.invoke(model, QUESTION)
    assert "Paris" in answer.text
    assert end_of(answer) in ENDS
    usage = answer.usage_metadata
    assert usage["input_tokens"] > 20  # also of those found in the server's cache
    assert 0 < usage["output_tokens"] <= 48
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]


def test_a_stream_adds_up_to_the_answer(colour: Any, model: Any) -> None:
    chunks = colour.stream(model, QUESTION)
    assert len([chunk for chunk in chunks if chunk.text]) > 1
    streamed, whole = joined(chunks), colour.invoke(model, QUESTION)
    assert "Paris" in streamed.text
    assert end_of(streamed) == end_of(whole)
    assert streamed.usage_metadata["input_tokens"] == whole.usage_metadata["input_tokens"]


@pytest.mark.parametrize("way", ["invoke", "stream"])
def test_a_tool_is_called_as_its_schema_wants_and_its_answer_taken(
    colour: Any, model: Any, way: str
) -> None:
    bound = model.bind_tools([weather], tool_choice="any")
    answer = (
        colour.invoke(bound, WEATHER) if way == "invoke" else joined(colour.stream(bound, WEATHER))
    )
    (call,) = answer.tool_calls
    assert (call["name"], set(call["args"]), answer.invalid_tool_calls) == ("weather", {"city"}, [])
    assert isinstance(call["args"]["city"], str)
    assert call["id"]
    assert end_of(answer) in ENDS
    history = [*WEATHER, answer, weather.invoke(call)]
    assert colour.invoke(model.bind_tools([weather]), history).usage_metadata["output_tokens"] > 0


@pytest.mark.long
def test_structured_output_by_a_tool_is_what_was_asked_for(colour: Any, model: Any) -> None:
    answer = colour.invoke(model.with_structured_output(City, method="function_calling"), CITIES)
    assert type(answer) is City


def test_structured_output_by_the_schema_of_the_answer_is_what_the_server_makes_of_it(
    colour: Any, model: Any, wire: str
) -> None:
    structured = model.with_structured_output(City, method="json_schema", include_raw=True)
    answer = colour.invoke(structured, "Tell me about Paris.")
    assert answer["raw"].usage_metadata["output_tokens"] > 0
    if wire == "chat":
        assert type(answer["parsed"]) is City
    else:  # the schema is sent, and not kept to: prose comes back, and is said to be none
        assert (answer["parsed"] is None) == (answer["parsing_error"] is not None)
