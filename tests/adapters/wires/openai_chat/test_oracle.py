"""The `openai` SDK as oracle: the same messages go out as the same body, the same bytes come in as the same answer."""

from __future__ import annotations

import functools
import json
import operator
from typing import Any

import httpx2
import openai
import pytest
from openai.lib.streaming.chat import ChatCompletionStreamState

from modelwire.adapters.wires.openai_chat.codec import ChatCompletionsCodec
from modelwire.adapters.wires.wire import ChatCall, Endpoint
from modelwire.errors import ChatError
from modelwire.messages import AIMessage, HumanMessage
from modelwire.transport.sse import SSEDecoder
from modelwire.transport.wire import Reply

CODEC = ChatCompletionsCodec()
BASE_URL = "https://api.openai.com/v1"


def sdk(
    answer: bytes, status: int = 200, content_type: str = "application/json"
) -> tuple[openai.OpenAI, list[Any]]:
    seen: list[httpx2.Request] = []

    def handle(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        headers = {"content-type": content_type, "x-request-id": "req_1"}
        return httpx2.Response(status, headers=headers, content=answer)

    client = httpx2.Client(transport=httpx2.MockTransport(handle))
    return openai.OpenAI(
        api_key="sk-test", base_url=BASE_URL, http_client=client, max_retries=0
    ), seen


# ---------------------------------------------------------------- out

WIRE_CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city":"Zürich"}'},
}
WIRE_CALL_2 = {"id": "call_2", "type": "function", "function": {"name": "time", "arguments": "{}"}}


# `test_chat_matrix.py` has the rest of what goes out.
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("text", ["hi", "Grüße 😀\n\t\x00"])
def test_the_request_is_the_one_the_sdk_sends(text: str, streamed: bool) -> None:
    streaming: Any = {"stream": True, "stream_options": {"include_usage": True}} if streamed else {}
    client, seen = sdk(json.dumps(whole()).encode())
    client.chat.completions.create(
        model="gpt-4o-mini",
        messages=[{"role": "user", "content": text}],
        extra_body={"top_k": 1},
        extra_headers={"X-A": "b"},
        **streaming,
    )
    (theirs,) = seen
    call = ChatCall(
        messages=[HumanMessage(text)],
        model="gpt-4o-mini",
        endpoint=Endpoint(BASE_URL, {"Authorization": "Bearer sk-test"}),
        stream=streamed,
        extra_body={"top_k": 1},
        extra_headers={"X-A": "b"},
    )
    ours = CODEC.encode(call)
    assert json.loads(json.dumps(ours.body)) == json.loads(theirs.content)
    assert (ours.method, ours.url) == (theirs.method, str(theirs.url))
    for name, value in ours.headers.items():
        assert theirs.headers[name] == value


# ---------------------------------------------------------------- in


def whole(message: Any = None, **fields: Any) -> dict[str, Any]:
    choice_fields = {key: fields.pop(key) for key in ("finish_reason", "logprobs") if key in fields}
    said = {"role": "assistant", "content": "hi", "refusal": None, **(message or {})}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [
            {
                "index": 0,
                "message": said,
                "logprobs": None,
                "finish_reason": "stop",
                **choice_fields,
            }
        ],
        "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12},
        "system_fingerprint": "fp_1",
        **fields,
    }


def choices(*messages: Any) -> list[Any]:
    return [
        {"index": n, "message": {"role": "assistant", **message}, "finish_reason": "stop"}
        for n, message in enumerate(messages)
    ]


USAGE = {
    "prompt_tokens": 9,
    "completion_tokens": 3,
    "total_tokens": 20,
    "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 1},
    "completion_tokens_details": {
        "reasoning_tokens": 2,
        "audio_tokens": 0,
        "accepted_prediction_tokens": 0,
    },
}
LOGPROBS = {
    "content": [{"token": "hi", "logprob": -0.1, "bytes": [104, 105], "top_logprobs": []}],
    "refusal": None,
}

WHOLE: dict[str, Any] = {
    "text": whole(),
    "empty": whole({"content": ""}),
    "null": whole({"content": None}),
    "not ascii": whole({"content": 'Grüße 😀 "\\\n\t'}),
    "refusal": whole({"content": None, "refusal": "I cannot."}),
    "one call": whole({"content": None, "tool_calls": [WIRE_CALL]}, finish_reason="tool_calls"),
    "two calls": whole(
        {"content": "so", "tool_calls": [WIRE_CALL, WIRE_CALL_2]}, finish_reason="tool_calls"
    ),
    "length": whole(finish_reason="length"),
    "filtered": whole({"content": None}, finish_reason="content_filter"),
    "unknown reason": whole(finish_reason="eos"),
    "details": whole(usage=USAGE),
    "null details": whole(
        usage={**USAGE, "prompt_tokens_details": None, "completion_tokens_details": None}
    ),
    "no usage": whole(usage=None),
    "no fingerprint": whole(system_fingerprint=None),
    "tier": whole(service_tier="default"),
    "logprobs": whole(logprobs=LOGPROBS),
    "two choices": whole(choices=choices({"content": "a"}, {"content": "b"})),
    "annotations": whole(
        {"annotations": [{"type": "url_citation", "url_citation": {"url": "u", "title": "t"}}]}
    ),
    "no call list": whole({"tool_calls": None}),
    "reasoning": whole({"reasoning_content": "hm"}),
    "unknown fields": whole({"mood": "good"}, weather="fine"),
}


