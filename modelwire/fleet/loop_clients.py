"""The clients of event loops: each loop has its own, which is closed with the loop.

`asyncio.run` and the like close every asynchronous generator that is still open (`loop.shutdown_asyncgens`). A
generator that only waits for this closes the client of its loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from modelwire.aliases import Kwargs

# A loop opens at most this many connections. More commands at the same time wait for one of them.
_MOST_CONNECTIONS = 20
# A command waits at most this long for a connection.
_WAIT_S = 1.0


class LoopClients:
    """One client of redis-py for each event loop that uses the connection."""

    def __init__(self, url: str, options: Kwargs) -> None:
        self._url = url
        self._options = options
        self._held: WeakKeyDictionary[asyncio.AbstractEventLoop, _LoopClient] = WeakKeyDictionary()

    async def of_running_loop(self) -> Any:
        """Return the client of the running loop, which is made if the loop has none."""
        loop = asyncio.get_running_loop()
        held = self._held.get(loop)
        if held is None or held.keeper is None:
            pool = redis.asyncio.BlockingConnectionPool.from_url(
                self._url,
                retry=Retry(NoBackoff(), 0),
                max_connections=_MOST_CONNECTIONS,
                timeout=_WAIT_S,
                **self._options,
            )
            held = self._held[loop] = _LoopClient(redis.asyncio.Redis.from_pool(pool))
            held.keeper = _close_with_the_loop(held)
            await anext(held.keeper)
        return held.client


class _LoopClient:
    """A client, and the generator that closes it with its loop; None if the client is closed."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.keeper: AsyncGenerator[None] | None = None


async def _close_with_the_loop(held: _LoopClient) -> AsyncGenerator[None]:
    try:
        yield
    finally:
        held.keeper = None
        with suppress(redis.RedisError, OSError):
            await held.client.aclose()
