"""Who hears of a call: the observers of its config, and the log. It is free when nobody listens. No I/O here."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from modelwire.errors import InvalidArgument
from modelwire.transport.observer import OBSERVERS_IN_CONTEXT, CallObserver

if TYPE_CHECKING:
    from modelwire.errors import ChatError
    from modelwire.transport.ratelimit.limits import Change
    from modelwire.transport.steps import Sleep

__all__ = ["UNHEARD", "observers_of", "warn_of_outage"]


class _Warner(CallObserver):
    """Hears of every call, and has the log say that it is retried and that a limit was found."""

    __slots__ = ()

    def waiting(self, step: Any) -> None:
        if hasattr(step, "attempt"):
            _warn(step)

    def limit_changed(self, change: Change) -> None:
        _warn(change)


def _warn(about: Sleep | Change) -> None:
    if _logger.isEnabledFor(logging.WARNING):
        from modelwire.transport.logs import warn

        warn(about)


def warn_of_outage(name: str, error: ChatError | None, wait: str) -> None:
    """Say what the rows of a batch wait for: on stderr, too, where the program has set up no logging."""
    if _logger.isEnabledFor(logging.WARNING):
        from modelwire.transport import logs

        logs.warn_of_outage(name, error, wait)


UNHEARD: Final[tuple[CallObserver, ...]] = (
    _Warner(),
)  # who hears of a call that nobody listens to
_NOBODY: Final[tuple[CallObserver, ...]] = ()
_logger = logging.getLogger("modelwire")
_logger.addHandler(logging.NullHandler())  # a program that sets up no logging sees nothing


def observers_of(config: Mapping[str, Any]) -> tuple[CallObserver, ...]:
    """Return who hears a call under `config`: its observers and the context's, and the log where it is on."""
    found: tuple[CallObserver, ...] = config.get("observers", _NOBODY)
    if in_context := OBSERVERS_IN_CONTEXT.get():
        found = (*in_context, *found)
    if _logger.isEnabledFor(logging.INFO):
        from modelwire.transport.logs import LOG

        found = (*found, LOG)
    return found


def _ask_environment() -> None:
    level = os.environ.get("MODELWIRE_LOG", "").strip().lower()
    if not level or level in ("0", "false", "no", "off"):
        return
    from modelwire.transport.logs import enable_logging

    try:
        enable_logging(level)  # type: ignore[arg-type]  # it says which there are
    except InvalidArgument as exc:
        warnings.warn(f"`MODELWIRE_LOG`: {exc}", RuntimeWarning, stacklevel=2)


if "MODELWIRE_LOG" in os.environ:
    _ask_environment()
