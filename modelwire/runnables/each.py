"""`RunnableEach`: runs a runnable on each item of a list; `runnable.map()` creates it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from modelwire.aliases import Kwargs
from modelwire.runnables.base import Input, Output, Runnable
from modelwire.runnables.config import Config, RunnableConfig
from modelwire.runnables.lazy_rooms import schemas
from modelwire.runnables.run import OptionalAsyncRun, OptionalRun
from modelwire.runnables.step import Reported

if TYPE_CHECKING:
    from modelwire.runnables.graph import Graph
    from modelwire.runnables.schema import Schema

__all__ = ["RunnableEach"]


class RunnableEach(Reported[Sequence[Input], list[Output]]):  # pyright: ignore[reportInvalidTypeArguments]
    """Runs `bound` on each item of the input list, as a batch."""

    _parts = ("bound", "name")

    def __init__(self, *, bound: Runnable[Input, Output], name: str | None = None) -> None:
        self.bound = bound
        self.name = name

    def _default_name(self) -> str:
        return f"RunnableEach<{self.bound.get_name()}>"

    @property
    def InputType(self) -> Any:
        return list[self.bound.InputType]  # type: ignore[name-defined]  # known only at run time

    @property
    def OutputType(self) -> Any:
        return list[self.bound.OutputType]  # type: ignore[name-defined]  # known only at run time

    def get_input_schema(self, config: Config = None) -> Schema:
        return schemas.list_schema(self.get_name("Input"), self.bound.get_input_schema(config))

    def get_output_schema(self, config: Config = None) -> Schema:
        return schemas.list_schema(self.get_name("Output"), self.bound.get_output_schema(config))

    def get_graph(self, config: Config = None) -> Graph:
        return self.bound.get_graph(config)

    def _runnables_inside(self) -> Iterable[Runnable]:
        return (self.bound,)

    def __repr__(self) -> str:
        return f"RunnableEach(bound={self.bound!r})"

    def bind(self, **kwargs: Any) -> RunnableEach[Input, Output]:  # type: ignore[override]  # still a list in, a list out
        return RunnableEach(bound=self.bound.bind(**kwargs), name=self.name)

    def _value(
        self, input: Any, config: RunnableConfig, run: OptionalRun, kwargs: Kwargs
    ) -> list[Output]:
        return self.bound.batch(input, config, **kwargs)

    async def _avalue(
        self, input: Any, config: RunnableConfig, run: OptionalAsyncRun, kwargs: Kwargs
    ) -> list[Output]:
        return await self.bound.abatch(input, config, **kwargs)
