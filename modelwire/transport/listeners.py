"""Finds the observers of a call: those of its config and its context, and the log. A call without any pays nothing."""

from __future__ import annotations

import logging
import os
import warnings
from typing import TYPE_CHECKING

from modelwire import lazy
from modelwire.aliases import Fields
from modelwire.errors import InvalidArgument
from modelwire.transport.observer import OBSERVERS_EVERYWHERE, OBSERVERS_IN_CONTEXT, CallObserver

if TYPE_CHECKING:
    from modelwire.errors import ChatError
    from modelwire.transport import logs
    from modelwire.transport.ratelimit.limits import Change
    from modelwire.transport.steps import Sleep
else:
    logs = lazy.module("modelwire.transport.logs")


def warn_of(about: Sleep | Change) -> None:
    """Log a warning that a call is retried (`Sleep`), or that a provider's limit has changed (`Change`)."""
    if _logger.isEnabledFor(logging.WARNING):
        logs.write_warning(about)


def warn_of_outage(name: str, error: ChatError | None, wait: str) -> None:
    """Write a warning that the rows of a batch wait; to stderr if the program has set up no logging."""
    if _logger.isEnabledFor(logging.WARNING):
        logs.warn_of_outage(name, error, wait)


_logger = logging.getLogger("modelwire")
# Without a handler of its own, Python would print the warnings of a program that sets up no logging.
_logger.addHandler(logging.NullHandler())


def observers_of(config: Fields) -> tuple[CallObserver, ...]:
    """Return the observers of a call under `config`: the context's, its own, and the log if it is enabled."""
    found: tuple[CallObserver, ...] = config.get("observers", ())
    if in_context := OBSERVERS_IN_CONTEXT.get():
        found = (*in_context, *found)
    if OBSERVERS_EVERYWHERE:
        found = (*OBSERVERS_EVERYWHERE, *found)
    if _logger.isEnabledFor(logging.INFO):
        found = (*found, logs.LOG)
    return found


def _ask_environment() -> None:
    level = os.environ.get("MODELWIRE_LOG", "").strip().lower()
    if not level or level in ("0", "false", "no", "off"):
        return
    try:
        logs.enable_logging(level)  # type: ignore[arg-type]  # its error lists the levels
    except InvalidArgument as exc:
        warnings.warn(f"`MODELWIRE_LOG`: {exc}", RuntimeWarning, stacklevel=2)


if "MODELWIRE_LOG" in os.environ:
    _ask_environment()
