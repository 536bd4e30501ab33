"""Our adapters against a real language model, over both wires and in every way of calling."""

from typing import Any

import pytest

from modelwire import ChatPromptTemplate, StrOutputParser
from modelwire.adapters import ChatAnthropic, ChatOpenAI
from modelwire.errors import ContextTooLong
from modelwire.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

pytestmark = pytest.mark.local

QUESTION = "What is the capital of France? Answer in one word."


@pytest.fixture(params=["openai", "anthropic"])
def model(request: pytest.FixtureRequest, local_server: str) -> Any:
    settings = {"model": "smollm2", "api_key": "none", "temperature": 0, "max_tokens": 24}
    if request.param == "openai":
        return ChatOpenAI(base_url=f"{local_server}/v1", **settings)
    return ChatAnthropic(base_url=local_server, **settings)


def test_an_answer_has_text_usage_and_a_reason_to_end(colour: Any, model: Any) -> None:
    answer = colour.invoke(model, QUESTION)
    assert "Paris" in answer.content
    assert answer.usage_metadata["input_tokens"] > 5
    assert 0 < answer.usage_metadata["output_tokens"] <= 24
    about = answer.response_metadata
    assert about.get("finish_reason", about.get("stop_reason")) in ("stop", "end_turn")


def test_a_stream_comes_in_many_chunks_and_adds_up_to_an_answer(colour: Any, model: Any) -> None:
    chunks = colour.stream(model, QUESTION)
    assert len([chunk for chunk in chunks if chunk.content]) > 1
    total = chunks[0]
    for chunk in chunks[1:]:
        total = total + chunk
    assert "Paris" in total.content
    assert total.usage_metadata["output_tokens"] > 0


def test_an_answer_over_a_stream_is_an_answer(colour: Any, model: Any) -> None:
    answer = colour.invoke(model.model_copy(update={"streaming": True}), QUESTION)
    assert type(answer) is AIMessage
    assert "Paris" in answer.content


@pytest.mark.long  # the quickstart batches
def test_a_batch_answers_each_in_its_place(colour: Any, model: Any) -> None:
    prompt = ChatPromptTemplate.from_messages(
        [
            ("system", "You answer briefly, in plain English."),
            ("human", "What is the capital of {country}?"),
        ]
    )
    countries = ["France", "Japan", "Italy", "Egypt"]
    answers = colour.batch(
        prompt | model | StrOutputParser(),
        [{"country": c} for c in countries],
        {"max_concurrency": 4},
    )
    assert all(country in answer for country, answer in zip(countries, answers, strict=True))


def test_a_chain_streams_token_by_token(colour: Any, model: Any) -> None:
    chain = (
        ChatPromptTemplate.from_messages([("system", "Be brief."), ("human", "{q}")])
        | model
        | StrOutputParser()
    )
    pieces = colour.stream(chain, {"q": QUESTION})
    assert len(pieces) > 1
    assert "Paris" in "".join(pieces)


def test_the_end_of_the_budget_and_a_stop_sequence_are_told_apart(colour: Any, model: Any) -> None:
    short = colour.invoke(model, "Count from one to twenty.", max_tokens=3)
    about = short.response_metadata
    assert about.get("finish_reason", about.get("stop_reason")) in ("length", "max_tokens")
    stopped = colour.invoke(model, QUESTION, stop=["is"])
    assert "is" not in stopped.content


def test_a_history_with_tools_and_a_late_system_message_is_taken(colour: Any, model: Any) -> None:
    history = [
        SystemMessage("You are a clerk."),
        HumanMessage("What is the weather in Paris?"),
        AIMessage("", tool_calls=[{"name": "weather", "args": {"city": "Paris"}, "id": "call_1"}]),
        ToolMessage("sunny", tool_call_id="call_1"),
        SystemMessage("Be brief."),
        HumanMessage("So?"),
    ]
    assert colour.invoke(model, history).content


def test_too_long_a_history_is_said_to_be_that(colour: Any, model: Any) -> None:
    with pytest.raises(ContextTooLong) as caught:
        colour.invoke(model, "word " * 20_000)
    assert caught.value.status == 400
    assert len(caught.value.attempts) == 1
