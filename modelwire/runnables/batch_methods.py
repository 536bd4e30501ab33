"""`BatchMethods`: the batch methods of every `Runnable`; `batch.py` implements them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Generic, Literal, overload

from typing_extensions import TypeVar

from modelwire import runnables
from modelwire._extensions import extension
from modelwire.aliases import Kwargs
from modelwire.runnables.config import Configs, hidden
from modelwire.runnables.lazy_rooms import batching

if TYPE_CHECKING:
    from modelwire.jobs.batch_api import BatchJob
    from modelwire.runnables.base import Runnable
    from modelwire.runnables.each import RunnableEach

# `Runnable` alone is `Runnable[Any, Any]`.
Input = TypeVar("Input", contravariant=True, default=Any)
Output = TypeVar("Output", covariant=True, default=Any)


def _whole(part: Any) -> Any:
    """Return `part` unchanged, but typed as a `Runnable`, since every object with `BatchMethods` is one."""
    return part


class BatchMethods(Generic[Input, Output]):
    """The methods of a `Runnable` for more than one input."""

    def _batched_by(
        self, config: Configs, kwargs: Kwargs
    ) -> tuple[Runnable[Input, Output], Configs, Kwargs] | None:
        """Return the runnable whose batch methods to call instead, with the config and keywords for them, or None."""
        return None

    @overload
    def batch(
        self,
        inputs: Iterable[Input],
        config: Configs = None,
        *,
        return_exceptions: Literal[False] = ...,
        **kwargs: Any,
    ) -> list[Output]: ...
    @overload
    def batch(
        self,
        inputs: Iterable[Input],
        config: Configs = None,
        *,
        return_exceptions: bool,
        **kwargs: Any,
    ) -> list[Output | Exception]: ...
    def batch(
        self,
        inputs: Iterable[Input],
        config: Configs = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[Any]:
        """Invoke on each input, `max_concurrency` at a time, and return the outputs in the inputs' order.

        `inputs` may be any iterable: it is read as calls finish. The first error cancels the rest
        and is raised; with `return_exceptions` it is in its place among the outputs instead.
        """
        other = self._batched_by(config, hidden(kwargs))
        if other is not None:
            runnable, config, kwargs = other
            return runnable.batch(inputs, config, return_exceptions=return_exceptions, **kwargs)
        return batching.in_order(
            batching.batch_as_completed(
                _whole(self),
                inputs,
                config,
                return_exceptions=return_exceptions,
                kwargs=kwargs,
            )
        )

    @overload
    async def abatch(
        self,
        inputs: Iterable[Input],
        config: Configs = None,
        *,
        return_exceptions: Literal[False] = ...,
        **kwargs: Any,
    ) -> list[Output]: ...
    @overload
    async def abatch(
        self,
        inputs: Iterable[Input],
        config: Configs = None,
        *,
        return_exceptions: bool,
        **kwargs: Any,
    ) -> list[Output | Exception]: ...
    async def abatch(
        self,
        inputs: Iterable[Input],
        config: Configs = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[Any]:
        """Do what `batch` does, async."""
        other = self._batched_by(config, hidden(kwargs))
        if other is not None:
            runnable, config, kwargs = other
            return await runnable.abatch(
                inputs, config, return_exceptions=return_exceptions, **kwargs
            )
        return await batching.ain_order(
            batching.abatch_as_completed(
                _whole(self),
                inputs,
                config,
                return_exceptions=return_exceptions,
                kwargs=kwargs,
            )
        )

    @overload
    def batch_as_completed(
        self,
        inputs: Iterable[Input],
        config: Configs = None,
        *,
        return_exceptions: Literal[False] = ...,
        **kwargs: Any,
    ) -> Iterator[tuple[int, Output]]: ...
    @overload
    def batch_as_completed(
        self,
        inputs: Iterable[Input],
        config: Configs = None,
        *,
        return_exceptions: bool,
        **kwargs: Any,
    ) -> Iterator[tuple[int, Output | Exception]]: ...
    def batch_as_completed(
        self,
        inputs: Iterable[Input],
        config: Configs = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> Iterator[tuple[int, Any]]:
        """Yield (position of the input, output) as calls finish.

        Closing the iterator cancels the calls in flight.
        """
        other = self._batched_by(config, hidden(kwargs))
        if other is not None:
            runnable, config, kwargs = other
            return runnable.batch_as_completed(
                inputs, config, return_exceptions=return_exceptions, **kwargs
            )
        return batching.batch_as_completed(
            _whole(self), inputs, config, return_exceptions=return_exceptions, kwargs=kwargs
        )

    @overload
    def abatch_as_completed(
        self,
        inputs: Iterable[Input],
        config: Configs = None,
        *,
        return_exceptions: Literal[False] = ...,
        **kwargs: Any,
    ) -> AsyncIterator[tuple[int, Output]]: ...
    @overload
    def abatch_as_completed(
        self,
        inputs: Iterable[Input],
        config: Configs = None,
        *,
        return_exceptions: bool,
        **kwargs: Any,
    ) -> AsyncIterator[tuple[int, Output | Exception]]: ...
    def abatch_as_completed(
        self,
        inputs: Iterable[Input],
        config: Configs = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> AsyncIterator[tuple[int, Any]]:
        """Do what `batch_as_completed` does, async."""
        other = self._batched_by(config, hidden(kwargs))
        if other is not None:
            runnable, config, kwargs = other
            return runnable.abatch_as_completed(
                inputs, config, return_exceptions=return_exceptions, **kwargs
            )
        return batching.abatch_as_completed(
            _whole(self), inputs, config, return_exceptions=return_exceptions, kwargs=kwargs
        )

    def map(self) -> RunnableEach[Input, Output]:
        """Return the runnable that takes a list of inputs and returns the list of outputs."""
        return runnables.RunnableEach(bound=_whole(self))

    def submit_batch(self, inputs: Any, **options: Any) -> BatchJob:
        """Submit `inputs` to the Batch API of this chain's provider: answers arrive within a day, at half the price.

        `inputs` is an iterable or the path of a table, `options` are those of
        `modelwire.jobs.submit_batch`. Raises `NotBatchable` for a chain that does not have exactly
        one model.
        """
        job: BatchJob = extension("batch_api").submit_batch(_whole(self), inputs, **options)
        return job

    async def asubmit_batch(self, inputs: Any, **options: Any) -> BatchJob:
        """Do what `submit_batch` does, async."""
        job: BatchJob = await extension("batch_api").asubmit_batch(_whole(self), inputs, **options)
        return job
