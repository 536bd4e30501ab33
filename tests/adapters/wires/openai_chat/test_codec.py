from __future__ import annotations

import json
from typing import Any

import pytest

from modelwire.adapters.wires.openai_chat.codec import ChatCompletionsCodec
from modelwire.adapters.wires.openai_chat.messages import Dialect
from modelwire.adapters.wires.wire import ChatCall, Endpoint
from modelwire.errors import (
    BadRequest,
    InvalidArgument,
    MalformedResponse,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    RetryClass,
    ServerError,
)
from modelwire.messages import AIMessage, HumanMessage
from modelwire.transport.wire import Reply

CODEC = ChatCompletionsCodec()
ENDPOINT = Endpoint("https://api.openai.com/v1", {"Authorization": "Bearer sk-canary-0123456789"})


def call(**fields: Any) -> ChatCall:
    return ChatCall(
        **{"messages": [HumanMessage("hi")], "model": "gpt-4o-mini", "endpoint": ENDPOINT, **fields}
    )


def answer(message: Any = None, **fields: Any) -> dict[str, Any]:
    choice = {
        "index": 0,
        "message": message or {"role": "assistant", "content": "hi"},
        "finish_reason": "stop",
    }
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [choice],
        **fields,
    }


def decode(
    body: Any, headers: dict[str, str] | None = None, codec: ChatCompletionsCodec = CODEC
) -> AIMessage:
    return codec.decode(
        Reply(200, headers or {}, body if isinstance(body, bytes) else json.dumps(body).encode())
    )


# ---------------------------------------------------------------- out


def test_the_request_is_what_was_said_and_nothing_else() -> None:
    request = CODEC.encode(call(params={"temperature": 0}))
    assert request.method == "POST"
    assert request.url == "https://api.openai.com/v1/chat/completions"
    assert request.headers == {
        "Accept": "application/json",
        "Content-Type": "application/json",
        "Authorization": "Bearer sk-canary-0123456789",
    }
    assert request.body == {
        "messages": [{"role": "user", "content": "hi"}],
        "model": "gpt-4o-mini",
        "temperature": 0,
    }
    assert "sk-canary" not in repr(request)


def test_max_tokens_goes_under_the_name_the_service_knows() -> None:
    assert CODEC.encode(call(params={"max_tokens": 5})).body["max_completion_tokens"] == 5
    clone = ChatCompletionsCodec("groq", max_tokens_name="max_tokens")
    assert clone.encode(call(params={"max_tokens": 5})).body["max_tokens"] == 5
    both = CODEC.encode(call(params={"max_tokens": 5, "max_completion_tokens": 6})).body
    assert both["max_completion_tokens"] == 6
    assert "max_tokens" not in both


def test_usage_is_asked_for_in_a_stream_unless_the_caller_or_the_service_says_otherwise() -> None:
    assert CODEC.encode(call(stream=True)).body["stream_options"] == {"include_usage": True}
    assert "stream_options" not in CODEC.encode(call()).body
    chosen = CODEC.encode(
        call(stream=True, params={"stream_options": {"include_usage": False}})
    ).body
    assert chosen["stream_options"] == {"include_usage": False}
    clone = ChatCompletionsCodec("old", takes_stream_options=False).encode(call(stream=True)).body
    assert clone["stream"] is True
    assert "stream_options" not in clone


def test_extra_body_has_the_last_word() -> None:
    body = CODEC.encode(
        call(params={"temperature": 0}, extra_body={"temperature": 1, "model": "x", "top_k": 3})
    ).body
    assert (body["temperature"], body["model"], body["top_k"]) == (1, "x", 3)


def test_extra_headers_win_in_any_case_and_are_sent_once() -> None:
    headers = CODEC.encode(
        call(extra_headers={"authorization": "Bearer other", "X-A": "b", "accept": "*/*"})
    ).headers
    assert headers == {
        "accept": "*/*",
        "Content-Type": "application/json",
        "authorization": "Bearer other",
        "X-A": "b",
    }


