from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from modelwire.adapters.wires.anthropic.response import read_message
from modelwire.adapters.wires.anthropic.stream import MessagesStreamDecoder
from modelwire.messages import AIMessage, AIMessageChunk, merge_chunks, tool_call, tool_call_chunk
from modelwire.messages.block_translators.v1 import V1Stream, as_v1
from modelwire.transport.wire import Reply, ServerEvent

ANTHROPIC = {"model_provider": "anthropic"}


def blocks_of(content: Any, **fields: Any) -> list[Any]:
    message = AIMessage(
        content, response_metadata={**ANTHROPIC, **fields.pop("metadata", {})}, **fields
    )
    before = copy.deepcopy(message)
    blocks: list[Any] = list(message.content_blocks)
    assert message == before
    return blocks


def test_thinking_is_reasoning_with_its_signature() -> None:
    assert blocks_of([{"type": "thinking", "thinking": "t", "signature": "s"}]) == [
        {"type": "reasoning", "reasoning": "t", "extras": {"signature": "s"}}
    ]


@pytest.mark.parametrize(
    ("citation", "annotation"),
    [
        (
            {
                "type": "web_search_result_location",
                "cited_text": "c",
                "url": "u",
                "title": "t",
                "encrypted_index": "e",
            },
            {
                "type": "citation",
                "cited_text": "c",
                "url": "u",
                "title": "t",
                "extras": {"encrypted_index": "e"},
            },
        ),
        (
            {
                "type": "page_location",
                "cited_text": "c",
                "document_title": "t",
                "start_page_number": 1,
            },
            {
                "type": "citation",
                "cited_text": "c",
                "title": "t",
                "extras": {"start_page_number": 1},
            },
        ),
        (
            {"type": "char_location", "cited_text": "c", "document_title": None},
            {"type": "citation", "cited_text": "c"},
        ),
        ({"type": "web_search_result_location", "cited_text": "c"}, None),
        ({"type": "page_location", "document_title": "t"}, None),
        ({"type": "own"}, None),
    ],
)
def test_citations_are_annotations_and_incomplete_ones_stay_as_they_are(
    citation: Any, annotation: Any
) -> None:
    said = annotation or {"type": "non_standard_annotation", "value": citation}
    assert blocks_of([{"type": "text", "text": "x", "citations": [citation], "index": 2}]) == [
        {"type": "text", "text": "x", "annotations": [said], "index": 2}
    ]


def test_a_call_has_the_arguments_the_message_read_and_its_other_fields_under_extras() -> None:
    call = {
        "type": "tool_use",
        "id": "1",
        "name": "f",
        "input": {"a": 1},
        "caller": {"type": "direct"},
    }
    said = {
        "type": "tool_call",
        "id": "1",
        "name": "f",
        "args": {"a": 1},
        "extras": {"caller": {"type": "direct"}},
    }
    assert blocks_of([call]) == [said]
    assert blocks_of([call], tool_calls=[tool_call(name="f", args={"a": 2}, id="1")]) == [
        {**said, "args": {"a": 2}}
    ]


def test_a_call_that_does_not_parse_is_an_invalid_one() -> None:
    bad: Any = {"type": "invalid_tool_call", "id": "1", "name": "f", "args": "{", "error": "cut"}
    assert blocks_of([{"type": "tool_use", "id": "1", "name": "f"}], invalid_tool_calls=[bad]) == [
        bad
    ]


def test_calls_that_no_block_has_are_added() -> None:
    call = tool_call(name="f", args={}, id="1")
    assert blocks_of("x", tool_calls=[call]) == [{"type": "text", "text": "x"}, call]


@pytest.mark.parametrize(
    ("block", "said"),
    [
        (
            {
                "type": "server_tool_use",
                "id": "1",
                "name": "code_execution",
                "input": {"code": "c"},
            },
            {
                "type": "server_tool_call",
                "id": "1",
                "name": "code_interpreter",
                "args": {"code": "c"},
            },
        ),
        (
            {
                "type": "server_tool_use",
                "id": "1",
                "name": "web_search",
                "input": {},
                "partial_json": '{"q": 1}',
            },
            {"type": "server_tool_call", "id": "1", "name": "web_search", "args": {"q": 1}},
        ),
        (
            {"type": "mcp_tool_use", "id": "1", "name": "ask", "server_name": "s", "input": {}},
            {
                "type": "server_tool_call",
                "id": "1",
                "name": "remote_mcp",
                "args": {},
                "extras": {"tool_name": "ask", "server_name": "s"},
            },
        ),
        (
            {
                "type": "web_search_tool_result",
                "tool_use_id": "1",
                "content": [{"url": "u"}],
                "own": 1,
            },
            {
                "type": "server_tool_result",
                "tool_call_id": "1",
                "status": "success",
                "output": [{"url": "u"}],
                "extras": {"block_type": "web_search_tool_result", "own": 1},
            },
        ),
        (
            {
                "type": "own_tool_result",
                "tool_use_id": "1",
                "content": {"type": "own_tool_result_error"},
            },
            {
                "type": "server_tool_result",
                "tool_call_id": "1",
                "status": "error",
                "output": {"type": "own_tool_result_error"},
                "extras": {"block_type": "own_tool_result"},
            },
        ),
        (
            {"type": "own", "index": 1},
            {"type": "non_standard", "value": {"type": "own"}, "index": 1},
        ),
        ({"type": "reasoning", "reasoning": "r"}, {"type": "reasoning", "reasoning": "r"}),
    ],
)
def test_tools_of_the_provider_are_calls_and_results(block: Any, said: Any) -> None:
    assert blocks_of([block]) == [said]


