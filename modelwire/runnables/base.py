"""The protocol of everything that can be composed: `Runnable`, and what turns functions and dicts into one.

A subclass needs `invoke`; every other method has a default that is built on it.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, TypeVar, cast, get_args, overload

from modelwire.errors import InvalidType
from modelwire.runnables.addable import collected
from modelwire.runnables.closing import aclose, close
from modelwire.runnables.config import RunnableConfig, below, run_in_executor, settled

if TYPE_CHECKING:
    from modelwire.runnables.binding import RunnableBinding
    from modelwire.runnables.each import RunnableEach
    from modelwire.runnables.functions import RunnableGenerator, RunnableLambda, chain
    from modelwire.runnables.parallel import RunnableMap, RunnableParallel
    from modelwire.runnables.passthrough import RunnableAssign, RunnablePassthrough, RunnablePick
    from modelwire.runnables.sequence import RunnableSequence
    from modelwire.runnables.serializable import RunnableSerializable

__all__ = [
    "Runnable",
    "RunnableAssign",
    "RunnableBinding",
    "RunnableEach",
    "RunnableGenerator",
    "RunnableLambda",
    "RunnableLike",
    "RunnableMap",
    "RunnableParallel",
    "RunnablePassthrough",
    "RunnablePick",
    "RunnableSequence",
    "RunnableSerializable",
    "chain",
    "coerce_to_runnable",
]

Input = TypeVar("Input", contravariant=True)
Output = TypeVar("Output", covariant=True)
Other = TypeVar("Other")
_In = TypeVar("_In")
_Out = TypeVar("_Out")


class Runnable(ABC, Generic[Input, Output]):
    """A unit of work that can be invoked, batched, streamed and composed, in both colours."""

    name: str | None  # shown to those who listen; see `get_name`

    # ---------------------------------------------------------------- what it is

    def get_name(self, suffix: str | None = None, *, name: str | None = None) -> str:
        """Return the name under which runs are reported, with `suffix` in the same case style."""
        named = name or getattr(self, "name", None) or type(self).__name__
        if not suffix:
            return named
        return named + suffix.title() if named[0].isupper() else f"{named}_{suffix.lower()}"

    @property
    def InputType(self) -> Any:
        """The type of the input, as the class declares it: `class Double(Runnable[int, int])`."""
        return self._declared(0)

    @property
    def OutputType(self) -> Any:
        """The type of the output, as the class declares it."""
        return self._declared(1)

    def _declared(self, position: int) -> Any:
        for cls in type(self).__mro__:
            for base in cls.__dict__.get("__orig_bases__", ()):
                given = get_args(base)
                if len(given) == 2 and not isinstance(given[position], TypeVar):
                    return given[position]
        side = ("Input", "Output")[position]
        raise InvalidType(
            f"`{self.get_name()}` does not say its {side.lower()} type. Override `{side}Type`, "
            "or subclass `Runnable[YourInput, YourOutput]`."
        )

    def _loop_native(self) -> bool:
        """Tell whether `ainvoke` runs none of the user's sync code, so that a sync batch may run on an event loop."""
        return False

    def _may_block(self) -> bool:
        """Tell whether an `invoke` may wait for something outside, so that branches beside it deserve threads."""
        return True

    # ---------------------------------------------------------------- one input

    @abstractmethod
    def invoke(self, input: Input, config: RunnableConfig | None = None, **kwargs: Any) -> Output:
        """Turn one input into one output."""

    async def ainvoke(self, input: Input, config: RunnableConfig | None = None, **kwargs: Any) -> Output:
        """Turn one input into one output; the default runs `invoke` in a thread."""
        return await run_in_executor(None, self.invoke, input, config, **kwargs)

    def stream(self, input: Input, config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[Output]:
        """Yield the output in chunks as they come; the default yields what `invoke` returns."""
        yield self.invoke(input, config, **kwargs)

    async def astream(self, input: Input, config: RunnableConfig | None = None, **kwargs: Any) -> AsyncIterator[Output]:
        """Yield the output in chunks as they come; the default yields what `ainvoke` returns."""
        yield await self.ainvoke(input, config, **kwargs)

    def transform(
        self, input: Iterator[Input], config: RunnableConfig | None = None, **kwargs: Any
    ) -> Iterator[Output]:
        """Turn chunks of input into chunks of output; the default waits for the whole input and streams from there."""
        output = None
        try:
            items = list(input)
            if items:
                output = self.stream(collected(items), config, **kwargs)
                del items
                yield from output
        finally:
            close(output, input)

    async def atransform(
        self, input: AsyncIterator[Input], config: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncIterator[Output]:
        """Turn chunks of input into chunks of output; the default waits for the whole input and streams from there."""
        output = None
        try:
            items = [item async for item in input]
            if items:
                output = self.astream(collected(items), config, **kwargs)
                del items
                async for chunk in output:
                    yield chunk
        finally:
            await aclose(output, input)

    # ---------------------------------------------------------------- many inputs

    @overload
    def batch(
        self,
        inputs: Iterable[Input],
        config: RunnableConfig | Sequence[RunnableConfig] | None = None,
        *,
        return_exceptions: Literal[False] = False,
        **kwargs: Any,
    ) -> list[Output]: ...
    @overload
    def batch(
        self,
        inputs: Iterable[Input],
        config: RunnableConfig | Sequence[RunnableConfig] | None = None,
        *,
        return_exceptions: bool,
        **kwargs: Any,
    ) -> list[Output | Exception]: ...
    def batch(
        self,
        inputs: Iterable[Input],
        config: RunnableConfig | Sequence[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[Any]:
        """Invoke on each input, `max_concurrency` at a time, and return the outputs in the inputs' order.

        `inputs` may be any iterable: it is read as calls finish. The first error cancels the rest and is raised;
        with `return_exceptions` it stands in its place among the outputs instead.
        """
        from modelwire.runnables.batch import batch

        return batch(self, inputs, config, return_exceptions=return_exceptions, kwargs=kwargs)

    @overload
    async def abatch(
        self,
        inputs: Iterable[Input],
        config: RunnableConfig | Sequence[RunnableConfig] | None = None,
        *,
        return_exceptions: Literal[False] = False,
        **kwargs: Any,
    ) -> list[Output]: ...
    @overload
    async def abatch(
        self,
        inputs: Iterable[Input],
        config: RunnableConfig | Sequence[RunnableConfig] | None = None,
        *,
        return_exceptions: bool,
        **kwargs: Any,
    ) -> list[Output | Exception]: ...
    async def abatch(
        self,
        inputs: Iterable[Input],
        config: RunnableConfig | Sequence[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[Any]:
        """Do what `batch` does, in the other colour."""
        from modelwire.runnables.batch import abatch

        return await abatch(self, inputs, config, return_exceptions=return_exceptions, kwargs=kwargs)

    @overload
    def batch_as_completed(
        self,
        inputs: Iterable[Input],
        config: RunnableConfig | Sequence[RunnableConfig] | None = None,
        *,
        return_exceptions: Literal[False] = False,
        **kwargs: Any,
    ) -> Iterator[tuple[int, Output]]: ...
    @overload
    def batch_as_completed(
        self,
        inputs: Iterable[Input],
        config: RunnableConfig | Sequence[RunnableConfig] | None = None,
        *,
        return_exceptions: bool,
        **kwargs: Any,
    ) -> Iterator[tuple[int, Output | Exception]]: ...
    def batch_as_completed(
        self,
        inputs: Iterable[Input],
        config: RunnableConfig | Sequence[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> Iterator[tuple[int, Any]]:
        """Yield (position of the input, output) as calls finish. Closing the iterator cancels what is in flight."""
        from modelwire.runnables.batch import batch_as_completed

        return batch_as_completed(self, inputs, config, return_exceptions=return_exceptions, kwargs=kwargs)

    @overload
    def abatch_as_completed(
        self,
        inputs: Iterable[Input],
        config: RunnableConfig | Sequence[RunnableConfig] | None = None,
        *,
        return_exceptions: Literal[False] = False,
        **kwargs: Any,
    ) -> AsyncIterator[tuple[int, Output]]: ...
    @overload
    def abatch_as_completed(
        self,
        inputs: Iterable[Input],
        config: RunnableConfig | Sequence[RunnableConfig] | None = None,
        *,
        return_exceptions: bool,
        **kwargs: Any,
    ) -> AsyncIterator[tuple[int, Output | Exception]]: ...
    def abatch_as_completed(
        self,
        inputs: Iterable[Input],
        config: RunnableConfig | Sequence[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> AsyncIterator[tuple[int, Any]]:
        """Do what `batch_as_completed` does, in the other colour."""
        from modelwire.runnables.batch import abatch_as_completed

        return abatch_as_completed(self, inputs, config, return_exceptions=return_exceptions, kwargs=kwargs)

    # ---------------------------------------------------------------- composition

    @overload
    def __or__(self, other: Runnable[Any, Other]) -> RunnableSequence[Input, Other]: ...
    @overload
    def __or__(self, other: Callable[[Iterator[Any]], Iterator[Other]]) -> RunnableSequence[Input, Other]: ...
    @overload
    def __or__(self, other: Callable[[AsyncIterator[Any]], AsyncIterator[Other]]) -> RunnableSequence[Input, Other]: ...
    @overload
    def __or__(self, other: Callable[[Any], Coroutine[Any, Any, Other]]) -> RunnableSequence[Input, Other]: ...
    @overload
    def __or__(self, other: Callable[..., Other]) -> RunnableSequence[Input, Other]: ...
    @overload
    def __or__(self, other: Mapping[str, Any]) -> RunnableSequence[Input, dict[str, Any]]: ...
    def __or__(self, other: Any) -> RunnableSequence[Input, Any]:
        """Feed the output to `other`: a runnable, a function, or a dict of them."""
        from modelwire.runnables.sequence import RunnableSequence

        return RunnableSequence(self, coerce_to_runnable(other, place="on the right of `|`"))

    @overload
    def __ror__(self, other: Mapping[str, Any]) -> RunnableSequence[Any, Output]: ...
    @overload
    def __ror__(self, other: Callable[[Other], Any]) -> RunnableSequence[Other, Output]: ...
    @overload
    def __ror__(self, other: Any) -> RunnableSequence[Any, Output]: ...
    def __ror__(self, other: Any) -> RunnableSequence[Any, Output]:
        """Take the input from `other`: a function, or a dict of runnables and functions."""
        from modelwire.runnables.sequence import RunnableSequence

        return RunnableSequence(coerce_to_runnable(other, place="on the left of `|`"), self)

    @overload
    def pipe(self, other: Runnable[Any, Other], /, *, name: str | None = None) -> RunnableSequence[Input, Other]: ...
    @overload
    def pipe(self, *others: Any, name: str | None = None) -> RunnableSequence[Input, Any]: ...
    def pipe(self, *others: Any, name: str | None = None) -> RunnableSequence[Input, Any]:
        """Feed the output through `others`, one after the other."""
        from modelwire.runnables.sequence import RunnableSequence

        return RunnableSequence(self, *others, name=name)

    def pick(self, keys: str | list[str]) -> RunnableSequence[Input, Any]:
        """Keep one value of the output dict, or with a list of keys a smaller dict."""
        from modelwire.runnables.passthrough import RunnablePick

        return self | RunnablePick(keys)

    def assign(self, **kwargs: Any) -> RunnableSequence[Input, dict[str, Any]]:
        """Add keys to the output dict; each value is a runnable or function of that dict."""
        from modelwire.runnables.parallel import RunnableParallel
        from modelwire.runnables.passthrough import RunnableAssign

        return self | RunnableAssign(RunnableParallel(kwargs))

    def bind(self, **kwargs: Any) -> RunnableBinding[Input, Output]:
        """Pass `kwargs` to every call."""
        from modelwire.runnables.binding import RunnableBinding

        return RunnableBinding(bound=self, kwargs=kwargs)

    def with_config(self, config: RunnableConfig | None = None, **kwargs: Any) -> RunnableBinding[Input, Output]:
        """Lay `config` (or its entries as keywords) under the config of every call."""
        from modelwire.runnables.binding import RunnableBinding

        return RunnableBinding(bound=self, config=cast("RunnableConfig", {**(config or {}), **kwargs}))

    def map(self) -> RunnableEach[Input, Output]:
        """Make the runnable that takes a list of inputs and returns the list of outputs."""
        from modelwire.runnables.each import RunnableEach

        return RunnableEach(bound=self)

    # ---------------------------------------------------------------- for subclasses that want to be listened to

    def _call_with_config(
        self,
        func: Callable[..., _Out],
        input: Any,
        config: RunnableConfig | None,
        run_type: str | None = None,
        serialized: Any = None,
        **kwargs: Any,
    ) -> _Out:
        """Run `func(input)` as this runnable's run; `func` may also take `config` and `run_manager`."""
        from modelwire.runnables.calling import call_func_with_variable_args
        from modelwire.runnables.run import start_run

        config = settled(config)
        run = start_run(self, input, config, run_type, serialized)
        if run is None:
            return call_func_with_variable_args(func, input, below(config), **kwargs)
        with run:
            output = call_func_with_variable_args(func, input, run.below(), run.manager, **kwargs)
            return run.end(output)

    async def _acall_with_config(
        self,
        func: Callable[..., Awaitable[_Out]],
        input: Any,
        config: RunnableConfig | None,
        run_type: str | None = None,
        serialized: Any = None,
        **kwargs: Any,
    ) -> _Out:
        """Await `func(input)` as this runnable's run; `func` may also take `config` and `run_manager`."""
        from modelwire.runnables.calling import acall_func_with_variable_args
        from modelwire.runnables.run import astart_run

        config = settled(config)
        run = await astart_run(self, input, config, run_type, serialized)
        if run is None:
            return await acall_func_with_variable_args(func, input, below(config), **kwargs)
        async with run:
            output = await acall_func_with_variable_args(func, input, run.below(), run.manager, **kwargs)
            return await run.end(output)

    def _transform_stream_with_config(
        self,
        input: Iterator[Any],
        transformer: Callable[..., Iterator[_Out]],
        config: RunnableConfig | None,
        run_type: str | None = None,
        **kwargs: Any,
    ) -> Iterator[_Out]:
        """Run `transformer(input)` as this runnable's run; it may also take `config` and `run_manager`."""
        from modelwire.runnables.calling import streamed
        from modelwire.runnables.run import listening, observed_stream

        config = settled(config)
        if listening(config):
            return observed_stream(
                self, input, config, lambda items, run: streamed(transformer, items, run.below(), run.manager, kwargs),
                run_type,
            )  # fmt: skip
        return streamed(transformer, input, below(config), None, kwargs)

    def _atransform_stream_with_config(
        self,
        input: AsyncIterator[Any],
        transformer: Callable[..., AsyncIterator[_Out]],
        config: RunnableConfig | None,
        run_type: str | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[_Out]:
        """Run `transformer(input)` as this runnable's run; it may also take `config` and `run_manager`."""
        from modelwire.runnables.calling import astreamed
        from modelwire.runnables.run import aobserved_stream, listening

        config = settled(config)
        if listening(config):
            return aobserved_stream(
                self, input, config, lambda items, run: astreamed(transformer, items, run.below(), run.manager, kwargs),
                run_type,
            )  # fmt: skip
        return astreamed(transformer, input, below(config), None, kwargs)


RunnableLike: TypeAlias = (
    Runnable[_In, _Out]
    | Callable[[_In], Coroutine[Any, Any, _Out]]
    | Callable[[Iterator[_In]], Iterator[_Out]]
    | Callable[[AsyncIterator[_In]], AsyncIterator[_Out]]
    | Callable[[_In], _Out]
    | Mapping[str, Any]
)


def coerce_to_runnable(thing: Any, *, place: str = "here") -> Runnable[Any, Any]:
    """Make a runnable of a function, a generator function or a dict; `place` is for the error's text."""
    if isinstance(thing, Runnable):
        return thing
    if isinstance(thing, type) and issubclass(thing, Runnable):
        raise InvalidType(
            f"Expected a Runnable {place}, not the class `{thing.__name__}`. Did you mean `{thing.__name__}()`?"
        )
    if inspect.isgeneratorfunction(thing) or inspect.isasyncgenfunction(thing):
        from modelwire.runnables.functions import RunnableGenerator

        return RunnableGenerator(thing)
    if callable(thing):
        from modelwire.runnables.functions import RunnableLambda

        return RunnableLambda(cast("Callable[[Any], Any]", thing))
    if isinstance(thing, Mapping):
        from modelwire.runnables.parallel import RunnableParallel

        return cast("Runnable[Any, Any]", RunnableParallel(thing))
    raise InvalidType(
        f"Expected a Runnable, a function or a dict of them {place}, not a `{type(thing).__name__}`. "
        "To pass a constant, write `lambda _: value`."
    )


_HOMES = {
    "RunnableAssign": "passthrough",
    "RunnableBinding": "binding",
    "RunnableEach": "each",
    "RunnableGenerator": "functions",
    "RunnableLambda": "functions",
    "RunnableMap": "parallel",
    "RunnableParallel": "parallel",
    "RunnablePassthrough": "passthrough",
    "RunnablePick": "passthrough",
    "RunnableSequence": "sequence",
    "RunnableSerializable": "serializable",
    "chain": "functions",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(f"modelwire.runnables.{home}"), name)
    return value