def test_a_query_in_the_base_url_stays_at_the_end() -> None:
    endpoint = Endpoint("https://x.azure.com/openai/deployments/d?api-version=1")
    url = CODEC.encode(call(endpoint=endpoint)).url
    assert url == "https://x.azure.com/openai/deployments/d/chat/completions?api-version=1"


def test_encode_changes_none_of_its_arguments() -> None:
    params = {"max_tokens": 5, "tools": [{"name": "f", "input_schema": {}}], "tool_choice": "any"}
    before = json.dumps(params)
    CODEC.encode(call(params=params))
    assert json.dumps(params) == before


def test_no_messages_is_an_invalid_argument() -> None:
    with pytest.raises(InvalidArgument, match="at least one message"):
        CODEC.encode(call(messages=[]))


def test_the_codec_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        CODEC.provider = "x"  # type: ignore[misc]
    assert ChatCompletionsCodec("a", dialect=Dialect(cache_control=True)) == ChatCompletionsCodec(
        "a", dialect=Dialect(cache_control=True)
    )


# ---------------------------------------------------------------- in


def test_an_answer_has_text_id_usage_and_metadata() -> None:
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "total_tokens": 99,
        "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }
    message = decode(
        answer(usage=usage, system_fingerprint="fp", service_tier="default"),
        {"x-request-id": "req_1"},
    )
    assert type(message) is AIMessage
    assert message.content == "hi"
    assert message.id == "chatcmpl-1"
    assert message.usage_metadata == {
        "input_tokens": 10,
        "output_tokens": 5,
        "total_tokens": 99,
        "input_token_details": {"audio": 0, "cache_read": 4},
        "output_token_details": {"reasoning": 2},
    }
    assert message.response_metadata == {
        "token_usage": usage,
        "model_name": "m",
        "system_fingerprint": "fp",
        "id": "chatcmpl-1",
        "finish_reason": "stop",
        "logprobs": None,
        "model_provider": "openai",
        "request_id": "req_1",
        "service_tier": "default",
    }


@pytest.mark.parametrize(
    "usage",
    [None, {}, [], "12", {"prompt_tokens": "many"}, {"prompt_tokens": None}, {"x": 1}, True],
)
def test_usage_nobody_gave_is_none_and_not_zero(usage: Any) -> None:
    assert decode(answer(usage=usage)).usage_metadata is None


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ({"prompt_tokens": 3, "completion_tokens": "x"}, (3, 0, 3)),
        ({"prompt_tokens": 3.0, "completion_tokens": 2, "total_tokens": None}, (3, 2, 5)),
        ({"prompt_tokens": 3, "completion_tokens": True, "prompt_tokens_details": "x"}, (3, 0, 3)),
        (
            {"prompt_tokens": 3, "completion_tokens": -1, "completion_tokens_details": [1]},
            (3, 0, 3),
        ),
        ({"total_tokens": 7}, (0, 0, 7)),
    ],
)
def test_what_can_be_read_of_a_garbled_usage_counts(
    usage: Any, tokens: tuple[int, int, int]
) -> None:
    got = decode(answer(usage=usage)).usage_metadata
    assert got is not None
    assert (got["input_tokens"], got["output_tokens"], got["total_tokens"]) == tokens


@pytest.mark.parametrize("usage", [{"prompt_cache_hit_tokens": 2}, {"cached_tokens": 2}])
def test_cached_tokens_are_found_where_deepseek_and_moonshot_put_them(usage: Any) -> None:
    got = decode(answer(usage={"prompt_tokens": 3, "completion_tokens": 1, **usage})).usage_metadata
    assert got is not None
    assert got["input_token_details"] == {"cache_read": 2}


