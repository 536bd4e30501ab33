"""What services were seen to send that nobody expects, each read over HTTP by the real model; the bodies are our own.

Of the decoder alone, elsewhere: Azure's first event, its choice without `delta` or `message`, usage in every place,
lists as content, tool calls without id, type, number or arguments (`test_stream.py`, `test_chat_completions.py`);
several choices (`test_choices.py`); shapes of errors (`test_wire_json.py`).
"""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest
from support.mocked import answered_by

from modelwire.adapters import ChatOpenAI
from modelwire.errors import (
    AuthenticationError,
    BadRequest,
    ChatError,
    IncompleteStream,
    NotFound,
    Overloaded,
    ServerError,
    StreamInterrupted,
)
from modelwire.messages import merge_chunks

SSE, JSON = "text/event-stream", "application/json"
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def asked(
    colour: Any, body: bytes | str, *, stream: bool, kind: str | None = None, **reply: Any
) -> Any:
    """Ask a model once that is answered by `body`; give the answer, of a stream the sum and its chunks."""
    headers = {**reply.get("headers", {})}
    if kind != "":
        headers["content-type"] = kind or (SSE if stream else JSON)
    content = body.encode() if isinstance(body, str) else body

    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(reply.get("status", 200), headers=headers, content=content)

    model = ChatOpenAI(model="m", api_key="none", max_retries=0, **answered_by(answer))
    return merge_chunks(colour.stream(model, "hi")) if stream else colour.invoke(model, "hi")


def whole(message: dict[str, Any], reason: str | None = "stop", **fields: Any) -> str:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": reason}
    return json.dumps({"id": "c", "model": "m", "choices": [choice], "usage": USAGE, **fields})


def delta(said: dict[str, Any], reason: str | None = None, **fields: Any) -> str:
    choice = {"index": 0, "delta": said, "finish_reason": reason}
    return json.dumps({"id": "c", "model": "m", "choices": [choice], **fields})


def sse(*events: str, end: str = "\n\n", done: bool = True) -> str:
    return "".join(f"data: {event}{end}" for event in (*events, *(["[DONE]"] if done else [])))


def said(answer: Any) -> dict[str, Any]:
    usage = answer.usage_metadata
    return {
        "text": answer.content,
        "thought": answer.additional_kwargs.get("reasoning_content"),
        "calls": [(call["name"], call["args"]) for call in answer.tool_calls],
        "reason": answer.response_metadata["finish_reason"],
        "tokens": usage and (usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]),
    }


# Snowflake's answer: every struct there is, empty.
HOLLOW = {
    "refusal": "",
    "function_call": {"name": "", "arguments": ""},
    "audio": {"id": "", "data": "", "transcript": "", "expires_at": 0},
    "annotations": [],
    "tool_calls": None,
}
HOLLOW_CALL = {
    "id": "c1",
    "type": "function",
    "index": 0,
    "function": {"name": "f", "arguments": "{}"},
    "custom": {"name": "", "input": ""},
}
DETAILS = [{"type": "reasoning.text", "text": "hm"}]
SEALED = [{"type": "reasoning.encrypted", "data": "x==", "index": 0, "id": "rs_1"}]
RUNNING = [{"prompt_tokens": 3, "completion_tokens": n, "total_tokens": 3 + n} for n in range(3)]
A, B, END = (
    delta({"role": "assistant", "content": "a"}),
    delta({"content": "b"}),
    delta({}, "stop", usage=USAGE),
)

