"""Recorded Responses traffic, where the recordings are at hand; nothing of them is in this project."""

from __future__ import annotations

import functools
import gzip
import hashlib
import json
import operator
import os
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from modelwire.adapters.openai.responses_codec import ResponsesCodec
from modelwire.adapters.openai.responses_input import History, items_from_messages
from modelwire.errors import ChatError
from modelwire.messages import AIMessage, AIMessageChunk, message_chunk_to_message
from modelwire.messages.block_translators.v1 import as_v1
from modelwire.transport.sse import SSEDecoder
from modelwire.transport.wire import Reply

CODEC = ResponsesCodec()
TOKENS = ("input_tokens", "output_tokens", "total_tokens", "cached_tokens", "cache_creation_tokens", "reasoning_tokens")
OURS = frozenset({"text", "refusal", "reasoning", "function_call", "custom_tool_call"})  # not the provider's tools

# Read now: tests run without the developer's environment.
CORPUS = Path(os.environ.get("MODELWIRE_CORPUS") or Path(__file__).resolve().parents[4] / "shared" / "corpus")


def records(*names: str) -> Iterator[dict[str, Any]]:
    for name in names or ("openai_responses", "openai_compatible"):
        path = CORPUS / f"{name}.jsonl.gz"
        if not path.exists():
            pytest.skip("the recorded traffic is not on this machine")
        with gzip.open(path, "rt", encoding="utf-8", errors="surrogatepass") as lines:
            for line in lines:
                record = json.loads(line)
                if record["endpoint"] == "openai_responses":
                    yield record


def decoded(record: dict[str, Any], split: Random | None = None) -> AIMessage:
    body = record["response_body_text"].encode("utf-8", "surrogatepass")
    reply = Reply(record["status"], {k.lower(): v for k, v in record["response_headers"].items()}, body)
    if reply.status >= 300:
        raise CODEC.error(reply)
    if not record["stream"]:
        return CODEC.decode(reply)
    framing, decoder, chunks = SSEDecoder(), CODEC.stream_decoder(), list[AIMessageChunk]()
    while body:
        size = split.randint(1, 400) if split else len(body)
        for event in framing.feed(body[:size]):
            chunks += decoder.feed(event)
        body = body[size:]
    return functools.reduce(operator.add, chunks + decoder.close())


def blocks(message: AIMessage, *kinds: str) -> list[dict[str, Any]]:
    return [block for block in message.content if isinstance(block, dict) and block["type"] in kinds]


def thought(message: AIMessage) -> str:
    parts = [
        part for block in blocks(message, "reasoning") for key in ("summary", "content") for part in block.get(key, ())
    ]
    return "".join(part["text"] for part in parts)


def opaque(message: AIMessage) -> list[str]:
    found = [
        block["encrypted_content"]
        for block in message.content
        if isinstance(block, dict) and block.get("encrypted_content")
    ]
    return [hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12] for text in found]


def faults(message: AIMessage, expected: dict[str, Any]) -> Iterator[str]:
    metadata, usage = message.response_metadata, message.usage_metadata or {}
    into, out = usage.get("input_token_details", {}), usage.get("output_token_details", {})  # type: ignore[attr-defined]
    read = {
        "text": message.text,
        "reasoning_text": thought(message),
        "finish_reason": metadata["status"],
        "finish_detail": metadata.get("incomplete_details", {}).get("reason"),
        "model": metadata["model_name"],
        "id": message.id,
        "refusal": "".join(block["refusal"] for block in blocks(message, "refusal")) or None,
        "citations": sum(len(block["annotations"]) for block in blocks(message, "text")),
        "logprobs": len((metadata["logprobs"] or {}).get("content", ())),
        "server_tools": [block["type"] for block in message.content if block["type"] not in OURS],  # type: ignore[index]
        "opaque": opaque(message),
        "tool_calls": [(call["id"], call["name"]) for call in (*message.tool_calls, *message.invalid_tool_calls)],
    }
    wanted = {**expected, "tool_calls": [(call["id"], call["name"]) for call in expected["tool_calls"]]}
    alternatives = expected.get("alt") or {}
    for name, value in read.items():
        if value not in (wanted[name], alternatives.get(name, wanted[name])):
            yield f"{name}: {value!r} is not {wanted[name]!r}"
    for call, want in zip(message.tool_calls, expected["tool_calls"], strict=False):
        args = {"__arg1": want["arguments"]} if want.get("custom") else want["arguments"] or {}
        if call["args"] != args and not want.get("incomplete"):
            yield f"{call} is not {want}"
    counted = [usage.get(name) for name in TOKENS[:3]] + [
        into.get("cache_read"), into.get("cache_creation"), out.get("reasoning")
    ]  # fmt: skip
    for name, value in zip(TOKENS, counted, strict=True):
        if expected["usage"] and expected["usage"][name] not in (None, value):
            yield f"{name}: {value} is not {expected['usage'][name]}"


