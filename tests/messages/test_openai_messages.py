from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from modelwire.errors import InvalidArgument
from modelwire.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
    convert_to_openai_messages,
    tool_call,
)

PNG = {"type": "image_url", "image_url": {"url": "data:image/png;base64,QQ=="}}
CALL = {"type": "function", "id": "1", "function": {"name": "f", "arguments": '{"a": "é"}'}}


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("hi", {"role": "user", "content": "hi"}),
        ({"role": "user", "content": "hi"}, {"role": "user", "content": "hi"}),
        (HumanMessage("hi", name="ann", id="1"), {"role": "user", "name": "ann", "content": "hi"}),
        (SystemMessage("hi"), {"role": "system", "content": "hi"}),
        (
            SystemMessage("hi", additional_kwargs={"__openai_role__": "developer"}),
            {"role": "developer", "content": "hi"},
        ),
        (ChatMessage("hi", role="owl"), {"role": "owl", "content": "hi"}),
        (FunctionMessage("r", name="f"), {"role": "function", "name": "f", "content": "r"}),
        (ToolMessage("r", tool_call_id="1"), {"role": "tool", "tool_call_id": "1", "content": "r"}),
        (
            AIMessage("", tool_calls=[tool_call(name="f", args={"a": "é"}, id="1")]),
            {"role": "assistant", "tool_calls": [CALL], "content": ""},
        ),
        (
            AIMessage("", additional_kwargs={"refusal": "no"}),
            {"role": "assistant", "refusal": "no", "content": ""},
        ),
        (HumanMessage([]), {"role": "user", "content": ""}),
        (HumanMessage(["a", {"type": "text", "text": "b"}]), {"role": "user", "content": "a\nb"}),
        (
            AIMessage(
                content_blocks=[
                    {"type": "text", "text": "a"},
                    {**tool_call(name="f", args={"a": "é"}, id="1")},
                ]
            ),
            {"role": "assistant", "tool_calls": [CALL], "content": "a"},
        ),
    ],
)
def test_a_message_is_a_dict_with_its_role(message: Any, said: dict[str, Any]) -> None:
    assert convert_to_openai_messages(message) == said
    assert convert_to_openai_messages([message]) == [said]


def test_text_may_be_asked_for_in_blocks() -> None:
    assert convert_to_openai_messages(["a", ""], text_format="block") == [
        {"role": "user", "content": [{"type": "text", "text": "a"}]},
        {"role": "user", "content": []},
    ]


def test_ids_are_said_on_demand() -> None:
    assert convert_to_openai_messages(HumanMessage("a", id="1"), include_id=True) == {
        "role": "user",
        "id": "1",
        "content": "a",
    }


@pytest.mark.parametrize(
    ("block", "part"),
    [
        ({"type": "image_url", "image_url": {"url": "u", "detail": "low"}, "own": 1}, None),
        # both forms of LangChain's
        ({"type": "image", "url": "u"}, {"type": "image_url", "image_url": {"url": "u"}}),
        ({"type": "image", "source_type": "base64", "data": "QQ==", "mime_type": "image/png"}, PNG),
        (
            {"type": "audio", "base64": "QQ==", "mime_type": "audio/wav"},
            {"type": "input_audio", "input_audio": {"data": "QQ==", "format": "wav"}},
        ),
        ({"type": "file", "file_id": "f"}, {"type": "file", "file": {"file_id": "f"}}),
        (
            {"type": "text-plain", "text": "t", "mime_type": "text/plain"},
            {"type": "text", "text": "t"},
        ),
        # OpenAI's own
        ({"type": "input_audio", "input_audio": {"data": "QQ==", "format": "wav"}}, "same"),
        ({"type": "file", "file": {"file_id": "f"}}, "same"),
        # Anthropic's
        (
            {
                "type": "image",
                "source": {"type": "base64", "media_type": "image/png", "data": "QQ=="},
            },
            PNG,
        ),
        (
            {"type": "image", "source": {"type": "url", "url": "u"}},
            {"type": "image_url", "image_url": {"url": "u"}},
        ),
        (
            {
                "type": "document",
                "source": {"type": "text", "media_type": "text/plain", "data": "t"},
            },
            {"type": "text", "text": "t"},
        ),
        (
            {
                "type": "document",
                "source": {"type": "base64", "media_type": "application/pdf", "data": "QQ=="},
                "title": "n",
            },
            {
                "type": "file",
                "file": {"file_data": "data:application/pdf;base64,QQ==", "filename": "n"},
            },
        ),
        ({"type": "thinking", "thinking": "t", "signature": "s"}, "same"),
        ({"type": "reasoning", "reasoning": "t"}, "same"),
        # Bedrock's and Vertex AI's
        ({"image": {"format": "png", "source": {"bytes": b"A"}}}, PNG),
        ({"type": "media", "mime_type": "image/png", "data": b"A"}, PNG),
        ({"type": "media", "mime_type": "image/png", "data": "QQ=="}, PNG),
        (
            {"type": "guard_content", "guard_content": {"text": {"text": "t"}}},
            {"type": "text", "text": "t"},
        ),
        (
            {"type": "refusal", "refusal": "no", "index": 3, "extras": {}},
            {"type": "refusal", "refusal": "no"},
        ),
        ({"text": "t"}, {"type": "text", "text": "t"}),
    ],
)
def test_every_providers_blocks_are_said_in_openais_words(block: dict[str, Any], part: Any) -> None:
    if part is None:
        part = {key: value for key, value in block.items() if key != "own"}
    before = copy.deepcopy(block)
    (said,) = convert_to_openai_messages(
        [HumanMessage([block])], text_format="block", pass_through_unknown_blocks=False
    )
    assert said == {"role": "user", "content": [before if part == "same" else part]}
    assert block == before


