"""Batch APIs that lose the answer to a creation and make the batch some seconds later, on a clock that a test moves.

It knows nothing of modelwire: paths and fields are those of the providers' pages. `created` counts what is billed.
"""

from __future__ import annotations

import json
import re
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from modelwire.adapters import ChatAnthropic, ChatGoogleGenerativeAI, ChatOpenAI, ChatVertexAI

DIALECTS = ("openai", "anthropic", "gemini", "vertex")
RESET = 0  # closes the connection in the place of an answer


class Clock:
    """Seconds that pass when something sleeps; `module` stands in for `time` in a module."""

    def __init__(self) -> None:
        self.now = 1_790_000_000.0
        self.sleeps: list[float] = []
        self.module = SimpleNamespace(
            time=lambda: self.now, monotonic=lambda: self.now, sleep=self.sleep
        )

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now += seconds


class LateBatches(ThreadingHTTPServer):
    """Each creation takes the next of `failures`: a status, and the seconds until the batch is made (None: never)."""

    daemon_threads = True

    def __init__(self, dialect: str, clock: Clock, *failures: tuple[int, float | None]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.dialect, self.clock, self.failures = dialect, clock, list(failures)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.batches: list[dict[str, Any]] = []  # with `at`, when it is listed first
        self.files: dict[str, bytes] = {}
        self.lists = 0
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def model(self) -> Any:
        if self.dialect == "openai":
            return ChatOpenAI(model="m", base_url=f"{self.url}/v1", api_key="k")
        if self.dialect == "anthropic":
            return ChatAnthropic(model="m", base_url=self.url, api_key="k", max_tokens=9)
        if self.dialect == "gemini":
            return ChatGoogleGenerativeAI(model="m", base_url=self.url, api_key="k")
        return ChatVertexAI(model="m", base_url=self.url, project="p", credentials=lambda: "k")

    @property
    def options(self) -> dict[str, Any]:
        return {"bucket": "gs://my-bucket"} if self.dialect == "vertex" else {}

    @property
    def created(self) -> list[dict[str, Any]]:
        return [batch for batch in self.batches if batch["at"] <= self.clock.now]

    def create(self, fields: dict[str, Any]) -> tuple[int, Any]:
        status, delay_s = self.failures.pop(0) if self.failures else (200, 0.0)
        batch = {
            "id": f"b{len(self.batches)}",
            "fields": fields,
            "at": self.clock.now + (delay_s or 0),
        }
        if delay_s is not None:
            self.batches.append(batch)
        return status, self.record(batch) if status == 200 else {"error": {"message": "late"}}

    def rows(self, fields: dict[str, Any]) -> list[tuple[str, str]]:
        """Return the name and the text of each row."""
        if self.dialect == "anthropic":
            asked = [(row["custom_id"], row["params"]["messages"]) for row in fields["requests"]]
        elif self.dialect == "openai":
            lines = map(json.loads, self.files[fields["input_file_id"]].splitlines())
            asked = [(row["custom_id"], row["body"]["messages"]) for row in lines]
        else:
            if self.dialect == "gemini":
                inline = fields["batch"]["inputConfig"]["requests"]["requests"]
                rows = [(row["metadata"]["key"], row["request"]) for row in inline]
            else:
                place = fields["inputConfig"]["gcsSource"]["uris"][0].split("/", 3)[3]
                lines = map(json.loads, self.files[place].splitlines())
                rows = [(row["key"], row["request"]) for row in lines]
            return [(key, asked["contents"][0]["parts"][0]["text"]) for key, asked in rows]
        return [(name, messages[0]["content"]) for name, messages in asked]

    def record(self, batch: dict[str, Any]) -> dict[str, Any]:
        fields, name = batch["fields"], batch["id"]
        rows = self.rows(fields)
        made_at = datetime.fromtimestamp(batch["at"], UTC).isoformat()
        if self.dialect == "openai":
            about = {name: fields[name] for name in ("metadata", "input_file_id")}
            counts = {"total": len(rows), "completed": len(rows), "failed": 0}
            about |= {"created_at": int(batch["at"]), "request_counts": counts}
            self.files[f"out-{name}"] = self.results(rows)
            return {"id": name, "status": "completed", "output_file_id": f"out-{name}", **about}
        if self.dialect == "anthropic":
            counts = {"processing": 0, "succeeded": len(rows), "errored": 0}
            ended = {"processing_status": "ended", "request_counts": counts}
            url = f"{self.url}/v1/messages/batches/{name}/results"
            return {"id": name, "created_at": made_at, "results_url": url, **ended}
        if self.dialect == "gemini":
            shown = {"displayName": fields["batch"]["displayName"], "createTime": made_at}
            lines = [json.loads(line) for line in self.results(rows).splitlines()]
            output = {"inlinedResponses": {"inlinedResponses": lines}}
            metadata = {**shown, "state": "BATCH_STATE_SUCCEEDED", "output": output}
            return {"name": f"batches/{name}", "metadata": metadata}
        self.files[f"out/{name}/predictions.jsonl"] = self.results(rows)
        shown = {"displayName": fields["displayName"], "createTime": made_at}
        shown["state"] = "JOB_STATE_SUCCEEDED"
        directory = {"gcsOutputDirectory": f"gs://my-bucket/out/{name}"}
        return {"name": f"projects/p/batchPredictionJobs/{name}", **shown, "outputInfo": directory}

    def results(self, rows: list[tuple[str, str]]) -> bytes:
        return b"".join(
            json.dumps(self.result(name, f"To {text}")).encode() + b"\n" for name, text in rows
        )

    def result(self, name: str, text: str) -> dict[str, Any]:
        if self.dialect == "openai":
            choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            return {
                "custom_id": name,
                "response": {"status_code": 200, "body": {"choices": [choice]}},
            }
        if self.dialect == "anthropic":
            message = {
                "type": "message",
                "role": "assistant",
                "content": [{"type": "text", "text": text}],
            }
            usage = {"input_tokens": 1, "output_tokens": 1}
            message |= {"model": "m", "id": "i", "stop_reason": "end_turn", "usage": usage}
            return {"custom_id": name, "result": {"type": "succeeded", "message": message}}
        content = {"role": "model", "parts": [{"text": text}]}
        response = {"candidates": [{"content": content, "finishReason": "STOP"}]}
        where = {"key": name} if self.dialect == "vertex" else {"metadata": {"key": name}}
        return {**where, "response": response}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: LateBatches

    def do_GET(self) -> None:
        path, server = unquote(urlsplit(self.path).path), self.server
        if (found := re.search(r"/files/([^/]+)/content$", path)) or (
            found := re.search(r"/b/my-bucket/o/(.+)$", path)
        ):
            self.reply(200, server.files[found[1]])
        elif path.endswith("/b/my-bucket/o"):
            prefix = parse_qs(urlsplit(self.path).query)["prefix"][0]
            names = [name for name in server.files if name.startswith(prefix)]
            self.reply(200, {"items": [{"name": name} for name in names]})
        elif found := re.search(r"/(b\d+)/results$", path):
            batch = next(one for one in server.created if one["id"] == found[1])
            self.reply(200, server.results(server.rows(batch["fields"])))
        elif found := re.search(r"/(b\d+)$", path):
            batch = next(one for one in server.created if one["id"] == found[1])
            self.reply(200, server.record(batch))
        else:
            server.lists += 1
            records = [server.record(batch) for batch in server.created][::-1]
            fields = {"gemini": "operations", "vertex": "batchPredictionJobs"}
            self.reply(200, {fields.get(server.dialect, "data"): records, "has_more": False})

    def do_POST(self) -> None:
        sent, server = self.rfile.read(int(self.headers["content-length"])), self.server
        if "/upload/storage/" in self.path:
            name = parse_qs(urlsplit(self.path).query)["name"][0]
            server.files[name] = sent
            self.reply(200, {"name": name})
        elif self.path.endswith("/files"):
            name = f"file{len(server.files)}"
            server.files[name] = sent[sent.index(b'{"custom_id"') : sent.rindex(b"\r\n--")]
            self.reply(200, {"id": name, "created_at": int(server.clock.now)})
        else:
            self.reply(*server.create(json.loads(sent)))

    def reply(self, status: int, value: Any) -> None:
        if status == RESET:
            self.close_connection = True
            return
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass
