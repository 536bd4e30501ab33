"""The shared connections: one pool a process for sync calls, one an event loop for async ones.

A call is let in before it reaches a client, and httpcore2, which httpx2 stands on, never queues. Its own pools scan
every connection on every request, a quarter of a call for one connection and more with each: so a client here is one
connection, or where it has to be httpx2's, one of many small pools (shards).

    lease = pool.lease(origin)    # waits for a place, never raises PoolTimeout
    lease.client.handle_request(...)
    lease.release()
"""

from __future__ import annotations

import atexit
import os
import threading
from collections import deque
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar, cast
from weakref import WeakKeyDictionary

from modelwire._lazy import importing
from modelwire.errors import InvalidArgument, MissingDependency

if TYPE_CHECKING:
    import asyncio
    import ssl
    from collections.abc import AsyncGenerator


__all__ = ["AsyncPool", "ClientSettings", "Lease", "SyncPool", "affordable_in_flight", "async_pool", "sync_pool"]

# How many calls a client has at a time. A call pays for every connection of an httpx2 client, busy or idle: 32 of them
# cost two thirds of a call, 8 are lost in the noise (benchmarks/concurrency.py, the column `then 10`). aiohttp finds a
# connection by its key, so one session of any size will do.
SHARD_CONNECTIONS = {"core": 1, "client": 8, "aiohttp": 1_000_000_000}
# Calls let in at a time, for each pool; the SDKs' own limit. Never more than the process may open files for.
MAX_IN_FLIGHT = 1000
# Below the 60 s after which common load balancers drop an idle connection.
KEEPALIVE_EXPIRY_S = 55.0

Client = TypeVar("Client")


class ClientSettings(NamedTuple):
    """What makes two calls unable to share a client."""

    secure: bool  # https: needs the TLS trust store
    proxy: str | None = None  # None: as the environment says
    direct: bool = False  # no proxy, whatever the environment says
    engine: str = "core"  # or "client" (an httpx2 client), or "aiohttp" for async calls


class Lease(Generic[Client]):
    """A place on a client, for one call. `release` may be called twice; the second time does nothing."""

    __slots__ = ("_pool", "_shard", "client")

    def __init__(self, pool: _Pool[Client], shard: _Shard[Client]) -> None:
        self._pool = pool
        self._shard: _Shard[Client] | None = shard
        self.client = shard.client

    def release(self) -> None:
        shard, self._shard = self._shard, None
        if shard is not None:
            self._pool._release(shard)


class _Shard(Generic[Client]):
    __slots__ = ("client", "in_flight", "origin")

    def __init__(self, client: Client, origin: str) -> None:
        self.client = client
        self.origin = origin
        self.in_flight = 0


class _Pool(Generic[Client]):
    """The bookkeeping of shards, the same in both colours; callers see to it that it is not entered twice at once."""

    def __init__(self, settings: ClientSettings, limit: int | None = None) -> None:
        self.settings = settings
        self.limit = limit or affordable_in_flight()
        self.in_flight = 0
        self.shards: list[_Shard[Client]] = []
        self.shard_connections = SHARD_CONNECTIONS[settings.engine]
        # By origin: shards with a free place, the one used last on top: it is warm.
        self._roomy: dict[str, list[_Shard[Client]]] = {}

    def _make_client(self, origin: str) -> Client:
        raise NotImplementedError

    def _close_client(self, client: Client) -> None:
        raise NotImplementedError

    def _take(self, origin: str) -> _Shard[Client] | None:
        """Take a place, or return None where the pool is full."""
        if self.in_flight >= self.limit:
            return None
        roomy = self._roomy.setdefault(origin, [])
        if self.shard_connections == 1:
            while roomy and _is_spent(roomy[-1].client):
                self._drop(roomy.pop())
            if not roomy:
                self._make_room()
        if not roomy:
            shard = _Shard(self._make_client(origin), origin)
            self.shards.append(shard)
            roomy.append(shard)
        shard = roomy[-1]
        shard.in_flight += 1
        self.in_flight += 1
        if shard.in_flight == self.shard_connections:
            roomy.pop()
        return shard

    def _give_back(self, shard: _Shard[Client]) -> None:
        if shard.in_flight == self.shard_connections:
            self._roomy[shard.origin].append(shard)
        shard.in_flight -= 1
        self.in_flight -= 1

    def _make_room(self) -> None:
        """Close idle connections, to all origins: those that are spent, and where there are too many, one more."""
        for idle in self._roomy.values():
            while idle and _is_spent(idle[0].client):
                self._drop(idle.pop(0))
        if len(self.shards) >= self.limit:
            self._drop(next(idle for idle in self._roomy.values() if idle).pop(0))

    def _drop(self, shard: _Shard[Client]) -> None:
        self.shards.remove(shard)
        self._close_client(shard.client)

    def _release(self, shard: _Shard[Client]) -> None:
        raise NotImplementedError