@pytest.mark.parametrize("seed", [None, 7])
def test_every_recorded_responses_answer_is_read_as_the_sdk_reads_it(seed: int | None) -> None:
    split = None if seed is None else Random(seed)
    wrong = [
        f"{record['id']}: {fault}"
        for record in records()
        if split is None or record["stream"]
        for fault in faults(decoded(record, split), record["expected"])
    ]
    assert not wrong, "\n".join(wrong)


def test_every_recorded_error_has_the_facts_the_sdk_reads() -> None:
    for record in records("errors"):
        with pytest.raises(ChatError) as caught:
            decoded(record)
        told = record["expected"]["error"]
        assert (caught.value.status, caught.value.code) == (told["status"], told["code"]), record["id"]


def without_index(value: Any) -> Any:
    if isinstance(value, list):
        return [without_index(item) for item in value]
    return {k: without_index(v) for k, v in value.items() if k != "index"} if isinstance(value, dict) else value


def final_response(record: dict[str, Any]) -> Any:
    events = SSEDecoder().feed(record["response_body_text"].encode("utf-8", "surrogatepass"))
    said = [json.loads(event.data) for event in events if event.data != b"[DONE]"]
    return next(
        event["response"] for event in reversed(said) if event["type"] in ("response.completed", "response.incomplete")
    )


def test_the_streamed_sum_is_the_answer_that_the_last_event_repeats() -> None:
    compared = 0
    for record in records():
        if not record["stream"] or not (final := final_response(record)).get("output"):
            continue  # Codex leaves the output away at the end
        whole = CODEC.decode(Reply(200, {}, json.dumps(final).encode()))
        streamed = decoded(record)
        assert without_index(streamed.content) == without_index(whole.content), record["id"]
        assert streamed.tool_calls == whole.tool_calls, record["id"]
        assert streamed.usage_metadata == whole.usage_metadata, record["id"]
        compared += 1
    assert compared > 30


def items_of(response: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the items as they may be sent back: nothing that is null, no log probabilities."""
    items = [{key: value for key, value in item.items() if value is not None} for item in response["output"]]
    for item in items:
        if item["type"] == "message":
            item.pop("content_filters", None)  # Azure's
            item["content"] = [{k: v for k, v in part.items() if k != "logprobs"} for part in item["content"]]
    return items


def thoughts(items: list[dict[str, Any]]) -> list[Any]:
    """Return what was thought; standard blocks do not tell a summary from the thought itself."""
    kept = [item for item in items if item.get("type") == "reasoning"]
    said = [[*item.get("summary", ()), *item.get("content", ())] for item in kept]
    texts = [[part["text"] for part in parts] for parts in said]
    return [(item["id"], item.get("encrypted_content"), text) for item, text in zip(kept, texts, strict=True)]


@pytest.mark.parametrize("form", ["as it came", "dumped and loaded", "standard blocks"])
def test_an_answer_returns_as_the_items_it_came_in(form: str) -> None:
    for record in records():
        response = final_response(record) if record["stream"] else json.loads(record["response_body_text"])
        if not response.get("output"):
            continue
        message: Any = decoded(record)
        if form == "dumped and loaded":
            message = message_chunk_to_message(message) if isinstance(message, AIMessageChunk) else message
            message = AIMessage.model_validate_json(message.model_dump_json())
        elif form == "standard blocks":
            message = as_v1(message)
        items, wanted = items_from_messages([message], History()), items_of(response)
        if form != "standard blocks":
            assert items == wanted, record["id"]
            continue
        # The tools that the provider ran are told by id; the rest is all there, in order.
        ids = [item.get("id") or item.get("item_id") for item in wanted]  # the latter Bedrock's, by mistake
        assert [item.get("id") for item in items] == ids, record["id"]
        assert thoughts(items) == thoughts(wanted), record["id"]
