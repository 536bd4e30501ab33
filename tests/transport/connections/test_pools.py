"""The shared pools: shards, admission, and who shares what."""

import asyncio
import os
import signal
import sys
import threading
from itertools import count
from typing import Any

import pytest

from modelwire.errors import InvalidArgument, MissingDependency
from modelwire.transport.connections import pools
from modelwire.transport.connections.pools import (
    SHARD_CONNECTIONS,
    AsyncPool,
    ClientSettings,
    SyncPool,
    async_pool,
    sync_pool,
)

PLAIN = ClientSettings(secure=False)
SHARDED = ClientSettings(secure=False, engine="client")
A_SHARD = SHARD_CONNECTIONS["client"]
HOST = "127.0.0.1:9"


def test_a_pool_grows_by_shards_and_fills_the_warm_one_first() -> None:
    pool = SyncPool(SHARDED, limit=1000)
    leases = [pool.lease(HOST) for _ in range(A_SHARD + 1)]
    assert len(pool.shards) == 2
    leases[0].release()
    assert pool.lease(HOST).client is pool.shards[0].client
    pool.close()


def test_an_engine_without_a_row_says_where_its_row_goes() -> None:
    with pytest.raises(InvalidArgument, match=r"`rocket`.*SHARD_CONNECTIONS"):
        SyncPool(ClientSettings(secure=False, engine="rocket"))


def test_many_in_flight_never_put_more_than_a_shards_worth_on_one_client() -> None:
    pool = SyncPool(SHARDED, limit=1000)
    leases = [pool.lease(HOST) for _ in range(500)]
    assert max(shard.in_flight for shard in pool.shards) == A_SHARD
    for lease in leases:
        lease.release()
        lease.release()  # the second time does nothing
    assert pool.in_flight == 0
    assert all(shard.in_flight == 0 for shard in pool.shards)
    pool.close()


def idle(pool: Any, *origins: str) -> list[Any]:
    """Open a connection to each of `origins`, all at once, and leave it idle."""
    leases = [pool.lease(origin) for origin in origins]
    clients = [lease.client for lease in leases]
    for client, lease in zip(clients, leases, strict=True):
        client.is_idle, client.has_expired = lambda: True, lambda: False
        lease.release()
    return clients


def test_an_idle_connection_is_taken_by_the_next_call_to_its_origin_and_no_other() -> None:
    pool = SyncPool(PLAIN, limit=10)
    one, other = idle(pool, "a:1", "b:1")
    leases = [pool.lease(origin) for origin in ("b:1", "a:1", "a:1")]
    assert [lease.client for lease in leases[:2]] == [other, one]
    assert leases[2].client is not one
    assert len(pool.shards) == 3


@pytest.mark.parametrize("sign", ["is_idle", "has_expired"])
def test_a_spent_connection_is_closed_and_never_given_to_a_call(sign: str) -> None:
    pool, closed = SyncPool(PLAIN, limit=10), []
    one, other = idle(pool, "a:1", "b:1")
    for client in (one, other):
        setattr(client, sign, lambda: sign == "has_expired")
        client.close = lambda client=client: closed.append(client)
    lease = pool.lease("a:1")
    assert lease.client not in (one, other)
    assert closed == [
        one,
        other,
    ]  # a new connection is the moment to look at those to other origins
    assert len(pool.shards) == 1


def test_idle_connections_to_many_origins_are_never_more_than_the_pool_may_have() -> None:
    pool = SyncPool(PLAIN, limit=3)
    for number in range(10):
        idle(pool, f"host{number}:1")
    assert [shard.origin for shard in pool.shards] == ["host7:1", "host8:1", "host9:1"]


def test_idle_connections_that_no_call_needs_are_closed_while_calls_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = pools.monotonic()
    monkeypatch.setattr(pools, "monotonic", lambda: now)
    pool, closed = SyncPool(PLAIN, limit=10), []
    *old, warm, other = idle(pool, "a:1", "a:1", "a:1", "b:1")
    for client in (*old, other):
        client.has_expired, client.close = lambda: True, lambda client=client: closed.append(client)
    pool.lease("a:1").release()
    assert closed == []
    now += pools.KEEPALIVE_EXPIRY_S + 1
    lease = pool.lease("a:1")
    assert lease.client is warm
    assert closed == [*old, other]


