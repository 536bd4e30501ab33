from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from modelwire.messages import (
    AIMessage,
    AIMessageChunk,
    HumanMessage,
    ToolMessage,
    merge_chunks,
    tool_call,
    tool_call_chunk,
)
from modelwire.messages import block_translators as translators
from modelwire.testing import Answer, ProviderServer

CALL = tool_call(name="f", args={"a": 1}, id="1")
CALL_BLOCK = {"type": "tool_call", "id": "1", "name": "f", "args": {"a": 1}}
TEXT = {"type": "text", "text": "x"}


@pytest.fixture
def own_provider() -> Iterator[str]:
    translators.register_translator(
        "own",
        lambda _: [{"type": "text", "text": "whole"}],
        lambda _: [{"type": "text", "text": "part"}],
    )
    yield "own"
    del translators.PROVIDER_TRANSLATORS["own"]


@pytest.mark.parametrize(
    ("message", "blocks"),
    [
        (AIMessage("x"), [TEXT]),
        (AIMessage(""), []),
        (AIMessage("x", tool_calls=[CALL]), [TEXT, CALL_BLOCK]),
        (AIMessage([TEXT, CALL_BLOCK], tool_calls=[CALL]), [TEXT, CALL_BLOCK]),
        (AIMessage([TEXT], tool_calls=[CALL]), [TEXT, CALL_BLOCK]),
        (
            AIMessage(["x", {"text": "x"}, {"type": "own", "index": 3}]),
            [TEXT, TEXT, {"type": "non_standard", "value": {"type": "own"}, "index": 3}],
        ),
        (
            AIMessage("x", additional_kwargs={"reasoning_content": "why"}),
            [{"type": "reasoning", "reasoning": "why"}, TEXT],
        ),
        (
            AIMessage("x", additional_kwargs={"refusal": "no"}),
            [TEXT, {"type": "refusal", "refusal": "no"}],
        ),
        (AIMessage("x", response_metadata={"output_version": "v1"}), [TEXT]),
        (ToolMessage("x", tool_call_id="1"), [TEXT]),
        (
            HumanMessage([TEXT, {"type": "reasoning", "reasoning": "r"}]),
            [TEXT, {"type": "reasoning", "reasoning": "r"}],
        ),
    ],
)
def test_content_is_said_in_standard_blocks(message: Any, blocks: list[Any]) -> None:
    before = copy.deepcopy(message)
    assert message.content_blocks == blocks
    assert message == before


def test_standard_content_is_returned_itself() -> None:
    message = AIMessage([TEXT], response_metadata={"output_version": "v1"}, tool_calls=[CALL])
    assert message.content_blocks is message.content


def test_a_chunk_has_tool_calls_as_they_come_and_the_last_one_whole() -> None:
    delta = tool_call_chunk(name="f", args='{"a":1}', id="1", index=0)
    assert AIMessageChunk("x", tool_call_chunks=[delta]).content_blocks == [TEXT, delta]
    assert AIMessageChunk("x", tool_call_chunks=[delta], chunk_position="last").content_blocks == [
        TEXT,
        CALL_BLOCK,
    ]


def test_a_provider_may_say_its_own_blocks(own_provider: str) -> None:
    metadata = {"model_provider": own_provider}
    assert AIMessage("x", response_metadata=metadata).content_blocks == [
        {"type": "text", "text": "whole"}
    ]
    assert AIMessageChunk("x", response_metadata=metadata).content_blocks == [
        {"type": "text", "text": "part"}
    ]
    assert translators.get_translator(own_provider)
    assert translators.get_translator("nobody") is None