# name: a body, whether it is a stream, and what of the answer is not a text "ab", a stop, and 3 + 2 tokens
ANSWERS: dict[str, tuple[str, bool, dict[str, Any]]] = {
    "CRLF, fields nobody needs, data on several lines": (
        f"\ufeffid: 7\r\nretry: 10\r\nevent: message\r\ndata: {A}\r\n\r\n"
        + "".join(f"data: {line}\r\n" for line in json.dumps(json.loads(B), indent=1).splitlines())
        + f"\r\ndata:{END}\r\n\r\ndata: [DONE]\r\n\r\n",
        True,
        {},
    ),
    "comments while it waits": (
        f": PROCESSING\n\n: PROCESSING\n\n{sse(A, done=False)}: PROCESSING\n\n{sse(B, END)}",
        True,
        {},
    ),
    "no mark at the end": (sse(A, B, END, done=False), True, {}),
    "no blank line at the end": (sse(A, B, END).rstrip("\n"), True, {}),
    "role and reason in several deltas": (
        sse(
            A,
            delta({"role": "assistant", "content": "b"}, "stop"),
            delta({"role": "assistant"}, "stop", usage=USAGE),
        ),
        True,
        {},
    ),
    "a running total in every event": (
        sse(
            delta({"content": "a"}, usage=RUNNING[0]),
            delta({"content": "b"}, usage=RUNNING[1]),
            delta({}, "stop", usage=RUNNING[2]),
        ),
        True,
        {},
    ),
    "a total beyond its parts": (
        whole({"content": "ab"}, usage={**USAGE, "total_tokens": 109}),
        False,
        {"tokens": (3, 2, 109)},
    ),
    "details of usage that are null": (
        whole(
            {"content": "ab"},
            usage={**USAGE, "prompt_tokens_details": None, "completion_tokens_details": None},
        ),
        False,
        {},
    ),
    "white space before JSON": ("\n         \n" * 36 + whole({"content": "ab"}), False, {}),
    "no calls": (whole({"content": "ab", "tool_calls": []}), False, {}),
    "nothing said at all": (whole({"content": None}), False, {"text": ""}),
    "every struct, empty": (
        whole({"content": "ab", **HOLLOW, "reasoning_details": DETAILS}, ""),
        False,
        {"thought": "hm", "reason": None},
    ),
    "every struct, empty, in a stream": (
        sse(
            delta({"content": "a", **HOLLOW, "reasoning_details": DETAILS}, ""),
            delta({"content": "b", **HOLLOW, "reasoning_details": []}, "", usage=USAGE),
        ),
        True,
        {"thought": "hm", "reason": None},
    ),
    "a call among empty structs": (
        whole({"content": "", **HOLLOW, "tool_calls": [HOLLOW_CALL]}, "tool_calls"),
        False,
        {"text": "", "calls": [("f", {})], "reason": "tool_calls"},
    ),
    "a call among empty structs, in a stream": (
        sse(
            delta({**HOLLOW, "tool_calls": [HOLLOW_CALL]}), delta(HOLLOW, "tool_calls", usage=USAGE)
        ),
        True,
        {"text": "", "calls": [("f", {})], "reason": "tool_calls"},
    ),
    "content in lists and texts by turns": (
        sse(
            delta(
                {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]}
            ),
            delta({"content": [{"type": "text", "text": "a"}]}),
            B,
            END,
        ),
        True,
        {"thought": "hm"},
    ),
    "a stream of Azure's, filtered as it goes": (
        sse(
            json.dumps(
                {
                    "id": "",
                    "model": "",
                    "choices": [],
                    "prompt_filter_results": [{"prompt_index": 0}],
                }
            ),
            A,
            B,
            json.dumps(
                {
                    "id": "",
                    "choices": [{"index": 0, "finish_reason": None, "content_filter_offsets": {}}],
                }
            ),
            END,
        ),
        True,
        {},
    ),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_a_surprising_answer_is_read(colour: Any, name: str) -> None:
    body, stream, wanted = ANSWERS[name]
    usual = {"text": "ab", "thought": None, "calls": [], "reason": "stop", "tokens": (3, 2, 5)}
    answer = asked(colour, body, stream=stream)
    assert said(answer) == usual | wanted
    assert answer.response_metadata["model_name"] == "m"
    assert answer.additional_kwargs.keys() <= {"reasoning_content", "reasoning_details"}


