"""Vertex AI's batch prediction and its objects in Cloud Storage, stored by `BatchDesk`. No I/O.

Wire format:
https://cloud.google.com/vertex-ai/docs/reference/rest/v1beta1/projects.locations.batchPredictionJobs
and https://cloud.google.com/storage/docs/json_api/v1/objects, read 2026-11. An object is a file
named `gs://bucket/name`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote

from pydantic_core import to_json

from modelwire.testing.server.batch_records import Answered, BatchApi, SeenBatch, is_good
from modelwire.testing.server.gemini_batches import (
    failure_of,
    page_of,
    rows_of,
    state_of,
    time_text,
)
from modelwire.testing.server.replies import Reply, Step, json_reply
from modelwire.testing.server.wires import error_reply

if TYPE_CHECKING:
    from modelwire.testing.server.batches import BatchDesk
    from modelwire.testing.server.requests import SeenRequest

__all__ = ["API"]

_JOBS = re.compile(
    r"/v1(?:beta1)?/(projects/[^/]+/locations/[^/]+)/batchPredictionJobs(?:/([^/:]+))?(?::(cancel))?$"
)
_OBJECTS = re.compile(r"(/upload)?/storage/v1/b/([^/]+)/o(?:/([^/]+))?$")
_MODELS = "publishers/google/models/"


def handle(desk: BatchDesk, request: SeenRequest, base_url: str) -> Reply | Iterable[Step] | None:
    """Return the answer to a request about jobs of Vertex AI and objects of Cloud Storage; None for
    any other request.
    """
    if (found := _OBJECTS.match(request.path)) is not None:
        return _object(desk, request, *found.groups(default=""))
    if (found := _JOBS.match(request.path)) is None:
        return None
    parent, id_, action = found.groups()
    batches = desk.of_wire("vertex")
    if id_ is None:
        if request.method == "POST":
            return _make(desk, request, parent)
        return page_of(desk, request, "vertex", "batchPredictionJobs")
    if id_ not in [batch.id for batch in batches]:
        return _missing(request, id_)
    batch = desk.found(id_)
    if request.method == "GET":
        batch.polls += 1
        return json_reply(200, desk.record(batch, ""))
    if action == "cancel":
        desk.cancel(batch)
    else:
        desk.made.remove(batch)
    return json_reply(200, {})


def _object(
    desk: BatchDesk, request: SeenRequest, way: str, bucket: str, name: str
) -> Reply | Iterable[Step]:
    params = {param: values[0] for param, values in parse_qs(request.query).items()}
    name = unquote(name)
    if way == "/upload":
        return json_reply(200, _put(desk, f"gs://{bucket}/{params['name']}", request.content))
    if not name:
        prefix = f"gs://{bucket}/{params.get('prefix', '')}"
        items = [
            record for place, (record, _) in sorted(desk.files.items()) if place.startswith(prefix)
        ]
        return json_reply(200, {"kind": "storage#objects", **({"items": items} if items else {})})
    place = f"gs://{bucket}/{name}"
    if place not in desk.files:
        return _missing(request, f"{bucket}/{name}")
    if request.method == "DELETE":
        del desk.files[place]
        return Reply(204, {}, [])
    if params.get("alt") != "media":
        return json_reply(200, desk.files[place][0])
    made_by = next((batch for batch in desk.made if place in batch.files.values()), None)
    return desk.download(request, place, desk.files[place][1], made_by, "application/jsonl")


def _put(desk: BatchDesk, place: str, content: bytes) -> dict[str, Any]:
    made_at = desk.add_file(place, "batch", content)["created_at"]
    # `_add_file` has stored the content under a generated id; that entry is removed, as the object
    # has a name of its own.
    desk.files.popitem()
    bucket, _, name = place.removeprefix("gs://").partition("/")
    record = {
        "name": name,
        "bucket": bucket,
        "size": str(len(content)),
        "timeCreated": time_text(made_at),
    }
    desk.files[place] = record, content
    return record


def _missing(request: SeenRequest, what: str) -> Reply:
    return error_reply("gemini", 404, number=request.number, message=f"Not found: {what}.")


def _make(desk: BatchDesk, request: SeenRequest, parent: str) -> Reply | Iterable[Step]:
    payload = request.fields
    source, target = payload.get("inputConfig") or {}, payload.get("outputConfig") or {}
    uris = (source.get("gcsSource") or {}).get("uris") or [""]
    prefix = (target.get("gcsDestination") or {}).get("outputUriPrefix")
    if not payload.get("displayName") or uris[0] not in desk.files or not prefix:
        message = f"`displayName`, an input that exists and an output are required, not {payload}."
        return error_reply("gemini", 400, number=request.number, message=message)
    rows = rows_of(desk.files[uris[0]][1])
    model = str(payload.get("model")).removeprefix(_MODELS)
    batch = desk.make(
        "vertex", rows, {**payload, "model": model, "parent": parent, "target": prefix}
    )
    return desk.creation_reply(batch, "")


def job(batch: SeenBatch, share: float, base_url: str) -> dict[str, Any]:
    """Return a batch in Vertex AI's format.

    Counts are texts, and they are missing before its end.
    """
    state = state_of(batch, share)
    shown = ("displayName", "inputConfig", "outputConfig")
    made: dict[str, Any] = {name: batch.fields.get(name) for name in shown} | {
        "name": f"{batch.fields['parent']}/batchPredictionJobs/{batch.id}",
        "state": f"JOB_STATE_{state}",
        "createTime": time_text(batch.made_at),
        "model": f"{_MODELS}{batch.fields['model']}",
    }
    if state == "FAILED":
        made["error"] = failure_of(batch)
    elif batch.ended_at is not None:
        made["outputInfo"] = {"gcsOutputDirectory": f"{batch.fields['target']}/prediction-model-1"}
        made["completionStats"] = {name: str(count) for name, count in batch.counts.items()}
    return made


def end_batch(
    desk: BatchDesk, batch: SeenBatch, answered: list[Answered], foreign: list[Answered]
) -> None:
    """Write the results. Each line repeats its request, and has no name of its own."""
    requests = {key: body for key, _, body in batch.rows}
    lines, good = [], set[str]()
    for key, status, body in [*answered, *foreign]:
        if status is None and body == batch.outcome:
            continue  # An unanswered row has no line.
        line = {"status": "", "request": requests.get(key, {}), "response": {}}
        if is_good(status):
            line["response"] = body
            if key in requests:
                good.add(key)
        else:
            error = body if isinstance(body, dict) else {"error": {"code": 504}}
            line["status"] = f"Error: {to_json(error).decode()}"
        lines.append(to_json(line) + b"\n")
    total = len(batch.rows)
    batch.counts = {"successfulCount": len(good), "failedCount": total - len(good)}
    place = f"{batch.fields['target']}/prediction-model-1/predictions.jsonl"
    _put(desk, place, b"".join(lines))
    batch.files["output"] = place


API = BatchApi("vertexjob", handle, job, end_batch)
