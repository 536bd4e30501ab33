"""Forecasts when a call could start, from what its limiter knows at present. Nothing here changes a limiter."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, NamedTuple

from modelwire.transport.ratelimit.limits import mirrors_requests

if TYPE_CHECKING:
    from modelwire.transport.ratelimit.headers import Advertised
    from modelwire.transport.ratelimit.limiter import AdaptiveRateLimiter


class StartForecast(NamedTuple):
    """The forecast of when one more call could start, and the reasons for a delay."""

    wait_s: float = 0.0
    """Seconds until the pace, the advertised limits and the pause allow the call, after the queued calls."""
    pause_s: float = 0.0
    """Seconds until the gate lets any request through."""
    queued: int = 0
    """Calls that wait in the limiter's queue."""
    excess: float = 0.0
    """Calls that must end before this one can start, because fewer may be in flight."""
    places: float = inf
    """Calls that may be in flight."""
    per_s: float = inf
    """The known rate of requests."""
    is_probed: bool = False
    """True while only single probes may be sent, and one is in flight."""


def may_start(limiter: AdaptiveRateLimiter, now: float, *, tokens: float) -> bool:
    """Return whether a call with `tokens` input tokens could start at once; the result agrees with `start_forecast`.

    It is cheap if no limit is known, or if most of the advertised limits is left.
    """
    gate = limiter.gate
    if gate.probing or now < gate.paused_until or limiter._queue.length:
        return False
    rate = limiter.rate
    advertised = limiter.advertised
    is_paced = rate.ramp < inf and rate.level < 1
    if rate.rate < inf or rate.ceiling < inf:
        is_paced |= not mirrors_requests(limiter)
    is_advertised = advertised is None or advertised.allows(tokens, now)
    if is_advertised and not is_paced and limiter.concurrency.most == inf:
        return True
    forecast = start_forecast(limiter, now, tokens=tokens)
    return forecast.wait_s <= 0 and not forecast.excess


def start_forecast(
    limiter: AdaptiveRateLimiter,
    now: float,
    *,
    tokens: float = 0.0,
    ahead: int = 0,
) -> StartForecast:
    """Return when a call with `tokens` input tokens could start.

    `ahead` calls come before it and are not in the queue yet.
    """
    gate = limiter.gate
    places = limiter.concurrency.most
    queued = limiter._queue.length + ahead
    turn = queued + 1
    pause_s = gate.pause_s(now)
    pace_s = limiter.rate.wait_s(now, turn, mirrored=mirrors_requests(limiter))
    wait_s = max(pause_s, pace_s)
    if limiter._quota is not None:
        wait_s = max(wait_s, limiter._quota.ready_at(now) - now)
    per_s = min(limiter.rate.rate, limiter.rate.ceiling)
    advertised = limiter.advertised
    if advertised is not None:
        advertised_s, advertised_per_s = _advertised_wait(advertised, now, turn, tokens)
        wait_s = max(wait_s, advertised_s)
        per_s = min(per_s, advertised_per_s)
    excess = 0.0
    if places < inf:
        excess = max(limiter.congestion.in_flight + turn - places, 0.0)
    is_probed = gate.probing and (gate.probe is not None or queued > 0)
    return StartForecast(wait_s, pause_s, queued, excess, places, per_s, is_probed)


def _advertised_wait(
    advertised: Advertised, now: float, turn: int, tokens: float
) -> tuple[float, float]:
    """Return the seconds until the advertised limits allow a call, and how many such calls they allow a second."""
    wait_s = 0.0
    per_s = inf
    costs = advertised.costs(tokens)
    for kind, bucket in advertised._buckets.items():
        if bucket.period_s is None:
            wait_s = max(wait_s, bucket.stop_until - now)
            continue
        if kind == "requests" and not advertised._trusted:
            continue
        cost = min(costs[kind], bucket.limit)
        level = min(bucket.level + max(now - bucket.at, 0.0) * bucket.per_s, bucket.limit)
        wait_s = max(wait_s, (cost * turn - level) / bucket.per_s)
        if cost:
            per_s = min(per_s, bucket.per_s / cost)
    return wait_s, per_s