@pytest.mark.parametrize(
    ("message", "content", "reasoning"),
    [
        ({"content": None}, "", None),
        ({}, "", None),
        ({"content": "a", "reasoning_content": "r", "reasoning": "r"}, "a", "r"),
        ({"content": "a", "reasoning_content": None, "reasoning": "r"}, "a", "r"),
        ({"content": "a", "reasoning": {"x": 1}}, "a", None),
        (
            {
                "content": "a",
                "reasoning_details": [{"text": "r"}, {"summary": "s"}, {"data": "d"}, 1],
            },
            "a",
            "rs",
        ),
        (
            {
                "content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "r"}, "s"]},
                    {"type": "thinking", "thinking": "t"},
                    {"type": "text", "text": "a"},
                    "b",
                ]
            },
            "ab",
            "rst",
        ),
        (
            {
                "content": [
                    {"type": "text", "text": "a"},
                    {"type": "reference", "reference_ids": [1]},
                    "b",
                ]
            },
            ["a", {"type": "reference", "reference_ids": [1]}, "b"],
            None,
        ),
        ({"content": {"type": "text", "text": "a"}}, "a", None),
        ({"content": [None, 3]}, "", None),
    ],
)
def test_text_and_reasoning_are_found_where_services_put_them(
    message: Any, content: Any, reasoning: Any
) -> None:
    got = decode(answer({"role": "assistant", **message}))
    assert got.content == content
    assert got.additional_kwargs.get("reasoning_content") == reasoning


def test_what_else_a_message_says_is_kept_and_hollow_structs_are_not() -> None:
    got = decode(
        answer(
            {
                "content": None,
                "refusal": "I cannot.",
                "audio": {"id": "audio_1", "data": "x"},
                "annotations": [{"type": "url_citation"}],
                "function_call": {"name": ""},
                "custom": {"name": ""},
                "tool_calls": None,
            }
        )
    )
    assert got.additional_kwargs == {
        "refusal": "I cannot.",
        "audio": {"id": "audio_1", "data": "x"},
        "annotations": [{"type": "url_citation"}],
    }


@pytest.mark.parametrize("arguments", [None, "", "{}", "null"])
def test_a_tool_without_arguments_has_an_empty_dict(arguments: str | None) -> None:
    raw = {"id": "c1", "function": {"name": "f", "arguments": arguments}}
    got = decode(answer({"content": None, "tool_calls": [raw]}))
    assert got.tool_calls == [{"name": "f", "args": {}, "id": "c1", "type": "tool_call"}]


