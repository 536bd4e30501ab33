"""Anthropic's Message Batches, stored by `BatchDesk`. No I/O.

Wire format: https://docs.anthropic.com/en/api/creating-message-batches, read 2026-11.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

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
from modelwire.testing.server.limits import rfc3339
from modelwire.testing.server.replies import Reply, Response, json_reply

if TYPE_CHECKING:
    from modelwire.testing.server.batches import BatchDesk

_NO_COUNTS = {"processing": 0, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0}


def _make(call: BatchCall) -> Response:
    requests = call.request.fields.get("requests") or []
    names = [str(row.get("custom_id")) for row in requests]
    are_valid = all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name) for name in names)
    are_unique = len(set(names)) == len(names)
    if not names or not are_valid or not are_unique:
        return call.refuse(
            "`requests` must be a list of rows, each with a unique `custom_id`: `^[a-zA-Z0-9_-]{1,64}$`."
        )
    rows: list[Row] = []
    for name, row in zip(names, requests, strict=True):
        rows.append((name, "anthropic", row.get("params") or {}))
    return call.create(rows, {})


def _delete(call: BatchCall) -> Reply:
    if call.batch.ended_at is None:
        return call.refuse("The batch has not ended.")
    call.desk.made.remove(call.batch)
    return json_reply(200, {"id": call.id, "type": "message_batch_deleted"})


def _results(call: BatchCall) -> Response:
    batch = call.batch
    if batch.ended_at is None:
        return call.refuse("There are no results yet.", 404)
    kind = "application/x-jsonl"
    return call.desk.download(call.request, call.id, batch.results, batch, kind)


def record(batch: SeenBatch, share: float, base_url: str) -> JSON:
    """Return a batch as Anthropic's API shows it."""
    is_cancelled = batch.cancelled_at_share is not None
    status = "in_progress"
    if batch.ended_at is not None:
        status = "ended"
    elif is_cancelled:
        status = "canceling"
    # All counts but `processing` are 0 until the whole batch has ended.
    counts = batch.counts or {**_NO_COUNTS, "processing": len(batch.rows)}
    host = (batch.plan.results_host or base_url).rstrip("/")
    ended_at = results_url = None
    if batch.ended_at is not None:
        ended_at = rfc3339(batch.ended_at)
        results_url = f"{host}/v1/messages/batches/{batch.id}/results"
    cancelled_at = None
    if is_cancelled:
        cancelled_at = rfc3339(batch.made_at)
    return {
        "id": batch.id,
        "type": "message_batch",
        "processing_status": status,
        "request_counts": counts,
        "created_at": rfc3339(batch.made_at),
        "expires_at": rfc3339(batch.made_at + DAY_S),
        "ended_at": ended_at,
        "cancel_initiated_at": cancelled_at,
        "archived_at": None,
        "results_url": results_url,
    }


def _end_batch(desk: BatchDesk, batch: SeenBatch, results: list[Answered], good: int) -> None:
    """Write the results of all rows as JSON lines."""
    counts = dict(_NO_COUNTS)
    lines: list[bytes] = []
    counted: set[str] = set()
    for custom_id, status, body in results:
        result = _result(status, body)
        lines.append(to_json({"custom_id": custom_id, "result": result}) + b"\n")
        if custom_id not in counted and not custom_id.startswith("foreign-"):
            counts[result["type"]] += 1
        counted.add(custom_id)
    batch.results = b"".join(lines)
    batch.counts = counts


def _result(status: int | None, body: Any) -> JSON:
    if is_good(status):
        return {"type": "succeeded", "message": body}
    if status is None and body != "server_error":
        kind = "expired"
        if body == "cancelled":
            kind = "canceled"
        return {"type": kind}
    error = body
    if status is None:
        error = {"type": "api_error", "message": "Internal server error"}
    if "error" not in error:
        error = {"type": "error", "error": error, "request_id": None}
    return {"type": "errored", "error": error}


_PATH = re.compile(
    r"/messages/(?P<kind>batches)(?:/(?P<id>[^/]+))?(?:/(?P<action>cancel|results))?$"
)
_HANDLERS: Handlers = {
    "POST batches": _make,
    "GET batches": list_batches,
    "GET batches/id": show,
    "POST batches/id/cancel": cancel,
    "DELETE batches/id": _delete,
    "GET batches/id/results": _results,
}
API = BatchApi(
    "anthropic",
    "anthropic",
    "msgbatch",
    _PATH,
    _HANDLERS,
    record,
    _end_batch,
    refuses_whole=False,
)
