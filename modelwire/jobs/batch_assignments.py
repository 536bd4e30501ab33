"""Records which rows of a job with a deadline are in which batch, in the table `ways` of the job's store.

An entry of the table has one of three kinds:

- "row": a row belongs to a batch
- "handed in": all rows of a batch are recorded, and the batch is being submitted
- "back": a batch has ended, and its answers are stored

Each batch is a `BatchJob` in the folder `batches/NNN` below the job's folder.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from shutil import rmtree
from typing import TYPE_CHECKING

from pydantic_core import from_json

from modelwire.aliases import JSON
from modelwire.errors import ChatError, DiskError, JobChanged
from modelwire.jobs.batch_api.batch_table import record_of
from modelwire.jobs.batch_api.job import BatchJob, give_up_refused
from modelwire.jobs.batch_api.part_log import PartEvents
from modelwire.jobs.plan import BatchState
from modelwire.jobs.row_records import Digests, Record, exact_json, with_row
from modelwire.jobs.store import WAYS, Entry, JobStore

if TYPE_CHECKING:
    from pathlib import Path

    from modelwire.jobs.batch_api.chain import Split
    from modelwire.jobs.batch_api.results import BatchResult
    from modelwire.jobs.input_rows import Question

# A row has one of these states, or 0 if it was in no batch. A batch has returned a row if it ended
# without an answer to the row, which is called directly then.
IN_BATCH, RETURNED = 1, 2
# The entries of the table `ways` have these kinds.
_SUBMITTED_KIND = "handed in"
_RETURNED_KIND = "back"
_ROW_KIND = "row"

# A row's number, its record (None if the batch has not answered it), and its deduplication key
# (None without deduplication).
BatchAnswer = tuple[int, Record | None, bytes | None]


@dataclass(eq=False)
class OpenBatch:
    """A submitted batch whose answers are not in the job's store yet.

    `at` is the time of its submission in epoch seconds. `first` is the id of its first row's entry
    in the table `ways`; those of its other rows follow.
    """

    number: int
    rows: int
    at: float
    first: int
    job: BatchJob
    done: int = 0
    reserved: Decimal = Decimal(0)
    is_cancelling: bool = False
    # The text of the provider's error, if the provider refuses to create the batch.
    refusal: str = ""

    def state(self) -> BatchState:
        """Return the state of the batch for the plan of the job."""
        age_s = time.time() - self.at
        done = min(self.done, self.rows)
        return BatchState(self.number, self.rows, done, age_s, self.is_cancelling)

    def poll(self) -> bool:
        """Advance the batch without waiting; return whether it has ended.

        If the provider refuses to create the batch, set `refusal` instead of raising its error.
        """
        self.job.on_progress = self._note_progress
        try:
            return self.job.poll()
        except ChatError as exc:
            # The key may not use the Batch API, or a gateway has none: the rows are called
            # directly.
            if exc.retryable or not give_up_refused(self.job.place):
                raise
            self.refusal = str(exc)
            return False

    def _note_progress(self, progress: JSON) -> None:
        self.done = progress["done"]


class Assignments:
    """Keeps track of the open batches, and of the rows that are in them.

    Its methods return entries for the store, which the caller writes.
    """

    def __init__(self, folder: Path, store: JobStore, split: Split | None) -> None:
        self._folder = folder
        self._store = store
        self._split = split
        self.open_batches: dict[int, OpenBatch] = {}
        # How long each finished batch has taken, in seconds.
        self.seconds: list[float] = []
        # How many batches were ever submitted.
        self.made = 0
        # The state of each row: `IN_BATCH`, `RETURNED` or 0.
        self._states = bytearray()
        # This maps the deduplication keys of submitted rows to the rows.
        self._questions = Digests()
        self._restore()

    def state_of(self, number: int) -> int:
        """Return `IN_BATCH`, `RETURNED`, or 0 for a row that was in no batch."""
        if number < len(self._states):
            return self._states[number]
        return 0

    def has(self, number: int) -> bool:
        """Return whether a row is in an open batch."""
        return self.state_of(number) == IN_BATCH

    def has_equal(self, digest: bytes | None) -> bool:
        """Return whether a row with the deduplication key `digest` is in an open batch."""
        if digest is None:
            return False
        first = self._questions.find(digest)
        return first is not None and self.has(first)

    def assign(self, number: int, digest: bytes | None) -> None:
        """Record in memory that a row, with the deduplication key `digest`, is in a batch."""
        missing = number + 1 - len(self._states)
        self._states += bytes(max(0, missing))
        self._states[number] = IN_BATCH
        if digest is not None:
            self._questions.add(digest, number)

    def release(self, batch: OpenBatch, numbers: Sequence[int], unanswered: Sequence[int]) -> None:
        """Record in memory that a batch has ended. `numbers` are all of its rows, `unanswered` those without an answer.

        The unanswered rows get the state `RETURNED`.
        """
        del self.open_batches[batch.number]
        for number in numbers:
            self._states[number] = 0
        for number in unanswered:
            self._states[number] = RETURNED

    def new_batch(
        self,
        rows: Sequence[tuple[Question, bytes | None]],
    ) -> tuple[OpenBatch, list[Entry]]:
        """Return a new batch, and the store entries that record it. Each row comes with its deduplication key."""
        self.made += 1
        first = self._store.next_id(WAYS)
        batch = self._open(self.made, len(rows), time.time(), first)
        entries = []
        for id, (question, digest) in enumerate(rows, batch.first):
            row = question.row
            facts: JSON = {
                "batch": batch.number,
                "n": row.number,
                "line": row.line,
                "check": question.check.hex(),
                "ask": None,
            }
            if digest is not None:
                facts["ask"] = digest.hex()
            record = with_row(question.row_json, facts)
            entry = Entry.of(_ROW_KIND, record, row.number, id)
            entries.append(entry)
        facts = {
            "batch": batch.number,
            "rows": batch.rows,
            "first": batch.first,
            "at": batch.at,
        }
        submitted = Entry.of(_SUBMITTED_KIND, exact_json(facts), batch.number)
        return batch, [*entries, submitted]

    def returned_entry(self, batch: OpenBatch, seconds: float, left: int) -> Entry:
        """Return the store entry of a batch that has ended after `seconds`, with `left` rows unanswered."""
        record = exact_json({"batch": batch.number, "seconds": seconds, "left": left})
        return Entry.of(_RETURNED_KIND, record, batch.number)

    def answers(self, batch: OpenBatch) -> Iterator[BatchAnswer]:
        """Yield for each row of an ended batch: number, record (None without an answer), deduplication key."""
        with closing(JobStore(self._folder, read_only=True)) as store:
            answered = batch.job.rows.recorded(by_arrival=False)
            for id, (result, record) in enumerate(answered, batch.first):
                row = from_json(store.read(WAYS, id))
                number = row["n"]
                digest = _digest_of_row(row)
                if not _is_final(result):
                    yield number, None, digest
                    continue
                batch.job.rows.finish(result, record)
                about = {**record_of(result, record).about, "way": "batch"}
                if "error" not in about and digest is not None:
                    about["ask"] = row["ask"]
                check = bytes.fromhex(row["check"])
                row_json = exact_json(row["row"])
                answered_row = Record(number, row["line"], row_json, check, about)
                yield number, answered_row, digest

    def _restore(self) -> None:
        """Restore the open batches from the store. Remove a batch whose submission a crash has prevented."""
        for entry in self._store.entries(WAYS):
            if entry.is_damaged:
                path = str(self._store.path)
                raise DiskError(
                    f"The table `{WAYS}` of `{path}` is damaged: put a copy back.", path=path
                )
            if entry.kind == _ROW_KIND:
                continue
            facts = from_json(entry.record)
            if entry.kind == _RETURNED_KIND:
                del self.open_batches[facts["batch"]]
                if not facts["left"]:
                    self.seconds.append(facts["seconds"])
            else:
                self.made = facts["batch"]
                self._open(self.made, facts["rows"], facts["at"], facts["first"])
        for batch in list(self.open_batches.values()):
            self._restore_batch(batch)

    def _open(self, number: int, rows: int, at: float, first: int) -> OpenBatch:
        path = self._folder / "batches" / f"{number:03}"
        job = BatchJob(path, self._split)
        batch = OpenBatch(number, rows, at, first, job)
        self.open_batches[number] = batch
        return batch

    def _restore_batch(self, batch: OpenBatch) -> None:
        path = batch.job.path
        events = PartEvents(path)
        if path.is_dir():
            events.read()
        if not events.planned:
            rmtree(path, ignore_errors=True)
            entry = self.returned_entry(batch, 0.0, batch.rows)
            self._store.append(WAYS, [entry])
            self.release(batch, (), ())
            return
        if self._split is None:
            raise JobChanged(
                f"`{path}` is a batch that this chain cannot take back: run the job as it began."
            )
        batch.is_cancelling = events.cancelled
        for row in self.rows(batch):
            self.assign(row["n"], _digest_of_row(row))

    def rows(self, batch: OpenBatch) -> Iterator[JSON]:
        """Yield what the store records of each row of a batch: `row` (its values), `n`, `line`, `check`, `ask`."""
        for id in range(batch.first, batch.first + batch.rows):
            yield from_json(self._store.read(WAYS, id))


def _digest_of_row(row: JSON) -> bytes | None:
    """Return the deduplication key in the record of a row; None without deduplication."""
    if row["ask"]:
        return bytes.fromhex(row["ask"])
    return None


def _is_final(result: BatchResult) -> bool:
    """Return whether the result of a row is stored. After other results, the row is called directly.

    An error of the whole batch, or a transient error, is not final.
    """
    if result.status != "errored":
        return result.status == "succeeded"
    is_of_batch = getattr(result.error, "code", None) == "batch_validation_failed"
    return not is_of_batch and not result.retryable
