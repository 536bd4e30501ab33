"""A call in the limiter's queue: how long it waits, what it says when it gives up, and how its owner is woken.

A thread waits on a lock, a task on a future of its own loop. Nothing here decides who may go.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress
from math import inf
from threading import Lock
from typing import TYPE_CHECKING, Any

from modelwire.errors import ChatError, RateLimited, and_said
from modelwire.transport.listeners import warn_of_outage
from modelwire.transport.ratelimit.admission import copy_for_followers
from modelwire.transport.retry import too_long
from modelwire.transport.steps import Wait, wait_reporting

if TYPE_CHECKING:
    import asyncio

    from modelwire.transport.ratelimit.admission import Admission
    from modelwire.transport.ratelimit.limiter import AdaptiveRateLimiter
    from modelwire.transport.steps import Exchange, Step

__all__ = ["await_wake", "queued", "wait_for_wake"]

_LEAST_S = 0.001  # of a wait: a clock that reads t + 1e-17 as t would have us wait for ever


def queued(
    exchange: Exchange[Any, Any],
    limiter: AdaptiveRateLimiter,
    admission: Admission,
    failed: ChatError | None,
) -> Generator[Step[Any], Any, None]:
    """Wait until `admission` is granted.

    Raises at once where waiting cannot help: past the deadline, for longer than `max_wait`, without credit. `failed` is
    what the last attempt came to.
    """
    history, max_wait_s = exchange.history, exchange.policy.max_wait_s
    granted = False
    try:
        while (wait_s := limiter.poll(admission, exchange.clock())) is not None:
            now = exchange.clock()
            if admission.rejection is not None:
                raise exchange.signed(copy_for_followers(admission.rejection))
            since = (
                limiter.blocked_since(admission)
                if history.refused_at is None
                else history.refused_at
            )
            left_s = max_wait_s if since is None else max_wait_s - (now - since)
            pause_s = limiter.pause_s(now)
            if left_s <= 0 or pause_s > left_s:
                raise _given_up(exchange, limiter, failed, too_long(exchange.policy), pause_s)
            if exchange.patient and (wait := limiter.long_wait(now)) is not None:
                warn_of_outage(limiter.name, limiter.last_refusal, wait)
            if exchange.patient and limiter.is_hopeless(now):
                raise _given_up(
                    exchange, limiter, failed, "It has failed for everybody, for too long.", pause_s
                )
            remaining_s = exchange.remaining_s()
            if remaining_s is not None and pause_s >= remaining_s:
                reason = f"It would have to wait {pause_s:.3g} s and has {remaining_s:.3g} s left."
                raise _given_up(exchange, limiter, failed, reason, pause_s)
            if since is None:
                left_s = inf  # things move
            until_s = min(wait_s, left_s, inf if remaining_s is None else remaining_s)
            yield from wait_reporting(exchange, Wait(admission, max(until_s, _LEAST_S)))
        granted = True
    finally:
        if not granted:
            limiter.leave(admission, exchange.clock(), sent=False)
    if history.refused_at is None:  # a probe's refusal is not the first this call has waited for
        history.refused_at = limiter.blocked_since(admission)


def _given_up(
    exchange: Exchange[Any, Any],
    limiter: AdaptiveRateLimiter,
    failed: ChatError | None,
    reason: str,
    pause_s: float,
) -> ChatError:
    """Return the error of this call, or where it has made no attempt, what others got."""
    error = failed
    if error is None:
        refusal = limiter.last_refusal or RateLimited(
            f"{exchange.wire.provider} takes no requests now."
        )
        error = copy_for_followers(refusal)
        error.retry_after = pause_s or error.retry_after
    error.message = and_said(error.message, reason)
    return exchange.signed(error)


def wait_for_wake(admission: Admission, seconds: float) -> None:
    """Wait until the admission is woken, `seconds` at most."""
    signal = Lock()
    signal.acquire()

    def wake() -> None:
        with suppress(RuntimeError):  # woken twice
            signal.release()

    admission.on_wake = wake
    try:
        if not admission.signalled:
            signal.acquire(timeout=seconds)
    finally:
        admission.on_wake = None


async def await_wake(admission: Admission, seconds: float) -> None:
    """Wait until the admission is woken, `seconds` at most. The call may come from any thread."""
    from asyncio import get_running_loop

    loop = get_running_loop()
    woken = loop.create_future()
    timer = loop.call_later(seconds, _set, woken)

    def wake() -> None:
        with suppress(RuntimeError):  # the loop is closed: its task will not send
            loop.call_soon_threadsafe(_set, woken)

    admission.on_wake = wake
    try:
        if not admission.signalled:
            await woken
    finally:
        timer.cancel()
        admission.on_wake = None


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
