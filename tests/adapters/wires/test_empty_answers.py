"""An answer in which nothing came is an error on every wire, unless the reason of its end explains it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from support.event_frames import event

from modelwire.adapters.wires.bedrock.event_stream import EventStreamDecoder
from modelwire.adapters.wires.wire import wire_named
from modelwire.errors import MalformedResponse, Overloaded, ServerError
from modelwire.messages import AIMessage, merge_chunks
from modelwire.messages.finish_reasons import ENDINGS, Ending
from modelwire.messages.refusals import refusal_in
from modelwire.transport.sse import SSEDecoder
from modelwire.transport.wire import Reply

Answer = dict[str, Any]


def _chat(reason: str) -> Answer:
    return {"choices": [{"message": {"content": None}, "finish_reason": reason}]}


def _chat_events(reason: str) -> list[Answer]:
    return [{"id": "c", "choices": [{"delta": {"role": "assistant"}, "finish_reason": reason}]}]


def _response(reason: str) -> Answer:
    named = ENDINGS["responses"].get(reason)
    if named is Ending.CUT or reason == "content_filter":
        return {"status": "incomplete", "incomplete_details": {"reason": reason}, "output": []}
    return {"status": reason, "output": []}


def _response_events(reason: str) -> list[Answer]:
    kind = "failed" if reason == "failed" else "incomplete"
    return [{"type": f"response.{kind}", "response": _response(reason)}]


def _anthropic(reason: str) -> Answer:
    return {"type": "message", "content": [], "stop_reason": reason}


def _anthropic_events(reason: str) -> list[Answer]:
    return [
        {"type": "message_start", "message": {"id": "m", "content": []}},
        {"type": "message_delta", "delta": {"stop_reason": reason}},
        {"type": "message_stop"},
    ]


def _bedrock(reason: str) -> Answer:
    return {"output": {"message": {"content": []}}, "stopReason": reason}


def _gemini(reason: str) -> Answer:
    return {"candidates": [{"finishReason": reason}]}


WHOLE: dict[str, Callable[[str], Answer]] = {
    "openai": _chat,
    "responses": _response,
    "anthropic": _anthropic,
    "bedrock": _bedrock,
    "gemini": _gemini,
}
EVENTS: dict[str, Callable[[str], list[Answer]]] = {
    "openai": _chat_events,
    "responses": _response_events,
    "anthropic": _anthropic_events,
    "gemini": lambda reason: [_gemini(reason)],
}


def decoded(wire: str, reason: str) -> AIMessage:
    codec = wire_named(wire).codec("p")
    return codec.decode(Reply(200, {}, json.dumps(WHOLE[wire](reason)).encode()))


def streamed(wire: str, reason: str) -> AIMessage:
    decoder = wire_named(wire).codec("p").stream_decoder({})
    framing: Any = SSEDecoder()
    if wire == "bedrock":
        framing = EventStreamDecoder(max_event_bytes=10**6)
        raw = event("messageStart", role="assistant") + event("messageStop", stopReason=reason)
    else:
        raw = b"".join(b"data: " + json.dumps(it).encode() + b"\n\n" for it in EVENTS[wire](reason))
    chunks = [chunk for it in framing.feed(raw) for chunk in decoder.feed(it)]
    return merge_chunks([*chunks, *decoder.close()])


CASES = [
    (wire, reason, kind)
    for wire, table in ENDINGS.items()
    for reason, kind in [*table.items(), ("went_fishing", None)]
]


@pytest.mark.parametrize("read", [decoded, streamed])
@pytest.mark.parametrize(("wire", "reason", "kind"), CASES)
def test_an_empty_answer_is_an_error_if_its_end_does_not_explain_it(
    read: Callable[[str, str], AIMessage], wire: str, reason: str, kind: Ending | None
) -> None:
    if kind in (None, Ending.BROKEN):
        error = ServerError if reason in NAMED_ERRORS else MalformedResponse
        with pytest.raises(
            (error, Overloaded), match="gave no reason" if reason == "failed" else reason
        ):
            read(wire, reason)
    else:
        message = read(wire, reason)
        assert message.text == ""
        assert (refusal_in(message) is not None) is (kind is Ending.REFUSED)


# Ends that are an error of their own class, whatever came before them.
NAMED_ERRORS = {"error", "network_error", "insufficient_system_resource", "failed"}
