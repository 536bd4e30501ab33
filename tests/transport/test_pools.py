"""The shared pools: shards, admission, and who shares what."""

import asyncio
import os
import threading
from typing import Any

import pytest

from modelwire.transport import pools
from modelwire.transport.pools import SHARD_CONNECTIONS, AsyncPool, ClientSettings, SyncPool, async_pool, sync_pool

PLAIN = ClientSettings(secure=False)


def test_a_pool_grows_by_shards_and_fills_the_warm_one_first() -> None:
    pool = SyncPool(PLAIN, limit=1000)
    leases = [pool.lease() for _ in range(SHARD_CONNECTIONS + 1)]
    assert len(pool.shards) == 2
    leases[0].release()
    assert pool.lease().client is pool.shards[0].client
    pool.close()


def test_many_in_flight_never_put_more_than_a_shards_worth_on_one_client() -> None:
    pool = SyncPool(PLAIN, limit=1000)
    leases = [pool.lease() for _ in range(500)]
    assert max(shard.in_flight for shard in pool.shards) == SHARD_CONNECTIONS
    for lease in leases:
        lease.release()
        lease.release()  # the second time does nothing
    assert pool.in_flight == 0
    assert all(shard.in_flight == 0 for shard in pool.shards)
    pool.close()


def test_a_full_pool_makes_the_next_call_wait_and_wakes_it(colour: Any) -> None:
    def sync() -> bool:
        pool = SyncPool(PLAIN, limit=1)
        first, got = pool.lease(), []
        thread = threading.Thread(target=lambda: got.append(pool.lease()))
        thread.start()
        assert pool.lease(timeout_s=0.01) is None
        first.release()
        thread.join(5)
        pool.close()
        return len(got) == 1

    async def coloured() -> bool:
        pool = AsyncPool(PLAIN, limit=1)
        first = await pool.lease()
        waiting = [asyncio.create_task(pool.lease()) for _ in range(3)]
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
        first = await pool.lease()
        one, two = asyncio.create_task(pool.lease()), asyncio.create_task(pool.lease())
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
    assert sync_pool(PLAIN) is not sync_pool(ClientSettings(secure=False, proxy="http://127.0.0.1:9"))

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
    assert not [held for loop, held in pools._loop_pools.items() if held.by_settings and not loop.is_running()]


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


def test_a_waiter_cancelled_before_it_runs_stays_cancelled_and_nobody_overtakes() -> None:
    async def go() -> None:
        pool = AsyncPool(PLAIN, limit=1)
        first = await pool.lease()
        one, two = asyncio.create_task(pool.lease()), asyncio.create_task(pool.lease())
        await asyncio.sleep(0)
        one.cancel()
        first.release()  # `one` is cancelled and has not run yet
        overtaker = asyncio.create_task(pool.lease())
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