def test_sealed_reasoning_without_words_is_kept_whole_and_streamed(colour: Any) -> None:
    for answer in (
        asked(colour, whole({"content": "ab", "reasoning_details": SEALED}), stream=False),
        asked(colour, sse(A, B, delta({"reasoning_details": SEALED}), END), stream=True),
    ):
        assert answer.additional_kwargs == {"reasoning_details": SEALED}


def test_a_hint_to_wait_on_an_answer_that_came_is_no_matter(colour: Any) -> None:
    answer = asked(colour, whole({"content": "ab"}), stream=False, headers={"retry-after": "30"})
    assert answer.content == "ab"


WORDS = {"message": "no such thing", "type": "invalid_request_error", "code": 400}

# name: a body, whether a stream was asked for, its content type ("" is none), its status, and the error
ERRORS: dict[str, tuple[str, bool, str, int, type[ChatError]]] = {
    "JSON under another type": (
        json.dumps({"error": WORDS}),
        False,
        "application/octet-stream",
        400,
        BadRequest,
    ),
    "JSON without a type": (
        json.dumps({"error": {**WORDS, "code": "401"}}),
        False,
        "",
        401,
        AuthenticationError,
    ),
    "a detail": (json.dumps({"detail": "no such thing"}), False, JSON, 404, NotFound),
    "a code and a text": (
        json.dumps({"code": "x", "error": "no such thing"}),
        False,
        JSON,
        400,
        BadRequest,
    ),
    "JSON where a stream was to come": (json.dumps({"error": WORDS}), True, JSON, 400, BadRequest),
    "an error under a 200": (json.dumps({"error": WORDS}), False, JSON, 200, BadRequest),
    "an error under a 200 where a stream was to come": (
        json.dumps({"error": WORDS}),
        True,
        JSON,
        200,
        BadRequest,
    ),
    "an event named error": (
        f"{sse(A, done=False)}event: error\ndata: {json.dumps({'error': WORDS})}\n\n",
        True,
        SSE,
        200,
        StreamInterrupted,
    ),
    "an error beside choices, after the reason": (
        sse(
            A,
            delta({}, "length"),
            delta({}, "error", error={"message": "no such thing", "code": 502}),
        ),
        True,
        SSE,
        200,
        StreamInterrupted,
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_in_a_surprising_place_is_raised_with_its_words(colour: Any, name: str) -> None:
    body, stream, kind, status, cls = ERRORS[name]
    with pytest.raises(cls, match="no such thing"):
        asked(colour, body, stream=stream, kind=kind, status=status)


def test_a_part_of_an_answer_is_none(colour: Any) -> None:
    with pytest.raises(IncompleteStream) as caught:
        asked(colour, sse(A, B, done=False), stream=True)
    assert caught.value.partial.content == "ab"


BROKEN = {
    "error": ServerError,
    "network_error": ServerError,
    "insufficient_system_resource": Overloaded,
}


@pytest.mark.parametrize("reason", BROKEN)
def test_an_answer_that_ended_in_an_error_is_none(colour: Any, reason: str) -> None:
    """Mistral's, Z.ai's and DeepSeek's `finish_reason`, without an `error` beside it."""
    with pytest.raises(BROKEN[reason], match=reason):
        asked(colour, whole({"content": "a"}, reason), stream=False)
    with pytest.raises(StreamInterrupted, match=reason) as caught:
        asked(colour, sse(A, B, delta({}, reason)), stream=True)
    assert caught.value.partial.content == "ab"


def test_a_stream_that_groq_stopped_early_is_none(colour: Any) -> None:
    with pytest.raises(StreamInterrupted, match="over capacity") as caught:
        asked(
            colour,
            sse(A, delta({}, "stop", x_groq={"id": "r", "error": "over capacity"})),
            stream=True,
        )
    assert caught.value.partial.content == "a"
