"""Wraps a runnable of modelwire for LangChain's chains, and a runnable of LangChain as a step of modelwire's.

The wrapped runnable reports its run to the handlers of the config, as a child of the run that calls it. Each handler
receives values of its own library.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any
from uuid import uuid4

from langchain_core.runnables import Runnable as TheirRunnable
from langchain_core.runnables.config import ensure_config as their_ensure_config
from langchain_core.runnables.config import get_config_list
from langchain_core.tracers._streaming import _StreamingCallbackHandler

from modelwire.aliases import JSON, AsyncChunks, Chunks
from modelwire.errors import InvalidArgument
from modelwire.ext import aclose, close, inner_context
from modelwire.langchain.callbacks import own_config, their_config
from modelwire.langchain.errors import errors_of_both
from modelwire.langchain.values import from_langchain, to_langchain
from modelwire.runnables import Runnable, RunnableConfig, ensure_config
from modelwire.tools import convert_to_openai_tool


class Calls:
    """Base of LangChain's objects that run `wrapped`, a runnable or a tool of modelwire's: `invoke` and `ainvoke`."""

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
        """Return `bind_tools` or `with_structured_output` if `wrapped` has it, as a model with fallbacks does."""
        if name not in ("bind_tools", "with_structured_output") or "wrapped" not in self.__dict__:
            raise AttributeError(f"`{type(self).__name__}` has no attribute `{name}`")
        method = getattr(self.wrapped, name)

        def bound(first: Any = None, **kwargs: Any) -> ModelwireRunnable:
            if name == "bind_tools":
                first = tools_once(first)
            return ModelwireRunnable(method(first, **kwargs))

        return bound

    # The types are not known here; the wrapped runnable checks its input.
    InputType: Any = Any
    OutputType: Any = Any

    def batch(
        self,
        inputs: list[Any],
        config: Any = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Run `wrapped` on several inputs at the same time."""
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
        """Run `wrapped` on several inputs at the same time."""
        with errors_of_both():
            outputs = await self.wrapped.abatch(
                from_langchain(inputs),
                _inward_each(config, inputs),
                return_exceptions=return_exceptions,
                **kwargs,
            )
        return to_langchain(outputs)

    def stream(self, input: Any, config: Any = None, **kwargs: Any) -> Chunks:
        """Yield the output in chunks."""
        return self._streamed(
            lambda inward: self.wrapped.stream(from_langchain(input), inward, **kwargs), config
        )

    def astream(self, input: Any, config: Any = None, **kwargs: Any) -> AsyncChunks:
        """Yield the output in chunks."""
        return self._astreamed(
            lambda inward: self.wrapped.astream(from_langchain(input), inward, **kwargs), config
        )

    def transform(self, input: Chunks, config: Any = None, **kwargs: Any) -> Chunks:
        """Yield the output in chunks while the input arrives in chunks."""
        items = map(from_langchain, input)
        return self._streamed(
            lambda inward: self.wrapped.transform(items, inward, **kwargs), config
        )

    def atransform(self, input: AsyncChunks, config: Any = None, **kwargs: Any) -> AsyncChunks:
        """Yield the output in chunks while the input arrives in chunks."""
        items = (from_langchain(item) async for item in input)
        return self._astreamed(
            lambda inward: self.wrapped.atransform(items, inward, **kwargs), config
        )

    def _streamed(self, begin: Callable[[Any], Chunks], config: Any) -> Chunks:
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

    async def _astreamed(self, begin: Callable[[Any], AsyncChunks], config: Any) -> AsyncChunks:
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
    """Return the tools without duplicates. Raises `InvalidArgument` for two that differ but have the same name."""
    seen: JSON = {}
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
    """Convert LangChain's config to modelwire's, after LangChain has added its defaults and those of its context."""
    return own_config(their_ensure_config(config))


def _inward_each(config: Any, inputs: list[Any]) -> Any:
    return [own_config(one) for one in get_config_list(config, len(inputs))]


def _tapped(config: Any) -> tuple[Any, list[Any]]:
    """Return the config of a stream, with an id for its run, and LangChain's handlers that receive its chunks."""
    theirs = their_ensure_config(config)
    inward: Any = own_config(theirs)
    inward.setdefault("run_id", uuid4())
    handlers: Any = theirs.get("callbacks") or []
    if not isinstance(handlers, list):
        handlers = handlers.handlers
    return inward, [one for one in handlers if isinstance(one, _StreamingCallbackHandler)]


class LangChainStep(Runnable[Any, Any]):
    """A step of modelwire's that runs `wrapped`, a runnable of LangChain's. LangChain reports the run."""

    def __init__(self, wrapped: Any) -> None:
        self.wrapped = wrapped

    def __repr__(self) -> str:
        return repr(self.wrapped)

    def get_name(self, suffix: str | None = None, *, name: str | None = None) -> str:
        """Return the name of the wrapped runnable."""
        return str(self.wrapped.get_name(suffix, name=name))

    def bind_tools(self, tools: Any, **kwargs: Any) -> Runnable[Any, Any]:
        """Return the wrapped model with tools bound to it."""
        return LangChainStep(self.wrapped.bind_tools(tools, **kwargs))

    def with_structured_output(self, schema: Any, **kwargs: Any) -> Runnable[Any, Any]:
        """Return the wrapped model with answers that match `schema`."""
        return LangChainStep(self.wrapped.with_structured_output(schema, **kwargs))

    # The types are not known here; the wrapped runnable checks its input.
    InputType: Any = Any
    OutputType: Any = Any

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

    def stream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Chunks:
        """Yield the output in chunks."""
        config = ensure_config(config)
        begun = self.wrapped.stream(
            to_langchain(input), their_config(config, is_async=False), **kwargs
        )
        return _steps(begun, config)

    def astream(
        self, input: Any, config: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncChunks:
        """Yield the output in chunks."""
        config = ensure_config(config)
        begun = self.wrapped.astream(
            to_langchain(input), their_config(config, is_async=True), **kwargs
        )
        return _asteps(begun, config)

    def transform(
        self, input: Chunks, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Chunks:
        """Yield the output in chunks while the input arrives in chunks."""
        config = ensure_config(config)
        items = map(to_langchain, input)
        return _steps(
            self.wrapped.transform(items, their_config(config, is_async=False), **kwargs),
            config,
            input,
        )

    def atransform(
        self, input: AsyncChunks, config: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncChunks:
        """Yield the output in chunks while the input arrives in chunks."""
        config = ensure_config(config)
        items = (to_langchain(item) async for item in input)
        return _asteps(
            self.wrapped.atransform(items, their_config(config, is_async=True), **kwargs),
            config,
            input,
        )


def _reported_there(config: RunnableConfig) -> AbstractContextManager[None]:
    """Return the context for a call of a LangChain runnable.

    LangChain's runs call the handlers of `config`, so a model of modelwire inside must not inherit them a second time.
    """
    return inner_context(config, callbacks=[])


def _steps(chunks: Chunks, config: RunnableConfig, *read: Any) -> Chunks:
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


async def _asteps(chunks: AsyncChunks, config: RunnableConfig, *read: Any) -> AsyncChunks:
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
