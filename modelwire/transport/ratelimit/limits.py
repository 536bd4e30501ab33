"""What a limiter has learned, to be shown, and what it tells when that changes."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from modelwire.transport.ratelimit.limiter import AdaptiveRateLimiter

__all__ = ["Change", "Limits", "change_of", "limits_of"]


class Change(NamedTuple):
    """What happened to a key's limit: it was learned, or cut; all is shut and one call probes; or it goes on."""

    kind: str  # "learned", "cut", "resumed" or "half_open"
    key: str  # whose: the provider's address, the model, and a digest of the credential
    requests_per_s: float | None
    concurrency: int | None  # calls at a time
    pause_s: float  # from now


class Limits(NamedTuple):
    """What is known of a provider's limits for one credential and model; None where nothing is.

    `requests_per_minute` was learned from refusals, or is what the provider's headers or the user say, if that is less.
    The limits of tokens are what headers or the user say.
    """

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    input_tokens_per_minute: float | None = None
    output_tokens_per_minute: float | None = None
    concurrency: int | None = None  # calls at a time
    in_flight: int = 0
    waiting: int = 0
    paused_s: float = 0.0  # from now

    def __repr__(self) -> str:
        known = ", ".join(
            f"{name}={value:g}"
            for name, value in self._asdict().items()
            if value is not None and value != 0
        )
        return f"Limits({known})" if known else "Limits(none known)"


def change_of(limiter: AdaptiveRateLimiter, kind: str, now: float) -> Change:
    """Describe what has just happened to `limiter`."""
    return Change(
        kind, limiter.name, _rate_of(limiter), limiter.concurrency.places, limiter.pause_s(now)
    )


def limits_of(limiter: AdaptiveRateLimiter, now: float) -> Limits:
    """Describe what `limiter` knows."""
    rate, advertised = _rate_of(limiter), limiter.advertised
    return Limits(
        None if rate is None else rate * 60,
        *((None, None, None) if advertised is None else advertised.tokens_per_minute()),
        limiter.concurrency.places,
        limiter.in_flight,
        limiter.waiting(),
        limiter.pause_s(now),
    )


def _rate_of(limiter: AdaptiveRateLimiter) -> float | None:
    rate = min(limiter.rate.rate, limiter.rate.ceiling)
    return None if rate == inf else rate
