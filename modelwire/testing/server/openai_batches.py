"""The Batch API of OpenAI and Azure, and its files, stored by `BatchDesk`. No I/O.

Wire formats: https://platform.openai.com/docs/api-reference/batch and
https://platform.openai.com/docs/api-reference/files; the lines of the files as in the guide
(https://platform.openai.com/docs/guides/batch), read 2026-11.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

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
    cancel,
    is_good,
    list_batches,
    show,
)
from modelwire.testing.server.embeddings import EMBEDDINGS
from modelwire.testing.server.replies import Reply, Response, json_reply, page_reply

if TYPE_CHECKING:
    from modelwire.testing.server.batches import BatchDesk
    from modelwire.testing.server.requests import SeenRequest

_WIRE_OF_URL = {
    "/v1/chat/completions": "openai",
    "/v1/responses": "responses",
    "/v1/embeddings": EMBEDDINGS,
}
# On Azure every batch is created with the same endpoint, and each row names the one that it calls.
# https://learn.microsoft.com/azure/foundry/openai/how-to/batch, read 2026-11
_AZURE_ENDPOINT = "/chat/completions"
_WIRE_OF_AZURE_URL = {_AZURE_ENDPOINT: "openai", "/v1/responses": "responses"}
# A batch with one of these outcomes fails before any of its rows is tried.
_REFUSED = ("failed", "token_limit_exceeded")
# A batch in one of these states has ended.
_ENDS = ("completed", "failed", "expired", "cancelled")
# For each of these states a batch has a field with the time when the state began.
_STATES = ("in_progress", "finalizing", "cancelling", *_ENDS)


def _upload(call: BatchCall) -> Reply:
    parts = dict(_form(call.request))
    if "file" not in parts or "purpose" not in parts:
        return call.refuse("`file` and `purpose` are required.")
    filename, content = parts["file"]
    purpose = parts["purpose"][1].decode()
    return json_reply(200, call.desk.add_file(filename or "upload", purpose, content))


def _list_files(call: BatchCall) -> Reply:
    records = [record for record, _ in reversed(call.desk.files.values())]
    return page_reply(records, call.request.params, default_limit=10_000)


def _show_file(call: BatchCall) -> Reply:
    return json_reply(200, call.desk.files[call.id][0])


def _delete_file(call: BatchCall) -> Reply:
    del call.desk.files[call.id]
    return json_reply(200, {"id": call.id, "object": "file", "deleted": True})


def _content(call: BatchCall) -> Response:
    return call.download(call.id, "application/octet-stream")


def _make(call: BatchCall) -> Response:
    fields = call.request.fields
    file = call.desk.files.get(str(fields.get("input_file_id")))
    url = str(fields.get("endpoint"))
    on_azure = call.request.path.startswith("/openai/")
    endpoints = tuple(_WIRE_OF_URL)
    if on_azure:
        endpoints = (_AZURE_ENDPOINT,)
    if file is None:
        return call.refuse("`input_file_id` names no file.")
    if url not in endpoints:
        return call.refuse(f"`{url}` is not an endpoint of this server.")
    if on_azure:
        wires = _WIRE_OF_AZURE_URL
    else:
        wires = {url: _WIRE_OF_URL[url]}
    rows, errors = _read_rows(file[1], wires)
    return call.create(rows, fields, errors)


def record(batch: SeenBatch, share: float, base_url: str) -> JSON:
    """Return a batch as OpenAI's API shows it."""
    status = _status(batch, share)
    total = len(batch.rows)
    is_refused = batch.outcome in _REFUSED
    has_begun = status != "validating" and not is_refused
    counts = {"total": total, "completed": int(total * share), "failed": 0}
    if batch.counts:
        counts = batch.counts
    if not has_begun:
        counts = dict.fromkeys(counts, 0)
    model = None
    if batch.rows:
        model = batch.rows[0][2].get("model")
    errors = None
    if status == "failed":
        errors = _errors(batch)
    fields = batch.fields
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": fields.get("endpoint"),
        "model": model,
        "errors": errors,
        "input_file_id": fields.get("input_file_id"),
        "completion_window": fields.get("completion_window", "24h"),
        "status": status,
        "output_file_id": batch.files.get("output"),
        "error_file_id": batch.files.get("error"),
        "created_at": batch.made_at,
        "expires_at": batch.made_at + DAY_S,
        **_times(batch, status, has_begun=has_begun),
        "request_counts": counts,
        "metadata": fields.get("metadata"),
        "usage": {
            **batch.usage,
            "input_tokens_details": {"cached_tokens": batch.cached_tokens},
            "output_tokens_details": {"reasoning_tokens": batch.reasoning_tokens},
        },
    }


