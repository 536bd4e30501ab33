"""A forked child has the deployments of its parent's pool, and none of its calls."""

from __future__ import annotations

import os

import pytest

from modelwire.errors import ServerError
from modelwire.pools.call import PoolCall
from modelwire.pools.deployment import Deployment
from modelwire.pools.scheduler import Scheduler


def failed(scheduler: Scheduler, position: int, now: float) -> None:
    call = PoolCall(scheduler, now)
    call.place(scheduler.deployments[position], now)
    call.failed(now, ServerError("no"))


def child_is_free(scheduler: Scheduler, stream: PoolCall) -> bool:
    """Return whether a call of the child starts once the pause is over, and a stream of the parent harms nothing."""
    has_calls = bool(scheduler.waiting) or any(one.in_flight for one in scheduler.deployments)
    stream.leave(20.0)
    call = PoolCall(scheduler, 20.0)
    found = call.poll(20.0)
    return not has_calls and found is not None and found.in_flight == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no forks")
def test_a_forked_child_has_no_call_of_its_parent() -> None:
    scheduler = Scheduler([Deployment(name, object()) for name in "ab"])
    for position in (0, 1, 0, 1, 0, 1):
        failed(scheduler, position, 1.0)
    stream, probe = PoolCall(scheduler, 9.0), PoolCall(scheduler, 9.0)
    assert stream.poll(9.0) is not None
    assert probe.poll(9.0) is not None
    waiting = [PoolCall(scheduler, 9.0) for _ in range(50)]
    assert [call.poll(9.0) for call in waiting] == [None] * 50
    with scheduler.lock:  # As if another thread had it.
        child = os.fork()
        if child == 0:
            is_free = False
            try:
                is_free = scheduler.lock.acquire(timeout=5)
                scheduler.lock.release()
                is_free = is_free and child_is_free(scheduler, stream)
            finally:
                os._exit(0 if is_free else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert list(scheduler.waiting) == waiting
    assert sum(one.in_flight for one in scheduler.deployments) == 2
