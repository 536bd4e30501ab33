"""`RunnableWithMessageHistory`: earlier messages go in, new ones are kept, for each conversation on its own."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest

from modelwire.chat_history import InMemoryChatMessageHistory
from modelwire.errors import InvalidArgument, InvalidType
from modelwire.messages import AIMessage, AIMessageChunk, HumanMessage
from modelwire.runnables import (
    AddableDict,
    ConfigurableFieldSpec,
    RunnableGenerator,
    RunnableLambda,
)
from modelwire.runnables.history import RunnableWithMessageHistory


@pytest.fixture
def stores() -> Any:
    return defaultdict(InMemoryChatMessageHistory)


def session(name: str = "s") -> Any:
    return {"configurable": {"session_id": name}}


def said(store: Any) -> list[str]:
    return [f"{message.type}: {message.content}" for message in store.messages]


def test_each_conversation_grows_on_its_own(colour: Any, stores: Any) -> None:
    chain = RunnableWithMessageHistory(
        lambda messages: AIMessage(content=f"{len(messages)} so far"), stores.__getitem__
    )
    assert colour.invoke(chain, "one", session("a")).content == "1 so far"
    assert colour.invoke(chain, [HumanMessage("two")], session("a")).content == "3 so far"
    assert colour.invoke(chain, HumanMessage("x"), session("b")).content == "1 so far"
    assert said(stores["a"]) == ["human: one", "ai: 1 so far", "human: two", "ai: 3 so far"]


def test_the_history_stands_under_its_key(colour: Any, stores: Any) -> None:
    chain = RunnableWithMessageHistory(
        lambda x: {"answer": f"{x['question']} after {len(x['history'])}", "more": 1},
        stores.__getitem__,
        input_messages_key="question",
        history_messages_key="history",
        output_messages_key="answer",
    )
    given = {"question": "why", "other": 1}
    assert colour.invoke(chain, given, session())["answer"] == "why after 0"
    assert colour.invoke(chain, given, session())["answer"] == "why after 2"
    assert given == {"question": "why", "other": 1}
    assert said(stores["s"]) == ["human: why", "ai: why after 0", "human: why", "ai: why after 2"]


def test_new_messages_follow_the_earlier_ones_under_one_key(colour: Any, stores: Any) -> None:
    seen: list[int] = []
    chain = RunnableWithMessageHistory(
        RunnableLambda(lambda x: seen.append(len(x["messages"])) or "ok"),
        stores.__getitem__,
        input_messages_key="messages",
    )
    for _ in range(2):
        assert (
            colour.invoke(chain, {"messages": [HumanMessage("hi")], "other": 1}, session()) == "ok"
        )
    assert seen == [1, 3]


def test_a_stream_is_kept_as_one_message_once_it_is_complete(colour: Any, stores: Any) -> None:
    def chunks(items: Any) -> Any:
        yield AIMessageChunk(content="he")
        yield AIMessageChunk(content="llo")

    async def achunks(items: Any) -> Any:
        for chunk in chunks(items):
            yield chunk

    chain = RunnableWithMessageHistory(RunnableGenerator(chunks, achunks), stores.__getitem__)
    assert [chunk.content for chunk in colour.stream(chain, "hi", session())] == ["he", "llo"]
    assert said(stores["s"]) == ["human: hi", "ai: hello"]
    stream = chain.stream("again", session())
    next(stream)
    stream.close()
    assert len(stores["s"].messages) == 2


def test_a_call_that_fails_adds_nothing(colour: Any, stores: Any) -> None:
    chain = RunnableWithMessageHistory(lambda x: 1 / 0, stores.__getitem__)
    with pytest.raises(ZeroDivisionError):
        colour.invoke(chain, "hi", session())
    assert stores["s"].messages == []


def test_several_keys_may_name_a_conversation(colour: Any, stores: Any) -> None:
    specs = [ConfigurableFieldSpec(id=name, annotation=str) for name in ("user", "topic")]
    chain = RunnableWithMessageHistory(
        lambda messages: "ok",
        lambda user, topic: stores[(user, topic)],
        history_factory_config=specs,
    )
    colour.invoke(chain, "hi", {"configurable": {"topic": "t", "user": "u"}})
    assert list(stores) == [("u", "t")]
    assert [spec.id for spec in chain.config_specs] == ["topic", "user"]


def test_what_is_missing_or_wrong_is_named(colour: Any, stores: Any) -> None:
    chain = RunnableWithMessageHistory(lambda messages: "ok", stores.__getitem__)
    with pytest.raises(InvalidArgument, match=r"Missing keys \['session_id'\]"):
        colour.invoke(chain, "hi")
    with pytest.raises(InvalidType, match="not a `int`"):
        colour.invoke(chain, 3, session())
    with pytest.raises(
        InvalidArgument, match=r"the keys are `a`, `b`\. Name one with `input_messages_key`"
    ):
        colour.invoke(chain, {"a": 1, "b": 2}, session())
    with pytest.raises(InvalidType, match="`get_session_history` must be a function"):
        RunnableWithMessageHistory(chain, stores)
    keyed = RunnableWithMessageHistory(lambda x: "ok", stores.__getitem__, history_messages_key="h")
    with pytest.raises(InvalidType, match="the input must be a dict"):
        colour.invoke(keyed, "hi", session())


def test_a_stream_of_values_that_do_not_add_is_kept(colour: Any, stores: Any) -> None:
    def growing(_: Any) -> Any:
        yield AddableDict(output="well", seen={"n": 1})
        yield AddableDict(seen={"n": 2})

    async def agrowing(_: Any) -> Any:
        for chunk in growing(_):
            yield chunk

    chain = RunnableWithMessageHistory(RunnableGenerator(growing, agrowing), stores.__getitem__)
    colour.stream(chain, "hi", session())
    assert said(stores["s"]) == ["human: hi", "ai: well"]
