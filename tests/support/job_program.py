"""A job in a process of its own, to be killed: `python job_program.py INPUT OUTPUT ASKED [MILLISECONDS]`.

Every question is a line of the file ASKED at the moment it is asked, so that whoever kills the process can count.
"""

import asyncio
import os
import sys
from typing import Any

from modelwire.adapters.model.base import BaseChatModel
from modelwire.jobs import run_job
from modelwire.messages import AIMessage
from modelwire.outputs import ChatGeneration, ChatResult

WINDOW = 16


class Counted(BaseChatModel):
    asked: int
    wait_s: float

    @property
    def _llm_type(self) -> str:
        return "counted"

    def _generate(self, *_: Any, **__: Any) -> ChatResult:
        raise AssertionError("jobs ask on an event loop")

    async def _agenerate(self, messages: Any, *_: Any, **__: Any) -> ChatResult:
        os.write(self.asked, f"{messages[-1].text}\n".encode())
        await asyncio.sleep(self.wait_s)
        return ChatResult(
            generations=[ChatGeneration(message=AIMessage(f"answer to {messages[-1].text}"))]
        )


if __name__ == "__main__":
    given, output, asked = sys.argv[1:4]
    wait_s = float(sys.argv[4]) / 1000 if len(sys.argv) > 4 else 0.005
    fd = os.open(asked, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    model = Counted(asked=fd, wait_s=wait_s)
    print(run_job("{text}", given, model=model, output=output, max_concurrency=WINDOW), flush=True)
