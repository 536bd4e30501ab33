"""Writes an `Answer` and errors in the format of Gemini's generateContent, whole and streamed. No I/O.

Wire format: https://ai.google.dev/api/generate-content and
https://ai.google.dev/gemini-api/docs/troubleshooting, read 2026-11.
"""

from __future__ import annotations

from modelwire.aliases import JSON
from modelwire.testing.server.answers import Answer, Call, calls_of, pieces
from modelwire.testing.server.replies import StreamParts, sse

_STOP = {
    "stop": "STOP",
    "tool_calls": "STOP",
    "length": "MAX_TOKENS",
    "content_filter": "SAFETY",
}
_RPC = "type.googleapis.com/google.rpc"
_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def _frame(answer: Answer, call: Call, parts: list[JSON], reason: str | None) -> JSON:
    candidate: JSON = {"content": {"role": "model", "parts": parts}, "index": 0}
    if reason is not None:
        candidate["finishReason"] = reason
    usage = call.usage
    return {
        "candidates": [candidate],
        "usageMetadata": {
            "promptTokenCount": usage.input_tokens,
            "cachedContentTokenCount": usage.cached_tokens,
            "candidatesTokenCount": usage.output_tokens - usage.reasoning_tokens,
            "thoughtsTokenCount": usage.reasoning_tokens,
            "totalTokenCount": usage.total,
        },
        "modelVersion": answer.model or call.model,
        "responseId": f"gemini-{call.number}",
    }


def _calls(answer: Answer, call: Call) -> list[JSON]:
    parts: list[JSON] = [
        {"functionCall": {"name": one.name, "args": one.args, "id": one.id}}
        for one in calls_of(answer, call)
    ]
    if parts:
        parts[0]["thoughtSignature"] = f"c2lnLQ{call.number:02d}"
    return parts


def body(answer: Answer, call: Call) -> JSON:
    """Return the body of a whole answer."""
    parts: list[JSON] = []
    if answer.reasoning:
        parts.append({"text": answer.reasoning, "thought": True})
    text = answer.text or answer.refusal
    if text or not answer.tool_calls:
        parts.append({"text": text})
    parts += _calls(answer, call)
    return _frame(answer, call, parts, answer.reason_in(_STOP))


def events(answer: Answer, call: Call) -> StreamParts:
    """Return the encoded events of a stream, in three lists: opening, content and closing."""
    thoughts = pieces(answer.reasoning)
    parts: list[JSON] = [{"text": piece, "thought": True} for piece in thoughts]
    text = answer.text or answer.refusal
    parts += [{"text": piece} for piece in pieces(text)]
    parts += _calls(answer, call)
    opening = {**_frame(answer, call, [], None), "candidates": []}
    opening["usageMetadata"] = {"promptTokenCount": call.usage.input_tokens}
    content = [sse(_frame(answer, call, [part], None)) for part in parts]
    closing = _frame(answer, call, [{"text": ""}], answer.reason_in(_STOP))
    return [sse(opening)], content, [sse(closing)]


def error(status: int, message: str, type: str | None, code: str | int | None, number: int) -> JSON:
    """Return the body of an error.

    A `code` that is not a number becomes the reason, or with 429 the quota, in the error's details.
    """
    error: JSON = {
        "code": status,
        "message": message,
        "status": type or _STATUS.get(status, "UNKNOWN"),
        "details": [],
    }
    if isinstance(code, int):
        error["code"] = code
    elif code is not None and status == 429:
        quota = {"@type": f"{_RPC}.QuotaFailure", "violations": [{"quotaId": code}]}
        error["details"] = [quota]
    elif code is not None:
        reason = {"@type": f"{_RPC}.ErrorInfo", "reason": code}
        error["details"] = [reason]
    return {"error": error}
