"""Reports the runs of runnables to their callback handlers. Without handlers no run is opened.

A function of the user that takes a `run_manager` always gets one. Without handlers it belongs to a
silent run, which reports to nothing.

Every start has exactly one end or error. No other module of `runnables` calls a callback manager.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from modelwire.aliases import AsyncChunks, Chunks, Kwargs
from modelwire.callbacks.hooks import listening
from modelwire.runnables.addable import collected
from modelwire.runnables.closing import aclose, close
from modelwire.runnables.config import (
    RunnableConfig,
    below,
    changed,
    get_async_callback_manager_for_config,
    get_callback_manager_for_config,
)
from modelwire.runnables.invoke_function import END

if TYPE_CHECKING:
    from modelwire.callbacks import AsyncCallbackManagerForChainRun, CallbackManagerForChainRun

__all__ = ["AsyncRun", "Run", "acalled", "atransformed", "called", "listening", "transformed"]

Output = TypeVar("Output")

Transform: TypeAlias = Callable[[Chunks, RunnableConfig, "Run | None"], Iterator[Output]]
AsyncTransform: TypeAlias = Callable[
    [AsyncChunks, RunnableConfig, "AsyncRun | None"], AsyncIterator[Output]
]

# Without handlers there is no run.
OptionalRun: TypeAlias = "Run | None"
OptionalAsyncRun: TypeAlias = "AsyncRun | None"
AnyRun: TypeAlias = "Run | AsyncRun | None"

# A run that starts before its input is complete reports this as its input.
UNKNOWN_INPUT = {"input": ""}


class _RunState:
    """The shared state of sync and async runs: the config, and whether the end was reported."""

    __slots__ = ("config", "manager", "over")

    def __init__(self, manager: Any, config: RunnableConfig) -> None:
        self.manager = manager
        self.config = config
        self.over = False

    def below(self, tag: str | None = None) -> RunnableConfig:
        """Return the config of a nested run; `tag` applies to that run only."""
        return changed(self.config, callbacks=self.manager.get_child(tag))

    def chunk_listeners(self) -> list[Callable[[Any], Any]]:
        """Return the functions to be called with each chunk of this run."""
        from modelwire.callbacks.base import call_observers

        observers = call_observers(self.manager.handlers, self.manager.run_id).values()
        return [observer.chunk for observer in observers if observer.wants_tokens]


class Run(_RunState):
    """A sync run with handlers, or a silent one."""

    __slots__ = ()
    manager: CallbackManagerForChainRun

    def end(self, output: Output, **about: Any) -> Output:
        """Report the output, and return it."""
        self.over = True
        self.manager.on_chain_end(output, **about)
        return output

    def fail(self, error: BaseException, **about: Any) -> None:
        """Report the error, unless the end was reported."""
        if not self.over:
            self.over = True
            self.manager.on_chain_error(error, **about)


class AsyncRun(_RunState):
    """An async run with handlers, or a silent one."""

    __slots__ = ()
    manager: AsyncCallbackManagerForChainRun

    async def end(self, output: Output, **about: Any) -> Output:
        """Report the output, and return it."""
        self.over = True
        await self.manager.on_chain_end(output, **about)
        return output

    async def fail(self, error: BaseException, **about: Any) -> None:
        """Report the error, unless the end was reported."""
        if not self.over:
            self.over = True
            await self.manager.on_chain_error(error, **about)


def _opened(
    runnable: Any, input: Any, config: RunnableConfig, run_type: str | None, serialized: Any = None
) -> Run:
    manager = get_callback_manager_for_config(config)
    return Run(
        manager.on_chain_start(serialized, input, **_about(runnable, config, run_type)), config
    )


async def _aopened(
    runnable: Any, input: Any, config: RunnableConfig, run_type: str | None, serialized: Any = None
) -> AsyncRun:
    manager = get_async_callback_manager_for_config(config)
    return AsyncRun(
        await manager.on_chain_start(serialized, input, **_about(runnable, config, run_type)),
        config,
    )


def _about(runnable: Any, config: RunnableConfig, run_type: str | None) -> Kwargs:
    about: Kwargs = {
        "name": config.get("run_name") or runnable.get_name(),
        "run_id": config.get("run_id"),
    }
    if run_type is not None:
        about["run_type"] = run_type
    return about


class _Recorder:
    """Collects the items of a stream, to report their sum when the run ends; in a silent run it collects nothing."""

    __slots__ = ("items", "keep")

    def __init__(self) -> None:
        self.items: list[Any] = []
        # Adds one item. Every item comes here, so this is the list's own method.
        self.keep: Callable[[Any], None] = self.items.append

    def ignore_items(self) -> None:
        self.keep = _ignore

    def sum(self) -> Any:
        """Return the sum of the items, or the last one if their own `__add__` raises: a report must
        not fail the run.
        """
        try:
            return collected(self.items)
        except Exception:  # noqa: BLE001 - a user's `__add__`
            return self.items[-1]

    def record(self, first: Any, items: Chunks) -> Chunks:
        if first is not END:
            self.keep(first)
            yield first
            for item in items:
                self.keep(item)
                yield item

    async def arecord(self, first: Any, items: AsyncChunks) -> AsyncChunks:
        if first is not END:
            self.keep(first)
            yield first
            async for item in items:
                self.keep(item)
                yield item


def _ignore(item: Any) -> None:
    pass


def called(
    runnable: Any,
    input: Any,
    config: RunnableConfig,
    work: Callable[[RunnableConfig, Run | None], Output],
    run_type: str | None = None,
    serialized: Any = None,
    *,
    is_needed: bool = False,
) -> Output:
    """Call `work(config, run)` as a run of `runnable` under the settled `config`.

    Without handlers the run is None, or a silent one if it `is_needed`.
    """
    if not (is_needed or listening(config)):
        return work(below(config), None)
    run = _opened(runnable, input, config, run_type, serialized)
    try:
        return run.end(work(run.below(), run))
    except BaseException as error:
        run.fail(error)
        raise


def transformed(
    runnable: Any,
    input: Chunks,
    config: RunnableConfig,
    transform: Transform[Output],
    run_type: str | None = None,
    *,
    is_needed: bool = False,
) -> Iterator[Output]:
    """Return the chunks of `transform(input, config, run)`, reported as a run of `runnable`.

    Without handlers the run is None, or a silent one if it `is_needed`.
    """
    if is_needed or listening(config):
        return _observed_stream(runnable, input, config, transform, run_type)
    return transform(input, below(config), None)


def _observed_stream(
    runnable: Any,
    input: Chunks,
    config: RunnableConfig,
    transform: Transform[Output],
    run_type: str | None,
) -> Iterator[Output]:
    """Run a transform and report its run.

    The run starts with the first input item, or with the whole input if the step waits for it, and
    ends with the sums of input and output. A stream that its reader closes early has ended, not
    failed. If the input fails before its first item, no run is reported.
    """
    inputs_seen = _Recorder()
    outputs = _Recorder()
    output: Iterator[Output] | None = None
    run: Run | None = None
    try:
        # The run starts when its input does.
        first = next(input, END)
        known: Any = UNKNOWN_INPUT
        if first is not END and getattr(runnable, "_waits_for_input", False):
            known = first = collected([first, *input])
        run = _opened(runnable, known, config, run_type)
        if not run.manager.handlers:
            inputs_seen.ignore_items()
            outputs.ignore_items()
        output = transform(inputs_seen.record(first, input), run.below(), run)
        listeners = run.chunk_listeners()
        for chunk in output:
            outputs.keep(chunk)
            for hear in listeners:
                hear(chunk)
            yield chunk
        run.end(outputs.sum(), inputs=inputs_seen.sum())
    except GeneratorExit:
        if run is not None and not run.over:
            run.end(outputs.sum(), inputs=inputs_seen.sum())
        raise
    except BaseException as exc:
        if run is not None:
            run.fail(exc, inputs=inputs_seen.sum())
        raise
    finally:
        close(output, input)


async def acalled(
    runnable: Any,
    input: Any,
    config: RunnableConfig,
    work: Callable[[RunnableConfig, AsyncRun | None], Awaitable[Output]],
    run_type: str | None = None,
    serialized: Any = None,
    *,
    is_needed: bool = False,
) -> Output:
    """Do what `called` does, async."""
    if not (is_needed or listening(config)):
        return await work(below(config), None)
    run = await _aopened(runnable, input, config, run_type, serialized)
    try:
        return await run.end(await work(run.below(), run))
    except BaseException as error:
        await run.fail(error)
        raise


def atransformed(
    runnable: Any,
    input: AsyncChunks,
    config: RunnableConfig,
    transform: AsyncTransform[Output],
    run_type: str | None = None,
    *,
    is_needed: bool = False,
) -> AsyncIterator[Output]:
    """Do what `transformed` does, async."""
    if is_needed or listening(config):
        return _aobserved_stream(runnable, input, config, transform, run_type)
    return transform(input, below(config), None)


async def _aobserved_stream(
    runnable: Any,
    input: AsyncChunks,
    config: RunnableConfig,
    transform: AsyncTransform[Output],
    run_type: str | None,
) -> AsyncIterator[Output]:
    """Do what `_observed_stream` does, async."""
    inputs_seen = _Recorder()
    outputs = _Recorder()
    output: AsyncIterator[Output] | None = None
    run: AsyncRun | None = None
    try:
        try:
            first = await anext(input)
        except StopAsyncIteration:
            first = END
        known: Any = UNKNOWN_INPUT
        if first is not END and getattr(runnable, "_waits_for_input", False):
            known = first = collected([first, *[item async for item in input]])
        run = await _aopened(runnable, known, config, run_type)
        if not run.manager.handlers:
            inputs_seen.ignore_items()
            outputs.ignore_items()
        output = transform(inputs_seen.arecord(first, input), run.below(), run)
        listeners = run.chunk_listeners()
        async for chunk in output:
            outputs.keep(chunk)
            for hear in listeners:
                hear(chunk)
            yield chunk
        await run.end(outputs.sum(), inputs=inputs_seen.sum())
    except GeneratorExit:
        if run is not None and not run.over:
            await run.end(outputs.sum(), inputs=inputs_seen.sum())
        raise
    except BaseException as exc:
        if run is not None:
            await run.fail(exc, inputs=inputs_seen.sum())
        raise
    finally:
        await aclose(output, input)
