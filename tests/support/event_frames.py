"""Frames of Amazon's event streams, as tests of single events want them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from modelwire.testing.server import bedrock_wire

__all__ = ["event", "exception", "frame", "stream_of"]


def frame(
    payload: bytes, *, message_type: str = "event", more: bytes = b"", **headers: str
) -> bytes:
    """Write one frame; `event_type="metadata"` is the header `:event-type`, and `more` are headers as they are."""
    named = {"message-type": message_type, "content-type": "application/json", **headers}
    return bedrock_wire.frame(
        payload, {f":{name.replace('_', '-')}": it for name, it in named.items()}, packed=more
    )


def event(name: str, **data: Any) -> bytes:
    return frame(json.dumps(data).encode(), event_type=name)


def exception(name: str, message: str, **data: Any) -> bytes:
    payload = json.dumps({"message": message, **data}).encode()
    return frame(payload, message_type="exception", exception_type=name)


def stream_of(words: Iterable[str], *, stop: str | None = "end_turn") -> bytes:
    """Write a stream of text; without `stop` it ends before its end."""
    frames = [event("messageStart", role="assistant", p="abc")]
    frames += [
        event("contentBlockDelta", contentBlockIndex=0, delta={"text": word}, p="abcd")
        for word in words
    ]
    if stop is not None:
        usage = {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5}
        frames += [
            event("contentBlockStop", contentBlockIndex=0),
            event("messageStop", stopReason=stop),
        ]
        frames += [event("metadata", usage=usage, metrics={"latencyMs": 12})]
    return b"".join(frames)
