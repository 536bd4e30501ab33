"""One history, said as Anthropic's wire needs it."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.anthropic_wire import THINKING, USE, text

from modelwire.adapters.wires.anthropic.messages import turns_from_messages
from modelwire.errors import InvalidArgument, InvalidType
from modelwire.messages import (
    AIMessage,
    AIMessageChunk,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    HumanMessageChunk,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
    convert_to_messages,
)

CALL = {"name": "weather", "args": {"city": "Zürich"}, "id": "toolu_1", "type": "tool_call"}
BAD_CALL = {
    "name": "weather",
    "args": '{"city',
    "id": "toolu_1",
    "error": "cut off",
    "type": "invalid_tool_call",
}


def turns(*messages: Any, system_turns: bool = False) -> list[tuple[str, Any]]:
    return [
        (turn["role"], turn["content"])
        for turn in turns_from_messages(messages, system_turns=system_turns)[1]
    ]


def tagged(words: str) -> str:
    return f"<system>\n{words}\n</system>"


# ---------------------------------------------------------------- the system's words


def test_a_later_system_message_stays_in_its_place_marked() -> None:
    system, said = turns_from_messages(
        [
            SystemMessage("a"),
            HumanMessage("b"),
            AIMessage("c"),
            SystemMessage("d"),
            HumanMessage("e"),
        ]
    )
    assert system == "a"
    assert [turn["content"] for turn in said] == ["b", "c", [text(tagged("d")), text("e")]]


def test_a_model_that_takes_system_turns_gets_them_where_the_wire_allows() -> None:
    history = [
        HumanMessage("a"),
        SystemMessage("b"),
        SystemMessage([text("c")]),
        AIMessage("d"),
        HumanMessage("e"),
    ]
    assert turns(*history, system_turns=True) == [
        ("user", "a"),
        ("system", [text("b"), text("c")]),
        ("assistant", "d"),
        ("user", "e"),
    ]
    assert turns(HumanMessage("a"), SystemMessage("b"), system_turns=True)[-1] == ("system", "b")


def test_a_system_turn_elsewhere_is_said_by_the_user_whatever_the_model() -> None:
    assert turns(HumanMessage("a"), SystemMessage("b"), HumanMessage("c"), system_turns=True) == [
        ("user", [text("a"), text(tagged("b")), text("c")])
    ]
    assert turns(HumanMessage("a"), AIMessage("b"), SystemMessage("c"), system_turns=True)[-1] == (
        "user",
        [text(tagged("c"))],
    )


def test_a_system_message_between_a_call_and_its_result_comes_after_the_result() -> None:
    said = turns(
        HumanMessage("a"),
        AIMessage("", tool_calls=[CALL]),
        SystemMessage("b"),
        ToolMessage("sunny", tool_call_id="toolu_1"),
    )
    assert [block["type"] for block in said[-1][1]] == ["tool_result", "text"]


def test_blocks_only_anthropic_knows_stay_a_system_turn() -> None:
    addition = {"type": "tool_addition", "tool": {"type": "tool_reference", "name": "f"}}
    assert turns(HumanMessage("a"), SystemMessage([addition])) == [
        ("user", "a"),
        ("system", [addition]),
    ]


def test_system_messages_alone_are_said_by_the_user() -> None:
    assert turns_from_messages([SystemMessage("a"), SystemMessage("b")]) == (
        "",
        [{"role": "user", "content": "a\n\nb"}],
    )


def test_a_system_message_takes_no_image() -> None:
    with pytest.raises(InvalidArgument, match="`image`"):
        turns(SystemMessage([{"type": "image", "url": "https://example.com/x"}]), HumanMessage("a"))


# ---------------------------------------------------------------- answers of others


def test_an_answer_of_openai_is_said_without_its_reasoning() -> None:
    answer = AIMessage(
        "b",
        tool_calls=[{**CALL, "id": "call_1"}],
        additional_kwargs={"reasoning_content": "hm"},
        response_metadata={"model_provider": "openai"},
    )
    said = turns(HumanMessage("a"), answer, ToolMessage("sunny", tool_call_id="call_1"))
    assert said[1] == ("assistant", [text("b"), {**USE, "id": "call_1"}])


def test_blocks_of_other_wires_that_this_one_has_no_words_for_are_left_out() -> None:
    content = [
        {"type": "reasoning", "summary": [], "encrypted_content": "x"},
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
        {"type": "function_call", "call_id": "toolu_1", "name": "weather", "arguments": "{}"},
        {"type": "web_search_call", "id": "ws_1"},
        {"type": "output_text", "text": "b", "annotations": []},
        {"type": "text", "text": "c", "citations": [{"cited_text": "theirs"}]},
        {"type": "refusal", "refusal": "no"},
    ]
    answer = AIMessage(content, response_metadata={"model_provider": "openai"})
    assert turns(HumanMessage("a"), answer, HumanMessage("d"))[1] == (
        "assistant",
        [text("b"), text("c"), text("no")],
    )


def test_unknown_blocks_of_our_own_wire_return_as_they_came() -> None:
    block = {"type": "brand_new", "value": 1}
    answer = AIMessage([{**block, "index": 0}], response_metadata={"model_provider": "anthropic"})
    assert turns(HumanMessage("a"), answer, HumanMessage("b"))[1] == ("assistant", [block])


def test_standard_blocks_of_server_tools_are_said_as_they_came() -> None:
    content = [
        {
            "type": "server_tool_call",
            "id": "srv",
            "name": "code_interpreter",
            "args": {"code": "1"},
        },
        {
            "type": "server_tool_result",
            "tool_call_id": "srv",
            "output": {"stdout": ""},
            "extras": {"block_type": "code_execution_tool_result"},
        },
        {"type": "non_standard", "value": {"type": "compaction", "content": "x"}},
        {"type": "tool_call", "id": "toolu_1", "name": "weather", "args": {"city": "Zürich"}},
    ]
    assert turns(HumanMessage("a"), AIMessage(content), HumanMessage("b"))[1][1] == [
        {"type": "server_tool_use", "id": "srv", "name": "code_execution", "input": {"code": "1"}},
        {"type": "code_execution_tool_result", "tool_use_id": "srv", "content": {"stdout": ""}},
        {"type": "compaction", "content": "x"},
        USE,
    ]


# ---------------------------------------------------------------- tool calls


def test_changed_arguments_win_over_the_block_which_keeps_its_other_fields() -> None:
    block = {**USE, "caller": {"type": "direct"}, "index": 1, "partial_json": "{}"}
    answer = AIMessage([block], tool_calls=[{**CALL, "args": {"city": "Bern"}}])
    assert turns(HumanMessage("a"), answer, HumanMessage("b"))[1][1] == [
        {**USE, "input": {"city": "Bern"}, "caller": {"type": "direct"}}
    ]


def test_a_call_that_did_not_parse_is_said_only_with_its_answer() -> None:
    for content in ("b", [text("b"), {**USE, "input": {}}]):
        answer = AIMessage(content, invalid_tool_calls=[BAD_CALL])
        result = ToolMessage("bad JSON", tool_call_id="toolu_1", status="error")
        assert turns(HumanMessage("a"), answer, HumanMessage("c"))[1][1] in ("b", [text("b")])
        assert turns(HumanMessage("a"), answer, result)[1][1] == [text("b"), {**USE, "input": {}}]


def test_ids_the_wire_refuses_are_replaced_alike_in_call_and_result() -> None:
    calls = [{**CALL, "id": "functions.weather:0"}, {**CALL, "id": "functions.weather.0"}]
    results = [ToolMessage(str(n), tool_call_id=call["id"]) for n, call in enumerate(calls)]
    said = turns(HumanMessage("a"), AIMessage("", tool_calls=calls), *results)
    ids = [block["id"] for block in said[1][1]]
    assert ids == [block["tool_use_id"] for block in said[2][1]]
    assert len(set(ids)) == 2
    assert all(id.replace("_", "").isalnum() for id in ids)


def test_a_result_may_be_empty_or_any_json() -> None:
    said = turns(
        HumanMessage("a"),
        AIMessage("", tool_calls=[CALL]),
        ToolMessage("", tool_call_id="toolu_1"),
        ToolMessage([{"rows": [1, 2]}, "b", {"type": "dog"}], tool_call_id="toolu_1"),
    )
    assert said[2][1] == [
        {"type": "tool_result", "tool_use_id": "toolu_1"},
        {
            "type": "tool_result",
            "tool_use_id": "toolu_1",
            "content": [text('{"rows":[1,2]}'), text("b"), text('{"type":"dog"}')],
        },
    ]


# ---------------------------------------------------------------- roles, chunks, bad input


def test_chat_messages_and_chunks_have_the_role_they_name() -> None:
    assert turns(
        ChatMessage("a", role="developer"),
        HumanMessageChunk("b"),
        ChatMessage("c", role="Assistant"),
        HumanMessage("d"),
    ) == [("user", "b"), ("assistant", "c"), ("user", "d")]
    assert turns(HumanMessage("a"), AIMessageChunk("b"), HumanMessage("c"))[1] == ("assistant", "b")


@pytest.mark.parametrize(
    "message",
    [
        ChatMessage("a", role="moderator"),
        ChatMessage("a", role="tool"),
        FunctionMessage("a", name="f"),
        RemoveMessage(id="x"),
        HumanMessage([{"type": "audio", "base64": "AA", "mime_type": "audio/wav"}]),
    ],
    ids=["role", "tool role", "function", "remove", "audio"],
)
def test_what_the_wire_cannot_say_is_refused(message: Any) -> None:
    with pytest.raises(InvalidArgument):
        turns(HumanMessage("a"), message)


def test_a_foreign_value_is_no_message() -> None:
    with pytest.raises(InvalidType, match="`str`"):
        turns_from_messages(["hello"])  # type: ignore[list-item]


@pytest.mark.parametrize(
    "messages", [[], [HumanMessage("")], [HumanMessage(" \n"), AIMessage([text("")])]]
)
def test_a_history_that_says_nothing_is_refused(messages: list[Any]) -> None:
    with pytest.raises(InvalidArgument, match="messages are empty"):
        turns_from_messages(messages)


CONTENT = st.one_of(
    st.text(" ab\n", max_size=4),
    st.lists(st.text(" ab\n", max_size=4).map(text), max_size=3),
)
MESSAGES = st.one_of(
    CONTENT.map(HumanMessage),
    CONTENT.map(AIMessage),
    CONTENT.map(SystemMessage),
    CONTENT.map(lambda content: AIMessage(content, tool_calls=[CALL])),
    CONTENT.map(lambda content: ToolMessage(content, tool_call_id="toolu_1")),
    st.just(AIMessage([THINKING, text("b")])),
)


@given(st.lists(MESSAGES, max_size=8), st.booleans())
def test_any_history_is_said_by_the_rules_of_the_wire(
    messages: list[Any], system_turns: bool
) -> None:
    before = copy.deepcopy(messages)
    try:
        _, said = turns_from_messages(messages, system_turns=system_turns)
    except InvalidArgument:
        said = []
    assert messages == before
    roles = [turn["role"] for turn in said]
    assert all(left != right for left, right in pairwise(roles))
    assert "system" not in roles or system_turns
    for turn in said:
        blocks = [text(turn["content"])] if isinstance(turn["content"], str) else turn["content"]
        assert blocks
        assert all(block["text"].strip() for block in blocks if block["type"] == "text")
        kinds = [block["type"] != "tool_result" for block in blocks]
        assert kinds == sorted(kinds)
    if said and roles[-1] == "assistant":
        last = (
            said[-1]["content"]
            if isinstance(said[-1]["content"], str)
            else said[-1]["content"][-1].get("text", "")
        )
        assert last == last.rstrip()


def test_a_tool_message_of_tool_results_is_said_as_it_is() -> None:
    result = {
        "type": "tool_result",
        "tool_use_id": "toolu_1",
        "content": "r",
        "toolset_name": "browser",
    }
    messages = [HumanMessage("a"), ToolMessage([result], tool_call_id="toolu_1")]
    assert turns_from_messages(messages)[1] == [
        {"role": "user", "content": [result, {"type": "text", "text": "a"}]}
    ]


@pytest.mark.parametrize("form", ["message", "dict"])
def test_a_tool_message_names_the_toolset_of_its_call(form: str) -> None:
    fields: dict[str, Any] = {"content": "r", "tool_call_id": "toolu_1"}
    answer: Any = ToolMessage(**fields, additional_kwargs={"toolset_name": "browser"})
    if form == "dict":
        (answer,) = convert_to_messages([{"role": "tool", **fields, "toolset_name": "browser"}])
    turns = turns_from_messages([HumanMessage("a"), answer])[1]
    assert turns[0]["content"][0] == {
        "type": "tool_result",
        "tool_use_id": "toolu_1",
        "content": "r",
        "toolset_name": "browser",
    }