@pytest.mark.parametrize(
    ("block", "standard"),
    [
        # OpenAI
        ({"type": "image_url", "image_url": {"url": "u"}}, {"type": "image", "url": "u"}),
        (
            {
                "type": "image_url",
                "image_url": {"url": "data:image/png;base64,AA", "detail": "low"},
            },
            {
                "type": "image",
                "base64": "AA",
                "mime_type": "image/png",
                "extras": {"detail": "low"},
            },
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}},
            {"type": "audio", "base64": "AA", "mime_type": "audio/wav"},
        ),
        (
            {
                "type": "file",
                "file": {"file_data": "data:application/pdf;base64,AA", "filename": "f"},
            },
            {
                "type": "file",
                "base64": "AA",
                "mime_type": "application/pdf",
                "extras": {"filename": "f"},
            },
        ),
        ({"type": "file", "file": {"file_id": "f"}}, {"type": "file", "file_id": "f"}),
        # Anthropic
        (
            {
                "type": "image",
                "source": {"type": "base64", "data": "AA", "media_type": "image/png"},
            },
            {"type": "image", "base64": "AA", "mime_type": "image/png"},
        ),
        ({"type": "image", "source": {"type": "url", "url": "u"}}, {"type": "image", "url": "u"}),
        (
            {"type": "image", "source": {"type": "file", "file_id": "f"}},
            {"type": "image", "file_id": "f", "id": "f"},
        ),
        (
            {
                "type": "document",
                "source": {"type": "base64", "data": "AA", "media_type": "application/pdf"},
                "title": "t",
            },
            {
                "type": "file",
                "base64": "AA",
                "mime_type": "application/pdf",
                "extras": {"title": "t"},
            },
        ),
        (
            {"type": "document", "source": {"type": "text", "data": "AA"}},
            {"type": "text-plain", "text": "AA", "mime_type": "text/plain"},
        ),
        # the older form
        (
            {"type": "image", "source_type": "url", "url": "u", "own": 1},
            {"type": "image", "url": "u", "extras": {"own": 1}},
        ),
        (
            {"type": "audio", "source_type": "base64", "data": "AA", "mime_type": "audio/wav"},
            {"type": "audio", "base64": "AA", "mime_type": "audio/wav"},
        ),
        (
            {"type": "file", "source_type": "text", "text": "AA"},
            {"type": "text-plain", "text": "AA", "mime_type": "text/plain"},
        ),
        ({"type": "file", "source_type": "id", "id": "f"}, {"type": "file", "file_id": "f"}),
        # broken ones stay what they are
        (
            {"type": "image", "source_type": "base64"},
            {"type": "non_standard", "value": {"type": "image", "source_type": "base64"}},
        ),
        (
            {"type": "image_url", "image_url": 3},
            {"type": "non_standard", "value": {"type": "image_url", "image_url": 3}},
        ),
        ({"type": "image", "url": "u"}, {"type": "image", "url": "u"}),
    ],
)
def test_blocks_of_every_origin_are_said_in_standard_words(block: Any, standard: Any) -> None:
    before = copy.deepcopy(block)
    assert HumanMessage([block]).content_blocks == [standard]
    assert AIMessage([block]).content_blocks == [standard]
    assert block == before


def test_citations_beside_the_content_of_chat_completions_reach_the_text_block() -> None:
    cited = {"url": "https://example.org", "title": "T", "start_index": 0, "end_index": 3}
    message = AIMessage(
        "see",
        additional_kwargs={"annotations": [{"type": "url_citation", "url_citation": cited}]},
        response_metadata={"model_provider": "openai"},
    )
    assert message.content_blocks == [
        {"type": "text", "text": "see", "annotations": [{"type": "citation", **cited}]}
    ]


def v1_chunk(args: str, id: str | None = None, **fields: Any) -> AIMessageChunk:
    """Return a chunk of a streamed call as `output_version="v1"` has it."""
    delta = tool_call_chunk(name="f" if id else None, args=args, id=id, index=0)
    metadata = {"output_version": "v1"}
    return AIMessageChunk(
        [dict(delta)], tool_call_chunks=[delta], response_metadata=metadata, **fields
    )


def test_the_last_chunk_makes_calls_of_the_chunks_in_standard_content() -> None:
    begin, middle = v1_chunk('{"a"', "1"), v1_chunk(": ")
    end = v1_chunk("1}", chunk_position="last")
    assert (begin + middle).content[0]["type"] == "tool_call_chunk"  # type: ignore[index]
    for whole in (begin + middle + end, begin + (middle + end), merge_chunks([begin, middle, end])):
        assert whole.content == [{**CALL_BLOCK, "index": 0}]
        assert whole.content == whole.content_blocks
        assert whole.tool_calls == [CALL_BLOCK]


def test_a_cut_call_in_standard_content_is_an_invalid_one_at_the_last_chunk() -> None:
    last = AIMessageChunk([], chunk_position="last", response_metadata={"output_version": "v1"})
    (block,) = (v1_chunk('{"a"', "1") + last).content
    assert isinstance(block, dict)
    assert (block["type"], block["args"]) == ("invalid_tool_call", '{"a"')


def test_a_tool_of_the_service_in_standard_content_is_whole_at_the_last_chunk() -> None:
    part = {"type": "server_tool_call_chunk", "id": "s", "name": "web", "index": 0}
    metadata = {"output_version": "v1"}
    first = AIMessageChunk([{**part, "args": '{"q":'}], response_metadata=metadata)
    second = AIMessageChunk(
        [{"type": "server_tool_call_chunk", "args": '"x"}', "index": 0}],
        response_metadata=metadata,
        chunk_position="last",
    )
    (block,) = (first + second).content
    assert block == {**part, "type": "server_tool_call", "args": {"q": "x"}}


@pytest.mark.parametrize("wire", ["openai", "responses", "anthropic", "bedrock", "gemini"])
def test_a_streamed_call_over_each_wire_is_whole_in_standard_content(
    wire: Any, colour: Any
) -> None:
    call = Answer(tool_calls=({"name": "f", "args": {"a": 1}},))
    with ProviderServer([call]) as server:
        chunks = colour.stream(server.model(wire, output_version="v1"), "hi")
    whole = merge_chunks(chunks)
    kinds = [block["type"] for block in whole.content]
    assert "tool_call" in kinds
    assert "tool_call_chunk" not in kinds
    assert whole.content == whole.content_blocks
