"""The Gemini Batch API and its files, stored by `BatchDesk`. No I/O.

Wire format: https://ai.google.dev/api/batch-api and https://ai.google.dev/api/files, read 2026-11.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json, to_json

from modelwire.aliases import JSON
from modelwire.testing.server.batch_records import (
    DAY_S,
    Answered,
    BatchApi,
    BatchCall,
    Handlers,
    Row,
    SeenBatch,
    is_good,
    show,
)
from modelwire.testing.server.replies import Reply, Response, json_reply

if TYPE_CHECKING:
    from modelwire.testing.server.batches import BatchDesk

_PATH = re.compile(
    r"^(?P<way>/upload|/download)?/v1beta/(?:(?:models|tunedModels)/(?P<model>[^/:]+):)?"
    r"(?P<kind>batchGenerateContent|files|batches)(?:/(?P<id>[^/:]+))?(?::(?P<action>\w+))?$"
)
# Google's names for the outcomes of a batch, as far as they are not the outcomes in capital letters.
_STATES = {"completed": "SUCCEEDED", "token_limit_exceeded": "FAILED"}
# The gRPC code in the error of a row, by HTTP status:
# https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto
_CODE_OF = {400: 3, 401: 16, 403: 7, 404: 5, 429: 8, 500: 13, 503: 14, 504: 4}


def _upload(call: BatchCall) -> Reply:
    """Receive a file in two requests: the first one has its name, and gets the URL for its content."""
    request = call.request
    desk = call.desk
    command = request.headers.get("x-goog-upload-command", "")
    if command == "start":
        file = request.fields.get("file") or {}
        upload_id = desk.begin_upload(str(file.get("displayName", "")))
        url = f"http://{request.headers.get('host')}{request.path}?upload_id={upload_id}"
        return Reply(200, {"x-goog-upload-url": url, "x-goog-upload-status": "active"}, [b"{}"])
    name = None
    if command == "upload, finalize":
        name = desk.uploads.pop(request.params.get("upload_id", ""), None)
    if name is None:
        return call.refuse("There is no such upload.")
    record = desk.add_file(name, "batch", request.content)
    return json_reply(200, {"file": _file(record)}, {"x-goog-upload-status": "final"})


def _show_file(call: BatchCall) -> Reply:
    return json_reply(200, _file(call.desk.files[call.id][0]))


def _delete_file(call: BatchCall) -> Reply:
    del call.desk.files[call.id]
    return json_reply(200, {})


def _download(call: BatchCall) -> Response:
    return call.download(call.id, "application/jsonl")


def _make(call: BatchCall) -> Response:
    payload = call.request.fields.get("batch") or {}
    files = call.desk.files
    source = payload.get("inputConfig") or {}
    file = str(source.get("fileName")).removeprefix("files/")
    if not payload.get("displayName"):
        return call.refuse("`batch.displayName` is required.")
    if "fileName" in source:
        if file not in files:
            return call.refuse(f"There is no `{file}`.")
        rows = rows_of(files[file][1])
    else:
        inline = (source.get("requests") or {}).get("requests") or []
        keys = [(line.get("metadata") or {}).get("key") for line in inline]
        rows = list(map(_row, keys, inline))
    if not rows:
        return call.refuse("The batch has no requests.")
    return call.create(rows, {**payload, "model": call.path["model"]})


def rows_of(content: bytes) -> list[Row]:
    """Return the rows of an input file."""
    lines = [from_json(line) for line in content.splitlines() if line.strip()]
    return [_row(line.get("key"), line) for line in lines]


def _row(key: Any, line: JSON) -> Row:
    return str(key), "gemini", line.get("request") or {}


def page_of(call: BatchCall, field: str) -> Reply:
    """Return a page of the batches of an API, newest first, in the list `field` of a JSON object."""
    params = call.request.params
    start = int(params.get("pageToken", 0))
    size = int(params.get("pageSize", 50))
    end = start + size
    batches = call.desk.of_wire(call.api.name)[::-1]
    page: JSON = {}
    shown = batches[start:end]
    if shown:
        page[field] = [call.desk.record(batch, "") for batch in shown]
    if end < len(batches):
        page["nextPageToken"] = str(end)
    return json_reply(200, page)


def stop(call: BatchCall) -> Reply:
    """Cancel a batch; the answer is empty."""
    call.desk.cancel(call.batch)
    return json_reply(200, {})


def delete(call: BatchCall) -> Reply:
    """Delete a batch; the answer is empty."""
    call.desk.made.remove(call.batch)
    return json_reply(200, {})


_HANDLERS: Handlers = {
    "/upload POST files": _upload,
    "GET files/id": _show_file,
    "DELETE files/id": _delete_file,
    "/download GET files/id/download": _download,
    "GET files/id/download": _download,  # google-genai 3.4 calls it like this.
    "POST batchGenerateContent": _make,
    "GET batches": partial(page_of, field="operations"),
    "GET batches/id": show,
    "POST batches/id/cancel": stop,
    "DELETE batches/id": delete,
}


def _operation(batch: SeenBatch, share: float, base_url: str) -> JSON:
    """Return a batch as Gemini's API shows it: as a long-running operation. Counts are texts, and 0 is omitted."""
    state = state_of(batch, share)
    metadata: JSON = {
        "@type": "type.googleapis.com/google.ai.generativelanguage.v1main.GenerateContentBatch",
        "model": f"models/{batch.fields['model']}",
        "displayName": batch.fields.get("displayName"),
        "createTime": time_text(batch.made_at),
        "updateTime": time_text(batch.ended_at or batch.made_at),
        "batchStats": _stats(batch, share),
        "state": f"BATCH_STATE_{state}",
        "name": f"batches/{batch.id}",
    }
    made: JSON = {"name": f"batches/{batch.id}", "metadata": metadata}
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


