"""OpenAI's Batch API: files are uploaded, batches are made of them, and metadata identify the job and the part.

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

# In any other state a batch runs.
_STATES = {
    name: name
    for name in ("completed", "failed", "expired", "cancelled", "cancelling", "finalizing")
}
_NOT_ASKED = {"batch_expired": "expired", "batch_cancelled": "cancelled"}
# In these states of a file on Azure, no batch can be made of it yet.
_BEING_READ = (
    "uploaded",
    "pending",
    "running",
)
_READ_IN_S, READ_PAUSE_S = 600.0, 2.0
# The clocks of two of the provider's machines differ by at most this much.
_CLOCKS_APART_S = 86_400.0
# These are the keys in the metadata of a batch.
_MARKS = ("modelwire_job", "modelwire_part", "modelwire_sha256")


class OpenAIBatches(api.BatchApi):
    """OpenAI's batches, also on Azure."""

    name = "openai"
    max_rows = 50_000
    max_bytes = 200_000_000
    batches = "/batches"

    def row(self, custom_id: str, body: Fields, path: str) -> bytes:
        if self.azure and path == CREATE_ENDPOINT:
            url = path
        else:
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
            if (
                part.file_at
                and (batch.get("created_at") or part.file_at) < part.file_at - _CLOCKS_APART_S
            ):
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
        if self.azure:
            endpoint = CREATE_ENDPOINT
        else:
            endpoint = about["endpoint"]
        payload = {
            "input_file_id": part.file_id,
            "endpoint": endpoint,
            "completion_window": "24h",
            "metadata": {
                **about["metadata"],
                **dict(zip(_MARKS, api.marks_of(part, job), strict=True)),
            },
        }
        return self._made(batch_client.post(self.batches, body=payload, headers=about["headers"]))

    @api.reads_answers
    def look(self, batch_client: BatchClient, batch_id: str) -> api.Look:
        batch = batch_client.get(f"{self.batches}/{batch_id}")
        counts = batch.get("request_counts") or {}
        outcome = _STATES.get(str(batch.get("status")), "")
        files = tuple(
            file for name in ("output_file_id", "error_file_id") if (file := batch.get(name))
        )
        completed = counts.get("completed") or 0
        failed = counts.get("failed") or 0
        errors = (batch.get("errors") or {}).get("data") or ()
        remote = tuple(f"/files/{api.checked_id(file)}/content" for file in files)
        ended = outcome not in ("", "cancelling", "finalizing")
        return api.Look(
            ended,
            outcome,
            counts.get("total") or 0,
            completed + failed,
            failed,
            remote,
            tuple(errors),
        )

    def remote_paths(self, part: Part) -> list[str]:
        """Return the paths of the files of a part. A batch itself cannot be deleted."""
        results = [path.removesuffix("/content") for path in part.remote]
        return results + [
            path for path in super().remote_paths(part) if not path.startswith(self.batches)
        ]

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
        if not (isinstance(status, int) and 100 <= status < 600):
            status = 500
        kind = "succeeded" if status < 300 else "errored"
        return api.RowReply(
            custom_id, kind, status, response.get("body"), response.get("request_id")
        )

    def _made(self, batch: Fields) -> api.Made:
        # A batch on Azure has no time limit.
        if self.azure:
            ends_at = 0.0
        else:
            ends_at = float(batch.get("expires_at") or 0)
        return api.Made(api.checked_id(batch.get("id")), ends_at)
