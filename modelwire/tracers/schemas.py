"""`Run`: the recorded values of one run, during and after it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from modelwire.aliases import JSON

__all__ = ["Run", "now"]


@dataclass
class Run:
    """One run of a runnable, a model, a tool or a retriever, with its nested runs in `child_runs`.

    `inputs` and `outputs` are dicts; a value that is not a dict is under the key "input" or "output". The inputs of a
    streamed run are complete at its end. `run_type` is "chain", "prompt", "parser", "llm", "chat_model", "tool" or
    "retriever".
    """

    id: UUID
    name: str
    run_type: str
    inputs: JSON
    start_time: datetime
    parent_run_id: UUID | None = None
    serialized: JSON | None = None
    tags: list[str] = field(default_factory=list)
    # "metadata", and the other keywords of the start event.
    extra: JSON = field(default_factory=dict)
    events: list[JSON] = field(default_factory=list)
    end_time: datetime | None = None
    outputs: JSON | None = None
    error: str | None = None  # The class, the text and the traceback.
    child_runs: list[Run] = field(default_factory=list, repr=False)
    parent_run: Run | None = field(default=None, repr=False, compare=False)

    @property
    def metadata(self) -> JSON:
        """The metadata of the run."""
        metadata: JSON = self.extra.setdefault("metadata", {})
        return metadata

    @property
    def trace_id(self) -> UUID:
        """The id of the outermost run around this one."""
        if self.parent_run is None:
            return self.id
        return self.parent_run.trace_id

    @property
    def latency(self) -> float | None:
        """Seconds from start to end."""
        if self.end_time is None:
            return None
        return (self.end_time - self.start_time).total_seconds()


def now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)