def failure_of(batch: SeenBatch) -> JSON:
    """Return the error of a batch that failed as a whole."""
    reasons = "; ".join(str(error.get("message")) for error in batch.plan.errors)
    return {"code": _CODE_OF[400], "message": reasons or "The batch could not be processed."}


def _stats(batch: SeenBatch, share: float) -> dict[str, str]:
    total = len(batch.rows)
    done = int(total * share)
    counts = {"requestCount": total}
    if batch.counts:
        counts |= batch.counts
    else:
        counts |= {"pendingRequestCount": total - done, "successfulRequestCount": done}
    return {name: str(count) for name, count in counts.items() if count}


def _output(batch: SeenBatch) -> JSON:
    if batch.files:
        return {"responsesFile": f"files/{batch.files['output']}"}
    rows = [from_json(line) for line in batch.results.splitlines()]
    inlined = [{"metadata": {"key": row.pop("key")}, **row} for row in rows]
    return {"inlinedResponses": {"inlinedResponses": inlined}}


def end_batch(desk: BatchDesk, batch: SeenBatch, results: list[Answered], good: int) -> None:
    """Write the results of a batch, into a file if its requests came in one."""
    lines = []
    failed = set[str]()
    for key, status, body in results:
        if status is None and body == batch.outcome:
            continue  # An unanswered row has no line.
        if is_good(status):
            lines.append(to_json({"key": key, "response": body}))
            continue
        provider_error = {}
        if isinstance(body, dict):
            provider_error = body.get("error", {})
        if body == "expired":
            status = 504
        code = _CODE_OF.get(status or 500, 13)
        error = {"code": code, "message": provider_error.get("message", "Internal error.")}
        lines.append(to_json({"key": key, "error": error}))
        failed.add(key)
    content = b"\n".join(lines) + b"\n"
    batch.counts = {"successfulRequestCount": good, "failedRequestCount": len(failed)}
    if not lines:
        return
    if "fileName" in (batch.fields.get("inputConfig") or {}):
        batch.files["output"] = desk.add_file(f"{batch.id}.jsonl", "batch_output", content)["id"]
    else:
        batch.results = content


def _file(record: JSON) -> JSON:
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


API = BatchApi(
    "gemini",
    "gemini",
    "gbatch",
    _PATH,
    _HANDLERS,
    _operation,
    end_batch,
    missing="Requested entity was not found: {id}.",
    missing_code=None,
)