class SyncPool(_Pool[Any]):
    """Clients for sync calls, shared by all threads."""

    def __init__(self, settings: ClientSettings, limit: int | None = None) -> None:
        super().__init__(settings, limit)
        self._lock = threading.RLock()  # entered twice where the garbage collector closes a forgotten stream in it
        self._place_free = threading.Condition(self._lock)

    def lease(self, origin: str = "", timeout_s: float | None = None) -> Lease[Any] | None:
        """Wait for a place; None when there was none within `timeout_s`."""
        with self._lock:
            shard = self._take(origin)
            if shard is None:
                # `wait_for` calls `_take` under the lock; a notify wakes one waiter for each place given back.
                shard = self._place_free.wait_for(lambda: self._take(origin), timeout_s)
        return Lease(self, shard) if shard is not None else None

    def _release(self, shard: _Shard[Any]) -> None:
        with self._lock:
            self._give_back(shard)
            self._place_free.notify()

    def _make_client(self, origin: str) -> Any:
        with importing("httpcore2"):
            if self.settings.engine == "client":
                import httpx2

                return httpx2.Client(**_client_arguments(self.settings))
            import httpcore2

            from modelwire.transport.deadline_streams import DeadlineBackend

            backend: Any = DeadlineBackend()
            return httpcore2.HTTPConnection(network_backend=backend, **_connection_arguments(self.settings, origin))

    def _close_client(self, client: Any) -> None:
        with suppress(Exception):  # one that cannot be closed is gone; the others still have to be
            client.close()

    def close(self) -> None:
        """Close every connection."""
        for shard in self.shards:
            self._close_client(shard.client)


class AsyncPool(_Pool[Any]):
    """Clients for the calls of one event loop."""

    def __init__(self, settings: ClientSettings, limit: int | None = None) -> None:
        super().__init__(settings, limit)
        self._waiting: deque[tuple[asyncio.Future[_Shard[Any]], str]] = deque()
        self._spent: list[Any] = []  # clients to be closed by whoever may wait for it

    async def lease(self, origin: str = "") -> Lease[Any]:
        """Wait for a place, first come first served: whoever leaves hands the place to the one in front."""
        if self._spent:
            await self._close_spent()
        shard = self._take(origin)  # there is none while anybody waits
        if shard is None:
            import asyncio

            waiter: asyncio.Future[_Shard[Any]] = asyncio.get_running_loop().create_future()
            self._waiting.append((waiter, origin))
            try:
                shard = await waiter
            except asyncio.CancelledError:
                if not waiter.cancelled():
                    self._release(waiter.result())  # we were given a place and do not take it
                raise
        return Lease(self, shard)

    def _release(self, shard: _Shard[Any]) -> None:
        self._give_back(shard)
        while self._waiting:
            waiter, origin = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(cast("_Shard[Any]", self._take(origin)))  # there is a place: one was just given back
                return

    def _make_client(self, origin: str) -> Any:
        with importing("httpcore2"):
            if self.settings.engine == "client":
                import httpx2

                return httpx2.AsyncClient(**_client_arguments(self.settings))
            import httpcore2

            return httpcore2.AsyncHTTPConnection(**_connection_arguments(self.settings, origin))

    def _close_client(self, client: Any) -> None:
        self._spent.append(client)

    async def _close_spent(self) -> None:
        while self._spent:
            with suppress(Exception):  # one that cannot be closed is gone; the others still have to be
                await self._spent.pop().aclose()

    async def aclose(self) -> None:
        """Close every connection."""
        self._spent += [shard.client for shard in self.shards]
        await self._close_spent()


class AiohttpPool(AsyncPool):
    """One aiohttp session."""

    def _make_client(self, origin: str) -> Any:
        try:
            import aiohttp
        except ImportError as exc:
            raise MissingDependency('`engine="aiohttp"` needs aiohttp: `pip install "modelwire[aiohttp]"`.') from exc
        context = _trust_store() if self.settings.secure else _trust_nobody()
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=context, keepalive_timeout=KEEPALIVE_EXPIRY_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,  # `transport.body` does, with its limits
        )

    async def aclose(self) -> None:
        """Close every connection."""
        for shard in self.shards:
            await shard.client.close()


# ---------------------------------------------------------------- who shares what


