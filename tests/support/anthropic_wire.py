"""Answers of Anthropic's Messages API, whole and streamed, made of content blocks.

Wire format: https://docs.anthropic.com/en/docs/build-with-claude/streaming, read 2026-11.
"""

from __future__ import annotations

import json
from typing import Any

from modelwire.adapters.wires.anthropic.codec import MessagesCodec
from modelwire.messages import AIMessage, AIMessageChunk
from modelwire.transport.sse import SSEDecoder

USE = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Zürich"}}
USE_2 = {"type": "tool_use", "id": "toolu_2", "name": "time", "input": {}}
THINKING = {"type": "thinking", "thinking": "hm", "signature": "c2ln"}
USAGE = {
    "input_tokens": 10,
    "output_tokens": 5,
    "cache_read_input_tokens": 3,
    "cache_creation_input_tokens": 2,
}


def text(value: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": value, **more}


def whole(content: list[dict[str, Any]], **more: Any) -> bytes:
    return json.dumps(
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "claude-sonnet-4-6",
            "content": content,
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": USAGE,
            **more,
        }
    ).encode()


def events_of(content: list[dict[str, Any]], **more: Any) -> bytes:
    """Stream an answer as Anthropic does, a few characters a delta; `more` is what else the answer says."""
    usage = more.get("usage", USAGE)
    start = json.loads(whole([])) | {"stop_reason": None, "usage": usage | {"output_tokens": 1}}
    events: list[dict[str, Any]] = [{"type": "message_start", "message": start}, {"type": "ping"}]
    for index, block in enumerate(content):
        first, deltas = started(block)
        events.append({"type": "content_block_start", "index": index, "content_block": first})
        events += [
            {"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas
        ]
        events.append({"type": "content_block_stop", "index": index})
    end = {"stop_reason": "end_turn", "stop_sequence": None}
    end |= {key: value for key, value in more.items() if key not in ("usage", "context_management")}
    last: dict[str, Any] = {"type": "message_delta", "delta": end, "usage": {"output_tokens": 5}}
    if "context_management" in more:  # beside the delta, not in it
        last["context_management"] = more["context_management"]
    events += [last, {"type": "message_stop"}]
    return "".join(
        f"event: {event['type']}\ndata: {json.dumps(event, ensure_ascii=False)}\n\n"
        for event in events
    ).encode()


def started(block: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    if block["type"] == "text":
        citations = [
            {"type": "citations_delta", "citation": citation}
            for citation in block.get("citations", ())
        ]
        deltas = [{"type": "text_delta", "text": piece} for piece in cut(block["text"])]
        return block | {"text": ""} | ({"citations": []} if citations else {}), citations + deltas
    if block["type"] == "thinking":
        deltas = [{"type": "thinking_delta", "thinking": piece} for piece in cut(block["thinking"])]
        signature = {"type": "signature_delta", "signature": block["signature"]}
        return block | {"thinking": "", "signature": ""}, [*deltas, signature]
    if block["type"].endswith("tool_use"):
        text = json.dumps(block["input"], ensure_ascii=False) if block["input"] else ""
        deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in ["", *cut(text)]]
        return block | {"input": {}}, deltas
    if block["type"] == "compaction":
        return {"type": "compaction", "content": None}, [{**block, "type": "compaction_delta"}]
    return block, []


def cut(value: str) -> list[str]:
    return [value[at : at + 3] for at in range(0, len(value), 3)]


def blocks_of(message: AIMessage) -> list[dict[str, Any]]:
    """Return the content as blocks, without what only a stream has."""
    content = [text(message.content)] if isinstance(message.content, str) else message.content
    blocks = ({key: value for key, value in block.items() if key != "index"} for block in content)
    return [block for block in blocks if block != text("")]


def streamed(body: bytes) -> list[AIMessageChunk]:
    """Decode a stream to its end."""
    decoder = MessagesCodec().stream_decoder()
    chunks = [chunk for event in SSEDecoder().feed(body) for chunk in decoder.feed(event)]
    return chunks + decoder.close()
