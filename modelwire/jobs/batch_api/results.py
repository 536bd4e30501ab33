"""The results of a batch job: exactly one for each input, even if the provider omits rows or sends them twice.

The store has the provider's results as they were sent. This module reads them by an index, which
takes 24 bytes of memory for a row.
"""

from __future__ import annotations

import logging
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from pydantic_core import from_json

from modelwire import ext
from modelwire.aliases import Fields
from modelwire.errors import (
    BadRequest,
    InvalidArgument,
    MalformedResponse,
    ModelwireError,
    did_you_mean,
)
from modelwire.jobs.batch_api.api import RowReply
from modelwire.jobs.batch_api.client import answer_of
from modelwire.jobs.store import LIVE, REPLIES, REQUESTS, JobStore
from modelwire.messages import messages_from_dict
from modelwire.usage import known_price

if TYPE_CHECKING:
    from pathlib import Path

    from modelwire.adapters.wires.wire import Codec
    from modelwire.jobs.batch_api.api import BatchApi
    from modelwire.jobs.batch_api.part_log import PartEvents
    from modelwire.messages import AIMessage

_log = logging.getLogger(__name__)

RETRYABLE = "errored_retryable"
# With this status, `resubmit` takes answers for which a step after the model raises, such as those
# that do not fit a schema.
UNUSABLE = "unusable"


class BatchStatus(NamedTuple):
    """The state of a job. Numbers are rows; `batches` are the provider's ids, one for each part."""

    state: str  # It is "planned", "processing", "cancelling" or "done".
    rows: int
    submitted: int  # Rows in a batch that was created, each counted in its latest round.
    done: int  # Rows with a result.
    processing: int  # Rows in a batch that has not finished them.
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
        if self.status in ("expired", "missing"):
            return True
        return bool(getattr(self.error, "retryable", False))


class Index:
    """An index of each row's entries in the store: its latest request, and its result."""

    def __init__(self, folder: Path, events: PartEvents, api: BatchApi) -> None:
        self.events = events
        self.api = api
        self.store = JobStore(folder, read_only=True)
        # The number of the latest part with the row; -1 if no part has it.
        self._parts = array("i", [-1]) * events.rows
        # The place of the row in that part, from 1.
        self._lines = array("I", [0]) * events.rows
        # The ids of the row's entries in the tables `replies` and `live`; 0 if there is none.
        self._replies = array("Q", [0]) * events.rows
        self._live = array("Q", [0]) * events.rows
        try:
            self._read()
        except BaseException:  # Nothing else can close the store.
            self.store.close()
            raise

    def _read(self) -> None:
        numbers = self.store.numbers(REQUESTS)
        for part in self.events.parts:
            for line, (_, row) in enumerate(islice(numbers, part.rows), 1):
                self._parts[row] = part.number
                self._lines[row] = line
        damaged = 0
        for entry in self.store.entries(REPLIES):
            if entry.is_damaged:
                damaged += 1
                continue
            row = entry.number or 0
            part_number = int(entry.kind)
            is_latest = self._parts[row] == part_number
            is_final = self.events.parts[part_number].is_final
            # If a row has two results, the first is used.
            if is_latest and is_final and not self._replies[row]:
                self._replies[row] = entry.id or 0
        for entry in self.store.entries(LIVE):
            if not entry.is_damaged:
                self._live[entry.number or 0] = entry.id or 0
        if damaged:
            text = (
                "`%s` is damaged: %d results of batches cannot be read, and their rows are missing."
            )
            _log.warning(text, self.store.path, damaged)

    def close(self) -> None:
        """Close the store."""
        self.store.close()

    def part_of(self, number: int) -> int:
        """Return the number of the latest part with a row; -1 if there is none, or if a direct call has answered."""
        if self.is_answered_live(number):
            return -1
        return self._parts[number]

    def is_answered_live(self, number: int) -> bool:
        """Return whether a row has an answer that did not come through a batch."""
        return self._live[number] > 0

    def by_arrival(self) -> Iterator[int]:
        """Yield the numbers of all rows: first those with direct answers, then those with results, then the others.

        Rows with an answer come in the order in which their answers have arrived.
        """
        yield from sorted(range(len(self._parts)), key=self._arrival)

    def _arrival(self, number: int) -> tuple[int, int]:
        live = self._live[number]
        if live:
            return 0, live
        reply = self._replies[number]
        if reply:
            return 1, reply
        return 2, 0

    def fill(self, result: BatchResult, codec: Codec, on_refusal: str) -> BatchResult:
        """Set the status of a row's result, and its message and cost or its error; return the result."""
        if result.same is None:
            self._fill(result, codec, on_refusal, result.index)
            return result
        self._fill(result, codec, on_refusal, result.same)
        if result.cost is not None:
            result.cost = Decimal(0)
        return result

    def _fill(self, result: BatchResult, codec: Codec, on_refusal: str, number: int) -> None:
        """Set the fields of a result to those of the row `number`."""
        if self.is_answered_live(number):
            stored = from_json(self.store.read(LIVE, self._live[number]))
            _answered_directly(result, stored)
            return
        if self._parts[number] < 0:
            result.status = "missing"
            if result.error is not None:
                result.status = "invalid"
            return
        part = self.events.parts[self._parts[number]]
        result.round = part.round
        if self._replies[number]:
            line = self.store.read(REPLIES, self._replies[number])
            _answered(result, self.api.read(line), codec, on_refusal)
            return
        line_number = str(self._lines[number])
        reason = part.invalid.get(line_number) or part.invalid.get("all")
        if reason is not None and part.is_final:
            result.status = "errored"
            result.error = BadRequest(
                reason, provider=codec.provider, code="batch_validation_failed"
            )
        elif part.stage == "downloaded" and part.outcome in ("cancelled", "expired"):
            reply = RowReply("", part.outcome, None, None, None)
            _answered(result, reply, codec, on_refusal)
        elif part.is_final:
            result.status = "missing"
            result.error = MalformedResponse(
                "The provider's results have no line for this row.",
                provider=codec.provider,
                code="batch_missing",
            )
        else:
            result.status = "pending"


def _answered_directly(result: BatchResult, stored: Fields) -> None:
    message = cast("AIMessage", messages_from_dict([stored["message"]])[0])
    result.status = "succeeded"
    result.message = message
    result.told = stored.get("told", False)
    result.cost = known_price(message)


def _answered(result: BatchResult, reply: RowReply, codec: Codec, on_refusal: str) -> None:
    result.custom_id = reply.custom_id
    result.request_id = reply.request_id
    result.status = reply.kind
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
    """Return whether a result has one of the wanted statuses; `errored_retryable` matches transient errors."""
    if result.status in wanted:
        return True
    return RETRYABLE in wanted and result.status == "errored" and result.retryable


_STATUSES = (
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
    if isinstance(status, str):
        statuses = (status,)
    else:
        statuses = tuple(status)
    for one in statuses:
        if one not in _STATUSES:
            raise InvalidArgument(
                f"There is no status `{one}`. {did_you_mean(str(one), list(_STATUSES))}"
            )
    return statuses
