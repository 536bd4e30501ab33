"""Content blocks that Anthropic's wire cannot take, and those it takes only in its own words."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest
from support.anthropic_wire import text

from modelwire.adapters import ChatAnthropic
from modelwire.adapters.wires.anthropic.blocks_to_wire import user_blocks
from modelwire.adapters.wires.outgoing_messages import safe_call_id
from modelwire.errors import InvalidArgument, InvalidType
from modelwire.messages import HumanMessage


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ({"type": "audio", "base64": "AA", "mime_type": "audio/wav"}, "no audio"),
        ({"type": "input_audio", "input_audio": {}}, "no audio"),
        ({"type": "video", "url": "https://example.com/x"}, "no video"),
        ({"text": "a"}, "needs a `type`; it has `text`"),
        ({}, "no keys"),
        ({"type": "text"}, "needs its `text`"),
        ({"type": "image"}, "needs `url`"),
        ({"type": "image", "base64": "AA"}, "`mime_type`"),
        ({"type": "image", "url": "file:///etc/passwd"}, "`https://`"),
        ({"type": "image_url", "image_url": {}}, "`image_url`"),
        ({"type": "image_url", "image_url": {"url": "data:image/png,AA"}}, "base64"),
        ({"type": "file", "base64": "AA", "mime_type": "application/zip"}, "PDF or text"),
        ({"type": "file", "base64": "//79", "mime_type": "text/plain"}, "UTF-8"),
        ({"type": "non_standard"}, "`value`"),
    ],
)
def test_a_block_nobody_can_say_is_refused_by_name(block: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidArgument, match=said):
        user_blocks([block])


def test_a_block_is_a_string_or_a_dict() -> None:
    with pytest.raises(InvalidType, match="`int`"):
        user_blocks([5])


def test_a_refused_block_is_not_shown_whole() -> None:
    with pytest.raises(InvalidArgument) as caught:
        user_blocks([{"type": "image", "secret": "x" * 500}])
    assert "xxx" not in str(caught.value)


def test_text_as_base64_goes_as_text() -> None:
    data = b64encode("Grüezi".encode()).decode()
    source = {"type": "text", "media_type": "text/plain", "data": "Grüezi"}
    assert user_blocks(
        [{"type": "file", "base64": data, "mime_type": "text/markdown", "filename": "a.md"}]
    ) == [{"type": "document", "source": source, "title": "a.md"}]
    assert user_blocks([{"type": "text-plain", "base64": data}]) == [
        {"type": "document", "source": source}
    ]


def test_old_blocks_keep_what_stood_in_their_metadata() -> None:
    block = {
        "type": "file",
        "source_type": "text",
        "text": "a",
        "metadata": {
            "title": "t",
            "citations": {"enabled": True},
            "cache_control": {"type": "ephemeral"},
        },
    }
    assert user_blocks([block]) == [
        {
            "type": "document",
            "source": {"type": "text", "media_type": "text/plain", "data": "a"},
            "title": "t",
            "citations": {"enabled": True},
            "cache_control": {"type": "ephemeral"},
        }
    ]


@pytest.mark.parametrize("kind", ["search_result", "container_upload", "tool_result", "brand_new"])
def test_blocks_of_anthropics_own_pass(kind: str) -> None:
    assert user_blocks([{"type": kind, "anything": 1, "index": 3}]) == [
        {"type": kind, "anything": 1}
    ]


def test_the_cache_breakpoint_of_a_text_passes_and_answers_keys_do_not() -> None:
    marked = text("a", cache_control={"type": "ephemeral"})
    assert user_blocks([{**marked, "index": 0, "annotations": [], "id": "x"}]) == [marked]


def test_ids_the_wire_takes_stay() -> None:
    assert safe_call_id("call_aB-9") == "call_aB-9"
    assert safe_call_id("a.b") == safe_call_id("a.b") != safe_call_id("a:b")
    assert safe_call_id(None) == safe_call_id("") != ""


@pytest.mark.parametrize("kind", ["document", "image"])
@pytest.mark.parametrize(
    "source",
    [
        {"type": "base64"},
        {"type": "base64", "media_type": "application/pdf"},
        {"type": "url", "url": None},
        {"type": "text"},
        {"type": "text", "data": 5},
        {"type": "file"},
        {"type": "content"},
    ],
)
def test_a_block_whose_source_has_no_data_keeps_what_it_has(kind: str, source: Any) -> None:
    block = {"type": kind, "source": source, "title": "T"}
    assert HumanMessage([block]).content_blocks == [{"type": "non_standard", "value": block}]


@pytest.mark.parametrize(("kind", "standard"), [("document", "file"), ("image", "image")])
def test_a_file_of_the_providers_has_its_id_as_langchain_writes_it_too(
    kind: str, standard: str
) -> None:
    block = {"type": kind, "source": {"type": "file", "file_id": "f1"}}
    (made,) = HumanMessage([block]).content_blocks
    assert made == {"type": standard, "file_id": "f1", "id": "f1"}
    model = ChatAnthropic(model="claude-sonnet-4-5", api_key="k")
    (sent,) = model.build_request([HumanMessage([made])]).body["messages"]
    assert sent["content"] == [block]
