"""`RunnableBranch`: the first branch whose condition holds."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from typing import TYPE_CHECKING, Any, cast

from modelwire.errors import InvalidArgument, InvalidType
from modelwire.runnables.addable import collected
from modelwire.runnables.base import Input, Output, Runnable, coerce_to_runnable
from modelwire.runnables.closing import aclose, close
from modelwire.runnables.config import RunnableConfig
from modelwire.runnables.deadline import check
from modelwire.runnables.native import loop_native
from modelwire.runnables.run import AsyncRun, Run
from modelwire.runnables.step import Step

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = ["RunnableBranch"]


class RunnableBranch(Step[Input, Output]):
    """Pairs of a condition and what to run where it holds, and at the end what to run where none does.

    Example:
        RunnableBranch((lambda x: x > 0, positive), (lambda x: x < 0, negative), zero)
    """

    def __init__(self, *branches: Any, name: str | None = None) -> None:
        if len(branches) < 2:
            raise InvalidArgument(
                "RunnableBranch requires at least two branches: a pair of a condition and what to run, and what to "
                f"run otherwise. Got {len(branches)}."
            )
        *pairs, default = branches
        if isinstance(default, (tuple, list)):
            raise InvalidType(
                "`RunnableBranch` has no default: its last argument must be what runs where no condition holds (a "
                f"runnable, a function or a dict), not a `{type(default).__name__}`."
            )
        self.branches: list[tuple[Runnable[Input, bool], Runnable[Input, Output]]] = [
            _pair(pair, number) for number, pair in enumerate(pairs, 1)
        ]
        self.default: Runnable[Input, Output] = coerce_to_runnable(default, place="as default of a `RunnableBranch`")
        self.name = name

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RunnableBranch):
            return False
        return (self.branches, self.default, self.name) == (other.branches, other.default, other.name)

    def __hash__(self) -> int:
        return hash((*self.branches, self.default))

    def __repr__(self) -> str:
        return f"RunnableBranch(branches={self.branches!r}, default={self.default!r})"

    def get_input_schema(self, config: RunnableConfig | None = None) -> type[BaseModel]:
        """Return the first schema that says more than `Any`: of the branches, the default, the conditions."""
        from modelwire.runnables.schema import first_input

        asked = [*(body for _, body in self.branches), self.default, *(condition for condition, _ in self.branches)]
        return first_input(asked, config) or super().get_input_schema(config)

    @property
    def InputType(self) -> Any:
        """Not known before a branch is chosen."""
        return Any

    @property
    def OutputType(self) -> Any:
        """Not known before a branch is chosen."""
        return Any

    def _runnables_inside(self) -> Iterable[Runnable[Any, Any]]:
        return [self.default, *(part for pair in self.branches for part in pair)]

    def _loop_native(self) -> bool:
        return all(loop_native(inner) for inner in self._runnables_inside())

    def _may_block(self) -> bool:
        return any(inner._may_block() for inner in self._runnables_inside())

    # ---------------------------------------------------------------- choosing

    def _chosen(
        self, input: Any, config: RunnableConfig, run: Run | None
    ) -> tuple[Runnable[Input, Output], RunnableConfig]:
        """Ask the conditions in order; return what to run, with the config of its call."""
        check(config.get("deadline"), self)
        for number, (condition, body) in enumerate(self.branches, 1):
            if condition.invoke(input, run.below(f"condition:{number}") if run else config):
                return body, run.below(f"branch:{number}") if run else config
        return self.default, run.below("branch:default") if run else config

    async def _achosen(
        self, input: Any, config: RunnableConfig, run: AsyncRun | None
    ) -> tuple[Runnable[Input, Output], RunnableConfig]:
        check(config.get("deadline"), self)
        for number, (condition, body) in enumerate(self.branches, 1):
            if await condition.ainvoke(input, run.below(f"condition:{number}") if run else config):
                return body, run.below(f"branch:{number}") if run else config
        return self.default, run.below("branch:default") if run else config

    def _value(self, input: Any, config: RunnableConfig, run: Run | None, kwargs: dict[str, Any]) -> Output:
        body, inner = self._chosen(input, config, run)
        return body.invoke(input, inner, **kwargs)

    async def _avalue(self, input: Any, config: RunnableConfig, run: AsyncRun | None, kwargs: dict[str, Any]) -> Output:
        body, inner = await self._achosen(input, config, run)
        return await body.ainvoke(input, inner, **kwargs)

    def _chunks(
        self, input: Iterator[Any], config: RunnableConfig, run: Run | None, kwargs: dict[str, Any]
    ) -> Iterator[Output]:
        """Choose by the whole input, then stream what was chosen."""
        output = None
        try:
            items = list(input)
            if items:
                whole = collected(items)
                body, inner = self._chosen(whole, config, run)
                output = body.stream(whole, inner, **kwargs)
                yield from output
        finally:
            close(output, input)

    async def _achunks(
        self, input: AsyncIterator[Any], config: RunnableConfig, run: AsyncRun | None, kwargs: dict[str, Any]
    ) -> AsyncIterator[Output]:
        output = None
        try:
            items = [item async for item in input]
            if items:
                whole = collected(items)
                body, inner = await self._achosen(whole, config, run)
                output = body.astream(whole, inner, **kwargs)
                async for chunk in output:
                    yield chunk
        finally:
            await aclose(output, input)


def _pair(pair: Any, number: int) -> tuple[Runnable[Any, bool], Runnable[Any, Any]]:
    if not isinstance(pair, (tuple, list)):
        raise InvalidType(
            f"Branch {number} of a `RunnableBranch` must be a pair of a condition and what to run, "
            f"not a `{type(pair).__name__}`."
        )
    if len(pair) != 2:
        raise InvalidArgument(
            f"Branch {number} of a `RunnableBranch` must be a pair of a condition and what to run; "
            f"it has {len(pair)} parts."
        )
    condition = coerce_to_runnable(pair[0], place=f"as condition {number} of a `RunnableBranch`")
    body = coerce_to_runnable(pair[1], place=f"as branch {number} of a `RunnableBranch`")
    return cast("Runnable[Any, bool]", condition), body
