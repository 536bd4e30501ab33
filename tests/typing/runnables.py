"""What type checkers infer for chains. Checked by mypy and pyright, never run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, assert_type

from modelwire.runnables import (
    Runnable,
    RunnableConfig,
    RunnableLambda,
    RunnableParallel,
    RunnablePassthrough,
    RunnableSequence,
    RunnableSerializable,
    chain,
)
from modelwire.runnables.binding import RunnableBinding
from modelwire.runnables.each import RunnableEach


def text(x: int) -> str:
    return str(x)


async def number(x: str) -> float:
    return float(x)


def encoded(chunks: Iterator[str]) -> Iterator[bytes]:
    for chunk in chunks:
        yield chunk.encode()


class Counting(RunnableSerializable[dict[str, Any], int]):
    def invoke(
        self, input: dict[str, Any], config: RunnableConfig | None = None, **kwargs: Any
    ) -> int:
        return len(input)


@chain
def letters(x: int) -> list[str]:
    return ["a"] * x


counting = Counting()
assert_type(letters, RunnableLambda[int, list[str]])
assert_type(RunnableLambda(text), RunnableLambda[int, str])
assert_type(RunnableLambda(number), RunnableLambda[str, float])
assert_type(counting | text, RunnableSequence[dict[str, Any], str])
assert_type(counting | text | number, RunnableSequence[dict[str, Any], float])
assert_type(counting | RunnableLambda(text) | encoded, RunnableSequence[dict[str, Any], bytes])
assert_type(counting | {"a": text}, RunnableSequence[dict[str, Any], dict[str, Any]])
assert_type({"a": text} | counting, RunnableSequence[Any, int])
assert_type(RunnablePassthrough.assign(a=text) | counting, RunnableSequence[dict[str, Any], int])
both = RunnableParallel(a=counting, b=text)
assert_type(both, RunnableParallel[Any])
assert_type(both.invoke({"a": 1}), dict[str, Any])
assert_type(counting.bind(a=1).with_config(tags=["a"]), RunnableBinding[dict[str, Any], int])
assert_type(counting.map(), RunnableEach[dict[str, Any], int])
assert_type((counting | text).invoke({}), str)
assert_type(counting.batch([{}]), list[int])
assert_type(counting.batch([{}], return_exceptions=True), list[int | Exception])

plain: Runnable[dict[str, Any], str] = counting | text  # a chain is a Runnable of its ends


async def reads() -> None:
    assert_type(await counting.ainvoke({}), int)
    assert_type(await counting.abatch([{}]), list[int])
    async for chunk in (counting | text).astream({}):
        assert_type(chunk, str)
    async for position, output in counting.abatch_as_completed([{}]):
        assert_type((position, output), tuple[int, int])


# A wrong type is seen: without an error on the line below, mypy reports an `ignore` that nothing needs.
assert_type((counting | text).invoke({}), int)  # type: ignore[assert-type]
