"""What the border to LangChain costs: CPU of `as_langchain(model)` beside `langchain-openai`, against one server.

Needs the environment of `make test-langchain`: `.venv-langchain/bin/python -m benchmarks.langchain_border`.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

from benchmarks.servers import STREAM_CHUNKS, pinned, running_servers
from benchmarks.tables import Table

IN_FLIGHT = 10
CALLS = 200
ROUNDS = 7


def contenders(root: str) -> dict[str, Any]:
    """Return the models that are compared; each calls `root`."""
    from langchain_openai import ChatOpenAI as TheirChatOpenAI

    from modelwire.adapters import ChatOpenAI
    from modelwire.langchain import as_langchain

    settings: dict[str, Any] = {"model": "gpt-4o-mini", "api_key": "k", "base_url": f"{root}/v1"}
    ours = ChatOpenAI(**settings)
    return {
        "langchain-openai": TheirChatOpenAI(**settings),
        "as_langchain(model)": as_langchain(ours),
        "model": ours,
    }


async def cpu_of_a_call(model: Any) -> float:
    """Return the CPU seconds of one `ainvoke`, with `IN_FLIGHT` of them at a time."""

    async def call_repeatedly() -> None:
        for _ in range(CALLS // IN_FLIGHT):
            await model.ainvoke("What is a violin?")

    await model.ainvoke("What is a violin?")
    before = time.process_time()
    await asyncio.gather(*(call_repeatedly() for _ in range(IN_FLIGHT)))
    return (time.process_time() - before) / CALLS


async def cpu_of_a_chunk(model: Any) -> float:
    """Return the CPU seconds of one chunk of an `astream`."""
    before, chunks = time.process_time(), 0
    async for _ in model.astream("What is a violin?"):
        chunks += 1
    if chunks < STREAM_CHUNKS:
        raise ValueError(f"{chunks} chunks, not {STREAM_CHUNKS}")
    return (time.process_time() - before) / chunks


def rounds_of(
    measure: Callable[[Any], Any], models: dict[str, Any], runner: asyncio.Runner
) -> dict[str, float]:
    """Return the median CPU in microseconds that each model needed, over interleaved rounds."""
    seen: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(ROUNDS):
        for name, model in models.items():
            seen[name].append(runner.run(measure(model)) * 1e6)
    return {name: statistics.median(values) for name, values in seen.items()}


def main() -> None:
    """Print the table."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
    with running_servers(cores[-1]) as servers, pinned(cores[0]), asyncio.Runner() as runner:
        calls = rounds_of(cpu_of_a_call, contenders(servers.plain), runner)
        chunks = rounds_of(cpu_of_a_chunk, contenders(servers.sse), runner)
    table = Table(
        f"CPU, median of {ROUNDS} interleaved rounds",
        ["model", "ainvoke us", "x langchain-openai", "astream us a chunk", "x langchain-openai"],
    )
    for name, call_us in calls.items():
        times = call_us / calls["langchain-openai"], chunks[name] / chunks["langchain-openai"]
        table.rows.append(
            [name, f"{call_us:.0f}", f"{times[0]:.2f}", f"{chunks[name]:.1f}", f"{times[1]:.2f}"]
        )
    print(table.markdown())


if __name__ == "__main__":
    main()
