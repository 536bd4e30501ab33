"""A handler that collects the outermost runs."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from modelwire.tracers.base import BaseTracer
from modelwire.tracers.schemas import Run

__all__ = ["RunCollectorCallbackHandler"]


class RunCollectorCallbackHandler(BaseTracer):
    """Appends each outermost run to `traced_runs` when it has ended."""

    name: str = "run-collector_callback_handler"
    run_inline = True  # An append does not block.

    def __init__(self, example_id: UUID | str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.example_id = UUID(example_id) if isinstance(example_id, str) else example_id
        self.traced_runs: list[Run] = []

    def _persist_run(self, run: Run) -> None:
        self.traced_runs.append(run)
