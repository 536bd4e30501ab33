"""Functions as runnables: the classes that run the user's code.

A sync function runs in a copy of the context, so that context variables it sets do not leak; an
async function runs in the context of its caller.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast, get_args, overload

from modelwire.aliases import AsyncChunks, Chunks, Function, Kwargs
from modelwire.errors import InvalidType
from modelwire.runnables.addable import collected
from modelwire.runnables.base import Input, Output, Runnable
from modelwire.runnables.closing import aclose, close
from modelwire.runnables.config import (
    DEFAULT_RECURSION_LIMIT,
    Config,
    RunnableConfig,
    changed,
    run_in_executor,
)
from modelwire.runnables.deadline import acovered_chunks, covered
from modelwire.runnables.invoke_function import (
    END,
    accepted_kwargs,
    astream_function,
    await_with_deadline,
    context_with,
    extra_kwargs,
    stream_function,
    takes_manager,
)
from modelwire.runnables.lazy_rooms import function_source, graphs, schemas
from modelwire.runnables.run import OptionalAsyncRun, OptionalRun
from modelwire.runnables.step import Step, WholeStep, once

if TYPE_CHECKING:
    from modelwire.runnables.fields import ConfigurableFieldSpec
    from modelwire.runnables.graph import Graph
    from modelwire.runnables.schema import Schema

__all__ = ["RunnableGenerator", "RunnableLambda", "chain"]

In = TypeVar("In")
Out = TypeVar("Out")
_Twin: TypeAlias = Function | None


def is_async(func: Any) -> bool:
    """Return whether calling `func` returns a coroutine or an async generator."""
    call = func
    if callable(func) and not inspect.isroutine(func):
        call = getattr(func, "__call__", func)  # noqa: B004 - an object whose method is async
    return any(
        inspect.iscoroutinefunction(one) or inspect.isasyncgenfunction(one) for one in (func, call)
    )


def _yields(func: Any, kind: Callable[[Any], bool]) -> bool:
    """Return whether `kind`, such as `inspect.isgeneratorfunction`, is true for `func` or its class's `__call__`."""
    return kind(func) or kind(getattr(type(func), "__call__", None))  # noqa: B004 - the class defines it


def _own_name(func: Any) -> str | None:
    """Return the name of a function; None for a lambda, or an object without a name."""
    name: str | None = getattr(func, "__name__", None)
    return None if name == "<lambda>" else name


def _item_of(annotation: Any) -> Any:
    """Return the item type of an annotated iterator: `int` for `Iterator[int]`."""
    return next(iter(get_args(annotation)), Any)


def _signature(func: Any) -> inspect.Signature | None:
    try:
        return inspect.signature(func, eval_str=True)
    except (
        ValueError,
        TypeError,
        NameError,
    ):
        # The function is a built-in without a signature, or an annotation names something that is
        # not in scope.
        return None


def _first_type(func: Any) -> Any:
    signature = _signature(func)
    if signature is None or not signature.parameters:
        return Any
    first = next(iter(signature.parameters.values()))
    if first.annotation is inspect.Parameter.empty:
        return Any
    return first.annotation


def _return_type(func: Any) -> Any:
    signature = _signature(func)
    if signature is None or signature.return_annotation is inspect.Signature.empty:
        return Any
    return signature.return_annotation


