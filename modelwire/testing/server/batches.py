"""The Batch APIs of OpenAI (with its files), Anthropic and Gemini, with all their peculiarities. No I/O.

Wire formats: https://platform.openai.com/docs/api-reference/batch,
https://platform.openai.com/docs/api-reference/files and
https://docs.anthropic.com/en/api/creating-message-batches, read 2026-11; the lines of OpenAI's
files as in its guide (https://platform.openai.com/docs/guides/batch).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, get_args
from urllib.parse import parse_qs

from pydantic_core import from_json, to_json

from modelwire.errors import InvalidType
from modelwire.testing.server import faults, gemini_batches, vertex_batches
from modelwire.testing.server.limits import check_word
from modelwire.testing.server.replies import End, Reply, Step, json_reply
from modelwire.testing.server.requests import SeenRequest
from modelwire.testing.server.wires import error_reply

__all__ = ["BatchDesk", "BatchPlan", "SeenBatch"]

Oddity = Literal["missing", "duplicate", "null", "expired"]
Outcome = Literal["completed", "failed", "expired", "cancelled", "token_limit_exceeded"]
DAY_S = 86_400
_WIRE_OF_URL = {"/v1/chat/completions": "openai", "/v1/responses": "responses"}
# All batches on Azure are created for one endpoint, and each row names its own.
# https://learn.microsoft.com/azure/foundry/openai/how-to/batch, read 2026-11
_AZURE_ENDPOINT = "/chat/completions"
_WIRE_OF_AZURE_URL = {_AZURE_ENDPOINT: "openai", "/v1/responses": "responses"}


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """How a batch proceeds and ends.

    It ends after its status was read `polls` times, or after `seconds`. If it does not complete,
    `done` is the share of its rows that are answered anyway. `rows` lists irregular rows by their
    positions: in neither file, in a file twice, `response: null`, expired. `foreign` rows that were
    never submitted are added. `errors` are those of a failed validation. `lose_create` drops the
    connection after the batch was created; `cut_results` ends the first download after this many
    bytes; `results_host` is the host in Anthropic's `results_url`.
    """

    polls: int = 2
    seconds: float | None = None
    outcome: Outcome = "completed"
    done: float = 1.0
    rows: Mapping[int, Oddity] = field(default_factory=dict)
    foreign: int = 0
    errors: Sequence[Mapping[str, Any]] = ()
    lose_create: bool = False
    cut_results: int | None = None
    results_host: str | None = None

    def __post_init__(self) -> None:
        check_word("outcome", self.outcome, get_args(Outcome))


@dataclass(slots=True)
class SeenBatch:
    """A batch that was created; `rows` are (custom_id, wire, body) in the order of submission."""

    id: str
    # It is "openai" (whose rows may also use Responses), "anthropic", "gemini" or "vertex".
    wire: str
    rows: list[tuple[str, str, dict[str, Any]]]
    plan: BatchPlan
    made_s: float  # The time of creation on the server's clock.
    made_at: int  # The time of creation in epoch seconds.
    fields: dict[str, Any]  # The fields of the request that created it.
    errors: list[dict[str, Any]] = field(default_factory=list)
    polls: int = 0
    cancelled_at_share: float | None = None
    ended_at: int | None = None
    files: dict[str, str] = field(default_factory=dict)
    # The results of Anthropic's API, and of Gemini's without a file.
    results: bytes = b""
    # The counts of an ended batch.
    counts: dict[str, int] = field(default_factory=dict)
    usage: dict[str, int] = field(
        default_factory=lambda: {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
    )

    @property
    def outcome(self) -> Outcome:
        if self.errors or self.plan.errors:
            return "failed"
        return "cancelled" if self.cancelled_at_share is not None else self.plan.outcome

    def share(self, now_s: float) -> float:
        """Return the elapsed share of the batch's time; 1 at its end."""
        if self.plan.seconds is not None:
            return min(1.0, (now_s - self.made_s) / self.plan.seconds)
        return min(1.0, self.polls / max(1, self.plan.polls))


# A row's result is (custom_id, status, body); without an answer the status is None.
Answered = tuple[str, int | None, Any]
# It is called with (wire, body, number) and returns (status, body).
AnswerRow = Callable[[str, dict[str, Any], int], tuple[int, Any]]
_PATH = re.compile(r"(/messages)?/(files|batches)(?:/([^/]+))?(?:/(content|cancel|results))?$")


