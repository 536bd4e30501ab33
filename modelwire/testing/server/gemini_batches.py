"""The Gemini Batch API and its files, stored by `BatchDesk`. No I/O.

Wire format: https://ai.google.dev/api/batch-api and https://ai.google.dev/api/files, read 2026-11.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from pydantic_core import from_json, to_json

from modelwire.testing.server.batch_records import (
    DAY_S,
    Answered,
    BatchApi,
    Row,
    SeenBatch,
    is_good,
)
from modelwire.testing.server.replies import Reply, Step, json_reply
from modelwire.testing.server.wires import error_reply

if TYPE_CHECKING:
    from modelwire.testing.server.batches import BatchDesk
    from modelwire.testing.server.requests import SeenRequest

__all__ = ["API", "failure_of", "page_of", "rows_of", "state_of", "time_text"]

_PATH = re.compile(
    r"(/upload|/download)?/v1beta/(?:(?:models|tunedModels)/([^/:]+):batchGenerateContent"
    r"|(files|batches)(?:/([^/:]+))?(?::(\w+))?)$"
)
# Other outcomes have the same name in Google's API.
_STATES = {"completed": "SUCCEEDED", "token_limit_exceeded": "FAILED"}
# This is the gRPC code in a row's error for each HTTP status:
# https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto
_CODE_OF = {400: 3, 401: 16, 403: 7, 404: 5, 429: 8, 500: 13, 503: 14, 504: 4}


def handle(desk: BatchDesk, request: SeenRequest, base_url: str) -> Reply | Iterable[Step] | None:
    """Return the answer to a request about Gemini's files and batches; None for any other request."""
    found = _PATH.match(request.path)
    if found is None:
        return None
    way, model, kind, id_, action = found.groups()
    if model is not None:
        if request.method == "POST":
            return _make(desk, request, model)
        return None
    known = desk.files if kind == "files" else [batch.id for batch in desk.of_wire("gemini")]
    if id_ and id_ not in known:
        return error_reply(
            "gemini", 404, number=request.number, message=f"Requested entity was not found: {id_}."
        )
    name = f"{way or ''} {request.method} {kind}{'/id' if id_ else ''}{':' + action if action else ''}".strip()
    handler = _HANDLERS.get(name)
    if handler is None:
        return None
    return handler(desk, request, id_)


def _upload(desk: BatchDesk, request: SeenRequest, id_: str) -> Reply:
    """Receive a file in two requests: the first one names it, and its response has the upload URL."""
    command = request.headers.get("x-goog-upload-command", "")
    if command == "start":
        name = str((request.fields.get("file") or {}).get("displayName", ""))
        address = f"http://{request.headers.get('host')}{request.path}?upload_id={desk.begin_upload(name)}"
        return Reply(200, {"x-goog-upload-url": address, "x-goog-upload-status": "active"}, [b"{}"])
    upload_id = parse_qs(request.query).get("upload_id", [""])[0]
    if command != "upload, finalize" or (name_of := desk.uploads.pop(upload_id, None)) is None:
        return error_reply("gemini", 400, number=request.number, message="There is no such upload.")
    record = desk.add_file(name_of, "batch", request.content)
    return json_reply(200, {"file": _file(record)}, {"x-goog-upload-status": "final"})


def _show_file(desk: BatchDesk, request: SeenRequest, id_: str) -> Reply:
    return json_reply(200, _file(desk.files[id_][0]))


def _delete_file(desk: BatchDesk, request: SeenRequest, id_: str) -> Reply:
    del desk.files[id_]
    return json_reply(200, {})


def _download(desk: BatchDesk, request: SeenRequest, id_: str) -> Reply | Iterable[Step]:
    made_by = next((batch for batch in desk.made if id_ in batch.files.values()), None)
    return desk.download(request, id_, desk.files[id_][1], made_by, "application/jsonl")


def _make(desk: BatchDesk, request: SeenRequest, model: str) -> Reply | Iterable[Step]:
    payload = request.fields.get("batch") or {}
    source = payload.get("inputConfig") or {}
    file = str(source.get("fileName")).removeprefix("files/")
    if not payload.get("displayName") or ("fileName" in source and file not in desk.files):
        message = f"There is no `{file}`."
        if not payload.get("displayName"):
            message = "`batch.displayName` is required."
        return error_reply("gemini", 400, number=request.number, message=message)
    if "fileName" in source:
        rows = rows_of(desk.files[file][1])
    else:
        inline = (source.get("requests") or {}).get("requests") or []
        rows = [
            (str((row.get("metadata") or {}).get("key")), "gemini", row.get("request") or {})
            for row in inline
        ]
    if not rows:
        return error_reply(
            "gemini", 400, number=request.number, message="The batch has no requests."
        )
    batch = desk.make("gemini", rows, {**payload, "model": model})
    return desk.creation_reply(batch, "")


def _list(desk: BatchDesk, request: SeenRequest, id_: str) -> Reply:
    return page_of(desk, request, "gemini", "operations")


def page_of(desk: BatchDesk, request: SeenRequest, wire: str, field: str) -> Reply:
    """Return a page of the batches of a wire, newest first."""
    params = {name: values[0] for name, values in parse_qs(request.query).items()}
    start, size = int(params.get("pageToken", 0)), int(params.get("pageSize", 50))
    batches = desk.of_wire(wire)[::-1]
    page = [desk.record(batch, "") for batch in batches[start : start + size]]
    more = {"nextPageToken": str(start + size)} if start + size < len(batches) else {}
    return json_reply(200, {field: page, **more} if page else {})


