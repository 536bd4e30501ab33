"""Submits a batch and waits for it, and kills itself before or after the n-th time an event is written down.

Arguments: wire, base_url, folder of the job, then none or `before|after`, event, n.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from modelwire.adapters import ChatAnthropic, ChatGoogleGenerativeAI, ChatOpenAI, ChatVertexAI
from modelwire.jobs.batch_api import creation, gemini
from modelwire.jobs.batch_api import job as job_module
from modelwire.jobs.batch_api.part_log import PartEvents
from modelwire.prompts import ChatPromptTemplate

ROWS = [{"word": f"w{n}"} for n in range(7)]
PART_ROWS = 3


def chain(wire: str, base_url: str) -> Any:
    if wire == "gemini file":
        gemini.INLINE_BYTES, wire = 0, "gemini"
    if wire == "gemini vertex":
        os.environ["STORAGE_EMULATOR_HOST"] = base_url
        vertex = ChatVertexAI(model="m", base_url=base_url, project="p", credentials=lambda: "k")
        return ChatPromptTemplate.from_template("say {word}") | vertex
    model: Any = {"anthropic": ChatAnthropic, "gemini": ChatGoogleGenerativeAI}.get(
        wire, ChatOpenAI
    )
    return ChatPromptTemplate.from_template("say {word}") | model(
        model="m", base_url=base_url, api_key="k"
    )


def die_at(where: str, event: str, count: int) -> None:
    write, seen = PartEvents.write, [0]

    def writing(self: PartEvents, said: str, *rest: Any, **facts: Any) -> None:
        seen[0] += said == event
        now = said == event and seen[0] == count
        if now and where == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        write(self, said, *rest, **facts)
        if now:
            os.kill(os.getpid(), signal.SIGKILL)

    PartEvents.write = writing  # type: ignore[method-assign]


if __name__ == "__main__":
    wire, base_url, folder, *death = sys.argv[1:]
    creation.SEARCH_S, job_module.POLLS_S = 0.02, (0.01,)
    if death:
        die_at(death[0], death[1], int(death[2]))
    bucket = "gs://my-bucket" if wire == "gemini vertex" else None
    job = chain(wire, base_url).submit_batch(ROWS, dir=folder, part_rows=PART_ROWS, bucket=bucket)
    job.wait(poll=0.01)
    for result in job.results():
        print(result.index, result.status, result.message and result.message.content)
