"""Back-pressure: a slow reader holds the whole chain back. Nothing is made before it is asked for.

python examples/back_pressure.py
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing

from modelwire.runnables import RunnableGenerator, RunnableLambda

made = 0


def count(_: Iterator[str]) -> Iterator[int]:
    """Make numbers for ever, as fast as they are taken."""
    global made
    for number in itertools.count(1):
        made = number
        yield number


async def acount(_: AsyncIterator[str]) -> AsyncIterator[int]:
    for number in count(iter(())):
        yield number


def square(numbers: Iterator[int]) -> Iterator[int]:
    for number in numbers:
        yield number * number


async def asquare(numbers: AsyncIterator[int]) -> AsyncIterator[int]:
    async for number in numbers:
        yield number * number


chain = (
    RunnableLambda(lambda _: "go")
    | RunnableGenerator(count, acount)
    | RunnableGenerator(square, asquare)
)


async def main() -> None:
    async with aclosing(chain.astream("go")) as values:
        for taken in range(1, 6):
            await asyncio.sleep(0.02)
            print(f"   {await anext(values):>2}: taken {taken}, made {made}")


print("stream, read slowly")
values = chain.stream("go")
for taken in range(1, 6):
    time.sleep(0.02)
    print(f"   {next(values):>2}: taken {taken}, made {made}")

print("astream, read slowly")
asyncio.run(main())
