"""`RunnableParallel`: the same input for several branches, their outputs in a dict.

Branches run concurrently only if that can save time: if at least two of them may wait for I/O. Then
a sync call runs each of those in a thread and an async call in a task; branches that only compute
run in place. In streams a single branch that may wait is enough, since it would delay the chunks of
the others.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from typing_extensions import TypeVar as TypeVarWithDefault

from modelwire._extensions import extension
from modelwire.aliases import AsyncChunks, Chunks, Kwargs
from modelwire.errors import InvalidArgument
from modelwire.runnables.base import Runnable, coerce_to_runnable
from modelwire.runnables.config import Config, RunnableConfig
from modelwire.runnables.lazy_rooms import batching, graphs, schemas, streams
from modelwire.runnables.run import AnyRun, OptionalAsyncRun, OptionalRun
from modelwire.runnables.step import Step

if TYPE_CHECKING:
    from modelwire.runnables.graph import Graph
    from modelwire.runnables.schema import Schema

__all__ = ["RunnableMap", "RunnableParallel"]

Branch = tuple[str, Runnable, RunnableConfig]
Call = TypeVar("Call")
# The default is `Any`, because functions and dicts do not declare their input type.
Input = TypeVarWithDefault("Input", contravariant=True, default=Any)


# The outputs of branches by their names.
Outputs: TypeAlias = dict[str, Any]


class RunnableParallel(Step[Input, Outputs]):
    """Branches by name, each invoked on the same input; usually written as a dict in a chain."""

    _parts = ("steps__", "name")

    def __init__(self, steps__: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        merged = {**(steps__ or {}), **kwargs}
        self.steps__: dict[str, Runnable] = {
            key: coerce_to_runnable(step, place=f"as `{key}` of a `RunnableParallel`")
            for key, step in merged.items()
        }
        self.name: str | None = None

    def _default_name(self) -> str:
        return f"{type(self).__name__}<{','.join(self.steps__)}>"

    @property
    def InputType(self) -> Any:
        """The first known input type of a branch."""
        for step in self.steps__.values():
            kind = _input_type(step)
            if kind is not Any:
                return kind
        return Any

    def get_input_schema(self, config: Config = None) -> Schema:
        """Return a schema with all fields that the branches read, if they read a dict."""
        return schemas.parallel_input(
            self.steps__, self.get_name("Input"), config
        ) or super().get_input_schema(config)

    def get_output_schema(self, config: Config = None) -> Schema:
        return schemas.parallel_output(self.steps__, self.get_name("Output"), config)

    def get_graph(self, config: Config = None) -> Graph:
        return graphs.parallel_graph(self, list(self.steps__.values()), config)

    def _runnables_inside(self) -> Iterable[Runnable]:
        return self.steps__.values()

    def _repr_markdown_(self) -> str:
        return str(extension("notebooks").show_chain(self))

    def __repr__(self) -> str:
        rows = ",\n".join(
            f"  {key}: " + repr(step).replace("\n", "\n  ") for key, step in self.steps__.items()
        )
        return "{\n" + rows + "\n}"

    def _branches(self, config: RunnableConfig, run: AnyRun) -> list[Branch]:
        """Return each branch with the config of its call."""
        return [
            (key, step, config if run is None else run.below(f"map:key:{key}"))
            for key, step in self.steps__.items()
        ]

    def _value(
        self, input: Any, config: RunnableConfig, run: OptionalRun, kwargs: Kwargs
    ) -> Outputs:
        calls = {
            key: _calling(step.invoke, input, inner, kwargs)
            for key, step, inner in self._branches(config, run)
        }
        waiting = self._waiting()
        ready = {key: call() for key, call in calls.items() if key not in waiting}
        if not waiting:
            return ready
        came = batching.joined([calls[key] for key in waiting], config.get("max_concurrency"))
        ready.update(zip(waiting, came, strict=True))
        return {key: ready[key] for key in calls}

    def _waiting(self) -> list[str]:
        """Return the names of the branches that may wait for I/O, if there are two or more; else []."""
        names = [key for key, step in self.steps__.items() if step._may_block()]
        return names if len(names) > 1 else []

    async def _avalue(
        self, input: Any, config: RunnableConfig, run: OptionalAsyncRun, kwargs: Kwargs
    ) -> Outputs:
        calls = {
            key: _calling(step.ainvoke, input, inner, kwargs)
            for key, step, inner in self._branches(config, run)
        }
        waiting = self._waiting()
        ready = {key: await call() for key, call in calls.items() if key not in waiting}
        if not waiting:
            return ready
        came = await batching.gathered(
            [calls[key] for key in waiting], config.get("max_concurrency")
        )
        ready.update(zip(waiting, came, strict=True))
        return {key: ready[key] for key in calls}

    def _chunks(
        self, input: Chunks, config: RunnableConfig, run: OptionalRun, kwargs: Kwargs
    ) -> Iterator[Outputs]:
        """Pass the whole input stream to every branch; yield their chunks as they arrive, each
        under its branch's key.
        """
        branches = self._branches(config, run)
        threads = min(config.get("max_concurrency") or len(branches), len(branches))
        side_by_side = len(branches) > 1 and self._may_block()
        return streams.merge(input, branches, threads=threads if side_by_side else 0, kwargs=kwargs)

    def _achunks(
        self,
        input: AsyncChunks,
        config: RunnableConfig,
        run: OptionalAsyncRun,
        kwargs: Kwargs,
    ) -> AsyncIterator[Outputs]:
        return streams.amerge(
            input, self._branches(config, run), limit=config.get("max_concurrency"), kwargs=kwargs
        )


RunnableMap = RunnableParallel


def _calling(
    invoke: Callable[..., Call], input: Any, config: RunnableConfig, kwargs: Kwargs
) -> Callable[[], Call]:
    return lambda: invoke(input, config, **kwargs)


def _input_type(step: Runnable) -> Any:
    try:
        return step.InputType
    except InvalidArgument:
        return Any
