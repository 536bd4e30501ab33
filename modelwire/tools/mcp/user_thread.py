"""Runs functions that may wait for the user."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from modelwire.lazy import module

if TYPE_CHECKING:
    import asyncio
    import threading
    from concurrent import futures
else:
    asyncio = module("asyncio")
    threading = module("threading")
    futures = module("concurrent.futures")


async def in_thread(function: Callable[[], Any]) -> Any:
    """Call a function in a daemon thread, which does not keep the program from ending, and return its result.

    The user may never answer, so the interpreter must not wait for the thread.
    """
    done: futures.Future[Any] = futures.Future()
    done.set_running_or_notify_cancel()  # The future cannot be cancelled from now on.

    def run() -> None:
        try:
            done.set_result(function())
        except Exception as exc:  # noqa: BLE001 - raised where the result is awaited
            done.set_exception(exc)

    threading.Thread(target=run, name="modelwire-mcp-user", daemon=True).start()
    return await asyncio.wrap_future(done)
