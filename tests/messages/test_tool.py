from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from modelwire.errors import InvalidArgument
from modelwire.messages import ToolMessage, ToolMessageChunk
from modelwire.messages.tool import (
    default_tool_chunk_parser,
    default_tool_parser,
    tool_call,
    tool_call_chunk,
)


@pytest.mark.parametrize(
    ("result", "content"),
    [
        ("text", "text"),
        (3, "3"),
        (None, "None"),
        ({"a": 1}, "{'a': 1}"),
        ([1, {"a": 2}, "s"], ["1", {"a": 2}, "s"]),
        (("a",), ["a"]),
    ],
)
def test_any_result_of_a_tool_is_content(result: Any, content: Any) -> None:
    assert ToolMessage(content=result, tool_call_id="1").content == content


@pytest.mark.parametrize(
    ("given", "read"), [(1, "1"), (1.5, "1.5"), (UUID(int=0), str(UUID(int=0))), ("", "")]
)
def test_tool_call_id_is_read_as_text(given: Any, read: str) -> None:
    assert ToolMessage("x", tool_call_id=given).tool_call_id == read


def test_a_tool_message_without_tool_call_id_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="tool_call_id"):
        ToolMessage("x")


def test_an_unknown_status_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="status"):
        ToolMessage("x", tool_call_id="1", status="half")


def test_chunks_of_one_call_add_up_and_an_error_stays() -> None:
    total = ToolMessageChunk("a", tool_call_id="1", artifact=[1]) + ToolMessageChunk(
        "b", tool_call_id="1", status="error", artifact=[2]
    )
    assert total == ToolMessageChunk("ab", tool_call_id="1", artifact=[1, 2], status="error")


def test_chunks_of_two_calls_do_not_add_up() -> None:
    with pytest.raises(ValueError, match="different tool calls"):
        ToolMessageChunk("a", tool_call_id="1") + ToolMessageChunk("b", tool_call_id="2")


def test_the_default_parser_reads_openai_tool_calls() -> None:
    raw: Any = [
        {"id": "1", "function": {"name": "f", "arguments": '{"a": "x\ny"}'}},
        {"id": "2", "function": {"name": "g", "arguments": {"b": 1}}},
        {"id": "3", "function": {"name": "h", "arguments": "[]"}},
        {"id": "4", "function": {"name": "i", "arguments": None}},
        {"id": "5", "custom": {}},
    ]
    calls, invalid = default_tool_parser(raw)
    assert calls == [
        tool_call(name="f", args={"a": "x\ny"}, id="1"),
        tool_call(name="g", args={"b": 1}, id="2"),
        tool_call(name="i", args={}, id="4"),
    ]
    assert [(call["id"], call["args"]) for call in invalid] == [("3", "[]")]


def test_the_default_chunk_parser_reads_openai_deltas() -> None:
    assert default_tool_chunk_parser(
        [{"index": 0, "function": {"arguments": "{"}}, {"id": "1"}]
    ) == [
        tool_call_chunk(args="{", index=0),
        tool_call_chunk(id="1"),
    ]
