"""Makes the results of a batch job's rows from the provider's answers, by the steps of the chain after the model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

from modelwire.aliases import JSON
from modelwire.errors import InvalidArgument, JobError
from modelwire.jobs.batch_api.embeddings import output_of
from modelwire.jobs.batch_api.plan import input_of, stored_row
from modelwire.jobs.batch_api.replay_callbacks import report
from modelwire.jobs.batch_api.results import BatchResult, Index, matches

if TYPE_CHECKING:
    from pathlib import Path

    from modelwire.jobs.batch_api.batch_folder import BatchFolder
    from modelwire.jobs.batch_api.part_log import PartEvents
    from modelwire.jobs.folder import JobFolder


class FinishedRows:
    """Reads the results of the job in a folder. Steps after the model run in this process."""

    def __init__(self, place: BatchFolder) -> None:
        self.place = place
        self._name = ""  # The job's id, once it has been read.

    def finished(self, *, by_arrival: bool) -> Iterator[tuple[BatchResult, JSON]]:
        """Yield the result of each row, after the steps after the model, and the record of the row's input."""
        for result, record in self.recorded(by_arrival=by_arrival):
            self.finish(result, record)
            yield result, record

    def recorded(self, *, by_arrival: bool) -> Iterator[tuple[BatchResult, JSON]]:
        """Yield the result of each row, before the steps after the model, and the record of the row's input."""
        folder, events = self.place.read()
        check_planned(folder.path, events)
        with closing(self._index(folder, events)) as index:
            numbers: Iterable[int] = range(events.rows)
            if by_arrival:
                numbers = index.by_arrival()
            yield from self._filled(folder, events, index, numbers)

    def unanswered(
        self,
        folder: JobFolder,
        events: PartEvents,
        statuses: tuple[str, ...],
    ) -> Iterator[tuple[int, Any]]:
        """Yield the number and the input of each row without an answer whose result has one of the statuses."""
        with closing(self._index(folder, events)) as index:
            for result, record in self._filled(folder, events, index, range(events.rows)):
                is_open = result.status != "succeeded" and result.same is None
                if is_open and matches(result, statuses):
                    yield result.index, input_of(record)

    def _index(self, folder: JobFolder, events: PartEvents) -> Index:
        return Index(folder.path, events, self.place.api(folder))

    def _filled(
        self,
        folder: JobFolder,
        events: PartEvents,
        index: Index,
        numbers: Iterable[int],
    ) -> Iterator[tuple[BatchResult, JSON]]:
        codec = self.place.codec(folder, events)
        on_refusal = self.place.on_refusal
        for number in numbers:
            record = stored_row(index.store, number)
            yield index.fill(_blank(number, record), codec, on_refusal), record

    def finish(self, result: BatchResult, record: JSON) -> None:
        """Report the answer to the callback handlers, and run the steps after the model."""
        split = self.place.split
        if split is not None:
            self._name = self._name or self.place.read()[0].id
            report(split, result, input_of(record), self._name)
        if result.status == "errored":
            return
        if split is None:
            result.output = output_of(result.message)
            return
        result.output = result.message
        if result.message is None or split.after is None:
            return
        try:
            result.output = split.after.invoke(result.message, split.config)
        except Exception as exc:  # noqa: BLE001 - a step of the user's: the result says what it raised
            result.output = None
            result.error = exc

    def is_unusable(self, result: BatchResult) -> bool:
        """Return whether a step after the model raises for an answer."""
        split = self.place.split
        is_answer = result.message is not None and result.status != "errored"
        if not is_answer or split is None or split.after is None:
            return False
        try:
            split.after.invoke(result.message, split.config)
        except Exception:  # noqa: BLE001 - a step of the user's may raise anything
            return True
        return False


def check_planned(path: Path, events: PartEvents) -> None:
    """Raise `JobError` for a job that was interrupted before all its rows were planned."""
    if not events.planned:
        raise JobError(
            f"`{path}` was interrupted before it was submitted: submit it again, with this `dir`."
        )


def _blank(number: int, record: JSON) -> BatchResult:
    """Return the result of a row before the results of batches are read, from the record of its input."""
    result = BatchResult(
        index=number, key=record.get("key", number), status="pending", same=record.get("same")
    )
    if "error" in record:
        result.error = InvalidArgument(record["error"])
    return result
