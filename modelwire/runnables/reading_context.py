"""Reads a stream with the call observers, such as budgets, of the context in which it was created.

A generator runs in the context of its reader. Without this, a stream created inside a `with
budget(...)` block and read after it would send its requests under no budget.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from functools import wraps
from typing import ParamSpec, TypeVar

from modelwire.aliases import Args
from modelwire.runnables.closing import aclose, close
from modelwire.transport.observer import OBSERVERS_IN_CONTEXT

Item = TypeVar("Item")
Parameters = ParamSpec("Parameters")


def bound(items: Iterator[Item]) -> Iterator[Item]:
    """Return an iterator over `items` that runs with the observers of this context; without any, `items` itself."""
    observers = OBSERVERS_IN_CONTEXT.get()
    if observers:
        return _read(items, observers)
    return items


def abound(items: AsyncIterator[Item]) -> AsyncIterator[Item]:
    """Return an iterator over `items` that runs with the observers of this context; without any, `items` itself."""
    observers = OBSERVERS_IN_CONTEXT.get()
    if observers:
        return _aread(items, observers)
    return items


def bound_stream(
    make: Callable[Parameters, Iterator[Item]],
) -> Callable[Parameters, Iterator[Item]]:
    """Return a generator function whose iterators run with the observers of the context in which it is called."""

    @wraps(make)
    def made(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Iterator[Item]:
        return bound(make(*args, **kwargs))

    return made


def abound_stream(
    make: Callable[Parameters, AsyncIterator[Item]],
) -> Callable[Parameters, AsyncIterator[Item]]:
    """Return an async generator function whose iterators run with the observers of the context in
    which it is called.
    """

    @wraps(make)
    def made(*args: Parameters.args, **kwargs: Parameters.kwargs) -> AsyncIterator[Item]:
        return abound(make(*args, **kwargs))

    return made


def _read(items: Iterator[Item], observers: Args) -> Iterator[Item]:
    try:
        while True:
            token = OBSERVERS_IN_CONTEXT.set(observers)
            try:
                item = next(items)
            except StopIteration:
                return
            finally:
                OBSERVERS_IN_CONTEXT.reset(token)
            yield item
    finally:
        token = OBSERVERS_IN_CONTEXT.set(observers)
        try:
            close(items)
        finally:
            OBSERVERS_IN_CONTEXT.reset(token)


async def _aread(items: AsyncIterator[Item], observers: Args) -> AsyncIterator[Item]:
    try:
        while True:
            token = OBSERVERS_IN_CONTEXT.set(observers)
            try:
                item = await anext(items)
            except StopAsyncIteration:
                return
            finally:
                OBSERVERS_IN_CONTEXT.reset(token)
            yield item
    finally:
        token = OBSERVERS_IN_CONTEXT.set(observers)
        try:
            await aclose(items)
        finally:
            OBSERVERS_IN_CONTEXT.reset(token)
