"""`astream_log`: a run as a stream of JSON patches, which add up to the state of the run.

python examples/stream_log.py [openai:gpt-4o-mini | local:smollm2 | ...]
"""

from __future__ import annotations

import asyncio
import sys

from stand_in import chosen_model

from modelwire import ChatPromptTemplate, StrOutputParser

prompt = ChatPromptTemplate.from_template("Say in one short sentence what a {thing} is.")
model = chosen_model(sys.argv[1:], lambda text: "A compass shows where north is.", max_tokens=64)
chain = prompt | model | StrOutputParser()


async def main() -> None:
    log = None
    async for patch in chain.astream_log({"thing": "compass"}):
        for change in patch.ops:
            print(f"{change['op']:>8} {change['path'] or '(all)':<44} {str(change['value'])[:60]}")
        log = patch if log is None else log + patch
    assert log is not None
    print(f"\nthe parts that ran: {', '.join(log.state['logs'])}")
    print(f"the answer: {log.state['final_output']}")


asyncio.run(main())
