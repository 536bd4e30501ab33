"""`RunnableSequence`: one step after the other.

Without handlers, `invoke` only calls each step's `invoke`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any, cast

from modelwire._extensions import extension
from modelwire.aliases import AsyncChunks, Chunks, Kwargs
from modelwire.errors import InvalidArgument
from modelwire.runnables.base import Input, Output, Runnable, coerce_to_runnable
from modelwire.runnables.closing import aclose, close
from modelwire.runnables.config import Config, RunnableConfig, below, hidden, settled
from modelwire.runnables.deadline import late
from modelwire.runnables.lazy_rooms import graphs, schemas
from modelwire.runnables.run import AnyRun, OptionalAsyncRun, OptionalRun, listening
from modelwire.runnables.step import Step

if TYPE_CHECKING:
    from modelwire.runnables.graph import Graph
    from modelwire.runnables.schema import Schema

__all__ = ["RunnableSequence"]


class RunnableSequence(Step[Input, Output]):
    """Steps, each called with the output of the previous one; usually written `a | b | c`.

    Streams pass chunk by chunk through every step with its own `transform`; any other step collects
    its whole input first. In a batch each input passes through all steps on its own.
    """

    _parts = ("_steps", "name")

    def __init__(
        self,
        *steps: Any,
        name: str | None = None,
        first: Runnable | None = None,
        middle: Sequence[Runnable] | None = None,
        last: Runnable | None = None,
    ) -> None:
        named = (first, *(middle or ()), last)
        every = steps or tuple(step for step in named if step is not None)
        flat: list[Runnable] = []
        for position, step in enumerate(every, 1):
            runnable = coerce_to_runnable(step, place=f"as step {position} of a `RunnableSequence`")
            if isinstance(runnable, RunnableSequence):
                flat.extend(runnable._steps)
                name = name or runnable.name
            else:
                flat.append(runnable)
        if len(flat) < 2:
            raise InvalidArgument(f"RunnableSequence must have at least 2 steps, got {len(flat)}.")
        self._steps: tuple[Runnable, ...] = tuple(flat)
        self.name = name

    @property
    def steps(self) -> list[Runnable]:
        """The steps in order, two or more."""
        return list(self._steps)

    @property
    def first(self) -> Runnable[Input, Any]:
        """The first step."""
        return self._steps[0]

    @property
    def middle(self) -> list[Runnable]:
        """The steps between the first and the last."""
        return list(self._steps[1:-1])

    @property
    def last(self) -> Runnable[Any, Output]:
        """The last step."""
        return self._steps[-1]

    @property
    def InputType(self) -> Any:
        return self.first.InputType

    @property
    def OutputType(self) -> Any:
        return self.last.OutputType

    def get_input_schema(self, config: Config = None) -> Schema:
        """Return the schema of the first step's input, with the further fields that later steps need."""
        return schemas.sequence_input(self._steps, config)

    def get_output_schema(self, config: Config = None) -> Schema:
        """Return the schema of the last step's output.

        If that step is an `assign` or a `pick`, the schema includes the fields that it passes on from the step before.
        """
        return schemas.sequence_output(self._steps, config)

    def get_graph(self, config: Config = None) -> Graph:
        return graphs.sequence_graph(self.steps, config)

    def _runnables_inside(self) -> Iterable[Runnable]:
        return self._steps

    def _repr_markdown_(self) -> str:
        return str(extension("notebooks").show_chain(self))

    def __repr__(self) -> str:
        first, *rest = self._steps
        lines = [repr(first)]
        for step in rest:
            shown = repr(step).replace("\n", "\n  ")
            lines.append(f"| {shown}")
        return "\n".join(lines)

    def _calls(
        self, config: RunnableConfig, kwargs: Kwargs, run: AnyRun = None
    ) -> Iterator[tuple[Runnable, RunnableConfig, Kwargs]]:
        """Yield each step with its config and keywords, checking the deadline; only the first step gets `kwargs`."""
        deadline = config.get("deadline")
        for position, step in enumerate(self._steps, 1):
            if deadline is not None and monotonic() >= deadline:
                raise late(self.get_name(), deadline)
            inner = config
            if run is not None:
                inner = run.below(f"seq:step:{position}")
            yield step, inner, kwargs
            kwargs = {}

    def invoke(self, input: Input, config: Config = None, **kwargs: Any) -> Output:
        """Return the output of the last step; only the first step gets `kwargs`."""
        hidden(kwargs)
        config = settled(config)
        if "deadline" in config or listening(config):
            return super().invoke(input, config, **kwargs)
        # This repeats `_value`, so that a traceback has no frames of modelwire between two steps.
        value: Any = input
        for step, inner, extra in self._calls(below(config), kwargs):
            value = step.invoke(value, inner, **extra)
        return cast("Output", value)

    async def ainvoke(self, input: Input, config: Config = None, **kwargs: Any) -> Output:
        hidden(kwargs)
        config = settled(config)
        if "deadline" in config or listening(config):
            return await super().ainvoke(input, config, **kwargs)
        value: Any = input
        for step, inner, extra in self._calls(below(config), kwargs):
            value = await step.ainvoke(value, inner, **extra)
        return cast("Output", value)

    def _value(
        self, input: Any, config: RunnableConfig, run: OptionalRun, kwargs: Kwargs
    ) -> Output:
        for step, inner, extra in self._calls(config, kwargs, run):
            input = step.invoke(input, inner, **extra)
        return cast("Output", input)

    async def _avalue(
        self, input: Any, config: RunnableConfig, run: OptionalAsyncRun, kwargs: Kwargs
    ) -> Output:
        for step, inner, extra in self._calls(config, kwargs, run):
            input = await step.ainvoke(input, inner, **extra)
        return cast("Output", input)

    def _chunks(
        self, input: Chunks, config: RunnableConfig, run: OptionalRun, kwargs: Kwargs
    ) -> Iterator[Output]:
        """Chain the steps' transforms."""
        stages: list[Chunks] = [input]
        try:
            for step, inner, extra in self._calls(config, kwargs, run):
                stages.append(step.transform(stages[-1], inner, **extra))
            yield from stages[-1]
        finally:
            close(*reversed(stages))

    async def _achunks(
        self,
        input: AsyncChunks,
        config: RunnableConfig,
        run: OptionalAsyncRun,
        kwargs: Kwargs,
    ) -> AsyncIterator[Output]:
        stages: list[AsyncChunks] = [input]
        try:
            for step, inner, extra in self._calls(config, kwargs, run):
                stages.append(step.atransform(stages[-1], inner, **extra))
            async for chunk in stages[-1]:
                yield chunk
        finally:
            await aclose(*reversed(stages))
