"""Fake models: what they answer, in which order, and how they take an answer apart."""

from itertools import cycle
from typing import Any

import pytest

from modelwire.callbacks import BaseCallbackHandler
from modelwire.errors import InvalidArgument
from modelwire.messages import AIMessage, HumanMessage
from modelwire.testing import (
    FakeChatModel,
    FakeListChatModel,
    FakeListChatModelError,
    FakeMessagesListChatModel,
    GenericFakeChatModel,
    ParrotFakeChatModel,
)

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

    async def sleep(seconds: float) -> None:
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
    message = AIMessage("", additional_kwargs={"a": 1, "function_call": {"name": "f", "arguments": '{"x":1,"y":2}'}})
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
        AIMessage("one two", id="own", name="n", response_metadata={"model_name": "m"}, usage_metadata=USAGE),
        AIMessage("see", tool_calls=[{"name": "t", "args": {"a": [1, "ü"]}, "id": "1"}] * 2),
        AIMessage([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]),
    ],
)
def test_the_chunks_of_a_message_add_up_to_it(colour: Any, message: AIMessage) -> None:
    total = whole(colour.stream(GenericFakeChatModel(messages=iter([message])), "q"))
    assert str(total.text) == str(message.text)
    for field in ("tool_calls", "usage_metadata", "response_metadata", "name"):
        assert getattr(total, field) == getattr(message, field)
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
