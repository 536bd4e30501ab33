"""The Gemini Batch API: up to 1,000 requests of 20 MB in all are sent with the batch, more are uploaded as a file.

Wire format: https://ai.google.dev/api/batch-api, https://ai.google.dev/gemini-api/docs/batch-api
and https://ai.google.dev/api/files, read 2026-11; paths and fields also google-genai 3.4,
`batches.py` and `files.py`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json, to_json

from modelwire.aliases import JSON, Fields
from modelwire.errors import InvalidArgument
from modelwire.jobs.batch_api import api
from modelwire.jobs.owned_files import owned

if TYPE_CHECKING:
    from modelwire.jobs.batch_api.client import BatchClient
    from modelwire.jobs.batch_api.part_log import Part

# More bytes of requests are uploaded as a file. Google's limit for inline requests is 20 MB, of
# which the JSON around the rows takes a part (.../docs/batch-api).
INLINE_BYTES = 19_000_000
# More rows are uploaded as a file: the answers of an inline batch are one JSON document, which is
# parsed in memory.
_INLINE_ROWS = 1_000
# These states of a batch, `BATCH_STATE_...` or `JOB_STATE_...` in the JSON, show that it has ended or
# is being cancelled. In every other state it runs.
_OUTCOMES = {
    "SUCCEEDED": "completed",
    "FAILED": "failed",
    "CANCELLED": "cancelled",
    "EXPIRED": "expired",
    "PARTIALLY_SUCCEEDED": "completed",
    "CANCELLING": "cancelling",
}
# The error of a row is a google.rpc.Status, whose codes are not HTTP's. This table gives the HTTP
# status of each.
# https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto, read 2026-11
_HTTP_OF = {
    1: 499,
    3: 400,
    4: 504,
    5: 404,
    6: 409,
    7: 403,
    8: 429,
    9: 400,
    10: 409,
    11: 400,
    12: 501,
    14: 503,
    16: 401,
}
_FILES = "/v1beta/files"


class GoogleBatches(api.BatchApi):
    """Batches of Google's APIs: each is for one model, and its display name identifies the job and the part."""

    start = b'{"key":"'
    cancel_suffix = ":cancel"
    # A page of the provider's list has the batches in this field.
    list_field: str
    # A batch that is not done after this time expires.
    life_s: float

    def about(self, batch: Fields) -> Fields:
        """Return the object in a batch's JSON that has its state, name and time of creation."""
        raise NotImplementedError

    def counts(self, about: Fields) -> tuple[int, int, int]:
        """Return the numbers of all rows, of answered rows and of failed rows."""
        raise NotImplementedError

    def results(self, batch_client: BatchClient, batch_id: str, batch: Fields) -> tuple[str, ...]:
        """Return the addresses of the results of an ended batch."""
        raise NotImplementedError

    @api.reads_answers
    def find(
        self,
        batch_client: BatchClient,
        part: Part,
        job: str,
        taken: set[str],
    ) -> list[api.Made]:
        """Return the batches made of this part.

        All pages are read, since their order is not documented.
        """
        found = []
        for batch in pages(batch_client, self.batches, self.list_field, pageSize=100):
            name = str(self.about(batch).get("displayName"))
            marks = re.fullmatch(r"modelwire (\S+) (\S+) (\S+)", name)
            if marks is None or not api.is_made_of(part, job, marks.groups()):
                continue
            if _id_of(batch) not in taken:
                found.append(self.made(batch))
        return found

    def made(self, batch: Fields) -> api.Made:
        """Return the id of a batch in the provider's answer, and when it expires."""
        made_at = api.epoch(self.about(batch).get("createTime"))
        ends_at = 0.0
        if made_at:
            ends_at = made_at + self.life_s
        return api.Made(_id_of(batch), ends_at)

    @api.reads_answers
    def look(self, batch_client: BatchClient, batch_id: str) -> api.Look:
        batch = batch_client.get(f"{self.batches}/{batch_id}")
        about = self.about(batch)
        error = batch.get("error")
        state = str(about.get("state")).rpartition("STATE_")[2]
        outcome = _OUTCOMES.get(state, "")
        ended = outcome not in ("", "cancelling")
        total, good, bad = self.counts(about)
        remote: tuple[str, ...] = ()
        if ended:
            remote = self.results(batch_client, batch_id, batch)
        if outcome == "failed" and remote and good:
            # Google documents that "all completed rows are exported", and bills them. Rows without
            # a line get the status `missing`.
            outcome = "completed"
        errors: tuple[JSON, ...] = ()
        if isinstance(error, dict):
            errors = ({"code": error.get("code"), "message": error.get("message")},)
        return api.Look(ended, outcome, total, good + bad, bad, remote, errors)

    def failed_row(self, key: str, error: Any) -> api.RowReply:
        """Return the reply of a row with an error, whose code is HTTP's or gRPC's."""
        if not isinstance(error, dict):
            error = {"code": 13, "message": str(error or api.NO_RESULT)}
        code = error.get("code")
        status = _HTTP_OF.get(code or 13, 500)
        if isinstance(code, int) and 400 <= code < 600:
            status = code
        return api.RowReply(key, "errored", status, {"error": {**error, "code": status}}, None)


