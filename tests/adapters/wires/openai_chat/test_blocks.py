from __future__ import annotations

import copy
from typing import Any

import pytest

from modelwire.adapters.wires.openai_chat.blocks_to_wire import to_wire
from modelwire.errors import InvalidArgument, InvalidType


def part(block: Any, role: str = "user", **options: Any) -> Any:
    before = copy.deepcopy(block)
    (said,) = to_wire([block], role=role, position=3, **options)
    assert block == before
    return said


IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
TEXT = {"type": "text", "text": "a"}


# `test_multimodal` has the rest.
@pytest.mark.parametrize(
    ("block", "said"),
    [
        ("a", TEXT),
        ({**TEXT, "id": "lc_1", "index": 0, "extras": {}}, TEXT),
        ({**TEXT, "cache_control": {"type": "ephemeral"}}, TEXT),
        ({"type": "output_text", "text": "a", "annotations": []}, TEXT),
        ({"type": "image_url", "image_url": "data:image/png;base64,AAAA"}, IMAGE),
        ({"type": "image", "base64": "data:image/png;base64,AAAA"}, IMAGE),
        (
            {"type": "audio", "base64": "AAAA", "mime_type": "audio/mpeg"},
            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}},
        ),
        (
            {"type": "file", "base64": "AAAA", "mime_type": "application/pdf"},
            {
                "type": "file",
                "file": {"filename": "file.pdf", "file_data": "data:application/pdf;base64,AAAA"},
            },
        ),
        (
            {"type": "non_standard", "value": {"type": "video_url", "video_url": {}}},
            {"type": "video_url", "video_url": {}},
        ),
    ],
)
def test_every_dialect_of_a_block_is_the_same_part(block: Any, said: Any) -> None:
    assert part(block) == said


def test_cache_marks_stay_for_a_service_that_takes_them() -> None:
    mark = {"type": "ephemeral"}
    assert (
        part({"type": "text", "text": "a", "cache_control": mark}, cache_control=True)[
            "cache_control"
        ]
        == mark
    )
    assert part({**IMAGE, "cache_control": mark}, cache_control=True) == {
        **IMAGE,
        "cache_control": mark,
    }


def test_a_service_s_own_block_type_passes_as_it_is() -> None:
    block = {"type": "video_url", "video_url": {"url": "https://x/y.mp4"}}
    assert part(block, extra_types={"video_url"}) is block


@pytest.mark.parametrize(
    ("block", "words"),
    [
        ({"type": "imge", "url": "https://x"}, "Did you mean `image`"),
        ({"type": "thinking", "thinking": "x"}, "block of type `thinking`"),
        ({"type": "refusal", "refusal": "x"}, "not `refusal`"),
        ({"text": "a"}, "without a `type`; it has `text`"),
        ({"type": "text"}, "needs `text`"),
        ({"type": "text", "text": None}, "needs `text`"),
        ({"type": "image", "url": b"x"}, "needs `url`"),
        ({"type": "image", "source": {"type": "magic"}}, "needs one of `url`"),
        ({"type": "image_url"}, "needs `image_url`"),
        ({"type": "non_standard"}, "needs `value`"),
    ],
)
def test_a_block_that_cannot_be_said_names_message_and_reason(block: Any, words: str) -> None:
    with pytest.raises(InvalidArgument, match="Message 3 \\(`user`\\)") as caught:
        part(block)
    assert words in str(caught.value)


def test_a_block_of_no_known_python_type_is_refused() -> None:
    with pytest.raises(InvalidType, match="`int`"):
        part(7)


@pytest.mark.parametrize("role", ["system", "developer", "tool", "assistant"])
def test_only_users_show_images(role: str) -> None:
    with pytest.raises(InvalidArgument, match=f"`{role}` messages hold"):
        part(IMAGE, role=role)


def test_the_model_s_thinking_and_tools_are_left_out_of_an_assistant_turn() -> None:
    blocks = [
        {"type": "thinking"},
        {"type": "tool_use"},
        {"type": "code_execution_tool_result"},
        "a",
    ]
    assert to_wire(blocks, role="assistant", position=0) == [{"type": "text", "text": "a"}]
