"""Tracers, which record runs as trees of objects, and listeners of the outermost run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelwire import lazy

if TYPE_CHECKING:
    from modelwire.runnables.log import RunLog as RunLog
    from modelwire.runnables.log import RunLogPatch as RunLogPatch
    from modelwire.tracers.base import AsyncBaseTracer as AsyncBaseTracer
    from modelwire.tracers.base import BaseTracer as BaseTracer
    from modelwire.tracers.context import collect_runs as collect_runs
    from modelwire.tracers.root_listeners import (
        AsyncRootListenersTracer as AsyncRootListenersTracer,
    )
    from modelwire.tracers.root_listeners import RootListenersTracer as RootListenersTracer
    from modelwire.tracers.run_collector import (
        RunCollectorCallbackHandler as RunCollectorCallbackHandler,
    )
    from modelwire.tracers.schemas import Run as Run
    from modelwire.tracers.stdout import ConsoleCallbackHandler as ConsoleCallbackHandler

__getattr__, __dir__, __all__ = lazy.exports(
    __name__,
    {
        "modelwire.runnables.log": "RunLog RunLogPatch",
        "modelwire.tracers.base": "AsyncBaseTracer BaseTracer",
        "modelwire.tracers.context": "collect_runs",
        "modelwire.tracers.root_listeners": "AsyncRootListenersTracer RootListenersTracer",
        "modelwire.tracers.run_collector": "RunCollectorCallbackHandler",
        "modelwire.tracers.schemas": "Run",
        "modelwire.tracers.stdout": "ConsoleCallbackHandler",
    },
)