class RunnableLambda(WholeStep[Input, Output]):
    """A function as a runnable.

    `func` takes the input and, if it has parameters of these names, `config` and `run_manager`. It
    may be a generator function, whose chunks are streamed, or return a runnable, which is then
    invoked on the same input. `afunc` is the async version; without it, async calls run `func` in a
    thread.
    """

    _parts = ("func", "afunc")

    func: Function | None
    afunc: Function | None

    @overload
    def __init__(
        self: RunnableLambda[In, Out],
        func: Callable[[In], Coroutine[Any, Any, Out]],
        afunc: None = None,
        name: str | None = None,
    ) -> None: ...
    @overload
    def __init__(
        self: RunnableLambda[In, Out],
        func: Callable[[In], AsyncIterator[Out]],
        afunc: None = None,
        name: str | None = None,
    ) -> None: ...
    @overload
    def __init__(
        self: RunnableLambda[In, Out],
        func: Callable[[In], Iterator[Out]],
        afunc: _Twin = None,
        name: str | None = None,
    ) -> None: ...
    @overload
    def __init__(
        self: RunnableLambda[In, Out],
        func: Callable[[In], Runnable[In, Out]],
        afunc: _Twin = None,
        name: str | None = None,
    ) -> None: ...
    @overload
    def __init__(
        self: RunnableLambda[In, Out],
        func: Callable[[In], Out],
        afunc: _Twin = None,
        name: str | None = None,
    ) -> None: ...
    @overload
    def __init__(
        self: RunnableLambda,
        func: Function,
        afunc: _Twin = None,
        name: str | None = None,
    ) -> None: ...
    def __init__(self, func: Function, afunc: _Twin = None, name: str | None = None) -> None:
        if not callable(func):
            raise InvalidType(f"`func` must be a function, not a `{type(func).__name__}`.")
        if is_async(func):
            if afunc is not None:
                raise InvalidType(
                    "`func` is async and there is an `afunc` too. Give the sync function as `func`."
                )
            self.func = None
            self.afunc = func
        else:
            if afunc is not None and not is_async(afunc):
                raise InvalidType(
                    f"`afunc` must be an async function, not `{getattr(afunc, '__name__', afunc)}`."
                )
            self.func = func
            self.afunc = afunc
        self.name = name or _own_name(func)
        self._takes = accepted_kwargs(self.func)
        self._atakes = accepted_kwargs(self.afunc)
        self._takes_manager = self._takes[1] or self._atakes[1]
        self._streams = _yields(self.func, inspect.isgeneratorfunction)
        self._astreams = _yields(self.afunc, inspect.isasyncgenfunction)

    def __repr__(self) -> str:
        return f"RunnableLambda({function_source.format_function(self.func or self.afunc)})"

    @property
    def InputType(self) -> Any:
        """The annotation of the function's first parameter, or `Any`."""
        return _first_type(self.func or self.afunc)

    @property
    def OutputType(self) -> Any:
        """The annotation of what the function returns or yields, or `Any`."""
        kind = _return_type(self.func or self.afunc)
        if self._streams or self._astreams:
            return _item_of(kind)
        return kind

    def get_input_schema(self, config: Config = None) -> Schema:
        """Return the annotation's schema; without one, a schema with the keys that the function
        reads from its input.
        """
        if self.InputType is Any:
            read = schemas.function_input(self.func or self.afunc, self.get_name("Input"))
            if read is not None:
                return read
        return super().get_input_schema(config)

    @property
    def deps(self) -> list[Runnable]:
        """The runnables that the function's source refers to."""
        try:
            named = inspect.getclosurevars(cast("Any", self.func or self.afunc))
        except (TypeError, ValueError):
            # It is not a Python function, or a name in it is not assigned yet.
            return []
        found: dict[int, Runnable] = {}
        for value in (*named.nonlocals.values(), *named.globals.values()):
            # For a bound method, the names in its object are found, too.
            owner = getattr(value, "__self__", value)
            if isinstance(owner, Runnable):
                found[id(owner)] = owner
        return list(found.values())

    @property
    def config_specs(self) -> list[ConfigurableFieldSpec]:
        with function_source.visiting(self) as first:
            return super().config_specs if first else []

    def get_graph(self, config: Config = None) -> Graph:
        """Return the graphs of the runnables that the function's source refers to, else the function as one node."""
        with function_source.visiting(self) as first:
            if first and (deps := self.deps):
                return graphs.parallel_graph(self, deps, config)
        return super().get_graph(config)

    def _runnables_inside(self) -> Iterable[Runnable]:
        return self.deps

    def _loop_native(self) -> bool:
        return isinstance(self.func, (itemgetter, attrgetter))

    def _may_block(self) -> bool:
        return not isinstance(self.func, (itemgetter, attrgetter))

    def _sync(self) -> Function:
        if self.func is None:
            raise InvalidType(
                f"Cannot invoke a coroutine function synchronously: `{self.get_name()}` has only an async form. "
                "Use `ainvoke` instead."
            )
        return self.func

    def _value(
        self, input: Any, config: RunnableConfig, run: OptionalRun, kwargs: Kwargs
    ) -> Output:
        output = self._called(input, config, run and run.manager, kwargs)
        if isinstance(output, Runnable):
            output = output.invoke(input, self._deeper(input, config))
        return cast("Output", output)

    def _called(self, input: Any, config: RunnableConfig, manager: Any, kwargs: Kwargs) -> Any:
        func = self._sync()
        if any(self._takes):
            kwargs = extra_kwargs(self._takes, kwargs, config, manager, sync=True)
        context = context_with(config)
        if self._streams:
            chunks = context.run(lambda: list(func(input, **kwargs)))
            return collected(chunks)
        return context.run(func, input, **kwargs)

    def _deeper(self, input: Any, config: RunnableConfig) -> RunnableConfig:
        """Return the config for a runnable that the function has returned, with `recursion_limit` reduced by 1."""
        left = config.get("recursion_limit", DEFAULT_RECURSION_LIMIT)
        if left <= 0:
            raise RecursionError(
                f"Recursion limit reached when invoking {self!r} with input {input!r}. "
                "Raise `recursion_limit` in the config, or change the function so that it finally returns a value."
            )
        return changed(config, recursion_limit=left - 1)

    def _opened(
        self, input: Any, config: RunnableConfig, run: OptionalRun, kwargs: Kwargs
    ) -> Iterator[Output]:
        """Return the generator function's chunks, or the single value, as an iterator."""
        manager = run and run.manager
        if self._streams:
            return stream_function(self._sync(), input, config, manager, kwargs)
        output = self._called(input, config, manager, kwargs)
        if isinstance(output, Runnable):
            return output.stream(input, self._deeper(input, config))
        return iter((output,))

    async def _avalue(
        self, input: Any, config: RunnableConfig, run: OptionalAsyncRun, kwargs: Kwargs
    ) -> Output:
        manager = run and run.manager
        deadline = config.get("deadline")
        if deadline is None:
            output = await self._acalled(input, config, manager, kwargs)
        else:
            output = await covered(self._acalled(input, config, manager, kwargs), deadline, self)
        if isinstance(output, Runnable):
            output = await output.ainvoke(input, self._deeper(input, config))
        return cast("Output", output)

    async def _acalled(
        self, input: Any, config: RunnableConfig, manager: Any, kwargs: Kwargs
    ) -> Any:
        if self.afunc is None:
            return await run_in_executor(None, self._called, input, config, manager, kwargs)
        if self._astreams:
            chunks = [
                chunk
                async for chunk in astream_function(self.afunc, input, config, manager, kwargs)
            ]
            return collected(chunks)
        if any(self._atakes):
            kwargs = extra_kwargs(self._atakes, kwargs, config, manager, sync=False)
        return await await_with_deadline(self.afunc(input, **kwargs), config)

    async def _aopened(
        self, input: Any, config: RunnableConfig, run: OptionalAsyncRun, kwargs: Kwargs
    ) -> AsyncIterator[Output]:
        """Return the async generator function's chunks, or the single value, as an async iterator."""
        manager = run and run.manager
        deadline = config.get("deadline")
        if self._astreams and self.afunc is not None:
            return acovered_chunks(
                astream_function(self.afunc, input, config, manager, kwargs), deadline, self
            )
        if self.afunc is None and self._streams:
            return acovered_chunks(
                threaded(stream_function(self._sync(), input, config, manager, kwargs)),
                deadline,
                self,
            )
        output = await covered(self._acalled(input, config, manager, kwargs), deadline, self)
        if isinstance(output, Runnable):
            return output.astream(input, self._deeper(input, config))
        return once(output)


