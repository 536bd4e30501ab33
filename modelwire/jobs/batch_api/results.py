"""The results of a batch job: exactly one for each input, even if the provider omits rows or sends them twice.

Results are raw files in the job's folder. This module reads them, and keeps the place of each row's
result in 16 bytes.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple, cast

from pydantic_core import from_json

from modelwire import ext
from modelwire.errors import (
    BadRequest,
    DiskError,
    InvalidArgument,
    MalformedResponse,
    ModelwireError,
    did_you_mean,
)
from modelwire.jobs.batch_api.api import RowReply
from modelwire.jobs.batch_api.client import answer_of
from modelwire.jobs.batch_api.plan import number_of, stored
from modelwire.jobs.row_records import json_of
from modelwire.jobs.store import Entry, JobStore
from modelwire.messages import message_to_dict, messages_from_dict
from modelwire.usage import known_price

if TYPE_CHECKING:
    from modelwire.adapters.wires.wire import Codec
    from modelwire.jobs.batch_api.api import BatchApi
    from modelwire.jobs.batch_api.part_log import PartEvents
    from modelwire.messages import AIMessage

__all__ = ["BatchCost", "BatchResult", "BatchStatus", "Index", "LiveAnswers"]

LIVE_TABLE = "live"
# A place has this many bits for the offset, enough for a file of a terabyte.
OFFSET_BITS = 40
# At most this many files are open at a time; some systems allow a process no more than 256.
OPEN_FILES = 16
RETRYABLE = "errored_retryable"
# This status of `resubmit` is for answers for which a step after the model raises, such as those
# that do not fit a schema.
UNUSABLE = "unusable"


class BatchStatus(NamedTuple):
    """The state of a job. Numbers are rows; `batches` are the provider's ids, one for each part."""

    state: str  # It is "planned", "processing", "cancelling" or "done".
    rows: int
    submitted: int  # These rows are in a batch that was created, each counted in its latest round.
    done: int  # These rows have a result in the job's folder.
    processing: int
    parts: int
    batches: tuple[str, ...]


class BatchCost(NamedTuple):
    """The cost of a job in USD at the price of batches.

    `unpriced` answers, whose price is unknown, are not included.
    """

    usd: Decimal
    answers: int
    unpriced: int


@dataclass(slots=True, kw_only=True)
class BatchResult:
    """The result of one input. `cost` is USD, or None if it is unknown; `round` is 0 unless the row was in a batch.

    `same` is the index of an input with an equal request that was submitted instead: this row has
    the same result, at no cost. `status` is `succeeded`, `errored`, `expired`, `cancelled`,
    `missing` (the provider sent nothing), `invalid` (it was never sent) or `pending`. After
    `succeeded` there may still be an `error`, from a step after the model.
    """

    index: int
    key: Any
    status: str
    output: Any = None
    message: AIMessage | None = None
    error: BaseException | None = None
    cost: Decimal | None = None
    custom_id: str | None = None
    request_id: str | None = None
    round: int = 0
    same: int | None = None
    # True if a direct call answered the row, and its callbacks have reported it.
    told: bool = False

    @property
    def usage(self) -> Any:
        """The tokens of the answer, in the form of `AIMessage.usage_metadata`."""
        if self.message is None:
            return None
        return self.message.usage_metadata

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed at another time."""
        return self.status in ("expired", "missing") or bool(
            getattr(self.error, "retryable", False)
        )


class LiveAnswers:
    """Answers that did not come through a batch: those of the cache and of `finish_live`."""

    def __init__(self, folder: Path, table: str = LIVE_TABLE) -> None:
        self.folder, self.table = folder, table
        self._store: JobStore | None = None

    def _open(self) -> JobStore:
        self._store = self._store or JobStore(self.folder)
        return self._store

    def add(self, number: int, message: Any, **about: Any) -> None:
        """Store the answer of a row with further facts.

        The fact `told` marks an answer that callbacks have reported.
        """
        record = json_of({"n": number, **about, "message": message_to_dict(message)})
        self._open().append(self.table, [Entry.of("answered", record, number)])

    def clear(self) -> None:
        """Delete all stored answers."""
        self._open().clear(self.table)
        self.close()

    def close(self) -> None:
        """Close the store."""
        if self._store is not None:
            self._store.close()
            self._store = None

    def places(self) -> Iterator[tuple[int, int]]:
        """Yield the number of each row with an answer, and the id of its entry."""
        return ((entry.number or 0, entry.id or 0) for entry in self._entries())

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield the stored records with `n`, `message` and further facts.

        If two have the same `n`, the later one is valid.
        """
        return (from_json(entry.record) for entry in self._entries())

    def _entries(self) -> Iterator[Entry]:
        with closing(JobStore(self.folder, read_only=True)) as store:
            yield from (entry for entry in store.entries(self.table) if not entry.is_damaged)


