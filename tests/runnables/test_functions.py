"""Functions as runnables."""

from __future__ import annotations

import ast
import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from functools import partial
from operator import itemgetter
from typing import Any
from uuid import UUID

import pytest

from modelwire.callbacks import BaseCallbackHandler
from modelwire.errors import InvalidType
from modelwire.runnables import (
    Runnable,
    RunnableGenerator,
    RunnableLambda,
    RunnablePassthrough,
    chain,
    coerce_to_runnable,
)


def one_more(x: int) -> int:
    return x + 1


async def aone_more(x: int) -> int:
    return x + 1


def test_function_gets_the_config_it_asks_for(colour: Any) -> None:
    def tags(x: int, config: Any) -> list[str]:
        return [*config["tags"], str(x)]

    async def atags(x: int, config: Any) -> list[str]:
        return [*config["tags"], str(x)]

    assert colour.invoke(RunnableLambda(tags, atags), 1, {"tags": ["t"]}) == ["t", "1"]
    assert colour.invoke(RunnableLambda(tags), 1, {"tags": ["t"]}) == ["t", "1"]


RUN_ID = UUID(int=7)


def the_run(x: int, run_manager: Any) -> Any:
    return run_manager


async def athe_run(x: int, *, run_manager: Any) -> Any:
    return run_manager


def each_run(items: Iterator[int], run_manager: Any) -> Iterator[Any]:
    for _ in items:
        yield run_manager


async def aeach_run(items: AsyncIterator[int], run_manager: Any) -> AsyncIterator[Any]:
    async for _ in items:
        yield run_manager


def a_generator(x: int, run_manager: Any) -> Iterator[Any]:
    yield run_manager


class OfOnesOwn(Runnable[Any, Any]):
    def invoke(self, input: Any, config: Any = None, **kwargs: Any) -> Any:
        return self._call_with_config(the_run, input, config)

    async def ainvoke(self, input: Any, config: Any = None, **kwargs: Any) -> Any:
        return await self._acall_with_config(athe_run, input, config)

    def transform(self, input: Any, config: Any = None, **kwargs: Any) -> Iterator[Any]:
        return self._transform_stream_with_config(input, each_run, config)

    def atransform(self, input: Any, config: Any = None, **kwargs: Any) -> AsyncIterator[Any]:
        return self._atransform_stream_with_config(input, aeach_run, config)


@pytest.mark.parametrize("way", ["invoke", "stream", "batch", "transform"])
@pytest.mark.parametrize("heard", [True, False])
@pytest.mark.parametrize(
    "runnable",
    [
        RunnableLambda(the_run),
        RunnableLambda(the_run, athe_run),
        RunnableLambda(a_generator),
        RunnableGenerator(each_run, aeach_run),
        RunnableGenerator(each_run),
        OfOnesOwn(),
    ],
)
def test_a_run_manager_is_there_though_nobody_listens(
    colour: Any, runnable: Any, heard: bool, way: str
) -> None:
    config: Any = {"tags": ["t"], "metadata": {"key": "value"}, "run_id": RUN_ID}
    if heard:
        config["callbacks"] = [BaseCallbackHandler()]
    values = 1 if way in ("invoke", "stream") else [1]
    found = getattr(colour, way)(runnable, values, config)
    manager = found[0] if isinstance(found, list) else found
    manager = (
        manager if colour.name == "sync" or "get_sync" not in dir(manager) else manager.get_sync()
    )
    assert (manager.run_id, manager.tags) == (RUN_ID, ["t"])
    assert manager.metadata == {"key": "value"}
    assert manager.get_child("own").parent_run_id == RUN_ID
    manager.on_text("any")


def test_a_function_that_looks_at_what_passes_gets_a_run_manager(colour: Any) -> None:
    seen: list[Any] = []

    def look(x: Any, run_manager: Any) -> None:
        seen.append(run_manager.run_id)

    assert colour.invoke(RunnablePassthrough(look), 1, {"run_id": RUN_ID}) == 1
    assert colour.stream(RunnablePassthrough(look), 1, {"run_id": RUN_ID}) == [1]
    assert seen == [RUN_ID, RUN_ID]