class _LoopPools:
    """The pools of one event loop, closed when the loop winds up.

    `asyncio.run` and friends close every async generator that is still open (`loop.shutdown_asyncgens`); ours waits
    for that moment, so that no connection outlives its loop and nobody has to call a `close`.
    """

    def __init__(self) -> None:
        self.by_settings: dict[ClientSettings, AsyncPool] = {}
        self._keeper: AsyncGenerator[None] | None = None

    async def open(self, settings: ClientSettings) -> AsyncPool:
        pool = self.by_settings.get(settings)
        if pool is None:
            pool = self.by_settings[settings] = _ENGINES[settings.engine](settings)
            if self._keeper is None:
                self._keeper = self._close_with_the_loop()
                await anext(self._keeper)
        return pool

    async def _close_with_the_loop(self) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            pools, self.by_settings = self.by_settings, {}
            self._keeper = None
            for pool in pools.values():
                await pool.aclose()


_ENGINES: dict[str, type[AsyncPool]] = {"core": AsyncPool, "client": AsyncPool, "aiohttp": AiohttpPool}
_lock = threading.Lock()
_sync_pools: dict[ClientSettings, SyncPool] = {}
_loop_pools: WeakKeyDictionary[asyncio.AbstractEventLoop, _LoopPools] = WeakKeyDictionary()
_left_to_the_parent: list[object] = []  # after a fork: the parent's sockets, kept so that nothing here closes them


def sync_pool(settings: ClientSettings) -> SyncPool:
    """Return the process's pool for `settings`."""
    pool = _sync_pools.get(settings)
    if pool is None:
        with _lock:
            pool = _sync_pools.setdefault(settings, SyncPool(settings))
    return pool


async def async_pool(settings: ClientSettings) -> AsyncPool:
    """Return the running loop's pool for `settings`."""
    import asyncio

    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        raise InvalidArgument(
            "Async calls need a running event loop of asyncio. Under trio or another one, call the sync methods in a "
            "thread, as with `await trio.to_thread.run_sync(model.invoke, messages)`."
        ) from None
    pools = _loop_pools.get(loop)
    if pools is None:
        with _lock:
            for closed in [other for other in _loop_pools if other.is_closed()]:
                del _loop_pools[closed]
            pools = _loop_pools.setdefault(loop, _LoopPools())
    pool = pools.by_settings.get(settings)
    return pool if pool is not None else await pools.open(settings)


def _is_spent(connection: Any) -> bool:
    """Whether no other call can go over it: closed by either side, idle for too long, left in the middle of a call."""
    return not connection.is_idle() or connection.has_expired()


def _connection_arguments(settings: ClientSettings, origin: str) -> dict[str, Any]:
    import httpcore2

    return {
        "origin": httpcore2.URL(f"{'https' if settings.secure else 'http'}://{origin}").origin,
        "ssl_context": _trust_store() if settings.secure else None,
        "keepalive_expiry": KEEPALIVE_EXPIRY_S,
    }


def _client_arguments(settings: ClientSettings) -> dict[str, Any]:
    import httpx2

    return {
        "verify": _trust_store() if settings.secure else _trust_nobody(),
        "timeout": None,  # every request brings its own
        "trust_env": not settings.direct,
        "follow_redirects": False,  # a followed redirect would carry the key to another origin
        "limits": httpx2.Limits(
            max_connections=None,
            max_keepalive_connections=SHARD_CONNECTIONS["client"],
            keepalive_expiry=KEEPALIVE_EXPIRY_S,
        ),
        **({"proxy": settings.proxy} if settings.proxy else {}),
    }


@cache
def _trust_store() -> ssl.SSLContext:
    """Build the TLS context once a process: reading the trust store takes longer than a request on a LAN."""
    import httpcore2

    return httpcore2.default_ssl_context()


@cache
def _trust_nobody() -> ssl.SSLContext:
    """A context for plain http, where none is used: should one be, every certificate is refused."""
    import ssl

    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def affordable_in_flight() -> int:
    """Return how many calls a pool lets in at a time, where nobody says."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return MAX_IN_FLIGHT
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_IN_FLIGHT if soft == resource.RLIM_INFINITY else max(1, min(MAX_IN_FLIGHT, soft * 3 // 4))


def _close_sync_pools() -> None:
    for pool in _sync_pools.values():
        pool.close()


def _forget_the_parents() -> None:
    """In a forked child: leave the parent's connections alone and start with none."""
    global _lock, _loop_pools, _sync_pools
    _left_to_the_parent.extend((_sync_pools, _loop_pools))
    _lock, _sync_pools, _loop_pools = threading.Lock(), {}, WeakKeyDictionary()


atexit.register(_close_sync_pools)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_the_parents)