def test_an_empty_refusal_is_left_out() -> None:
    assert convert_to_openai_messages(AIMessage([{"type": "refusal", "refusal": ""}])) == {
        "role": "assistant",
        "content": "",
    }


def test_json_is_said_as_text() -> None:
    said = convert_to_openai_messages(HumanMessage([{"type": "json", "json": {"a": "é"}}]))
    assert isinstance(said, dict)
    assert json.loads(said["content"]) == {"a": "é"}


@pytest.mark.parametrize(
    "block",
    [
        {"type": "tool_use", "id": "1", "name": "f", "input": {"a": "é"}},
        {"type": "tool_call", "id": "1", "name": "f", "args": {"a": "é"}},
    ],
)
def test_a_call_among_the_blocks_is_said_once(block: dict[str, Any]) -> None:
    said = {"role": "assistant", "tool_calls": [CALL], "content": ""}
    assert convert_to_openai_messages(AIMessage([block])) == said
    assert (
        convert_to_openai_messages(
            AIMessage([block], tool_calls=[tool_call(name="f", args={"a": "é"}, id="1")])
        )
        == said
    )


def test_a_call_of_the_responses_api_stays_in_the_content_where_that_is_passed_through() -> None:
    block = {
        "type": "function_call",
        "call_id": "1",
        "name": "f",
        "arguments": '{"a": "é"}',
        "id": "fc",
    }
    said: Any = convert_to_openai_messages(AIMessage([block]))
    assert (said["content"], said["tool_calls"]) == ([block], [CALL])
    said = convert_to_openai_messages(AIMessage([block]), pass_through_unknown_blocks=False)
    assert (said["content"], said["tool_calls"]) == ("", [CALL])


def test_results_of_tools_come_before_what_the_user_says_with_them() -> None:
    message = HumanMessage(
        [
            {"type": "text", "text": "and?"},
            {"type": "tool_result", "tool_use_id": "1", "content": "r"},
            {
                "type": "tool_result",
                "tool_use_id": "2",
                "content": [{"type": "text", "text": "s"}],
                "is_error": True,
            },
        ]
    )
    results = [
        {"role": "tool", "tool_call_id": "1", "content": "r"},
        {"role": "tool", "tool_call_id": "2", "content": "s"},
    ]
    assert convert_to_openai_messages([message]) == [*results, {"role": "user", "content": "and?"}]
    assert convert_to_openai_messages(message) == [*results, {"role": "user", "content": "and?"}]
    assert convert_to_openai_messages(HumanMessage([message.content[1]])) == results[0]


def test_a_file_without_a_name_gets_one_and_a_warning() -> None:
    block = {"type": "file", "file": {"file_data": "data:application/pdf;base64,QQ=="}}
    with pytest.warns(UserWarning, match="filename"):
        said: Any = convert_to_openai_messages(HumanMessage([block]))
    assert said["content"][0]["file"]["filename"] == "LC_AUTOGENERATED"
    assert block == {"type": "file", "file": {"file_data": "data:application/pdf;base64,QQ=="}}


def test_unknown_blocks_pass_or_raise() -> None:
    message = HumanMessage([{"type": "own", "secret": "s" * 99}])
    assert convert_to_openai_messages(message) == {"role": "user", "content": message.content}
    with pytest.raises(
        InvalidArgument, match=r"Unrecognized content block at messages\[0\].content\[0\]"
    ) as caught:
        convert_to_openai_messages(message, pass_through_unknown_blocks=False)
    assert "sss" not in str(caught.value)


@pytest.mark.parametrize(
    ("block", "text"),
    [
        ({"type": "text"}, "`text`"),
        ({"type": "image_url"}, "`image_url`"),
        ({"type": "image", "source": {"type": "base64"}}, "`media_type`, `data`"),
        ({"image": {"format": "png"}}, "`source`"),
        ({"type": "media"}, "`mime_type`, `data`"),
        ({"type": "media", "mime_type": "video/mp4", "data": b""}, "video/mp4"),
        ({"type": "tool_use", "id": "1"}, "`name`, `input`"),
        ({"type": "tool_result", "tool_use_id": "1"}, "`content`"),
        ({"type": "video", "url": "u"}, "`video`"),
        ({"type": "file", "url": "u"}, "file URLs"),
    ],
)
def test_what_is_missing_or_cannot_be_said_is_named(block: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidArgument, match=text):
        convert_to_openai_messages([HumanMessage([block])])


@pytest.mark.parametrize("bad", [RemoveMessage("1")])
def test_a_message_no_model_is_shown_raises(bad: BaseMessage) -> None:
    with pytest.raises(InvalidArgument, match=r"messages\[1\].*RemoveMessage"):
        convert_to_openai_messages(["hi", bad])
    with pytest.raises(InvalidArgument, match="text_format"):
        convert_to_openai_messages("hi", text_format="blocks")  # type: ignore[arg-type]