def read_by_sdk(completion: Any) -> dict[str, Any]:
    """Say what the SDK read, in the words of `read_by_us`."""
    choice = completion.choices[0]
    message, usage = choice.message, completion.usage
    tokens = None
    if usage is not None:
        into, out = usage.prompt_tokens_details, usage.completion_tokens_details
        tokens = (
            usage.prompt_tokens,
            usage.completion_tokens,
            usage.total_tokens,
            getattr(into, "cached_tokens", None),
            getattr(out, "reasoning_tokens", None),
        )
    return {
        "text": message.content or "",
        "refusal": message.refusal or None,
        "reasoning": getattr(message, "reasoning_content", None),
        "calls": [
            (c.id, c.function.name, json.loads(c.function.arguments))
            for c in message.tool_calls or ()
        ],
        "finish_reason": choice.finish_reason,
        "logprobs": [token.token for token in choice.logprobs.content] if choice.logprobs else None,
        "annotations": len(message.annotations or ())
        if getattr(message, "annotations", None)
        else 0,
        "id": completion.id,
        "model": completion.model,
        "fingerprint": completion.system_fingerprint,
        "tokens": tokens,
    }


def read_by_us(message: AIMessage) -> dict[str, Any]:
    usage, kwargs, metadata = (
        message.usage_metadata,
        message.additional_kwargs,
        message.response_metadata,
    )
    tokens = usage and (
        usage["input_tokens"],
        usage["output_tokens"],
        usage["total_tokens"],
        usage.get("input_token_details", {}).get("cache_read"),
        usage.get("output_token_details", {}).get("reasoning"),
    )
    logprobs = metadata["logprobs"]
    return {
        "text": message.content,
        "refusal": kwargs.get("refusal"),
        "reasoning": kwargs.get("reasoning_content"),
        "calls": [(call["id"], call["name"], call["args"]) for call in message.tool_calls],
        "finish_reason": metadata["finish_reason"],
        "logprobs": logprobs and [token["token"] for token in logprobs["content"]],
        "annotations": len(kwargs.get("annotations", ())),
        "id": message.id,
        "model": metadata["model_name"],
        "fingerprint": metadata["system_fingerprint"],
        "tokens": tokens,
    }


@pytest.mark.parametrize("case", WHOLE)
def test_the_answer_is_the_one_the_sdk_reads(case: str) -> None:
    raw = json.dumps(WHOLE[case]).encode()
    client, _ = sdk(raw)
    theirs = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
    ours = CODEC.decode(Reply(200, {"x-request-id": "req_1"}, raw))
    assert read_by_us(ours) == read_by_sdk(theirs)
    assert ours.response_metadata["request_id"] == theirs._request_id


def chunk(delta: Any, **fields: Any) -> dict[str, Any]:
    choice_fields = {
        key: fields.pop(key) for key in ("finish_reason", "logprobs", "index") if key in fields
    }
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "gpt-4o-mini-2024-07-18",
        "system_fingerprint": "fp_1",
        "choices": [
            {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None, **choice_fields}
        ],
        **fields,
    }


def call_delta(index: int, arguments: str, **first: str) -> dict[str, Any]:
    function: dict[str, Any] = {"arguments": arguments}
    if "name" in first:
        function["name"] = first["name"]
    start = {"id": first["id"], "type": "function"} if "id" in first else {}
    return chunk({"tool_calls": [{"index": index, **start, "function": function}]})


ROLE = chunk({"role": "assistant", "content": ""})
STOP = chunk({}, finish_reason="stop")
TOOLS_STOP = chunk({}, finish_reason="tool_calls")
LAST = chunk({}, choices=[], usage=USAGE)
LOGGED = {
    "content": [{"token": "hi", "logprob": -0.1, "bytes": None, "top_logprobs": []}],
    "refusal": None,
}

