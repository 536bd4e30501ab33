"""A call in the limiter's queue: how long it waits, and what it says when it gives up. No I/O here, and no clock."""

from __future__ import annotations

from collections.abc import Generator
from math import inf
from typing import TYPE_CHECKING, Any

from modelwire.errors import ChatError, RateLimited, and_said
from modelwire.transport.listeners import warn_of_outage
from modelwire.transport.ratelimit.admission import copy_for_followers
from modelwire.transport.retry import too_long
from modelwire.transport.steps import Wait, wait_reporting

if TYPE_CHECKING:
    from modelwire.transport.ratelimit.admission import Admission
    from modelwire.transport.ratelimit.limiter import AdaptiveRateLimiter
    from modelwire.transport.steps import Exchange, Step

__all__ = ["queued"]

_LEAST_S = 0.001  # of a wait: a clock that reads t + 1e-17 as t would have us wait for ever


def queued(
    exchange: Exchange[Any, Any], limiter: AdaptiveRateLimiter, admission: Admission, failed: ChatError | None
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
            since = limiter.blocked_since(admission) if history.refused_at is None else history.refused_at
            left_s = max_wait_s if since is None else max_wait_s - (now - since)
            pause_s = limiter.pause_s(now)
            if left_s <= 0 or pause_s > left_s:
                raise _given_up(exchange, limiter, failed, too_long(exchange.policy), pause_s)
            if exchange.patient and (wait := limiter.long_wait(now)) is not None:
                warn_of_outage(limiter.name, limiter.last_refusal, wait)
            if exchange.patient and limiter.is_hopeless(now):
                raise _given_up(exchange, limiter, failed, "It has failed for everybody, for too long.", pause_s)
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
    exchange: Exchange[Any, Any], limiter: AdaptiveRateLimiter, failed: ChatError | None, reason: str, pause_s: float
) -> ChatError:
    """Return the error of this call, or where it has made no attempt, what others got."""
    error = failed
    if error is None:
        because = limiter.last_rejection()
        error = because if because is not None else RateLimited(f"{exchange.wire.provider} takes no requests now.")
        error.retry_after = pause_s or error.retry_after
    error.message = and_said(error.message, reason)
    return exchange.signed(error)
