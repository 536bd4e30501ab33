"""Values that show users the limits which a limiter has learned, and the changes of these limits."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from modelwire.records import NamedTuple

if TYPE_CHECKING:
    from modelwire.transport.ratelimit.congestion import Congestion
    from modelwire.transport.ratelimit.limiter import AdaptiveRateLimiter


class Change(NamedTuple):
    """A change of a key's limits: learned from headers, cut, half open (only probes are sent), or resumed."""

    kind: str  # "learned", "cut", "resumed" or "half_open".
    key: str  # The provider's address, the model, and a digest of the credential.
    requests_per_s: float | None
    concurrency: int | None  # Calls at a time.
    pause_s: float  # Seconds from now.


class Limits(NamedTuple):
    """The known limits of a provider for one credential and model; an unknown limit is None.

    `requests_per_minute` is the least of three: learned from refusals, advertised by headers, and stated by the user.
    The limits of tokens are advertised or stated. Where several processes share a limit (`modelwire.shared`),
    `requests_per_minute` and `concurrency` are the part of this process.
    """

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    input_tokens_per_minute: float | None = None
    output_tokens_per_minute: float | None = None
    concurrency: int | None = None  # Calls at a time.
    in_flight: int = 0
    waiting: int = 0
    paused_s: float = 0.0  # Seconds from now.

    def __repr__(self) -> str:
        known = [f"{name}={value:g}" for name, value in self._asdict().items() if value]
        return f"Limits({', '.join(known) or 'none known'})"


def change_of(congestion: Congestion, kind: str, now: float) -> Change:
    """Return a `Change` of this kind with the present limits."""
    places = congestion.concurrency.places
    pause_s = congestion.gate.pause_s(now)
    return Change(kind, congestion.name, _rate_of(congestion), places, pause_s)


def limits_of(limiter: AdaptiveRateLimiter, now: float) -> Limits:
    """Return the limits that `limiter` knows."""
    rate = _rate_of(limiter.congestion)
    advertised = limiter.advertised
    return Limits(
        None if rate is None else rate * 60,
        *((None, None, None) if advertised is None else advertised.tokens_per_minute()),
        limiter.concurrency.places,
        limiter.congestion.in_flight,
        limiter.waiting(),
        limiter.gate.pause_s(now),
    )


def _rate_of(congestion: Congestion) -> float | None:
    rate = min(congestion.rate.rate, congestion.rate.ceiling)
    if rate == inf:
        return None
    return rate


def mirrors_requests(limiter: AdaptiveRateLimiter) -> bool:
    """Return whether headers show how many requests are left, so that no pace must be learned."""
    if limiter.advertised is None or limiter.stated[0] is not None or limiter.share < 1:
        return False
    if limiter.lease is not None:
        return False
    return limiter.advertised.mirrors_requests()
