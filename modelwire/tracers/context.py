"""`collect_runs`: collects the runs that start inside a `with` block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from modelwire.callbacks.hooks import adding_handler, register_configure_hook
from modelwire.tracers.run_collector import RunCollectorCallbackHandler

__all__ = ["collect_runs", "register_configure_hook"]


@contextmanager
def collect_runs() -> Iterator[RunCollectorCallbackHandler]:
    """Collect the outermost runs that start inside the `with` block, also in tasks that the block starts.

    Example:
        with collect_runs() as collected:
            chain.invoke("hi")
        print(collected.traced_runs[0].outputs)
    """
    with adding_handler(RunCollectorCallbackHandler()) as handler:
        yield handler
