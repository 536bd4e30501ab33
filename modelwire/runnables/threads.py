"""A thread pool that runs each function in the submitter's context.

It is imported only if threads are needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any, ParamSpec, TypeVar

Args = ParamSpec("Args")
Result = TypeVar("Result")


class ContextThreadPoolExecutor(ThreadPoolExecutor):
    """A `ThreadPoolExecutor` that copies the submitter's context for each function."""

    def submit(
        self, func: Callable[Args, Result], /, *args: Args.args, **kwargs: Args.kwargs
    ) -> Future[Result]:
        """Queue `func(*args, **kwargs)` to run in a copy of the current context."""
        return super().submit(partial(copy_context().run, func, *args, **kwargs))

    def map(  # type: ignore[override]  # the stub's parameters changed between Python versions
        self, func: Callable[..., Result], *iterables: Iterable[Any], **kwargs: Any
    ) -> Iterator[Result]:
        """Run `func` on the items, each in a copy of the current context."""

        def call(run: Any, *args: Any) -> Result:
            return run(func, *args)  # type: ignore[no-any-return]

        rows = list(zip(*iterables, strict=False))
        return super().map(
            call, [copy_context().run for _ in rows], *zip(*rows, strict=True), **kwargs
        )