def test_keyword_only_config_and_partial_and_callable_objects_work(colour: Any) -> None:
    class Adder:
        def __call__(self, x: int, *, config: Any) -> int:
            return x + len(config["tags"])

    def add(y: int, x: int, config: Any) -> int:
        return x + y + len(config["tags"])

    assert colour.invoke(RunnableLambda(Adder()), 1, {"tags": ["t"]}) == 2
    assert colour.invoke(RunnableLambda(partial(add, 10)), 1, {"tags": ["t"]}) == 12
    assert colour.invoke(RunnableLambda(itemgetter("a")), {"a": 3}) == 3
    assert colour.invoke(RunnableLambda(len), "abc") == 3


def test_async_function_alone_is_the_async_form() -> None:
    runnable = RunnableLambda(aone_more)
    assert asyncio.run(runnable.ainvoke(1)) == 2
    for call in (runnable.invoke, lambda x: list(runnable.stream(x))):
        with pytest.raises(TypeError, match="Cannot invoke a coroutine function synchronously"):
            call(1)
    with pytest.raises(InvalidType, match="Use `ainvoke`"):
        runnable.batch([1, 2])


def test_sync_function_runs_in_a_thread_when_awaited() -> None:
    runnable = RunnableLambda(lambda _: threading.get_ident())
    assert asyncio.run(runnable.ainvoke(0)) != threading.get_ident()
    assert runnable.invoke(0) == threading.get_ident()


def test_async_twin_is_used_when_awaited(colour: Any) -> None:
    assert colour.invoke(RunnableLambda(lambda _: "sync", _says_async), 1) == colour.name


async def _says_async(x: int) -> str:
    return "async"


@pytest.mark.parametrize(
    ("func", "afunc"), [("text", None), (None, None), (one_more, one_more), (aone_more, aone_more)]
)
def test_what_is_no_function_of_the_right_colour_is_refused(func: Any, afunc: Any) -> None:
    with pytest.raises(InvalidType, match=r"`a?func`"):
        RunnableLambda(func, afunc)


def test_returned_runnable_is_run_on_the_same_input(colour: Any) -> None:
    seen: list[Any] = []
    inner = RunnableLambda(lambda x, config: seen.append(config["recursion_limit"]) or x * 10)
    outer = RunnableLambda(lambda x: inner if x > 0 else "small")
    assert colour.invoke(outer, 2) == 20
    assert colour.invoke(outer, 0) == "small"
    assert colour.stream(outer, 2) == [20]
    assert seen == [24, 24]


def test_returned_runnable_streams(colour: Any) -> None:
    def letters(_: str) -> Iterator[str]:
        yield from "ab"

    async def aletters(_: str) -> AsyncIterator[str]:
        for letter in "ab":
            yield letter

    inner = RunnableLambda(letters) if colour.name == "sync" else RunnableLambda(aletters)
    assert colour.stream(RunnableLambda(lambda x: inner), "x") == ["a", "b"]


def test_recursion_ends_at_the_limit(colour: Any) -> None:
    def again(_: int) -> Any:
        return runnable

    runnable = RunnableLambda(again)
    with pytest.raises(
        RecursionError,
        match=r"Recursion limit reached when invoking RunnableLambda\(again\) with input 7",
    ):
        colour.invoke(runnable, 7, {"recursion_limit": 5})


def test_generator_function_streams_and_invoke_adds_up(colour: Any) -> None:
    def letters(x: str) -> Iterator[str]:
        for letter in x:
            yield letter * 2

    async def aletters(x: str) -> AsyncIterator[str]:
        for letter in x:
            yield letter * 2

    for runnable in (RunnableLambda(letters), RunnableLambda(letters, aletters)):
        assert colour.stream(runnable, "ab") == ["aa", "bb"]
        assert colour.invoke(runnable, "ab") == "aabb"
        assert colour.transform(runnable, ["a", "b"]) == ["aa", "bb"]
        assert colour.batch(runnable, ["a", "b"]) == ["aa", "bb"]
        assert colour.invoke(runnable, "") is None


