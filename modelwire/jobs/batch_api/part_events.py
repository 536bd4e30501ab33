"""What has become of the parts of a batch job: events in the store, each synced before the next step.

A part goes through `planned`, `intent`, `uploaded` (where files are uploaded), `created`, `ended`, `downloaded`.
Refused for a full queue it is `requeued`; put into other parts it is `replaced`; `released` when the batch that was
taken for it is another's; `reopened`, so that it is `created` again, when its results lack answers. `noted` says more
of it and changes no stage. The job is `done` when all parts are.
`damaged` says how many events nobody can read: each may tell that a batch was made.
"""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic_core import from_json, to_json

from modelwire.errors import DiskError
from modelwire.jobs.store import STORE_NAME, Entry, JobStore

__all__ = ["Part", "PartEvents"]

TABLE = "events"


@dataclass(slots=True)
class Part:
    """One batch of the provider's, made or to be made."""

    number: int
    rows: int
    size_bytes: int
    sha256: str  # of its requests, as sent
    round: int = 1
    again: bool = False  # its rows were in a part that failed validation
    stage: str = "planned"
    attempt: int = 0
    at: float = 0.0  # epoch seconds of the last event
    newest: str | None = None  # the provider's latest batch before the intent
    newest_at: float = 0.0  # epoch seconds of that batch, on the provider's clock
    refused: bool = False  # the provider has refused the last request to create its batch
    sought_at: float = 0.0  # epoch seconds of the first look for a batch whose creation is unknown
    file_id: str | None = None
    file_at: float = 0.0  # epoch seconds of the upload, on the provider's clock
    batch_id: str | None = None
    guessed: bool = False  # that the batch is ours is a guess until its results are seen
    confirmed: bool = False  # the user says that the guess is right
    not_ours: list[str] = field(default_factory=list)  # batches taken for this part's that were not
    unheard: bool = (
        False  # the store was damaged: of what was done for this part, events may be lost
    )
    cancel_asked: bool = False  # and the provider has heard it
    expires_at: float = 0.0  # epoch seconds, on the provider's clock
    outcome: str = ""
    answered: int = 0  # rows that have an answer, by the provider's count at the end of the batch
    failed: int = 0  # rows that have failed, by the same count
    short_at: float = 0.0  # epoch seconds when its results first had fewer answers than that
    remote: list[str] = field(default_factory=list)  # where its results are
    results: list[str] = field(default_factory=list)  # files of the job's folder
    invalid: dict[str, str] = field(
        default_factory=dict
    )  # by line from 1, or "all": the result of the validation
    refused_alone: int = (
        0  # times that the queue had no place for it, though nothing of this job was in it
    )
    old_files: list[str] = field(default_factory=list)  # uploaded for it, and of no use any more

    @property
    def name(self) -> str:
        return f"{self.number:03}"

    @property
    def is_guess(self) -> bool:
        """Whether nobody knows that its batch is ours: such a batch is watched, and left alone."""
        return self.guessed and not self.confirmed

    def let_go(self, stage: str) -> None:
        """Forget the batch that was taken for this part's, or made of it in vain."""
        if self.guessed and self.batch_id is not None:
            self.not_ours.append(self.batch_id)
        self.stage, self.batch_id, self.guessed, self.confirmed = stage, None, False, False
        self.cancel_asked, self.expires_at, self.outcome, self.remote = False, 0.0, "", []
        self.refused, self.sought_at, self.short_at = False, 0.0, 0.0


class PartEvents:
    """The events of one job, and what they add up to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.parts: list[Part] = []
        self.planned = False
        self.rows = self.same = 0
        self.rows_sha256 = ""
        self.headers: dict[str, str] = {}  # beside those of the model's, for making batches
        self.endpoint = ""
        self.cancelled = False
        self.done = False
        self.window: int | None = (
            None  # parts at a time that the provider's queue takes, once that is known
        )
        self.damaged = 0  # events that cannot be read, as far as that was noticed before
        self._store: JobStore | None = None

    def read(self) -> PartEvents:
        """Take in what is written down; changes nothing."""
        with closing(JobStore(self.folder, read_only=True)) as store:
            self._load(store)
        return self

    def open(self) -> PartEvents:
        """Take in what is written down, and be ready to write."""
        self._store = JobStore(self.folder)
        damaged = self._load(self._store)
        if damaged > self.damaged:
            self.write("damaged", lines=damaged)
        return self

    def write(self, event: str, part: Part | None = None, **facts: Any) -> None:
        """Write an event down; when this returns it survives a crash."""
        if self._store is None:
            raise DiskError(
                f"The job in `{self.folder}` was opened to be read.", path=str(self.folder)
            )
        number = None if part is None else part.number
        record = {
            "event": event,
            "at": time.time(),
            **({} if part is None else {"part": number}),
            **facts,
        }
        self._store.append(TABLE, [Entry.of(event, to_json(record), number)])
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
        """Return the parts at the provider's."""
        return [part for part in self.parts if part.stage == "created"]

    def _load(self, store: JobStore) -> int:
        """Apply the events of a store; return how many of them are damaged."""
        damaged = 0
        for entry in store.entries(TABLE):
            damaged += entry.is_damaged
            if not entry.is_damaged:
                self._apply(from_json(entry.record))
        return damaged

    def _apply(self, event: dict[str, Any]) -> None:
        facts = dict(event)
        kind = facts.pop("event")
        if "part" in facts:
            self._apply_to_part(kind, facts.pop("part"), facts)
        elif kind == "planned":
            lost = self.damaged > 0 and not self.planned  # it may have been planned before
            self.cancelled = (
                self.cancelled and not self.done
            )  # rows handed in after the end are a new beginning
            self.planned, self.done = True, False
            for number in facts.get("replaces", ()):
                self.parts[number].stage = "replaced"
            for about in facts["parts"]:
                self.parts.append(Part(len(self.parts), at=facts["at"], unheard=lost, **about))
            for name in ("rows", "same", "rows_sha256", "headers", "endpoint"):
                if name in facts:
                    setattr(self, name, facts[name])
        elif kind == "cancelled":
            self.cancelled = True
        elif kind == "done":
            # A damaged store may have lost what a part has brought: that part goes on.
            self.done = all(part.stage in ("downloaded", "replaced") for part in self.parts)
        elif kind == "damaged":
            self.damaged = facts["lines"]
            for part in self.waiting():
                part.unheard = True

    def _apply_to_part(self, kind: str, number: int, facts: dict[str, Any]) -> None:
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
            part.let_go("planned")
            part.file_id, part.unheard = None, False
        elif kind == "released":
            part.let_go("intent")
        elif kind == "reopened":
            part.stage, part.outcome, part.remote = "created", "", []
            if self.window is not None:  # its end is not yet one
                self.window -= 1
        elif kind != "noted":
            part.stage = kind
            if kind == "created":
                part.unheard = False
            if kind == "ended" and self.window is not None and part.outcome != "failed":
                self.window += 1
