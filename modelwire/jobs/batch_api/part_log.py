"""The state of the parts of a batch job: events in the store, each synced before the next step.

A part passes the stages `planned`, `intent`, `uploaded` (if files are uploaded), `created`,
`ended`, `downloaded`. It is `requeued` if the provider's queue was full, and `replaced` if its rows
are in other parts. It is `released` if the batch taken for it belongs to something else, and
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
    """One batch of the job, created or not."""

    number: int
    rows: int
    size_bytes: int
    sha256: str  # It is the digest of the requests as they are sent.
    # The requests are the entries of the table `requests` from this id on, one a row.
    first: int = 1
    round: int = 1
    # If True, the rows were in a part that failed validation.
    again: bool = False
    stage: str = "planned"
    attempt: int = 0
    at: float = 0.0  # This is when the last event was written, in epoch seconds.
    # This is the id of the provider's latest batch before the intent.
    newest: str | None = None
    # This is when that batch was created, in epoch seconds of the provider's clock.
    newest_at: float = 0.0
    refused: bool = False  # True if the provider has refused the last request to create the batch.
    # This is when the job first searched for a batch whose creation is unknown, in epoch seconds.
    sought_at: float = 0.0
    file_id: str | None = None
    # This is when the file was uploaded, in epoch seconds of the provider's clock.
    file_at: float = 0.0
    batch_id: str | None = None
    guessed: bool = False  # True if only the results can show that the batch was made of this part.
    confirmed: bool = False  # True if the user has confirmed the guess.
    # These batches were taken for this part's, and were not.
    not_ours: list[str] = field(default_factory=list)
    # True if events of this part may be lost because the store was damaged.
    possibly_lost: bool = False
    cancel_asked: bool = False  # True if the provider has accepted the cancellation.
    expires_at: float = 0.0  # This is the time in epoch seconds of the provider's clock.
    outcome: str = ""
    # This is the number of answered rows, by the provider's count at the end of the batch.
    answered: int = 0
    failed: int = 0  # This is the number of failed rows by the same count.
    # This is when the results first had fewer answers than `answered`, in epoch seconds.
    short_at: float = 0.0
    remote: list[str] = field(default_factory=list)  # These are the addresses of the results.
    # These are the errors of validation, by line from 1, or under "all".
    invalid: dict[str, str] = field(default_factory=dict)
    # This counts the refusals for a full queue while no other part of this job was in it.
    refused_alone: int = 0
    # These files were uploaded for this part and are no longer needed.
    old_files: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"{self.number:03}"

    @property
    def last(self) -> int:
        """The id of the last of the requests."""
        return self.first + self.rows - 1

    @property
    def is_final(self) -> bool:
        """Whether nothing more is done for this part."""
        return self.stage in ("downloaded", "replaced")

    @property
    def is_guess(self) -> bool:
        """Whether it is unproven that the batch was made of this part.

        Such a batch is polled, and never cancelled.
        """
        return self.guessed and not self.confirmed

    def discard_batch(self, stage: str) -> None:
        """Discard a batch that turned out not to belong to this part, or that the provider has refused."""
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
    """The events of one job, and the state they add up to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.parts: list[Part] = []
        self.planned = False
        self.rows = self.same = 0
        self.rows_sha256 = ""
        # Batches are created with these headers, beside those of the model.
        self.headers: dict[str, str] = {}
        self.endpoint = ""
        self.cancelled = False
        self.done = False
        # This many parts fit into the provider's queue at a time, once that is known.
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
        """Write an event.

        It survives a crash once this returns, or once the store's transaction is committed.
        """
        if part is None:
            number = None
        else:
            number = part.number
        record = {
            "event": event,
            "at": time.time(),
            **({} if part is None else {"part": number}),
            **facts,
        }
        self.store.append(EVENTS, [Entry.of(event, to_json(record), number)])
        self._apply(record)

    def close(self) -> None:
        """Close the store."""
        if self._store is not None:
            self._store.close()
            self._store = None

    def waiting(self) -> list[Part]:
        """Return the parts that have no batch yet."""
        return [part for part in self.parts if part.stage in ("planned", "intent", "uploaded")]

    def running(self) -> list[Part]:
        """Return the parts whose batch runs."""
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
                self.parts.append(
                    Part(len(self.parts), at=facts["at"], possibly_lost=lost, **about)
                )
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
                f"`{path}` is damaged: nothing says what part {number} is.", path=str(path)
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
