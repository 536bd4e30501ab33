"""The shared connections: one pool a process for sync calls, one an event loop for async ones.

A call waits for its place before it reaches a client, so httpcore2, on which httpx2 is built, never queues. Its own
pools scan every connection on every request, which costs a quarter of a call with one connection and more with each
further one. Therefore a client here is a single connection or, where it must be httpx2's, one of many small pools
(shards).

    lease = pool.lease(origin)    # waits for a place, never raises PoolTimeout
    lease.client.handle_request(...)
    lease.release()
"""

from __future__ import annotations

import atexit
import errno
import os
import threading
from collections import deque
from contextlib import suppress
from functools import cache, lru_cache
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar, cast
from weakref import WeakKeyDictionary

from modelwire import forks
from modelwire.errors import InvalidArgument, InvalidConfig, MissingDependency
from modelwire.records import NamedTuple
from modelwire.transport.connections.client_guards import refusing_jar
from modelwire.transport.connections.httpcore_internals import bytes_left_over, set_socket_options
from modelwire.transport.connections.keepalive import USUAL, Keepalive, socket_options

if TYPE_CHECKING:
    import asyncio
    import ssl
    from collections.abc import AsyncGenerator


__all__ = [
    "AsyncPool",
    "ClientSettings",
    "Lease",
    "SyncPool",
    "affordable_in_flight",
    "async_pool",
    "sync_pool",
    "trust_names",
    "trust_nobody",
    "trust_store",
]

# The maximum number of concurrent calls of one client, by engine. A call pays for every connection of an httpx2 client,
# busy or idle: 32 of them cost two thirds of a call, 8 cannot be measured (benchmarks/concurrency.py, the column
# `then 10`). aiohttp finds a connection by its key, so one session may have any size.
SHARD_CONNECTIONS = {"core": 1, "client": 8, "aiohttp": 1_000_000_000}
# A pool admits at most this many concurrent calls, as the SDKs do, and fewer if the process may open fewer files.
MAX_IN_FLIGHT = 1000
# From this many pools of a process, or of an event loop, pools that no call uses are closed before another is opened.
# Otherwise a program that passes many proxies would open more and more connections.
MAX_POOLS = 64
# An idle connection is closed after this time. Common load balancers drop it after 60 s.
KEEPALIVE_EXPIRY_S = 55.0


class ClientSettings(NamedTuple):
    """The settings of a client. Two calls can share a client only if all of them are equal."""

    secure: bool  # True for https, which needs the TLS trust store.
    proxy: str | None = None  # None for direct connections.
    engine: str = "core"  # Or "client" (an httpx2 client), or "aiohttp" for async calls.
    trust: tuple[str, str] | None = None  # The trust store in the environment; None for http.
    keepalive: Keepalive | None = USUAL


class Lease:
    """A call's place in a pool, on a client. `release` may be called twice; the second call does nothing."""

    __slots__ = ("_pool", "shard")

    def __init__(self, pool: _Pool) -> None:
        self._pool = pool
        self.shard: _Shard | None = None

    @property
    def client(self) -> Any:
        return cast("_Shard", self.shard).client

    def release(self) -> None:
        if self.shard is not None:
            self._pool._release(self)


class SyncLease(Lease):
    """A lease that returns its place to the pool even if a Ctrl-C interrupts `release`."""

    __slots__ = ()

    def __del__(self) -> None:
        if getattr(self, "shard", None) is not None:  # Ctrl-C may have interrupted `__init__`.
            self.release()


class _Shard:
    __slots__ = ("client", "in_flight", "origin")

    def __init__(self, client: Any, origin: str) -> None:
        self.client = client
        self.origin = origin
        self.in_flight = 0