class BatchDesk:
    """Holds files and batches. `made` are all batches, oldest first."""

    def __init__(
        self,
        answer_row: AnswerRow,
        now_s: Callable[[], float],
        plans: BatchPlan | Sequence[BatchPlan],
    ) -> None:
        self.made: list[SeenBatch] = []
        self.files: dict[str, tuple[dict[str, Any], bytes]] = {}
        self.set_plans(plans)
        self._answer_row = answer_row
        self._now_s = now_s
        # These downloads have been truncated once already.
        self._cut: set[str] = set()
        self._rows_answered = 0
        self._files_made = 0
        # Gemini's uploads in progress: their names by id.
        self.uploads: dict[str, str] = {}

    def set_plans(self, plans: BatchPlan | Sequence[BatchPlan]) -> None:
        """Set one plan for all later batches, or a list for the next ones."""
        next_ones = [] if isinstance(plans, BatchPlan) else list(plans)
        if not all(isinstance(plan, BatchPlan) for plan in next_ones):
            raise InvalidType(
                f"`batches` must be a `BatchPlan`, or a list of them, not {plans!r:.100}."
            )
        # This plan applies to every batch after those in the list.
        self.plan = plans if isinstance(plans, BatchPlan) else BatchPlan()
        self.plans: list[BatchPlan] = next_ones

    def handle(self, request: SeenRequest, base_url: str) -> Reply | Iterable[Step] | None:
        """Return the answer to a request about files and batches; None for any other request."""
        if (
            reply := gemini_batches.handle(self, request) or vertex_batches.handle(self, request)
        ) is not None:
            return reply
        found = _PATH.search(request.path)
        if found is None:
            return None
        wire, kind, id_, action = (
            "anthropic" if found[1] else "openai",
            found[2],
            found[3],
            found[4],
        )
        name = f"{request.method} {kind}{'/id' if id_ else ''}{'/' + action if action else ''}"
        known = self.files if kind == "files" else [batch.id for batch in self._of(wire)]
        if id_ and id_ not in known:
            return error_reply(
                wire,
                404,
                number=request.number,
                message=f"No such {kind[:-1]}: `{id_}`.",
                code="not_found",
            )
        handler = _HANDLERS.get((wire, name))
        return None if handler is None else handler(self, request, id_, base_url)

    def _found(self, id_: str) -> SeenBatch:
        return next(batch for batch in self.made if batch.id == id_)

    def _add_file(self, name: str, purpose: str, content: bytes) -> dict[str, Any]:
        now = int(time.time())
        self._files_made += 1
        record: dict[str, Any] = {
            "id": f"file-{self._files_made}",
            "object": "file",
            "bytes": len(content),
            "filename": name,
            "purpose": purpose,
            "status": "processed",
            "created_at": now,
            "expires_at": now + 30 * DAY_S,
        }
        self.files[record["id"]] = record, content
        return record

    def begin_upload(self, name: str) -> str:
        """Return the id of a new upload, whose content follows in another request."""
        upload_id = f"upload-{len(self.uploads) + self._files_made + 1}"
        self.uploads[upload_id] = name
        return upload_id

    def upload(self, request: SeenRequest, id_: str, base_url: str) -> Reply:
        parts = dict(_form(request))
        if "file" not in parts or "purpose" not in parts:
            return error_reply(
                "openai", 400, number=request.number, message="`file` and `purpose` are required."
            )
        filename, content = parts["file"]
        return json_reply(
            200, self._add_file(filename or "upload", parts["purpose"][1].decode(), content)
        )

    def list_files(self, request: SeenRequest, id_: str, base_url: str) -> Reply:
        return _page([record for record, _ in reversed(self.files.values())], request, 10_000)

    def show_file(self, request: SeenRequest, id_: str, base_url: str) -> Reply:
        return json_reply(200, self.files[id_][0])

    def delete_file(self, request: SeenRequest, id_: str, base_url: str) -> Reply:
        del self.files[id_]
        return json_reply(200, {"id": id_, "object": "file", "deleted": True})

    def content(self, request: SeenRequest, id_: str, base_url: str) -> Reply | Iterable[Step]:
        made_by = next((batch for batch in self.made if id_ in batch.files.values()), None)
        return self._download(request, id_, self.files[id_][1], made_by, "application/octet-stream")

    def _download(
        self, request: SeenRequest, id_: str, content: bytes, batch: SeenBatch | None, kind: str
    ) -> Reply | Iterable[Step]:
        reply = Reply(200, {"content-type": kind, "accept-ranges": "bytes"}, [content])
        requested_range = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
        if requested_range:
            first, last = (
                int(requested_range[1]),
                min(int(requested_range[2] or len(content) - 1), len(content) - 1),
            )
            if first > last:
                return Reply(416, {"content-range": f"bytes */{len(content)}"}, [b""])
            reply.status, reply.parts = 206, [content[first : last + 1]]
            reply.headers["content-range"] = f"bytes {first}-{last}/{len(content)}"
        limit = batch.plan.cut_results if batch is not None else None
        if limit is not None and id_ not in self._cut:
            self._cut.add(id_)
            return faults.cut(after_bytes=limit).play(reply, "openai", request.number)
        return reply

    def _make(
        self, wire: str, rows: list[tuple[str, str, dict[str, Any]]], fields: dict[str, Any]
    ) -> SeenBatch:
        plan = self.plans.pop(0) if self.plans else self.plan
        batch = SeenBatch(
            f"{_APIS[wire].prefix}_{len(self.made) + 1}",
            wire,
            rows,
            plan,
            self._now_s(),
            int(time.time()),
            fields,
        )
        self.made.append(batch)
        return batch

    def make_openai(self, request: SeenRequest, id_: str, base_url: str) -> Reply | Iterable[Step]:
        fields = request.fields
        file = self.files.get(str(fields.get("input_file_id")))
        url = str(fields.get("endpoint"))
        on_azure = request.path.startswith("/openai/")
        if file is None or url not in ((_AZURE_ENDPOINT,) if on_azure else _WIRE_OF_URL):
            missing = (
                "`input_file_id` names no file"
                if file is None
                else f"`{url}` is not an endpoint of this server"
            )
            return error_reply("openai", 400, number=request.number, message=f"{missing}.")
        rows, errors = _read_rows(
            file[1], _WIRE_OF_AZURE_URL if on_azure else {url: _WIRE_OF_URL[url]}
        )
        batch = self._make("openai", rows, fields)
        batch.errors = errors
        return (
            iter((End.RESET,))
            if batch.plan.lose_create
            else json_reply(200, self._openai_record(batch, 0.0, ""))
        )

    def make_anthropic(
        self, request: SeenRequest, id_: str, base_url: str
    ) -> Reply | Iterable[Step]:
        requests = request.fields.get("requests") or []
        names = [str(row.get("custom_id")) for row in requests]
        bad = next((name for name in names if not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name)), None)
        if not requests or bad is not None or len(set(names)) < len(names):
            message = "`requests` must be a list of rows, each with a `custom_id` of its own: `^[a-zA-Z0-9_-]{1,64}$`."
            return error_reply("anthropic", 400, number=request.number, message=message)
        rows = [
            (name, "anthropic", row.get("params") or {})
            for name, row in zip(names, requests, strict=True)
        ]
        batch = self._make("anthropic", rows, {})
        return (
            iter((End.RESET,))
            if batch.plan.lose_create
            else json_reply(200, self._record(batch, base_url))
        )

    def _of(self, wire: str) -> list[SeenBatch]:
        return [batch for batch in self.made if batch.wire == wire]

    def list_openai(self, request: SeenRequest, id_: str, base_url: str) -> Reply:
        return _page(
            [self._record(batch, base_url) for batch in reversed(self._of("openai"))], request, 20
        )

    def list_anthropic(self, request: SeenRequest, id_: str, base_url: str) -> Reply:
        return _page(
            [self._record(batch, base_url) for batch in reversed(self._of("anthropic"))],
            request,
            20,
        )

    def show(self, request: SeenRequest, id_: str, base_url: str) -> Reply:
        batch = self._found(id_)
        batch.polls += 1
        return json_reply(200, self._record(batch, base_url))

    def cancel(self, request: SeenRequest, id_: str, base_url: str) -> Reply:
        self._cancel(self._found(id_))
        return json_reply(200, self._record(self._found(id_), base_url))

    def _cancel(self, batch: SeenBatch) -> None:
        if batch.ended_at is None and batch.cancelled_at_share is None:
            batch.cancelled_at_share = min(batch.share(self._now_s()), batch.plan.done)
            # The batch ends at the next poll.
            batch.polls = max(batch.polls, batch.plan.polls - 1)

    def delete_anthropic(self, request: SeenRequest, id_: str, base_url: str) -> Reply:
        batch = self._found(id_)
        if batch.ended_at is None:
            return error_reply(
                "anthropic", 400, number=request.number, message="The batch has not ended."
            )
        self.made.remove(batch)
        return json_reply(200, {"id": id_, "type": "message_batch_deleted"})

    def results(self, request: SeenRequest, id_: str, base_url: str) -> Reply | Iterable[Step]:
        batch = self._found(id_)
        if batch.ended_at is None:
            return error_reply(
                "anthropic", 404, number=request.number, message="There are no results yet."
            )
        return self._download(request, id_, batch.results, batch, "application/x-jsonl")

    def _record(self, batch: SeenBatch, base_url: str) -> dict[str, Any]:
        return _APIS[batch.wire].record(self, batch, batch.share(self._now_s()), base_url)

    def _openai_record(self, batch: SeenBatch, share: float, base_url: str) -> dict[str, Any]:
        outcome, total = batch.outcome, len(batch.rows)
        refused = outcome in ("failed", "token_limit_exceeded")
        if share >= 1:
            self._end(batch)
            status: str = "failed" if refused else outcome
        elif batch.cancelled_at_share is not None:
            status = "cancelling"
        else:
            status = (
                "validating"
                if share <= 0 or refused
                else "in_progress"
                if share < 0.9
                else "finalizing"
            )
        counts = batch.counts or {"total": total, "completed": int(total * share), "failed": 0}
        errors = [*batch.errors, *batch.plan.errors]
        if outcome == "token_limit_exceeded":
            errors.append(
                {"code": outcome, "message": "Enqueued token limit reached for this model."}
            )
        errors = [
            {"code": None, "line": None, "message": "", "param": None, **error} for error in errors
        ]
        began, ended = batch.made_at, batch.ended_at
        return {
            "id": batch.id,
            "object": "batch",
            "endpoint": batch.fields.get("endpoint"),
            "model": batch.rows[0][2].get("model") if batch.rows else None,
            "errors": {"object": "list", "data": errors} if status == "failed" else None,
            "input_file_id": batch.fields.get("input_file_id"),
            "completion_window": batch.fields.get("completion_window", "24h"),
            "status": status,
            "output_file_id": batch.files.get("output"),
            "error_file_id": batch.files.get("error"),
            "created_at": began,
            "in_progress_at": began if status != "validating" and not refused else None,
            "expires_at": began + DAY_S,
            **{
                f"{name}_at": ended if status == name else None
                for name in ("completed", "failed", "expired", "cancelled")
            },
            "finalizing_at": ended if status == "completed" else None,
            "cancelling_at": began if batch.cancelled_at_share is not None else None,
            "request_counts": counts
            if status != "validating" and not refused
            else dict.fromkeys(counts, 0),
            "metadata": batch.fields.get("metadata"),
            "usage": batch.usage,
        }

    def _anthropic_record(self, batch: SeenBatch, share: float, base_url: str) -> dict[str, Any]:
        if share >= 1:
            self._end(batch)
        ended, cancelled = batch.ended_at, batch.cancelled_at_share is not None
        # All counts but `processing` are 0 until the whole batch has ended.
        nothing = {
            "processing": len(batch.rows),
            "succeeded": 0,
            "errored": 0,
            "canceled": 0,
            "expired": 0,
        }
        status = "ended" if ended is not None else "canceling" if cancelled else "in_progress"
        host = (batch.plan.results_host or base_url).rstrip("/")
        return {
            "id": batch.id,
            "type": "message_batch",
            "processing_status": status,
            "request_counts": batch.counts or nothing,
            "created_at": _iso(batch.made_at),
            "expires_at": _iso(batch.made_at + DAY_S),
            "ended_at": None if ended is None else _iso(ended),
            "cancel_initiated_at": _iso(batch.made_at) if cancelled else None,
            "archived_at": None,
            "results_url": None
            if ended is None
            else f"{host}/v1/messages/batches/{batch.id}/results",
        }

    def _end(self, batch: SeenBatch) -> None:
        """Answer the rows and write the results, once; in reverse order, since no order is promised."""
        if batch.ended_at is not None:
            return
        batch.ended_at = int(time.time())
        if batch.outcome in ("failed", "token_limit_exceeded") and _APIS[batch.wire].refuses_whole:
            return
        answered = list(self._answered(batch))
        foreign: list[Answered] = [
            (f"foreign-{index}", 200, {}) for index in range(batch.plan.foreign)
        ]
        _APIS[batch.wire].write(self, batch, answered, foreign)

    def _answered(self, batch: SeenBatch) -> Iterator[Answered]:
        share = batch.cancelled_at_share
        if share is None:
            share = 1.0 if batch.outcome == "completed" else batch.plan.done
        done = int(len(batch.rows) * share)
        for index in range(len(batch.rows) - 1, -1, -1):
            custom_id, wire, body = batch.rows[index]
            oddity = batch.plan.rows.get(index)
            if oddity == "missing":
                continue
            if index >= done or oddity in ("null", "expired"):
                yield (
                    custom_id,
                    None,
                    "server_error" if oddity == "null" else "expired" if oddity else batch.outcome,
                )
                continue
            self._rows_answered += 1
            # The counts include all rows.
            model = {name: batch.fields[name] for name in ("model",) if name in batch.fields}
            status, body = self._answer_row(wire, model | body, self._rows_answered)
            usage = body.get("usage") or {} if isinstance(body, dict) else {}
            for name, chat_name in (
                ("input_tokens", "prompt_tokens"),
                ("output_tokens", "completion_tokens"),
            ):
                batch.usage[name] += usage.get(name, usage.get(chat_name, 0))
                batch.usage["total_tokens"] += usage.get(name, usage.get(chat_name, 0))
            yield from [(custom_id, status, body)] * (2 if oddity == "duplicate" else 1)

    def _write_files(
        self, batch: SeenBatch, answered: list[Answered], foreign: list[Answered]
    ) -> None:
        lines: dict[str, list[bytes]] = {"output": [], "error": []}
        for number, (custom_id, status, body) in enumerate([*answered, *foreign]):
            response = error = None
            if status is None:
                code = body if body == "server_error" else f"batch_{body}"
                error = {"code": code, "message": "This request was not executed."}
            else:
                response = {"status_code": status, "request_id": f"req_{number}", "body": body}
            line = {
                "id": f"batch_req_{number}",
                "custom_id": custom_id,
                "response": response,
                "error": error,
            }
            lines["output" if status is not None and status < 400 else "error"].append(
                to_json(line) + b"\n"
            )
        for name, written in lines.items():
            if written:
                record = self._add_file(
                    f"{batch.id}_{name}.jsonl", "batch_output", b"".join(written)
                )
                batch.files[name] = record["id"]
        good = {
            custom_id for custom_id, status, _ in answered if status is not None and status < 400
        }
        total = len(batch.rows)
        batch.counts = {"total": total, "completed": len(good), "failed": total - len(good)}

    def _write_results(
        self, batch: SeenBatch, answered: list[Answered], foreign: list[Answered]
    ) -> None:
        counts = {"processing": 0, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0}
        lines, counted = [], set()
        for custom_id, status, body in [*answered, *foreign]:
            result: dict[str, Any]
            if status is not None and status < 400:
                result = {"type": "succeeded", "message": body}
            elif status is not None or body == "server_error":
                error = (
                    body
                    if status is not None
                    else {"type": "api_error", "message": "Internal server error"}
                )
                wrapped = (
                    error
                    if "error" in error
                    else {"type": "error", "error": error, "request_id": None}
                )
                result = {"type": "errored", "error": wrapped}
            else:
                result = {"type": "canceled" if body == "cancelled" else "expired"}
            lines.append(to_json({"custom_id": custom_id, "result": result}) + b"\n")
            if custom_id not in counted and not custom_id.startswith("foreign-"):
                counts[result["type"]] += 1
            counted.add(custom_id)
        batch.results, batch.counts = b"".join(lines), counts


