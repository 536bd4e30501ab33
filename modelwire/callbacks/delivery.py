"""Delivers an event to its handlers: in order, sync or async, whatever errors they raise.

An error of a handler, or a cancellation, may prevent that later handlers are called for a start:
the list `hearers` collects the handlers that were called. The end of a run is delivered to all.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from inspect import iscoroutine, iscoroutinefunction
from typing import TYPE_CHECKING, Any, TypeAlias

from modelwire.aliases import Args, Function, Kwargs
from modelwire.callbacks.base import EVENTS, SILENT, BaseCallbackHandler

if TYPE_CHECKING:
    from asyncio import Future
    from logging import Logger

__all__ = ["ahandle_event", "handle_event"]

# If it is a list, each handler is appended to it when it is called.
Told: TypeAlias = "list[BaseCallbackHandler] | None"


def handle_event(
    handlers: Sequence[BaseCallbackHandler],
    event_name: str,
    ignore_condition_name: str | None,
    *args: Any,
    **kwargs: Any,
) -> None:
    """Call the method `event_name` of every handler that wants the event, in order.

    Coroutines run to completion before this returns.
    """
    deliver(handlers, event_name, ignore_condition_name, args, kwargs)


def deliver(
    handlers: Sequence[BaseCallbackHandler],
    event_name: str,
    ignore: str | None,
    args: Args,
    kwargs: Kwargs,
    hearers: Told = None,
) -> None:
    """Call the hook `event_name` of each handler, as `handle_event` does, with `args` and `kwargs` not unpacked.

    That saves time for each token.
    """
    waiting: list[Coroutine[Any, Any, None]] = []
    failed: BaseException | None = None
    try:
        for handler in handlers:
            call = _listener(handler, event_name, ignore)
            if call is None:
                continue
            if hearers is not None:
                hearers.append(handler)
            try:
                try:
                    answer = call(*args, **kwargs)
                except Exception as error:  # noqa: BLE001 - the user's handler
                    if (instead := _settle(handler, event_name, args, error)) is not None:
                        handle_event([handler], *instead, **kwargs)
                    continue
            except BaseException as error:
                if not _is_end(event_name):
                    raise
                failed = failed or error
                continue
            if answer is not None and iscoroutine(answer):
                waiting.append(_finish(answer, handler, event_name, args, kwargs))
    finally:
        if waiting:
            _run_to_completion(waiting)
    if failed is not None:
        raise failed


def _is_end(event: str) -> bool:
    return event.endswith(("_end", "_error"))


async def ahandle_event(
    handlers: Sequence[BaseCallbackHandler],
    event_name: str,
    ignore_condition_name: str | None,
    *args: Any,
    **kwargs: Any,
) -> None:
    """Call the method `event_name` of every handler that wants the event.

    Inline handlers are called first, one by one, then the others concurrently. Only inline handlers
    run in the caller's context. The end of a run reaches all, even if the caller is cancelled.
    """
    await adeliver(handlers, event_name, ignore_condition_name, args, kwargs)


async def adeliver(
    handlers: Sequence[BaseCallbackHandler],
    event_name: str,
    ignore: str | None,
    args: Args,
    kwargs: Kwargs,
    hearers: Told = None,
) -> None:
    """Call the hook `event_name` of each handler, as `ahandle_event` does, with `args` and `kwargs` not unpacked.

    That saves time for each token.
    """
    later = []
    failed: BaseException | None = None
    for handler in handlers:
        call = _listener(handler, event_name, ignore)
        if call is None:
            continue
        if not handler.run_inline:
            later.append((call, handler))
            continue
        try:
            await _tell(call, handler, event_name, args, kwargs, hearers)
        except BaseException as error:
            if not _is_end(event_name):
                raise
            failed = failed or error
    if later:
        together = [
            _tell(call, handler, event_name, args, kwargs, hearers) for call, handler in later
        ]
        outcomes = await _all_of(together, shielded=_is_end(event_name))
        failed = failed or next(
            (outcome for outcome in outcomes if isinstance(outcome, BaseException)), None
        )
    if failed is not None:
        raise failed


# These calls continue after their caller was cancelled; the event loop holds only weak references
# to them.
_unfinished: set[Future[Any]] = set()


async def _all_of(calls: list[Coroutine[Any, Any, None]], *, shielded: bool) -> list[Any]:
    """Run calls concurrently, and return their results or errors.

    With `shielded` the calls continue if the caller is cancelled.
    """
    import asyncio

    together = asyncio.gather(*calls, return_exceptions=True)
    if not shielded:
        return await together
    _unfinished.add(together)
    together.add_done_callback(_unfinished.discard)
    return await asyncio.shield(together)


def wanting(handlers: Sequence[BaseCallbackHandler], event: str) -> list[BaseCallbackHandler]:
    """Return the handlers that override the method of `event` and do not decline it."""
    return [handler for handler in handlers if _listener(handler, event, EVENTS[event]) is not None]


def _listener(handler: BaseCallbackHandler, event: str, ignore: str | None) -> Function | None:
    """Return the method to call, or None for a handler that declines the event or does not override it."""
    if ignore is not None and getattr(handler, ignore, False):
        return None
    call: Function | None = getattr(handler, event, None)
    if getattr(call, "__func__", None) in SILENT:
        return None
    return call


async def _tell(
    call: Function,
    handler: BaseCallbackHandler,
    event: str,
    args: Args,
    kwargs: Kwargs,
    hearers: Told = None,
) -> None:
    """Call one handler, in a thread if it might block, and wait for it."""
    try:
        if not handler.run_inline and not iscoroutinefunction(call):
            answer = await _in_thread(partial(call, *args, **kwargs), handler, hearers)
        else:
            if hearers is not None:
                hearers.append(handler)
            answer = call(*args, **kwargs)
        if iscoroutine(answer):
            await answer
    except Exception as error:  # noqa: BLE001 - the user's handler
        if (instead := _settle(handler, event, args, error)) is not None:
            await ahandle_event([handler], *instead, **kwargs)


async def _in_thread(call: Callable[[], Any], handler: BaseCallbackHandler, hearers: Told) -> Any:
    """Call a handler in a thread.

    If the caller is cancelled after the handler was started, this waits until the handler is done, so
    that the end event is delivered later.
    """
    import asyncio

    loop = asyncio.get_running_loop()
    context = copy_context()
    if hearers is None:
        return await loop.run_in_executor(None, context.run, call)
    # Whichever pops the handler first decides: the thread starts the call, or a cancellation prevents it.
    turn = [handler]

    def begin() -> Any:
        try:
            hearers.append(turn.pop())
        except IndexError:
            return None
        return call()

    hearing = loop.run_in_executor(None, context.run, begin)
    try:
        return await asyncio.shield(hearing)
    except asyncio.CancelledError:
        try:
            turn.pop()
        except IndexError:
            await _over(hearing)
        raise


async def _over(future: Future[Any]) -> None:
    """Wait until `future` is done, whatever error it has and however often the caller is cancelled."""
    import asyncio

    while not future.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([future])
    if not future.cancelled():
        # Reading the error keeps asyncio from reporting it as unhandled.
        future.exception()


async def _finish(
    answer: Coroutine[Any, Any, Any],
    handler: BaseCallbackHandler,
    event: str,
    args: Args,
    kwargs: Kwargs,
) -> None:
    """Wait for a coroutine that a handler has returned to a sync run."""
    try:
        await answer
    except Exception as error:  # noqa: BLE001 - the user's handler
        if (instead := _settle(handler, event, args, error)) is not None:
            await ahandle_event([handler], *instead, **kwargs)


def _settle(handler: BaseCallbackHandler, event: str, args: Args, error: Exception) -> Args | None:
    """Log the error of a handler. Return None, or the event, ignore name and arguments to deliver instead.

    Raises: `error` again if the handler has set `raise_error`.
    """
    who = f"{type(handler).__name__}.{event}"
    if isinstance(error, NotImplementedError):
        if event == "on_chat_model_start":
            from modelwire.messages.transcript import get_buffer_string

            return (
                "on_llm_start",
                "ignore_llm",
                args[0],
                [get_buffer_string(row) for row in args[1]],
                *args[2:],
            )
        _logger().warning("NotImplementedError in %s callback: %r", who, error)
        return None
    _logger().warning("Error in %s callback: %r", who, error)
    if handler.raise_error:
        raise error
    return None


def _logger() -> Logger:
    # The import takes 2 ms, which a program without errors saves.
    from logging import getLogger

    return getLogger("modelwire.callbacks")


def _run_to_completion(waiting: list[Coroutine[Any, Any, None]]) -> None:
    """Run coroutines one after another on a new event loop; in a thread if the current thread has a running loop."""
    import asyncio

    async def in_order() -> None:
        failed: Exception | None = None
        for coroutine in waiting:
            try:
                await coroutine
            except Exception as error:  # noqa: BLE001 - a handler with `raise_error`; the other coroutines still run
                failed = failed or error
        if failed is not None:
            raise failed

    def run() -> None:
        # With a loop factory the runner does not unset the thread's own event loop.
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
