"""OpenAI's Batch API: a batch is made of an uploaded file, and its metadata identify the job and the part.

Wire format: https://platform.openai.com/docs/api-reference/batch, .../files and .../guides/batch,
read 2026-11.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic_core import to_json

from modelwire.aliases import Fields
from modelwire.jobs.batch_api import api
from modelwire.jobs.batch_api.azure import CREATE_ENDPOINT

if TYPE_CHECKING:
    from modelwire.jobs.batch_api.client import BatchClient
    from modelwire.jobs.batch_api.part_log import Part

# A batch with one of these statuses has ended or is about to end. With any other status it runs.
_STATUSES = ("completed", "failed", "expired", "cancelled", "cancelling", "finalizing")
# A row with one of these error codes was not sent to the model; it gets this status.
_NOT_ASKED = {"batch_expired": "expired", "batch_cancelled": "cancelled"}
# While a file on Azure has one of these statuses, no batch can be made of it.
_BEING_READ = (
    "uploaded",
    "pending",
    "running",
)
# The status of a file on Azure is polled with this pause, and not longer than this.
READ_PAUSE_S, _READ_IN_S = 2.0, 600.0
# The clocks of two machines of the provider are assumed to differ by at most this much.
_CLOCKS_APART_S = 86_400.0
# A batch has these keys in its metadata.
_MARKS = ("modelwire_job", "modelwire_part", "modelwire_sha256")


class OpenAIBatches(api.BatchApi):
    """OpenAI's batches, also on Azure."""

    name = "openai"
    max_rows = 50_000
    max_bytes = 200_000_000
    batches = "/batches"

    def row(self, custom_id: str, body: Fields, path: str) -> bytes:
        url = path
        if not self.azure or path != CREATE_ENDPOINT:
            url = f"/v1{path}"
        return to_json({"custom_id": custom_id, "method": "POST", "url": url, "body": body})

    def takes_file(self, part: Part) -> bool:
        return True

    @api.reads_answers
    def upload(self, batch_client: BatchClient, part: Part, path: Path, job: str) -> api.Uploaded:
        with path.open("rb") as file:
            uploaded = batch_client.post(
                "/files",
                headers={"Content-Type": "multipart/form-data"},
                body={"purpose": "batch"},
                files={"file": (f"{job}-{part.name}.jsonl", file, "application/jsonl")},
            )
        file_id = api.checked_id(uploaded.get("id"))
        ends = time.monotonic() + _READ_IN_S
        while self.azure and uploaded.get("status") in _BEING_READ and time.monotonic() < ends:
            time.sleep(READ_PAUSE_S)
            uploaded = batch_client.get(f"/files/{file_id}")
        return api.Uploaded(file_id, float(uploaded.get("created_at") or 0))

    def file_path(self, file_id: str) -> str:
        return f"/files/{file_id}"

    @api.reads_answers
    def find(
        self,
        batch_client: BatchClient,
        part: Part,
        job: str,
        taken: set[str],
    ) -> list[api.Made]:
        """Return the batch that was made of this part, if there is one.

        It cannot be older than the part's file.
        """
        for batch in api.listed(batch_client, self.batches, "after", 100):
            marks = batch.get("metadata") or {}
            has_our_file = part.file_id is not None and batch.get("input_file_id") == part.file_id
            if has_our_file or api.is_made_of(part, job, [*map(marks.get, _MARKS)]):
                return [self._made(batch)]
            made_at = batch.get("created_at") or part.file_at
            if part.file_at and made_at < part.file_at - _CLOCKS_APART_S:
                break
        return []

    @api.reads_answers
    def create(
        self,
        batch_client: BatchClient,
        part: Part,
        path: Path,
        job: str,
        about: Fields,
    ) -> api.Made:
        endpoint = about["endpoint"]
        if self.azure:
            endpoint = CREATE_ENDPOINT
        marks = dict(zip(_MARKS, api.marks_of(part, job), strict=True))
        payload = {
            "input_file_id": part.file_id,
            "endpoint": endpoint,
            "completion_window": "24h",
            "metadata": {**about["metadata"], **marks},
        }
        return self._made(batch_client.post(self.batches, body=payload, headers=about["headers"]))

    @api.reads_answers
    def look(self, batch_client: BatchClient, batch_id: str) -> api.Look:
        batch = batch_client.get(f"{self.batches}/{batch_id}")
        counts = batch.get("request_counts") or {}
        outcome = str(batch.get("status"))
        if outcome not in _STATUSES:
            outcome = ""
        ended = outcome not in ("", "cancelling", "finalizing")
        remote = []
        for name in ("output_file_id", "error_file_id"):
            file = batch.get(name)
            if file:
                remote.append(f"/files/{api.checked_id(file)}/content")
        completed = counts.get("completed") or 0
        failed = counts.get("failed") or 0
        found = batch.get("errors") or {}
        errors = found.get("data") or ()
        return api.Look(
            ended,
            outcome,
            counts.get("total") or 0,
            completed + failed,
            failed,
            tuple(remote),
            tuple(errors),
        )

    def remote_paths(self, part: Part) -> list[str]:
        """Return the paths of the files of a part. OpenAI does not delete batches."""
        results = [path.removesuffix("/content") for path in part.remote]
        others = super().remote_paths(part)
        return results + [path for path in others if not path.startswith(self.batches)]

    def read(self, line: bytes) -> api.RowReply:
        """Read a line of results. Either of `response` and `error` may be null."""
        row = api.json_object(line)
        custom_id = str(row.get("custom_id"))
        response = row.get("response")
        error = row.get("error")
        if not isinstance(response, dict):
            error = error or {"code": None, "message": api.NO_RESULT}
            code = None
            if isinstance(error, dict):
                code = error.get("code")
            kind = _NOT_ASKED.get(str(code), "errored")
            status = None
            if kind == "errored":
                status = 500
            return api.RowReply(custom_id, kind, status, {"error": error}, None)
        status = response.get("status_code")
        if not isinstance(status, int) or not 100 <= status < 600:
            status = 500
        kind = "errored"
        if status < 300:
            kind = "succeeded"
        request_id = response.get("request_id")
        return api.RowReply(custom_id, kind, status, response.get("body"), request_id)

    def _made(self, batch: Fields) -> api.Made:
        # A batch on Azure has no time limit.
        ends_at = 0.0
        if not self.azure:
            ends_at = float(batch.get("expires_at") or 0)
        return api.Made(api.checked_id(batch.get("id")), ends_at)
