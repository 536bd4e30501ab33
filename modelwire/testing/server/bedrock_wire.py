"""Writes an `Answer` and errors in the format of Bedrock's Converse, whole and as frames of an event stream. No I/O.

Wire format: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html
and https://smithy.io/2.0/aws/amazon-eventstream.html, read 2026-11.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from zlib import crc32

from pydantic_core import to_json

from modelwire.aliases import JSON, HeaderFields
from modelwire.testing.server.answers import Answer, Call, args_text, calls_of, pieces, slices
from modelwire.testing.server.replies import Headers, StreamParts

_STOP = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "content_filtered",
}
_ERRORS = {
    401: "UnrecognizedClientException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    408: "ModelTimeoutException",
    424: "ModelErrorException",
    429: "ThrottlingException",
    503: "ServiceUnavailableException",
    529: "ServiceUnavailableException",
}


# This byte marks a header whose value is text.
_TEXT = b"\x07"
# A frame has two sizes and two checksums around its headers and its payload.
_AROUND_BYTES = 16


def frame(payload: bytes, headers: HeaderFields, *, packed: bytes = b"") -> bytes:
    """Return one frame of an event stream. `packed` are encoded headers, which precede the text `headers`."""
    for name, value in headers.items():
        text = value.encode()
        packed += len(name).to_bytes(1) + name.encode()
        packed += _TEXT
        packed += len(text).to_bytes(2) + text
    size_bytes = _AROUND_BYTES + len(packed) + len(payload)
    whole = _number(size_bytes)
    whole += _number(len(packed))
    whole += _number(crc32(whole))
    whole += packed
    whole += payload
    return whole + _number(crc32(whole))


def _number(value: int) -> bytes:
    return value.to_bytes(4)


def _event(name: str, **data: Any) -> bytes:
    headers = {":event-type": name, ":content-type": "application/json", ":message-type": "event"}
    return frame(to_json({**data, "p": "abcdefgh"}), headers)


def raw_event(event: Any) -> bytes:
    """Return the frame of an event such as `{"messageStop": {...}}`.

    An event that is a text is sent unchanged, as the payload of a delta.
    """
    if isinstance(event, Mapping):
        return b"".join(_event(name, **data) for name, data in event.items())
    return frame(
        str(event).encode(), {":event-type": "contentBlockDelta", ":message-type": "event"}
    )


def _blocks(answer: Answer, call: Call) -> list[JSON]:
    blocks: list[JSON] = []
    if answer.reasoning:
        thought = {"text": answer.reasoning, "signature": f"sig-{call.number}"}
        blocks.append({"reasoningContent": {"reasoningText": thought}})
    text = answer.text or answer.refusal
    if text:
        blocks.append({"text": text})
    for one in calls_of(answer, call, "tooluse"):
        tool_use = {"toolUseId": one.id, "name": one.name, "input": one.args}
        blocks.append({"toolUse": tool_use})
    return blocks


def _ending(answer: Answer, call: Call) -> tuple[str, JSON]:
    usage = call.usage
    details = []
    for lifetime, tokens in usage.written.items():
        details.append({"ttl": lifetime, "inputTokens": tokens})
    counts = {
        "inputTokens": usage.fresh_tokens,
        "outputTokens": usage.output_tokens,
        "totalTokens": usage.total,
        "cacheReadInputTokens": usage.cached_tokens,
        "cacheWriteInputTokens": usage.written_tokens,
        "cacheDetails": details,
    }
    return answer.reason_in(_STOP), {"usage": counts, "metrics": {"latencyMs": 1}}


def body(answer: Answer, call: Call) -> JSON:
    """Return the body of a whole answer."""
    reason, ending = _ending(answer, call)
    message = {"role": "assistant", "content": _blocks(answer, call)}
    return {"output": {"message": message}, "stopReason": reason, **ending}


def events(answer: Answer, call: Call) -> StreamParts:
    """Return the frames of a stream, in three lists: opening, content and closing."""
    reason, ending = _ending(answer, call)
    content = [
        part
        for index, block in enumerate(_blocks(answer, call))
        for part in _block_events(index, block)
    ]
    closing = [_event("messageStop", stopReason=reason), _event("metadata", **ending)]
    return [_event("messageStart", role="assistant")], content, closing


def _block_events(index: int, block: JSON) -> Iterator[bytes]:
    deltas: list[JSON]
    if "text" in block:
        deltas = [{"text": piece} for piece in pieces(block["text"])]
    elif "reasoningContent" in block:
        thought = block["reasoningContent"]["reasoningText"]
        deltas = [{"reasoningContent": {"text": piece}} for piece in pieces(thought["text"])]
        deltas.append({"reasoningContent": {"signature": thought["signature"]}})
    else:
        use = block["toolUse"]
        start = {"toolUse": {"toolUseId": use["toolUseId"], "name": use["name"]}}
        yield _event("contentBlockStart", contentBlockIndex=index, start=start)
        deltas = [{"toolUse": {"input": part}} for part in slices(args_text(use["input"]))]
    for delta in deltas:
        yield _event("contentBlockDelta", contentBlockIndex=index, delta=delta)
    yield _event("contentBlockStop", contentBlockIndex=index)


def error(status: int, message: str, type: str | None, code: str | int | None, number: int) -> JSON:
    """Return the body of an error."""
    general = "ValidationException"
    if status >= 500:
        general = "InternalServerException"
    return {"message": message, "__type": type or _ERRORS.get(status, general)}


def error_headers(body: JSON) -> Headers:
    """Return the header that names the type of an error."""
    return {
        "x-amzn-errortype": f"{body['__type']}:http://internal.amazon.com/coral/com.amazon.bedrock/"
    }


def error_event(body: JSON, position: int) -> bytes:
    """Return the frame of an error that breaks a stream."""
    kind = body["__type"]
    name = kind[0].lower() + kind[1:]
    payload = to_json({"message": body["message"]})
    return frame(payload, {":message-type": "exception", ":exception-type": name})
