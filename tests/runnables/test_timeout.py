"""`config={"timeout": s}` holds for any runnable, whatever is made of it and wherever a user's class stands in it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from time import monotonic
from typing import Any

import pytest

from modelwire.callbacks import BaseCallbackHandler
from modelwire.errors import Timeout
from modelwire.output_parsers import BaseOutputParser, BaseTransformOutputParser
from modelwire.runnables import (
    Runnable,
    RunnableBranch,
    RunnableGenerator,
    RunnableLambda,
    RunnableParallel,
    RunnablePassthrough,
    RunnableSerializable,
)

LONG_S = 5  # no test waits for it
SHORT_S = 0.05  # what a sync function takes that cannot be interrupted
LIMIT: Any = {"timeout": 0.02}
overslept: list[str] = []


@pytest.fixture(autouse=True)
def nobody_oversleeps() -> Iterator[None]:
    overslept.clear()
    yield
    assert overslept == []


async def long_rest() -> None:
    await asyncio.sleep(LONG_S)
    overslept.append("somebody")


class Own(Runnable[Any, Any]):
    """A user's runnable with an async form."""

    def invoke(self, input: Any, config: Any = None, **kwargs: Any) -> Any:
        time.sleep(SHORT_S)
        return input

    async def ainvoke(self, input: Any, config: Any = None, **kwargs: Any) -> Any:
        await long_rest()


class OnlySync(Runnable[Any, Any]):
    """A user's runnable whose async form is the default one."""

    def invoke(self, input: Any, config: Any = None, **kwargs: Any) -> Any:
        time.sleep(SHORT_S)
        return input


class Serializable(RunnableSerializable[Any, Any]):
    """A user's runnable with fields."""

    rest_s: float = SHORT_S

    def invoke(self, input: Any, config: Any = None) -> Any:
        time.sleep(self.rest_s)
        return input

    async def ainvoke(self, input: Any, config: Any = None) -> Any:
        await long_rest()


class Streaming(Runnable[Any, Any]):
    """A user's runnable whose stream stops in the middle."""

    def invoke(self, input: Any, config: Any = None, **kwargs: Any) -> Any:
        return list(self.stream(input, config))

    def stream(self, input: Any, config: Any = None, **kwargs: Any) -> Iterator[Any]:
        yield 1
        time.sleep(SHORT_S)
        yield 2

    async def ainvoke(self, input: Any, config: Any = None, **kwargs: Any) -> Any:
        return [chunk async for chunk in self.astream(input, config)]

    async def astream(self, input: Any, config: Any = None, **kwargs: Any) -> AsyncIterator[Any]:
        yield 1
        await long_rest()
        yield 2


class Transforming(Streaming):
    def transform(self, input: Iterator[Any], config: Any = None, **kwargs: Any) -> Iterator[Any]:
        return self.stream(input)

    def atransform(
        self, input: AsyncIterator[Any], config: Any = None, **kwargs: Any
    ) -> AsyncIterator[Any]:
        return self.astream(input)


class Parser(BaseOutputParser[str]):
    def parse(self, text: str) -> str:
        time.sleep(SHORT_S)
        return text

    async def aparse(self, text: str) -> str:
        await long_rest()
        return text


class StreamParser(BaseTransformOutputParser[str]):
    def parse(self, text: str) -> str:
        time.sleep(SHORT_S)
        return text

    async def aparse(self, text: str) -> str:
        await long_rest()
        return text


def rest(_: Any) -> None:
    time.sleep(SHORT_S)


async def arest(_: Any) -> None:
    await long_rest()


def resting(items: Iterator[Any]) -> Iterator[Any]:
    yield 1
    time.sleep(SHORT_S)
    yield 2


async def aresting(items: AsyncIterator[Any]) -> AsyncIterator[Any]:
    yield 1
    await long_rest()
    yield 2


LEAVES: dict[str, Any] = {
    "own": Own(),
    "only sync": OnlySync(),
    "serializable": Serializable(),
    "streaming": Streaming(),
    "transforming": Transforming(),
    "parser": Parser(),
    "stream parser": StreamParser(),
    "lambda": RunnableLambda(rest, arest),
    "sync lambda": RunnableLambda(rest),
    "generator": RunnableGenerator(resting, aresting),
    "passthrough": RunnablePassthrough(rest, arest),
    "sync passthrough": RunnablePassthrough(rest),
}
leaves = pytest.mark.parametrize("leaf", LEAVES.values(), ids=LEAVES.keys())

