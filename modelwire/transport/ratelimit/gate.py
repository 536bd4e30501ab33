"""The gate, which closes while no request may be sent, and lets single probes through. No I/O and no clock here."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random

    from modelwire.errors import ChatError
    from modelwire.transport.ratelimit.admission import Admission

# Without a Retry-After, the pauses between probes double up to this length.
PAUSE_CAP_S = 8.0
# A pause is shortened by a random part of itself, of at most this size.
_PAUSE_JITTER = 0.25
# After a pause of this length a probe is sent, even if the provider asked for a longer one.
_MAX_PAUSE_S = 120.0
# A Retry-After is prolonged by a random part of itself, of at most this size.
_RETRY_AFTER_JITTER = 0.10


class Gate:
    """Open, paused until a time, or closed with one probe at a time. `rng` adds jitter to the pauses."""

    __slots__ = (
        "_otherwise_until",
        "_rng",
        "asked_index",
        "closed_at",
        "paused_until",
        "pauses",
        "probe",
        "probing",
    )

    def __init__(self, now: float, rng: Random) -> None:
        self._rng = rng
        self.paused_until = now
        # The time since which no request succeeds, or None.
        self.closed_at: float | None = None
        # The number of pauses in a row without a success between them.
        self.pauses = 0
        # True while only probes may be sent, and the probe in flight.
        self.probing = False
        self.probe: Admission | None = None
        # The index of the request whose Retry-After prolonged the pause, or 0, and the time at
        # which the pause would end without it.
        self.asked_index = 0
        self._otherwise_until = now

    def pause_s(self, now: float) -> float:
        """Return the seconds until requests may be sent again, 0.0 if they may be sent now."""
        return max(self.paused_until - now, 0.0)

    def blocked_since(self, admission: Admission) -> float | None:
        """Return the time since which `admission` has waited for a provider that accepts nothing, or None."""
        if self.closed_at is None:
            return None
        return max(self.closed_at, admission.requested_at)

    def pause(self, now: float, seconds: float) -> None:
        """Send no request for `seconds`, or until a longer pause that has begun ends."""
        self.paused_until = max(self.paused_until, now + min(seconds, _MAX_PAUSE_S))

    def pause_as_asked(
        self, now: float, admission: Admission, least_s: float, asked_s: float
    ) -> None:
        """Pause for `asked_s`. If a request sent after `admission` is answered, the pause ends after `least_s`."""
        self.pause(now, least_s)
        if asked_s > least_s and not self.asked_index:
            self._otherwise_until = self.paused_until
        if asked_s > least_s:
            self.asked_index = max(self.asked_index, admission.index)
        self.pause(now, asked_s)

    def shorten(self) -> None:
        """Remove what a Retry-After added to the pause, because the provider has answered a later request."""
        self.paused_until = min(self.paused_until, self._otherwise_until)
        self.asked_index = 0

    def ready_at(self, now: float) -> float:
        """Return the time at which a probe may be sent: now, or infinity while another probe is in flight."""
        return now if self.probe is None else inf

    def shut(self, now: float, error: ChatError, first_s: float) -> None:
        """Close the gate for a pause that doubles each time; after it, one probe may be sent."""
        # The probe shows whether the pause was long enough.
        self.asked_index = 0
        if self.closed_at is None:
            self.closed_at = now
        backoff_s = self.spread(min(first_s * 2.0 ** min(self.pauses, 10), PAUSE_CAP_S))
        self.pause(now, max(self.retry_after_s(error), backoff_s))
        self.pauses += 1
        self.probing = True
        self.probe = None

    def open(self) -> bool:
        """Open the gate, because a request succeeded. Return whether the gate was closed."""
        was_shut = self.closed_at is not None
        self.pauses = 0
        self.closed_at = None
        self.probing = False
        self.probe = None
        return was_shut

    def retry_after_s(self, error: ChatError) -> float:
        """Return the seconds of Retry-After with jitter, or 0. They are a minimum: other rules may wait longer."""
        return (error.retry_after or 0.0) * (1 + self._rng.uniform(0, _RETRY_AFTER_JITTER))

    def spread(self, seconds: float) -> float:
        """Return `seconds`, shortened by a random part of at most a quarter."""
        return seconds * (1 - self._rng.uniform(0, _PAUSE_JITTER))