class _Pool:
    """Tracks the connections (shards) of a sync or async pool, by origin. Callers must not use it concurrently."""

    def __init__(self, settings: ClientSettings, limit: int | None = None) -> None:
        self.settings = settings
        self.limit = limit or affordable_in_flight()
        self.in_flight = 0
        # A transport of httpx2 that uses this pool; the first call creates it.
        self.transport: Any = None
        self.shards: list[_Shard] = []
        if settings.engine not in SHARD_CONNECTIONS:
            raise InvalidArgument(
                f"The engine `{settings.engine}` has no row in `SHARD_CONNECTIONS` (pools.py)."
            )
        self.shard_connections = SHARD_CONNECTIONS[settings.engine]
        # By origin, the shards with a free place. The one used last is at the end, and is used next.
        self._roomy: dict[str, list[_Shard]] = {}
        self._sweep_at = monotonic() + KEEPALIVE_EXPIRY_S

    def _make_client(self, origin: str) -> Any:
        raise NotImplementedError

    def _close_client(self, client: Any) -> None:
        raise NotImplementedError

    def _take(self, origin: str) -> _Shard | None:
        """Reserve a connection to `origin`. Return the shard, a client with a few connections, that has it.

        Return None if the pool is full.
        """
        if self.in_flight >= self.limit:
            return None
        roomy = self._roomy.setdefault(origin, [])
        if self.shard_connections == 1:
            if monotonic() >= self._sweep_at:
                self._sweep()
            shard = self._warm(roomy)
        else:
            shard = roomy.pop() if roomy else None
        if shard is None:
            shard = _Shard(self._make_client(origin), origin)
            self.shards.append(shard)
        if shard.in_flight + 1 < self.shard_connections:
            roomy.append(shard)
        # From here until the lease holds the shard, no function is called: Ctrl-C there would lose the place.
        shard.in_flight += 1
        self.in_flight += 1
        return shard

    def _warm(self, roomy: list[_Shard]) -> _Shard | None:
        """Return an idle connection; if there is none, make room for a new one and return None."""
        while roomy:
            if not self._is_spent(roomy[-1].client):
                return roomy.pop()
            self._drop(roomy.pop())
        self._sweep()
        if len(self.shards) >= self.limit:
            for idle in filter(None, self._roomy.values()):
                self._drop(idle.pop(0))
                break
        return None

    def _give_back(self, lease: Lease) -> None:
        shard = lease.shard
        if shard is None:
            return
        lease.shard = None
        shard.in_flight -= 1
        self.in_flight -= 1
        if shard.in_flight + 1 == self.shard_connections:
            self._roomy.setdefault(shard.origin, []).append(shard)

    def _sweep(self) -> None:
        """Close unusable idle connections to all origins. Calls would not find them: they use the latest ones first."""
        self._sweep_at = monotonic() + KEEPALIVE_EXPIRY_S
        for idle in self._roomy.values():
            while idle and self._is_spent(idle[0].client):
                self._drop(idle.pop(0))
        self._roomy = {origin: idle for origin, idle in self._roomy.items() if idle}

    def _is_spent(self, connection: Any) -> bool:
        """Return whether a connection cannot be used again: it is closed, idle for too long, or amid a call."""
        return not connection.is_idle() or connection.has_expired()

    def _take_idle(self) -> list[Any]:
        idle = [shard.client for shard in self.shards if not shard.in_flight]
        self.shards = [shard for shard in self.shards if shard.in_flight]
        self._roomy = {origin: [] for origin in self._roomy}
        return idle

    def _drop(self, shard: _Shard) -> None:
        self.shards.remove(shard)
        self._close_client(shard.client)

    def _release(self, lease: Lease) -> None:
        raise NotImplementedError


class SyncPool(_Pool):
    """The pool of clients for sync calls, shared by all threads."""

    def __init__(self, settings: ClientSettings, limit: int | None = None) -> None:
        super().__init__(settings, limit)
        self.renew_lock()

    def renew_lock(self) -> None:
        """Replace the lock in a forked child, where no thread holds it; a stream of the parent may be closed there."""
        # It is reentrant, because the garbage collector may close a forgotten stream while the lock is held.
        self._lock = threading.RLock()
        self._place_free = threading.Condition(self._lock)

    def lease(self, origin: str = "", timeout_s: float | None = None) -> Lease | None:
        """Wait for a place and return its lease; None if there was none within `timeout_s`."""
        lease = SyncLease(self)
        with self._lock:
            lease.shard = self._take(origin)
            if lease.shard is None:
                # `wait_for` calls `_take` under the lock; a notify wakes one waiter for each place given back.
                lease.shard = self._place_free.wait_for(lambda: self._take(origin), timeout_s)
        return lease if lease.shard is not None else None

    def _release(self, lease: Lease) -> None:
        with self._lock:
            self._give_back(lease)
            lease.__class__ = Lease  # It needs no `__del__` now, in which a Ctrl-C would be lost.
            self._place_free.notify()

    def _make_client(self, origin: str) -> Any:
        if self.settings.engine == "client":
            return _client_of_httpx2("", self.settings)
        import httpcore2

        from modelwire.transport.connections.deadline_backend import DeadlineBackend

        backend: Any = DeadlineBackend()
        return httpcore2.HTTPConnection(
            network_backend=backend, **_connection_arguments(self.settings, origin)
        )

    def _close_client(self, client: Any) -> None:
        with suppress(
            Exception
        ):  # A connection that cannot be closed is lost; others must be closed.
            client.close()

    def close(self) -> None:
        """Close every connection."""
        for shard in self.shards:
            self._close_client(shard.client)

    def close_idle(self) -> None:
        """Close the connections that no call uses. A call that holds this pool already opens a new one."""
        with self._lock:
            idle = self._take_idle()
        for client in idle:
            self._close_client(client)