WRAPS: dict[str, Any] = {
    "fallbacks": lambda leaf: leaf.with_fallbacks([RunnableLambda(lambda x: "fell back")]),
    "retry": lambda leaf: leaf.with_retry(stop_after_attempt=2),
    "branch": lambda leaf: RunnableBranch((lambda _: True, leaf), leaf),
    "condition": lambda leaf: RunnableBranch((leaf, lambda x: x), lambda x: x),
    "parallel": lambda leaf: RunnableParallel(a=leaf),
    "two branches": lambda leaf: RunnableParallel(a=leaf, b=RunnablePassthrough()),
    "sequence": lambda leaf: RunnablePassthrough() | leaf | RunnablePassthrough(),
    "returned": lambda leaf: RunnableLambda(lambda _: leaf),
    "binding": lambda leaf: leaf.with_config(tags=["t"]),
    "bound": lambda leaf: RunnablePassthrough() | leaf.with_config(LIMIT),
}
CLASSES = {name: LEAVES[name] for name in ("own", "only sync", "streaming", "parser")}
classes = pytest.mark.parametrize("leaf", CLASSES.values(), ids=CLASSES.keys())
wraps = pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS.keys())


def late(call: Any) -> None:
    with pytest.raises(Timeout, match=r"0\.02 s of `timeout`"):
        call()


@leaves
def test_a_call_ends_at_its_timeout(colour: Any, leaf: Any) -> None:
    late(lambda: colour.invoke(leaf, "x", LIMIT))
    late(lambda: colour.stream(leaf, "x", LIMIT))
    late(lambda: colour.invoke(leaf, "x", {**LIMIT, "callbacks": [BaseCallbackHandler()]}))
    late(lambda: colour.stream(leaf, "x", {**LIMIT, "callbacks": [BaseCallbackHandler()]}))


@classes
@wraps
def test_a_call_of_what_is_made_of_it_ends_at_its_timeout(
    colour: Any, leaf: Any, wrap: Any
) -> None:
    runnable = wrap(leaf)
    late(lambda: colour.invoke(runnable, "x", LIMIT))
    late(lambda: colour.stream(runnable, "x", LIMIT))


@leaves
def test_each_call_of_a_batch_ends_at_its_timeout(colour: Any, leaf: Any) -> None:
    late(lambda: colour.batch(leaf, ["x", "y"], LIMIT))
    late(lambda: colour.invoke(leaf.map(), ["x", "y"], LIMIT))


@leaves
def test_assign_ends_at_its_timeout(colour: Any, leaf: Any) -> None:
    runnable = RunnablePassthrough.assign(x=RunnableLambda(lambda _: "x") | leaf)
    late(lambda: colour.invoke(runnable, {}, LIMIT))
    late(lambda: colour.stream(runnable, {}, LIMIT))


@leaves
def test_a_nested_call_inherits_the_timeout(colour: Any, leaf: Any) -> None:
    def call(x: Any) -> Any:
        return leaf.invoke(x)

    async def acall(x: Any) -> Any:
        return await leaf.ainvoke(x)

    late(lambda: colour.invoke(RunnableLambda(call, acall), "x", LIMIT))


def test_a_class_in_time_gets_its_arguments_as_they_are(colour: Any) -> None:
    seen: list[Any] = []

    class Seeing(Runnable[Any, Any]):
        def invoke(self, input: Any, config: Any = None, **kwargs: Any) -> Any:
            seen.append((config, kwargs))
            return input

        async def ainvoke(self, input: Any, config: Any = None, **kwargs: Any) -> Any:
            return self.invoke(input, config, **kwargs)

    given: Any = {"tags": ["t"]}
    assert (
        colour.run(lambda: Seeing().invoke(1, given, a=2), lambda: Seeing().ainvoke(1, given, a=2))
        == 1
    )
    assert seen[0][0] is given
    assert seen[0][1] == {"a": 2}
    assert colour.run(lambda: Seeing().invoke(1), lambda: Seeing().ainvoke(1)) == 1
    assert seen[-1] == (None, {})
    limited: Any = {"timeout": 60, "tags": ["t"]}
    assert (
        colour.run(
            lambda: Seeing().invoke(1, config=limited),
            lambda: Seeing().ainvoke(input=1, config=limited),
        )
        == 1
    )
    assert seen[-1][0]["tags"] == ["t"]
    assert seen[-1][0]["deadline"] <= monotonic() + 60
    assert limited == {"timeout": 60, "tags": ["t"]}