def test_generator_over_chunks_streams(colour: Any) -> None:
    def upper(chunks: Iterator[str]) -> Iterator[str]:
        for chunk in chunks:
            yield chunk.upper()

    async def aupper(chunks: AsyncIterator[str]) -> AsyncIterator[str]:
        async for chunk in chunks:
            yield chunk.upper()

    for runnable in (RunnableGenerator(upper), RunnableGenerator(upper, aupper)):
        assert colour.transform(runnable, "abc") == ["A", "B", "C"]
        assert colour.invoke(runnable, "abc") == "ABC"
        assert colour.batch(runnable, ["a", "b"]) == ["A", "B"]
    assert RunnableGenerator(upper).get_name() == "upper"
    assert repr(RunnableGenerator(upper)) == "RunnableGenerator(upper)"
    assert RunnableGenerator(upper) == RunnableGenerator(upper)


def test_generator_that_is_only_async_has_no_sync_form() -> None:
    async def aupper(chunks: AsyncIterator[str]) -> AsyncIterator[str]:
        async for chunk in chunks:
            yield chunk.upper()

    runnable = RunnableGenerator(aupper)
    assert asyncio.run(runnable.ainvoke("a")) == "A"
    for call in (runnable.invoke, runnable.stream, lambda x: runnable.batch([x, x])):
        with pytest.raises(NotImplementedError, match="only an async generator"):
            call("a")


def test_generator_wants_a_generator_function() -> None:
    with pytest.raises(InvalidType, match="must be a generator function"):
        RunnableGenerator(one_more)  # type: ignore[arg-type]


def test_coercion_tells_functions_generators_and_dicts_apart() -> None:
    def numbers(_: Iterator[int]) -> Iterator[int]:
        yield 1

    assert isinstance(coerce_to_runnable(one_more), RunnableLambda)
    assert isinstance(coerce_to_runnable(numbers), RunnableGenerator)
    assert coerce_to_runnable({"a": one_more}).get_name() == "RunnableParallel<a>"
    passthrough = RunnablePassthrough()
    assert coerce_to_runnable(passthrough) is passthrough


def test_chain_decorator_makes_a_named_runnable_whose_calls_inherit(colour: Any) -> None:
    seen: list[Any] = []
    inner = RunnableLambda(lambda x, config: seen.append(config["tags"]) or x)

    @chain
    def composed(x: int) -> int:
        return inner.invoke(x) + inner.invoke(x)  # type: ignore[no-any-return]

    assert isinstance(composed, Runnable)
    assert composed.get_name() == "composed"
    assert colour.invoke(composed, 2, {"tags": ["t"]}) == 4
    assert seen == [["t"], ["t"]]


def test_repr_shows_the_source_of_a_lambda() -> None:
    assert repr(RunnableLambda(lambda x: x * 2)) == "RunnableLambda(lambda x: x * 2)"
    assert repr(RunnableLambda(one_more)) == "RunnableLambda(one_more)"
    chained = RunnablePassthrough() | (lambda x: x + 1) | {"a": lambda y: y}
    assert repr(chained) == (
        "RunnablePassthrough()\n| RunnableLambda(lambda x: x + 1)\n| {\n    a: RunnableLambda(lambda y: y)\n  }"
    )
    first, second = RunnableLambda(lambda x: x + 3), RunnableLambda(lambda x: x + 4)
    assert repr(first) == "RunnableLambda(lambda x: x + 3)"
    assert repr(second) == "RunnableLambda(lambda x: x + 4)"


def test_lambda_names_and_types() -> None:
    assert RunnableLambda(lambda x: x).get_name() == "RunnableLambda"
    assert RunnableLambda(one_more).get_name() == "one_more"
    assert RunnableLambda(one_more).get_name("Input") == "one_more_input"
    assert RunnableLambda(one_more, name="named").get_name() == "named"
    assert RunnableLambda[int, int](one_more).InputType is int
    assert RunnableLambda(one_more) == RunnableLambda(one_more)
    assert RunnableLambda(one_more) != RunnableLambda(aone_more)


