"""Passes progress reports of a call from the connection's thread to the thread or task that waits for the call.

The callback handlers are called in that thread or task, as for every other event of the tool.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeAlias

from modelwire.aliases import Kwargs
from modelwire.callbacks.delivery import wanting
from modelwire.callbacks.manager import AsyncCallbackManagerForToolRun, CallbackManagerForToolRun
from modelwire.lazy import module
from modelwire.runnables.config import RunnableConfig

if TYPE_CHECKING:
    import asyncio
    from concurrent.futures import Future
else:
    asyncio = module("asyncio")

# The package calls such a function with each report: progress, total, message.
_Report: TypeAlias = Callable[[float, float | None, str | None], Awaitable[None]]
# Such a function starts the call. If its argument is None, the server sends no reports.
_Begin: TypeAlias = "Callable[[_Report | None], Future[Any]]"


def listeners(config: RunnableConfig, own: Any, event: str = "on_tool_progress") -> Kwargs | None:
    """Return the arguments of a run manager for the handlers that want this event of the tool's run, or None.

    `config` is the config of calls that the tool makes, and `own` are the tool's own handlers.
    """
    inside = config.get("callbacks")
    run_id = getattr(inside, "parent_run_id", None)
    if run_id is None:
        return None
    handlers = list(inside.handlers)  # type: ignore[union-attr]
    if isinstance(own, list):
        handlers += [handler for handler in own if handler not in handlers]
    found = wanting(handlers, event)
    if not found:
        return None
    return {"run_id": run_id, "handlers": found, "inheritable_handlers": []}


def result_of(begin: _Begin, listening: Kwargs | None, deadline: float | None) -> Any:
    """Start a call, report its progress, and return its result. Raises `TimeoutError` after the deadline."""
    if listening is None:
        future = begin(None)
        try:
            return future.result(_left_s(deadline))
        finally:
            future.cancel()  # If the caller was interrupted, the server should stop, too.
    manager = CallbackManagerForToolRun(**listening)
    reports: SimpleQueue[Any] = SimpleQueue()
    future = begin(_reporter(reports.put))
    future.add_done_callback(lambda _: reports.put(None))
    try:
        while (report := reports.get(timeout=_left_s(deadline))) is not None:
            manager.on_tool_progress(report[0], total=report[1], message=report[2])
        return future.result()
    except Empty:
        raise TimeoutError from None
    finally:
        future.cancel()


async def aresult_of(begin: _Begin, listening: Kwargs | None) -> Any:
    """Do what `result_of` does, async."""
    if listening is None:
        return await asyncio.wrap_future(begin(None))
    manager = AsyncCallbackManagerForToolRun(**listening)
    loop = asyncio.get_running_loop()
    reports: asyncio.Queue[Any] = asyncio.Queue()

    def put(report: Any) -> None:
        with suppress(RuntimeError):  # The caller's loop is closed.
            loop.call_soon_threadsafe(reports.put_nowait, report)

    future = begin(_reporter(put))
    future.add_done_callback(lambda _: put(None))
    try:
        while (report := await reports.get()) is not None:
            await manager.on_tool_progress(report[0], total=report[1], message=report[2])
        return await asyncio.wrap_future(future)
    finally:
        future.cancel()


def _reporter(put: Callable[[Any], None]) -> _Report:
    async def report(progress: float, total: float | None, message: str | None) -> None:
        put((progress, total, message))

    return report


def _left_s(deadline: float | None) -> float | None:
    """Return the seconds until a deadline, or None without one."""
    if deadline is None:
        return None
    return max(deadline - monotonic(), 0.0)
