"""Recorded traffic of real services, where the recordings are at hand; nothing of them is in this project."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import pytest

from modelwire.adapters.wires.wire import Codec
from modelwire.messages import AIMessage, AIMessageChunk, merge_chunks
from modelwire.transport.sse import SSEDecoder
from modelwire.transport.wire import Reply

Record = dict[str, Any]

# Read now: tests run without the developer's environment.
CORPUS = Path(
    os.environ.get("MODELWIRE_CORPUS") or Path(__file__).resolve().parents[3] / "shared" / "corpus"
)
FILES = (
    "openai_chat",
    "openai_compatible",
    "openai_responses",
    "anthropic_messages",
    "errors",
    "gemini",
    "bedrock",
)


@cache
def _read(name: str) -> list[Record]:
    path = CORPUS / f"{name}.jsonl.gz"
    if not path.exists():
        pytest.skip("the recorded traffic is not on this machine")
    with gzip.open(path, "rt", encoding="utf-8", errors="surrogatepass") as lines:
        return [json.loads(line) for line in lines]


def records(endpoint: str | None = None, *, failed: bool | None = None) -> Iterator[Record]:
    """Yield the exchanges with an endpoint: all, those that ended in an error, or those that brought an answer."""
    for record in (record for name in FILES for record in _read(name)):
        if endpoint in (None, record["endpoint"]) and failed in (
            None,
            "error" in record["expected"],
        ):
            yield record


def reply_of(record: Record) -> Reply:
    headers = {name.lower(): value for name, value in record["response_headers"].items()}
    return Reply(
        record["status"], headers, record["response_body_text"].encode("utf-8", "surrogatepass")
    )


def chunks_of(codec: Codec, body: bytes, split: Random | None = None) -> Iterator[AIMessageChunk]:
    """Decode a stream, in one piece or cut anywhere."""
    framing, decoder = getattr(codec, "framing", SSEDecoder)(), codec.stream_decoder()
    while body:
        size = split.randint(1, 400) if split else len(body)
        for event in framing.feed(body[:size]):
            yield from decoder.feed(event)
        body = body[size:]
    yield from decoder.close()


def decoded(codec: Codec, record: Record, split: Random | None = None) -> AIMessage:
    """Read a recorded answer, or raise the error it is."""
    reply = reply_of(record)
    if reply.status >= 300:
        raise codec.error(reply)
    return (
        merge_chunks(list(chunks_of(codec, reply.body, split)))
        if record["stream"]
        else codec.decode(reply)
    )
