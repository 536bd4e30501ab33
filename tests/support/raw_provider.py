"""A chat provider of a few lines over a bare socket: what a promise of the network is tried against once, beside
`ProviderServer`. It fails as it is told to, and writes down what came.
"""

import asyncio
import json
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from socket import SO_LINGER, SOL_SOCKET
from typing import NamedTuple, Self


class Arrival(NamedTuple):
    """A request: when it came, the text it asked, and the status it was given (0: its connection was reset)."""

    at_s: float
    text: str
    status: int


class RawProvider:
    """`decide(since_s, text)` returns the status of each request, 0 for a reset; `since_s` is from the first one on.

    `retry_after` is what refusals say. Answers repeat the text after `latency_s`.
    """

    def __init__(
        self,
        decide: Callable[[float, str], int],
        *,
        retry_after: float | None = None,
        latency_s: float = 0.0,
    ) -> None:
        self.decide = decide
        self.retry_after = retry_after
        self.latency_s = latency_s
        self.arrivals: list[Arrival] = []

    @property
    def requests_a_call(self) -> Counter[str]:
        return Counter(arrival.text for arrival in self.arrivals)

    def __enter__(self) -> Self:
        ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self._thread.start()
        ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)

    def _run(self, ready: threading.Event) -> None:
        async def serve() -> None:
            self._stop = asyncio.Event()
            server = await asyncio.start_server(self._talk, "127.0.0.1", 0, backlog=2048)
            self.base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
            ready.set()
            await self._stop.wait()
            server.close()
            talks = asyncio.all_tasks() - {asyncio.current_task()}
            for talk in talks:
                talk.cancel()
            await asyncio.gather(*talks, return_exceptions=True)
            await asyncio.sleep(0.01)  # until the closed transports are gone

        self._loop.run_until_complete(serve())
        self._loop.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                size = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
                text = json.loads(await reader.readexactly(size))["messages"][-1]["content"]
                now = time.monotonic()
                status = self.decide(now - self.arrivals[0].at_s if self.arrivals else 0.0, text)
                self.arrivals.append(Arrival(now, text, status))
                if status == 0:  # an RST, nothing else
                    writer.get_extra_info("socket").setsockopt(
                        SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0)
                    )
                    writer.transport.abort()
                    return
                if status == 200:
                    await asyncio.sleep(self.latency_s)
                writer.write(self._reply(status, text))
                await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            writer.close()

    def _reply(self, status: int, text: str) -> bytes:
        message = {"role": "assistant", "content": text}
        good = {"id": "x", "object": "chat.completion", "created": 1, "model": "m"}
        choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
        body = json.dumps(
            {**good, "choices": choices} if status == 200 else {"error": {"message": "no"}}
        ).encode()
        asked = (
            ""
            if status == 200 or self.retry_after is None
            else f"retry-after: {self.retry_after}\r\n"
        )
        head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{asked}content-length: {len(body)}\r\n\r\n"
        return head.encode() + body
