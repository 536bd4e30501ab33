from __future__ import annotations

from typing import Any

import pytest

from modelwire.errors import InvalidArgument, InvalidType
from modelwire.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
    filter_messages,
    merge_message_runs,
    tool_call,
    tool_call_chunk,
    utils,
)
from modelwire.prompt_values import ChatPromptValue

ONE, TWO = tool_call(name="f", args={}, id="1"), tool_call(name="g", args={}, id="2")
HISTORY: list[BaseMessage] = [
    SystemMessage("s", id="s"),
    HumanMessage("h", id="h", name="ann"),
    AIMessage("a", id="a"),
    AIMessage(
        [{"type": "text", "text": "t"}, {"type": "tool_use", "id": "1"}],
        id="c",
        tool_calls=[ONE, TWO],
    ),
    ToolMessage("r", tool_call_id="1", id="r1"),
    ToolMessage("r", tool_call_id="2", id="r2"),
]


def ids(messages: list[BaseMessage]) -> str:
    return " ".join(str(message.id) for message in messages)


@pytest.mark.parametrize(
    ("filters", "kept"),
    [
        ({}, "s h a c r1 r2"),
        ({"include_types": "human"}, "h"),
        ({"include_types": [HumanMessage, "system"]}, "s h"),
        ({"include_types": ["AIMessage"]}, "a c"),
        ({"exclude_types": (AIMessage, ToolMessage)}, "s h"),
        ({"include_names": ["ann"], "include_ids": ["a"]}, "h a"),
        ({"include_ids": ["h", "a"], "exclude_names": ["ann"]}, "a"),
        ({"exclude_ids": ["s", "c"]}, "h a r1 r2"),
        ({"exclude_tool_calls": True}, "s h a"),
        ({"exclude_tool_calls": False}, "s h a c r1 r2"),
        ({"exclude_tool_calls": ["1", "2"]}, "s h a"),
        ({"exclude_tool_calls": ["1"]}, "s h a c r2"),
        ({"exclude_tool_calls": ["9"]}, "s h a c r1 r2"),
        ({"exclude_tool_calls": ["1"], "include_types": "tool"}, "r2"),
    ],
)
def test_filters_keep_what_is_included_and_not_excluded(filters: dict[str, Any], kept: str) -> None:
    before = [message.model_copy(deep=True) for message in HISTORY]
    assert ids(filter_messages(HISTORY, **filters)) == kept
    assert ids(filter_messages(**filters).invoke(HISTORY)) == kept
    assert before == HISTORY


def test_an_answer_keeps_the_calls_that_are_not_excluded() -> None:
    (answer,) = filter_messages([HISTORY[3]], exclude_tool_calls=["1"])
    assert isinstance(answer, AIMessage)
    assert answer.tool_calls == [TWO]
    assert answer.content == [{"type": "text", "text": "t"}]


def test_a_part_of_an_answer_keeps_the_calls_that_are_not_excluded() -> None:
    chunk = AIMessageChunk(
        "", tool_call_chunks=[tool_call_chunk(name=n, args="{}", id=n, index=0) for n in "xy"]
    )
    (left,) = filter_messages([chunk], exclude_tool_calls=["x"], include_types="ai")
    assert isinstance(left, AIMessageChunk)
    assert [call["id"] for call in left.tool_calls] == ["y"]
    assert [call["id"] for call in left.tool_call_chunks] == ["y"]


def test_a_type_nobody_knows_is_an_error_and_not_an_empty_history() -> None:
    with pytest.raises(
        InvalidArgument, match=r"`humman` is not a type of message\. Did you mean `human`"
    ):
        filter_messages(HISTORY, include_types=["humman"])
    with pytest.raises(InvalidType, match="include_types"):
        filter_messages(HISTORY, include_types=[int])  # type: ignore[list-item]
    assert filter_messages(HISTORY, include_types="function") == []