def test_a_call_that_waited_closes_what_it_replaces_and_leaves_its_place_where_it_is_cancelled() -> (
    None
):
    async def go() -> None:
        pool, closed, forever = AsyncPool(PLAIN, limit=1), [], asyncio.Event()
        first = await pool.lease("a:1")
        spent, spent.aclose = first.client, lambda: closed.append("a") or asyncio.sleep(0)
        one, two = asyncio.create_task(pool.lease("b:1")), asyncio.create_task(pool.lease("c:1"))
        await asyncio.sleep(0)
        spent.is_idle, spent.has_expired = lambda: True, lambda: False
        first.release()
        second = await one
        assert closed == ["a"]
        second.client.is_idle, second.client.aclose = lambda: True, forever.wait
        second.release()
        await asyncio.sleep(0)
        two.cancel()  # it is closing b
        with pytest.raises(asyncio.CancelledError):
            await two
        assert pool.in_flight == 0

    asyncio.run(go())


@pytest.mark.parametrize("settings", [PLAIN, SHARDED], ids=["core", "client"])
def test_wherever_ctrl_c_comes_no_place_is_lost(settings: ClientSettings) -> None:
    """An interrupt can come where a function begins and where one written in C has ended."""
    for stop in count(1):
        pool, left = SyncPool(settings, limit=1), stop

        def interrupt(frame: Any, event: str, _: object) -> None:
            nonlocal left
            if event in ("call", "c_return") and frame.f_code.co_filename == pools.__file__:
                left -= 1
                if left == 0:
                    raise KeyboardInterrupt

        sys.setprofile(interrupt)
        try:
            pool.lease(HOST).release()
        except KeyboardInterrupt:
            pass
        finally:
            sys.setprofile(None)
        assert pool.in_flight == 0
        assert pool.lease(HOST, timeout_s=0.0) is not None
        pool.close()
        if left > 0:
            break
    assert stop > 10


