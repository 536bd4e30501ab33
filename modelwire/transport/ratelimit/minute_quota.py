"""The limit of requests a minute that a user states: it holds in every minute, the first one too. No I/O, no clock.

The pace alone would not hold it: a key begins with a burst, and the pace follows at once.
"""

from __future__ import annotations

from collections import deque

__all__ = ["MinuteQuota"]

_PERIOD_S = 60.5  # two requests that leave at a distance of a minute may arrive at a shorter one

_MOST = 1e7  # no process sends as many


class MinuteQuota:
    """The times of the latest grants: the one `most` before the next must be a minute ago."""

    __slots__ = ("_granted_at", "_period_s")

    def __init__(self, per_minute: float, before: MinuteQuota | None) -> None:
        most = max(int(min(per_minute, _MOST)), 1)
        self._period_s = _PERIOD_S * max(1 / per_minute, 1.0)
        self._granted_at: deque[float] = deque(
            () if before is None else before._granted_at, maxlen=most
        )

    def ready_at(self, now: float) -> float:
        granted_at = self._granted_at
        if len(granted_at) < (granted_at.maxlen or 0):
            return now
        return max(now, granted_at[0] + self._period_s)

    def grant(self, now: float) -> None:
        self._granted_at.append(now)

    def give_back(self, granted_at: float) -> None:
        """Forget a grant whose request was never sent."""
        if granted_at in self._granted_at:
            self._granted_at.remove(granted_at)
