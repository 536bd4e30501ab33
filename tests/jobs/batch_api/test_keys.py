"""A key that a function gives and that has run out: asked for once more, also where a file was being sent."""

from __future__ import annotations

import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from modelwire.adapters import ChatAnthropic, ChatGoogleGenerativeAI, ChatOpenAI
from modelwire.jobs import BatchJob
from modelwire.jobs.batch_api import gemini

MADE = {"id": "batch_1", "name": "batches/1", "metadata": {"state": "BATCH_STATE_PENDING"}}


class Keys:
    """Gives one key until it is told that it was refused."""

    number = 0

    def __call__(self) -> str:
        return f"key-{self.number}"

    def expire(self) -> None:
        self.number += 1


class Handler(BaseHTTPRequestHandler):
    """Takes `key-1` alone, and keeps what was sent with it."""

    server: Any

    def do_POST(self) -> None:
        sent = self.rfile.read(int(self.headers["content-length"]))
        self.server.seen.append((self.path, "key-1" in str(self.headers)))
        if "key-1" not in str(self.headers):
            return self.answer(
                401, {"error": {"message": "no", "type": "authentication_error", "code": 401}}
            )
        self.server.sent.append(sent)
        if "x-goog-upload-protocol" in self.headers:
            return self.answer(200, {}, f"http://127.0.0.1:{self.server.server_port}/upload?id=1")
        is_file = "/files" in self.path or "/upload" in self.path
        return self.answer(200, {"id": "file-1", "file": {"name": "files/1"}} if is_file else MADE)

    def answer(self, status: int, body: Any, address: str = "") -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.send_header("x-goog-upload-url", address)
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        self.answer(200, {"data": [], "has_more": False})

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Any:
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.seen, server.sent = [], []
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("make", "path"),
    [
        (
            lambda url, key: ChatOpenAI(model="gpt-test", base_url=f"{url}/v1", api_key=key),
            "/v1/files",
        ),
        (
            lambda url, key: ChatAnthropic(model="claude-haiku-4-5", base_url=url, api_key=key),
            "/v1/messages/batches",
        ),
        (
            lambda url, key: ChatGoogleGenerativeAI(model="gemini-test", base_url=url, api_key=key),
            "/upload/v1beta/files",
        ),
    ],
    ids=["openai", "anthropic", "gemini"],
)
def test_a_file_is_sent_whole_once_the_key_is_renewed(
    server: Any,
    make: Callable[[str, Any], Any],
    path: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gemini, "INLINE_BYTES", 0)
    keys, text = Keys(), "w" * 200_000
    model = make(f"http://127.0.0.1:{server.server_port}", keys)
    job: BatchJob = model.submit_batch([text], dir=tmp_path / "a.job")
    assert job.status(look=False).submitted == 1 and keys.number == 1
    refused, taken = server.seen[:2]
    assert refused == (path, False) and taken == (path, True)
    assert sum(text.encode() in sent for sent in server.sent) == 1
