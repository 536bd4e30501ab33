from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwire.errors import InvalidArgument
from modelwire.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    HumanMessageChunk,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
    ToolMessageChunk,
    get_buffer_string,
    tool_call,
)

CALL = tool_call(name="f", args={"a": "<é>"}, id="1")


def xml(message: BaseMessage) -> str:
    return get_buffer_string([message], format="xml")


def test_each_message_is_a_line_with_its_role() -> None:
    messages = [
        SystemMessage("s"),
        HumanMessage("x"),
        AIMessage("y", tool_calls=[CALL]),
        AIMessage("y", additional_kwargs={"function_call": {"name": "f"}}),
        ToolMessage("x", tool_call_id="1"),
        ChatMessage("x", role="r"),
        FunctionMessage("q", name="r"),
        AIMessage([{"type": "text", "text": "t"}]),
        AIMessageChunk("c"),
        HumanMessageChunk("c"),
        ToolMessageChunk("c", tool_call_id="1"),
    ]
    assert get_buffer_string(messages).split("\n") == [
        "System: s",
        "Human: x",
        f"AI: y{[CALL]}",
        "AI: y{'name': 'f'}",
        "Tool: x",
        "r: x",
        "Function: q",
        "AI: t",
        "AI: c",
        "Human: c",
        "Tool: c",
    ]
    assert get_buffer_string([]) == ""


def test_prefixes_and_separator_may_be_chosen() -> None:
    messages = [
        HumanMessage("a"),
        AIMessage("b"),
        SystemMessage("c"),
        ToolMessage("d", tool_call_id="1"),
    ]
    text = get_buffer_string(
        messages, "H", "B", system_prefix="S", tool_prefix="T", message_separator=" / "
    )
    assert text == "H: a / B: b / S: c / T: d"


@pytest.mark.parametrize("message", [RemoveMessage(id="1"), 3])
def test_what_has_no_role_is_refused(message: Any) -> None:
    with pytest.raises(InvalidArgument, match="unsupported message type"):
        get_buffer_string([message])


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="yaml"):
        get_buffer_string([], format="yaml")  # type: ignore[arg-type]


@given(
    st.text(st.characters(min_codepoint=32, exclude_categories=["Cs"])),
    st.text(st.characters(min_codepoint=32, exclude_categories=["Cs"])),
)
def test_no_content_can_fake_an_element(content: str, role: str) -> None:
    element = ET.fromstring(xml(ChatMessage(content, role=role)))
    assert (element.attrib["type"], element.text or "", list(element)) == (role, content, [])
    call_id = content[:64]  # a longer one is shortened
    element = ET.fromstring(
        xml(AIMessage(content, tool_calls=[tool_call(name=role, args={"a": content}, id=call_id)]))
    )
    assert element.find("tool_call").attrib == {"id": call_id, "name": role}  # type: ignore[union-attr]


def test_tool_calls_are_elements_beside_the_content() -> None:
    assert xml(AIMessage("y", tool_calls=[CALL])) == (
        '<message type="ai">\n  <content>y</content>\n'
        '  <tool_call id="1" name="f">{"a": "&lt;é&gt;"}</tool_call>\n</message>'
    )
    assert xml(AIMessage("", tool_calls=[tool_call(name="f", args={}, id=None)])) == (
        '<message type="ai">\n  <tool_call id="" name="f">{}</tool_call>\n</message>'
    )
    assert '<function_call name="f">{&lt;}</function_call>' in xml(
        AIMessage("y", additional_kwargs={"function_call": {"name": "f", "arguments": "{<}"}})
    )


@pytest.mark.parametrize(
    ("block", "written"),
    [
        ("plain", "plain"),
        ({"type": "text", "text": "<t>"}, "&lt;t&gt;"),
        ({"type": "text-plain", "text": "doc"}, "doc"),
        ({"type": "reasoning", "reasoning": "why"}, "<reasoning>why</reasoning>"),
        ({"type": "image", "url": "http://x?a=1&b=2"}, '<image url="http://x?a=1&amp;b=2" />'),
        ({"type": "image", "url": "data:image/png;base64,AAA"}, ""),
        ({"type": "image", "base64": "AAA"}, ""),
        ({"type": "image_url", "image_url": {"url": "http://x"}}, '<image url="http://x" />'),
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAA"}}, ""),
        ({"type": "audio", "file_id": "f"}, '<audio file_id="f" />'),
        ({"type": "video", "url": "http://v"}, '<video url="http://v" />'),
        ({"type": "unknown"}, ""),
        (
            {"type": "server_tool_call", "id": "1", "name": "ws", "args": {"q": "<"}},
            '<server_tool_call id="1" name="ws">{"q": "&lt;"}</server_tool_call>',
        ),
        (
            {"type": "server_tool_result", "tool_call_id": "1", "status": "success"},
            '<server_tool_result tool_call_id="1" status="success"></server_tool_result>',
        ),
    ],
)
def test_blocks_are_written_and_inline_data_is_left_out(block: Any, written: str) -> None:
    assert xml(HumanMessage([block])) == f'<message type="human">{written}</message>'


@pytest.mark.parametrize(
    "block",
    [
        {
            "type": "server_tool_result",
            "tool_call_id": "1",
            "status": "success",
            "output": "é" * 900,
        },
        {"type": "server_tool_call", "id": "1", "name": "search", "args": {"q": "&" * 900}},
        {"type": "text-plain", "text": "<" * 900, "mime_type": "text/plain"},
    ],
    ids=lambda block: block["type"],
)
def test_a_long_part_is_cut_after_500_characters(block: Any) -> None:
    root = ET.fromstring(xml(AIMessage([block])))
    text = (root[0] if len(root) else root).text or ""
    assert len(text) == 503
    assert text.endswith("...")


@pytest.mark.parametrize(("chars", "shown"), [(64, "k" * 64), (65, "k" * 64 + "...")])
def test_a_long_id_of_a_call_is_shortened(chars: int, shown: str) -> None:
    call = tool_call(name="f", args={}, id="k" * chars)
    assert f'<tool_call id="{shown}" name="f">' in xml(AIMessage("x", tool_calls=[call]))
