"""`Step`: the base class of modelwire's own runnables.

A subclass computes the output; `Step` opens and reports its run.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator, Iterator
from typing import Any, TypeVar

from modelwire.aliases import AsyncChunks, Chunks, Kwargs
from modelwire.runnables.addable import collected
from modelwire.runnables.base import Input, Output, Runnable
from modelwire.runnables.closing import aclose, close
from modelwire.runnables.config import Config, RunnableConfig, below, hidden, settled
from modelwire.runnables.deadline import (
    COVER_GRACE_S,
    acovered_chunks,
    check,
    covered,
    covered_chunks,
)
from modelwire.runnables.description import ComparedByParts
from modelwire.runnables.reading_context import abound, bound
from modelwire.runnables.run import (
    OptionalAsyncRun,
    OptionalRun,
    acalled,
    atransformed,
    called,
    listening,
    transformed,
)

Item = TypeVar("Item")


class Reported(ComparedByParts, Runnable[Input, Output]):
    """A runnable whose calls are reported to callback handlers.

    Its methods with an underscore get the config for nested calls, and the run, which is None
    without handlers.
    """

    name: str | None = None

    # True for a step whose function takes a `run_manager`: without handlers it gets that of a silent
    # run.
    _takes_manager: bool = False

    # Composite steps let their inner step raise the timeout error, which names what it waited for.
    _grace_s = COVER_GRACE_S

    # A class that overrides `invoke` and `ainvoke` does not need `_value` and `_avalue`.
    def _value(
        self, input: Any, config: RunnableConfig, run: OptionalRun, kwargs: Kwargs
    ) -> Output:
        raise NotImplementedError

    async def _avalue(
        self, input: Any, config: RunnableConfig, run: OptionalAsyncRun, kwargs: Kwargs
    ) -> Output:
        raise NotImplementedError

    def invoke(self, input: Input, config: Config = None, **kwargs: Any) -> Output:
        hidden(kwargs)
        config = settled(config)
        value = self._value_in_time if "deadline" in config else self._value
        if not (self._takes_manager or listening(config)):
            return value(input, below(config), None, kwargs)
        return called(
            self,
            input,
            config,
            lambda inner, run: value(input, inner, run, kwargs),
            is_needed=self._takes_manager,
        )

    async def ainvoke(self, input: Input, config: Config = None, **kwargs: Any) -> Output:
        hidden(kwargs)
        config = settled(config)
        deadline = config.get("deadline")
        if deadline is None and not (self._takes_manager or listening(config)):
            return await self._avalue(input, below(config), None, kwargs)
        return await acalled(
            self,
            input,
            config,
            lambda inner, run: covered(
                self._avalue(input, inner, run, kwargs), deadline, self, grace_s=self._grace_s
            ),
            is_needed=self._takes_manager,
        )

    def _value_in_time(
        self, input: Any, config: RunnableConfig, run: OptionalRun, kwargs: Kwargs
    ) -> Output:
        deadline = config.get("deadline")
        check(deadline, self)
        output = self._value(input, config, run, kwargs)
        check(deadline, self)
        return output


class Step(Reported[Input, Output]):
    """A runnable defined by four methods: one value or a stream of chunks, sync and async."""

    @abstractmethod
    def _chunks(
        self, input: Chunks, config: RunnableConfig, run: OptionalRun, kwargs: Kwargs
    ) -> Iterator[Output]: ...

    @abstractmethod
    def _achunks(
        self,
        input: AsyncChunks,
        config: RunnableConfig,
        run: OptionalAsyncRun,
        kwargs: Kwargs,
    ) -> AsyncIterator[Output]: ...

    def stream(self, input: Input, config: Config = None, **kwargs: Any) -> Iterator[Output]:
        return self.transform(iter((input,)), config, **kwargs)

    def astream(self, input: Input, config: Config = None, **kwargs: Any) -> AsyncIterator[Output]:
        return self.atransform(once(input), config, **kwargs)

    def transform(
        self, input: Iterator[Input], config: Config = None, **kwargs: Any
    ) -> Iterator[Output]:
        hidden(kwargs)
        config = settled(config)
        deadline = config.get("deadline")
        return bound(
            transformed(
                self,
                input,
                config,
                lambda items, inner, run: covered_chunks(
                    self._chunks(items, inner, run, kwargs), deadline, self
                ),
                is_needed=self._takes_manager,
            )
        )

    def atransform(
        self, input: AsyncIterator[Input], config: Config = None, **kwargs: Any
    ) -> AsyncIterator[Output]:
        hidden(kwargs)
        config = settled(config)
        deadline = config.get("deadline")
        grace_s = self._grace_s
        return abound(
            atransformed(
                self,
                input,
                config,
                lambda items, inner, run: acovered_chunks(
                    self._achunks(items, inner, run, kwargs), deadline, self, grace_s=grace_s
                ),
                is_needed=self._takes_manager,
            )
        )


class WholeStep(Step[Input, Output]):
    """A step that collects its whole input, and then opens the stream of its output."""

    @abstractmethod
    def _opened(
        self, input: Any, config: RunnableConfig, run: OptionalRun, kwargs: Kwargs
    ) -> Chunks: ...

    @abstractmethod
    async def _aopened(
        self, input: Any, config: RunnableConfig, run: OptionalAsyncRun, kwargs: Kwargs
    ) -> AsyncChunks: ...

    def _chunks(
        self, input: Chunks, config: RunnableConfig, run: OptionalRun, kwargs: Kwargs
    ) -> Iterator[Output]:
        output: Chunks | None = None
        try:
            items = list(input)
            if items:
                whole = collected(items)
                del items
                output = self._opened(whole, config, run, kwargs)
                yield from output
        finally:
            close(output, input)

    async def _achunks(
        self,
        input: AsyncChunks,
        config: RunnableConfig,
        run: OptionalAsyncRun,
        kwargs: Kwargs,
    ) -> AsyncIterator[Output]:
        output: AsyncChunks | None = None
        try:
            items = [item async for item in input]
            if items:
                whole = collected(items)
                del items
                output = await self._aopened(whole, config, run, kwargs)
                async for chunk in output:
                    yield chunk
        finally:
            await aclose(output, input)


async def once(item: Item) -> AsyncIterator[Item]:
    """Yield one item."""
    yield item
