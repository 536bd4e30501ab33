"""A cheap loopback server in its own process: `python -m benchmarks.loopback`.

It prints its port and ends when its standard input closes, so it cannot outlive the run. The first part of the path
says how to answer; the last part, `/v1/messages` or anything else, says on which wire:

    /plain/...                one whole answer at once
    /sse-CHUNKS/...           one stream of that many chunks, in one body at once
    /wait-MS/...              one whole answer after that many milliseconds
    /embed-DIMENSIONS/...     a vector of that many numbers for each text of the request, in base64 if it asks for that
    /pace/...                 tokens at a steady rate, from the moment when all streams of the plan are open
    /plan-STREAMS-RATE-COUNT  make that plan: COUNT tokens in each of STREAMS streams, RATE a second

The text of a paced token is the time of its writing (`time.monotonic`, one clock for all processes of a machine), so
that a reader knows its lag. The streams are spread over the interval between two tokens.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import json
import math
import sys
import time
from array import array
from dataclasses import dataclass, field

from benchmarks.answers import (
    openai_closing,
    openai_event,
    openai_opening,
    streamed_answer,
    whole_answer,
)

_PHASES = 10  # of one token interval; 2 ms apart at 50 tokens/s
_STAMP = b"@" * 14
_PACED_EVENT = openai_event({"content": _STAMP.decode()})
_JSON_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
_SSE_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"


@dataclass
class Plan:
    """The paced streams of one probe; they start together. One client asks at a time."""

    streams: int = 1
    rate_per_s: int = 50
    count: int = 50
    waiting: list[asyncio.Transport] = field(default_factory=list)
    running: asyncio.Future[None] | None = None


class Connection(asyncio.Protocol):
    """Answers the requests of one keep-alive connection, one after the other."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = self._received[:end]
            size = end + 4 + _content_length(head)
            if len(self._received) < size:
                return
            body = self._received[end + 4 : size]
            self._received = self._received[size:]
            self._answer(head.split(b" ", 2)[1].decode(), body)

    def _answer(self, path: str, request: bytes) -> None:
        kind, *numbers = path.split("/", 2)[1].split("-")
        wire = "anthropic" if path.endswith("/v1/messages") else "openai"
        if kind == "plain":
            self._transport.write(_whole_reply(wire))
        elif kind == "embed":
            fields = json.loads(request)
            in_base64 = fields.get("encoding_format") == "base64"
            self._transport.write(
                _vectors_reply(len(fields["input"]), int(numbers[0]), in_base64=in_base64)
            )
        elif kind == "sse":
            self._transport.write(_streamed_reply(wire, int(numbers[0])))
        elif kind == "wait":
            asyncio.get_running_loop().call_later(
                int(numbers[0]) / 1000, self._transport.write, _whole_reply(wire)
            )
        elif kind == "pace":
            self._open_paced_stream()
        elif kind == "plan":
            self._plan.streams, self._plan.rate_per_s, self._plan.count = map(int, numbers)
            self._plan.waiting.clear()
            self._transport.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        else:
            self._transport.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    def _open_paced_stream(self) -> None:
        self._transport.write(
            _SSE_HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + _http_chunk(openai_opening())
        )
        plan = self._plan
        plan.waiting.append(self._transport)
        if len(plan.waiting) == plan.streams:
            plan.running = asyncio.ensure_future(_pace(plan.waiting, plan.rate_per_s, plan.count))
            plan.waiting = []


async def _pace(streams: list[asyncio.Transport], rate_per_s: int, count: int) -> None:
    phases = [streams[i::_PHASES] for i in range(_PHASES)]
    start_s = time.monotonic() + 0.1
    for step in range(count * _PHASES):
        due_s = start_s + step / (rate_per_s * _PHASES)
        if (delay_s := due_s - time.monotonic()) > 0:
            await asyncio.sleep(delay_s)
        event = _http_chunk(_PACED_EVENT.replace(_STAMP, b"%014.6f" % time.monotonic()))
        for stream in phases[step % _PHASES]:
            if not stream.is_closing():
                stream.write(event)
    for stream in streams:
        if not stream.is_closing():
            stream.write(_http_chunk(openai_closing()) + b"0\r\n\r\n")


def _http_chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@functools.cache
def _whole_reply(wire: str) -> bytes:
    body = whole_answer(wire)
    return _JSON_HEAD % len(body) + body


@functools.cache
def _vectors_reply(count: int, dimensions: int, *, in_base64: bool) -> bytes:
    numbers = array("f", [math.sin(place) / 40 for place in range(dimensions)])
    vector = base64.b64encode(numbers.tobytes()).decode() if in_base64 else numbers.tolist()
    data = [{"object": "embedding", "index": index, "embedding": vector} for index in range(count)]
    usage = {"prompt_tokens": count, "total_tokens": count}
    answer = {"object": "list", "data": data, "model": "text-embedding-3-small", "usage": usage}
    body = json.dumps(answer).encode()
    return _JSON_HEAD % len(body) + body


@functools.cache
def _streamed_reply(wire: str, chunks: int) -> bytes:
    body = streamed_answer(wire, chunks)
    return _SSE_HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body


def _content_length(head: bytes) -> int:
    _, found, rest = head.lower().partition(b"\r\ncontent-length:")
    return int(rest.split(b"\r\n", 1)[0]) if found else 0


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    plan = Plan()
    server = await loop.create_server(lambda: Connection(plan), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_serve())
