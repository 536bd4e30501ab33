"""`ConsoleCallbackHandler`: prints every run with its input and output."""
# ruff: noqa: T201 - its purpose

from __future__ import annotations

from typing import Any

from modelwire.tracers.base import BaseTracer
from modelwire.tracers.schemas import Run

__all__ = ["ConsoleCallbackHandler"]


class ConsoleCallbackHandler(BaseTracer):
    """Prints a line and the values when a run starts, ends or fails, with the path of the enclosing runs."""

    name = "console_callback_handler"
    run_inline = True

    def _persist_run(self, run: Run) -> None:
        """Do nothing: each run was printed already."""

    def _on_run_create(self, run: Run) -> None:
        self._print(run, "start", "Entering", run.inputs)

    def _on_run_update(self, run: Run) -> None:
        took = f"[{run.latency or 0:.2f}s] "
        if run.error is None:
            self._print(run, "end", f"{took}Exiting", run.outputs)
        else:
            self._print(run, "error", f"{took}Failed", run.error.splitlines()[0])

    def _print(self, run: Run, step: str, what: str, values: Any) -> None:
        kind = run.run_type
        print(f"[{kind}/{step}] [{_path(run)}] {what} {kind} run:\n{_shown(values)}", flush=True)


def _path(run: Run) -> str:
    names = [f"{run.run_type}:{run.name}"]
    while run.parent_run is not None:
        run = run.parent_run
        names.append(f"{run.run_type}:{run.name}")
    return " > ".join(reversed(names))


def _shown(values: Any) -> str:
    import json

    try:
        return json.dumps(values, indent=2, ensure_ascii=False, default=str)
    except (TypeError, ValueError):  # A key is not a text, or a value contains itself.
        return str(values)
