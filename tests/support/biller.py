"""A provider that bills: it counts what it would charge for, whatever its callers count."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from modelwire import ChatOpenAI

MODEL = "gpt-4o-mini"  # USD for a million tokens: https://openai.com/api/pricing, read 2026-11
INPUT, OUTPUT = Decimal("0.15") / 10**6, Decimal("0.60") / 10**6


class Biller(ThreadingHTTPServer):
    """Answers every request with `output` tokens and adds up what it would charge."""

    request_queue_size = 512
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/v1"
        self.lock, self.calls, self.tokens, self.usd = threading.Lock(), 0, 0, Decimal(0)
        self.output: Callable[[dict[str, Any]], int] = lambda body: 10
        self.status, self.delay_s, self.cut = 200, 0.0, False
        self.meanwhile: Callable[[], object] = lambda: None  # done while a request is answered
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing about callers who have gone: it would stand in what another test reads of stderr."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = (
        True  # head and body are two writes: the second would wait 40 ms for the first one's ack
    )
    server: Biller

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        time.sleep(self.server.delay_s)
        self.server.meanwhile()
        output = self.server.output(body)
        usage = {"prompt_tokens": 8, "completion_tokens": output, "total_tokens": 8 + output}
        with self.server.lock:
            self.server.calls += 1
            if self.server.status == 200:
                self.server.tokens += 8 + output
                self.server.usd += 8 * INPUT + output * OUTPUT
        if body.get("stream"):
            chunk = {"id": "c", "object": "chat.completion.chunk", "model": MODEL}
            choice = {"index": 0, "delta": {"content": "word "}, "finish_reason": None}
            parts = [{**chunk, "choices": [choice]}] * 20
            if not self.server.cut:
                parts += [{**chunk, "choices": [{**choice, "delta": {}, "finish_reason": "stop"}]}]
                parts += [{**chunk, "choices": [], "usage": usage}]
            answer = "".join(f"data: {json.dumps(part)}\n\n" for part in parts)
            answer += "" if self.server.cut else "data: [DONE]\n\n"
        else:
            message = {"role": "assistant", "content": "ok"}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            answer = json.dumps(
                {
                    "id": "c",
                    "object": "chat.completion",
                    "model": MODEL,
                    "choices": [choice],
                    "usage": usage,
                }
            )
        self.send_response(self.server.status)
        self.send_header(
            "content-type", "text/event-stream" if body.get("stream") else "application/json"
        )
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer.encode())

    def log_message(self, *args: Any) -> None:
        pass


def model_at(server: Biller, **settings: Any) -> ChatOpenAI:
    defaults: dict[str, Any] = {"max_tokens": 100, "max_retries": 0, "rate_limit": None}
    return ChatOpenAI(model=MODEL, base_url=server.url, api_key="k", **{**defaults, **settings})


@contextmanager
def billing() -> Iterator[Biller]:
    """Run a provider for a block."""
    server = Biller()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