def test_tool_calls_are_parsed_and_those_that_cannot_be_are_invalid() -> None:
    calls = [
        {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": [1, "é"]}'}},
        {"id": "c2", "type": "function", "function": {"name": "g", "arguments": '{"a": '}},
        {"id": "c3", "type": "function", "function": {"name": "h", "arguments": "[1]"}},
        {"id": "c4", "function": {"name": "i"}},
        {"id": "c5", "function": {"name": "j", "arguments": {"a": 1}}},
        {"id": "c6", "type": "custom", "custom": {"name": "k", "input": "free text"}},
        None,
        7,
    ]
    got = decode(answer({"content": None, "tool_calls": calls}))
    assert [(c["name"], c["args"], c["id"]) for c in got.tool_calls] == [
        ("f", {"a": [1, "é"]}, "c1"),
        ("i", {}, "c4"),
        ("j", {"a": 1}, "c5"),
        ("k", {"__arg1": "free text"}, "c6"),
    ]
    assert [(c["name"], c["args"], c["id"]) for c in got.invalid_tool_calls] == [
        ("g", '{"a": ', "c2"),
        ("h", "[1]", "c3"),
    ]
    assert all("tool arguments" in (c["error"] or "") for c in got.invalid_tool_calls)


def test_a_tool_call_without_an_id_gets_one_that_stays_the_same() -> None:
    calls = [
        {"id": "", "function": {"name": "f", "arguments": "{}"}},
        {"function": {"name": "f", "arguments": "{}"}},
    ]
    body = answer({"content": None, "tool_calls": calls})
    first, second = decode(body).tool_calls
    assert first["id"] != second["id"]
    assert [c["id"] for c in decode(body).tool_calls] == [first["id"], second["id"]]
    assert decode({**body, "id": "chatcmpl-2"}).tool_calls[0]["id"] != first["id"]
    assert first["id"] is not None
    assert first["id"].startswith("call_")
    assert len(first["id"]) <= 40


def test_an_empty_finish_reason_is_none_and_an_unknown_one_stays() -> None:
    body = answer()
    for said, read in (("", None), (None, None), ("eos", "eos")):
        body["choices"][0]["finish_reason"] = said
        assert decode(body).response_metadata["finish_reason"] == read


def test_of_several_choices_the_first_by_index_is_the_answer() -> None:
    body = answer()
    body["choices"].insert(
        0, {"index": 1, "message": {"content": "other"}, "finish_reason": "stop"}
    )
    assert decode(body).content == "hi"


def test_an_answer_azure_filtered_whole_is_empty_with_its_reason() -> None:
    body = answer()
    for choice in ({"index": 0}, {"index": 0, "message": None}):
        body["choices"] = [{**choice, "finish_reason": "content_filter"}]
        message = decode(body)
        assert message.content == ""
        assert message.response_metadata["finish_reason"] == "content_filter"


def test_white_space_before_the_answer_is_no_matter() -> None:
    assert decode(b"\n   \n" * 80 + json.dumps(answer()).encode()).content == "hi"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>gateway</html>",
        b'{"choices": [',
        b"null",
        b"[]",
        b'"text"',
        b"{}",
        b'{"choices": null}',
        b'{"choices": []}',
        b'{"choices": {}}',
        b'{"choices": [null]}',
        b'{"choices": [{}]}',
        b'{"choices": [{"index": 0, "message": null}]}',
        b'{"choices": [{"index": 0, "message": "hi"}]}',
        b'{"choices": ' + b"[" * 100_000,
        b'data: {"choices": []}\n\n',
    ],
)
def test_an_answer_nobody_can_read_is_a_malformed_response(body: bytes) -> None:
    with pytest.raises(MalformedResponse) as caught:
        decode(body, {"x-request-id": "req_5"})
    assert caught.value.request_id == "req_5"
    assert caught.value.retry_class is RetryClass.GLITCH
    assert len(str(caught.value)) < 600
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("body", "cls", "status"),
    [
        ({"error": {"message": "no", "code": 502}}, ServerError, 502),
        ({"error": {"message": "no", "code": "429"}}, RateLimited, 429),
        ({"error": {"message": "no", "type": "insufficient_quota"}}, QuotaExhausted, 200),
        ({"error": {"message": "no", "type": "overloaded_error"}}, Overloaded, 200),
        ({"error": {"message": "no", "status_code": 503}}, Overloaded, 503),
        ({"error": "no"}, BadRequest, 200),
        ({"object": "error", "message": "no", "type": "NotFound", "code": 500}, ServerError, 500),
        ({**answer(), "error": {"message": "no", "code": 502}}, ServerError, 502),
        (
            {"choices": [{"index": 0, "error": {"message": "no", "code": 502}, "message": {}}]},
            ServerError,
            502,
        ),
    ],
)
def test_an_error_under_a_200_is_the_error_it_says(
    body: Any, cls: type[Exception], status: int
) -> None:
    with pytest.raises(cls) as caught:
        decode(body, {"x-request-id": "req_5"})
    assert type(caught.value) is cls
    assert caught.value.status == status  # type: ignore[attr-defined]
    assert caught.value.message == "no"  # type: ignore[attr-defined]
    assert caught.value.request_id == "req_5"  # type: ignore[attr-defined]


def test_the_provider_of_a_clone_is_named_in_answers_and_errors() -> None:
    clone = ChatCompletionsCodec("groq")
    assert decode(answer(), codec=clone).response_metadata["model_provider"] == "groq"
    assert clone.error(Reply(429, {}, b"")).provider == "groq"
    with pytest.raises(MalformedResponse, match="`groq`"):
        decode(b"", codec=clone)
