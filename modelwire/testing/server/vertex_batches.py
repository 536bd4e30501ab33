"""Vertex AI's batch prediction and its objects in Cloud Storage, stored by `BatchDesk`. No I/O.

Wire format:
https://cloud.google.com/vertex-ai/docs/reference/rest/v1beta1/projects.locations.batchPredictionJobs
and https://cloud.google.com/storage/docs/json_api/v1/objects, read 2026-11. An object is stored as a
file with the id `gs://bucket/name`.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import unquote

from pydantic_core import to_json

from modelwire.aliases import JSON
from modelwire.testing.server.batch_records import (
    Answered,
    BatchApi,
    BatchCall,
    Handlers,
    SeenBatch,
    is_good,
    show,
)
from modelwire.testing.server.gemini_batches import (
    delete,
    failure_of,
    page_of,
    rows_of,
    state_of,
    stop,
    time_text,
)
from modelwire.testing.server.replies import Reply, Response, json_reply

if TYPE_CHECKING:
    from modelwire.testing.server.batches import BatchDesk

# This matches the paths of Vertex AI's jobs and of Cloud Storage's objects.
_PATH = re.compile(
    r"^(?:/v1(?:beta1)?/(?P<parent>projects/[^/]+/locations/[^/]+)|(?P<way>/upload)?/storage/v1/b/(?P<bucket>[^/]+))"
    r"/(?P<kind>batchPredictionJobs|o)"
    r"(?:(?<=Jobs)/(?P<id>[^/:]+)(?::(?P<action>cancel))?|(?<=/o)/(?P<object>[^/]+))?$"
)
_NOT_FOUND = "Not found: {id}."
_MODELS = "publishers/google/models/"


def _upload(call: BatchCall) -> Reply:
    place = f"gs://{call.path['bucket']}/{call.request.params['name']}"
    return json_reply(200, _put(call.desk, place, call.request.content))


def _read_or_list(call: BatchCall) -> Response:
    """Return an object, its content, or a list of objects."""
    files = call.desk.files
    params = call.request.params
    place = _place(call)
    if not call.path["object"]:
        prefix = place + params.get("prefix", "")
        found = sorted(name for name in files if name.startswith(prefix))
        page: JSON = {"kind": "storage#objects"}
        if found:
            page["items"] = [files[name][0] for name in found]
        return json_reply(200, page)
    if place not in files:
        return _missing(call)
    if params.get("alt") == "media":
        return call.download(place, "application/jsonl")
    return json_reply(200, files[place][0])


def _delete_object(call: BatchCall) -> Reply:
    if call.desk.files.pop(_place(call), None) is None:
        return _missing(call)
    return Reply(204, {}, [])


def _place(call: BatchCall) -> str:
    """Return the `gs://` URL of the request's object, or of its bucket if it names no object."""
    return f"gs://{call.path['bucket']}/{unquote(call.path['object'])}"


def _missing(call: BatchCall) -> Reply:
    return call.refuse(_NOT_FOUND.format(id=_place(call).removeprefix("gs://")), 404)


def _put(desk: BatchDesk, place: str, content: bytes) -> JSON:
    made_at = desk.add_file(place, "batch", content)["created_at"]
    # `add_file` has stored the content under a generated id; that entry is removed, because the id of
    # an object is its URL.
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


def _make(call: BatchCall) -> Response:
    payload = call.request.fields
    files = call.desk.files
    source = payload.get("inputConfig") or {}
    target = payload.get("outputConfig") or {}
    uris = (source.get("gcsSource") or {}).get("uris") or [""]
    prefix = (target.get("gcsDestination") or {}).get("outputUriPrefix")
    if not payload.get("displayName") or uris[0] not in files or not prefix:
        return call.refuse(
            f"`displayName`, an input that exists and an output are required, not {payload}."
        )
    model = str(payload.get("model")).removeprefix(_MODELS)
    own = {"model": model, "parent": call.path["parent"], "target": prefix}
    return call.create(rows_of(files[uris[0]][1]), {**payload, **own})


def _job(batch: SeenBatch, share: float, base_url: str) -> JSON:
    """Return a batch as Vertex AI's API shows it.

    Counts are texts, and they are missing before the batch has ended.
    """
    state = state_of(batch, share)
    shown = ("displayName", "inputConfig", "outputConfig")
    fields = batch.fields
    made: JSON = {name: fields.get(name) for name in shown} | {
        "name": f"{fields['parent']}/batchPredictionJobs/{batch.id}",
        "state": f"JOB_STATE_{state}",
        "createTime": time_text(batch.made_at),
        "model": f"{_MODELS}{fields['model']}",
    }
    if state == "FAILED":
        made["error"] = failure_of(batch)
    elif batch.ended_at is not None:
        made["outputInfo"] = {"gcsOutputDirectory": f"{fields['target']}/prediction-model-1"}
        made["completionStats"] = {name: str(count) for name, count in batch.counts.items()}
    return made


def _end_batch(desk: BatchDesk, batch: SeenBatch, results: list[Answered], good: int) -> None:
    """Write the results of a batch. Each line repeats its request, and has no id."""
    requests = {key: body for key, _, body in batch.rows}
    lines = []
    for key, status, body in results:
        if status is None and body == batch.outcome:
            continue  # An unanswered row has no line.
        line = {"status": "", "request": requests.get(key, {}), "response": {}}
        if is_good(status):
            line["response"] = body
        else:
            error = body
            if not isinstance(body, dict):
                error = {"error": {"code": 504}}
            line["status"] = f"Error: {to_json(error).decode()}"
        lines.append(to_json(line) + b"\n")
    total = len(batch.rows)
    batch.counts = {"successfulCount": good, "failedCount": total - good}
    place = f"{batch.fields['target']}/prediction-model-1/predictions.jsonl"
    _put(desk, place, b"".join(lines))
    batch.files["output"] = place


_HANDLERS: Handlers = {
    "/upload POST o": _upload,
    "GET o": _read_or_list,
    "DELETE o": _delete_object,
    "POST batchPredictionJobs": _make,
    "GET batchPredictionJobs": partial(page_of, field="batchPredictionJobs"),
    "GET batchPredictionJobs/id": show,
    "POST batchPredictionJobs/id/cancel": stop,
    "DELETE batchPredictionJobs/id": delete,
}
API = BatchApi(
    "vertex",
    "gemini",
    "vertexjob",
    _PATH,
    _HANDLERS,
    _job,
    _end_batch,
    missing=_NOT_FOUND,
    missing_code=None,
)
