"""A provider with a hidden limit, on loopback: a token bucket in a thread. It notes when it accepted and refused."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import threading
import time
from typing import Any

_ANSWER = json.dumps(
    {
        "id": "a",
        "object": "chat.completion",
        "created": 0,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "yes"},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }
).encode()
_REFUSAL = b'{"error": {"message": "Too many requests", "type": "requests", "code": "rate_limit_exceeded"}}'


def hurry(process: int) -> None:
    """Run what stands for another machine before what is tested, where we may."""
    with contextlib.suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, process, -15)


class LimitedProvider:
    """Answers `per_s` requests a second, `burst` of them at once, each after `latency_s`; refuses the others at once.

    `status` is what all requests get in place of an answer, such as 401.
    """

    def __init__(
        self,
        per_s: float,
        *,
        burst: float | None = None,
        latency_s: float = 0.1,
        at_once: int | None = None,
        headers: str = "",
    ) -> None:
        self.per_s = per_s
        self.capacity = max(per_s, 1.0) if burst is None else burst
        self.latency_s = latency_s
        self.at_once = at_once
        self.headers = headers
        self.status: int | None = None
        self.accepted: list[float] = []
        self.refused: list[float] = []
        self.in_flight = self.most_in_flight = 0
        self._level, self._at = self.capacity, time.monotonic()
        self._loop = asyncio.new_event_loop()
        self._writers: set[asyncio.StreamWriter] = set()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._ready = threading.Event()

    def __enter__(self) -> LimitedProvider:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._loop.close()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def _run(self) -> None:
        hurry(threading.get_native_id())
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._talk, "127.0.0.1", 0, backlog=1000)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        await asyncio.sleep(0.02)

    def _admits(self) -> bool:
        now = time.monotonic()
        self._level = min(self._level + (now - self._at) * self.per_s, self.capacity)
        self._at = now
        is_full = self.at_once is not None and self.in_flight >= self.at_once
        if self._level < 1 or is_full:
            self.refused.append(now)
            return False
        self._level -= 1
        self.accepted.append(now)
        return True

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    int(line.split(b":")[1])
                    for line in head.lower().split(b"\r\n")
                    if line.startswith(b"content-length")
                )
                await reader.readexactly(length)
                await self._answer(writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer(self, writer: asyncio.StreamWriter) -> None:
        if self.status is not None:
            self.refused.append(time.monotonic())
            self._write(writer, self.status, b'{"error": {"message": "No.", "code": "no"}}')
            return
        if not self._admits():
            self._write(writer, 503 if self.at_once else 429, _REFUSAL)
            return
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(self.latency_s)
        finally:
            self.in_flight -= 1
        self._write(writer, 200, _ANSWER)

    def _write(self, writer: asyncio.StreamWriter, status: int, body: bytes) -> None:
        head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n{self.headers}"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    def counts(self, since: float, until: float) -> tuple[int, int]:
        """Return how many requests were accepted and refused between two times of `time.monotonic`."""
        took: Any = [
            sum(since <= at < until for at in list(times))
            for times in (self.accepted, self.refused)
        ]
        return tuple(took)
