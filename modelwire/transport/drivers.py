"""The drivers execute the steps of a flow, sync or async; the flow makes all decisions.

`drive` and `adrive` return a whole answer; `drive_stream` and `adrive_stream` yield chunks. The flow and its connection
are always closed, even if the caller leaves early.
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
    """Execute the steps of a call's flow over a connection, and return the answer."""
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
    """Execute the steps of a stream's flow over a connection, and yield the chunks."""
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
    """Execute the steps of a call's flow over a connection, and return the answer."""
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
    """Execute the steps of a stream's flow over a connection, and yield the chunks."""
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
    """Remove the traceback of a call's error: its frames hold the answer and headers, which `rich` would show.

    The same is done for a call that was interrupted by a timeout around it, a cancellation or Ctrl-C. Any other
    exception is a bug, perhaps in a user's client, and keeps its frames.
    """
    if isinstance(error, ModelwireError):
        error.__traceback__ = None
    elif not isinstance(error, Exception):
        error.__traceback__ = error.__context__ = None


def _failure(
    exc: Exception, step: Any, line: SyncPooledConnection | AsyncPooledConnection
) -> Exception:
    """Return what to throw into the flow after a failed step: an I/O error becomes a `ChatError`.

    An error of a function that the step calls (`Call`) is raised unchanged, past the flow.
    """
    if type(step) is Call:
        raise exc
    if type(step) is Sign:
        return exc
    return line.failure(exc)


def _do(step: Any, line: SyncPooledConnection) -> tuple[Any, Exception | None]:
    """Execute one step; return its result and None, or None and its error for the flow."""
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
    """Return an awaitable that executes one step.

    This function is not a coroutine, because each nested coroutine is resumed whenever the socket is ready.
    """
    if type(step) is Read:
        return line.read()
    if type(step) is Send:
        return line.send(step)
    if type(step) is Wait:
        return line.wait(step)
    return _doing_without(step, line)


async def _doing_without(step: Call | Pause, line: AsyncPooledConnection) -> Any:
    """Execute a step that needs no connection, and return its result."""
    await line.close()
    if isinstance(step, Pause):
        return await line.sleep(step.seconds)
    returned = step.function()
    if hasattr(returned, "__await__"):
        return await returned
    return returned
