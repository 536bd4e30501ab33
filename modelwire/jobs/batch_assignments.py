"""Records which rows of a job with a deadline are in which batch: the table `ways` of its store.

An entry of the kind "row" records that a row is in a batch, "handed in", after all rows of a batch,
that the batch is complete and is submitted, "back" that it has ended and its answers are stored.
Each batch is a `BatchJob` in `batches/NNN` of the folder.
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
from modelwire.jobs.row_records import Digests, Record, exact_json
from modelwire.jobs.store import WAYS, Entry, JobStore

if TYPE_CHECKING:
    from pathlib import Path

    from modelwire.jobs.batch_api.chain import Split
    from modelwire.jobs.batch_api.results import BatchResult
    from modelwire.jobs.input_rows import Question

# These are states of a row. A returned row came back without an answer and is called directly.
IN_BATCH, RETURNED = 1, 2
# These are the kinds of entries in the store.
_SUBMITTED_KIND = "handed in"
_RETURNED_KIND = "back"
_ROW_KIND = "row"

# This is a row's number, its record (None without an answer), and its deduplication key (None
# without deduplication).
BatchAnswer = tuple[int, Record | None, bytes | None]


@dataclass(eq=False)
class OpenBatch:
    """A batch at the provider.

    `at` is its submission in epoch seconds, `first` the id of the entry of its first row.
    """

    number: int
    rows: int
    at: float
    first: int
    job: BatchJob
    done: int = 0
    reserved: Decimal = Decimal(0)
    is_cancelling: bool = False
    # This is the provider's error, if it refuses to create the batch.
    refusal: str = ""

    def state(self) -> BatchState:
        return BatchState(
            self.number,
            self.rows,
            min(self.done, self.rows),
            time.time() - self.at,
            self.is_cancelling,
        )

    def poll(self) -> bool:
        """Advance the batch as far as possible now; return whether it has ended."""
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
    """The open batches, and the state of each row.

    It builds store entries; the caller writes them.
    """

    def __init__(self, folder: Path, store: JobStore, split: Split | None) -> None:
        self._folder = folder
        self._store = store
        self._split = split
        self.open_batches: dict[int, OpenBatch] = {}
        # These are the durations of finished batches.
        self.seconds: list[float] = []
        # This is the number of batches ever submitted.
        self.made = 0
        # Each row has `IN_BATCH`, `RETURNED` or 0.
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
        """Return whether a row is in a batch."""
        return self.state_of(number) == IN_BATCH

    def has_equal(self, digest: bytes | None) -> bool:
        """Return whether a row with an equal request is in a batch."""
        first = None
        if digest is not None:
            first = self._questions.find(digest)
        return first is not None and self.has(first)

    def assign(self, number: int, digest: bytes | None) -> None:
        """Record in memory that a row is in a batch."""
        self._states += bytes(max(0, number + 1 - len(self._states)))
        self._states[number] = IN_BATCH
        if digest is not None:
            self._questions.add(digest, number)

    def release(self, batch: OpenBatch, numbers: Sequence[int], unanswered: Sequence[int]) -> None:
        """Record in memory that a batch has returned, with the numbers of its rows and of those without an answer."""
        del self.open_batches[batch.number]
        for number in numbers:
            self._states[number] = 0
        for number in unanswered:
            self._states[number] = RETURNED

    def new_batch(
        self, rows: Sequence[tuple[Question, bytes | None]]
    ) -> tuple[OpenBatch, list[Entry]]:
        """Return a new batch of rows, each given with its deduplication key, and the store entries for it."""
        self.made += 1
        batch = self._open(self.made, len(rows), time.time(), self._store.next_id(WAYS))
        entries = []
        for place, (question, digest) in enumerate(rows):
            row = question.row
            facts = {
                "batch": batch.number,
                "n": row.number,
                "line": row.line,
                "check": question.check.hex(),
            }
            ask = None
            if digest is not None:
                ask = digest.hex()
            facts["ask"] = ask
            record = b'{"row":%b,%b' % (question.row_json, exact_json(facts)[1:])
            entries.append(Entry.of(_ROW_KIND, record, row.number, batch.first + place))
        facts = {"batch": batch.number, "rows": batch.rows, "first": batch.first, "at": batch.at}
        return batch, [*entries, Entry.of(_SUBMITTED_KIND, exact_json(facts), batch.number)]

    def returned_entry(self, batch: OpenBatch, seconds: float, left: int) -> Entry:
        """Return the entry of a returned batch with `left` rows without an answer."""
        record = exact_json({"batch": batch.number, "seconds": seconds, "left": left})
        return Entry.of(_RETURNED_KIND, record, batch.number)

    def answers(self, batch: OpenBatch) -> Iterator[BatchAnswer]:
        """Yield the number of each row, its record (None without an answer), and its deduplication key."""
        with closing(JobStore(self._folder, read_only=True)) as store:
            for place, (result, record) in enumerate(batch.job.rows.recorded(by_arrival=False)):
                row = from_json(store.read(WAYS, batch.first + place))
                number = row["n"]
                digest = None
                if row["ask"]:
                    digest = bytes.fromhex(row["ask"])
                if not _is_final(result):
                    yield number, None, digest
                    continue
                batch.job.rows.finish(result, record)
                about = {**record_of(result, record).about, "way": "batch"}
                if "error" not in about and digest is not None:
                    about["ask"] = row["ask"]
                check = bytes.fromhex(row["check"])
                row_json = exact_json(row["row"])
                yield number, Record(number, row["line"], row_json, check, about), digest

    def _restore(self) -> None:
        """Restore the open batches. A batch that was not submitted before a crash is removed."""
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
        job = BatchJob(self._folder / "batches" / f"{number:03}", self._split)
        self.open_batches[number] = OpenBatch(number, rows, at, first, job)
        return self.open_batches[number]

    def _restore_batch(self, batch: OpenBatch) -> None:
        path = batch.job.path
        if not path.is_dir() or not (events := PartEvents(path).read()).planned:
            rmtree(path, ignore_errors=True)
            self._store.append(WAYS, [self.returned_entry(batch, 0.0, batch.rows)])
            self.release(batch, (), ())
            return
        if self._split is None:
            raise JobChanged(
                f"`{path}` is a batch that this chain cannot take back: run the job as it began."
            )
        batch.is_cancelling = events.cancelled
        for row in self.rows(batch):
            digest = None
            if row["ask"]:
                digest = bytes.fromhex(row["ask"])
            self.assign(row["n"], digest)

    def rows(self, batch: OpenBatch) -> Iterator[JSON]:
        """Yield the submitted rows of a batch."""
        return (
            from_json(self._store.read(WAYS, batch.first + place)) for place in range(batch.rows)
        )


def _is_final(result: BatchResult) -> bool:
    """Return whether a row's result is final.

    An error of the whole batch, or a transient one, is not.
    """
    refused = result.retryable or getattr(result.error, "code", None) == "batch_validation_failed"
    return result.status == "succeeded" or (result.status == "errored" and not refused)
