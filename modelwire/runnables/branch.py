"""Runs one of several runnables, chosen by the input: the first branch whose condition is true, or a named route."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

from modelwire.aliases import Kwargs
from modelwire.errors import InvalidArgument, InvalidType, did_you_mean
from modelwire.runnables.base import Chosen, Input, Output, Runnable, coerce_to_runnable
from modelwire.runnables.config import Config, RunnableConfig
from modelwire.runnables.lazy_rooms import schemas
from modelwire.runnables.run import AnyRun, OptionalAsyncRun, OptionalRun
from modelwire.runnables.step import WholeStep

if TYPE_CHECKING:
    from modelwire.runnables.schema import Schema
__all__ = ["RunnableBranch", "RunnableRoute", "route"]


class _Choice(WholeStep[Input, Output]):
    """A runnable that chooses another one for each input, and runs it: the base class of this module."""

    def _chosen(
        self, input: Any, config: RunnableConfig, run: OptionalRun
    ) -> Chosen[Input, Output]:
        raise NotImplementedError

    async def _achosen(
        self, input: Any, config: RunnableConfig, run: OptionalAsyncRun
    ) -> Chosen[Input, Output]:
        raise NotImplementedError

    _waits_for_input = True  # The run starts once the whole input has arrived, and reports it.

    InputType: Any = Any
    OutputType: Any = Any

    def _value(
        self, input: Any, config: RunnableConfig, run: OptionalRun, kwargs: Kwargs
    ) -> Output:
        body, inner = self._chosen(input, config, run)
        return body.invoke(input, inner, **kwargs)

    async def _avalue(
        self, input: Any, config: RunnableConfig, run: OptionalAsyncRun, kwargs: Kwargs
    ) -> Output:
        body, inner = await self._achosen(input, config, run)
        return await body.ainvoke(input, inner, **kwargs)

    def _opened(
        self, input: Any, config: RunnableConfig, run: OptionalRun, kwargs: Kwargs
    ) -> Iterator[Output]:
        body, inner = self._chosen(input, config, run)
        return body.stream(input, inner, **kwargs)

    async def _aopened(
        self, input: Any, config: RunnableConfig, run: OptionalAsyncRun, kwargs: Kwargs
    ) -> AsyncIterator[Output]:
        body, inner = await self._achosen(input, config, run)
        return body.astream(input, inner, **kwargs)


def _below(run: AnyRun, config: RunnableConfig, tag: str) -> RunnableConfig:
    """Return the config of a nested call, whose run is a child of `run` with this tag, if there is a run."""
    return config if run is None else run.below(tag)


class RunnableBranch(_Choice[Input, Output]):
    """Runs the first runnable whose condition is true, or the default. It takes pairs of a condition and a runnable.

    Example:
        RunnableBranch((lambda x: x > 0, positive), (lambda x: x < 0, negative), zero)
    """

    _parts = ("default", "branches", "name")

    def __init__(self, *branches: Any, name: str | None = None) -> None:
        if len(branches) < 2:
            raise InvalidArgument(
                "RunnableBranch requires at least two branches: a pair `(condition, runnable)`, and a default "
                f"runnable. Got {len(branches)}."
            )
        *pairs, default = branches
        if isinstance(default, (tuple, list)):
            raise InvalidType(
                "`RunnableBranch` has no default: its last argument must be the runnable, function or dict to run "
                f"if no condition is true, not a `{type(default).__name__}`."
            )
        self.branches: list[tuple[Runnable[Input, bool], Runnable[Input, Output]]] = [
            _pair(pair, number) for number, pair in enumerate(pairs, 1)
        ]
        self.default: Runnable[Input, Output] = coerce_to_runnable(
            default, place="as default of a `RunnableBranch`"
        )
        self.name = name

    def __repr__(self) -> str:
        return f"RunnableBranch(branches={self.branches!r}, default={self.default!r})"

    def get_input_schema(self, config: Config = None) -> Schema:
        """Return the first input schema that is not `Any`: of the default, then the branches, then the conditions."""
        candidates = [
            self.default,
            *(body for _, body in self.branches),
            *(condition for condition, _ in self.branches),
        ]
        return schemas.first_input(candidates, config) or super().get_input_schema(config)

    def _runnables_inside(self) -> Iterable[Runnable]:
        return [self.default, *(part for pair in self.branches for part in pair)]

    def _chosen(
        self, input: Any, config: RunnableConfig, run: OptionalRun
    ) -> Chosen[Input, Output]:
        """Return the chosen runnable, evaluating the conditions in order."""
        for number, (condition, body) in enumerate(self.branches, 1):
            if condition.invoke(input, _below(run, config, f"condition:{number}")):
                return body, _below(run, config, f"branch:{number}")
        return self.default, _below(run, config, "branch:default")

    async def _achosen(
        self, input: Any, config: RunnableConfig, run: OptionalAsyncRun
    ) -> Chosen[Input, Output]:
        for number, (condition, body) in enumerate(self.branches, 1):
            if await condition.ainvoke(input, _below(run, config, f"condition:{number}")):
                return body, _below(run, config, f"branch:{number}")
        return self.default, _below(run, config, "branch:default")


class RunnableRoute(_Choice[Input, Output]):
    """Runs one of `routes` on the input: that whose key `choose`, a function or runnable of the same input, returns."""

    _parts = ("choose", "routes", "default", "name")

    def __init__(
        self,
        choose: Any,
        routes: Mapping[str, Any],
        *,
        default: str | None = None,
        name: str | None = None,
    ) -> None:
        if not (routes and hasattr(routes, "items")):
            raise InvalidArgument(
                "`route` needs `routes`: a dict from the name of each route to its runnable."
            )
        if default is not None and default not in routes:
            raise InvalidArgument(
                f"`default` names the route `{default}`, but there is no such route. "
                f"{did_you_mean(default, list(routes))}"
            )
        self.choose: Runnable[Input, str] = coerce_to_runnable(
            choose, place="as `choose` of a route"
        )
        self.routes: dict[str, Runnable[Input, Output]] = {
            key: coerce_to_runnable(body, place=f"as the route `{key}`")
            for key, body in routes.items()
        }
        self.default = default
        self.name = name

    def __repr__(self) -> str:
        return f"RunnableRoute({self.choose!r}, {self.routes!r})"

    def get_input_schema(self, config: Config = None) -> Schema:
        """Return the first input schema that is not `Any`: of the routes, then of `choose`."""
        return schemas.first_input(
            [*self.routes.values(), self.choose], config
        ) or super().get_input_schema(config)

    def _runnables_inside(self) -> Iterable[Runnable]:
        return [self.choose, *self.routes.values()]

    def _chosen(
        self, input: Any, config: RunnableConfig, run: OptionalRun
    ) -> Chosen[Input, Output]:
        key = self._known(self.choose.invoke(input, _below(run, config, "choose")))
        return self.routes[key], _below(run, config, f"route:{key}")

    async def _achosen(
        self, input: Any, config: RunnableConfig, run: OptionalAsyncRun
    ) -> Chosen[Input, Output]:
        key = self._known(await self.choose.ainvoke(input, _below(run, config, "choose")))
        return self.routes[key], _below(run, config, f"route:{key}")

    def _known(self, key: Any) -> str:
        if isinstance(key, str) and key in self.routes:
            return key
        if self.default is not None:
            return self.default
        raise InvalidArgument(
            f"There is no route `{key}`. {did_you_mean(str(key), list(self.routes))}"
        )


def route(
    choose: Any, routes: Mapping[str, Any], *, default: str | None = None, name: str | None = None
) -> RunnableRoute:
    """Return a runnable that sends each input to the one of `routes` that `choose` names.

    `choose` is a function (sync or async) or runnable from the input to a key of `routes`. For an
    unknown key `default` runs, or without one `InvalidArgument` is raised.

    Example:
        route(lambda text: "good" if len(text) > 500 else "cheap", {"cheap": small_model, "good": large_model})
    """
    return RunnableRoute(choose, routes, default=default, name=name)


def _pair(pair: Any, number: int) -> tuple[Runnable[Any, bool], Runnable]:
    if not isinstance(pair, (tuple, list)):
        raise InvalidType(
            f"Branch {number} of a `RunnableBranch` must be a pair `(condition, runnable)`, "
            f"not a `{type(pair).__name__}`."
        )
    if len(pair) != 2:
        raise InvalidArgument(
            f"Branch {number} of a `RunnableBranch` must be a pair `(condition, runnable)`; "
            f"it has {len(pair)} parts."
        )
    condition = coerce_to_runnable(pair[0], place=f"as condition {number} of a `RunnableBranch`")
    body = coerce_to_runnable(pair[1], place=f"as branch {number} of a `RunnableBranch`")
    return cast("Runnable[Any, bool]", condition), body
