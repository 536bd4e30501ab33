"""Several streams side by side on one event loop, each printed in a line of its own when it is done.

python examples/many_streams.py [openai:gpt-4o-mini | local:smollm2 | ...]
"""

from __future__ import annotations

import asyncio
import sys
import time

from stand_in import chosen_model

from modelwire import ChatPromptTemplate, StrOutputParser

THINGS = ["violin", "volcano", "compass", "glacier", "lantern"]
prompt = ChatPromptTemplate.from_template("Say in one short sentence what a {thing} is.")
model = chosen_model(
    sys.argv[1:], lambda text: f"A {text.split()[-2]} is a thing of many words.", max_tokens=48
)
chain = prompt | model | StrOutputParser()


async def tell(thing: str, begin: float) -> int:
    pieces, first_s = [], 0.0
    async for piece in chain.astream({"thing": thing}):
        first_s = first_s or time.perf_counter() - begin
        pieces.append(piece)
    print(
        f"{thing:>8}: first piece after {first_s:.2f} s, last after {time.perf_counter() - begin:.2f} s: ",
        end="",
    )
    print("".join(pieces))
    return len(pieces)


async def main() -> None:
    begin = time.perf_counter()
    counts = await asyncio.gather(*(tell(thing, begin) for thing in THINGS))
    print(f"{sum(counts)} pieces of {len(counts)} streams in {time.perf_counter() - begin:.2f} s")


asyncio.run(main())
