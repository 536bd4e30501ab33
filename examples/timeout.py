"""A limit in seconds for a whole call, retries and all: `{"timeout": s}` in the config of any method.

python examples/timeout.py [openai:gpt-4o-mini | local:smollm2 | ...]
"""

from __future__ import annotations

import asyncio
import sys

from stand_in import chosen_model

from modelwire import ChatPromptTemplate, StrOutputParser
from modelwire.errors import Timeout

prompt = ChatPromptTemplate.from_template("Tell a long story about a {thing}.")
model = chosen_model(
    sys.argv[1:], lambda text: "once upon a time " * 10, pause_s=0.02, max_tokens=60
)
chain = prompt | model | StrOutputParser()


async def main() -> None:
    print("a stream: what came in time is yours")
    try:
        async for piece in chain.astream({"thing": "harbour"}, {"timeout": 0.3}):
            print(piece, end="", flush=True)
    except Timeout as exc:
        print(f"\n   {type(exc).__name__}: {exc}")

    print("a batch: each call has its own clock, and those in time stand")
    things = [{"thing": "harbour"}, {"thing": "lantern"}]
    limits = [{"timeout": 0.01}, {"timeout": 60}]
    for thing, outcome in zip(
        things, await chain.abatch(things, limits, return_exceptions=True), strict=True
    ):
        print(f"   {thing['thing']}: {type(outcome).__name__}, {len(str(outcome))} characters")


asyncio.run(main())
