"""How long twenty calls take at a concurrency of 1, 5, 10 and 20, as a small table.

python examples/batch_timings.py [openai:gpt-4o-mini | local:smollm2 | ...]
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable

from stand_in import chosen_model

from modelwire import ChatPromptTemplate, RunnableConfig, StrOutputParser

CALLS = 20
prompt = ChatPromptTemplate.from_template("Say the number {number} as a word, and nothing else.")
model = chosen_model(sys.argv[1:], lambda text: "done", pause_s=0.04, max_tokens=8)
chain = prompt | model | StrOutputParser()
questions = [{"number": number} for number in range(CALLS)]


def seconds(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


print(f"{CALLS} calls       batch                abatch")
print("at a time    s      calls/s       s      calls/s")
for limit in (1, 5, 10, 20):
    config = RunnableConfig(max_concurrency=limit)
    sync_s = seconds(lambda config=config: chain.batch(questions, config))
    async_s = seconds(lambda config=config: asyncio.run(chain.abatch(questions, config)))
    print(
        f"{limit:>6}   {sync_s:>7.2f} {CALLS / sync_s:>9.0f}   {async_s:>8.2f} {CALLS / async_s:>9.0f}"
    )
