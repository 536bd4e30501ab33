"""Recorded Responses answers: streamed as whole, and as history; `tests/corpus` has how they are read."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest
from support.recordings import decoded, records, reply_of

from modelwire.adapters.wires.openai_responses.codec import ResponsesCodec
from modelwire.adapters.wires.openai_responses.messages import History, items_from_messages
from modelwire.messages import AIMessage, AIMessageChunk, message_chunk_to_message
from modelwire.messages.block_translators.v1 import as_v1
from modelwire.transport.sse import SSEDecoder
from modelwire.transport.wire import Reply

CODEC = ResponsesCodec()


def without_index(value: Any) -> Any:
    if isinstance(value, list):
        return [without_index(item) for item in value]
    return (
        {k: without_index(v) for k, v in value.items() if k != "index"}
        if isinstance(value, dict)
        else value
    )


def final_response(record: dict[str, Any]) -> Any:
    events = SSEDecoder().feed(reply_of(record).body)
    said = [json.loads(event.data) for event in events if event.data != b"[DONE]"]
    return next(
        event["response"]
        for event in reversed(said)
        if event["type"] in ("response.completed", "response.incomplete")
    )


def test_the_streamed_sum_is_the_answer_that_the_last_event_repeats() -> None:
    compared = 0
    for record in records("openai_responses", failed=False):
        if not record["stream"] or not (final := final_response(record)).get("output"):
            continue  # Codex leaves the output away at the end
        whole = CODEC.decode(Reply(200, {}, json.dumps(final).encode()))
        streamed = decoded(CODEC, record, Random(7))
        assert without_index(streamed.content) == without_index(whole.content), record["id"]
        assert streamed.tool_calls == whole.tool_calls, record["id"]
        assert streamed.usage_metadata == whole.usage_metadata, record["id"]
        compared += 1
    assert compared > 30


def items_of(response: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the items as they may be sent back: nothing that is null, no log probabilities."""
    items = [
        {key: value for key, value in item.items() if value is not None}
        for item in response["output"]
    ]
    for item in items:
        if item["type"] == "message":
            item.pop("content_filters", None)  # Azure's
            item["content"] = [
                {k: v for k, v in part.items() if k != "logprobs"} for part in item["content"]
            ]
    return items


def thoughts(items: list[dict[str, Any]]) -> list[Any]:
    """Return what was thought; standard blocks do not tell a summary from the thought itself."""
    kept = [item for item in items if item.get("type") == "reasoning"]
    said = [[*item.get("summary", ()), *item.get("content", ())] for item in kept]
    texts = [[part["text"] for part in parts] for parts in said]
    return [
        (item["id"], item.get("encrypted_content"), text)
        for item, text in zip(kept, texts, strict=True)
    ]


@pytest.mark.parametrize("form", ["as it came", "dumped and loaded", "standard blocks"])
def test_an_answer_returns_as_the_items_it_came_in(form: str) -> None:
    for record in records("openai_responses", failed=False):
        response = (
            final_response(record) if record["stream"] else json.loads(record["response_body_text"])
        )
        if not response.get("output"):
            continue
        message: Any = decoded(CODEC, record)
        if form == "dumped and loaded":
            message = (
                message_chunk_to_message(message)
                if isinstance(message, AIMessageChunk)
                else message
            )
            message = AIMessage.model_validate_json(message.model_dump_json())
        elif form == "standard blocks":
            message = as_v1(message)
        items, wanted = items_from_messages([message], History()), items_of(response)
        if form != "standard blocks":
            assert items == wanted, record["id"]
            continue
        # The tools that the provider ran are told by id; the rest is all there, in order.
        ids = [
            item.get("id") or item.get("item_id") for item in wanted
        ]  # the latter Bedrock's, by mistake
        assert [item.get("id") for item in items] == ids, record["id"]
        assert thoughts(items) == thoughts(wanted), record["id"]
