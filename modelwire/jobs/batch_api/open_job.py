"""A batch job whose folder this process has locked, and the error for a batch that may or may not be the job's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelwire.aliases import JSON
from modelwire.errors import JobStopped
from modelwire.jobs.batch_api.part_requests import Limits, PartRequests, requests_of

if TYPE_CHECKING:
    from modelwire.jobs.batch_api.api import BatchApi, Look
    from modelwire.jobs.batch_api.client import BatchClient
    from modelwire.jobs.batch_api.part_log import Part, PartEvents
    from modelwire.jobs.folder import JobFolder


class BatchUncertain(JobStopped):
    """It is unknown which of `batch_ids`, if any, was made of `part`; the user must decide."""

    part = 0
    batch_ids: tuple[str, ...] = ()

    @classmethod
    def of(cls, part: Part, batch_ids: tuple[str, ...], why: str) -> BatchUncertain:
        """Return the error for a part: `why` its batch is uncertain, and the two methods by which the user decides."""
        error = cls(
            f"{why} `job.adopt({part.number}, batch_id)` takes one, `job.submit_again({part.number})` makes a new one."
        )
        error.part = part.number
        error.batch_ids = batch_ids
        return error


@dataclass
class OpenJob:
    """A batch job that can be advanced: its folder is locked, its events are open, the provider can be called."""

    folder: JobFolder
    events: PartEvents
    api: BatchApi
    batch_client: BatchClient
    now_s: Callable[[], float]
    # What becomes of an answer that the model has refused: an error ("raise") or a result ("message").
    on_refusal: str = "raise"

    @property
    def settings(self) -> JSON:
        """The settings with which the job was submitted."""
        about: JSON = self.folder.about["batch"]
        return about

    @property
    def parts_folder(self) -> Path:
        """The folder for the file of requests while it is sent."""
        return self.folder.path / "parts"

    @property
    def results_folder(self) -> Path:
        """The folder for the files of results until they are stored."""
        return self.folder.path / "results"

    def look(self, part: Part) -> Look:
        """Return the state of a part's batch. Raises: `NotFound` if the provider does not know the batch."""
        return self.api.look(self.batch_client, str(part.batch_id))

    def more_parts(self, *, round: int, again: bool = False) -> PartRequests:
        """Return a writer for the requests of new parts, to be used within one transaction of the store."""
        limits = Limits.of(self.api, self.settings["part_rows"], self.settings["part_bytes"])
        return PartRequests(
            self.events.store, self.api, limits, self.events.parts, round=round, again=again
        )

    def submit_anew(
        self,
        parts: Sequence[Part],
        wanted: Callable[[Part, int, int], bool],
        *,
        round: int,
        again: bool = False,
        **facts: Any,
    ) -> None:
        """Submit rows of some parts again in new parts.

        `wanted(part, line, row)` chooses the rows, by the line in the part's file (from 1) and the
        number of the row. `facts` are added to the event.
        """
        with self.events.store.transaction():
            more = self.more_parts(round=round, again=again)
            for part in parts:
                for line, (row, request) in enumerate(requests_of(self.events.store, part), 1):
                    if wanted(part, line, row):
                        more.add(row, request)
            self.events.write("planned", parts=more.close(), **facts)

    def unknown_to_provider(self, part: Part, what: str) -> JobStopped:
        """Return the error for a part when the provider does not know `what`: its batch or its results."""
        return JobStopped(
            f"The provider does not know {what} `{part.batch_id}`, part {part.number} of `{self.folder.path}`. It was "
            "deleted, or this key belongs to another account or workspace: then take the right key, and wait again. "
            f"`job.submit_again({part.number})` makes a new batch, which is paid again."
        )


class PartWork:
    """Base of the classes that work on the parts of an open job, whose fields they have as their own."""

    def __init__(self, job: OpenJob) -> None:
        self.job = job
        self.folder = job.folder
        self.events = job.events
        self.api = job.api
        self.batch_client = job.batch_client
        self.now_s = job.now_s