@pytest.mark.parametrize(
    ("messages", "merged"),
    [
        ([], []),
        ([HumanMessage("a"), HumanMessage(""), HumanMessage("b")], [HumanMessage("a\nb")]),
        ([HumanMessage("a", id="1"), HumanMessage("b", id="2")], [HumanMessage("a\nb", id="1")]),
        (
            [HumanMessage("a", name="x"), HumanMessage("b", name="x")],
            [HumanMessage("a\nb", name="x")],
        ),
        ([HumanMessage("a", name="x"), HumanMessage("b", name="y")], [HumanMessage("a\nb")]),
        (
            [HumanMessage("a"), AIMessage("b"), HumanMessage("c")],
            [HumanMessage("a"), AIMessage("b"), HumanMessage("c")],
        ),
        (
            [
                HumanMessage("a"),
                HumanMessage([{"type": "image", "url": "u"}]),
                HumanMessage("b"),
                HumanMessage("c"),
            ],
            [HumanMessage(["a", {"type": "image", "url": "u"}, "b\nc"])],
        ),
        (
            [HumanMessage([{"type": "text", "text": "a", "index": 0}])] * 2,
            [HumanMessage([{"type": "text", "text": "a", "index": 0}] * 2)],
        ),
        ([AIMessage("a"), AIMessageChunk("b")], [AIMessage("a\nb")]),
        ([ToolMessage("a", tool_call_id="1")] * 2, [ToolMessage("a", tool_call_id="1")] * 2),
        ([ChatMessage("a", role="x"), ChatMessage("b", role="x")], [ChatMessage("a\nb", role="x")]),
        (
            [ChatMessage("a", role="x"), ChatMessage("b", role="y")],
            [ChatMessage("a", role="x"), ChatMessage("b", role="y")],
        ),
        (
            [FunctionMessage("a", name="x"), FunctionMessage("b", name="y")],
            [FunctionMessage("a", name="x"), FunctionMessage("b", name="y")],
        ),
        ([RemoveMessage("1"), RemoveMessage("2")], [RemoveMessage("1"), RemoveMessage("2")]),
    ],
)
def test_neighbours_of_one_class_become_one(
    messages: list[BaseMessage], merged: list[BaseMessage]
) -> None:
    before = [message.model_copy(deep=True) for message in messages]
    assert merge_message_runs(messages) == merged
    assert merge_message_runs().invoke(messages) == merged
    assert messages == before


def test_joined_answers_have_the_calls_and_the_usage_of_all_and_the_metadata_of_the_first() -> None:
    usage: Any = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
    first = AIMessage(
        "a", tool_calls=[ONE], usage_metadata=usage, response_metadata={"model_name": "m"}
    )
    second = AIMessage(
        "b", tool_calls=[TWO], usage_metadata=usage, response_metadata={"model_name": "m"}
    )
    (joined,) = merge_message_runs([first, second, AIMessage("c")], chunk_separator=" ")
    assert isinstance(joined, AIMessage)
    assert joined.content == "a b c"
    assert joined.tool_calls == [ONE, TWO]
    assert joined.usage_metadata == {"input_tokens": 2, "output_tokens": 4, "total_tokens": 6}
    assert joined.response_metadata == {"model_name": "m"}


def test_a_history_may_be_whatever_says_messages() -> None:
    assert merge_message_runs(["a", ("human", "b")]) == [HumanMessage("a\nb")]
    assert merge_message_runs(ChatPromptValue(messages=[HumanMessage("a")])) == [HumanMessage("a")]


def test_without_messages_it_is_a_step_of_a_chain_with_its_name() -> None:
    chain = merge_message_runs() | filter_messages(include_types="human")
    assert chain.invoke([("human", "a"), ("human", "b"), ("ai", "c")]) == [HumanMessage("a\nb")]
    assert filter_messages().name == "filter_messages"


def test_the_old_path_has_the_same_functions() -> None:
    assert utils.filter_messages is filter_messages
    assert set(utils.__all__) >= {
        "trim_messages",
        "convert_to_openai_messages",
        "count_tokens_approximately",
    }


def test_the_block_of_an_excluded_call_goes_where_the_calls_do_not_name_it() -> None:
    blocks: list[Any] = [
        {"type": "text", "text": "x"},
        {"type": "tool_use", "id": "1", "name": "f", "input": {}},
    ]
    answer = AIMessage(blocks, tool_calls=[tool_call(name="g", args={}, id="0")])
    (left,) = filter_messages([answer], exclude_tool_calls=["1"])
    assert left.content == blocks[:1]
    assert isinstance(left, AIMessage)
    assert left.tool_calls == answer.tool_calls
    assert filter_messages([answer], exclude_tool_calls=["2"])[0] is answer
