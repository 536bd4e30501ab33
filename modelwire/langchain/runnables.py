"""Runnables on the other side of the border: modelwire's as LangChain's, and LangChain's as a step of modelwire's.

The inner run is reported to the handlers of the config below the run that called it. Each handler receives values of
its own library.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any
from uuid import uuid4

from langchain_core.runnables import Runnable as TheirRunnable
from langchain_core.runnables.config import ensure_config as their_ensure_config
from langchain_core.runnables.config import get_config_list
from langchain_core.tracers._streaming import _StreamingCallbackHandler

from modelwire.errors import InvalidArgument
from modelwire.ext import aclose, close, inner_context
from modelwire.langchain.callbacks import own_config, their_config
from modelwire.langchain.errors import errors_of_both
from modelwire.langchain.values import from_langchain, to_langchain
from modelwire.runnables import Runnable, RunnableConfig, ensure_config
from modelwire.tools import convert_to_openai_tool


class Calls:
    """The calls of LangChain's objects that run `wrapped`, a runnable or a tool of modelwire's."""

    wrapped: Any

    def _inward(self, value: Any) -> Any:
        return from_langchain(value)

    def invoke(self, input: Any, config: Any = None, **kwargs: Any) -> Any:
        """Run `wrapped` on one input."""
        with errors_of_both():
            output = self.wrapped.invoke(self._inward(input), inward(config), **kwargs)
        return to_langchain(output)

    async def ainvoke(self, input: Any, config: Any = None, **kwargs: Any) -> Any:
        """Run `wrapped` on one input."""
        with errors_of_both():
            output = await self.wrapped.ainvoke(self._inward(input), inward(config), **kwargs)
        return to_langchain(output)


class ModelwireRunnable(Calls, TheirRunnable[Any, Any]):  # type: ignore[misc,unused-ignore]  # LangChain may not be installed
    """A runnable of LangChain's that runs `wrapped`, a runnable of modelwire's; values are converted both ways."""

    def __init__(self, wrapped: Runnable[Any, Any]) -> None:
        self.wrapped = wrapped
        self.name = wrapped.get_name()

    def __repr__(self) -> str:
        return f"as_langchain({self.wrapped!r})"

    def __getattr__(self, name: str) -> Any:
        """Find `bind_tools` and `with_structured_output` where `wrapped` has them, as models with fallbacks have."""
        if name not in ("bind_tools", "with_structured_output") or "wrapped" not in self.__dict__:
            raise AttributeError(f"`{type(self).__name__}` has no attribute `{name}`")
        method = getattr(self.wrapped, name)

        def bound(first: Any = None, **kwargs: Any) -> ModelwireRunnable:
            return ModelwireRunnable(
                method(tools_once(first) if name == "bind_tools" else first, **kwargs)
            )

        return bound

    @property
    def InputType(self) -> Any:
        """What goes in; not checked here."""
        return Any

    @property
    def OutputType(self) -> Any:
        """What comes out; not checked here."""
        return Any

    def batch(
        self,
        inputs: list[Any],
        config: Any = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Run `wrapped` on several inputs, side by side."""
        with errors_of_both():
            outputs = self.wrapped.batch(
                from_langchain(inputs),
                _inward_each(config, inputs),
                return_exceptions=return_exceptions,
                **kwargs,
            )
        return to_langchain(outputs)

    async def abatch(
        self,
        inputs: list[Any],
        config: Any = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Run `wrapped` on several inputs, side by side."""
        with errors_of_both():
            outputs = await self.wrapped.abatch(
                from_langchain(inputs),
                _inward_each(config, inputs),
                return_exceptions=return_exceptions,
                **kwargs,
            )
        return to_langchain(outputs)

    def stream(self, input: Any, config: Any = None, **kwargs: Any) -> Iterator[Any]:
        """Yield the output in chunks."""
        return self._streamed(
            lambda inward: self.wrapped.stream(from_langchain(input), inward, **kwargs), config
        )

    def astream(self, input: Any, config: Any = None, **kwargs: Any) -> AsyncIterator[Any]:
        """Yield the output in chunks."""
        return self._astreamed(
            lambda inward: self.wrapped.astream(from_langchain(input), inward, **kwargs), config
        )

    def transform(self, input: Iterator[Any], config: Any = None, **kwargs: Any) -> Iterator[Any]:
        """Yield the output in chunks, as the input comes in chunks."""
        items = map(from_langchain, input)
        return self._streamed(
            lambda inward: self.wrapped.transform(items, inward, **kwargs), config
        )

    def atransform(
        self, input: AsyncIterator[Any], config: Any = None, **kwargs: Any
    ) -> AsyncIterator[Any]:
        """Yield the output in chunks, as the input comes in chunks."""
        items = (from_langchain(item) async for item in input)
        return self._astreamed(
            lambda inward: self.wrapped.atransform(items, inward, **kwargs), config
        )

    def _streamed(self, begin: Callable[[Any], Iterator[Any]], config: Any) -> Iterator[Any]:
        inward, taps = _tapped(config)
        chunks = begin(inward)
        outward = map(to_langchain, chunks)
        for tap in taps:
            outward = tap.tap_output_iter(inward["run_id"], outward)
        try:
            with errors_of_both():
                yield from outward
        finally:
            close(chunks)

    async def _astreamed(
        self, begin: Callable[[Any], AsyncIterator[Any]], config: Any
    ) -> AsyncIterator[Any]:
        inward, taps = _tapped(config)
        chunks = begin(inward)
        outward = (to_langchain(chunk) async for chunk in chunks)
        for tap in taps:
            outward = tap.tap_output_aiter(inward["run_id"], outward)
        try:
            with errors_of_both():
                async for chunk in outward:
                    yield chunk
        finally:
            await aclose(outward, chunks)


def tools_once(tools: Sequence[Any]) -> list[Any]:
    """Return the tools without duplicates. Raise `InvalidArgument` for two that differ but have the same name."""
    seen: dict[str, Any] = {}
    once = []
    for tool in tools:
        function = convert_to_openai_tool(tool).get("function")
        name = None
        if isinstance(function, Mapping):
            name = function.get("name")
        if name is not None and seen.setdefault(name, function) is not function:
            if seen[name] == function:
                continue
            raise InvalidArgument(
                f"Two tools are called `{name}`, and a model names only one of them. Rename one."
            )
        once.append(tool)
    return once


def inward(config: Any) -> RunnableConfig | None:
    return own_config(their_ensure_config(config))


def _inward_each(config: Any, inputs: list[Any]) -> Any:
    return [own_config(one) for one in get_config_list(config, len(inputs))]


def _tapped(config: Any) -> tuple[Any, list[Any]]:
    """Return the config of a stream, with an id for its run, and the handlers that want to see its chunks."""
    theirs = their_ensure_config(config)
    inward: Any = own_config(theirs)
    inward.setdefault("run_id", uuid4())
    callbacks = theirs.get("callbacks") or []
    if isinstance(callbacks, list):
        handlers = callbacks
    else:
        handlers = callbacks.handlers
    return inward, [one for one in handlers if isinstance(one, _StreamingCallbackHandler)]


class LangChainStep(Runnable[Any, Any]):
    """A step of modelwire's that runs `wrapped`, a runnable of LangChain's. LangChain reports the run."""

    def __init__(self, wrapped: Any) -> None:
        self.wrapped = wrapped

    def __repr__(self) -> str:
        return repr(self.wrapped)

    def get_name(self, suffix: str | None = None, *, name: str | None = None) -> str:
        """Return LangChain's name for it."""
        return str(self.wrapped.get_name(suffix, name=name))

    def bind_tools(self, tools: Any, **kwargs: Any) -> Runnable[Any, Any]:
        """Bind tools to the model that this is."""
        return LangChainStep(self.wrapped.bind_tools(tools, **kwargs))

    def with_structured_output(self, schema: Any, **kwargs: Any) -> Runnable[Any, Any]:
        """Return the model with answers in the form of `schema`."""
        return LangChainStep(self.wrapped.with_structured_output(schema, **kwargs))

    @property
    def InputType(self) -> Any:
        """What goes in; not checked here."""
        return Any

    @property
    def OutputType(self) -> Any:
        """What comes out; not checked here."""
        return Any

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Run `wrapped` on one input."""
        config = ensure_config(config)
        with _reported_there(config):
            output = self.wrapped.invoke(
                to_langchain(input), their_config(config, is_async=False), **kwargs
            )
        return from_langchain(output)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Run `wrapped` on one input."""
        config = ensure_config(config)
        with _reported_there(config):
            output = await self.wrapped.ainvoke(
                to_langchain(input), their_config(config, is_async=True), **kwargs
            )
        return from_langchain(output)

    def stream(
        self, input: Any, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Iterator[Any]:
        """Yield the output in chunks."""
        config = ensure_config(config)
        begun = self.wrapped.stream(
            to_langchain(input), their_config(config, is_async=False), **kwargs
        )
        return _steps(begun, config)

    def astream(
        self, input: Any, config: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncIterator[Any]:
        """Yield the output in chunks."""
        config = ensure_config(config)
        begun = self.wrapped.astream(
            to_langchain(input), their_config(config, is_async=True), **kwargs
        )
        return _asteps(begun, config)

    def transform(
        self, input: Iterator[Any], config: RunnableConfig | None = None, **kwargs: Any
    ) -> Iterator[Any]:
        """Yield the output in chunks, as the input comes in chunks."""
        config = ensure_config(config)
        items = map(to_langchain, input)
        return _steps(
            self.wrapped.transform(items, their_config(config, is_async=False), **kwargs),
            config,
            input,
        )

    def atransform(
        self, input: AsyncIterator[Any], config: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncIterator[Any]:
        """Yield the output in chunks, as the input comes in chunks."""
        config = ensure_config(config)
        items = (to_langchain(item) async for item in input)
        return _asteps(
            self.wrapped.atransform(items, their_config(config, is_async=True), **kwargs),
            config,
            input,
        )


def _reported_there(config: RunnableConfig) -> AbstractContextManager[None]:
    """Return the context of a call of LangChain's.

    Its runs call our handlers, so a model of modelwire's inside must not inherit them a second time.
    """
    return inner_context(config, callbacks=[])


def _steps(chunks: Iterator[Any], config: RunnableConfig, *read: Any) -> Iterator[Any]:
    end = object()
    try:
        while True:
            with _reported_there(config):
                chunk = next(chunks, end)
            if chunk is end:
                return
            yield from_langchain(chunk)
    finally:
        close(chunks, *read)


async def _asteps(
    chunks: AsyncIterator[Any], config: RunnableConfig, *read: Any
) -> AsyncIterator[Any]:
    try:
        while True:
            try:
                with _reported_there(config):
                    chunk = await anext(chunks)
            except StopAsyncIteration:
                return
            yield from_langchain(chunk)
    finally:
        await aclose(chunks, *read)
