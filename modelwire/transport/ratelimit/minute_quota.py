"""Enforces the limit of requests a minute that a user states, in every minute. No I/O and no clock here.

The pace alone would exceed the limit in the first minute, because it follows a burst at the start.
"""

from __future__ import annotations

from collections import deque

# The minute is counted a little longer, because two requests may arrive closer together than they
# were sent.
_PERIOD_S = 60.5
# A larger limit is reduced to this number, which no process reaches, so that memory stays bounded.
_MOST_PER_MINUTE = 1e7


class MinuteQuota:
    """Stores the times of the latest grants. The oldest one must be a minute ago before the next request is granted."""

    __slots__ = ("_granted_at", "_period_s")

    def __init__(self, per_minute: float, before: MinuteQuota | None) -> None:
        most = max(int(min(per_minute, _MOST_PER_MINUTE)), 1)
        self._period_s = _PERIOD_S * max(1 / per_minute, 1.0)
        self._granted_at: deque[float] = deque(
            () if before is None else before._granted_at, maxlen=most
        )

    def ready_at(self, now: float) -> float:
        """Return the time at which the next request may be sent."""
        granted_at = self._granted_at
        if len(granted_at) < (granted_at.maxlen or 0):
            return now
        return max(now, granted_at[0] + self._period_s)

    def grant(self, now: float) -> None:
        """Record that a request was granted."""
        self._granted_at.append(now)

    def give_back(self, granted_at: float) -> None:
        """Remove a grant whose request was not sent."""
        if granted_at in self._granted_at:
            self._granted_at.remove(granted_at)
