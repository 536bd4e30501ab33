"""How an event reaches its handlers: in order, sync or async, whatever they raise."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextvars import copy_context
from functools import partial
from inspect import iscoroutine, iscoroutinefunction
from typing import TYPE_CHECKING, Any

from modelwire.callbacks.base import EVENTS, SILENT, BaseCallbackHandler

if TYPE_CHECKING:
    from logging import Logger

__all__ = ["ahandle_event", "handle_event"]


def handle_event(
    handlers: Sequence[BaseCallbackHandler],
    event_name: str,
    ignore_condition_name: str | None,
    *args: Any,
    **kwargs: Any,
) -> None:
    """Call `event_name` of every handler that wants it, in order; coroutines run to completion before this returns."""
    deliver(handlers, event_name, ignore_condition_name, args, kwargs)


def deliver(
    handlers: Sequence[BaseCallbackHandler],
    event_name: str,
    ignore: str | None,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> None:
    """Do what `handle_event` says; the arguments come packed, as once a token counts."""
    waiting: list[Coroutine[Any, Any, None]] = []
    try:
        for handler in handlers:
            call = _listener(handler, event_name, ignore)
            if call is None:
                continue
            try:
                answer = call(*args, **kwargs)
            except Exception as error:  # noqa: BLE001 - the user's handler
                if (instead := _settle(handler, event_name, args, error)) is not None:
                    handle_event([handler], *instead, **kwargs)
                continue
            if answer is not None and iscoroutine(answer):
                waiting.append(_finish(answer, handler, event_name, args, kwargs))
    finally:
        if waiting:
            _run_to_completion(waiting)


async def ahandle_event(
    handlers: Sequence[BaseCallbackHandler],
    event_name: str,
    ignore_condition_name: str | None,
    *args: Any,
    **kwargs: Any,
) -> None:
    """Call `event_name` of every handler that wants it: inline ones first and one by one, then the others together.

    Only inline handlers run in the caller's context. The end of a run is told to all, even if the caller is cancelled.
    """
    await adeliver(handlers, event_name, ignore_condition_name, args, kwargs)


async def adeliver(
    handlers: Sequence[BaseCallbackHandler],
    event_name: str,
    ignore: str | None,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> None:
    """Do what `ahandle_event` says; the arguments come packed, as once a token counts."""
    later = []
    for handler in handlers:
        call = _listener(handler, event_name, ignore)
        if call is None:
            continue
        if handler.run_inline:
            await _tell(call, handler, event_name, args, kwargs)
        else:
            later.append((call, handler))
    if later:
        import asyncio

        all_told: Awaitable[Any] = asyncio.gather(
            *(_tell(call, handler, event_name, args, kwargs) for call, handler in later)
        )
        if event_name.endswith(("_end", "_error")):
            all_told = asyncio.shield(all_told)
        await all_told


def wanting(handlers: Sequence[BaseCallbackHandler], event: str) -> list[BaseCallbackHandler]:
    """Choose the handlers that have something to do when `event` comes."""
    return [handler for handler in handlers if _listener(handler, event, EVENTS[event]) is not None]


def _listener(handler: BaseCallbackHandler, event: str, ignore: str | None) -> Callable[..., Any] | None:
    """Return what to call, or `None` for a handler that does not want the event or has nothing to do with it."""
    if ignore is not None and getattr(handler, ignore, False):
        return None
    call: Callable[..., Any] | None = getattr(handler, event, None)
    return None if getattr(call, "__func__", None) in SILENT else call


async def _tell(
    call: Callable[..., Any], handler: BaseCallbackHandler, event: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """Call one handler, in a thread when it might block, and wait for it."""
    try:
        if handler.run_inline or iscoroutinefunction(call):
            answer = call(*args, **kwargs)
        else:
            from asyncio import get_running_loop

            task = partial(copy_context().run, partial(call, *args, **kwargs))
            answer = await get_running_loop().run_in_executor(None, task)
        if iscoroutine(answer):
            await answer
    except Exception as error:  # noqa: BLE001 - the user's handler
        if (instead := _settle(handler, event, args, error)) is not None:
            await ahandle_event([handler], *instead, **kwargs)


async def _finish(
    answer: Coroutine[Any, Any, Any],
    handler: BaseCallbackHandler,
    event: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> None:
    """Wait for a coroutine that a handler gave to a sync run."""
    try:
        await answer
    except Exception as error:  # noqa: BLE001 - the user's handler
        if (instead := _settle(handler, event, args, error)) is not None:
            await ahandle_event([handler], *instead, **kwargs)


def _settle(
    handler: BaseCallbackHandler, event: str, args: tuple[Any, ...], error: Exception
) -> tuple[Any, ...] | None:
    """Decide what follows what a handler raised: `None` for nothing, or the event, ignore name and arguments to try.

    Raises `error` again where the handler wants that.
    """
    who = f"{type(handler).__name__}.{event}"
    if isinstance(error, NotImplementedError):
        if event == "on_chat_model_start":
            from modelwire.messages.transcript import get_buffer_string

            return ("on_llm_start", "ignore_llm", args[0], [get_buffer_string(row) for row in args[1]], *args[2:])
        _logger().warning("NotImplementedError in %s callback: %r", who, error)
        return None
    _logger().warning("Error in %s callback: %r", who, error)
    if handler.raise_error:
        raise error
    return None


def _logger() -> Logger:
    from logging import getLogger  # 2 ms, for a program that logs nothing

    return getLogger("modelwire.callbacks")


def _run_to_completion(waiting: list[Coroutine[Any, Any, None]]) -> None:
    """Run coroutines one after another on a loop of their own: in a thread where this one has a running loop."""
    import asyncio

    async def in_order() -> None:
        failed: Exception | None = None
        for coroutine in waiting:
            try:
                await coroutine
            except Exception as error:  # noqa: BLE001 - a handler with `raise_error`; the others still hear
                failed = failed or error
        if failed is not None:
            raise failed

    def run() -> None:
        # A loop factory keeps the runner from unsetting the thread's own event loop.
        with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
            runner.run(in_order())

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        run()
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as thread:
        thread.submit(copy_context().run, run).result()
