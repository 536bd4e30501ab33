"""Functions that hear of a runnable's own runs: when they start, end or fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from modelwire.errors import InvalidType
from modelwire.runnables.config import RunnableConfig

__all__ = ["Listener", "listening_to"]

# `f(run)`, or `f(run, config)`; with `with_alisteners` it is async.
Listener = Callable[..., Any]


def listening_to(*, asynchronous: bool, **listeners: Listener | None) -> Callable[[RunnableConfig], RunnableConfig]:
    """Make the function that adds the listeners to the config of one call, as a handler of its own."""
    for name, listener in listeners.items():
        if listener is not None and not callable(listener):
            raise InvalidType(f"`{name}` must be a function of the run, not a `{type(listener).__name__}`.")

    def add(config: RunnableConfig) -> RunnableConfig:
        from modelwire.tracers.root_listeners import AsyncRootListenersTracer, RootListenersTracer

        tracer: Any = AsyncRootListenersTracer if asynchronous else RootListenersTracer
        return {"callbacks": [tracer(config=config, **listeners)]}

    return add
