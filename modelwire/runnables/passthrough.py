"""Steps that pass their input on: `RunnablePassthrough` unchanged, `RunnableAssign` and
`RunnablePick` a dict with keys added or picked.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

from modelwire.aliases import AsyncChunks, Chunks, Fields, Function, Kwargs
from modelwire.errors import InvalidType
from modelwire.runnables.addable import AddableDict, GrowingDict, collected, growing, replaces
from modelwire.runnables.closing import aclose, close
from modelwire.runnables.config import Config, RunnableConfig, run_in_executor
from modelwire.runnables.functions import is_async
from modelwire.runnables.invoke_function import (
    acall_func_with_variable_args,
    call_func_with_variable_args,
    takes_manager,
)
from modelwire.runnables.lazy_rooms import graphs, schemas, streams
from modelwire.runnables.parallel import Outputs, RunnableParallel
from modelwire.runnables.run import AnyRun, OptionalAsyncRun, OptionalRun
from modelwire.runnables.step import Step

if TYPE_CHECKING:
    from modelwire.runnables.base import Runnable
    from modelwire.runnables.graph import Graph
    from modelwire.runnables.schema import Schema

__all__ = ["RunnableAssign", "RunnablePassthrough", "RunnablePick"]

Other = TypeVar("Other")


class RunnablePassthrough(Step[Other, Other]):
    """Passes the input on.

    `func` (or `afunc` in async calls) is called with the whole input, for its side effect.
    """

    _parts = ("func", "afunc", "name")

    _grace_s = 0.0

    def __init__(
        self,
        func: Function | None = None,
        afunc: Function | None = None,
        *,
        input_type: Any = None,
        name: str | None = None,
    ) -> None:
        if func is not None and is_async(func):
            func, afunc = None, func
        self.func = func
        self.afunc = afunc
        self._takes_manager = takes_manager(func, afunc)
        self.input_type = input_type
        self.name = name

    def __repr__(self) -> str:
        if self.func is None:
            return "RunnablePassthrough()"
        return f"RunnablePassthrough(func={self.func!r})"

    @property
    def InputType(self) -> Any:
        return self.input_type or Any

    @property
    def OutputType(self) -> Any:
        return self.input_type or Any

    @classmethod
    def assign(cls, **kwargs: Any) -> RunnableAssign:  # type: ignore[override]  # as in LangChain, this method of the class begins a chain
        """Return the step that adds keys to its input dict; each value is a runnable or function of that dict."""
        return RunnableAssign(RunnableParallel(kwargs))

    def _loop_native(self) -> bool:
        return self.func is None

    def _may_block(self) -> bool:
        return self.func is not None or self.afunc is not None

    def _value(self, input: Any, config: RunnableConfig, run: AnyRun, kwargs: Kwargs) -> Other:
        if self.func is not None:
            call_func_with_variable_args(self.func, input, config, run and run.manager, **kwargs)
        return cast("Other", input)

    async def _avalue(
        self, input: Any, config: RunnableConfig, run: OptionalAsyncRun, kwargs: Kwargs
    ) -> Other:
        if self.afunc is not None:
            await acall_func_with_variable_args(
                self.afunc, input, config, run and run.manager, **kwargs
            )
        elif self.func is not None:
            await run_in_executor(None, self._value, input, config, run, kwargs)
        return cast("Other", input)

    def _chunks(
        self, input: Chunks, config: RunnableConfig, run: OptionalRun, kwargs: Kwargs
    ) -> Iterator[Other]:
        """Pass on the stream chunk by chunk, and call the function with its sum at the end."""
        if self.func is None:
            return input
        return self._with_func(input, config, run, kwargs)

    def _achunks(
        self,
        input: AsyncChunks,
        config: RunnableConfig,
        run: OptionalAsyncRun,
        kwargs: Kwargs,
    ) -> AsyncIterator[Other]:
        if self.func is None and self.afunc is None:
            return input
        return self._awith_func(input, config, run, kwargs)

    def _with_func(
        self,
        input: Iterator[Other],
        config: RunnableConfig,
        run: OptionalRun,
        kwargs: Kwargs,
    ) -> Iterator[Other]:
        items: list[Other] = []
        try:
            for item in input:
                items.append(item)
                yield item
            if items:
                self._value(collected(items), config, run, kwargs)
        finally:
            close(input)

    async def _awith_func(
        self,
        input: AsyncIterator[Other],
        config: RunnableConfig,
        run: OptionalAsyncRun,
        kwargs: Kwargs,
    ) -> AsyncIterator[Other]:
        items: list[Other] = []
        try:
            async for item in input:
                items.append(item)
                yield item
            if items:
                await self._avalue(collected(items), config, run, kwargs)
        finally:
            await aclose(input)


class RunnableAssign(Step[Outputs, Outputs]):
    """Adds the outputs of the branches in `mapper` to the input dict.

    A stream yields the input's keys first.
    """

    _parts = ("mapper", "name")

    def __init__(self, mapper: RunnableParallel[Outputs], *, name: str | None = None) -> None:
        self.mapper = mapper
        self.name = name

    def _default_name(self) -> str:
        return f"RunnableAssign<{','.join(self.mapper.steps__)}>"

    def get_input_schema(self, config: Config = None) -> Schema:
        """Return a schema with the fields that the branches read, if these are known."""
        read = self.mapper.get_input_schema(config)
        if schemas.fields_of(read) is not None:
            return read
        return super().get_input_schema(config)

    def get_output_schema(self, config: Config = None) -> Schema:
        """Return a schema with the fields that the branches read and the fields that they add."""
        read = schemas.fields_of(self.mapper.get_input_schema(config))
        return schemas.assign_output(read, self.mapper, "RunnableAssignOutput", config)

    def _input_schema_before(self, rest: Sequence[Runnable], config: Config) -> Schema:
        needed = schemas.fields_of(schemas.sequence_input(rest, config)) if rest else None
        if needed is None:
            return self.get_input_schema(config)
        fields = schemas.fields_of(self.mapper.get_input_schema(config)) or {}
        for key, field in needed.items():
            if key not in self.mapper.steps__:
                fields[key] = field
        return schemas.object_schema("RunnableSequenceInput", fields)

    def _output_schema_after(self, before: Sequence[Runnable], config: Config) -> Schema:
        fields = schemas.known_fields(before, config)
        if fields is None:
            return self.get_output_schema(config)
        return schemas.assign_output(fields, self.mapper, "RunnableSequenceOutput", config)

    def get_graph(self, config: Config = None) -> Graph:
        """Return a graph of the branches, with a further branch that passes the input on."""
        return graphs.parallel_graph(
            self, [*self.mapper.steps__.values(), RunnablePassthrough[Any]()], config
        )

    def _runnables_inside(self) -> Iterable[Runnable]:
        return (self.mapper,)

    def __repr__(self) -> str:
        return f"RunnableAssign(mapper={self.mapper!r})"

    def _value(
        self, input: Any, config: RunnableConfig, run: OptionalRun, kwargs: Kwargs
    ) -> Outputs:
        return {**_dict(input), **self.mapper.invoke(input, config, **kwargs)}

    async def _avalue(
        self, input: Any, config: RunnableConfig, run: OptionalAsyncRun, kwargs: Kwargs
    ) -> Outputs:
        return {**_dict(input), **await self.mapper.ainvoke(input, config, **kwargs)}

    def _chunks(
        self, input: Chunks, config: RunnableConfig, run: OptionalRun, kwargs: Kwargs
    ) -> Iterator[Outputs]:
        passed, mapped = streams.tee(input, 2)
        added = self.mapper.transform(mapped, config, **kwargs)
        try:
            for chunk in passed:
                if values := self._without_replaced(chunk):
                    yield values
            yield from added
        finally:
            close(added, passed, mapped, input)

    def _without_replaced(self, chunk: Any) -> AddableDict:
        keys = self.mapper.steps__
        kept = {key: value for key, value in _dict(chunk).items() if key not in keys}
        return kind_of(chunk)(kept)

    async def _achunks(
        self,
        input: AsyncChunks,
        config: RunnableConfig,
        run: OptionalAsyncRun,
        kwargs: Kwargs,
    ) -> AsyncIterator[Outputs]:
        pulled = streams.Pulled(input)
        passed, mapped = streams.atee(pulled, 2)
        added = self.mapper.atransform(mapped, config, **kwargs)
        try:
            async for chunk in passed:
                if values := self._without_replaced(chunk):
                    yield values
            async for chunk in added:
                yield chunk
        finally:
            await aclose(added, passed, mapped, pulled)


class RunnablePick(Step[dict[str, Any], Any]):
    """Picks the value of one key from the input dict, or with a list of keys a dict of the keys that exist."""

    _parts = ("keys", "name")

    def __init__(self, keys: str | list[str], *, name: str | None = None) -> None:
        if not isinstance(keys, (str, list, tuple)):
            raise InvalidType(
                f"`keys` must be a key or a list of keys, not a `{type(keys).__name__}`."
            )
        self.keys = keys
        self.name = name

    def _default_name(self) -> str:
        keys = self.keys if isinstance(self.keys, str) else ",".join(self.keys)
        return f"RunnablePick<{keys}>"

    def __repr__(self) -> str:
        return f"RunnablePick(keys={self.keys!r})"

    def _input_schema_before(self, rest: Sequence[Runnable], config: Config) -> Schema:
        if rest:
            return schemas.sequence_input(rest, config)
        return self.get_input_schema(config)

    def _output_schema_after(self, before: Sequence[Runnable], config: Config) -> Schema:
        fields = schemas.known_fields(before, config)
        if fields is None:
            return self.get_output_schema(config)
        if isinstance(self.keys, str):
            return schemas.schema_of("RunnableSequenceOutput", fields.get(self.keys, (Any, ...))[0])
        return schemas.object_schema(
            "RunnableSequenceOutput", {key: fields[key] for key in self.keys if key in fields}
        )

    def _loop_native(self) -> bool:
        return True

    def _may_block(self) -> bool:
        return False

    def _picked(self, value: Any) -> Any:
        mapping = _dict(value, asker="`pick`")
        if isinstance(self.keys, str):
            return mapping.get(self.keys)
        picked = {key: mapping[key] for key in self.keys if key in mapping}
        return kind_of(value)(picked) or None

    def _news(self, chunk: Any, held: list[Any]) -> list[Any]:
        """Return the picked values that can be yielded now.

        A plain dict replaces the previous one, so a value that readers would add stays in `held`.
        """
        picked = self._picked(chunk)
        if kind_of(chunk) is AddableDict:
            news = [*held, picked]
        elif picked is None or replaces(picked := growing(picked)):
            news = [picked]
        else:
            held[:] = [picked]
            return []
        held.clear()
        return [one for one in news if one is not None]

    def _value(self, input: Any, config: RunnableConfig, run: OptionalRun, kwargs: Kwargs) -> Any:
        return self._picked(input)

    async def _avalue(
        self, input: Any, config: RunnableConfig, run: OptionalAsyncRun, kwargs: Kwargs
    ) -> Any:
        return self._picked(input)

    def _chunks(
        self, input: Chunks, config: RunnableConfig, run: OptionalRun, kwargs: Kwargs
    ) -> Chunks:
        held: list[Any] = []
        try:
            for chunk in input:
                yield from self._news(chunk, held)
            if held and held[0] is not None:
                yield held[0]
        finally:
            close(input)

    async def _achunks(
        self,
        input: AsyncChunks,
        config: RunnableConfig,
        run: OptionalAsyncRun,
        kwargs: Kwargs,
    ) -> AsyncChunks:
        held: list[Any] = []
        try:
            async for chunk in input:
                for picked in self._news(chunk, held):
                    yield picked
            if held and held[0] is not None:
                yield held[0]
        finally:
            await aclose(input)


def kind_of(chunk: Any) -> type[AddableDict]:
    """Return the dict class for a part of `chunk`: `AddableDict` if chunks of its class are added, or
    `GrowingDict` if each replaces the previous one, like a plain dict.
    """
    if isinstance(chunk, AddableDict) and type(chunk) is not GrowingDict:
        return AddableDict
    return GrowingDict


def _dict(value: Any, asker: str = "`RunnablePassthrough.assign()`") -> Fields:
    if not isinstance(value, dict):
        raise InvalidType(f"The input to {asker} must be a dict, not a `{type(value).__name__}`.")
    return cast("Mapping[str, Any]", value)