def _show(desk: BatchDesk, request: SeenRequest, id_: str) -> Reply:
    batch = desk.found(id_)
    batch.polls += 1
    return json_reply(200, desk.record(batch, ""))


def _cancel(desk: BatchDesk, request: SeenRequest, id_: str) -> Reply:
    desk.cancel(desk.found(id_))
    return json_reply(200, {})


def _delete(desk: BatchDesk, request: SeenRequest, id_: str) -> Reply:
    desk.made.remove(desk.found(id_))
    return json_reply(200, {})


_HANDLERS: dict[str, Callable[[BatchDesk, SeenRequest, str], Reply | Iterable[Step]]] = {
    "/upload POST files": _upload,
    "GET files/id": _show_file,
    "DELETE files/id": _delete_file,
    "/download GET files/id:download": _download,
    "GET files/id:download": _download,  # google-genai 3.4 calls it like this.
    "GET batches": _list,
    "GET batches/id": _show,
    "POST batches/id:cancel": _cancel,
    "DELETE batches/id": _delete,
}


def operation(batch: SeenBatch, share: float, base_url: str) -> dict[str, Any]:
    """Return a batch as a long-running operation. Counts are texts, and 0 is omitted."""
    state = state_of(batch, share)
    metadata: dict[str, Any] = {
        "@type": "type.googleapis.com/google.ai.generativelanguage.v1main.GenerateContentBatch",
        "model": f"models/{batch.fields['model']}",
        "displayName": batch.fields.get("displayName"),
        "createTime": time_text(batch.made_at),
        "updateTime": time_text(batch.ended_at or batch.made_at),
        "batchStats": _stats(batch, share),
        "state": f"BATCH_STATE_{state}",
        "name": f"batches/{batch.id}",
    }
    made: dict[str, Any] = {"name": f"batches/{batch.id}", "metadata": metadata}
    if batch.ended_at is None:
        return made
    made["done"] = True
    if state == "FAILED":
        made["error"] = failure_of(batch)
        if batch.outcome == "token_limit_exceeded":
            made["error"]["code"] = _CODE_OF[429]
    elif batch.files or batch.results:
        made["response"] = metadata["output"] = _output(batch)
    return made


def state_of(batch: SeenBatch, share: float) -> str:
    """Return Google's name for the state of a batch."""
    if batch.ended_at is not None:
        return _STATES.get(batch.outcome, batch.outcome.upper())
    return "RUNNING" if share > 0 else "PENDING"


def failure_of(batch: SeenBatch) -> dict[str, Any]:
    """Return the error of a batch that failed as a whole."""
    reasons = "; ".join(str(error.get("message")) for error in batch.plan.errors)
    return {"code": _CODE_OF[400], "message": reasons or "The batch could not be processed."}


def _stats(batch: SeenBatch, share: float) -> dict[str, str]:
    total = len(batch.rows)
    done = int(total * share)
    counts = batch.counts or {"pendingRequestCount": total - done, "successfulRequestCount": done}
    return {name: str(count) for name, count in {"requestCount": total, **counts}.items() if count}


def _output(batch: SeenBatch) -> dict[str, Any]:
    if batch.files:
        return {"responsesFile": f"files/{batch.files['output']}"}
    rows = [from_json(line) for line in batch.results.splitlines()]
    inlined = [{"metadata": {"key": row.pop("key")}, **row} for row in rows]
    return {"inlinedResponses": {"inlinedResponses": inlined}}


def rows_of(content: bytes) -> list[Row]:
    """Return the rows of an input file."""
    lines = [from_json(line) for line in content.splitlines() if line.strip()]
    return [(str(line.get("key")), "gemini", line.get("request") or {}) for line in lines]


def end_batch(
    desk: BatchDesk, batch: SeenBatch, answered: list[Answered], foreign: list[Answered]
) -> None:
    """Write the results; into a file if the requests came in one."""
    lines, failed = [], set[str]()
    for key, status, body in [*answered, *foreign]:
        if status is None and body == batch.outcome:
            continue  # An unanswered row has no line.
        if is_good(status):
            lines.append(to_json({"key": key, "response": body}))
            continue
        provider_error = body.get("error", {}) if isinstance(body, dict) else {}
        error = {
            "code": _CODE_OF.get(504 if body == "expired" else status or 500, 13),
            "message": provider_error.get("message", "Internal error."),
        }
        lines.append(to_json({"key": key, "error": error}))
        failed.add(key)
    content = b"\n".join(lines) + b"\n"
    good = {key for key, status, _ in answered if is_good(status)}
    batch.counts = {"successfulRequestCount": len(good), "failedRequestCount": len(failed)}
    if not lines:
        return
    if "fileName" in (batch.fields.get("inputConfig") or {}):
        batch.files["output"] = desk.add_file(f"{batch.id}.jsonl", "batch_output", content)["id"]
    else:
        batch.results = content


def _file(record: dict[str, Any]) -> dict[str, Any]:
    made = record["created_at"]
    return {
        "name": f"files/{record['id']}",
        "displayName": record["filename"],
        "mimeType": "application/jsonl",
        "sizeBytes": str(record["bytes"]),
        "createTime": time_text(made),
        "updateTime": time_text(made),
        "expirationTime": time_text(made + 2 * DAY_S),
        "state": "ACTIVE",
        "source": "UPLOADED",
    }


def time_text(epoch_s: int) -> str:
    """Return a time in Google's format, with nine digits of a second."""
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.123456789Z")


API = BatchApi("gbatch", handle, operation, end_batch)
