from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwire.errors import InvalidArgument
from modelwire.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    count_tokens_approximately,
    tool_call,
)

CALL = tool_call(name="f", args={"a": "b"}, id="1")
CALL_CHARS = len(repr([CALL]))


def in_tokens(chars: int) -> int:
    return -(-chars // 4) + 3


@pytest.mark.parametrize(
    ("message", "tokens"),
    [
        (HumanMessage(""), in_tokens(len("user"))),
        (HumanMessage("x" * 9, name="ann"), in_tokens(9 + len("user") + 3)),
        (
            HumanMessage(["x" * 9, {"type": "text", "text": "yy", "cache_control": {}}]),
            in_tokens(11 + len("user")),
        ),
        (HumanMessage([{"own": 1}]), in_tokens(len("{'own': 1}") + len("user"))),
        (HumanMessage([{"type": "image", "base64": "x" * 999}]), in_tokens(len("user")) + 85),
        (
            HumanMessage([{"type": "image_url", "image_url": {"url": "u"}}] * 2),
            in_tokens(len("user")) + 170,
        ),
        (
            SystemMessage("x", additional_kwargs={"__openai_role__": "developer"}),
            in_tokens(1 + len("developer")),
        ),
        (ToolMessage("x", tool_call_id="12345"), in_tokens(1 + len("tool") + 5)),
        (ChatMessage("x", role="owl"), in_tokens(1 + 3)),
        (AIMessage("x", tool_calls=[CALL]), in_tokens(1 + len("assistant") + CALL_CHARS)),
        (AIMessage([], tool_calls=[CALL]), in_tokens(len("assistant") + CALL_CHARS)),
        (
            AIMessage([{"type": "tool_use", "id": "1"}], tool_calls=[CALL]),
            in_tokens(len("{'type': 'tool_use', 'id': '1'}") + len("assistant")),
        ),
    ],
)
def test_a_message_counts_its_characters_role_name_and_calls(
    message: BaseMessage, tokens: int
) -> None:
    assert count_tokens_approximately([message]) == tokens


@given(st.lists(st.text(max_size=20), max_size=6), st.lists(st.text(max_size=20), max_size=6))
def test_counts_of_parts_add_up(first: list[str], second: list[str]) -> None:
    parts = count_tokens_approximately(first) + count_tokens_approximately(second)
    assert count_tokens_approximately([*first, *second]) == parts


def test_what_a_token_and_a_message_take_may_be_set() -> None:
    hello = [HumanMessage("Hello", name="ann")]
    assert count_tokens_approximately(hello, chars_per_token=3) == 4 + 3
    assert count_tokens_approximately(hello, extra_tokens_per_message=0, count_name=False) == 3
    assert count_tokens_approximately([*hello, *hello], extra_tokens_per_message=0.25) == 7
    with pytest.raises(InvalidArgument, match="chars_per_token"):
        count_tokens_approximately(hello, chars_per_token=0)


def test_one_text_is_one_message() -> None:
    assert count_tokens_approximately("hello") == count_tokens_approximately(
        [HumanMessage("hello")]
    )
    assert count_tokens_approximately([]) == 0


def test_tools_count_by_their_schema() -> None:
    schema = {
        "type": "function",
        "function": {"name": "f", "parameters": {"type": "object", "properties": {}}},
    }
    assert count_tokens_approximately([], tools=[schema]) == -(-len(json.dumps(schema)) // 4)


def answer(tokens: int, provider: str | None = "p") -> AIMessage:
    usage: Any = {"input_tokens": tokens - 1, "output_tokens": 1, "total_tokens": tokens}
    metadata = {} if provider is None else {"model_provider": provider}
    return AIMessage("x" * 39, usage_metadata=usage, response_metadata=metadata)


@pytest.mark.parametrize(
    ("history", "scaled"),
    [
        ([HumanMessage("y" * 396), answer(126)], 126),
        ([HumanMessage("y" * 392), answer(132), HumanMessage("y" * 4)], 138),  # 122 * 132 / 117
        ([HumanMessage("y" * 392), answer(9_000)], 147),  # a quarter more than 117, at most
        ([HumanMessage("y" * 392), answer(50)], 117),  # never fewer
        ([HumanMessage("y" * 392), answer(132, None)], 117),
        ([answer(20, "p"), answer(20, "q")], 30),
        ([HumanMessage("y" * 392)], 102),
    ],
)
def test_a_reported_usage_scales_the_estimate_upwards(
    history: list[BaseMessage], scaled: int
) -> None:
    estimate = count_tokens_approximately(history)
    counted = count_tokens_approximately(history, use_usage_metadata_scaling=True)
    assert counted == scaled
    assert estimate <= counted <= -(-estimate * 5 // 4)
