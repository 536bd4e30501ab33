"""The state of a batch job's parts, recorded as events in the store, each of which is synced before the next step.

A part is the requests that one batch of the provider holds.

A part passes the stages `planned`, `intent`, `uploaded` (if files are uploaded), `created`,
`ended`, `downloaded`. It is `requeued` if the provider's queue was full, and `replaced` if its rows
are in other parts. It is `released` if its batch turns out to belong to something else, and
`reopened` (`created` again) if its results lack answers. A `noted` event adds facts and changes no
stage. The job is `done` when all parts are. `damaged` counts the events that cannot be read; each
may have been the creation of a batch.
"""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic_core import from_json, to_json

from modelwire.aliases import JSON
from modelwire.errors import DiskError
from modelwire.jobs.store import EVENTS, STORE_NAME, Entry, JobStore


@dataclass(slots=True)
class Part:
    """The requests that one batch of the provider holds, or will hold, and the state of that batch."""

    number: int
    rows: int
    size_bytes: int
    sha256: str  # The digest of the requests as they are sent.
    # The requests are the entries of the table `requests` from this id on, one a row.
    first: int = 1
    # 1, or more for rows that are submitted again after an error.
    round: int = 1
    # True if the rows were in a part that failed validation.
    again: bool = False
    stage: str = "planned"
    # The number of intents to create a batch.
    attempt: int = 0
    at: float = 0.0  # The time of the last event, in epoch seconds.
    # The id of the provider's latest batch before the intent.
    newest: str | None = None
    # The time at which that batch was created, in epoch seconds of the provider's clock.
    newest_at: float = 0.0
    refused: bool = False  # True if the provider has refused the last request to create the batch.
    # The time at which the search for a batch whose creation is unknown began, in epoch seconds.
    sought_at: float = 0.0
    file_id: str | None = None
    # The time at which the file was uploaded, in epoch seconds of the provider's clock.
    file_at: float = 0.0
    batch_id: str | None = None
    guessed: bool = False  # True if only the results can show that the batch was made of this part.
    confirmed: bool = False  # True if the user has confirmed the guess.
    # The ids of batches that were guessed to be this part's, and are not.
    not_ours: list[str] = field(default_factory=list)
    # True if events of this part may be lost because the store was damaged.
    possibly_lost: bool = False
    cancel_asked: bool = False  # True if the provider has accepted the cancellation.
    expires_at: float = (
        0.0  # The end of the batch's time limit, in epoch seconds; 0 if it has none.
    )
    outcome: str = ""  # How the batch has ended; see `Look.outcome`.
    # The number of answered rows, by the provider's count at the end of the batch.
    answered: int = 0
    failed: int = 0  # The number of failed rows, by the same count.
    # The time at which the results first had fewer answers than `answered`, in epoch seconds.
    short_at: float = 0.0
    remote: list[str] = field(default_factory=list)  # The addresses of the results.
    # The errors of validation by the line of the row (from 1), or by "all".
    invalid: dict[str, str] = field(default_factory=dict)
    # How often the provider's queue was full while no other part of this job was in it.
    refused_alone: int = 0
    # The ids of uploaded files that are no longer needed.
    old_files: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The name of the part in the names of its files."""
        return f"{self.number:03}"

    @property
    def last(self) -> int:
        """The id of the entry of the last request."""
        return self.first + self.rows - 1

    @property
    def is_final(self) -> bool:
        """Whether nothing more is done for this part."""
        return self.stage in ("downloaded", "replaced")

    @property
    def is_guess(self) -> bool:
        """Whether neither the provider's data nor the user has confirmed that the batch was made of this part.

        Such a batch is polled, and never cancelled.
        """
        return self.guessed and not self.confirmed

    def discard_batch(self, stage: str) -> None:
        """Set the part to `stage`, without a batch: its batch does not belong to it, or the provider has refused it."""
        if self.guessed and self.batch_id is not None:
            self.not_ours.append(self.batch_id)
        self.stage = stage
        self.batch_id = None
        self.guessed = False
        self.confirmed = False
        self.cancel_asked = False
        self.expires_at = 0.0
        self.outcome = ""
        self.remote = []
        self.refused = False
        self.sought_at = 0.0
        self.short_at = 0.0


class PartEvents:
    """The events of one batch job, and the state of the job after them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.parts: list[Part] = []
        self.planned = False
        self.rows = self.same = 0
        self.rows_sha256 = ""
        # Batches are created with these headers, besides those of the model.
        self.headers: dict[str, str] = {}
        self.endpoint = ""
        self.cancelled = False
        self.done = False
        # This many parts fit into the provider's queue at a time; None until the queue is full.
        self.window: int | None = None
        # This many events could not be read when the store was last opened.
        self.damaged = 0
        self._store: JobStore | None = None

    def read(self) -> PartEvents:
        """Read the events without changing anything."""
        with closing(JobStore(self.folder, read_only=True)) as store:
            self._load(store)
        return self

    def open(self) -> PartEvents:
        """Read the events, and open the store for writing."""
        self._store = JobStore(self.folder)
        damaged = self._load(self._store)
        if damaged > self.damaged:
            self.write("damaged", lines=damaged)
        return self

    @property
    def store(self) -> JobStore:
        """The job's store, open for writing."""
        if self._store is None:
            raise DiskError(
                f"The job in `{self.folder}` was opened to be read.", path=str(self.folder)
            )
        return self._store

    def write(self, event: str, part: Part | None = None, **facts: Any) -> None:
        """Write an event with its facts, of a part or of the whole job, and apply it to the state.

        It survives a crash once this returns, or once the store's transaction is committed.
        """
        record: JSON = {"event": event, "at": time.time()}
        number = None
        if part is not None:
            number = part.number
            record["part"] = number
        record |= facts
        self.store.append(EVENTS, [Entry.of(event, to_json(record), number)])
        self._apply(record)

    def close(self) -> None:
        """Close the store."""
        if self._store is not None:
            self._store.close()
            self._store = None

    @property
    def last_round(self) -> int:
        """The highest round of a part; 0 if there are no parts."""
        return max((part.round for part in self.parts), default=0)

    def waiting(self) -> list[Part]:
        """Return the parts that have no batch yet."""
        return [part for part in self.parts if part.stage in ("planned", "intent", "uploaded")]

    def running(self) -> list[Part]:
        """Return the parts with a batch that has not ended."""
        return [part for part in self.parts if part.stage == "created"]

    def _load(self, store: JobStore) -> int:
        """Apply the events of a store; return the number of damaged ones."""
        damaged = 0
        for entry in store.entries(EVENTS):
            damaged += entry.is_damaged
            if not entry.is_damaged:
                self._apply(from_json(entry.record))
        return damaged

    def _apply(self, event: JSON) -> None:
        facts = dict(event)
        kind = facts.pop("event")
        if "part" in facts:
            self._apply_to_part(kind, facts.pop("part"), facts)
        elif kind == "planned":
            # The part may have been planned before, in an event that is lost.
            lost = self.damaged > 0 and not self.planned
            # Rows submitted after the end of a cancelled job are not cancelled.
            self.cancelled = self.cancelled and not self.done
            self.planned = True
            self.done = False
            for number in facts.get("replaces", ()):
                self.parts[number].stage = "replaced"
            for about in facts["parts"]:
                number = len(self.parts)
                part = Part(number, at=facts["at"], possibly_lost=lost, **about)
                self.parts.append(part)
            for name in ("rows", "same", "rows_sha256", "headers", "endpoint"):
                if name in facts:
                    setattr(self, name, facts[name])
        elif kind == "cancelled":
            self.cancelled = True
        elif kind == "done":
            # A damaged store may have lost a part's results: the job is not done before that part
            # is.
            self.done = all(part.is_final for part in self.parts)
        elif kind == "damaged":
            self.damaged = facts["lines"]
            for part in self.waiting():
                part.possibly_lost = True

    def _apply_to_part(self, kind: str, number: int, facts: JSON) -> None:
        if number >= len(self.parts):
            path = self.folder / STORE_NAME
            raise DiskError(
                f"`{path}` is damaged: the event that planned part {number} is missing.",
                path=str(path),
            )
        part = self.parts[number]
        if "window" in facts:
            self.window = facts.pop("window")
        for name, value in facts.items():
            setattr(part, name, value)
        if kind == "requeued":
            if part.file_id is not None:
                part.old_files.append(part.file_id)
            part.discard_batch("planned")
            part.file_id = None
            part.possibly_lost = False
        elif kind == "released":
            part.discard_batch("intent")
        elif kind == "reopened":
            part.stage = "created"
            part.outcome = ""
            part.remote = []
            if self.window is not None:
                # The batch has not ended after all, so the window shrinks to what it was before.
                self.window -= 1
        elif kind != "noted":
            part.stage = kind
            if kind == "created":
                part.possibly_lost = False
            if kind == "ended" and self.window is not None and part.outcome != "failed":
                self.window += 1
