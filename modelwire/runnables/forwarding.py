"""`Forwarding`: a runnable without a run of its own that forwards its calls to another one."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator, Iterator
from typing import Any, TypeAlias

from modelwire.aliases import Kwargs
from modelwire.runnables.base import Input, Output, Runnable
from modelwire.runnables.config import Config
from modelwire.runnables.description import ComparedByParts

# This is the runnable to call, its input, its config and its keywords.
Call: TypeAlias = tuple[Runnable, Any, Config, Kwargs]


class Forwarding(ComparedByParts, Runnable[Input, Output]):
    """A runnable that forwards its calls.

    A subclass defines in `_forwarded` which runnable gets a call, and with which arguments.
    """

    @abstractmethod
    def _forwarded(self, input: Any, config: Config, kwargs: Kwargs) -> Call:
        """Return the runnable to call instead, with its input, config and keywords."""

    def invoke(self, input: Input, config: Config = None, **kwargs: Any) -> Output:
        runnable, input, config, kwargs = self._forwarded(input, config, kwargs)
        return runnable.invoke(input, config, **kwargs)  # type: ignore[no-any-return]

    async def ainvoke(self, input: Input, config: Config = None, **kwargs: Any) -> Output:
        runnable, input, config, kwargs = self._forwarded(input, config, kwargs)
        return await runnable.ainvoke(input, config, **kwargs)  # type: ignore[no-any-return]

    def stream(self, input: Input, config: Config = None, **kwargs: Any) -> Iterator[Output]:
        runnable, input, config, kwargs = self._forwarded(input, config, kwargs)
        return runnable.stream(input, config, **kwargs)

    def astream(self, input: Input, config: Config = None, **kwargs: Any) -> AsyncIterator[Output]:
        runnable, input, config, kwargs = self._forwarded(input, config, kwargs)
        return runnable.astream(input, config, **kwargs)

    def transform(
        self, input: Iterator[Input], config: Config = None, **kwargs: Any
    ) -> Iterator[Output]:
        runnable, input, config, kwargs = self._forwarded(input, config, kwargs)
        return runnable.transform(input, config, **kwargs)

    def atransform(
        self, input: AsyncIterator[Input], config: Config = None, **kwargs: Any
    ) -> AsyncIterator[Output]:
        runnable, input, config, kwargs = self._forwarded(input, config, kwargs)
        return runnable.atransform(input, config, **kwargs)
