"""Whole answers, good and bad."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.anthropic_wire import THINKING, USE, text, whole

from modelwire.adapters.wires.anthropic.codec import MessagesCodec
from modelwire.errors import BadRequest, MalformedResponse, Overloaded, RetryClass
from modelwire.messages import AIMessage
from modelwire.transport.wire import Reply

CODEC = MessagesCodec()


def decoded(body: bytes, **headers: str) -> AIMessage:
    return CODEC.decode(Reply(200, headers, body))


def answer(**fields: Any) -> bytes:
    return json.dumps(json.loads(whole([text("hi")])) | fields).encode()


def test_a_plain_answer_is_a_string() -> None:
    message = decoded(whole([text("hi")]), **{"request-id": "req_1"})
    assert message.content == "hi"
    assert message.id == "msg_1"
    assert message.response_metadata["request_id"] == "req_1"
    assert (
        message.response_metadata["model_name"]
        == message.response_metadata["model"]
        == "claude-sonnet-4-6"
    )
    assert message.response_metadata["model_provider"] == "anthropic"
    assert message.response_metadata["stop_reason"] == "end_turn"
    assert message == AIMessage.model_validate(message.model_dump())


def test_other_blocks_stay_as_they_came() -> None:
    content = [THINKING, text("b", citations=[{"type": "x"}]), {"type": "brand_new", "n": 1}, USE]
    message = decoded(whole(content))
    assert message.content == content
    assert message.tool_calls == [
        {"name": "weather", "args": {"city": "Zürich"}, "id": "toolu_1", "type": "tool_call"}
    ]


def test_input_tokens_include_what_the_cache_read_and_wrote() -> None:
    usage = {
        "input_tokens": 10,
        "output_tokens": 5,
        "cache_read_input_tokens": 3,
        "cache_creation_input_tokens": 2,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 2},
        "output_tokens_details": {"thinking_tokens": 4},
    }
    assert decoded(answer(usage=usage)).usage_metadata == {
        "input_tokens": 15,
        "output_tokens": 5,
        "total_tokens": 20,
        "input_token_details": {
            "cache_read": 3,
            "cache_creation": 2,
            "ephemeral_1h_input_tokens": 2,
        },
        "output_token_details": {"reasoning": 4},
    }


@pytest.mark.parametrize(
    "usage",
    [None, {}, "many", {"input_tokens": "many", "output_tokens": None}, {"input_tokens": True}],
)
def test_usage_that_says_nothing_is_none(usage: Any) -> None:
    assert decoded(answer(usage=usage)).usage_metadata is None


@pytest.mark.parametrize("reason", ["refusal", "pause_turn", "never_heard_of", None])
def test_any_stop_reason_passes_with_its_details(reason: str | None) -> None:
    metadata = decoded(
        answer(stop_reason=reason, stop_details={"category": "x"}, container={"id": "c"})
    ).response_metadata
    assert metadata["stop_reason"] == reason
    assert metadata["stop_details"] == {"category": "x"}
    assert metadata["container"] == {"id": "c"}


def test_an_input_that_is_no_object_is_an_invalid_call() -> None:
    message = decoded(
        whole([{**USE, "input": [1]}, {**USE, "input": '{"city": "Bern"}'}, {**USE, "input": None}])
    )
    assert [call["args"] for call in message.tool_calls] == [{"city": "Bern"}, {}]
    assert [(call["id"], call["args"]) for call in message.invalid_tool_calls] == [
        ("toolu_1", "[1]")
    ]


def test_space_around_the_answer_and_content_as_a_string_are_fine() -> None:
    assert decoded(b"\n\n  " + answer(content="hi") + b"\n").content == "hi"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><body>hello</body></html>",
        b'{"content": [',
        b"[]",
        b"null",
        b'"hi"',
        b"{}",
        b'{"content": null}',
        b'{"content": 5}',
        b'{"content": ["hi"]}',
        b'{"content": [{"text": "hi"}]}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_answer_is_malformed_and_names_the_call(body: bytes) -> None:
    with pytest.raises(MalformedResponse) as caught:
        decoded(body, **{"request-id": "req_1"})
    assert caught.value.request_id == "req_1"
    assert caught.value.retry_class is RetryClass.GLITCH


def test_an_error_under_a_200_is_the_error() -> None:
    body = {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}
    with pytest.raises(Overloaded, match="busy") as caught:
        decoded(json.dumps(body).encode())
    assert caught.value.status == 529
    with pytest.raises(BadRequest, match="no such model"):  # a proxy's
        decoded(b'{"error": "no such model"}')
