from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwire.messages import AIMessage, AIMessageChunk, merge_chunks, tool_call, tool_call_chunk
from modelwire.messages.block_translators import get_translator
from modelwire.messages.block_translators.v1 import V1Stream, as_v1

OPENAI = {"model_provider": "openai"}


def blocks_of(content: Any, cls: type[AIMessage] = AIMessage, **fields: Any) -> list[Any]:
    message = cls(content, response_metadata={**OPENAI, **fields.pop("metadata", {})}, **fields)
    before = copy.deepcopy(message)
    blocks: list[Any] = list(message.content_blocks)
    assert message == before
    return blocks


def summary(*texts: str, **more: Any) -> dict[str, Any]:
    return {
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": text} for text in texts],
        **more,
    }


@pytest.mark.parametrize(
    ("item", "blocks"),
    [
        (
            summary("a", "b", id="rs", encrypted_content="e"),
            [
                {
                    "type": "reasoning",
                    "id": "rs",
                    "reasoning": "a",
                    "extras": {"encrypted_content": "e"},
                },
                {"type": "reasoning", "id": "rs", "reasoning": "b"},
            ],
        ),
        (summary(id="rs"), [{"type": "reasoning", "id": "rs"}]),
        (
            summary(content=[{"type": "reasoning_text", "text": "raw"}]),
            [{"type": "reasoning", "reasoning": "raw"}],
        ),
        (
            {"type": "reasoning", "reasoning": "r", "index": "lc_1"},
            [{"type": "reasoning", "reasoning": "r", "index": "lc_1"}],
        ),
        (
            {"type": "text", "text": "x", "id": "m", "index": 3},
            [{"type": "text", "text": "x", "id": "m", "index": "lc_txt_3"}],
        ),
        (
            {
                "type": "text",
                "text": "x",
                "annotations": [
                    {
                        "type": "url_citation",
                        "url": "u",
                        "title": "t",
                        "start_index": 0,
                        "end_index": 1,
                        "own": 1,
                    },
                    {"type": "file_citation", "filename": "n", "file_id": "f"},
                    {"type": "file_path", "file_id": "f"},
                    {"type": "citation", "url": "u"},
                ],
            },
            [
                {
                    "type": "text",
                    "text": "x",
                    "annotations": [
                        {
                            "type": "citation",
                            "url": "u",
                            "title": "t",
                            "start_index": 0,
                            "end_index": 1,
                            "extras": {"own": 1},
                        },
                        {"type": "citation", "title": "n", "extras": {"file_id": "f"}},
                        {
                            "type": "non_standard_annotation",
                            "value": {"type": "file_path", "file_id": "f"},
                        },
                        {"type": "citation", "url": "u"},
                    ],
                }
            ],
        ),
        (
            {"type": "refusal", "refusal": "no", "id": "m", "index": 2, "own": 1},
            [{"type": "refusal", "refusal": "no", "id": "m", "index": 2, "extras": {"own": 1}}],
        ),
        (
            {
                "type": "web_search_call",
                "id": "w",
                "status": "completed",
                "action": {"query": "q"},
                "index": 1,
            },
            [
                {
                    "type": "server_tool_call",
                    "name": "web_search",
                    "id": "w",
                    "args": {"query": "q"},
                    "index": "lc_wsc_1",
                },
                {
                    "type": "server_tool_result",
                    "tool_call_id": "w",
                    "status": "success",
                    "index": "lc_wsr_2",
                },
            ],
        ),
        (
            {
                "type": "file_search_call",
                "id": "f",
                "status": "incomplete",
                "queries": ["q"],
                "results": [1],
            },
            [
                {
                    "type": "server_tool_call",
                    "name": "file_search",
                    "id": "f",
                    "args": {"queries": ["q"]},
                },
                {
                    "type": "server_tool_result",
                    "tool_call_id": "f",
                    "status": "error",
                    "output": [1],
                },
            ],
        ),
        (
            {
                "type": "code_interpreter_call",
                "id": "c",
                "status": "in_progress",
                "code": "1",
                "container_id": "k",
            },
            [
                {
                    "type": "server_tool_call",
                    "name": "code_interpreter",
                    "id": "c",
                    "args": {"code": "1"},
                    "extras": {"container_id": "k"},
                },
                {
                    "type": "server_tool_result",
                    "tool_call_id": "c",
                    "extras": {"status": "in_progress"},
                },
            ],
        ),
        (
            {
                "type": "mcp_call",
                "id": "m",
                "name": "n",
                "server_label": "s",
                "arguments": '{"a":1}',
                "output": "o",
            },
            [
                {
                    "type": "server_tool_call",
                    "name": "remote_mcp",
                    "id": "m",
                    "args": {"a": 1},
                    "extras": {"tool_name": "n", "server_label": "s"},
                },
                {
                    "type": "server_tool_result",
                    "tool_call_id": "m",
                    "status": "success",
                    "output": "o",
                },
            ],
        ),
        (
            {"type": "mcp_list_tools", "id": "m", "server_label": "s", "tools": [], "error": "e"},
            [
                {
                    "type": "server_tool_call",
                    "name": "mcp_list_tools",
                    "id": "m",
                    "args": {},
                    "extras": {"server_label": "s"},
                },
                {
                    "type": "server_tool_result",
                    "tool_call_id": "m",
                    "status": "error",
                    "output": [],
                    "extras": {"error": "e"},
                },
            ],
        ),
        (
            {
                "type": "image_generation_call",
                "id": "i",
                "result": "QQ==",
                "output_format": "png",
                "size": "s",
            },
            [
                {
                    "type": "image",
                    "id": "i",
                    "base64": "QQ==",
                    "mime_type": "image/png",
                    "extras": {"output_format": "png", "size": "s"},
                }
            ],
        ),
        (
            {"type": "computer_call", "id": "c", "index": 1},
            [
                {
                    "type": "non_standard",
                    "value": {"type": "computer_call", "id": "c"},
                    "index": "lc_ns_1",
                }
            ],
        ),
        ({"type": "image_url", "image_url": {"url": "u"}}, [{"type": "image", "url": "u"}]),
        ("x", [{"type": "text", "text": "x"}]),
    ],
)
def test_an_item_is_one_or_more_standard_blocks(item: Any, blocks: list[Any]) -> None:
    assert blocks_of([item]) == blocks