class AsyncPool(_Pool):
    """The pool of clients for the calls of one event loop."""

    def __init__(self, settings: ClientSettings, limit: int | None = None) -> None:
        super().__init__(settings, limit)
        self._waiting: deque[tuple[asyncio.Future[_Shard], str]] = deque()
        self._spent: list[Any] = []  # Clients that the next async call of this pool closes.

    async def lease(self, origin: str = "") -> Lease:
        """Wait for a place and return its lease. A call that ends passes its place to the first call that waits."""
        lease = Lease(self)
        lease.shard = self._take(origin)  # No place is free while a call waits.
        try:
            if lease.shard is None:
                import asyncio

                waiter: asyncio.Future[_Shard] = asyncio.get_running_loop().create_future()
                self._waiting.append((waiter, origin))
                try:
                    await waiter
                finally:
                    if waiter.done() and not waiter.cancelled():
                        lease.shard = waiter.result()
            if self._spent:
                await self._close_spent()
        except BaseException:  # A cancelled call may already have got a place.
            lease.release()
            raise
        return lease

    def _release(self, lease: Lease) -> None:
        self._give_back(lease)
        while self._waiting:
            waiter, origin = self._waiting.popleft()
            if not waiter.done():
                # `_take` finds a place, because one was just returned.
                waiter.set_result(cast("_Shard", self._take(origin)))
                return

    def _make_client(self, origin: str) -> Any:
        if self.settings.engine == "client":
            return _client_of_httpx2("Async", self.settings)
        import httpcore2

        arguments = _connection_arguments(self.settings, origin)
        if self.settings.secure:
            from modelwire.transport.connections.deadline_backend import HandshakeBackend

            arguments["network_backend"] = HandshakeBackend()
        return httpcore2.AsyncHTTPConnection(**arguments)

    def _is_spent(self, connection: Any) -> bool:
        return not connection.is_idle() or connection.has_expired() or bytes_left_over(connection)

    def _close_client(self, client: Any) -> None:
        self._spent.append(client)

    async def _close_spent(self) -> None:
        while self._spent:
            with suppress(Exception):  # A connection that cannot be closed is lost.
                await self._aclose_client(self._spent.pop())

    async def _aclose_client(self, client: Any) -> None:
        await client.aclose()

    async def aclose(self) -> None:
        """Close every connection."""
        self._spent += [shard.client for shard in self.shards]
        await self._close_spent()

    async def aclose_idle(self) -> None:
        """Close the connections that no call uses. A call that holds this pool already opens a new one."""
        self._spent += self._take_idle()
        await self._close_spent()


P = TypeVar("P", bound=_Pool)


class _LoopPools:
    """The pools of one event loop, closed when the loop shuts down.

    `asyncio.run` and functions like it close every async generator that is still open (`loop.shutdown_asyncgens`). A
    generator here waits for that, so that no connection outlives its loop and the program need not call `close`.
    """

    def __init__(self) -> None:
        self.by_settings: dict[ClientSettings, AsyncPool] = {}
        self._keeper: AsyncGenerator[None] | None = None

    async def open(self, settings: ClientSettings, pool_class: type[AsyncPool]) -> AsyncPool:
        pool = self.by_settings.get(settings)
        if pool is None:
            unused = _unused(self.by_settings)
            pool = self.by_settings[settings] = pool_class(settings)
            if self._keeper is None:
                self._keeper = self._close_with_the_loop()
                await anext(self._keeper)
            for each in unused:
                await each.aclose_idle()
        return pool

    async def _close_with_the_loop(self) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            pools = self.by_settings
            self.by_settings = {}
            self._keeper = None
            for pool in pools.values():
                await pool.aclose()


_lock = threading.Lock()
_sync_pools: dict[ClientSettings, SyncPool] = {}
_loop_pools: WeakKeyDictionary[asyncio.AbstractEventLoop, _LoopPools] = WeakKeyDictionary()
# In a forked child, the parent's pools. They are referenced here so that nothing closes their sockets.
_left_to_the_parent: list[object] = []


def sync_pool(settings: ClientSettings) -> SyncPool:
    """Return the process's pool for `settings`."""
    pool = _sync_pools.get(settings)
    if pool is None:
        with _lock:
            unused = _unused(_sync_pools)
            pool = _sync_pools.setdefault(settings, SyncPool(settings))
        for each in unused:
            each.close_idle()
    return pool


def _unused(pools: dict[ClientSettings, P]) -> list[P]:
    """Remove and return the pools that no call uses, if there are too many pools."""
    if len(pools) < MAX_POOLS:
        return []
    return [pools.pop(settings) for settings, pool in list(pools.items()) if not pool.in_flight]