class _Api(NamedTuple):
    prefix: str  # Ids of batches begin with this.
    record: Callable[[BatchDesk, SeenBatch, float, str], dict[str, Any]]
    # It writes the results.
    write: Callable[[BatchDesk, SeenBatch, list[Answered], list[Answered]], None]
    refuses_whole: bool  # If True, a batch may fail before any of its rows is tried.


_APIS = {
    "openai": _Api("batch", BatchDesk._openai_record, BatchDesk._write_files, refuses_whole=True),
    "anthropic": _Api(
        "msgbatch", BatchDesk._anthropic_record, BatchDesk._write_results, refuses_whole=False
    ),
    "gemini": _Api(
        gemini_batches.PREFIX,
        gemini_batches.operation,
        gemini_batches.end_batch,
        refuses_whole=True,
    ),
    "vertex": _Api(
        vertex_batches.PREFIX, vertex_batches.job, vertex_batches.end_batch, refuses_whole=True
    ),
}

_Handler = Callable[[BatchDesk, SeenRequest, str, str], "Reply | Iterable[Step]"]
_HANDLERS: dict[tuple[str, str], _Handler] = {
    ("openai", "POST files"): BatchDesk.upload,
    ("openai", "GET files"): BatchDesk.list_files,
    ("openai", "GET files/id"): BatchDesk.show_file,
    ("openai", "DELETE files/id"): BatchDesk.delete_file,
    ("openai", "GET files/id/content"): BatchDesk.content,
    ("openai", "POST batches"): BatchDesk.make_openai,
    ("openai", "GET batches"): BatchDesk.list_openai,
    ("openai", "GET batches/id"): BatchDesk.show,
    ("openai", "POST batches/id/cancel"): BatchDesk.cancel,
    ("anthropic", "POST batches"): BatchDesk.make_anthropic,
    ("anthropic", "GET batches"): BatchDesk.list_anthropic,
    ("anthropic", "GET batches/id"): BatchDesk.show,
    ("anthropic", "POST batches/id/cancel"): BatchDesk.cancel,
    ("anthropic", "DELETE batches/id"): BatchDesk.delete_anthropic,
    ("anthropic", "GET batches/id/results"): BatchDesk.results,
}


