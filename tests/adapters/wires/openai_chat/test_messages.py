from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from modelwire.adapters.wires.openai_chat.messages import OPENAI, Dialect, turns_from_messages
from modelwire.errors import InvalidArgument, InvalidType
from modelwire.messages import (
    AIMessage,
    AIMessageChunk,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)

CALL = {"name": "f", "args": {"a": "é"}, "id": "c1", "type": "tool_call"}
WIRE_CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":"é"}'}}


def turn(message: Any, dialect: Dialect = OPENAI) -> dict[str, Any]:
    (said,) = turns_from_messages([message], dialect)
    return said


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (SystemMessage("be kind"), {"role": "system", "content": "be kind"}),
        (
            SystemMessage([{"type": "text", "text": "a"}]),
            {"role": "system", "content": [{"type": "text", "text": "a"}]},
        ),
        (
            SystemMessage("x", additional_kwargs={"__openai_role__": "developer"}),
            {"role": "developer", "content": "x"},
        ),
        (HumanMessage(""), {"role": "user", "content": ""}),
        (HumanMessage([]), {"role": "user", "content": ""}),
        (HumanMessage("hi", name="ann"), {"role": "user", "content": "hi", "name": "ann"}),
        (HumanMessage(["a"]), {"role": "user", "content": [{"type": "text", "text": "a"}]}),
        (AIMessage("hi"), {"role": "assistant", "content": "hi"}),
        (AIMessage(""), {"role": "assistant", "content": ""}),
        (AIMessage("hi", name="bot"), {"role": "assistant", "content": "hi", "name": "bot"}),
        (
            AIMessage("", tool_calls=[CALL]),
            {"role": "assistant", "content": None, "tool_calls": [WIRE_CALL]},
        ),
        (
            AIMessage("so", tool_calls=[CALL]),
            {"role": "assistant", "content": "so", "tool_calls": [WIRE_CALL]},
        ),
        (
            AIMessage(
                "",
                invalid_tool_calls=[
                    {
                        "name": "f",
                        "args": '{"a',
                        "id": "c2",
                        "error": "x",
                        "type": "invalid_tool_call",
                    }
                ],
            ),
            {"role": "assistant", "content": ""},  # no result answers the cut call
        ),
        (
            AIMessage("", additional_kwargs={"refusal": "no"}),
            {"role": "assistant", "content": None, "refusal": "no"},
        ),
        (
            AIMessage("", additional_kwargs={"audio": {"id": "audio_1", "data": "long"}}),
            {"role": "assistant", "content": None, "audio": {"id": "audio_1"}},
        ),
        (
            AIMessage("", additional_kwargs={"function_call": {"name": "f", "arguments": "{}"}}),
            {
                "role": "assistant",
                "content": None,
                "function_call": {"name": "f", "arguments": "{}"},
            },
        ),
        (
            AIMessage([{"type": "text", "text": "a"}, {"type": "refusal", "refusal": "b"}]),
            {
                "role": "assistant",
                "content": [{"type": "text", "text": "a"}, {"type": "refusal", "refusal": "b"}],
            },
        ),
        (
            ToolMessage("42", tool_call_id="c1"),
            {"role": "tool", "tool_call_id": "c1", "content": "42"},
        ),
        (ToolMessage("", tool_call_id="c1"), {"role": "tool", "tool_call_id": "c1", "content": ""}),
        (
            ToolMessage([{"type": "text", "text": "4"}, "2"], tool_call_id="c1"),
            {
                "role": "tool",
                "tool_call_id": "c1",
                "content": [{"type": "text", "text": "4"}, {"type": "text", "text": "2"}],
            },
        ),
        (FunctionMessage("42", name="f"), {"role": "function", "name": "f", "content": "42"}),
        (ChatMessage("x", role="critic"), {"role": "critic", "content": "x"}),
        (AIMessageChunk("hi"), {"role": "assistant", "content": "hi"}),
    ],
)
def test_each_message_is_one_turn_of_its_role(message: Any, said: dict[str, Any]) -> None:
    assert turn(message) == said


