"""Answers of Gemini and Bedrock with any of their values replaced by one of another shape: an answer, or our error."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

from modelwire.adapters.wires.bedrock.codec import ConverseCodec
from modelwire.adapters.wires.gemini.codec import GenerateContentCodec
from modelwire.adapters.wires.wire import ChatCall, Endpoint
from modelwire.errors import ModelwireError
from modelwire.messages import AIMessage, HumanMessage, merge_chunks
from modelwire.transport.wire import Reply, ServerEvent

OTHERS: list[Any] = [None, -1, 1.5, True, "x", [], [None], [[]], ["a"], {}, {"a": 1}, [{}]]
GEMINI = {
    "candidates": [
        {
            "content": {
                "role": "model",
                "parts": [
                    {"text": "Hm", "thought": True},
                    {"text": "Hi", "thoughtSignature": "c2ln"},
                    {"functionCall": {"name": "f", "args": {"a": 1}}},
                    {"executableCode": {"code": "1"}},
                    {
                        "functionCall": {
                            "name": "g",
                            "partialArgs": [{"jsonPath": "$.a", "stringValue": "b"}],
                        }
                    },
                    {"functionResponse": {"name": "f", "response": {"b": 1}}},
                    {"inlineData": {"mimeType": "a/b", "data": ""}},
                ],
            },
            "finishReason": "STOP",
            "citationMetadata": {"citations": [{"startIndex": 0, "endIndex": 2, "uri": "u"}]},
            "groundingMetadata": {
                "groundingChunks": [{"web": {"uri": "u"}}],
                "groundingSupports": [
                    {
                        "segment": {"startIndex": 0, "endIndex": 2, "text": "Hi"},
                        "groundingChunkIndices": [0],
                    }
                ],
            },
        },
        {"index": 1, "content": {"parts": [{"text": "B"}]}, "finishReason": "SAFETY"},
    ],
    "usageMetadata": {
        "promptTokenCount": 1,
        "promptTokensDetails": [{"modality": "IMAGE", "tokenCount": 1}],
    },
    "promptFeedback": {"safetyRatings": []},
    "modelVersion": "m",
    "responseId": "r",
}
BLOCKED = {
    "candidates": [{"finishReason": "SAFETY", "safetyRatings": []}],
    "promptFeedback": {"blockReason": "OTHER"},
}
CONVERSE = {
    "output": {
        "message": {
            "role": "assistant",
            "content": [
                {"text": "Hi"},
                {"toolUse": {"toolUseId": "1", "name": "f", "input": {"a": 1}}},
                {"reasoningContent": {"reasoningText": {"text": "Hm", "signature": "s"}}},
                {
                    "citationsContent": {
                        "content": [{"text": "B"}],
                        "citations": [
                            {
                                "title": "t",
                                "sourceContent": [{"text": "q"}],
                                "location": {"web": {"url": "u"}},
                            }
                        ],
                    }
                },
                {"toolResult": {"toolUseId": "2", "content": [{"json": {}}], "type": "t"}},
                {"image": {"format": "png", "source": {"bytes": "QQ=="}}},
            ],
        }
    },
    "stopReason": "end_turn",
    "trace": {},
    "metrics": {"latencyMs": 1},
    "usage": {
        "inputTokens": 1,
        "outputTokens": 1,
        "cacheDetails": [{"ttl": "1h", "inputTokens": 1}],
    },
}
FRAMES: list[Any] = [
    ["contentBlockDelta", {"contentBlockIndex": 0, "delta": {"reasoningContent": {"text": "Hm"}}}],
    [
        "contentBlockDelta",
        {"contentBlockIndex": 1, "delta": {"reasoningContent": {"redactedContent": "QQ=="}}},
    ],
    [
        "contentBlockDelta",
        {"contentBlockIndex": 1, "delta": {"reasoningContent": {"redactedContent": "QQ=="}}},
    ],
    ["contentBlockDelta", {"contentBlockIndex": 2, "delta": {"text": "Hi"}}],
    [
        "contentBlockDelta",
        {"contentBlockIndex": 2, "delta": {"citation": {"title": "t", "sourceContent": []}}},
    ],
    [
        "contentBlockStart",
        {"contentBlockIndex": 3, "start": {"toolUse": {"toolUseId": "1", "name": "f"}}},
    ],
    ["contentBlockDelta", {"contentBlockIndex": 3, "delta": {"toolUse": {"input": "{}"}}}],
    ["contentBlockStart", {"contentBlockIndex": 4, "start": {"toolResult": {"toolUseId": "1"}}}],
    ["contentBlockDelta", {"contentBlockIndex": 4, "delta": {"toolResult": [{"text": "a"}]}}],
    ["contentBlockStart", {"contentBlockIndex": 5, "start": {"image": {"format": "png"}}}],
    [
        "contentBlockDelta",
        {"contentBlockIndex": 5, "delta": {"image": {"source": {"bytes": "QQ=="}}}},
    ],
    ["messageStop", {"stopReason": "tool_use"}],
    ["metadata", {"usage": {"inputTokens": 1, "cacheDetails": [{"ttl": "1h"}]}, "metrics": {}}],
]


def variants(value: Any) -> Iterator[Any]:
    """Yield the value with each part of it replaced by each of the others, and with each left out."""
    keys = (
        list(value)
        if isinstance(value, dict)
        else range(len(value))
        if isinstance(value, list)
        else ()
    )
    for key in keys:
        without = copy.copy(value)
        del without[key]
        yield without
        for inner in (*OTHERS, *variants(value[key])):
            changed = copy.copy(value)
            changed[key] = inner
            yield changed


def read_whole(codec: Any, answer: Any) -> AIMessage:
    message: AIMessage = codec.decode(Reply(200, {}, json.dumps(answer).encode()))
    return message


def read_stream(codec: Any, events: Any) -> AIMessage:
    decoder = codec.stream_decoder({})
    chunks = [
        chunk
        for name, data in events
        for chunk in decoder.feed(ServerEvent(name, json.dumps(data).encode()))
    ]
    return merge_chunks(chunks + decoder.close())


CASES = {
    "gemini": (GenerateContentCodec(), read_whole, GEMINI),
    "gemini blocked": (GenerateContentCodec(), read_whole, BLOCKED),
    "gemini stream": (
        GenerateContentCodec(),
        lambda codec, it: read_stream(codec, [("", it)]),
        GEMINI,
    ),
    "gemini blocked stream": (
        GenerateContentCodec(),
        lambda codec, it: read_stream(codec, [("", it)]),
        BLOCKED,
    ),
    "bedrock": (ConverseCodec(), read_whole, CONVERSE),
}


@pytest.mark.parametrize("case", CASES)
def test_an_answer_of_any_shape_is_read_or_is_an_error_of_ours(case: str) -> None:
    codec, read, answer = CASES[case]
    good = sum(is_read(codec, read, one) for one in variants(answer))
    assert good > 10


def test_frames_of_any_shape_are_read_or_are_an_error_of_ours() -> None:
    good = 0
    for at, (name, data) in enumerate(FRAMES):
        for one in (*OTHERS, *variants(data)):
            good += is_read(
                ConverseCodec(), read_stream, [*FRAMES[:at], (name, one), *FRAMES[at + 1 :]]
            )
    assert good > 10


def is_read(codec: Any, read: Any, answer: Any) -> bool:
    """Read an answer, look at it, and send it back; False where an error of ours was raised."""
    try:
        message = read(codec, answer)
        assert isinstance(message.content_blocks, list)
        call = ChatCall(
            [HumanMessage("hi"), message, HumanMessage("so?")],
            "gemini-3-pro",
            Endpoint("https://a.test"),
        )
        codec.encode(call)
    except ModelwireError:
        return False
    return True