@pytest.mark.parametrize(
    ("metadata", "refusal"),
    [
        ({"stop_reason": "refusal"}, {"type": "refusal", "refusal": ""}),
        (
            {"stop_reason": "refusal", "stop_details": {"category": "c", "explanation": "no"}},
            {"type": "refusal", "refusal": "no", "extras": {"category": "c"}},
        ),
        ({"stop_reason": "refusal", "stop_details": ["odd"]}, {"type": "refusal", "refusal": ""}),
        ({"stop_reason": "end_turn"}, None),
    ],
)
def test_a_refusal_comes_after_what_was_said(metadata: Any, refusal: Any) -> None:
    text = {"type": "text", "text": "x"}
    assert blocks_of("x", metadata=metadata) == ([text, refusal] if refusal else [text])
    own = {"type": "refusal", "refusal": "mine"}
    assert blocks_of([own], metadata=metadata) == [own]


def test_a_part_of_a_call_is_a_chunk_of_it() -> None:
    delta = tool_call_chunk(args='{"a', index=1)
    content: list[Any] = [{"type": "input_json_delta", "partial_json": '{"a', "index": 1}]
    chunk = AIMessageChunk(content, tool_call_chunks=[delta], response_metadata=ANTHROPIC)
    assert chunk.content_blocks == [delta]
    chunk = AIMessageChunk(content, response_metadata=ANTHROPIC)
    assert chunk.content_blocks == [{"type": "server_tool_call_chunk", "args": '{"a', "index": 1}]


# ---------------------------------------------------------------- a stream and the whole answer

CONTENT: list[dict[str, Any]] = [
    {"type": "text", "text": "Let me look."},
    {"type": "thinking", "thinking": "hm", "signature": "s"},
    {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "q"}},
    {
        "type": "web_search_tool_result",
        "tool_use_id": "s1",
        "content": [{"type": "web_search_result", "url": "u"}],
    },
    {
        "type": "text",
        "text": "So.",
        "citations": [
            {"type": "web_search_result_location", "cited_text": "c", "url": "u", "title": "t"}
        ],
    },
    {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": [1, 2]}},
    {"type": "tool_use", "id": "t2", "name": "g", "input": {}},
]


def events() -> list[ServerEvent]:
    said: list[dict[str, Any]] = [
        {"type": "message_start", "message": {"id": "msg_1", "model": "m", "content": []}}
    ]
    for index, block in enumerate(CONTENT):
        start, deltas = dict(block), []
        if "input" in block:
            start["input"] = {}
            text = json.dumps(block["input"]) if block["input"] else ""
            deltas = [
                {"type": "input_json_delta", "partial_json": text[at : at + 5]}
                for at in range(0, len(text), 5)
            ]
        elif block["type"] == "text":
            start = {"type": "text", "text": ""}
            deltas = [{"type": "text_delta", "text": char} for char in block["text"]]
            deltas += [
                {"type": "citations_delta", "citation": one} for one in block.get("citations", [])
            ]
        elif block["type"] == "thinking":
            start = {"type": "thinking", "thinking": "", "signature": ""}
            deltas = [{"type": "thinking_delta", "thinking": char} for char in block["thinking"]]
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
        said.append({"type": "content_block_start", "index": index, "content_block": start})
        said += [
            {"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas
        ]
        said.append({"type": "content_block_stop", "index": index})
    said += [
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}},
        {"type": "message_stop"},
    ]
    return [ServerEvent(event=event["type"], data=json.dumps(event).encode()) for event in said]


def without_index(blocks: Any) -> list[Any]:
    return [{key: value for key, value in block.items() if key != "index"} for block in blocks]


def streamed() -> list[AIMessageChunk]:
    decoder = MessagesStreamDecoder(provider="anthropic")
    return [*(chunk for event in events() for chunk in decoder.feed(event)), *decoder.close()]


def whole() -> AIMessage:
    data = {
        "id": "msg_1",
        "type": "message",
        "model": "m",
        "content": CONTENT,
        "stop_reason": "tool_use",
    }
    return read_message(Reply(200, {}, json.dumps(data).encode()), "anthropic")


def test_the_blocks_of_a_streamed_answer_are_those_of_the_whole_one() -> None:
    assert without_index(merge_chunks(streamed()).content_blocks) == without_index(
        whole().content_blocks
    )


def test_chunks_in_standard_blocks_add_up_to_the_whole_answer_in_standard_blocks() -> None:
    stream = V1Stream()
    total = merge_chunks([stream.convert(chunk) for chunk in streamed()])
    assert without_index(total.content_blocks) == without_index(as_v1(whole()).content)
    assert total.response_metadata["output_version"] == "v1"