class Index:
    """The place of each row's result. It reads all downloaded files."""

    def __init__(self, folder: Path, events: PartEvents, api: BatchApi, job: str) -> None:
        self.folder, self.events, self.api, self.job = folder, events, api, job
        rows = events.rows
        self._store = JobStore(folder, read_only=True)
        self.files: list[Path] = []
        self._parts = array("i", [-1]) * rows  # This is the latest part that has the row.
        self._checks = array("I", [0]) * rows
        # This is the row's line in the file of its part, from 1.
        self._lines = array("I", [0]) * rows
        # 0 is no result, a number below 1 << 40 the id of a direct answer, and any other a file
        # (from 1) and an offset.
        self._places = array("Q", [0]) * rows
        # These are the open files by number; the last one was used most recently.
        self._open: dict[int, IO[bytes]] = {}
        for part in events.parts:
            for line, (name, _) in enumerate(stored(folder / "parts", part, api), 1):
                number, check = number_of(name, job) or (0, 0)
                self._parts[number], self._checks[number], self._lines[number] = (
                    part.number,
                    check,
                    line,
                )
                self._places[number] = 0
            for result in part.results if part.stage in ("downloaded", "replaced") else ():
                self._take(part.number, folder / "results" / result)
        for number, id in LiveAnswers(folder).places():
            self._places[number] = id

    def _take(self, part: int, path: Path) -> None:
        self.files.append(path)
        base = len(self.files) << OFFSET_BITS
        offset = 0
        with _opened(path) as file:
            for line in file:
                at, offset = offset, offset + len(line)
                if not line.strip():
                    continue
                try:
                    found = number_of(self.api.read(line).custom_id, self.job)
                except ValueError:
                    continue
                number, check = (-1, 0) if found is None else found
                is_row = 0 <= number < len(self._parts) and self._parts[number] == part
                # A line with another checksum answers an older request. If a row has two lines, the
                # first is used.
                if is_row and self._checks[number] == check and not self._places[number]:
                    self._places[number] = base + at

    def close(self) -> None:
        """Close the files."""
        self._store.close()
        for file in self._open.values():
            file.close()
        self._open.clear()

    def part_of(self, number: int) -> int:
        """Return the number of the latest part with the row; -1 if there is none, or if a direct
        call answered the row.
        """
        if self.is_answered_live(number):
            return -1
        return self._parts[number]

    def is_answered_live(self, number: int) -> bool:
        """Return whether a row has an answer that did not come through a batch."""
        return 0 < self._places[number] < 1 << OFFSET_BITS

    def by_arrival(self) -> Iterator[int]:
        """Yield the numbers of all rows, those with a result first, in the order of the results."""
        yield from sorted(
            range(len(self._places)), key=lambda number: self._places[number] or 1 << 63
        )

    def line(self, number: int) -> bytes | None:
        """Return the stored line or record of a row, or None."""
        place = self._places[number]
        if not place:
            return None
        which, offset = divmod(place, 1 << OFFSET_BITS)
        if which == 0:
            return self._store.read(LIVE_TABLE, offset)
        file = self._file(which - 1)
        file.seek(offset)
        return bytes(file.readline())

    def _file(self, which: int) -> IO[bytes]:
        """Return an open file. If too many are open, the least recently used one is closed."""
        file = self._open.pop(which, None)
        if file is None:
            if len(self._open) >= OPEN_FILES:
                self._open.pop(next(iter(self._open))).close()
            file = _opened(self.files[which])
        self._open[which] = file
        return file

    def fill(self, result: BatchResult, codec: Codec, on_refusal: str) -> BatchResult:
        """Set the status of a row's result, and its message or its error."""
        number = result.index if result.same is None else result.same
        self._fill(result, codec, on_refusal, number)
        if result.same is not None and result.cost is not None:
            result.cost = Decimal(0)
        return result

    def _fill(self, result: BatchResult, codec: Codec, on_refusal: str, number: int) -> None:
        line = self.line(number)
        if line is not None and self.is_answered_live(number):
            live = from_json(line)
            message = cast("AIMessage", messages_from_dict([live["message"]])[0])
            result.status, result.message, result.told = (
                "succeeded",
                message,
                live.get("told", False),
            )
            result.cost = known_price(message)
            return
        if self._parts[number] < 0:
            result.status = "invalid" if result.error is not None else "missing"
            return
        part = self.events.parts[self._parts[number]]
        result.round = part.round
        if line is not None:
            _answered(result, self.api.read(line), codec, on_refusal)
            return
        reason = part.invalid.get(str(self._lines[number])) or part.invalid.get("all")
        if reason is not None and part.stage in ("downloaded", "replaced"):
            result.status = "errored"
            result.error = BadRequest(
                reason, provider=codec.provider, code="batch_validation_failed"
            )
        elif part.stage == "downloaded" and part.outcome in ("cancelled", "expired"):
            reply = RowReply("", part.outcome, None, None, None)
            _answered(result, reply, codec, on_refusal)
        elif part.stage in ("downloaded", "replaced"):
            result.status = "missing"
            result.error = MalformedResponse(
                "The provider's results have no line for this row.",
                provider=codec.provider,
                code="batch_missing",
            )
        else:
            result.status = "pending"


