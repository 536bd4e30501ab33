"""Anthropic's Message Batches. A batch carries no metadata, so only its results show which job it belongs to.

Wire format: https://docs.anthropic.com/en/api/creating-message-batches, read 2026-11.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic_core import to_json

from modelwire.aliases import Fields
from modelwire.jobs.batch_api import api

if TYPE_CHECKING:
    from modelwire.jobs.batch_api.client import BatchClient
    from modelwire.jobs.batch_api.part_log import Part

# A damaged store may hide an earlier batch of a part. It is searched for among the batches made up
# to this long before the part was planned, because this machine's clock may have been wrong.
_POSSIBLY_LOST_S = 7 * 86_400.0
# An error inside a batch has a type and no status. This table gives the status of each type.
# https://docs.anthropic.com/en/api/errors, read 2026-11
_STATUS_OF = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
_KINDS = {
    "succeeded": "succeeded",
    "errored": "errored",
    "canceled": "cancelled",
    "expired": "expired",
}


class AnthropicBatches(api.BatchApi):
    """Anthropic's Message Batches: the requests are in the body that creates the batch, and not in an uploaded file."""

    name = "anthropic"
    max_rows = 100_000
    max_bytes = 256_000_000
    # These bytes make the file of a part the body of the request that creates its batch.
    head = b'{"requests":[\n'
    between = b",\n"
    tail = b"\n]}\n"
    batches = "/v1/messages/batches"

    def row(self, custom_id: str, body: Fields, path: str) -> bytes:
        return to_json({"custom_id": custom_id, "params": body})

    @api.reads_answers
    def newest(self, batch_client: BatchClient) -> api.Newest:
        """Return the latest batch that exists.

        A batch that is listed before it later was created after this call.
        """
        batch = next(api.listed(batch_client, self.batches, "after_id", 1), {})
        newest = None
        if batch:
            newest = str(batch["id"])
        return api.Newest(newest, api.epoch(batch.get("created_at")))

    @api.reads_answers
    def find(
        self,
        batch_client: BatchClient,
        part: Part,
        job: str,
        taken: set[str],
    ) -> list[api.Made]:
        """Return the batches that may have been made of this part: created after its intent, with as many rows.

        The time of the intent is that of the newest batch before it, by the provider's clock, since
        this machine's may be wrong.
        """
        found: list[api.Made] = []
        if part.stage == "planned":
            since = part.at - _POSSIBLY_LOST_S
        else:
            since = part.newest_at
        for batch in api.listed(batch_client, self.batches, "after_id", 1000):
            made_at = api.epoch(batch.get("created_at"))
            if made_at < since or batch["id"] == part.newest:
                break
            counts = batch.get("request_counts") or {}
            has_our_size = sum(counts.values()) == part.rows
            if has_our_size and batch["id"] not in taken:
                found.append(_made(batch, guessed=True))
        return found

    @api.reads_answers
    def create(
        self,
        batch_client: BatchClient,
        part: Part,
        path: Path,
        job: str,
        about: Fields,
    ) -> api.Made:
        headers = {"Content-Type": "application/json", **about["headers"]}
        with path.open("rb") as file:
            return _made(batch_client.post(self.batches, content=file, headers=headers))

    @api.reads_answers
    def look(self, batch_client: BatchClient, batch_id: str) -> api.Look:
        """Return the state of a batch. Its counts are zero until it ends."""
        batch = batch_client.get(f"{self.batches}/{batch_id}")
        counts = batch.get("request_counts") or {}
        status = batch.get("processing_status")
        ended = status == "ended"
        total = sum(counts.values())
        done = total - counts.get("processing", 0)
        is_cancelled = bool(batch.get("cancel_initiated_at"))
        outcome = ""
        if ended and is_cancelled:
            outcome = "cancelled"
        elif ended:
            outcome = "completed"
        elif is_cancelled or status == "canceling":
            outcome = "cancelling"
        url = batch.get("results_url")
        failed = done - counts.get("succeeded", 0)
        remote: tuple[str, ...] = ()
        if ended and url:
            remote = (str(url),)
        return api.Look(ended, outcome, total, done, failed, remote)

    def read(self, line: bytes) -> api.RowReply:
        row = api.json_object(line)
        custom_id = str(row.get("custom_id"))
        result = row.get("result")
        if not isinstance(result, dict):
            result = {"error": {"type": "api_error", "message": api.NO_RESULT}}
        kind = _KINDS.get(str(result.get("type")), "errored")
        if kind != "errored":
            return api.RowReply(custom_id, kind, None, result.get("message"), None)
        wrapped = result.get("error")
        status = 500
        request_id = None
        if isinstance(wrapped, dict):
            request_id = wrapped.get("request_id")
            inner = wrapped.get("error") or wrapped
            if isinstance(inner, dict):
                status = _STATUS_OF.get(str(inner.get("type")), 500)
        return api.RowReply(custom_id, kind, status, wrapped, request_id)


def _made(batch: Fields, *, guessed: bool = False) -> api.Made:
    batch_id = api.checked_id(batch.get("id"))
    expires_at = api.epoch(batch.get("expires_at"))
    return api.Made(batch_id, expires_at, guessed)