def test_order_repeated_roles_and_a_late_system_message_stay_as_they_are() -> None:
    messages = [
        HumanMessage("a"),
        HumanMessage("b"),
        SystemMessage("c"),
        AIMessage("d"),
        AIMessage("e"),
    ]
    assert [(t["role"], t["content"]) for t in turns_from_messages(messages, OPENAI)] == [
        ("user", "a"),
        ("user", "b"),
        ("system", "c"),
        ("assistant", "d"),
        ("assistant", "e"),
    ]


def test_a_history_from_anthropic_is_sayable() -> None:
    thought = {"type": "thinking", "thinking": "hm", "signature": "s"}
    used = {"type": "tool_use", "id": "c1", "name": "f", "input": {"a": "é"}}
    messages = [
        HumanMessage([{"type": "text", "text": "look", "cache_control": {"type": "ephemeral"}}]),
        AIMessage([thought, {"type": "text", "text": "I ask"}, used], tool_calls=[CALL]),
        HumanMessage(
            [
                {
                    "type": "tool_result",
                    "tool_use_id": "c1",
                    "content": [{"type": "text", "text": "42"}],
                },
                {"type": "text", "text": "and now?"},
            ]
        ),
        AIMessage(
            [
                {"type": "redacted_thinking", "data": "x"},
                {"type": "text", "text": "So", "citations": []},
            ]
        ),
        AIMessage([thought]),
        AIMessage([{**used, "id": "c2"}]),
        HumanMessage([{"type": "tool_result", "tool_use_id": "c2"}]),
        AIMessage(
            [
                {"type": "server_tool_use", "id": "s"},
                {"type": "web_search_tool_result", "content": []},
                "a",
            ]
        ),
    ]
    assert turns_from_messages(messages, OPENAI) == [
        {"role": "user", "content": [{"type": "text", "text": "look"}]},
        {"role": "assistant", "content": "I ask", "tool_calls": [WIRE_CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "42"}]},
        {"role": "user", "content": [{"type": "text", "text": "and now?"}]},
        {"role": "assistant", "content": "So"},
        {"role": "assistant", "content": ""},
        {"role": "assistant", "content": None, "tool_calls": [{**WIRE_CALL, "id": "c2"}]},
        {"role": "tool", "tool_call_id": "c2", "content": ""},
        {"role": "assistant", "content": "a"},
    ]


def test_what_a_service_wants_back_is_sent_back_only_to_it() -> None:
    message = AIMessage(
        "hi", additional_kwargs={"reasoning_content": "hm", "reasoning_details": [{"data": "x"}]}
    )
    assert turn(message) == {"role": "assistant", "content": "hi"}
    assert turn(message, Dialect(replayed=("reasoning_content",)))["reasoning_content"] == "hm"


def test_a_foreign_message_and_a_remove_message_are_refused_by_position() -> None:
    with pytest.raises(InvalidType, match="Message 1 is a `dict`"):
        turns_from_messages([HumanMessage("a"), {"role": "user", "content": "b"}], OPENAI)  # type: ignore[list-item]
    with pytest.raises(InvalidType, match="SimpleNamespace"):
        turn(SimpleNamespace(type="robot", content="x"))
    with pytest.raises(InvalidArgument, match="RemoveMessage"):
        turn(RemoveMessage(id="1"))


def test_tool_arguments_that_are_no_json_are_refused_before_any_request() -> None:
    with pytest.raises(InvalidArgument, match="Message 0: the arguments"):
        turn(AIMessage("", tool_calls=[{**CALL, "args": {"a": object()}}]))


def test_an_image_in_a_tool_result_is_refused_with_the_way_out() -> None:
    block = {"type": "image_url", "image_url": {"url": "https://x/y.png"}}
    with pytest.raises(InvalidArgument, match="human message after the tool result"):
        turn(ToolMessage([block], tool_call_id="c1"))
