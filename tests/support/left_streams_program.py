"""Leaves streams to the garbage collector while other calls are under way, and prints what stays behind.

Arguments: base_url, engine (`httpx2`, `aiohttp`, or `client`: an httpx2 client of the user's own), what is streamed
(`model` or `chain`), the collector's threshold, how many streams, how many calls.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any

from modelwire.adapters import ChatOpenAI
from modelwire.output_parsers import StrOutputParser
from modelwire.prompts import ChatPromptTemplate
from modelwire.transport.connections import pools
from modelwire.transport.ratelimit import registry

AT_A_TIME = 30


def model_over(base_url: str, engine: str) -> Any:
    if engine != "client":
        return ChatOpenAI(model="m", base_url=base_url, api_key="k", max_retries=0, engine=engine)
    import httpx2

    client = httpx2.AsyncClient(limits=httpx2.Limits(max_connections=None))
    return ChatOpenAI(
        model="m", base_url=base_url, api_key="k", max_retries=0, http_async_client=client
    )


async def leave(chunks: Any) -> None:
    """Leave a stream as a program does that does not know better: the frame and the error make a cycle."""
    stream = chunks
    try:
        async for _ in stream:
            raise LookupError("enough")
    except LookupError as exc:
        kept = [exc]
        kept.append(kept)  # type: ignore[arg-type]
        raise


async def left(chunks: Callable[[], Any]) -> None:
    task = asyncio.create_task(leave(chunks()))
    await asyncio.wait([task])
    assert isinstance(task.exception(), LookupError)


async def crew(work: Iterable[Awaitable[None]]) -> None:
    works = iter(work)

    async def one() -> None:
        for awaitable in works:
            await awaitable

    await asyncio.gather(*(one() for _ in range(AT_A_TIME)))


def open_sockets() -> int:
    """Count them; none where the system does not list what a process has open."""
    count = 0
    for name in os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else ():
        with suppress(OSError):  # the listing itself was open
            count += os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
    return count


async def main(model: Any, streamed: str, streams: int, calls: int) -> None:
    failed: list[str] = []
    before = open_sockets()
    chain = ChatPromptTemplate.from_template("{words}") | model | StrOutputParser()
    words = "one two three four five six"

    def chunks() -> Any:
        return model.astream(words) if streamed == "model" else chain.astream({"words": words})

    async def call(text: str) -> None:
        try:
            assert (await model.ainvoke(text)).text == text
        except Exception as exc:  # noqa: BLE001 - that there is none is the claim
            failed.append(repr(exc))

    await asyncio.gather(
        crew(left(chunks) for _ in range(streams)), crew(call(str(n)) for n in range(calls))
    )
    gc.collect()
    await asyncio.sleep(0.1)
    gc.collect()
    await asyncio.sleep(0.1)
    own = (
        list(pools._loop_pools[asyncio.get_running_loop()].by_settings.values())
        if pools._loop_pools
        else []
    )
    places = sum(pool.in_flight for pool in own) + sum(
        not limiter.is_idle() for limiter in registry._limiters.values()
    )
    for pool in own:
        await pool.aclose()
    if model.http_async_client is not None:
        await model.http_async_client.aclose()
    await asyncio.sleep(0.1)
    report = {"failed": failed, "places": places, "sockets": open_sockets() - before}
    print(json.dumps({**report, "tasks": len(asyncio.all_tasks()) - 1}))


if __name__ == "__main__":
    url, engine, streamed, threshold, streams, calls = sys.argv[1:]
    gc.set_threshold(int(threshold))
    asyncio.run(main(model_over(url, engine), streamed, int(streams), int(calls)))