def _times(batch: SeenBatch, status: str, *, has_begun: bool) -> dict[str, int | None]:
    """Return the time when the batch entered each state, None for states that it has not entered."""
    times: dict[str, int | None] = {}
    for state in _STATES:
        times[f"{state}_at"] = None
    if has_begun:
        times["in_progress_at"] = batch.made_at
    if batch.cancelled_at_share is not None:
        times["cancelling_at"] = batch.made_at
    if status in _ENDS:
        times[f"{status}_at"] = batch.ended_at
    if status == "completed":
        times["finalizing_at"] = batch.ended_at
    return times


def _errors(batch: SeenBatch) -> JSON:
    """Return the errors because of which the whole batch failed."""
    errors = [*batch.errors, *batch.plan.errors]
    if batch.outcome == "token_limit_exceeded":
        message = "Enqueued token limit reached for this model."
        errors.append({"code": batch.outcome, "message": message})
    nothing = {"code": None, "line": None, "message": "", "param": None}
    return {"object": "list", "data": [{**nothing, **error} for error in errors]}


def _status(batch: SeenBatch, share: float) -> str:
    is_refused = batch.outcome in _REFUSED
    if share >= 1:
        return "failed" if is_refused else batch.outcome
    if batch.cancelled_at_share is not None:
        return "cancelling"
    if share <= 0 or is_refused:
        return "validating"
    if share < 0.9:
        return "in_progress"
    return "finalizing"


def _end_batch(desk: BatchDesk, batch: SeenBatch, results: list[Answered], good: int) -> None:
    """Write the results into two files: answers below 400, and all others."""
    lines: dict[str, list[bytes]] = {"output": [], "error": []}
    for number, (custom_id, status, body) in enumerate(results):
        response = error = None
        if status is None:
            code = body
            if body != "server_error":
                code = f"batch_{body}"
            error = {"code": code, "message": "This request was not executed."}
        else:
            response = {"status_code": status, "request_id": f"req_{number}", "body": body}
        line = {
            "id": f"batch_req_{number}",
            "custom_id": custom_id,
            "response": response,
            "error": error,
        }
        name = "error"
        if is_good(status):
            name = "output"
        lines[name].append(to_json(line) + b"\n")
    for name, written in lines.items():
        if written:
            content = b"".join(written)
            file = desk.add_file(f"{batch.id}_{name}.jsonl", "batch_output", content)
            batch.files[name] = file["id"]
    total = len(batch.rows)
    batch.counts = {"total": total, "completed": good, "failed": total - good}


def _form(request: SeenRequest) -> Iterator[tuple[str, tuple[str | None, bytes]]]:
    """Yield the parts of a multipart form (RFC 7578): its name, then file name and content."""
    boundary = re.search(r'boundary="?([^";]+)', request.headers.get("content-type", ""))
    if boundary is None:
        return
    separator = f"--{boundary[1]}".encode()
    parts = request.content.split(separator)
    for part in parts[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        text = head.decode("utf-8", "replace")
        names = dict(re.findall(r'\b(name|filename)="([^"]*)"', text))
        yield names.get("name", ""), (names.get("filename"), content[:-2])


def _read_rows(content: bytes, wires: Mapping[str, str]) -> tuple[list[Row], list[JSON]]:
    """Return the rows of an input file, and the errors of its lines.

    `wires` maps the URLs that a row may have.
    """
    rows: list[Row] = []
    errors: list[JSON] = []
    seen: set[str] = set()
    for number, line in enumerate(filter(None, content.splitlines()), 1):
        try:
            row = from_json(line)
            custom_id = str(row["custom_id"])
            body = dict(row["body"])
        except (ValueError, KeyError, TypeError):
            errors.append(_error("invalid_json_line", number, "This line is not parseable."))
            continue
        if custom_id in seen:
            message = f"There are two rows with the `custom_id` `{custom_id}`."
            errors.append(_error("duplicate_custom_id", number, message))
        seen.add(custom_id)
        url = str(row.get("url", next(iter(wires))))
        if url not in wires:
            errors.append(_error("mismatched_url", number, f"`{url}` does not fit the batch."))
        rows.append((custom_id, wires.get(url, "openai"), body))
    if not rows and not errors:
        errors.append({"code": "empty_file", "message": "The input file is empty."})
    return rows, errors


def _error(code: str, line: int, message: str) -> JSON:
    return {"code": code, "line": line, "message": message}


_PATH = re.compile(
    r"(?<!/messages)/(?P<kind>files|batches)(?:/(?P<id>[^/]+))?(?:/(?P<action>content|cancel))?$"
)
_HANDLERS: Handlers = {
    "POST files": _upload,
    "GET files": _list_files,
    "GET files/id": _show_file,
    "DELETE files/id": _delete_file,
    "GET files/id/content": _content,
    "POST batches": _make,
    "GET batches": list_batches,
    "GET batches/id": show,
    "POST batches/id/cancel": cancel,
}
API = BatchApi("openai", "openai", "batch", _PATH, _HANDLERS, record, _end_batch)