CALL = tool_call(name="f", args={"a": 1}, id="c")


def item(**more: Any) -> dict[str, Any]:
    return {
        "type": "function_call",
        "id": "fc",
        "call_id": "c",
        "name": "f",
        "arguments": '{"a":1}',
        **more,
    }


def test_a_call_is_said_once_with_the_id_of_its_item() -> None:
    said = {**CALL, "extras": {"item_id": "fc"}}
    assert blocks_of([item()], tool_calls=[CALL]) == [said]
    assert blocks_of([item()]) == [said]
    assert blocks_of([item(index=4, status="completed")], tool_calls=[CALL]) == [
        {**CALL, "extras": {"item_id": "fc", "status": "completed"}, "index": "lc_tc_4"}
    ]


def test_a_custom_call_has_its_text_as_argument() -> None:
    custom = {"type": "custom_tool_call", "call_id": "c", "name": "f", "input": "x"}
    assert blocks_of([custom]) == [tool_call(name="f", args={"__arg1": "x"}, id="c")]


def test_a_call_that_does_not_parse_is_an_invalid_one() -> None:
    bad: Any = {"type": "invalid_tool_call", "id": "c", "name": "f", "args": "{", "error": "cut"}
    assert blocks_of([item(arguments="{")], invalid_tool_calls=[bad]) == [
        {**bad, "extras": {"item_id": "fc"}}
    ]
    (block,) = blocks_of([item(arguments="{")])
    assert (block["type"], block["args"]) == ("invalid_tool_call", "{")
    assert blocks_of("", invalid_tool_calls=[bad]) == [bad]


def test_a_part_of_a_call_is_a_chunk_until_the_last() -> None:
    delta = tool_call_chunk(name="f", args='{"a":1}', id="c", index=4)
    said = {"extras": {"item_id": "fc"}, "index": "lc_tc_4"}
    assert blocks_of([item(index=4)], AIMessageChunk, tool_call_chunks=[delta]) == [
        {**delta, **said}
    ]
    assert blocks_of(
        [item(index=4)], AIMessageChunk, tool_call_chunks=[delta], chunk_position="last"
    ) == [{**CALL, **said}]


def test_what_older_scripts_kept_beside_the_content_has_its_place() -> None:
    blocks = blocks_of(
        "x",
        id="msg_1",
        additional_kwargs={
            "reasoning": summary("a", id="rs"),
            "refusal": "no",
            "tool_outputs": [{"type": "web_search_call", "id": "w", "status": "completed"}],
            "__openai_function_call_ids__": {"c": "fc"},
        },
        tool_calls=[CALL],
        metadata={"id": "resp_1"},
    )
    assert blocks == [
        {"type": "reasoning", "id": "rs", "reasoning": "a"},
        {"type": "text", "text": "x", "id": "msg_1"},
        {"type": "refusal", "refusal": "no"},
        {**CALL, "extras": {"item_id": "fc"}},
        {"type": "server_tool_call", "name": "web_search", "id": "w", "args": {}},
        {"type": "server_tool_result", "tool_call_id": "w", "status": "success"},
    ]