def _form(request: SeenRequest) -> Iterator[tuple[str, tuple[str | None, bytes]]]:
    """Yield the parts of a multipart form (RFC 7578): its name, then file name and content."""
    boundary = re.search(r'boundary="?([^";]+)', request.headers.get("content-type", ""))
    if boundary is None:
        return
    for part in request.content.split(b"--" + boundary[1].encode())[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        names = dict(re.findall(r'\b(name|filename)="([^"]*)"', head.decode("utf-8", "replace")))
        yield names.get("name", ""), (names.get("filename"), content[:-2])


def _read_rows(
    content: bytes, wires: Mapping[str, str]
) -> tuple[list[tuple[str, str, dict[str, Any]]], list[dict[str, Any]]]:
    """Return the rows of an input file, and the errors of its lines.

    `wires` maps the URLs that a row may have.
    """
    rows: list[tuple[str, str, dict[str, Any]]] = []
    errors: list[dict[str, Any]] = []
    seen: set[str] = set()
    for number, line in enumerate(filter(None, content.splitlines()), 1):
        try:
            row = from_json(line)
            custom_id, body = str(row["custom_id"]), dict(row["body"])
        except (ValueError, KeyError, TypeError):
            errors.append(
                {
                    "code": "invalid_json_line",
                    "line": number,
                    "message": "This line is not parseable.",
                }
            )
            continue
        if custom_id in seen:
            errors.append(
                {
                    "code": "duplicate_custom_id",
                    "line": number,
                    "message": f"`{custom_id}` is there twice.",
                }
            )
        seen.add(custom_id)
        url = str(row.get("url", next(iter(wires))))
        if url not in wires:
            errors.append(
                {
                    "code": "mismatched_url",
                    "line": number,
                    "message": f"`{url}` does not fit the batch.",
                }
            )
        rows.append((custom_id, wires.get(url, "openai"), body))
    if not rows and not errors:
        errors.append({"code": "empty_file", "message": "The input file is empty."})
    return rows, errors


def _page(rows: list[dict[str, Any]], request: SeenRequest, usual: int) -> Reply:
    """Return a page of a list, newest first, by `after` (or `after_id`, `before_id`) and `limit`."""
    params = {name: values[0] for name, values in parse_qs(request.query).items()}
    ids = [row["id"] for row in rows]
    start, limit = 0, int(params.get("limit", usual))
    after, before = params.get("after", params.get("after_id")), params.get("before_id")
    if after in ids:
        start = ids.index(after) + 1
    elif before in ids:
        start = max(0, ids.index(before) - limit)
        limit = min(limit, ids.index(before))
    page = rows[start : start + limit]
    more = start > 0 if before in ids else start + limit < len(rows)
    ends = {
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
    }
    return json_reply(200, {"object": "list", "data": page, "has_more": more, **ends})


def _iso(epoch_s: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(epoch_s, UTC).isoformat().replace("+00:00", "Z")