STREAMS: dict[str, list[Any]] = {
    "text": [ROLE, chunk({"content": "Hel"}), chunk({"content": "lo"}), STOP, LAST],
    "no usage": [ROLE, chunk({"content": "a"}), STOP],
    "usage null until the end": [
        chunk({"content": "a"}, usage=None),
        chunk({}, finish_reason="stop", usage=None),
        LAST,
    ],
    "usage with the finish": [
        chunk({"content": "a"}),
        chunk({}, finish_reason="stop", usage=USAGE),
    ],
    "not ascii": [ROLE, chunk({"content": "Grü"}), chunk({"content": 'ße 😀 "\n'}), STOP, LAST],
    "length": [ROLE, chunk({"content": "a"}), chunk({}, finish_reason="length"), LAST],
    "finish with text": [
        chunk({"content": "a"}),
        chunk({"content": "b"}, finish_reason="stop"),
        LAST,
    ],
    "refusal": [chunk({"role": "assistant", "refusal": "I "}), chunk({"refusal": "cannot"}), STOP],
    "a call": [
        chunk({"role": "assistant", "content": None}),
        call_delta(0, "", id="call_1", name="weather"),
        call_delta(0, '{"city": "Z\\u00'),
        call_delta(0, 'fcrich"}'),
        TOOLS_STOP,
        LAST,
    ],
    "two calls": [
        call_delta(0, "", id="call_1", name="weather"),
        call_delta(0, '{"city": 1}'),
        call_delta(1, "", id="call_2", name="time"),
        call_delta(1, "{}"),
        TOOLS_STOP,
        LAST,
    ],
    "calls in turn": [
        call_delta(0, "", id="call_1", name="weather"),
        call_delta(1, "", id="call_2", name="time"),
        call_delta(0, "{}"),
        call_delta(1, '{"a": [1, 2]}'),
        TOOLS_STOP,
    ],
    "a whole call": [call_delta(0, '{"city": "x"}', id="call_1", name="weather"), TOOLS_STOP],
    "text before a call": [
        ROLE,
        chunk({"content": "so"}),
        call_delta(0, "{}", id="call_1", name="weather"),
        TOOLS_STOP,
    ],
    "logprobs": [chunk({"content": "hi"}, logprobs=LOGGED), STOP],
    "two choices": [
        chunk({"content": "a"}),
        chunk({"content": "x"}, index=1),
        chunk({"content": "b"}),
        chunk({}, finish_reason="stop", index=1),
        STOP,
        LAST,
    ],
    "obfuscated": [chunk({"content": "a"}, obfuscation="xyz"), STOP, LAST],
    "tier": [chunk({"content": "a"}, service_tier="default"), STOP, LAST],
}


def sse(events: list[Any]) -> bytes:
    return (
        b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in events)
        + b"data: [DONE]\n\n"
    )


@pytest.mark.parametrize("case", STREAMS)
def test_the_streamed_answer_is_the_one_the_sdk_reads(case: str) -> None:
    raw = sse(STREAMS[case])
    client, _ = sdk(raw, content_type="text/event-stream")
    state: Any = ChatCompletionStreamState()
    for each in client.chat.completions.create(
        model="m", messages=[{"role": "user", "content": "x"}], stream=True
    ):
        state.handle_chunk(each)
    theirs = state.current_completion_snapshot
    decoder = CODEC.stream_decoder()
    chunks = [
        made for event in SSEDecoder().feed(raw) for made in decoder.feed(event)
    ] + decoder.close()
    ours = functools.reduce(operator.add, chunks)
    assert read_by_us(ours) == read_by_sdk(theirs)


FAILURES: dict[str, tuple[int, bytes]] = {
    "bad request": (
        400,
        b'{"error": {"message": "no", "type": "invalid_request_error", "param": "x", "code": null}}',
    ),
    "key": (
        401,
        b'{"error": {"message": "wrong key", "type": "x", "param": null, "code": "invalid_api_key"}}',
    ),
    "model": (
        404,
        b'{"error": {"message": "none", "type": "x", "param": null, "code": "model_not_found"}}',
    ),
    "rate": (
        429,
        b'{"error": {"message": "slow", "type": "requests", "code": "rate_limit_exceeded"}}',
    ),
    "server": (500, b'{"error": {"message": "oops", "type": "server_error", "code": null}}'),
}


@pytest.mark.parametrize("case", FAILURES)
def test_an_error_has_the_facts_the_sdk_reads(case: str) -> None:
    status, raw = FAILURES[case]
    client, _ = sdk(raw, status)
    with pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
    theirs = caught.value
    ours = CODEC.error(Reply(status, {"x-request-id": "req_1"}, raw))
    assert isinstance(ours, ChatError)
    assert (ours.status_code, ours.code, ours.type, ours.request_id) == (
        theirs.status_code,
        theirs.code,
        theirs.type,
        theirs.request_id,
    )
    assert ours.message in theirs.message
