"""Writes an `Answer` and errors in the format of Anthropic's Messages, whole and streamed. No I/O.

Wire format: https://docs.anthropic.com/en/api/messages-streaming and
https://docs.anthropic.com/en/api/errors, read 2026-11.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from modelwire.aliases import JSON
from modelwire.testing.server.answers import (
    Answer,
    Call,
    Usage,
    args_text,
    calls_of,
    pieces,
    slices,
)
from modelwire.testing.server.replies import StreamParts, sse

# The end of a stream repeats these fields of the message.
_DELTA = ("stop_reason", "stop_sequence", "stop_details", "container")
_STOP = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}


def _blocks(answer: Answer, call: Call) -> list[JSON]:
    blocks: list[JSON] = []
    if answer.reasoning:
        blocks.append(
            {"type": "thinking", "thinking": answer.reasoning, "signature": f"sig-{call.number}"}
        )
    if answer.text or answer.refusal:
        blocks.append({"type": "text", "text": answer.text or answer.refusal, "citations": None})
    direct = {"type": "direct"}
    blocks += [
        {"type": "tool_use", "id": one.id, "name": one.name, "input": one.args, "caller": direct}
        for one in calls_of(answer, call, "toolu")
    ]
    return blocks


def body(answer: Answer, call: Call) -> JSON:
    """Return the message object."""
    usage = call.usage
    stop_details = None
    if answer.refusal:
        stop_details = {"type": "refusal", "category": None, "explanation": answer.refusal}
    return {
        "id": f"msg_{call.number}",
        "type": "message",
        "role": "assistant",
        "model": answer.model or call.model,
        "content": _blocks(answer, call),
        "stop_reason": answer.reason_in(_STOP),
        "stop_sequence": None,
        "stop_details": stop_details,
        "container": None,
        "diagnostics": None,
        "usage": {
            **_counts(usage),
            "cache_creation": {
                "ephemeral_1h_input_tokens": usage.written.get("1h", 0),
                "ephemeral_5m_input_tokens": usage.written.get("5m", 0),
            },
            "inference_geo": None,
            "service_tier": "standard",
            "speed": None,
        },
    }


def _counts(usage: Usage) -> JSON:
    """Return the fields of the usage that the end of a stream repeats."""
    return {
        "input_tokens": usage.fresh_tokens,
        "cache_creation_input_tokens": usage.written_tokens,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"thinking_tokens": usage.reasoning_tokens},
        "server_tool_use": None,
    }


def events(answer: Answer, call: Call) -> StreamParts:
    """Return the encoded events of a stream, in three lists: opening, content and closing."""

    message = body(answer, call)
    usage = message["usage"]
    start = {**message, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}}
    content = [
        part
        for index, block in enumerate(message["content"])
        for part in _block_events(index, block)
    ]
    delta = {name: message[name] for name in _DELTA}
    closing = [
        _event("message_delta", delta=delta, usage=_counts(call.usage)),
        _event("message_stop"),
    ]
    return [_event("message_start", message=start), _event("ping")], content, closing


def _block_events(index: int, block: JSON) -> Iterator[bytes]:
    deltas: list[JSON]
    match block["type"]:
        case "text":
            empty = {**block, "text": ""}
            deltas = [{"type": "text_delta", "text": piece} for piece in pieces(block["text"])]
        case "thinking":
            empty = {**block, "thinking": "", "signature": ""}
            thought = pieces(block["thinking"])
            deltas = [{"type": "thinking_delta", "thinking": piece} for piece in thought]
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
        case _:
            empty = {**block, "input": {}}
            parts = ["", *slices(args_text(block["input"]))]
            deltas = [{"type": "input_json_delta", "partial_json": part} for part in parts]
    yield _event("content_block_start", index=index, content_block=empty)
    for delta in deltas:
        yield _event("content_block_delta", index=index, delta=delta)
    yield _event("content_block_stop", index=index)


def _event(kind: str, **fields: Any) -> bytes:
    return sse({"type": kind, **fields}, kind)


_ERRORS = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def error(status: int, message: str, type: str | None, code: str | int | None, number: int) -> JSON:
    """Return the body of an error."""
    kind = type or _ERRORS.get(status, "api_error" if status >= 500 else "invalid_request_error")
    about: JSON = {"type": kind, "message": message}
    if code is not None:
        about["details"] = {"error_code": code}
    return {"type": "error", "error": about, "request_id": f"req_{number}"}