def test_an_answer_of_chat_completions_has_thought_text_and_calls() -> None:
    assert blocks_of("x", additional_kwargs={"reasoning_content": "r"}, tool_calls=[CALL]) == [
        {"type": "reasoning", "reasoning": "r"},
        {"type": "text", "text": "x"},
        CALL,
    ]
    delta = tool_call_chunk(name="f", args="{", id="c", index=0)
    assert blocks_of("", AIMessageChunk, tool_call_chunks=[delta]) == [delta]


def test_azure_speaks_openais_blocks() -> None:
    assert get_translator("azure") == get_translator("openai")


# ---------------------------------------------------------------- the parts and the whole

PARTS: list[Any] = [
    [summary(id="a", index=0)],
    [
        {
            "type": "reasoning",
            "id": "a",
            "index": 0,
            "summary": [{"type": "summary_text", "text": "x ", "index": 0}],
        }
    ],
    [
        {
            "type": "reasoning",
            "id": "a",
            "index": 0,
            "summary": [{"type": "summary_text", "text": "y", "index": 0}],
        }
    ],
    [
        {
            "type": "reasoning",
            "id": "a",
            "index": 0,
            "summary": [{"type": "summary_text", "text": "z", "index": 1}],
        }
    ],
    [{"type": "text", "text": "he", "index": 1}],
    [{"type": "text", "text": "llo", "index": 1}],
    [{"type": "text", "text": "!", "index": 2}],
]


@given(st.lists(st.booleans(), min_size=len(PARTS), max_size=len(PARTS)))
def test_blocks_of_the_parts_add_up_to_the_blocks_of_the_sum_however_they_are_grouped(
    joins: list[bool],
) -> None:
    chunks = [AIMessageChunk(part, response_metadata=OPENAI) for part in PARTS]
    groups: list[list[AIMessageChunk]] = [[]]
    for chunk, join in zip(chunks, joins, strict=True):
        if groups[-1] and not join:
            groups.append([])
        groups[-1].append(chunk)
    said = [AIMessageChunk(list(merge_chunks(group).content_blocks)) for group in groups]  # type: ignore[arg-type]
    assert merge_chunks(said).content == merge_chunks(chunks).content_blocks


# ---------------------------------------------------------------- `output_version="v1"`


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("text"), st.text(max_size=3)),
            st.tuples(st.just("reasoning"), st.text(max_size=3)),
            st.tuples(st.just("call"), st.integers(0, 2)),
        ),
        max_size=12,
    )
)
def test_a_stream_in_standard_blocks_is_the_answer_in_standard_blocks(
    pieces: list[tuple[str, Any]],
) -> None:
    chunks = []
    for kind, piece in pieces:
        if kind == "text":
            chunks.append(AIMessageChunk(piece))
        elif kind == "reasoning":
            chunks.append(AIMessageChunk("", additional_kwargs={"reasoning_content": piece}))
        else:
            chunks.append(
                AIMessageChunk(
                    "", tool_call_chunks=[tool_call_chunk(name="f", id=str(piece), index=piece)]
                )
            )
    chunks.append(AIMessageChunk("", chunk_position="last"))
    stream = V1Stream()
    plain, total = merge_chunks(chunks), merge_chunks([stream.convert(chunk) for chunk in chunks])
    assert total.text == plain.text
    assert total.tool_calls == plain.tool_calls
    blocks: Any = total.content_blocks
    thought = "".join(block["reasoning"] for block in blocks if block["type"] == "reasoning")
    assert thought == plain.additional_kwargs.get("reasoning_content", "")
    assert [block["id"] for block in blocks if block["type"] == "tool_call"] == [
        call["id"] for call in plain.tool_calls
    ]
    assert len({block["index"] for block in blocks}) == len(blocks)


def test_an_answer_in_standard_blocks_says_so_and_nothing_twice() -> None:
    answer = AIMessage(
        "x",
        additional_kwargs={"refusal": "no", "own": 1},
        tool_calls=[CALL],
        response_metadata=OPENAI,
    )
    before = answer.model_copy(deep=True)
    said = as_v1(answer)
    assert said.content == [
        {"type": "text", "text": "x"},
        {"type": "refusal", "refusal": "no"},
        CALL,
    ]
    assert said.additional_kwargs == {"own": 1}
    assert said.response_metadata["output_version"] == "v1"
    assert said.content_blocks is said.content
    assert as_v1(said) is said
    assert answer == before


def test_the_call_that_ends_with_the_stream_is_one_call() -> None:
    stream = V1Stream()
    start = tool_call_chunk(name="f", args='{"a"', id="c", index=0)
    chunks = [
        AIMessageChunk("", tool_call_chunks=[start]),
        AIMessageChunk(
            "", tool_call_chunks=[tool_call_chunk(args=":1}", index=0)], chunk_position="last"
        ),
    ]
    total = merge_chunks([stream.convert(chunk) for chunk in chunks])
    assert total.content_blocks == [{**CALL, "index": 0}]