class GeminiBatches(GoogleBatches):
    """Batches of the Gemini API."""

    name = "gemini"
    # Google documents no limit of rows, and 2 GB for a file. Smaller parts are answered sooner and
    # lose less in a failure.
    max_rows = 50_000
    max_bytes = 2_000_000_000
    batches, list_field = "/v1beta/batches", "operations"
    # .../docs/batch-api, "Monitoring job status"
    life_s = 48 * 3600.0

    def row(self, custom_id: str, body: Fields, path: str) -> bytes:
        return to_json({"key": custom_id, "request": body})

    def takes_file(self, part: Part) -> bool:
        """Return whether a part is too large to be sent with its batch."""
        return part.size_bytes > INLINE_BYTES or part.rows > _INLINE_ROWS

    @api.reads_answers
    def upload(
        self,
        batch_client: BatchClient,
        part: Part,
        path: Path,
        job: str,
    ) -> api.Uploaded | None:
        """Upload the requests of a part that is too large to be sent with its batch.

        Google deletes the file after 48 hours.
        """
        if not self.takes_file(part):
            return None
        with path.open("rb") as file:
            uploaded = batch_client.upload(
                f"/upload{_FILES}", f"{job}-{part.name}.jsonl", part.size_bytes, file
            )
        about = uploaded.get("file") or {}
        return api.Uploaded(_id_of(about), api.epoch(about.get("createTime")))

    def file_path(self, file_id: str) -> str:
        return f"{_FILES}/{file_id}"

    @api.reads_answers
    def create(
        self,
        batch_client: BatchClient,
        part: Part,
        path: Path,
        job: str,
        about: Fields,
    ) -> api.Made:
        model = re.search(r"((?:models|tunedModels)/[^/]+):generateContent$", about["endpoint"])
        if model is None:
            raise InvalidArgument(
                f"The Gemini API makes batches of `models/...`, not of `{about['endpoint']}`."
            )
        if part.file_id is not None:
            source: JSON = {"fileName": f"files/{part.file_id}"}
        else:
            requests = []
            for line in path.read_bytes().splitlines():
                row = from_json(line)
                requests.append({"request": row["request"], "metadata": {"key": row["key"]}})
            source = {"requests": {"requests": requests}}
        batch = {"displayName": shown_marks(part, job), "inputConfig": source}
        address = f"/v1beta/{model[1]}:batchGenerateContent"
        return self.made(batch_client.post(address, body={"batch": batch}))

    def about(self, batch: Fields) -> Fields:
        return batch.get("metadata") or {}

    def counts(self, about: Fields) -> tuple[int, int, int]:
        found = about.get("batchStats") or {}
        total = int(found.get("requestCount") or 0)
        good = int(found.get("successfulRequestCount") or 0)
        bad = int(found.get("failedRequestCount") or 0)
        return total, good, bad

    def results(self, batch_client: BatchClient, batch_id: str, batch: Fields) -> tuple[str, ...]:
        output = _output(batch)
        file = output.get("responsesFile")
        if file:
            return (f"/download{_FILES}/{_id_of({'name': file})}:download?alt=media",)
        if output:
            return (f"{self.batches}/{batch_id}",)
        return ()

    def fetch(self, batch_client: BatchClient, remote: str, path: Path) -> None:
        """Write the results into the file at `path`, one row a line, also if they are inside the batch's JSON."""
        if remote.startswith("/download/"):
            batch_client.download(remote, path)
            return
        output = _output(batch_client.get(remote))
        wrapped = output.get("inlinedResponses") or {}
        rows = wrapped.get("inlinedResponses") or ()
        with open(path, "wb", opener=owned) as out:
            out.writelines(to_json(row) + b"\n" for row in rows if isinstance(row, dict))
            out.flush()
            os.fsync(out.fileno())

    def remote_paths(self, part: Part) -> list[str]:
        paths = []
        for path in part.remote:
            found = re.search(r"/files/([^/:]+):download", path)
            if found is not None:
                paths.append(self.file_path(found[1]))
        return paths + super().remote_paths(part)

    def read(self, line: bytes) -> api.RowReply:
        row = api.json_object(line)
        key = str(row.get("key") or (row.get("metadata") or {}).get("key"))
        response = row.get("response")
        if isinstance(response, dict):
            return api.RowReply(key, "succeeded", 200, response, response.get("responseId"))
        return self.failed_row(key, row.get("error") or row.get("status"))


def pages(batch_client: BatchClient, path: str, field: str, **params: Any) -> Iterator[JSON]:
    """Yield the items of all pages of one of Google's lists."""
    for _ in api.turned(batch_client, path, params, "pageToken"):
        page = batch_client.get(path, params)
        yield from page.get(field) or ()
        if not page.get("nextPageToken"):
            return
        params["pageToken"] = page["nextPageToken"]


def _id_of(thing: Fields) -> str:
    """Return the last part of a resource name such as `batches/ID` or `files/ID`."""
    name = thing.get("name")
    last = None
    if name is not None:
        last = str(name).rpartition("/")[2]
    return api.checked_id(last)


def shown_marks(part: Part, job: str) -> str:
    """Return the display name of a part's batch."""
    return " ".join(("modelwire", *api.marks_of(part, job)))


def _output(batch: Fields) -> JSON:
    """Return the object with the results of a batch; {} if there is none.

    It is `output` in `metadata`, and is repeated as `response`. Either may be missing.
    """
    about = batch.get("metadata") or {}
    for output in (about.get("output"), batch.get("response")):
        if isinstance(output, dict) and ("responsesFile" in output or "inlinedResponses" in output):
            return output
    return {}
