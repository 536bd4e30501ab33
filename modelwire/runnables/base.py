"""The interface of everything that can be composed: `Runnable`, and the conversion of functions and dicts to one.

A subclass needs `invoke`; every other method has a default that calls it.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterator,
    Mapping,
    Sequence,
)
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, TypeVar, cast, overload

from modelwire import lazy, runnables
from modelwire.aliases import AsyncChunks, Chunks
from modelwire.errors import InvalidType
from modelwire.langchain_bridge import is_langchain, own
from modelwire.runnables.addable import collected
from modelwire.runnables.batch_methods import BatchMethods, Input, Output
from modelwire.runnables.closing import aclose, close
from modelwire.runnables.config import (
    Config,
    ConfigFactory,
    RunnableConfig,
    clocked,
    run_in_executor,
    settled,
)
from modelwire.runnables.deadline import covered, guard
from modelwire.runnables.description import Described
from modelwire.runnables.lazy_rooms import events, invoke_function, log, root_listeners, runs, tools
from modelwire.runnables.reading_context import abound_stream, bound_stream

if TYPE_CHECKING:
    from pydantic import BaseModel

    from modelwire.runnables.binding import RunnableBinding
    from modelwire.runnables.configurable import (
        RunnableConfigurableAlternatives,
        RunnableConfigurableFields,
    )
    from modelwire.runnables.each import RunnableEach
    from modelwire.runnables.fallbacks import RunnableWithFallbacks
    from modelwire.runnables.fields import AnyConfigurableField, ConfigurableField
    from modelwire.runnables.functions import RunnableGenerator, RunnableLambda, chain
    from modelwire.runnables.parallel import RunnableMap, RunnableParallel
    from modelwire.runnables.passthrough import RunnableAssign, RunnablePassthrough, RunnablePick
    from modelwire.runnables.retry import ExponentialJitterParams, RetryIf
    from modelwire.runnables.schema import StreamEvent
    from modelwire.runnables.sequence import RunnableSequence
    from modelwire.runnables.serializable import RunnableSerializable
    from modelwire.tools import BaseTool
    from modelwire.tracers.root_listeners import Listener

__all__ = [
    "Input",
    "Output",
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

Other = TypeVar("Other")
_In = TypeVar("_In")
_Out = TypeVar("_Out")


class Runnable(BatchMethods[Input, Output], Described, ABC, Generic[Input, Output]):
    """A unit of work that can be invoked, batched, streamed and composed, sync and async."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        guard(cls, clocked)

    def _may_answer_on_loop(self) -> bool:
        """Return whether a sync batch may call `ainvoke` on an event loop in place of `invoke`.

        It may not if a class overrides `invoke` but inherits `ainvoke`, which would skip the override.
        """
        for cls in type(self).__mro__:
            if "ainvoke" in cls.__dict__:
                return self._loop_native()
            if "invoke" in cls.__dict__:
                return False
        return False

    def _loop_native(self) -> bool:
        """Return whether `ainvoke` runs no sync code of the user, so that a sync batch may run on an event loop.

        By default this is True if the runnable has inner runnables and all of them may answer on the loop.
        """
        inside = tuple(self._runnables_inside())
        return bool(inside) and all(inner._may_answer_on_loop() for inner in inside)

    def _may_block(self) -> bool:
        """Return whether `invoke` may wait for I/O, so that parallel branches should run in threads."""
        inside = tuple(self._runnables_inside())
        return not inside or any(inner._may_block() for inner in inside)

    @abstractmethod
    def invoke(self, input: Input, config: Config = None, **kwargs: Any) -> Output:
        """Return the output for one input."""

    async def ainvoke(self, input: Input, config: Config = None, **kwargs: Any) -> Output:
        """Return the output for one input. The default runs `invoke` in a thread."""
        config, deadline = clocked(config)
        return await covered(
            run_in_executor(None, self.invoke, input, config, **kwargs), deadline, self
        )

    @bound_stream
    def stream(self, input: Input, config: Config = None, **kwargs: Any) -> Iterator[Output]:
        """Yield the output in chunks. The default yields the result of `invoke`."""
        yield self.invoke(input, config, **kwargs)

    @abound_stream
    async def astream(
        self, input: Input, config: Config = None, **kwargs: Any
    ) -> AsyncIterator[Output]:
        """Yield the output in chunks. The default yields the result of `ainvoke`."""
        yield await self.ainvoke(input, config, **kwargs)

    def transform(
        self, input: Iterator[Input], config: Config = None, **kwargs: Any
    ) -> Iterator[Output]:
        """Yield chunks of output for chunks of input.

        The default collects the whole input, and then streams.
        """
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
        self, input: AsyncIterator[Input], config: Config = None, **kwargs: Any
    ) -> AsyncIterator[Output]:
        """Yield chunks of output for chunks of input.

        The default collects the whole input, and then streams.
        """
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

    def astream_events(
        self,
        input: Any,
        config: Config = None,
        *,
        version: Literal["v1", "v2"] = "v2",
        **kwargs: Any,
    ) -> AsyncIterator[StreamEvent]:
        """Stream the output; yield a dict for the start, each chunk and the end of this runnable and each inner one.

        The keywords `include_names`, `include_types`, `include_tags` and `exclude_...` select
        events, each by a list; other keywords are those of `astream`.
        """
        return events.astream_events(self, input, config, version=version, **kwargs)

    def stream_events(
        self,
        input: Any,
        config: Config = None,
        *,
        version: str = "v2",
        **kwargs: Any,
    ) -> Chunks:
        """Raise `NotImplementedError`, as LangChain's runnables do. Use `astream_events`."""
        raise events.unknown_version("stream_events", version)

    def astream_log(
        self, input: Any, config: Config = None, *, diff: bool = True, **kwargs: Any
    ) -> AsyncChunks:
        """Stream the output; yield a `RunLogPatch` for each event, or without `diff` the whole `RunLog` so far.

        Keywords: `with_streamed_output_list`, the filters of `astream_events` (`include_names` and
        similar), and those of `astream`.
        """
        return log.astream_log(self, input, config, diff=diff, **kwargs)

    @overload
    def __or__(self, other: Runnable[Any, Other]) -> RunnableSequence[Input, Other]: ...
    @overload
    def __or__(
        self, other: Callable[[Iterator[Any]], Iterator[Other]]
    ) -> RunnableSequence[Input, Other]: ...
    @overload
    def __or__(
        self, other: Callable[[AsyncIterator[Any]], AsyncIterator[Other]]
    ) -> RunnableSequence[Input, Other]: ...
    @overload
    def __or__(
        self, other: Callable[[Any], Coroutine[Any, Any, Other]]
    ) -> RunnableSequence[Input, Other]: ...
    @overload
    def __or__(self, other: Callable[..., Other]) -> RunnableSequence[Input, Other]: ...
    @overload
    def __or__(self, other: Mapping[str, Any]) -> RunnableSequence[Input, dict[str, Any]]: ...
    def __or__(self, other: Any) -> RunnableSequence[Input, Any]:
        """Return a sequence that passes the output on to `other`: a runnable, a function, or a dict of them."""
        return runnables.RunnableSequence(
            self, coerce_to_runnable(other, place="on the right of `|`")
        )

    @overload
    def __ror__(self, other: Mapping[str, Any]) -> RunnableSequence[Any, Output]: ...
    @overload
    def __ror__(self, other: Callable[[Other], Any]) -> RunnableSequence[Other, Output]: ...
    @overload
    def __ror__(self, other: Any) -> RunnableSequence[Any, Output]: ...
    def __ror__(self, other: Any) -> RunnableSequence[Any, Output]:
        """Return a sequence that takes its input from `other`: a function, or a dict of runnables and functions."""
        return runnables.RunnableSequence(
            coerce_to_runnable(other, place="on the left of `|`"), self
        )

    @overload
    def pipe(
        self, other: Runnable[Any, Other], /, *, name: str | None = None
    ) -> RunnableSequence[Input, Other]: ...
    @overload
    def pipe(self, *others: Any, name: str | None = None) -> RunnableSequence[Input, Any]: ...
    def pipe(self, *others: Any, name: str | None = None) -> RunnableSequence[Input, Any]:
        """Return a sequence that passes the output through `others`, one after the other."""
        return runnables.RunnableSequence(self, *others, name=name)

    def pick(self, keys: str | list[str]) -> RunnableSequence[Input, Any]:
        """Return a sequence that keeps one value of the output dict, or with a list of keys a smaller dict."""
        return self | runnables.RunnablePick(keys)

    def assign(self, **kwargs: Any) -> RunnableSequence[Input, dict[str, Any]]:
        """Return a sequence that adds keys to the output dict; each value is a runnable or function of that dict."""
        return self | runnables.RunnableAssign(runnables.RunnableParallel(kwargs))

    def bind(self, **kwargs: Any) -> RunnableBinding[Input, Output]:
        """Return a runnable that passes `kwargs` to every call."""
        return runnables.RunnableBinding(bound=self, kwargs=kwargs)

    def with_config(self, config: Config = None, **kwargs: Any) -> RunnableBinding[Input, Output]:
        """Return a runnable whose calls use `config` (or its entries as keywords), unless a call's
        own config overrides it.
        """
        return runnables.RunnableBinding(
            bound=self, config=cast("RunnableConfig", {**(config or {}), **kwargs})
        )

    def with_types(self, *, input_type: Any = None, output_type: Any = None) -> RunnableBinding:
        """Return a runnable that declares these types of its input and output; only its schemas use them."""
        return runnables.RunnableBinding(
            bound=self, custom_input_type=input_type, custom_output_type=output_type
        )

    def with_retry(
        self,
        *,
        retry_if_exception_type: RetryIf | type[BaseException] | None = None,
        wait_exponential_jitter: bool = True,
        exponential_jitter_params: ExponentialJitterParams | None = None,
        stop_after_attempt: int = 3,
    ) -> RunnableBinding[Input, Output]:
        """Return a runnable that retries a failed call, up to `stop_after_attempt` attempts. Streams are not retried.

        `retry_if_exception_type` is a tuple of exception classes, or a function of the error. Without
        it every error is retried, except a `CallerError`, and an error of a model that is permanent or
        that the model has already retried itself.
        """
        return runnables.RunnableRetry(
            bound=self,
            retry_exception_types=retry_if_exception_type,
            wait_exponential_jitter=wait_exponential_jitter,
            exponential_jitter_params=exponential_jitter_params,
            max_attempt_number=stop_after_attempt,
        )

    def with_fallbacks(
        self,
        fallbacks: Sequence[Runnable],
        *,
        exceptions_to_handle: tuple[type[BaseException], ...] = (Exception,),
        exception_key: str | None = None,
    ) -> RunnableWithFallbacks[Input, Output]:
        """Return a runnable that tries `fallbacks` in order if this one raises one of `exceptions_to_handle`.

        With `exception_key` the input is a dict, and the fallbacks find the last error in it under
        that key.
        """
        return runnables.RunnableWithFallbacks(
            runnable=self,
            fallbacks=fallbacks,
            exceptions_to_handle=exceptions_to_handle,
            exception_key=exception_key,
        )

    def with_listeners(
        self,
        *,
        on_start: Listener | None = None,
        on_end: Listener | None = None,
        on_error: Listener | None = None,
    ) -> RunnableBinding[Input, Output]:
        """Return a runnable that calls `f(run)`, or `f(run, config)`, when this runnable's own run
        starts, ends or fails.
        """
        listening = root_listeners.listening_to(
            asynchronous=False, on_start=on_start, on_end=on_end, on_error=on_error
        )
        return self._listened(listening)

    def with_alisteners(
        self,
        *,
        on_start: Listener | None = None,
        on_end: Listener | None = None,
        on_error: Listener | None = None,
    ) -> RunnableBinding[Input, Output]:
        """Return a runnable that awaits `f(run)`, or `f(run, config)`, when this runnable's own run
        starts, ends or fails.
        """
        listening = root_listeners.listening_to(
            asynchronous=True, on_start=on_start, on_end=on_end, on_error=on_error
        )
        return self._listened(listening)

    def _listened(self, factory: ConfigFactory) -> RunnableBinding[Input, Output]:
        return runnables.RunnableBinding(bound=self, config_factories=[factory])

    def configurable_fields(
        self, **kwargs: AnyConfigurableField
    ) -> RunnableConfigurableFields[Input, Output]:
        """Return a runnable whose fields a call's config may set:
        `configurable_fields(temperature=ConfigurableField(id="temp"))`.
        """
        return runnables.RunnableConfigurableFields(default=self, fields=kwargs)

    def configurable_alternatives(
        self,
        which: ConfigurableField,
        *,
        default_key: str = "default",
        prefix_keys: bool = False,
        **kwargs: Runnable | Callable[[], Runnable],
    ) -> RunnableConfigurableAlternatives[Input, Output]:
        """Return a runnable that a call's config may replace by an alternative, selected by its keyword.

        With `prefix_keys` the fields of an alternative are configured under `which==keyword/field`.
        """
        return runnables.RunnableConfigurableAlternatives(
            which=which,
            default=self,
            alternatives=kwargs,
            default_key=default_key,
            prefix_keys=prefix_keys,
        )

    def as_tool(
        self,
        args_schema: type[BaseModel] | None = None,
        *,
        name: str | None = None,
        description: str | None = None,
        arg_types: dict[str, type] | None = None,
    ) -> BaseTool:
        """Return a tool for a model that calls this runnable; its arguments are the keys of the input dict."""
        return tools.convert_runnable_to_tool(
            self, args_schema, name=name, description=description, arg_types=arg_types
        )

    def _call_with_config(
        self,
        func: Callable[..., _Out],
        input: Any,
        config: Config,
        run_type: str | None = None,
        serialized: Any = None,
        **kwargs: Any,
    ) -> _Out:
        """Run `func(input)` as this runnable's run; `func` may also take `config` and `run_manager`."""
        return runs.called(
            self,
            input,
            settled(config),
            lambda inner, run: invoke_function.call_func_with_variable_args(
                func, input, inner, run and run.manager, **kwargs
            ),
            run_type=run_type,
            serialized=serialized,
            is_needed=invoke_function.takes_manager(func),
        )

    async def _acall_with_config(
        self,
        func: Callable[..., Awaitable[_Out]],
        input: Any,
        config: Config,
        run_type: str | None = None,
        serialized: Any = None,
        **kwargs: Any,
    ) -> _Out:
        """Await `func(input)` as this runnable's run; `func` may also take `config` and `run_manager`."""
        return await runs.acalled(
            self,
            input,
            settled(config),
            lambda inner, run: invoke_function.acall_func_with_variable_args(
                func, input, inner, run and run.manager, **kwargs
            ),
            run_type=run_type,
            serialized=serialized,
            is_needed=invoke_function.takes_manager(func),
        )

    def _transform_stream_with_config(
        self,
        input: Chunks,
        transformer: Callable[..., Iterator[_Out]],
        config: Config,
        run_type: str | None = None,
        **kwargs: Any,
    ) -> Iterator[_Out]:
        """Run `transformer(input)` as this runnable's run; it may also take `config` and `run_manager`."""
        return runs.transformed(
            self,
            input,
            settled(config),
            lambda items, inner, run: invoke_function.stream_function(
                transformer, items, inner, run and run.manager, kwargs
            ),
            run_type,
            is_needed=invoke_function.takes_manager(transformer),
        )

    def _atransform_stream_with_config(
        self,
        input: AsyncChunks,
        transformer: Callable[..., AsyncIterator[_Out]],
        config: Config,
        run_type: str | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[_Out]:
        """Run `transformer(input)` as this runnable's run; it may also take `config` and `run_manager`."""
        return runs.atransformed(
            self,
            input,
            settled(config),
            lambda items, inner, run: invoke_function.astream_function(
                transformer, items, inner, run and run.manager, kwargs
            ),
            run_type,
            is_needed=invoke_function.takes_manager(transformer),
        )


RunnableLike: TypeAlias = (
    Runnable[_In, _Out]
    | Callable[[_In], Coroutine[Any, Any, _Out]]
    | Callable[[Iterator[_In]], Iterator[_Out]]
    | Callable[[AsyncIterator[_In]], AsyncIterator[_Out]]
    | Callable[[_In], _Out]
    | Mapping[str, Any]
)


# The runnable that a call's input or config chooses, and the config of its call.
Chosen: TypeAlias = tuple[Runnable[Input, Output], RunnableConfig]


def coerce_to_runnable(thing: Any, *, place: str = "here") -> Runnable:
    """Return a runnable as it is, or one made of a function, a generator function or a dict. Errors name `place`.

    Raises: `InvalidType` for anything else.
    """
    if isinstance(thing, Runnable):
        return thing
    if isinstance(thing, type) and issubclass(thing, Runnable):
        raise InvalidType(
            f"Expected a Runnable {place}, not the class `{thing.__name__}`. Did you mean `{thing.__name__}()`?"
        )
    if is_langchain(thing):
        return cast("Runnable", own("runnable", thing))
    call = getattr(type(thing), "__call__", None)  # noqa: B004 - an object whose `__call__` yields
    if inspect.isgeneratorfunction(thing) or any(map(inspect.isasyncgenfunction, (thing, call))):
        return runnables.RunnableGenerator(thing)
    if callable(thing):
        return runnables.RunnableLambda(cast("Callable[[Any], Any]", thing))
    if isinstance(thing, Mapping):
        return cast("Runnable", runnables.RunnableParallel(thing))
    raise InvalidType(
        f"Expected a Runnable, a function or a dict of them {place}, not a `{type(thing).__name__}`. "
        "To pass a constant, write `lambda _: value`."
    )


__getattr__, __dir__, _ = lazy.exports(
    __name__,
    {
        "modelwire.runnables.binding": "RunnableBinding",
        "modelwire.runnables.each": "RunnableEach",
        "modelwire.runnables.functions": "RunnableGenerator RunnableLambda chain",
        "modelwire.runnables.parallel": "RunnableMap RunnableParallel",
        "modelwire.runnables.passthrough": "RunnableAssign RunnablePassthrough RunnablePick",
        "modelwire.runnables.sequence": "RunnableSequence",
        "modelwire.runnables.serializable": "RunnableSerializable",
    },
)
