"""A provider of chat completions and batches that knows nothing of ours, and counts what it bills.

Six rows of a batch get done and no more, until it is to be ended: that takes four looks, with two rows at each.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TRAVEL_LOOKS, EARLY_ROWS = 4, 6


class RawBatches(ThreadingHTTPServer):
    """`billed` counts each question by its text."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/v1"
        self.lock = threading.Lock()
        self.billed: Counter[str] = Counter()
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        text = body["messages"][-1]["content"]
        self.billed[text] += 1
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": text},
            "finish_reason": "stop",
        }
        usage = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
        return {
            "id": "c",
            "object": "chat.completion",
            "model": body["model"],
            "choices": [choice],
            "usage": usage,
        }

    def look(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Let two rows get done, and say how the batch stands."""
        if batch["status"] != "cancelled":
            done = batch["done"]
            batch["travels"] += batch["status"] == "cancelling"
            more = 2 if batch["travels"] or len(done) < EARLY_ROWS else 0
            for line in batch["lines"][len(done) : len(done) + more]:
                response = {
                    "status_code": 200,
                    "request_id": "q",
                    "body": self.answer(line["body"]),
                }
                done.append(
                    {"id": "r", "custom_id": line["custom_id"], "response": response, "error": None}
                )
            if batch["travels"] >= TRAVEL_LOOKS:
                batch["status"] = "cancelled"
                self.files[f"out{batch['id']}"] = b"".join(
                    json.dumps(line).encode() + b"\n" for line in done
                )
        shown = {
            name: batch[name]
            for name in ("id", "status", "input_file_id", "metadata", "created_at")
        }
        counts = {"total": len(batch["lines"]), "completed": len(batch["done"]), "failed": 0}
        output = (
            f"out{batch['id']}" if batch["status"] == "cancelled" else None
        )  # which leaves out what it has not done
        return {**shown, "object": "batch", "request_counts": counts, "output_file_id": output}

    def make(self, fields: dict[str, Any]) -> dict[str, Any]:
        id = f"b{len(self.batches)}"
        lines = [
            json.loads(line)
            for line in self.files[fields["input_file_id"]].splitlines()
            if line.strip()
        ]
        about = {
            "id": id,
            "status": "in_progress",
            "created_at": int(time.time()),
            "done": [],
            "travels": 0,
        }
        self.batches[id] = {**fields, **about, "lines": lines}
        return self.look(self.batches[id])


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = (
        True  # head and body are two writes: the second would wait 40 ms for the first one's ack
    )
    server: RawBatches

    def do_GET(self) -> None:
        with self.server.lock:
            path = self.path.partition("?")[0]
            if found := re.fullmatch(r"/v1/files/(\w+)/content", path):
                self.reply(self.server.files[found[1]])
            elif found := re.fullmatch(r"/v1/batches/(\w+)", path):
                self.reply(self.server.look(self.server.batches[found[1]]))
            else:
                self.reply({"object": "list", "data": [], "has_more": False})

    def do_POST(self) -> None:
        sent = self.rfile.read(int(self.headers["content-length"]))
        with self.server.lock:
            if self.path.endswith("/files"):
                id = f"f{len(self.server.files)}"
                self.server.files[id] = sent[sent.index(b'{"custom_id"') : sent.rindex(b"\r\n--")]
                self.reply({"id": id, "object": "file", "created_at": int(time.time())})
            elif self.path.endswith("/cancel"):
                batch = self.server.batches[self.path.split("/")[-2]]
                batch["status"] = "cancelling"
                self.reply(self.server.look(batch))
            elif self.path.endswith("/batches"):
                self.reply(self.server.make(json.loads(sent)))
            else:
                self.reply(self.server.answer(json.loads(sent)))

    def reply(self, value: Any) -> None:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass
