"""Fake models: what they answer, in which order, and how they take an answer apart."""

import json
from itertools import cycle
from typing import Any

import pytest
from pydantic import BaseModel

from modelwire.callbacks import BaseCallbackHandler
from modelwire.errors import InvalidArgument, OutputParserException
from modelwire.messages import AIMessage, HumanMessage
from modelwire.testing import (
    FakeChatModel,
    FakeListChatModel,
    FakeListChatModelError,
    FakeMessagesListChatModel,
    GenericFakeChatModel,
    ParrotFakeChatModel,
)
from modelwire.tools import tool

BAD_CALL: Any = {
    "type": "invalid_tool_call",
    "name": "t",
    "args": '{"a": ',
    "id": "2",
    "error": "cut",
}
USAGE: Any = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}


def whole(chunks: list[Any]) -> Any:
    return chunks[0] + chunks[1:] if len(chunks) > 1 else chunks[0]


def test_a_list_is_answered_in_turn_and_from_the_start_again(colour: Any) -> None:
    model = FakeListChatModel(responses=["a", "b"])
    assert [colour.invoke(model, "q").content for _ in range(5)] == ["a", "b", "a", "b", "a"]
    model = FakeMessagesListChatModel(responses=[AIMessage("a"), AIMessage("b", id="own")])
    said = [colour.invoke(model, "q") for _ in range(4)]
    assert [message.content for message in said] == ["a", "b", "a", "b"]
    assert said[1].id == said[3].id == "own"
    assert said[0].id.startswith("lc_run--")
    assert said[0].id != said[2].id


def test_a_batch_of_a_list_keeps_its_order(colour: Any) -> None:
    for _ in range(10):
        model = FakeListChatModel(responses=["a", "b", "c"])
        assert [m.content for m in colour.batch(model, ["1", "2", "3"])] == ["a", "b", "c"]
    model = FakeListChatModel(responses=["a", "b"])
    assert [m.content for m in colour.batch(model, ["1", "2"], [{"tags": ["x"]}, {}])] == ["a", "b"]


def test_a_list_streams_letters_and_fails_where_told(colour: Any) -> None:
    model = FakeListChatModel(responses=["abc"])
    chunks = colour.stream(model, "q")
    assert [chunk.content for chunk in chunks] == ["a", "b", "c"]
    assert [chunk.chunk_position for chunk in chunks] == [None, None, "last"]
    with pytest.raises(FakeListChatModelError):
        colour.stream(FakeListChatModel(responses=["abc"], error_on_chunk_number=1), "q")


def test_an_empty_list_says_so(colour: Any) -> None:
    with pytest.raises(InvalidArgument, match="responses"):
        colour.invoke(FakeListChatModel(responses=[]), "q")


