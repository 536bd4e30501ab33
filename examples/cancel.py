"""Cancel: `asyncio.wait_for` gives a call up and the model stops at once; so it does when a stream is left.

python examples/cancel.py [openai:gpt-4o-mini | local:smollm2 | ...]
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import aclosing
from typing import Any

from stand_in import chosen_model

from modelwire import ChatPromptTemplate, StrOutputParser
from modelwire.callbacks import AsyncCallbackHandler


class Watch(AsyncCallbackHandler):
    """Says how each call of the model ended."""

    async def on_llm_error(self, error: BaseException, **kwargs: Any) -> None:
        print(f"   the model's call ended with {type(error).__name__}")

    async def on_llm_end(self, response: Any, **kwargs: Any) -> None:
        print(
            f"   the model's call ended after {len(response.generations[0][0].text.split())} words"
        )


prompt = ChatPromptTemplate.from_template("Tell a long story about a {thing}.")
model = chosen_model(sys.argv[1:], lambda text: "once upon a time " * 500, pause_s=0.02)
chain = (prompt | model | StrOutputParser()).with_config(callbacks=[Watch()])


async def main() -> None:
    print("a call, given up after half a second")
    try:
        await asyncio.wait_for(chain.ainvoke({"thing": "harbour"}), timeout=0.5)
    except TimeoutError:
        print("   wait_for raised TimeoutError")

    print("a stream, left after 5 pieces")
    taken = 0
    async with aclosing(chain.astream({"thing": "harbour"})) as pieces:
        async for piece in pieces:
            print(f"   {piece}")
            taken += 1
            if taken == 5:
                break


asyncio.run(main())
