"""The fixed answers that the loopback servers give, on both wires. Pure values.

Wire format: OpenAI "Chat Completions" and "Streaming", Anthropic "Messages" and "Streaming Messages" API references,
read 2026-11. Field for field what a provider sends, so that a decoder meets the usual amount of work.
"""

from __future__ import annotations

import json
from typing import Any

TEXT = "Paris is the capital of France."
WORD = " word"
_CREATED_UNIX_S = 1_762_000_000
_MODEL = "gpt-4o-mini-2024-07-18"


def whole_answer(wire: str) -> bytes:
    """Give the JSON body of one answer whose text is `TEXT`; `wire` is "openai" or "anthropic"."""
    return _json(_openai_answer() if wire == "openai" else _anthropic_answer())


def streamed_answer(wire: str, chunks: int) -> bytes:
    """Give the SSE body of one answer whose text is `chunks` times `WORD`."""
    return _openai_stream(chunks) if wire == "openai" else _anthropic_stream(chunks)


def openai_event(delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
    """Give one SSE event with one choice."""
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    return b"data: " + _json(_openai_chunk([choice])) + b"\n\n"


def openai_opening() -> bytes:
    """Give the event before the first token."""
    return openai_event({"role": "assistant", "content": "", "refusal": None})


def openai_closing() -> bytes:
    """Give what ends a stream for which no usage was asked."""
    return openai_event({}, "stop") + b"data: [DONE]\n\n"


def _openai_answer() -> dict[str, Any]:
    message: dict[str, Any] = {
        "role": "assistant",
        "content": TEXT,
        "refusal": None,
        "annotations": [],
    }
    return {
        "id": "chatcmpl-CXe1BmQ4hR2pZs0aTqkVnYw7uJd3L",
        "object": "chat.completion",
        "created": _CREATED_UNIX_S,
        "model": _MODEL,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": _openai_usage(7),
        "service_tier": "default",
        "system_fingerprint": "fp_560af6e559",
    }


def _openai_usage(completion_tokens: int) -> dict[str, Any]:
    return {
        "prompt_tokens": 13,
        "completion_tokens": completion_tokens,
        "total_tokens": 13 + completion_tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _openai_chunk(choices: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": "chatcmpl-CXe1BmQ4hR2pZs0aTqkVnYw7uJd3L",
        "object": "chat.completion.chunk",
        "created": _CREATED_UNIX_S,
        "model": _MODEL,
        "service_tier": "default",
        "system_fingerprint": "fp_560af6e559",
        "choices": choices,
    }


def _openai_stream(chunks: int) -> bytes:
    usage = _openai_chunk([]) | {"usage": _openai_usage(chunks)}
    end = openai_event({}, "stop") + b"data: " + _json(usage) + b"\n\ndata: [DONE]\n\n"
    return openai_opening() + openai_event({"content": WORD}) * chunks + end


def _anthropic_answer() -> dict[str, Any]:
    return {
        "id": "msg_01XFDUDYJgAACzvnptvVoYEL",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5-20250929",
        "content": [{"type": "text", "text": TEXT}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": _anthropic_usage(7),
    }


def _anthropic_usage(output_tokens: int) -> dict[str, Any]:
    return {
        "input_tokens": 13,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": output_tokens,
        "service_tier": "standard",
    }


def _anthropic_stream(chunks: int) -> bytes:
    message = _anthropic_answer() | {
        "content": [],
        "stop_reason": None,
        "usage": _anthropic_usage(1),
    }
    text_delta = {"type": "text_delta", "text": WORD}
    stop = {"stop_reason": "end_turn", "stop_sequence": None}
    return b"".join(
        [
            _anthropic_event({"type": "message_start", "message": message}),
            _anthropic_event(
                {
                    "type": "content_block_start",
                    "index": 0,
                    "content_block": {"type": "text", "text": ""},
                }
            ),
            _anthropic_event({"type": "content_block_delta", "index": 0, "delta": text_delta})
            * chunks,
            _anthropic_event({"type": "content_block_stop", "index": 0}),
            _anthropic_event(
                {"type": "message_delta", "delta": stop, "usage": {"output_tokens": chunks}}
            ),
            _anthropic_event({"type": "message_stop"}),
        ]
    )


def _anthropic_event(payload: dict[str, Any]) -> bytes:
    return b"event: " + str(payload["type"]).encode() + b"\ndata: " + _json(payload) + b"\n\n"


def _json(value: dict[str, Any]) -> bytes:
    text: str = json.dumps(value, separators=(",", ":"))
    return text.encode()