class RunnableGenerator(Step[Input, Output]):
    """A generator function over the input's chunks as a runnable: `transform(chunks)` yields the output's chunks.

    `atransform` is the async version. Without it, async calls collect the whole input and run the
    generator in a thread; with only an async generator, sync calls raise NotImplementedError.
    """

    _parts = ("_transform", "_atransform")

    # No inner step raises a more helpful `Timeout`, so there is no grace period.
    _grace_s = 0.0

    def __init__(
        self,
        transform: Callable[[Iterator[Input]], Iterator[Output]]
        | Callable[[AsyncIterator[Input]], AsyncIterator[Output]],
        atransform: Callable[[AsyncIterator[Input]], AsyncIterator[Output]] | None = None,
        *,
        name: str | None = None,
    ) -> None:
        self._transform: Callable[..., Iterator[Output]] | None = None
        self._atransform: Callable[..., AsyncIterator[Output]] | None = atransform
        func: Any = transform
        if _yields(func, inspect.isasyncgenfunction):
            self._atransform = func
        elif _yields(func, inspect.isgeneratorfunction):
            self._transform = func
        else:
            shown = getattr(func, "__name__", type(func).__name__)
            raise InvalidType(
                f"`transform` must be a generator function (one with `yield`), not `{shown}`."
            )
        if atransform is not None and not _yields(atransform, inspect.isasyncgenfunction):
            raise InvalidType(
                "`atransform` must be an async generator function (`async def` with `yield`)."
            )
        self.name = name or _own_name(func)
        self._takes_manager = takes_manager(self._transform, self._atransform)

    def __repr__(self) -> str:
        return f"RunnableGenerator({self.name or 'generator'})"

    @property
    def InputType(self) -> Any:
        """The item type of the annotated input iterator, or `Any`."""
        return _item_of(_first_type(self._transform or self._atransform))

    @property
    def OutputType(self) -> Any:
        """The annotated item type of the generator, or `Any`."""
        return _item_of(_return_type(self._transform or self._atransform))

    def invoke(self, input: Input, config: Config = None, **kwargs: Any) -> Output:
        """Return the sum of the generator's chunks. Handlers see the call as a stream."""
        chunks = list(self.stream(input, config, **kwargs))
        return cast("Output", collected(chunks))

    def _chunks(
        self, input: Chunks, config: RunnableConfig, run: OptionalRun, kwargs: Kwargs
    ) -> Iterator[Output]:
        if self._transform is None:
            raise NotImplementedError(
                f"{self!r} has only an async generator. Use `astream` or `ainvoke`."
            )
        return stream_function(self._transform, input, config, run and run.manager, kwargs)

    async def ainvoke(self, input: Input, config: Config = None, **kwargs: Any) -> Output:
        chunks = [chunk async for chunk in self.astream(input, config, **kwargs)]
        return cast("Output", collected(chunks))

    def _achunks(
        self,
        input: AsyncChunks,
        config: RunnableConfig,
        run: OptionalAsyncRun,
        kwargs: Kwargs,
    ) -> AsyncIterator[Output]:
        manager = run and run.manager
        if self._atransform is not None:
            return astream_function(self._atransform, input, config, manager, kwargs)
        return self._agathered(input, config, manager, kwargs)

    async def _agathered(
        self,
        input: AsyncChunks,
        config: RunnableConfig,
        manager: Any,
        kwargs: Kwargs,
    ) -> AsyncIterator[Output]:
        inner = None
        try:
            items = iter([item async for item in input])
            func = cast("Callable[..., Iterator[Output]]", self._transform)
            inner = threaded(stream_function(func, items, config, manager, kwargs))
            async for chunk in inner:
                yield chunk
        finally:
            await aclose(inner, input)


async def threaded(chunks: Iterator[Out]) -> AsyncIterator[Out]:
    """Yield the items of a sync generator, each computed in a thread, and close the generator at the end."""
    try:
        while True:
            chunk = await run_in_executor(None, next, chunks, END)
            if chunk is END:
                return
            yield cast("Out", chunk)
    finally:
        try:
            close(chunks)
        except ValueError:
            # The generator still runs in its thread after the deadline; its item is dropped when it
            # returns.
            pass


@overload
def chain(func: Callable[[In], Coroutine[Any, Any, Out]]) -> RunnableLambda[In, Out]: ...
@overload
def chain(func: Callable[[In], AsyncIterator[Out]]) -> RunnableLambda[In, Out]: ...
@overload
def chain(func: Callable[[In], Iterator[Out]]) -> RunnableLambda[In, Out]: ...
@overload
def chain(func: Callable[[In], Out]) -> RunnableLambda[In, Out]: ...
def chain(func: Function) -> RunnableLambda:
    """Return the decorated function as a runnable.

    Runnables that the function calls inherit its config.
    """
    return RunnableLambda(func)
