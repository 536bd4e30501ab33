"""Waiting for real: threads and event loops share one limiter, and whoever leaves, leaves nothing behind."""

import asyncio
import threading
import time
from random import Random

import pytest
from support.asking import ask

from modelwire.transport.ratelimit.admission import Admission
from modelwire.transport.ratelimit.limiter import AdaptiveRateLimiter
from modelwire.transport.ratelimit.waiting import await_wake, wait_for_wake


def one_at_a_time() -> AdaptiveRateLimiter:
    limiter = AdaptiveRateLimiter(time.monotonic(), Random(1))
    limiter.concurrency.most = 1
    limiter.rate.ramp = float("inf")
    return limiter


def in_thread(limiter: AdaptiveRateLimiter, log: list[str], name: str) -> None:
    admission = ask(limiter, time.monotonic())
    while (
        not admission.granted and (wait_s := limiter.poll(admission, time.monotonic())) is not None
    ):
        wait_for_wake(admission, wait_s)
    log.append(name)
    assert limiter.congestion.in_flight == 1
    time.sleep(0.001)
    limiter.leave(admission, time.monotonic())


async def in_loop(limiter: AdaptiveRateLimiter, log: list[str], name: str) -> None:
    admission = ask(limiter, time.monotonic())
    try:
        while (
            not admission.granted
            and (wait_s := limiter.poll(admission, time.monotonic())) is not None
        ):
            await await_wake(admission, wait_s)
        log.append(name)
        assert limiter.congestion.in_flight == 1
        await asyncio.sleep(0.001)
    finally:
        limiter.leave(admission, time.monotonic(), sent=admission.granted)


def test_threads_and_loops_take_turns() -> None:
    limiter, log = one_at_a_time(), list[str]()

    async def loop(name: str) -> None:
        await asyncio.gather(*(in_loop(limiter, log, name) for _ in range(40)))

    threads = [threading.Thread(target=in_thread, args=(limiter, log, "thread")) for _ in range(40)]
    threads += [
        threading.Thread(target=lambda n=n: asyncio.run(loop(f"loop {n}"))) for n in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(log) == ["loop 0"] * 40 + ["loop 1"] * 40 + ["thread"] * 40
    assert limiter.is_idle()


def test_cancelled_waiters_leave_nothing_and_the_next_go_on() -> None:
    """P20, P21, P25: no admission, no place, no task, no timer."""
    limiter, log = one_at_a_time(), list[str]()

    async def run() -> tuple[int, int]:
        first = ask(limiter, time.monotonic())
        tasks = [asyncio.create_task(in_loop(limiter, log, f"{n}")) for n in range(200)]
        await asyncio.sleep(0.01)
        for task in tasks[::2]:
            task.cancel()
        limiter.leave(first, time.monotonic())
        await asyncio.gather(*tasks, return_exceptions=True)
        loop = asyncio.get_running_loop()
        timers = [timer for timer in loop._scheduled if not timer.cancelled()]  # type: ignore[attr-defined]
        return len(asyncio.all_tasks()), len(timers)

    assert asyncio.run(run()) == (1, 0)
    assert log == [f"{n}" for n in range(1, 200, 2)]
    assert limiter.is_idle()


def test_the_head_hears_when_its_turn_has_a_time() -> None:
    """It waited for the end of somebody's call, so for as long as that takes, and now for the pace only."""
    limiter = one_at_a_time()
    first, head = ask(limiter, 0.0), ask(limiter, 0.0)
    now = time.monotonic() + 1
    assert limiter.poll(head, now) == 1.0
    limiter.rate.restart(now, 0.5)
    limiter.leave(first, now)
    assert head.signalled and not head.granted
    wait_s = limiter.poll(head, now)
    assert wait_s is not None and wait_s < 0.1
    limiter.poll(head, now + wait_s)
    assert head.granted


def test_a_ring_before_the_wait_is_not_lost() -> None:
    admission = Admission(0.0, again=False, patient=False, size=0, max_output=None)
    admission.wake()
    admission.wake()
    started = time.monotonic()
    wait_for_wake(admission, 60.0)
    asyncio.run(await_wake(admission, 60.0))
    assert time.monotonic() - started < 30
    assert admission.on_wake is None


@pytest.mark.parametrize("rings", [1, 2])
def test_a_ring_from_another_thread_ends_the_wait(rings: int) -> None:
    for wait in (
        wait_for_wake,
        lambda admission, seconds: asyncio.run(await_wake(admission, seconds)),
    ):
        admission = Admission(0.0, again=False, patient=False, size=0, max_output=None)
        timer = threading.Timer(
            0.02, lambda admission=admission: [admission.wake() for _ in range(rings)]
        )
        timer.start()
        started = time.monotonic()
        wait(admission, 60.0)
        assert time.monotonic() - started < 30
        timer.join()


def test_a_closed_loop_is_no_reason_to_fail() -> None:
    admission = Admission(0.0, again=False, patient=False, size=0, max_output=None)
    loop = asyncio.new_event_loop()
    waiting = await_wake(admission, 60.0)
    task = loop.create_task(waiting)
    loop.run_until_complete(asyncio.sleep(0))
    wake = admission.on_wake
    task.cancel()
    loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
    loop.close()
    assert wake is not None
    wake()
