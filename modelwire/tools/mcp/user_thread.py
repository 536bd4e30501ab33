"""Functions that wait for the user."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from modelwire.lazy import module

if TYPE_CHECKING:
    import asyncio
    import threading
else:
    asyncio, threading = module("asyncio"), module("threading")

__all__ = ["in_thread"]


async def in_thread(function: Callable[[], Any]) -> Any:
    """Call a function in a thread that does not keep the program from ending, as a user may never answer."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Any] = loop.create_future()

    def settle(result: Any, error: BaseException | None) -> None:
        if done.cancelled():
            return
        if error is None:
            done.set_result(result)
        else:
            done.set_exception(error)

    def run() -> None:
        result, error = None, None
        try:
            result = function()
        except Exception as exc:  # noqa: BLE001 - raised where the result is awaited
            error = exc
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, name="modelwire-mcp-user", daemon=True).start()
    return await done
