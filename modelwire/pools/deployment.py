"""One deployment of a pool: its model, and what the pool has seen of it."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

from modelwire.errors import ModelwireError, RetryClass
from modelwire.pools.choice import HORIZON_S, PRIMED, Candidate
from modelwire.pools.health import Health
from modelwire.pools.times import Times
from modelwire.transport.ratelimit.forecast import StartForecast, may_start, start_forecast

if TYPE_CHECKING:
    from modelwire.transport.ratelimit.limiter import AdaptiveRateLimiter

__all__ = ["Deployment"]

# The limiter is looked up again after this time, because the registry replaces idle ones.
_LIMITER_FOR_S = 30.0
# Each call that the pool sends anywhere leaves this part of the count of recent calls.
RECENT_PART = 0.98


class Deployment:
    """A model of a pool, with its health, its times and the limiter of its calls."""

    def __init__(self, name: str, model: Any, weight: float = 1.0) -> None:
        self.name = name
        self.model = model
        self.weight = weight
        # True for a model that sends requests, and False for one that is a class of the program.
        self.sends_requests = hasattr(model, "build_request")
        self.health = Health()
        self.times = Times()
        self.in_flight = 0
        # Calls that were sent here from the pool's queue, and have not reached the limiter yet.
        self.coming = 0
        self.sent_at = -inf
        self.answers = 0
        # Its place in the pool, which the scheduler sets.
        self.position = 0
        # A call has failed here, or only a probe may be sent: `_chosen` decides where the next call goes.
        self.is_suspect = False
        self.recent = 0.0
        self._limiter: AdaptiveRateLimiter | None = None
        self._limiter_until = -inf

    def __reduce__(self) -> Any:
        return Deployment, (self.name, self.model, self.weight)

    def marked(self, answer: Any) -> Any:
        """Return an answer with the name of this deployment; one that is no message stays as it is."""
        about = getattr(answer, "response_metadata", None)
        if about is not None:
            # An attribute of a pydantic model takes several times as long to set.
            vars(answer)["response_metadata"] = {**about, "deployment": self.name}
        return answer

    def limiter(self, now: float) -> AdaptiveRateLimiter | None:
        """Return the limiter of this deployment's calls; None if it has none."""
        if now >= self._limiter_until:
            self._limiter_until = now + _LIMITER_FOR_S
            self._limiter = _limiter_of(self.model)
        return self._limiter

    def is_down(self, now: float) -> bool:
        """Return whether calls fail here, or the provider is overloaded; a rate limit is neither."""
        limiter = self.limiter(now)
        if self.health.is_out or limiter is None or limiter.gate.closed_at is None:
            return self.health.is_out
        error = limiter.congestion.last_refusal
        return error is not None and error.retry_class is not RetryClass.THROTTLE

    def is_closed(self, now: float) -> bool:
        """Return whether only a probe may be sent here."""
        limiter = self.limiter(now)
        return self.health.is_out or (limiter is not None and limiter.gate.probing)

    def may_start(self, now: float, tokens: float) -> bool:
        """Return whether a call of so many input tokens may start here now."""
        if self.coming:
            return False
        limiter = self.limiter(now)
        return limiter is None or may_start(limiter, now, tokens=tokens)

    def candidate(self, now: float, tokens: float, median_s: float, penalty_s: float) -> Candidate:
        """Return what is known of this deployment for a call of so many input tokens."""
        limiter = self.limiter(now)
        forecast = StartForecast()
        if limiter is not None:
            forecast = start_forecast(limiter, now, tokens=tokens, ahead=self.coming)
        health_wait_s = self.health.wait_s(now)
        pause_s = max(health_wait_s, forecast.pause_s)
        wait_s = max(health_wait_s, forecast.wait_s)
        if forecast.excess:
            wait_s += forecast.excess * median_s / forecast.places
        queued = forecast.queued
        if health_wait_s > 0:  # No queue of the limiter holds a call until then, so none joins it.
            wait_s = max(wait_s, health_wait_s + HORIZON_S)
            queued = max(queued, PRIMED)
        if forecast.is_probed:
            wait_s = pause_s = inf
        return Candidate(
            wait_s,
            median_s,
            pause_s,
            queued,
            self.in_flight,
            min(forecast.per_s, forecast.places / max(median_s, 1e-6)),
            penalty_s,
            self.is_closed(now) and wait_s <= 0,
            self.weight,
            self.recent,
        )


def _limiter_of(model: Any) -> AdaptiveRateLimiter | None:
    find = getattr(model, "current_limiter", None)
    if find is None:
        return None
    try:
        limiter: AdaptiveRateLimiter | None = find()
    except ModelwireError:  # The call itself raises it, with its deployment.
        return None
    return limiter