def test_sleep_passes_before_an_answer(colour: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio

    from modelwire.testing import fake_chat_models

    slept: list[float] = []

    others_sleep = asyncio.sleep

    async def sleep(seconds: float) -> None:
        if seconds < 1:  # A server in a thread of another test.
            await others_sleep(seconds)
        else:
            slept.append(seconds)

    monkeypatch.setattr(fake_chat_models.time, "sleep", slept.append)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    colour.invoke(FakeMessagesListChatModel(responses=[AIMessage("a")], sleep=3), "q")
    colour.stream(FakeListChatModel(responses=["ab"], sleep=4), "q")
    assert slept == [3, 4, 4]


def test_the_parrot_says_the_last_message_and_leaves_it_alone(colour: Any) -> None:
    said = HumanMessage("hello")
    answer = colour.invoke(ParrotFakeChatModel(), [("system", "x"), said])
    assert (type(answer), answer.content) == (HumanMessage, "hello")
    assert said.id is None
    assert colour.stream(ParrotFakeChatModel(), [AIMessage("a b")])[0].content == "a b"


def test_the_plain_fake_says_its_one_thing(colour: Any) -> None:
    assert colour.invoke(FakeChatModel(), "q").content == "fake response"


def test_the_generic_fake_takes_texts_and_messages_until_none_is_left(colour: Any) -> None:
    model = GenericFakeChatModel(messages=iter(["a", AIMessage("b")]))
    assert [colour.invoke(model, "q").content for _ in range(2)] == ["a", "b"]
    with pytest.raises(InvalidArgument, match="end"):
        colour.invoke(model, "q")
    with pytest.raises(InvalidArgument, match="end"):
        colour.stream(model, "q")


def test_one_message_for_ever_is_a_new_answer_each_time(colour: Any) -> None:
    written = AIMessage("hello")
    model = GenericFakeChatModel(messages=cycle([written]))
    assert len({colour.invoke(model, "q").id for _ in range(3)}) == 3
    assert written.id is None


def test_words_and_the_spaces_between_them_are_chunks_of_one_id(colour: Any) -> None:
    chunks = colour.stream(GenericFakeChatModel(messages=iter(["hello  good\nbye"])), "q")
    assert [chunk.content for chunk in chunks] == ["hello", " ", " ", "good", "\n", "bye"]
    assert len({chunk.id for chunk in chunks}) == 1
    assert [chunk.chunk_position for chunk in chunks][-2:] == [None, "last"]


def test_what_is_beside_the_content_is_streamed_key_by_key(colour: Any) -> None:
    message = AIMessage(
        "", additional_kwargs={"a": 1, "function_call": {"name": "f", "arguments": '{"x":1,"y":2}'}}
    )
    chunks = colour.stream(GenericFakeChatModel(messages=iter([message])), "q")
    assert [chunk.additional_kwargs for chunk in chunks] == [
        {"a": 1},
        {"function_call": {"name": "f"}},
        {"function_call": {"arguments": '{"x":1'}},
        {"function_call": {"arguments": ","}},
        {"function_call": {"arguments": '"y":2}'}},
        {},
    ]
    assert whole(chunks).additional_kwargs == message.additional_kwargs


@pytest.mark.parametrize(
    "message",
    [
        AIMessage(""),
        AIMessage(
            "one two",
            id="own",
            name="n",
            response_metadata={"model_name": "m"},
            usage_metadata=USAGE,
        ),
        AIMessage("see", tool_calls=[{"name": "t", "args": {"a": [1, "ü"]}, "id": "1"}] * 2),
        AIMessage([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]),
        AIMessage(
            "see", tool_calls=[{"name": "t", "args": {}, "id": "1"}], invalid_tool_calls=[BAD_CALL]
        ),
        # A call in OpenAI's format, which the message reads.
        AIMessage(
            "",
            additional_kwargs={
                "tool_calls": [
                    {"id": "1", "type": "function", "function": {"name": "t", "arguments": "{}"}}
                ]
            },
        ),
    ],
)
def test_the_chunks_of_a_message_add_up_to_it(colour: Any, message: AIMessage) -> None:
    total = whole(colour.stream(GenericFakeChatModel(messages=iter([message])), "q"))
    assert str(total.text) == str(message.text)
    for field in ("tool_calls", "usage_metadata", "response_metadata", "name"):
        assert getattr(total, field) == getattr(message, field)
    shown = [
        [(call["id"], call["name"], call["args"]) for call in it.invalid_tool_calls]
        for it in (total, message)
    ]
    assert shown[0] == shown[1]
    assert len(total.content) == len(message.content)


def test_handlers_hear_every_token_of_a_fake(colour: Any) -> None:
    tokens: list[str] = []

    class Handler(BaseCallbackHandler):
        def on_chat_model_start(self, *args: Any, **kwargs: Any) -> None: ...

        def on_llm_new_token(self, token: str, **kwargs: Any) -> None:
            tokens.append(token)

    model = GenericFakeChatModel(messages=iter(["hello goodbye"]))
    colour.stream(model, "q", {"callbacks": [Handler()]})
    assert tokens == ["hello", " ", "goodbye"]


def test_the_old_paths_lead_to_the_same_classes() -> None:
    from modelwire.language_models import FakeListChatModel as one
    from modelwire.language_models.fake_chat_models import FakeListChatModel as two

    assert one is two is FakeListChatModel


def test_every_exported_name_resolves() -> None:
    import modelwire.testing

    for name in modelwire.testing.__all__:
        assert getattr(modelwire.testing, name) is not None


# ---------------------------------------------------------------- tools and forms


class City(BaseModel):
    """A city."""

    name: str
    people: int


@tool
def weather(city: str) -> str:
    """Tell the weather."""
    return f"Rain in {city}"


MODELS: dict[str, Any] = {
    "FakeListChatModel": lambda *said: FakeListChatModel(responses=[str(one) for one in said]),
    "FakeMessagesListChatModel": lambda *said: FakeMessagesListChatModel(
        responses=[AIMessage(one) for one in said]
    ),
    "GenericFakeChatModel": lambda *said: GenericFakeChatModel(messages=iter(said)),
    "FakeChatModel": lambda *said: FakeChatModel(),
    "ParrotFakeChatModel": lambda *said: ParrotFakeChatModel(),
}


@pytest.mark.parametrize("kind", MODELS)
def test_every_fake_takes_tools_as_a_provider_does(colour: Any, kind: str) -> None:
    bound: Any = MODELS[kind]("an answer", "an answer").bind_tools([weather], tool_choice="weather")
    assert bound.kwargs["tools"][0]["function"]["name"] == "weather"
    assert colour.invoke(bound, "an answer").content
    assert colour.stream(bound, "an answer")
    with pytest.raises(InvalidArgument, match="not one of the tools"):
        MODELS[kind]("a").bind_tools([weather], tool_choice="wether")


def test_an_agents_loop_runs_on_a_fake(colour: Any) -> None:
    call = {"name": "weather", "args": {"city": "Bern"}, "id": "1", "type": "tool_call"}
    model = GenericFakeChatModel(
        messages=iter([AIMessage("", tool_calls=[call]), AIMessage("It rains.")])
    )
    agent = model.bind_tools([weather])
    history: list[Any] = [HumanMessage("How is Bern?")]
    while True:
        answer = colour.invoke(agent, history)
        history.append(answer)
        if not answer.tool_calls:
            break
        history += [weather.invoke(one) for one in answer.tool_calls]
    assert [message.text for message in history] == [
        "How is Bern?",
        "",
        "Rain in Bern",
        "It rains.",
    ]


@pytest.mark.parametrize("method", [None, "json_schema", "json_mode"])
@pytest.mark.parametrize("kind", [kind for kind in MODELS if kind != "FakeChatModel"])
def test_every_fake_gives_forms_from_texts(colour: Any, kind: str, method: str | None) -> None:
    text = '{"name": "Bern", "people": 134}'
    for schema, value in (
        (City, City(name="Bern", people=134)),
        (City.model_json_schema(), json.loads(text)),
    ):
        options = {} if method is None else {"method": method}
        assert (
            colour.invoke(MODELS[kind](text).with_structured_output(schema, **options), text)
            == value
        )
        assert (
            colour.stream(MODELS[kind](text).with_structured_output(schema, **options), text)[-1]
            == value
        )
        with pytest.raises(OutputParserException):
            colour.invoke(MODELS[kind]("no").with_structured_output(schema, **options), "no")


@pytest.mark.parametrize("method", [None, "function_calling"])
def test_forms_come_from_the_calls_of_messages_too(colour: Any, method: str | None) -> None:
    call = {"name": "City", "args": {"name": "Bern", "people": 134}, "id": "1", "type": "tool_call"}
    said = [AIMessage("So:", tool_calls=[call])] * 4 + [AIMessage("No.")] * 2
    model = GenericFakeChatModel(messages=iter(said))
    chain = model.with_structured_output(City, **({} if method is None else {"method": method}))
    assert colour.invoke(chain, "q") == City(name="Bern", people=134)
    assert colour.stream(chain, "q")[-1] == City(name="Bern", people=134)
    both = colour.invoke(model.with_structured_output(City, include_raw=True), "q")
    assert (both["parsed"], both["raw"].text) == (City(name="Bern", people=134), "So:")
    assert colour.invoke(model.with_structured_output(City, retries=1), "q") == City(
        name="Bern", people=134
    )
    with pytest.raises(OutputParserException) as caught:
        colour.invoke(chain, "q")
    assert isinstance(caught.value.raw_message, AIMessage)
    assert (
        colour.invoke(model.with_structured_output(City, include_raw=True), "q")["parsing_error"]
        is not None
    )


def test_a_fake_of_ones_own_keeps_its_bind_tools() -> None:
    class Mine(GenericFakeChatModel):
        def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
            return self

    assert (
        Mine(messages=iter(['{"name": "a", "people": 1}']))
        .with_structured_output(City)
        .invoke("q")
        .people
        == 1
    )
