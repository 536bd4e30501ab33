"""Collects the runs inside of a `with` block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from modelwire.callbacks.hooks import register_configure_hook
from modelwire.tracers.run_collector import RunCollectorCallbackHandler

__all__ = ["collect_runs", "register_configure_hook"]

_collecting: ContextVar[tuple[RunCollectorCallbackHandler, ...]] = ContextVar(
    "modelwire_run_collectors", default=()
)


@contextmanager
def collect_runs() -> Iterator[RunCollectorCallbackHandler]:
    """Collect the outermost runs that start inside the `with` block, in this context and those it starts.

    Example:
        with collect_runs() as collected:
            chain.invoke("hi")
        print(collected.traced_runs[0].outputs)
    """
    register_configure_hook(_collecting, inheritable=True)
    handler = RunCollectorCallbackHandler()
    token = _collecting.set((*_collecting.get(), handler))
    try:
        yield handler
    finally:
        _collecting.reset(token)
