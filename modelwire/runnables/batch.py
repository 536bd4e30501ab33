"""Runs a runnable on many inputs: with bounded concurrency, in order, reading inputs lazily.

At most `max_concurrency` calls exist at a time, and inputs are read as calls finish. Two schedulers
share every other decision: `_finished` waits for calls that run elsewhere (threads, or the
background event loop), `_afinished` awaits tasks of its own loop.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import (
    AsyncIterator,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
    Sized,
)
from contextlib import suppress
from contextvars import Context, copy_context
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from modelwire import lazy
from modelwire.aliases import Function, Kwargs
from modelwire.errors import InvalidArgument, InvalidType
from modelwire.runnables.closing import aclose, close
from modelwire.runnables.config import (
    Configs,
    RunnableConfig,
    element_config,
    in_batch,
    started,
    warn_of_run_id,
    with_copies,
)
from modelwire.runnables.reading_context import abound, bound

if TYPE_CHECKING:
    import asyncio

    from modelwire.runnables import background as loops
    from modelwire.runnables.base import Runnable
else:
    loops = lazy.module("modelwire.runnables.background")

Input = TypeVar("Input")
Output = TypeVar("Output")

# Sync batches run at most this many calls at a time. On an event loop a waiting call is one task:
# 100 keep a provider busy and stay within the pools' connections and the usual limit of 256-1,024
# open files. A waiting thread needs a stack, so threads have the default of concurrent.futures.
LOOP_CONCURRENCY = 100
THREAD_CONCURRENCY = min(32, (os.cpu_count() or 1) + 4)

# Reading inputs may be slow (a generator that reads a file): after this long, the calls started so
# far may proceed.
_READING_S = 0.001
# A stopped batch waits until its cancelled calls are over; it counts them at this interval.
_REST_POLL_S = 0.05

# The outcome of one call: its position, and the output or the error.
_Finished: TypeAlias = tuple[int, Any, BaseException | None]
# Outputs, each with the position of its input.
_Numbered: TypeAlias = Iterator[tuple[int, Any]]
_AsyncNumbered: TypeAlias = AsyncIterator[tuple[int, Any]]
# A call, and the function that is called with its outcome.
Work: TypeAlias = Callable[[], Any]
Report: TypeAlias = Callable[[_Finished], None]


def _rows(inputs: Any, config: Configs) -> tuple[Iterator[tuple[Any, RunnableConfig]], int | None]:
    """Return pairs of an input and its config, lazily, and the first config's `max_concurrency`.

    Invalid arguments raise at once.
    """
    _check_kinds(inputs, config)
    length = len(inputs) if isinstance(inputs, Sized) else None
    if isinstance(config, Sequence):
        ready = [element_config(one) for one in config]
        if length is not None and length != len(ready):
            raise _mismatch(len(ready), f"{length} inputs")
        first = ready[0] if ready else RunnableConfig()
        return _matched(iter(inputs), ready), first.get("max_concurrency")
    first = element_config(config)
    is_single = length is not None and length <= 1
    if "run_id" in first and not is_single:
        warn_of_run_id()
    return with_copies(iter(inputs), first), first.get("max_concurrency")


def _check_kinds(inputs: Any, config: Any) -> None:
    """Raise `InvalidType` if `inputs` is not an iterable of inputs, or `config` is neither a config nor a list."""
    # A message, for example, is a single value.
    one_value = isinstance(inputs, (str, bytes, Mapping)) or hasattr(type(inputs), "model_fields")
    if one_value or not isinstance(inputs, Iterable):
        raise InvalidType(
            f"A batch takes an iterable of inputs, such as a list, not a `{type(inputs).__name__}`. "
            "For a single input use `invoke`, or put it into a list."
        )
    if config is not None and not isinstance(config, (Mapping, Sequence)):
        raise InvalidType(
            f"`config` must be a dict or a list of dicts, not a `{type(config).__name__}`."
        )


def _matched(
    inputs: Iterator[Input], configs: list[RunnableConfig]
) -> Iterator[tuple[Input, RunnableConfig]]:
    position = 0
    for position, input in enumerate(inputs, 1):
        if position > len(configs):
            raise _mismatch(len(configs), "more inputs")
        yield input, configs[position - 1]
    if position < len(configs):
        raise _mismatch(len(configs), f"{position} inputs")


def _mismatch(configs: int, inputs: str) -> InvalidArgument:
    return InvalidArgument(
        f"`config` has {configs} entries for {inputs}. Give one config, or one for each input."
    )


def in_order(finished: _Numbered) -> list[Any]:
    """Return the outputs in the order of the inputs; `finished` yields (position, output)."""
    outputs: list[Any] = []
    try:
        for position, output in finished:
            _place(outputs, position, output)
    finally:
        close(finished)
    return outputs


async def ain_order(finished: _AsyncNumbered) -> list[Any]:
    """Return the outputs in the order of the inputs; `finished` yields (position, output)."""
    outputs: list[Any] = []
    try:
        async for position, output in finished:
            _place(outputs, position, output)
    finally:
        await aclose(finished)
    return outputs


def _place(outputs: list[Any], position: int, output: Any) -> None:
    """Store an output at its input's position.

    The list grows only as far as calls have finished.
    """
    if position >= len(outputs):
        outputs.extend([None] * (position + 1 - len(outputs)))
    outputs[position] = output


def batch_as_completed(
    runnable: Runnable[Input, Output],
    inputs: Iterable[Input],
    config: Configs,
    *,
    return_exceptions: bool,
    kwargs: Kwargs,
) -> _Numbered:
    """See `Runnable.batch_as_completed`."""
    rows, limit = _rows(inputs, config)
    crew = _crew(runnable, inputs, limit)
    invoke = runnable.ainvoke if isinstance(crew, _LoopCrew) else runnable.invoke
    calls = (_call(invoke, input, one, kwargs) for input, one in rows)
    return bound(_finished(calls, crew, return_exceptions=return_exceptions))


def abatch_as_completed(
    runnable: Runnable[Input, Output],
    inputs: Iterable[Input],
    config: Configs,
    *,
    return_exceptions: bool,
    kwargs: Kwargs,
) -> _AsyncNumbered:
    """See `Runnable.abatch_as_completed`."""
    rows, limit = _rows(inputs, config)
    calls = (_call(runnable.ainvoke, input, one, kwargs) for input, one in rows)
    finished = _afinished(calls, limit or LOOP_CONCURRENCY)
    return abound(_aoutputs(finished, return_exceptions=return_exceptions))


def _row_context() -> Context:
    context = copy_context()
    context.run(in_batch.set, True)
    return context


def _call(invoke: Function, input: Any, config: RunnableConfig, kwargs: Kwargs) -> Work:
    return lambda: invoke(input, started(config), **kwargs)


async def _aoutputs(
    finished: AsyncIterator[_Finished], *, return_exceptions: bool
) -> _AsyncNumbered:
    try:
        async for position, output, error in finished:
            yield position, _judged(output, error, return_exceptions)
    finally:
        await aclose(finished)


def _judged(output: Any, error: BaseException | None, return_exceptions: bool) -> Any:  # noqa: FBT001
    """Return the output, or the error if errors are returned; raise it otherwise."""
    if error is None:
        return output
    if return_exceptions and isinstance(error, Exception):
        return error
    raise error


class _Crew(ABC):
    """Runs the calls of a sync batch and reports each exactly once. A subclass decides where the calls run."""

    limit: int
    # True if `cancel` ends a running call.
    interruptible = False

    @abstractmethod
    def start(self, position: int, call: Work, report: Report) -> None: ...

    def cancel(self) -> None:  # noqa: B027 - a subclass may have nothing to cancel
        """Cancel the calls that can be cancelled; other calls finish. Each call still reports its outcome."""

    def dismiss(self) -> None:  # noqa: B027 - a subclass may have no workers
        """Release the workers."""


class _ThreadCrew(_Crew):
    """Runs sync calls in threads."""

    def __init__(self, limit: int) -> None:
        from concurrent.futures import ThreadPoolExecutor

        self.limit = limit
        self._cancelled = False
        self._pool = ThreadPoolExecutor(limit, thread_name_prefix="modelwire-batch")

    def start(self, position: int, call: Work, report: Report) -> None:
        self._pool.submit(self._work, position, call, report, _row_context())

    def _work(
        self,
        position: int,
        call: Work,
        report: Report,
        context: Context,
    ) -> None:
        if self._cancelled:
            report((position, None, None))
            return
        try:
            finished: _Finished = position, context.run(call), None
        except BaseException as exc:  # noqa: BLE001 - it is raised where the batch is read
            finished = position, None, exc
        report(finished)

    def cancel(self) -> None:
        self._cancelled = True

    def dismiss(self) -> None:
        self._pool.shutdown(wait=False)


class _InlineCrew(_Crew):
    """Runs a single call on the caller's thread."""

    limit = 1

    def start(self, position: int, call: Work, report: Report) -> None:
        try:
            finished: _Finished = position, _row_context().run(call), None
        except Exception as exc:  # noqa: BLE001 - it is raised where the batch is read
            finished = position, None, exc
        report(finished)


