"""Writes a line to standard error if a call has sent nothing for three seconds: which model the command waits for."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from threading import Timer
from typing import Any

from modelwire.aliases import Values
from modelwire.command.model_options import model_of
from modelwire.command.standard_streams import warn
from modelwire.ext import CallObserver

# After this many seconds without a part of the answer, the command writes what it waits for.
_SILENT_S = 3.0


class WaitingNote(CallObserver):
    """Observes the calls of one question, and writes one line for each call that stays silent."""

    def __init__(self) -> None:
        self._timer: Timer | None = None
        self._model = ""
        self._failure = ""
        self._attempts = 0

    def started(self, model: Any, messages: Sequence[Any], kwargs: Values) -> CallObserver:
        """Start the clock of a call."""
        self.stop()
        self._model = model_of(model)
        self._failure = ""
        self._attempts = 0
        self._timer = Timer(_SILENT_S, self._write)
        self._timer.daemon = True
        self._timer.start()
        return self

    def failed(self, error: BaseException, attempt: Any, partial: Any = None) -> None:
        """Remember why an attempt failed. If `attempt` is None, the whole call has failed."""
        if attempt is None:
            self.stop()
        else:
            self._attempts += 1
            self._failure = " ".join(str(getattr(error, "message", None) or error).split())

    def chunk(self, chunk: Any) -> None:
        """Stop the clock: the answer has begun."""
        self.stop()

    def answered(self, result: Any) -> None:
        """Stop the clock: the answer is complete."""
        self.stop()

    def stop(self) -> None:
        """Stop the clock: no line is written about this call."""
        if self._timer is not None:
            self._timer.cancel()

    def _write(self) -> None:
        if self._attempts:
            times = "once"
            if self._attempts != 1:
                times = f"{self._attempts} times"
            warn(
                f"Still waiting for {self._model}: the request failed {times} and is sent again. "
                f"The last reason: {self._failure}"
            )
        elif sys.stderr.isatty():  # This line is only of use to a person.
            warn(f"Waiting for {self._model} to answer; Ctrl-C stops it.")
