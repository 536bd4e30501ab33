"""Waits in the limiter's queue, raises the error of a call that gives up, and wakes the owners of queued calls.

A thread waits on a lock, a task on a future of its own loop. The limiter decides which call is granted.
"""

from __future__ import annotations

from contextlib import suppress
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
    from modelwire.transport.steps import AnyExchange, Flow

# A wait is at least this long. A shorter one may round to no wait at all, which would be a busy loop.
_LEAST_WAIT_S = 0.001


def queued(
    exchange: AnyExchange,
    limiter: AdaptiveRateLimiter,
    admission: Admission,
    failed: ChatError | None,
) -> Flow[Any, None]:
    """Wait until `admission` is granted.

    Raises the call's error at once if waiting cannot help: after the deadline, if the wait is longer than `max_wait`,
    or without credit. `failed` is the error of the last attempt.
    """
    history = exchange.history
    max_wait_s = exchange.policy.retry.max_wait_s
    granted = False
    try:
        while (wait_s := limiter.poll(admission, exchange.clock())) is not None:
            now = exchange.clock()
            if admission.rejection is not None:
                raise exchange.signed(copy_for_followers(admission.rejection))
            since = history.refused_at
            if since is None:
                since = limiter.gate.blocked_since(admission)
            left_s = max_wait_s if since is None else max_wait_s - (now - since)
            remaining_s = exchange.remaining_s()
            pause_s = limiter.gate.pause_s(now)
            reason = _reason_to_give_up(exchange, limiter, now, left_s=left_s, pause_s=pause_s)
            if reason is not None:
                raise _given_up(exchange, limiter, failed, reason, pause_s)
            until_s = wait_s if since is None else min(wait_s, left_s)
            if remaining_s is not None:
                until_s = min(until_s, remaining_s)
            yield from wait_reporting(exchange, Wait(admission, max(until_s, _LEAST_WAIT_S)))
        granted = True
    finally:
        if not granted:
            limiter.leave(admission, exchange.clock(), sent=False)
        if exchange.routed_call is not None:
            exchange.routed_call.queued_s += exchange.clock() - admission.requested_at
    # A refusal of a probe must not restart the time that this call has waited already.
    if history.refused_at is None:
        history.refused_at = limiter.gate.blocked_since(admission)


def _reason_to_give_up(
    exchange: AnyExchange,
    limiter: AdaptiveRateLimiter,
    now: float,
    *,
    left_s: float,
    pause_s: float,
) -> str | None:
    """Return a sentence for the error of a call that should give up; None if the call should wait on.

    `left_s` is the rest of `max_wait`, and `pause_s` the pause that the provider has caused.
    """
    if left_s <= 0 or pause_s > left_s:
        return too_long(exchange.policy.retry)
    if exchange.policy.patient:
        stalled = limiter.outage.stall_message(limiter.gate, now)
        if stalled is not None:
            warn_of_outage(limiter.name, limiter.congestion.last_refusal, stalled)
        if limiter.outage.gave_up(limiter.gate, now, proven=limiter.congestion.proven):
            return "It has failed for all callers, for too long."
    remaining_s = exchange.remaining_s()
    if remaining_s is not None and pause_s >= remaining_s:
        return f"It would have to wait {pause_s:.3g} s and has {remaining_s:.3g} s left."
    return None


def _given_up(
    exchange: AnyExchange,
    limiter: AdaptiveRateLimiter,
    failed: ChatError | None,
    reason: str,
    pause_s: float,
) -> ChatError:
    """Return the error of a call that gives up: its own, or before its first attempt a copy of another call's."""
    error = failed
    if error is None:
        refusal = limiter.congestion.last_refusal or RateLimited(
            f"{exchange.wire.provider} takes no requests now."
        )
        error = copy_for_followers(refusal)
        error.retry_after = pause_s or error.retry_after
    error.message = and_said(error.message, reason)
    return exchange.signed(error)


def wait_for_wake(admission: Admission, seconds: float) -> None:
    """Wait until the admission is woken, for at most `seconds`."""
    signal = Lock()
    signal.acquire()

    def wake() -> None:
        # A second wake-up releases a lock that is free.
        with suppress(RuntimeError):
            signal.release()

    admission.on_wake = wake
    try:
        if not admission.signalled:
            signal.acquire(timeout=seconds)
    finally:
        admission.on_wake = None


async def await_wake(admission: Admission, seconds: float) -> None:
    """Wait until the admission is woken, for at most `seconds`. Any thread may wake it."""
    from asyncio import get_running_loop

    loop = get_running_loop()
    woken = loop.create_future()
    timer = loop.call_later(seconds, _set, woken)

    def wake() -> None:
        # If the loop is closed, its task sends nothing more.
        with suppress(RuntimeError):
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
