"""A progress line: one handler hears every token of every call, and every call that is done.

python examples/progress.py [openai:gpt-4o-mini | local:smollm2 | ...]
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from stand_in import chosen_model

from modelwire import ChatPromptTemplate, RunnableConfig, StrOutputParser
from modelwire.callbacks import BaseCallbackHandler

THINGS = ["violin", "volcano", "compass", "glacier", "lantern", "harbour"]


class Progress(BaseCallbackHandler):
    """Counts tokens and finished calls, and rewrites one line."""

    run_inline = True  # it is quick: no thread is needed to keep it from blocking

    def __init__(self, total: int) -> None:
        self.total, self.done, self.tokens = total, 0, 0

    def on_llm_new_token(self, token: str, **kwargs: Any) -> None:
        self.tokens += 1
        self.show()

    def on_chain_end(self, outputs: Any, *, parent_run_id: Any = None, **kwargs: Any) -> None:
        if parent_run_id is None:  # the chain itself, not one of its steps
            self.done += 1
            self.show()

    def show(self) -> None:
        bar = "█" * (20 * self.done // self.total)
        print(
            f"\r{bar:░<20} {self.done}/{self.total} calls, {self.tokens} tokens", end="", flush=True
        )


prompt = ChatPromptTemplate.from_template("Say in one short sentence what a {thing} is.")
model = chosen_model(
    sys.argv[1:], lambda text: f"A {text.split()[-2]} is a thing of many words.", max_tokens=48
)
chain = prompt | model | StrOutputParser()


async def main() -> None:
    progress = Progress(len(THINGS))
    config = RunnableConfig(callbacks=[progress], max_concurrency=2)
    answers = await chain.abatch([{"thing": thing} for thing in THINGS], config)
    print(f"\n{answers[-1]}")


asyncio.run(main())
