"""A user's generator runs and is closed in one context, so that its `finally` may reset a variable that it set."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from typing import Any

import pytest

from modelwire.runnables import (
    Runnable,
    RunnableGenerator,
    RunnableLambda,
    RunnableParallel,
    RunnablePassthrough,
    chain,
)

variable: ContextVar[str] = ContextVar("variable", default="outside")
closed: list[str] = []


@pytest.fixture(autouse=True)
def nothing_closed() -> None:
    closed.clear()


def numbers(_: Any) -> Iterator[Any]:
    token = variable.set("inside")
    try:
        for number in range(9):
            assert variable.get() == "inside"
            yield {"n": number}
    finally:
        variable.reset(token)
        closed.append(variable.get())


async def anumbers(_: Any) -> AsyncIterator[Any]:
    token = variable.set("inside")
    try:
        for number in range(9):
            assert variable.get() == "inside"
            await asyncio.sleep(0)
            yield {"n": number}
    finally:
        variable.reset(token)
        closed.append(variable.get())


class Own(Runnable[Any, Any]):
    """A runnable of a user, whose streams set the variable."""

    def invoke(self, input: Any, config: Any = None, **kwargs: Any) -> Any:
        return input

    def stream(self, input: Any, config: Any = None, **kwargs: Any) -> Iterator[Any]:
        return numbers(input)

    def astream(self, input: Any, config: Any = None, **kwargs: Any) -> AsyncIterator[Any]:
        return anumbers(input)


GENERATOR = RunnableGenerator(numbers, anumbers)
SHAPES: dict[str, Any] = {
    "generator": GENERATOR,
    "sync generator": RunnableGenerator(numbers),
    "lambda": RunnableLambda(numbers, anumbers),
    "sync lambda": chain(numbers),
    "sequence": GENERATOR | RunnablePassthrough(),
    "parallel": RunnableParallel(a=GENERATOR, b=RunnableLambda(numbers, anumbers), c=Own()),
    "parallel of one": RunnableParallel(a=Own()),
    "before a parallel": GENERATOR
    | RunnableParallel(a=RunnablePassthrough(), b=RunnablePassthrough()),
    "own before a parallel": Own()
    | RunnableParallel(a=RunnablePassthrough(), b=RunnablePassthrough()),
    "before assign": GENERATOR | RunnablePassthrough.assign(x=lambda _: 1),
    "in assign": RunnablePassthrough.assign(x=GENERATOR),
    "with fallbacks": GENERATOR.with_fallbacks([GENERATOR]),
    "returned": RunnableLambda(lambda _: GENERATOR),
}
shapes = pytest.mark.parametrize("runnable", SHAPES.values(), ids=SHAPES.keys())


@shapes
@pytest.mark.parametrize("heard", [False, True], ids=["", "heard"])
def test_a_stream_left_early_closes_its_generators_where_they_ran(
    colour: Any, runnable: Any, heard: bool
) -> None:
    from modelwire.callbacks import BaseCallbackHandler

    config: Any = {"callbacks": [BaseCallbackHandler()]} if heard else None

    def leave() -> None:
        stream = runnable.stream({"q": 1}, config)
        next(stream)
        next(stream)
        stream.close()

    async def aleave() -> None:
        stream = runnable.astream({"q": 1}, config)
        await anext(stream)
        await anext(stream)
        await stream.aclose()

    colour.run(leave, aleave)
    assert set(closed) == {"outside"}


@shapes
def test_an_error_downstream_is_not_replaced(colour: Any, runnable: Any) -> None:
    def fail(items: Iterator[Any]) -> Iterator[Any]:
        next(items)
        raise ValueError("mine")
        yield

    async def afail(items: AsyncIterator[Any]) -> AsyncIterator[Any]:
        await anext(items)
        raise ValueError("mine")
        yield

    with pytest.raises(ValueError, match="mine"):
        colour.stream(runnable | RunnableGenerator(fail, afail), {"q": 1})
    assert set(closed) <= {"outside"}


@shapes
def test_a_stream_read_to_its_end_closes_its_generators_where_they_ran(
    colour: Any, runnable: Any
) -> None:
    assert colour.stream(runnable, {"q": 1})
    assert set(closed) == {"outside"}


def test_what_a_generator_raises_as_it_is_closed_reaches_the_reader(colour: Any) -> None:
    def sulk(_: Any) -> Iterator[int]:
        try:
            yield from range(9)
        finally:
            raise ValueError("mine")

    async def asulk(_: Any) -> AsyncIterator[int]:
        try:
            for number in range(9):
                yield number
        finally:
            raise ValueError("mine")

    both = RunnableParallel(a=RunnableGenerator(sulk, asulk), b=RunnablePassthrough())

    def leave() -> None:
        stream: Any = both.stream(1)
        next(stream)
        next(stream)
        stream.close()

    async def aleave() -> None:
        stream: Any = both.astream(1)
        await anext(stream)
        await anext(stream)
        await stream.aclose()

    with pytest.raises(ValueError, match="mine"):
        colour.run(leave, aleave)