def _opened(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except OSError as exc:
        raise DiskError.of(exc, path) from exc


def _answered(result: BatchResult, reply: RowReply, codec: Codec, on_refusal: str) -> None:
    result.custom_id, result.request_id, result.status = (
        reply.custom_id,
        reply.request_id,
        reply.kind,
    )
    try:
        result.message = answer_of(codec, reply)
        result.cost = known_price(result.message, batch=True)
        result.message = ext.final_of_row(result.message, codec.provider, on_refusal)
    except ModelwireError as exc:
        result.error = exc
        if reply.kind == "succeeded":
            # The provider reports a success, but the answer is unreadable, refused or suspended.
            result.status = "errored"


def matches(result: BatchResult, wanted: tuple[str, ...]) -> bool:
    """Return whether a result has one of the statuses.

    `errored_retryable` matches transient errors.
    """
    return result.status in wanted or (
        RETRYABLE in wanted and result.status == "errored" and result.retryable
    )


STATUSES = (
    "errored",
    RETRYABLE,
    "expired",
    "cancelled",
    "missing",
    "invalid",
    "succeeded",
    "pending",
    UNUSABLE,
)


def checked_statuses(status: Any) -> tuple[str, ...]:
    """Return the statuses as a tuple. Raises `InvalidArgument` for an unknown one."""
    statuses = (status,) if isinstance(status, str) else tuple(status)
    for one in statuses:
        if one not in STATUSES:
            raise InvalidArgument(
                f"There is no status `{one}`. {did_you_mean(str(one), list(STATUSES))}"
            )
    return statuses
