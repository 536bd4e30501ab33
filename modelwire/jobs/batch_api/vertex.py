"""Vertex AI's batch prediction with Gemini models: requests and results are files in a bucket.

Wire format:
https://cloud.google.com/vertex-ai/generative-ai/docs/multimodal/batch-prediction-from-cloud-storage,
https://cloud.google.com/vertex-ai/docs/reference/rest/v1beta1/projects.locations.batchPredictionJobs
and https://cloud.google.com/storage/docs/json_api/v1/objects, read 2026-11; paths and fields also
google-genai 3.4, `batches.py`, `types.BatchJob` and `types.JobState`. No recorded traffic confirms
this.

Results come in any order, and no field for a row's name is documented. A line of results repeats
its request, so the name is sent twice: as `key`, as in the Gemini API, and in labels of the
request, from where LiteLLM, RubyLLM and Bifrost read theirs. A label's name may have 1,000 values
in the life of a billing account (.../docs/multimodal/add-labels-to-api-calls). Pieces of two
characters, of which there are 289, stay below that.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pydantic_core import from_json, to_json

from modelwire.aliases import Fields
from modelwire.errors import InvalidArgument
from modelwire.jobs.batch_api import api
from modelwire.jobs.batch_api.gemini import GoogleBatches, pages, shown_marks

if TYPE_CHECKING:
    from modelwire.jobs.batch_api.client import BatchClient
    from modelwire.jobs.batch_api.part_log import Part

_STORAGE = "https://storage.googleapis.com"
_LABEL = "modelwire-row-"


class VertexBatches(GoogleBatches):
    """Batches of Gemini on Vertex AI, in a bucket."""

    name = "vertex"
    # A file may have 200,000 rows and 1 GB. Smaller parts are answered sooner and lose less in a
    # failure.
    max_rows = 50_000
    max_bytes = 1_000_000_000
    # This path is below `projects/.../locations/...`, which is in the model's address.
    batches, list_field = "/batchPredictionJobs", "batchPredictionJobs"
    # A batch waits in the queue, then runs (.../docs/multimodal/batch-prediction-gemini, "Quotas").
    life_s = (72 + 24) * 3600.0

    def __init__(self, bucket: str) -> None:
        """`bucket` is `gs://name` or `gs://name/folder`.

        Raises: `InvalidArgument` for anything else.
        """
        super().__init__()
        # https://cloud.google.com/storage/docs/buckets#naming, read 2026-11
        found = re.fullmatch(
            r"gs://([a-z0-9][a-z0-9._-]{1,220}[a-z0-9])(?:/([^?#*\[\]\s]*))?", str(bucket)
        )
        if found is None:
            raise InvalidArgument(f"`bucket` must be like `gs://my-bucket/folder`, not {bucket!r}.")
        folder = (found[2] or "").strip("/")
        self._bucket = found[1]
        self._folder = ""
        if folder:
            self._folder = f"{folder}/"

    def row(self, custom_id: str, body: Fields, path: str) -> bytes:

        labels = dict(body.get("labels") or {})
        for at in range(0, len(custom_id), 2):
            labels[f"{_LABEL}{at // 2:02}"] = custom_id[at : at + 2]
        request = {**body, "labels": labels}
        return to_json({"key": custom_id, "request": request})

    def takes_file(self, part: Part) -> bool:
        return True

    @api.reads_answers
    def upload(self, batch_client: BatchClient, part: Part, path: Path, job: str) -> api.Uploaded:
        """Upload the requests of a part to the bucket.

        A repeated upload replaces the file of the same name.
        """
        name = f"{self._place(part, job)}.jsonl"
        folder = f"{_storage()}/upload/storage/v1/b/{self._bucket}/o"
        address = f"{folder}?uploadType=media&name={quote(name, safe='')}"
        headers = {"Content-Type": "application/jsonl", "Content-Length": str(part.size_bytes)}
        with path.open("rb") as file:
            about = batch_client.post(address, headers=headers, content=file)
        return api.Uploaded(name, api.epoch(about.get("timeCreated")))

    def file_path(self, file_id: str) -> str:
        return _object(f"{self._bucket}/{file_id}")

    @api.reads_answers
    def create(
        self,
        batch_client: BatchClient,
        part: Part,
        path: Path,
        job: str,
        about: Fields,
    ) -> api.Made:
        model = re.search(r"/(publishers/[^/]+/models/[^/:]+):generateContent$", about["endpoint"])
        if model is None:
            raise InvalidArgument(
                f"Batches are made of `publishers/.../models/...`, not of `{about['endpoint']}`."
            )
        place = f"gs://{self._bucket}/{self._place(part, job)}"
        source = {
            "instancesFormat": "jsonl",
            "gcsSource": {"uris": [f"gs://{self._bucket}/{part.file_id}"]},
        }
        target = {"predictionsFormat": "jsonl", "gcsDestination": {"outputUriPrefix": place}}
        payload = {
            "displayName": shown_marks(part, job),
            "model": model[1],
            "inputConfig": source,
            "outputConfig": target,
        }
        return self.made(batch_client.post(self.batches, body=payload))

    def about(self, batch: Fields) -> Fields:
        return batch

    def counts(self, about: Fields) -> tuple[int, int, int]:
        found = about.get("completionStats") or {}
        counts = []
        for name in ("successfulCount", "failedCount", "incompleteCount"):
            count = int(found.get(name) or 0)
            counts.append(max(0, count))  # A count is -1 if it is unknown.
        good, bad, _ = counts
        return sum(counts), good, bad

    def results(self, batch_client: BatchClient, batch_id: str, batch: Fields) -> tuple[str, ...]:
        """Return the files of results in the bucket as `bucket/name`, from the output directory of a batch."""
        output = batch.get("outputInfo") or {}
        directory = str(output.get("gcsOutputDirectory") or "")
        if not directory:
            return ()
        place = directory.removeprefix("gs://").rstrip("/")
        bucket, _, folder = place.partition("/")
        address = f"{_storage()}/storage/v1/b/{quote(bucket, safe='')}/o"
        found = []
        for item in pages(batch_client, address, "items", prefix=f"{folder}/"):
            name = str(item["name"])
            if name.endswith(".jsonl"):
                found.append(f"{bucket}/{name}")
        return tuple(sorted(found))

    def fetch(self, batch_client: BatchClient, remote: str, path: Path) -> None:
        batch_client.download(f"{_object(remote)}?alt=media", path)

    def remote_paths(self, part: Part) -> list[str]:
        return [*map(_object, part.remote), *super().remote_paths(part)]

    def read(self, line: bytes) -> api.RowReply:
        row = api.json_object(line)
        request = row.get("request") or {}
        labels = request.get("labels") or {}
        pieces = ""
        for name in sorted(labels):
            if name.startswith(_LABEL):
                pieces += str(labels[name])
        key = str(row.get("key") or pieces)
        response = row.get("response")
        status = row.get("status")
        if not isinstance(response, dict):
            response = {}
        is_answer = "candidates" in response or not status
        if response and is_answer:
            return api.RowReply(key, "succeeded", 200, response, response.get("responseId"))
        return self.failed_row(key, _error_of(row.get("error") or status))

    def _place(self, part: Part, job: str) -> str:
        return f"{self._folder}modelwire-{job}/{part.name}-{part.attempt}"


def _storage() -> str:
    """Return the address of Cloud Storage. `STORAGE_EMULATOR_HOST` replaces it, and then receives the token, too."""
    host = os.environ.get("STORAGE_EMULATOR_HOST", _STORAGE).rstrip("/")
    if "://" in host:
        return host
    return f"http://{host}"


def _object(place: str) -> str:
    """Return the URL of an object at `bucket/name`."""
    bucket, _, name = place.partition("/")
    return f"{_storage()}/storage/v1/b/{quote(bucket, safe='')}/o/{quote(name, safe='')}"


def _error_of(status: Any) -> Any:
    """Return the error in the status of a row, which is a text with JSON in it, another text, or an object."""
    if isinstance(status, str):
        try:
            status = from_json(status[status.index("{") : status.rindex("}") + 1])
        except ValueError:
            return status
    if isinstance(status, dict):
        return status.get("error", status)
    return status