class _LoopCrew(_Crew):
    """Runs async calls as tasks of the background loop."""

    interruptible = True

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._home = loops.background_loop()
        self._tasks: set[asyncio.Task[_Finished]] = set()

    def start(self, position: int, call: Work, report: Report) -> None:
        context = _row_context()

        async def work() -> _Finished:
            try:
                return position, await call(), None
            except BaseException as exc:  # noqa: BLE001 - a SystemExit would end the loop of all other calls
                return position, None, exc

        def begin() -> None:
            task = self._home.loop.create_task(work(), context=context)
            self._tasks.add(task)
            task.add_done_callback(done)

        def done(task: asyncio.Task[_Finished]) -> None:
            self._tasks.discard(task)
            if task.cancelled():
                report((position, *_outcome(task)))
            else:
                report(task.result())

        self._home.post(begin)

    def cancel(self) -> None:
        def act() -> None:
            for task in tuple(self._tasks):
                task.cancel()

        self._home.post(act)


def _crew(runnable: Any, inputs: Iterable[Any], limit: int | None) -> _Crew:
    """Return the crew that runs the calls of a sync batch: inline for one input, else a loop or threads."""
    if isinstance(inputs, Sized) and len(inputs) == 1:
        return _InlineCrew()
    if runnable._may_answer_on_loop() and not loops.background_loop().is_here():
        return _LoopCrew(limit or LOOP_CONCURRENCY)
    return _ThreadCrew(limit or THREAD_CONCURRENCY)


