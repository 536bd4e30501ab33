"""When a second deployment is called because an answer takes long, and how often. No I/O and no clock here."""

from __future__ import annotations

from collections import deque

__all__ = ["HedgeBudget"]

# At most this part of the calls is sent a second time.
_MOST_PART = 0.05
# The percentile is that of the latest so many calls; with fewer than the second number it is unknown.
_CALLS = 400
_LEAST_CALLS = 20
# The percentile is computed again after so many calls.
_EVERY = 10
_PERCENTILE = 0.95


class HedgeBudget:
    """Counts calls and hedges, and stores the seconds that calls took. `after` is "p95", or seconds."""

    def __init__(self, after: float | str | None) -> None:
        self.after = after
        self.calls = 0
        self.hedges = 0
        # By whether the call is a stream.
        self._seconds: dict[bool, deque[float]] = {}
        self._p95: dict[bool, float] = {}
        self._new = {True: 0, False: 0}

    def took(self, seconds: float, *, stream: bool) -> None:
        """Record how long an answer, or the first chunk of a stream, took."""
        times = self._seconds.setdefault(stream, deque(maxlen=_CALLS))
        times.append(seconds)
        self._new[stream] += 1
        is_due = stream not in self._p95 or self._new[stream] >= _EVERY
        if is_due and len(times) >= _LEAST_CALLS:
            self._new[stream] = 0
            self._p95[stream] = sorted(times)[int(_PERCENTILE * len(times))]

    def wait_s(self, *, stream: bool) -> float | None:
        """Return after how many seconds a second deployment may be called; None while that is unknown."""
        if self.after == "p95":
            return self._p95.get(stream)
        if self.after is None:
            return None
        return float(self.after)

    def spend(self) -> bool:
        """Count a hedge if the budget allows one more, and return whether it does."""
        if self.hedges + 1 > _MOST_PART * self.calls:
            return False
        self.hedges += 1
        return True
