"""`RunnableWithFallbacks`: other runnables to try, in order, if the first one fails."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, cast

from modelwire.aliases import AsyncChunks, Chunks, Function, Kwargs
from modelwire.errors import InvalidArgument, InvalidType
from modelwire.runnables.addable import collected
from modelwire.runnables.base import Input, Output, Runnable, coerce_to_runnable
from modelwire.runnables.closing import aclose, close
from modelwire.runnables.config import Config, RunnableConfig
from modelwire.runnables.deadline import check
from modelwire.runnables.invoke_function import END
from modelwire.runnables.run import AnyRun, OptionalAsyncRun, OptionalRun
from modelwire.runnables.step import Step

if TYPE_CHECKING:
    from modelwire.runnables.graph import Graph
    from modelwire.runnables.schema import Schema

__all__ = ["RunnableWithFallbacks"]

Kinds = tuple[type[BaseException], ...]


class RunnableWithFallbacks(Step[Input, Output]):
    """Runs `runnable`; if it raises one of `exceptions_to_handle`, runs the fallbacks until one succeeds.

    If all fail, the first error is raised. With `exception_key` the input must be a dict, and the
    next runnable finds the last error in it under that key. A stream falls back only until its first
    chunk; after that, only a fallback that can continue a cut answer takes over.

    Attributes are those of `runnable`. A method that returns a runnable, such as `bind_tools`, is
    called on the fallbacks, too, and returns a runnable with fallbacks.
    """

    _waits_for_input = True  # The run starts once the whole input has arrived, and reports it.

    _parts = ("runnable", "fallbacks", "exceptions_to_handle", "exception_key", "name")

    def __init__(
        self,
        *,
        runnable: Runnable[Input, Output],
        fallbacks: Sequence[Runnable[Input, Output]],
        exceptions_to_handle: Kinds = (Exception,),
        exception_key: str | None = None,
        name: str | None = None,
    ) -> None:
        self.runnable = runnable
        self.fallbacks: list[Runnable[Input, Output]] = [
            coerce_to_runnable(fallback, place=f"as fallback {number}")
            for number, fallback in enumerate(fallbacks, 1)
        ]
        if not self.fallbacks:
            raise InvalidArgument(
                "`fallbacks` is empty: give at least one runnable to try when the first one fails."
            )
        self.exceptions_to_handle: Kinds = _kinds(exceptions_to_handle)
        self.exception_key = exception_key
        self.name = name

    @property
    def runnables(self) -> Iterator[Runnable[Input, Output]]:
        """All runnables to try, in order."""
        yield self.runnable
        yield from self.fallbacks

    @property
    def InputType(self) -> Any:
        return self.runnable.InputType

    @property
    def OutputType(self) -> Any:
        return self.runnable.OutputType

    def get_input_schema(self, config: Config = None) -> Schema:
        return self.runnable.get_input_schema(config)

    def get_output_schema(self, config: Config = None) -> Schema:
        return self.runnable.get_output_schema(config)

    def get_graph(self, config: Config = None) -> Graph:
        return self.runnable.get_graph(config)

    def __repr__(self) -> str:
        return f"RunnableWithFallbacks(runnable={self.runnable!r}, fallbacks={self.fallbacks!r})"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "runnable" not in self.__dict__:
            # This is the case while the object is copied or unpickled.
            raise AttributeError(name)
        value = getattr(self.runnable, name)
        if callable(value) and not isinstance(value, type):
            return self._on_all(name, value)
        return value

    def _on_all(self, name: str, method: Function) -> Function:
        @wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            made = method(*args, **kwargs)
            if not isinstance(made, Runnable):
                return made
            others = [getattr(fallback, name)(*args, **kwargs) for fallback in self.fallbacks]
            return RunnableWithFallbacks(
                runnable=made,
                fallbacks=others,
                exceptions_to_handle=self.exceptions_to_handle,
                exception_key=self.exception_key,
                name=self.name,
            )

        return call

    def _runnables_inside(self) -> Iterable[Runnable]:
        return self.runnables

    def _attempts(self, input: Any, config: RunnableConfig, run: AnyRun) -> _Attempts:
        if self.exception_key is not None and not isinstance(input, dict):
            raise InvalidType(
                f"With `exception_key` the input must be a dict, which `{self.exception_key}` is added to, "
                f"not a `{type(input).__name__}`."
            )
        return _Attempts(self, input, config, run)

    def _value(
        self, input: Any, config: RunnableConfig, run: OptionalRun, kwargs: Kwargs
    ) -> Output:
        attempts = self._attempts(input, config, run)
        for runnable, value, inner in attempts:
            try:
                return cast("Output", runnable.invoke(value, inner, **kwargs))
            except self.exceptions_to_handle as exc:
                attempts.failed(exc)
        raise attempts.first_error()

    async def _avalue(
        self, input: Any, config: RunnableConfig, run: OptionalAsyncRun, kwargs: Kwargs
    ) -> Output:
        attempts = self._attempts(input, config, run)
        for runnable, value, inner in attempts:
            try:
                return cast("Output", await runnable.ainvoke(value, inner, **kwargs))
            except self.exceptions_to_handle as exc:
                attempts.failed(exc)
        raise attempts.first_error()

    def _chunks(
        self, input: Chunks, config: RunnableConfig, run: OptionalRun, kwargs: Kwargs
    ) -> Iterator[Output]:
        """Try the runnables until one yields a chunk, and yield its stream.

        If that stream is cut, a fallback may continue its answer; any other later error is raised.
        """
        stream: Chunks | None = None
        try:
            items = list(input)
            if not items:
                return
            attempts = self._attempts(collected(items), config, run)
            tries = iter(attempts)
            for runnable, value, inner in tries:
                try:
                    stream = runnable.stream(value, inner, **kwargs)
                    first = next(stream, END)
                    break
                except self.exceptions_to_handle as exc:
                    close(stream)
                    attempts.failed(exc)
            else:
                raise attempts.first_error()
            if first is END:
                return
            yield first
            while stream is not None:
                try:
                    yield from stream
                    return
                except self.exceptions_to_handle as exc:
                    close(stream)
                    stream = attempts.continued(exc, tries, "_continued_from", kwargs)
        finally:
            close(stream, input)

    async def _achunks(
        self,
        input: AsyncChunks,
        config: RunnableConfig,
        run: OptionalAsyncRun,
        kwargs: Kwargs,
    ) -> AsyncIterator[Output]:
        stream: AsyncChunks | None = None
        try:
            items = [item async for item in input]
            if not items:
                return
            attempts = self._attempts(collected(items), config, run)
            tries = iter(attempts)
            for runnable, value, inner in tries:
                try:
                    stream = runnable.astream(value, inner, **kwargs)
                    first = await anext(stream)
                    break
                except StopAsyncIteration:
                    return
                except self.exceptions_to_handle as exc:
                    await aclose(stream)
                    attempts.failed(exc)
            else:
                raise attempts.first_error()
            yield first
            while stream is not None:
                try:
                    async for chunk in stream:
                        yield chunk
                    return
                except self.exceptions_to_handle as exc:
                    await aclose(stream)
                    stream = attempts.continued(exc, tries, "_acontinued_from", kwargs)
        finally:
            await aclose(stream, input)


class _Attempts:
    """The runnables to try, each with its input and config, as long as the previous one has failed."""

    def __init__(
        self,
        owner: RunnableWithFallbacks,
        input: Any,
        config: RunnableConfig,
        run: AnyRun,
    ) -> None:
        self._owner = owner
        self._input = input
        self._config = config
        self._run = run
        self._first: BaseException | None = None
        self._notes: list[_Note] = []

    def __iter__(self) -> Iterator[tuple[Runnable, Any, RunnableConfig]]:
        for runnable in self._owner.runnables:
            check(self._config.get("deadline"), self._owner)
            config = self._run.below() if self._run else self._config
            yield runnable, self._input, config

    def continued(
        self,
        error: BaseException,
        tries: Iterator[tuple[Runnable, Any, RunnableConfig]],
        method: str,
        kwargs: Kwargs,
    ) -> Any:
        """Return the stream of the next fallback that can continue the answer of a cut stream; else raise `error`."""
        for runnable, value, inner in tries:
            continued_from = getattr(runnable, method, None)
            if continued_from is not None and getattr(error, "may_continue_elsewhere", False):
                return continued_from(cast("Any", error).partial, value, inner, **kwargs)
        raise error

    def failed(self, error: BaseException) -> None:
        if self._first is None:
            self._first = error
        elif error is not self._first:
            self._notes.append(_Note(f"A fallback failed too: {type(error).__name__}: {error}"))
        if self._owner.exception_key is not None:
            self._input = {**self._input, self._owner.exception_key: error}

    def first_error(self) -> BaseException:
        """Return the first error with notes of the others.

        Notes of an earlier call that raised the same error are removed.
        """
        first = cast("BaseException", self._first)
        others = [
            note
            for note in getattr(first, "__notes__", ())
            if getattr(note, "owner", None) != id(self._owner)
        ]
        if others or self._notes:
            for note in self._notes:
                note.owner = id(self._owner)
            first.__notes__ = [*others, *self._notes]
        return first


class _Note(str):
    """A note on an error. It stores the `id()` of the `RunnableWithFallbacks` that added it."""

    owner = 0


def _kinds(classes: Any) -> Kinds:
    kinds = (classes,) if isinstance(classes, type) else tuple(classes)
    if not kinds or not all(
        isinstance(kind, type) and issubclass(kind, BaseException) for kind in kinds
    ):
        raise InvalidType(
            "`exceptions_to_handle` must be a tuple of exception classes, such as `(RateLimited,)`."
        )
    return kinds
