"""The two drivers: they do the steps of a flow, sync and async, and decide nothing.

A whole answer comes back from `drive` / `adrive`; chunks come out of `drive_stream` / `adrive_stream`. However the
caller leaves, the flow and its line are closed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from modelwire.errors import ModelwireError
from modelwire.transport.steps import Call, Pause, Read, Send, Sign, Wait

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Generator

    from modelwire.transport.connections.pooled import AsyncPooledConnection, SyncPooledConnection
    from modelwire.transport.steps import Flow

M = TypeVar("M")
C = TypeVar("C")


def drive(flow: Flow[C, M], line: SyncPooledConnection) -> M:
    """Run a call to its answer."""
    outcome: Any = None
    failure: Exception | None = None
    try:
        while True:
            try:
                step = flow.send(outcome) if failure is None else flow.throw(failure)
            except StopIteration as done:
                answer: M = done.value
                return answer
            outcome, failure = _do(step, line)
    except BaseException as error:
        _drop_frames(error)
        raise
    finally:
        line.close()
        flow.close()


def drive_stream(flow: Flow[C, None], line: SyncPooledConnection) -> Generator[C]:
    """Run a call and yield its chunks."""
    outcome: Any = None
    failure: Exception | None = None
    try:
        while True:
            try:
                step = flow.send(outcome) if failure is None else flow.throw(failure)
            except StopIteration:
                return
            outcome = failure = None
            if type(step) is list:
                yield from step
            else:
                outcome, failure = _do(step, line)
    except BaseException as error:
        _drop_frames(error)
        raise
    finally:
        line.close()
        flow.close()


async def adrive(flow: Flow[C, M], line: AsyncPooledConnection) -> M:
    """Run a call to its answer."""
    outcome: Any = None
    failure: Exception | None = None
    try:
        while True:
            try:
                step = flow.send(outcome) if failure is None else flow.throw(failure)
            except StopIteration as done:
                answer: M = done.value
                return answer
            outcome = failure = None
            try:
                outcome = await _doing(step, line)
            except Exception as exc:  # noqa: BLE001 - the line says what it is, the flow what follows
                failure = _failure(exc, step, line)
    except BaseException as error:
        _drop_frames(error)
        raise
    finally:
        await line.close()
        flow.close()


async def adrive_stream(flow: Flow[C, None], line: AsyncPooledConnection) -> AsyncGenerator[C]:
    """Run a call and yield its chunks."""
    outcome: Any = None
    failure: Exception | None = None
    try:
        while True:
            try:
                step = flow.send(outcome) if failure is None else flow.throw(failure)
            except StopIteration:
                return
            outcome = failure = None
            if type(step) is list:
                for chunk in step:
                    yield chunk
                continue
            try:
                outcome = await _doing(step, line)
            except Exception as exc:  # noqa: BLE001 - the line says what it is, the flow what follows
                failure = _failure(exc, step, line)
    except BaseException as error:
        _drop_frames(error)
        raise
    finally:
        await line.close()
        flow.close()


def _drop_frames(error: BaseException) -> None:
    """Cut off the frames below: they hold what was read, and headers that a debugger or `rich` would show.

    This holds for a call that was interrupted too, by a timeout around it, a cancel or Ctrl-C. Any other exception is a
    bug, perhaps in a client of the user's own, and keeps its frames.
    """
    if isinstance(error, ModelwireError):
        error.__traceback__ = None
    elif not isinstance(error, Exception):
        error.__traceback__ = error.__context__ = None


def _failure(
    exc: Exception, step: Any, line: SyncPooledConnection | AsyncPooledConnection
) -> Exception:
    """Return the error for the flow; an error of a function that it has called is not the wire's."""
    if type(step) is Call:
        raise exc
    if type(step) is Sign:
        return exc
    return line.failure(exc)


def _do(step: Any, line: SyncPooledConnection) -> tuple[Any, Exception | None]:
    """Return the result of one step and None, or None and its error: the flow handles both."""
    try:
        if type(step) is Read:
            return line.read(), None
        if type(step) is Send:
            return line.send(step), None
        if type(step) is Wait:
            line.wait(step)
            return None, None
        line.close()
        if not isinstance(step, Pause):
            return step.function(), None
        line.sleep(step.seconds)
    except Exception as exc:  # noqa: BLE001 - the line says what it is, the flow what follows
        return None, _failure(exc, step, line)
    return None, None


def _doing(step: Any, line: AsyncPooledConnection) -> Awaitable[Any]:
    """Return what does one step. Not a coroutine itself: each of them is entered again whenever the socket is ready."""
    if type(step) is Read:
        return line.read()
    if type(step) is Send:
        return line.send(step)
    if type(step) is Wait:
        return line.wait(step)
    return _doing_without(step, line)


async def _doing_without(step: Call | Pause, line: AsyncPooledConnection) -> Any:
    """Return the result of a step that needs no connection."""
    await line.close()
    if isinstance(step, Pause):
        return await line.sleep(step.seconds)
    returned = step.function()
    if hasattr(returned, "__await__"):
        return await returned
    return returned
