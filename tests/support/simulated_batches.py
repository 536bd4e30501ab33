"""The Batch APIs in memory, behind an httpx2 transport: no sockets, no clock but its own, every oddity on demand.

It knows what was paid. `Provider.batches` are all batches, whoever made them; `paid` counts the answers of each text.
"""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qs

import httpx2

DAY_S = 86_400.0


class Killed(BaseException):
    """The process ends here."""


class AnswerLost(Exception):
    """What the provider said never came."""


@dataclass
class Batch:
    """One batch. `rows` are (custom_id, text); `answered` those that were paid, `failed` those that were refused."""

    id: str
    owner: str  # "ours" or "a colleague"
    rows: list[tuple[str, str]]
    made_at: float
    metadata: dict[str, str] = field(default_factory=dict)
    input_file: str | None = None
    state: str = (
        "in_progress"  # in_progress, cancelling, then completed, expired, cancelled, failed
    )
    answered: list[int] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)  # with a passing error
    errors: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    cancels: int = 0

    @property
    def ended(self) -> bool:
        return self.state not in ("in_progress", "cancelling")


class Provider(httpx2.BaseTransport):
    """A provider of one dialect, "openai", "anthropic" or "gemini", as all its users see it."""

    def __init__(self, dialect: str) -> None:
        self.dialect = dialect
        self.now = 1_790_000_000.0
        self.batches: list[Batch] = []
        self.files: dict[str, bytes] = {}
        self.uploads = 0
        self.paid: Counter[str] = Counter()
        self.next_plan: list[str] = []  # of batches to come: "line", "full"
        self.lose_create = 0  # so many batches to come are made, and nobody hears of it
        self.refuse_create = 0
        self.refuse_cancel = 0  # so many cancels to come are refused
        self.is_busy = (
            False  # a colleague makes a batch of as many rows whenever one of ours has bad luck
        )
        self.compress = False
        self.mark = b""  # a BOM, say
        self.trip: Callable[[str], None] = lambda where: (
            None
        )  # called before and after each request
        self.on_create: Callable[[], None] = lambda: None  # called when a batch of ours is made

    # what the world does --------------------------------------------------------------------------------------------

    def make(self, owner: str, rows: list[tuple[str, str]], **about: Any) -> Batch:
        batch = Batch(f"batch{len(self.batches)}", owner, rows, self.now, **about)
        self.batches.append(batch)
        plan = self.next_plan.pop(0) if self.next_plan and owner == "ours" else ""
        if self.dialect == "openai" and plan:
            batch.state = "failed"
            line = {"code": "invalid_row", "line": 1, "message": "not so"}
            batch.errors = [
                line if plan == "line" else {"code": "token_limit_exceeded", "message": "full"}
            ]
        return batch

    def progress(self, batch: Batch, share: float, failing: int = 0) -> None:
        """Answer rows until a share of them is done; the first `failing` of them meet a passing error."""
        if batch.ended:
            return
        for number in range(int(len(batch.rows) * share)):
            if number in batch.answered or number in batch.failed:
                continue
            if failing:
                failing -= 1
                batch.failed.append(number)
            else:
                batch.answered.append(number)
                self.paid[batch.rows[number][1]] += 1

    def end(self, batch: Batch, state: str) -> None:
        """End a batch: completed, expired or cancelled."""
        if batch.ended:
            return
        if state == "completed":
            self.progress(batch, 1.0)
        batch.state = state
        if self.dialect == "openai":
            self._write_files(batch)

    def _write_files(self, batch: Batch) -> None:
        output, errors = [], []
        for number, (custom_id, text) in reversed(list(enumerate(batch.rows))):
            if number in batch.answered:
                response = {"status_code": 200, "request_id": "r", "body": openai_answer(text)}
                output.append(
                    {"id": "x", "custom_id": custom_id, "response": response, "error": None}
                )
            elif number in batch.failed:
                body = {
                    "error": {
                        "message": "slow down",
                        "type": "requests",
                        "code": "rate_limit_exceeded",
                    }
                }
                response = {"status_code": 429, "request_id": "r", "body": body}
                errors.append(
                    {"id": "x", "custom_id": custom_id, "response": response, "error": None}
                )
            else:
                error = {
                    "code": f"batch_{batch.state}",
                    "message": "This request was not executed.",
                }
                errors.append({"id": "x", "custom_id": custom_id, "response": None, "error": error})
        for name, lines in (("output_file_id", output), ("error_file_id", errors)):
            if lines:
                batch.files[name] = self._add_file(
                    b"".join(json.dumps(line).encode() + b"\n" for line in lines)
                )

    def _add_file(self, content: bytes) -> str:
        self.uploads += 1
        name = f"file{self.uploads}"
        self.files[name] = content
        return name

    # what it says ---------------------------------------------------------------------------------------------------

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        where = f"{request.method} {request.url.path}"
        self.trip(f"before {where}")
        try:
            status, said = self._answered(request)
        except AnswerLost as exc:
            self.trip(f"after {where}")
            raise httpx2.ReadError("reset") from exc
        self.trip(f"after {where}")
        headers = {"date": format_datetime(datetime.fromtimestamp(self.now, UTC), usegmt=True)}
        content = said if isinstance(said, bytes) else json.dumps(said).encode()
        if isinstance(said, bytes) and self.compress:
            headers["content-encoding"], content = "gzip", gzip.compress(content)
        headers["content-length"] = str(len(content))
        return httpx2.Response(
            status, headers=headers, stream=httpx2.ByteStream(content), request=request
        )

    def _answered(self, request: httpx2.Request) -> tuple[int, Any]:
        request.read()
        if self.dialect == "gemini":
            return self._gemini(request)
        found = re.search(
            r"/(files|batches)(?:/([^/]+))?(?:/(content|cancel|results))?$", request.url.path
        )
        assert found, request.url
        kind, id_, action = found[1], found[2], found[3]
        if kind == "files":
            return self._file(request, id_, action)
        if id_ is None:
            return self._create(request) if request.method == "POST" else self._list(request)
        batch = next((one for one in self.batches if one.id == id_), None)
        if batch is None:
            return self._error(404, "no such batch")
        if action == "cancel":
            return self._cancel(batch)
        if action == "results":
            return (
                (200, self._results(batch)) if batch.ended else self._error(404, "no results yet")
            )
        return 200, self._record(batch)

    def _gemini(self, request: httpx2.Request) -> tuple[int, Any]:
        if request.url.path.endswith(":batchGenerateContent"):
            return self._create(request)
        found = re.search(r"/batches(?:/([^/:]+))?(:cancel)?$", request.url.path)
        assert found, request.url
        if found[1] is None:
            start = int(request.url.params.get("pageToken", 0))
            page = [self._record(batch) for batch in self.batches[::-1][start : start + 3]]
            more = {"nextPageToken": str(start + 3)} if start + 3 < len(self.batches) else {}
            return 200, {"operations": page, **more}
        batch = next((one for one in self.batches if one.id == found[1]), None)
        if batch is None:
            return self._error(404, "no such batch")
        return self._cancel(batch) if found[2] else (200, self._record(batch))

    def _file(
        self, request: httpx2.Request, id_: str | None, action: str | None
    ) -> tuple[int, Any]:
        if id_ is None:
            boundary = request.headers["content-type"].partition("boundary=")[2].encode()
            part = next(
                one for one in request.content.split(b"--" + boundary) if b"filename=" in one
            )
            name = self._add_file(part.partition(b"\r\n\r\n")[2][:-2])
            return 200, {
                "id": name,
                "object": "file",
                "status": "processed",
                "created_at": int(self.now),
            }
        if id_ not in self.files:
            return self._error(404, "no such file")
        if action == "content":
            return 200, self.mark + self.files[id_]
        return 200, {"id": id_, "object": "file", "created_at": int(self.now)}

    def _create(self, request: httpx2.Request) -> tuple[int, Any]:
        if self.refuse_create:
            self.refuse_create -= 1
            if self.is_busy:
                size = request.content.count(b'"custom_id"') or 1
                self.make(
                    "a colleague", [(f"other-{number}", f"c{number}") for number in range(size)]
                )
            return self._error(403, "not now")
        fields = json.loads(request.content)
        about: dict[str, Any] = {}
        if self.dialect == "openai":
            content = self.files.get(fields["input_file_id"])
            if content is None:
                return self._error(400, "no such file")
            asked = [json.loads(line) for line in content.splitlines()]
            rows = [(row["custom_id"], row["body"]["messages"][0]["content"]) for row in asked]
            about = {"metadata": fields["metadata"], "input_file": fields["input_file_id"]}
        elif self.dialect == "gemini":
            inline = fields["batch"]["inputConfig"]["requests"]["requests"]
            rows = [
                (row["metadata"]["key"], row["request"]["contents"][0]["parts"][0]["text"])
                for row in inline
            ]
            about = {"metadata": {"displayName": fields["batch"]["displayName"]}}
        else:
            rows = [
                (row["custom_id"], row["params"]["messages"][0]["content"])
                for row in fields["requests"]
            ]
        self.on_create()
        batch = self.make("ours", rows, **about)
        if self.lose_create:
            self.lose_create -= 1
            if self.is_busy:
                self.make(
                    "a colleague",
                    [(f"other-{number}", f"c{number}") for number in range(len(rows))],
                )
            raise AnswerLost
        return 200, self._record(batch)

    def _list(self, request: httpx2.Request) -> tuple[int, Any]:
        asked = {name: values[0] for name, values in parse_qs(request.url.query.decode()).items()}
        newest_first = self.batches[::-1]
        after, limit = asked.get("after", asked.get("after_id")), int(asked.get("limit", 20))
        start = 1 + [batch.id for batch in newest_first].index(after) if after else 0
        page = newest_first[start : start + min(limit, 3)]  # pages are short, that they are turned
        more = start + len(page) < len(newest_first)
        return 200, {"data": [self._record(batch) for batch in page], "has_more": more}

    def _cancel(self, batch: Batch) -> tuple[int, Any]:
        batch.cancels += 1
        if self.refuse_cancel:
            self.refuse_cancel -= 1
            return self._error(409 if self.refuse_cancel % 2 else 404, "not this one")
        if batch.ended:
            return self._error(409, f"Cannot cancel a batch with status '{batch.state}'.")
        batch.state = "cancelling"
        return 200, self._record(batch)

    def _error(self, status: int, message: str) -> tuple[int, Any]:
        error = {
            "type": "not_found_error" if status == 404 else "invalid_request_error",
            "message": message,
        }
        return status, {"type": "error", "error": error, "request_id": "r"}

    def _record(self, batch: Batch) -> dict[str, Any]:
        return {
            "openai": self._openai_record,
            "anthropic": self._anthropic_record,
            "gemini": self._operation,
        }[self.dialect](batch)

    def _operation(self, batch: Batch) -> dict[str, Any]:
        states = {"in_progress": "RUNNING", "cancelling": "RUNNING", "completed": "SUCCEEDED"}
        counts = {
            "requestCount": batch.rows,
            "successfulRequestCount": batch.answered,
            "failedRequestCount": batch.failed,
        }
        metadata: dict[str, Any] = {
            "displayName": batch.metadata.get("displayName"),
            "createTime": iso(batch.made_at),
            "state": f"BATCH_STATE_{states.get(batch.state, batch.state.upper())}",
            "batchStats": {name: str(len(rows)) for name, rows in counts.items()},  # type: ignore[arg-type]
        }
        if batch.ended:
            rows = [
                (batch.rows[n][0], {"response": gemini_answer(batch.rows[n][1])})
                for n in batch.answered[::-1]
            ]
            rows += [
                (batch.rows[n][0], {"error": {"code": 8, "message": "slow down"}})
                for n in batch.failed
            ]
            inlined = [{"metadata": {"key": key}, **came} for key, came in rows]
            metadata["output"] = {"inlinedResponses": {"inlinedResponses": inlined}}
        return {"name": f"batches/{batch.id}", "metadata": metadata, "done": batch.ended}

    def _openai_record(self, batch: Batch) -> dict[str, Any]:
        counts = {
            "total": len(batch.rows),
            "completed": len(batch.answered),
            "failed": len(batch.failed),
        }
        return {
            "id": batch.id,
            "object": "batch",
            "status": batch.state,
            "created_at": int(batch.made_at),
            "expires_at": int(batch.made_at + DAY_S),
            "input_file_id": batch.input_file,
            "metadata": batch.metadata,
            "errors": {"data": batch.errors} if batch.errors else None,
            "request_counts": counts,
            "output_file_id": None,
            "error_file_id": None,
            **batch.files,
        }

    def _anthropic_record(self, batch: Batch) -> dict[str, Any]:
        counts = dict.fromkeys(("processing", "succeeded", "errored", "canceled", "expired"), 0)
        counts["processing"] = len(batch.rows)
        if batch.ended:
            rest = len(batch.rows) - len(batch.answered) - len(batch.failed)
            counts |= {
                "processing": 0,
                "succeeded": len(batch.answered),
                "errored": len(batch.failed),
            }
            counts["canceled" if batch.state == "cancelled" else "expired"] = rest
        state = (
            "ended"
            if batch.ended
            else "canceling"
            if batch.state == "cancelling"
            else "in_progress"
        )
        return {
            "id": batch.id,
            "type": "message_batch",
            "processing_status": state,
            "request_counts": counts,
            "created_at": iso(batch.made_at),
            "expires_at": iso(batch.made_at + DAY_S),
            "cancel_initiated_at": iso(self.now)
            if batch.state in ("cancelling", "cancelled")
            else None,
            "results_url": f"https://api.test/v1/messages/batches/{batch.id}/results"
            if batch.ended
            else None,
        }

    def _results(self, batch: Batch) -> bytes:
        lines = []
        for number, (custom_id, text) in reversed(list(enumerate(batch.rows))):
            if number in batch.answered:
                result: dict[str, Any] = {"type": "succeeded", "message": anthropic_answer(text)}
            elif number in batch.failed:
                error = {"type": "overloaded_error", "message": "slow down"}
                result = {
                    "type": "errored",
                    "error": {"type": "error", "error": error, "request_id": "r"},
                }
            else:
                result = {"type": "canceled" if batch.state == "cancelled" else "expired"}
            lines.append(json.dumps({"custom_id": custom_id, "result": result}).encode() + b"\n")
        return self.mark + b"".join(lines)


def openai_answer(text: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": f"answer to {text}"}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    return {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": choices,
        "usage": usage,
    }


def anthropic_answer(text: str) -> dict[str, Any]:
    content = [{"type": "text", "text": f"answer to {text}"}]
    return {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": content,
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }


def gemini_answer(text: str) -> dict[str, Any]:
    content = {"role": "model", "parts": [{"text": f"answer to {text}"}]}
    return {"candidates": [{"content": content, "finishReason": "STOP", "index": 0}]}


def iso(epoch_s: float) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).isoformat().replace("+00:00", "Z")
