"""The two colours: the same test driven through the sync and the async methods, results as plain values."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, TypeVar

T = TypeVar("T")


class SyncColour:
    """Call a runnable by its sync methods; every result is a plain value or list."""

    name = "sync"

    def invoke(self, runnable: Any, value: Any, config: Any = None, **kwargs: Any) -> Any:
        return runnable.invoke(value, config, **kwargs)

    def stream(self, runnable: Any, value: Any, config: Any = None, **kwargs: Any) -> list[Any]:
        return list(runnable.stream(value, config, **kwargs))

    def batch(self, runnable: Any, values: Any, config: Any = None, **kwargs: Any) -> list[Any]:
        return runnable.batch(values, config, **kwargs)

    def batch_as_completed(
        self, runnable: Any, values: Any, config: Any = None, **kwargs: Any
    ) -> list[Any]:
        return list(runnable.batch_as_completed(values, config, **kwargs))

    def transform(
        self, runnable: Any, values: Iterable[Any], config: Any = None, **kwargs: Any
    ) -> list[Any]:
        return list(runnable.transform(iter(values), config, **kwargs))

    def run(self, sync_callable: Callable[[], T], async_callable: Callable[[], Awaitable[T]]) -> T:
        return sync_callable()


class AsyncColour:
    """Call a runnable by its async methods, each call on an event loop of its own."""

    name = "async"

    def invoke(self, runnable: Any, value: Any, config: Any = None, **kwargs: Any) -> Any:
        return asyncio.run(_awaited(lambda: runnable.ainvoke(value, config, **kwargs)))

    def stream(self, runnable: Any, value: Any, config: Any = None, **kwargs: Any) -> list[Any]:
        return asyncio.run(_collected(lambda: runnable.astream(value, config, **kwargs)))

    def batch(self, runnable: Any, values: Any, config: Any = None, **kwargs: Any) -> list[Any]:
        return asyncio.run(_awaited(lambda: runnable.abatch(values, config, **kwargs)))

    def batch_as_completed(
        self, runnable: Any, values: Any, config: Any = None, **kwargs: Any
    ) -> list[Any]:
        return asyncio.run(
            _collected(lambda: runnable.abatch_as_completed(values, config, **kwargs))
        )

    def transform(
        self, runnable: Any, values: Iterable[Any], config: Any = None, **kwargs: Any
    ) -> list[Any]:
        return asyncio.run(
            _collected(lambda: runnable.atransform(_aiter(values), config, **kwargs))
        )

    def run(self, sync_callable: Callable[[], T], async_callable: Callable[[], Awaitable[T]]) -> T:
        return asyncio.run(_awaited(async_callable))


async def _awaited(make: Callable[[], Awaitable[T]]) -> T:
    return await make()


async def _collected(make: Callable[[], AsyncIterator[T]]) -> list[T]:
    return [item async for item in make()]


async def _aiter(values: Iterable[T]) -> AsyncIterator[T]:
    for value in values:
        yield value