def test_exception_of_the_function_comes_through_as_it_is(colour: Any) -> None:
    error = KeyError("mine")

    def fail(_: int) -> int:
        raise error

    for call in (colour.invoke, colour.stream):
        with pytest.raises(KeyError) as caught:
            call(RunnableLambda(fail) | RunnablePassthrough(), 1)
        assert caught.value is error


def test_an_object_whose_call_is_a_generator_streams(colour: Any) -> None:
    class Twice:
        def __call__(self, chunks: Iterator[int]) -> Iterator[int]:
            for chunk in chunks:
                yield chunk
                yield chunk

    class ATwice:
        async def __call__(self, chunks: AsyncIterator[int]) -> AsyncIterator[int]:
            async for chunk in chunks:
                yield chunk
                yield chunk

    assert colour.stream(RunnableGenerator(Twice(), ATwice()), 1) == [1, 1]
    with pytest.raises(NotImplementedError):
        RunnableGenerator(ATwice()).invoke(1)


class EachOneMore:
    async def __call__(self, numbers: AsyncIterator[int]) -> AsyncIterator[int]:
        async for number in numbers:
            yield number + 1


def test_an_object_whose_async_call_yields_is_a_generator_in_a_chain() -> None:
    async def streamed() -> list[int]:
        chain = RunnablePassthrough[int]() | EachOneMore()
        return [number async for number in chain.atransform(numbers())]

    async def numbers() -> AsyncIterator[int]:
        yield 1
        yield 2

    assert asyncio.run(streamed()) == [2, 3]
    assert isinstance(coerce_to_runnable(EachOneMore()), RunnableGenerator)


def test_the_runnables_a_function_names_are_its_parts() -> None:
    from modelwire.runnables import ConfigurableField

    inner = RunnableLambda(one_more).configurable_alternatives(
        ConfigurableField(id="which"), other=RunnableLambda(one_more)
    )

    def outer(x: int) -> Any:
        return inner if x else inner.invoke(x)

    assert RunnableLambda(outer).deps == [inner]
    assert [spec.id for spec in RunnableLambda(outer).config_specs] == ["which"]
    assert "one_more" in {node.name for node in RunnableLambda(outer).get_graph().nodes.values()}
    assert RunnableLambda(len).deps == []


def test_functions_that_name_one_another_in_circles_can_be_described() -> None:
    there = RunnableLambda(lambda x: back)
    back = RunnableLambda(lambda x: there)
    assert there.config_specs == []
    assert [node.name for node in there.get_graph().nodes.values()].count("Lambda") == 1
    with pytest.raises(RecursionError, match="Recursion limit reached"):
        there.invoke(1)


def test_an_object_that_is_called_as_a_generator_streams(colour: Any) -> None:
    class Letters:
        def __call__(self, text: str) -> Iterator[str]:
            yield from text

    class ALetters:
        async def __call__(self, text: str) -> AsyncIterator[str]:
            for letter in text:
                yield letter

    if colour.name == "async":
        assert colour.stream(RunnableLambda(ALetters()), "abc") == ["a", "b", "c"]
        assert colour.invoke(RunnableLambda(ALetters()), "abc") == "abc"
    assert colour.stream(RunnableLambda(Letters()), "abc") == ["a", "b", "c"]
    assert colour.invoke(RunnableLambda(Letters()), "abc") == "abc"


def test_a_function_is_read_again_where_cpython_trips_over_two_threads_that_parse(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parse, failures = ast.parse, [SystemError("AST constructor recursion depth mismatch")] * 2

    def tripping(text: str) -> ast.AST:
        if failures:
            raise failures.pop()
        return parse(text)

    inner = RunnableLambda(len)
    outer = RunnableLambda(lambda x: inner.invoke(x))
    monkeypatch.setattr(ast, "parse", tripping)
    assert outer.deps == [inner]
    failures = [SystemError("AST constructor recursion depth mismatch")] * 100
    assert RunnableLambda(lambda x: inner.invoke(x) + 1).invoke("ab") == 3