async def async_pool(
    settings: ClientSettings, pool_class: type[AsyncPool] = AsyncPool
) -> AsyncPool:
    """Return the running loop's pool for `settings`; a new one is of class `pool_class`, the engine's."""
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
    if pool is not None:
        return pool
    return await pools.open(settings, pool_class)


def _connection_arguments(settings: ClientSettings, origin: str) -> dict[str, Any]:
    import httpcore2

    return {
        "origin": httpcore2.URL(f"{'https' if settings.secure else 'http'}://{origin}").origin,
        "ssl_context": trust_store() if settings.secure else None,
        "keepalive_expiry": KEEPALIVE_EXPIRY_S,
        "socket_options": socket_options(settings.keepalive),
    }


def _client_of_httpx2(colour: str, settings: ClientSettings) -> Any:
    import httpx2

    try:
        transport = getattr(httpx2, f"{colour}HTTPTransport")(
            verify=trust_store() if settings.secure else trust_nobody(),
            proxy=settings.proxy,
            limits=httpx2.Limits(
                max_connections=None,
                max_keepalive_connections=SHARD_CONNECTIONS["client"],
                keepalive_expiry=KEEPALIVE_EXPIRY_S,
            ),
        )
    except ImportError as exc:
        raise MissingDependency(
            'A SOCKS proxy needs socksio: `pip install "httpx2[socks]"`.'
        ) from exc
    except (ValueError, httpx2.InvalidURL):
        # The error gets no cause, because that shows the proxy with its password.
        raise InvalidArgument(
            "The proxy is not a URL: write `http://host:port` or `socks5://host:port`, in the environment "
            "(`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`) as in `openai_proxy`."
        ) from None
    set_socket_options(transport, socket_options(settings.keepalive))
    return getattr(httpx2, f"{colour}Client")(
        transport=transport,
        timeout=None,  # Every request has its own timeouts.
        trust_env=False,  # `proxies.py` reads the environment, for each call.
        cookies=refusing_jar(),  # One client serves every model, key and tenant.
        follow_redirects=False,  # A followed redirect would send the key to another origin.
    )


def trust_names() -> tuple[str, str]:
    """Return the file and the folder that the environment names as the trust store; "" for an unset one."""
    return os.environ.get("SSL_CERT_FILE", ""), os.environ.get("SSL_CERT_DIR", "")


def trust_store() -> ssl.SSLContext:
    """Return the TLS context for the trust store that the environment names at present."""
    return _trust_store(*trust_names())


@lru_cache(maxsize=8)
def _trust_store(file: str, folder: str) -> ssl.SSLContext:
    """Return a TLS context, cached: reading the trust store takes longer than a request on a LAN.

    Raises `InvalidConfig` if the environment names a file without certificates, or a folder that does not exist.
    """
    import httpcore2

    if not file and folder and not os.path.isdir(folder):
        raise InvalidConfig(
            f"`SSL_CERT_DIR` names {folder!r}, which is not a folder. Set it to a folder of CA certificates, or unset "
            "it to use those of the system.",
            path=folder,
        )
    try:
        return httpcore2.default_ssl_context()
    except OSError as exc:  # an `ssl.SSLError` is one too
        if not file or exc.errno in _OUT_OF_DESCRIPTORS:
            raise
        raise InvalidConfig(
            f"`SSL_CERT_FILE` names {file!r}, which cannot be read as a file of certificates "
            f"({exc.strerror or exc}). Set it to a PEM file of CA certificates, or unset it to use those of the "
            "system.",
            path=file,
        ) from exc


_OUT_OF_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)


@cache
def trust_nobody() -> ssl.SSLContext:
    """Return a TLS context that refuses every certificate, for clients of plain http, which need no TLS."""
    import ssl

    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def affordable_in_flight() -> int:
    """Return how many concurrent calls a pool admits by default."""
    try:
        import resource
    except ImportError:  # Windows has no such limit.
        return MAX_IN_FLIGHT
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MAX_IN_FLIGHT
    return max(1, min(MAX_IN_FLIGHT, soft * 3 // 4))


def _close_sync_pools() -> None:
    """Close the idle connections. A daemon thread may still read from others, which the end of the process closes."""
    for pool in _sync_pools.values():
        pool.close_idle()


@forks.in_child
def _forget_the_parents() -> None:
    """In a forked child, start with no connections, and leave those of the parent open and unused."""
    global _lock, _loop_pools, _sync_pools
    _left_to_the_parent.extend((_sync_pools, _loop_pools))
    for pool in _sync_pools.values():
        pool.renew_lock()
    _lock = threading.Lock()
    _sync_pools = {}
    _loop_pools = WeakKeyDictionary()


atexit.register(_close_sync_pools)
