"""Recorded traffic of real services, where the recordings are at hand; nothing of them is in this project."""

from __future__ import annotations

import functools
import gzip
import json
import operator
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelwire.adapters.openai.chat_completions import ChatCompletionsCodec
from modelwire.errors import ChatError
from modelwire.messages import AIMessage, AIMessageChunk
from modelwire.transport.sse import SSEDecoder
from modelwire.transport.wire import Reply

CODEC = ChatCompletionsCodec()
FILES = ("openai_chat", "openai_compatible", "errors")
TOKENS = ("input_tokens", "output_tokens", "total_tokens", "cached_tokens", "cache_creation_tokens", "reasoning_tokens")


# Read now: tests run without the developer's environment.
CORPUS = Path(os.environ.get("MODELWIRE_CORPUS") or Path(__file__).resolve().parents[4] / "shared" / "corpus")


def records(name: str) -> Iterator[dict[str, Any]]:
    path = CORPUS / f"{name}.jsonl.gz"
    if not path.exists():
        pytest.skip("the recorded traffic is not on this machine")
    with gzip.open(path, "rt", encoding="utf-8", errors="surrogatepass") as lines:
        for line in lines:
            record = json.loads(line)
            if record["endpoint"] == "openai_chat":
                yield record


def decoded(record: dict[str, Any], chunks: list[AIMessageChunk]) -> AIMessage:
    """Decode a record; the chunks of a stream go into `chunks` as they come."""
    body = record["response_body_text"].encode("utf-8", "surrogatepass")
    reply = Reply(record["status"], {k.lower(): v for k, v in record["response_headers"].items()}, body)
    if reply.status >= 300:
        raise CODEC.error(reply)
    if not record["stream"]:
        return CODEC.decode(reply)
    decoder = CODEC.stream_decoder()
    for event in SSEDecoder().feed(body):
        chunks += decoder.feed(event)
    chunks += decoder.close()
    return functools.reduce(operator.add, chunks)


def faults(message: AIMessage, expected: dict[str, Any]) -> Iterator[str]:
    kwargs, metadata = message.additional_kwargs, message.response_metadata
    read = {
        "text": message.text,
        "finish_reason": metadata["finish_reason"],
        "model": metadata["model_name"],
        "id": metadata["id"],
        "refusal": kwargs.get("refusal"),
        "citations": len(kwargs.get("annotations", ())),
        "logprobs": len((metadata["logprobs"] or {}).get("content") or ()),
    }
    for name, value in read.items():
        if value != expected[name]:
            yield f"{name}: {value!r} is not {expected[name]!r}"
    reasoning = kwargs.get("reasoning_content", "")
    if reasoning not in (expected["reasoning_text"], expected.get("reasoning_alt", expected["reasoning_text"])):
        yield f"reasoning: {reasoning!r} is not {expected['reasoning_text']!r}"
    yield from _call_faults(message, expected["tool_calls"])
    yield from _usage_faults(message, expected["usage"])


def _call_faults(message: AIMessage, expected: list[dict[str, Any]]) -> Iterator[str]:
    calls: list[Any] = [*message.tool_calls, *message.invalid_tool_calls]
    if len(calls) != len(expected):
        yield f"{len(calls)} tool calls, not {len(expected)}"
    for call, wanted in zip(calls, expected, strict=False):
        same_id = call["id"] == wanted["id"] if wanted["id"] else bool(call["id"])
        same_args = wanted.get("incomplete") or call["args"] == (wanted["arguments"] or {})
        if not (same_id and same_args and call["name"] == wanted["name"]):
            yield f"{call} is not {wanted}"


def _usage_faults(message: AIMessage, expected: dict[str, Any] | None) -> Iterator[str]:
    if expected is None:
        return  # what we find beside the standard place (Groq) is a gain
    usage: Any = message.usage_metadata or {}
    into, out = usage.get("input_token_details", {}), usage.get("output_token_details", {})
    read = [usage.get(name) for name in TOKENS[:3]]
    read += [into.get("cache_read"), into.get("cache_creation"), out.get("reasoning")]
    for name, value in zip(TOKENS, read, strict=True):
        if expected[name] is not None and value != expected[name]:
            yield f"{name}: {value} is not {expected[name]}"


@pytest.mark.parametrize("name", FILES)
def test_every_recorded_answer_is_read_as_the_sdk_reads_it(name: str) -> None:
    wrong: list[str] = []
    for record in records(name):
        expected, chunks = record["expected"], []  # type: ignore[var-annotated]
        try:
            message = decoded(record, chunks)
        except ChatError as error:
            if "error" not in expected:
                wrong.append(f"{record['id']}: {error}")
                continue
            told = expected["error"]
            for fact in ("status", "type", "code", "request_id"):
                value = told[fact] if told[fact] is None or fact == "status" else str(told[fact])
                if getattr(error, fact) != value and not (fact == "status" and value is None):
                    wrong.append(f"{record['id']}: {fact} {getattr(error, fact)!r} is not {value!r}")
            if "".join(told["message"].split())[:150] not in "".join(error.message.split()):
                wrong.append(f"{record['id']}: {error.message!r} is not {told['message']!r}")
            partial = (expected.get("partial") or {}).get("text", "")
            if "".join(str(chunk.text) for chunk in chunks) != partial:
                wrong.append(f"{record['id']}: the part before the error is not {partial!r}")
        else:
            if "error" in expected:
                wrong.append(f"{record['id']}: no error was raised")
            else:
                wrong += [f"{record['id']} {record['provider']}: {fault}" for fault in faults(message, expected)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", FILES)
def test_an_answer_once_read_can_be_sent_back(name: str) -> None:
    """The first turn's answer is the second turn's history."""
    from modelwire.adapters.openai.turns import OPENAI, turns_from_messages

    for record in records(name):
        if "error" in record["expected"]:
            continue
        message = decoded(record, [])
        (turn,) = turns_from_messages([message], OPENAI)
        assert turn["role"] == "assistant", record["id"]
        sent = [(call["id"], call["function"]["name"]) for call in turn.get("tool_calls", ())]
        calls: list[Any] = [*message.tool_calls, *message.invalid_tool_calls]
        assert sent == [(call["id"], call["name"]) for call in calls], record["id"]
        assert (turn["content"] or "") == message.content or isinstance(message.content, list), record["id"]