def test_a_full_pool_makes_the_next_call_wait_and_wakes_it(colour: Any) -> None:
    def sync() -> bool:
        pool = SyncPool(PLAIN, limit=1)
        first, got = pool.lease(HOST), []
        thread = threading.Thread(target=lambda: got.append(pool.lease(HOST)))
        thread.start()
        assert pool.lease(HOST, timeout_s=0.01) is None
        first.release()
        thread.join(5)
        pool.close()
        return len(got) == 1

    async def coloured() -> bool:
        pool = AsyncPool(PLAIN, limit=1)
        first = await pool.lease(HOST)
        waiting = [asyncio.create_task(pool.lease(HOST)) for _ in range(3)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
        waiting[0].cancel()
        first.release()
        second = await waiting[1]
        assert not waiting[2].done()
        second.release()
        (await waiting[2]).release()
        assert pool.in_flight == 0
        await pool.aclose()
        return True

    assert colour.run(sync, coloured)


def test_a_waiter_cancelled_as_its_place_comes_free_passes_the_place_on() -> None:
    async def go() -> None:
        pool = AsyncPool(PLAIN, limit=1)
        first = await pool.lease(HOST)
        one, two = asyncio.create_task(pool.lease(HOST)), asyncio.create_task(pool.lease(HOST))
        await asyncio.sleep(0)
        first.release()
        one.cancel()  # it has been given the place and has not run yet
        lease = await asyncio.wait_for(two, 5)
        lease.release()
        with pytest.raises(asyncio.CancelledError):
            await one
        assert pool.in_flight == 0
        await pool.aclose()

    asyncio.run(go())


def test_one_sync_pool_a_process_and_one_async_pool_a_loop() -> None:
    assert sync_pool(PLAIN) is sync_pool(PLAIN)
    assert sync_pool(PLAIN) is not sync_pool(
        ClientSettings(secure=False, proxy="http://127.0.0.1:9")
    )

    async def twice() -> AsyncPool:
        assert await async_pool(PLAIN) is await async_pool(PLAIN)
        return await async_pool(PLAIN)

    assert asyncio.run(twice()) is not asyncio.run(twice())


def test_the_pools_of_a_loop_are_forgotten_with_it() -> None:
    async def use() -> None:
        await async_pool(PLAIN)

    for _ in range(10):
        asyncio.run(use())
    asyncio.run(use())
    assert not [
        held
        for loop, held in pools._loop_pools.items()
        if held.by_settings and not loop.is_running()
    ]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_starts_with_pools_of_its_own() -> None:
    parents = sync_pool(PLAIN)
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(write_end, b"own" if sync_pool(PLAIN) is not parents else b"shared")
        os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(read_end, 10) == b"own"
    os.close(read_end)
    os.close(write_end)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_call_begun_before_a_fork_can_be_closed_in_the_child_though_a_thread_had_the_lock() -> (
    None
):
    pool, held, done = sync_pool(PLAIN), threading.Event(), threading.Event()
    lease = pool.lease(HOST)

    def hold() -> None:
        with pool._lock:
            held.set()
            done.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(5)
    pid = os.fork()
    if pid == 0:
        signal.alarm(5)
        lease.release()
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    done.set()
    thread.join(5)
    lease.release()
    assert status == 0


@pytest.mark.parametrize(
    ("proxy", "error"),
    [("socks5://127.0.0.1:9", MissingDependency), ("ftp://user:canary@host", InvalidArgument)],
)
def test_a_proxy_that_cannot_be_used_says_so_in_our_words(
    colour: Any, proxy: str, error: type[Exception]
) -> None:
    settings = ClientSettings(secure=False, engine="client", proxy=proxy)
    with pytest.raises(error) as caught:
        colour.run(lambda: SyncPool(settings).lease(HOST), lambda: AsyncPool(settings).lease(HOST))
    assert "canary" not in str(caught.value)
    assert proxy.startswith("socks") or caught.value.__cause__ is None


@pytest.mark.parametrize("engine", ["core", "client"])
def test_pools_that_no_call_uses_are_closed_where_there_are_too_many(
    colour: Any, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "MAX_POOLS", 3)
    monkeypatch.setattr(pools, "_sync_pools", {})
    settings = [ClientSettings(secure=False, proxy=f"http://127.0.0.1:{n}") for n in range(1, 9)]
    settings = [each._replace(engine=engine) for each in settings]

    def sync() -> None:
        busy = sync_pool(settings[0]).lease(HOST)
        idle = sync_pool(settings[1])
        idle.lease(HOST).release()
        client = idle.shards[0].client
        for each in settings[2:]:
            sync_pool(each)
        assert len(pools._sync_pools) <= 4
        assert sync_pool(settings[0]).in_flight == 1
        assert sync_pool(settings[1]) is not idle
        again = idle.lease(HOST)  # a call may have had it
        assert again.client is not client
        again.release()
        busy.release()
        for pool in pools._sync_pools.values():
            pool.close()

    async def coroutine() -> None:
        busy = await (await async_pool(settings[0])).lease(HOST)
        idle = await async_pool(settings[1])
        (await idle.lease(HOST)).release()
        client = idle.shards[0].client
        for each in settings[2:]:
            await async_pool(each)
        assert (await async_pool(settings[0])).in_flight == 1
        assert (await async_pool(settings[1])) is not idle
        again = await idle.lease(HOST)
        assert again.client is not client
        again.release()
        busy.release()
        await idle.aclose()

    colour.run(sync, coroutine)


def test_a_waiter_cancelled_before_it_runs_stays_cancelled_and_nobody_overtakes() -> None:
    async def go() -> None:
        pool = AsyncPool(PLAIN, limit=1)
        first = await pool.lease(HOST)
        one, two = asyncio.create_task(pool.lease(HOST)), asyncio.create_task(pool.lease(HOST))
        await asyncio.sleep(0)
        one.cancel()
        first.release()  # `one` is cancelled and has not run yet
        overtaker = asyncio.create_task(pool.lease(HOST))
        await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await one
        lease = await asyncio.wait_for(two, 5)
        assert not overtaker.done()
        lease.release()
        (await overtaker).release()
        assert pool.in_flight == 0
        await pool.aclose()

    asyncio.run(go())
