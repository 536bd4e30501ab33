"""Stores the files and batches of all Batch APIs; a `BatchApi` describes each API. No I/O."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from modelwire.aliases import JSON
from modelwire.errors import InvalidType
from modelwire.testing.server import (
    anthropic_batches,
    faults,
    gemini_batches,
    openai_batches,
    vertex_batches,
)
from modelwire.testing.server.batch_records import (
    DAY_S,
    Answered,
    BatchCall,
    BatchPlan,
    Row,
    SeenBatch,
    is_good,
)
from modelwire.testing.server.replies import End, Reply, Response, json_reply
from modelwire.testing.server.requests import SeenRequest

__all__ = ["BatchDesk", "BatchPlan", "SeenBatch"]

_APIS = (gemini_batches.API, vertex_batches.API, anthropic_batches.API, openai_batches.API)
APIS = {api.name: api for api in _APIS}
# A function of (wire, body, number) of a row that returns (status, body) of its answer.
AnswerRow = Callable[[str, JSON, int], tuple[int, Any]]
# The names of the details of a row's usage, in Responses and in Chat Completions.
_DETAILS = (
    "input_tokens_details",
    "output_tokens_details",
    "prompt_tokens_details",
    "completion_tokens_details",
)
# The names of the counts of tokens in a row's usage, in Responses and in Chat Completions.
_TOKEN_COUNTS = (("input_tokens", "prompt_tokens"), ("output_tokens", "completion_tokens"))


class BatchDesk:
    """Stores files and batches. `made` has all batches, oldest first."""

    def __init__(
        self,
        answer_row: AnswerRow,
        now_s: Callable[[], float],
        plans: BatchPlan | Sequence[BatchPlan],
    ) -> None:
        self.made: list[SeenBatch] = []
        self.files: dict[str, tuple[JSON, bytes]] = {}
        self.set_plans(plans)
        self._answer_row = answer_row
        self._now_s = now_s
        # The downloads of the files with these ids have been truncated once.
        self._cut: set[str] = set()
        self._rows_answered = 0
        self._files_made = 0
        # The names of Gemini's uploads in progress, by their ids.
        self.uploads: dict[str, str] = {}

    def set_plans(self, plans: BatchPlan | Sequence[BatchPlan]) -> None:
        """Set one plan for all later batches, or a list for the next ones."""
        later = BatchPlan()
        next_ones = list[BatchPlan]()
        if isinstance(plans, BatchPlan):
            later = plans
        else:
            next_ones = list(plans)
        if not all(isinstance(plan, BatchPlan) for plan in next_ones):
            raise InvalidType(
                f"`batches` must be a `BatchPlan`, or a list of them, not {plans!r:.100}."
            )
        # `plans` are for the next batches, one for each; `plan` is for every batch after them.
        self.plan = later
        self.plans = next_ones

    def handle(self, request: SeenRequest, base_url: str) -> Response | None:
        """Return the answer to a request about files and batches; None for any other request."""
        for api in _APIS:
            found = api.path.search(request.path)
            if found is None:
                continue
            call = BatchCall(self, api, request, base_url, found.groupdict(default=""))
            reply = call.answer()
            if reply is not None:
                return reply
        return None

    def found(self, id_: str) -> SeenBatch:
        """Return the batch with this id."""
        return next(batch for batch in self.made if batch.id == id_)

    def add_file(self, name: str, purpose: str, content: bytes) -> JSON:
        """Store a file, and return its record in OpenAI's format."""
        now = int(time.time())
        self._files_made += 1
        record: JSON = {
            "id": f"file-{self._files_made}",
            "object": "file",
            "bytes": len(content),
            "filename": name,
            "purpose": purpose,
            "status": "processed",
            "created_at": now,
            "expires_at": now + 30 * DAY_S,
        }
        self.files[record["id"]] = record, content
        return record

    def begin_upload(self, name: str) -> str:
        """Return the id of a new upload, whose content follows in another request."""
        upload_id = f"upload-{len(self.uploads) + self._files_made + 1}"
        self.uploads[upload_id] = name
        return upload_id

    def download(
        self, request: SeenRequest, id_: str, content: bytes, batch: SeenBatch | None, kind: str
    ) -> Response:
        """Return a file, or the requested range of it; truncate it once if the plan of its batch demands it."""
        reply = Reply(200, {"content-type": kind, "accept-ranges": "bytes"}, [content])
        requested_range = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
        if requested_range:
            first = int(requested_range[1])
            last = len(content) - 1
            if requested_range[2]:
                last = min(last, int(requested_range[2]))
            if first > last:
                return Reply(416, {"content-range": f"bytes */{len(content)}"}, [b""])
            reply.status = 206
            reply.parts = [content[first : last + 1]]
            reply.headers["content-range"] = f"bytes {first}-{last}/{len(content)}"
        limit = None
        if batch is not None:
            limit = batch.plan.cut_results
        if limit is not None and id_ not in self._cut:
            self._cut.add(id_)
            return faults.cut(after_bytes=limit).play(reply, "openai", request.number)
        return reply

    def make(self, wire: str, rows: list[Row], fields: JSON) -> SeenBatch:
        """Create a batch with the next plan."""
        if self.plans:
            plan = self.plans.pop(0)
        else:
            plan = self.plan
        batch = SeenBatch(
            f"{APIS[wire].prefix}_{len(self.made) + 1}",
            wire,
            rows,
            plan,
            self._now_s(),
            int(time.time()),
            fields,
        )
        self.made.append(batch)
        return batch

    def creation_reply(self, batch: SeenBatch, base_url: str) -> Response:
        """Return the answer to the creation of a batch; reset the connection if its plan has `lose_create`."""
        if batch.plan.lose_create:
            return iter((End.RESET,))
        return json_reply(200, APIS[batch.wire].record(batch, 0.0, base_url))

    def of_wire(self, wire: str) -> list[SeenBatch]:
        """Return the batches of an API, oldest first."""
        return [batch for batch in self.made if batch.wire == wire]

    def ids_of(self, wire: str) -> list[str]:
        """Return the ids of the batches of an API."""
        return [batch.id for batch in self.of_wire(wire)]

    def cancel(self, batch: SeenBatch) -> None:
        """Cancel a batch that has not ended."""
        if batch.ended_at is None and batch.cancelled_at_share is None:
            elapsed = batch.share(self._now_s())
            batch.cancelled_at_share = min(elapsed, batch.plan.done)
            # The batch ends at the next poll.
            batch.polls = max(batch.polls, batch.plan.polls - 1)

    def record(self, batch: SeenBatch, base_url: str) -> JSON:
        """Return the current state of a batch in the format of its API. A batch whose time is over ends here."""
        share = batch.share(self._now_s())
        if share >= 1:
            self.end(batch)
        return APIS[batch.wire].record(batch, share, base_url)

    def end(self, batch: SeenBatch) -> None:
        """Answer the rows and write the results, once. The order is reversed, because providers promise no order."""
        if batch.ended_at is not None:
            return
        batch.ended_at = int(time.time())
        api = APIS[batch.wire]
        if batch.outcome in ("failed", "token_limit_exceeded") and api.refuses_whole:
            return
        results = list(self._answered(batch))
        # A row may be answered twice.
        good = {custom_id for custom_id, status, _ in results if is_good(status)}
        results += [(f"foreign-{index}", 200, {}) for index in range(batch.plan.foreign)]
        api.write(self, batch, results, len(good))

    def _answered(self, batch: SeenBatch) -> Iterator[Answered]:
        share = batch.cancelled_at_share
        if share is None:
            share = 1.0
            if batch.outcome != "completed":
                share = batch.plan.done
        done = int(len(batch.rows) * share)
        for index in reversed(range(len(batch.rows))):
            custom_id, wire, body = batch.rows[index]
            oddity = batch.plan.rows.get(index)
            if oddity == "missing":
                continue
            if oddity == "null":
                yield custom_id, None, "server_error"
            elif oddity == "expired":
                yield custom_id, None, "expired"
            elif index >= done:
                yield custom_id, None, batch.outcome
            else:
                answered = (custom_id, *self._answer(batch, wire, body))
                yield answered
                if oddity == "duplicate":
                    yield answered

    def _answer(self, batch: SeenBatch, wire: str, body: JSON) -> tuple[int, Any]:
        """Return the status and body for one row, and add its tokens to those of the batch."""
        self._rows_answered += 1
        if "model" in batch.fields:
            body = {"model": batch.fields["model"], **body}
        status, answer = self._answer_row(wire, body, self._rows_answered)
        usage: dict[str, Any] = {}
        if isinstance(answer, dict):
            usage = answer.get("usage") or {}
        for name, chat_name in _TOKEN_COUNTS:
            tokens = usage.get(name, usage.get(chat_name, 0))
            batch.usage[name] += tokens
            batch.usage["total_tokens"] += tokens
        details: dict[str, int] = {}
        for name in _DETAILS:
            details |= usage.get(name) or {}
        batch.cached_tokens += details.get("cached_tokens", 0)
        batch.reasoning_tokens += details.get("reasoning_tokens", 0)
        return status, answer
