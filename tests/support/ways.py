"""The ways of making many calls at once: each returns, in order, the answers, or what was raised in their place."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from support.raw_provider import RawProvider

from modelwire.adapters import ChatOpenAI
from modelwire.errors import ChatError

Ask = Callable[[ChatOpenAI, Sequence[str]], list[Any]]


def by_gather(model: ChatOpenAI, rows: Sequence[str]) -> list[Any]:
    async def run() -> list[Any]:
        return await asyncio.gather(*map(model.ainvoke, rows), return_exceptions=True)

    return asyncio.run(run())


def by_abatch(model: ChatOpenAI, rows: Sequence[str]) -> list[Any]:
    return asyncio.run(
        model.abatch(list(rows), {"max_concurrency": len(rows)}, return_exceptions=True)
    )


def by_batch(model: ChatOpenAI, rows: Sequence[str]) -> list[Any]:
    return model.batch(list(rows), {"max_concurrency": len(rows)}, return_exceptions=True)


def by_threads(model: ChatOpenAI, rows: Sequence[str]) -> list[Any]:
    def one(row: str) -> Any:
        try:
            return model.invoke(row)
        except ChatError as error:
            return error

    with ThreadPoolExecutor(len(rows)) as pool:
        return list(pool.map(one, rows))


def by_astream(model: ChatOpenAI, rows: Sequence[str]) -> list[Any]:
    """The server answers whole: one chunk each."""

    async def one(row: str) -> Any:
        (chunk,) = [chunk async for chunk in model.astream(row)]
        return chunk

    async def run() -> list[Any]:
        return await asyncio.gather(*map(one, rows), return_exceptions=True)

    return asyncio.run(run())


def model_of(server: RawProvider, **settings: Any) -> ChatOpenAI:
    return ChatOpenAI(**{"model": "m", "api_key": "k", "base_url": server.base_url} | settings)