def _finished(calls: Iterator[Work], crew: _Crew, *, return_exceptions: bool) -> _Numbered:
    """Run the calls on the crew, `crew.limit` at a time; yield (position, output) as calls finish.

    Closing the iterator cancels the rest.
    """
    from queue import Empty, SimpleQueue

    reports: SimpleQueue[_Finished] = SimpleQueue()
    # The positions of the calls that are over. The length of this list is right even if a Ctrl-C
    # arrives between reading a report and counting it.
    over: list[int] = []

    def report(finished: _Finished) -> None:
        over.append(finished[0])
        reports.put(finished)

    sent = reported = 0
    more = True
    awaits_rest = True
    try:
        while more or reported < sent:
            while more and sent - reported < crew.limit and reports.empty():
                call = next(calls, None)
                if call is None:
                    more = False
                    break
                crew.start(sent, call, report)
                sent += 1
            if reported < sent:
                position, output, error = reports.get()
                reported += 1
                yield position, _judged(output, error, return_exceptions)
    except (KeyboardInterrupt, GeneratorExit):
        # A Ctrl-C arrives here, or in the code that reads the outputs. After it, calls that cannot
        # be cancelled are not awaited.
        awaits_rest = crew.interruptible
        raise
    finally:
        close(calls)
        try:
            if reported < sent:
                crew.cancel()
            while len(over) < sent and awaits_rest:
                with suppress(Empty):
                    reports.get(timeout=_REST_POLL_S)
        finally:
            crew.dismiss()


def _outcome(task: asyncio.Task[Any]) -> tuple[Any, BaseException | None]:
    if task.cancelled():
        from asyncio import CancelledError

        return None, CancelledError()
    error = task.exception()
    if error is None:
        return (task.result(), None)
    return (None, error)


async def _afinished(
    calls: Iterator[Callable[[], Coroutine[Any, Any, Any]]], limit: int
) -> AsyncIterator[_Finished]:
    """Run the calls as tasks, `limit` at a time; yield (position, output, error) as calls finish.

    Closing the iterator cancels the rest.
    """
    import asyncio

    loop = asyncio.get_running_loop()
    running: dict[asyncio.Task[Any], int] = {}
    done: deque[asyncio.Task[Any]] = deque()
    wake: asyncio.Future[None] | None = None

    def note(task: asyncio.Task[Any]) -> None:
        done.append(task)
        if wake is not None and not wake.done():
            wake.set_result(None)

    position = 0
    more = True
    turn_ends = monotonic() + _READING_S
    try:
        while more or running:
            while more and len(running) < limit and not done:
                call = next(calls, None)
                if call is None:
                    more = False
                    break
                task = loop.create_task(call(), context=_row_context())
                running[task] = position
                position += 1
                task.add_done_callback(note)
                if monotonic() >= turn_ends:
                    await asyncio.sleep(0)
                    turn_ends = monotonic() + _READING_S
            if running and not done:
                wake = loop.create_future()
                await wake
                wake = None
                turn_ends = monotonic() + _READING_S
            if done:
                task = done.popleft()
                yield (running.pop(task), *_outcome(task))
    finally:
        close(calls)
        await _cancelled(list(running))


async def _cancelled(tasks: list[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait until each is over; their outcomes are dropped."""
    if not tasks:
        return
    import asyncio

    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def joined(calls: Sequence[Callable[[], Output]], limit: int | None) -> list[Output]:
    """Run sync calls concurrently in threads and return their results in order; the first error is raised."""
    crew = _ThreadCrew(min(limit or THREAD_CONCURRENCY, len(calls)))
    return in_order(_finished(iter(calls), crew, return_exceptions=False))


async def gathered(
    calls: Sequence[Callable[[], Coroutine[Any, Any, Output]]], limit: int | None
) -> list[Output]:
    """Run async calls concurrently and return their results in order; the first error cancels the rest."""
    return await ain_order(
        _aoutputs(_afinished(iter(calls), limit or len(calls)), return_exceptions=False)
    )
