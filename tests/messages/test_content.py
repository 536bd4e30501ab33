from __future__ import annotations

from typing import Any, get_args, get_type_hints

import pytest

from modelwire.errors import InvalidArgument
from modelwire.messages import (
    content,
    create_audio_block,
    create_citation,
    create_file_block,
    create_image_block,
    create_non_standard_block,
    create_plaintext_block,
    create_reasoning_block,
    create_text_block,
    create_tool_call,
    create_video_block,
    ensure_id,
    is_data_content_block,
)
from modelwire.messages.block_translators.standard import KNOWN_BLOCK_TYPES
from modelwire.messages.validate_outgoing import STANDARD


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (create_text_block("x", id="1"), {"type": "text", "text": "x"}),
        (
            create_text_block("x", id="1", index=0, annotations=[], own=1),
            {"type": "text", "text": "x", "index": 0, "annotations": [], "extras": {"own": 1}},
        ),
        (create_image_block(url="u", id="1"), {"type": "image", "url": "u"}),
        (
            create_image_block(base64="b", mime_type="image/png", id="1"),
            {"type": "image", "base64": "b", "mime_type": "image/png"},
        ),
        (create_audio_block(file_id="f", id="1"), {"type": "audio", "file_id": "f"}),
        (create_video_block(url="u", id="1"), {"type": "video", "url": "u"}),
        (
            create_file_block(base64="b", mime_type="m", id="1", filename="n"),
            {"type": "file", "base64": "b", "mime_type": "m", "extras": {"filename": "n"}},
        ),
        (
            create_plaintext_block("x", title="t", id="1"),
            {"type": "text-plain", "mime_type": "text/plain", "text": "x", "title": "t"},
        ),
        (
            create_citation(url="u", start_index=0, id="1", own=1),
            {"type": "citation", "url": "u", "start_index": 0, "extras": {"own": 1}},
        ),
        (create_reasoning_block(id="1"), {"type": "reasoning", "reasoning": ""}),
        (create_tool_call("f", {}, id="1"), {"type": "tool_call", "name": "f", "args": {}}),
        (create_non_standard_block({"a": 1}, id="1"), {"type": "non_standard", "value": {"a": 1}}),
    ],
)
def test_a_made_block_has_what_was_given_and_nothing_else(
    block: Any, expected: dict[str, Any]
) -> None:
    assert block == {**expected, "id": "1"}


def test_an_id_made_up_here_shows_it() -> None:
    assert ensure_id("x") == "x"
    first, second = ensure_id(None), create_text_block("x")["id"]
    assert first.startswith("lc_")
    assert second.startswith("lc_")
    assert first != second


@pytest.mark.parametrize(
    "make", [create_image_block, create_audio_block, create_video_block, create_file_block]
)
def test_a_data_block_needs_its_data(make: Any) -> None:
    with pytest.raises(InvalidArgument, match="must have one of"):
        make()


@pytest.mark.parametrize("make", [create_audio_block, create_video_block, create_file_block])
def test_inline_data_needs_its_mime_type(make: Any) -> None:
    with pytest.raises(InvalidArgument, match="mime_type"):
        make(base64="x")


@pytest.mark.parametrize(
    ("block", "is_data"),
    [
        ({"type": "image", "url": "x"}, True),
        ({"type": "image", "base64": "x"}, True),
        ({"type": "file", "file_id": "x"}, True),
        ({"type": "text-plain", "text": "x"}, True),
        ({"type": "image", "source_type": "base64", "data": "x"}, True),
        ({"type": "image", "source_type": "id", "id": "x"}, True),
        ({"type": "image", "source_type": "url"}, False),
        ({"type": "image"}, False),
        ({"type": "file", "file": {}}, False),
        ({"type": "text", "text": "x"}, False),
        ({"type": "image_url", "image_url": {}}, False),
        ({}, False),
    ],
)
def test_data_blocks_are_told_from_others(block: dict[str, Any], is_data: bool) -> None:
    assert is_data_content_block(block) is is_data


def test_the_tables_name_every_class_of_standard_blocks() -> None:
    types = {get_type_hints(one)["type"].__args__[0] for one in get_args(content.ContentBlock)}
    assert types == KNOWN_BLOCK_TYPES, (
        "add the block to `KNOWN_BLOCK_TYPES` of `block_translators/standard.py`, and to "
        "`ContentBlock` of `messages/content.py`"
    )
    assert set(STANDARD) <= types, "`STANDARD` of `validate_outgoing.py` has standard blocks only"
