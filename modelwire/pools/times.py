"""The median seconds of a deployment's calls, by size. No I/O and no clock here."""

from __future__ import annotations

from collections import deque

__all__ = ["Times", "size_class"]

# The median is that of the latest so many calls.
_CALLS = 31
# The first calls update the median each, later ones every so often.
_FEW_CALLS = 16
_EVERY = 8
# The key of the times of all classes.
_ALL = -1


def size_class(tokens: int) -> int:
    """Return the class of a prompt's size: each has four times as many tokens as the one before."""
    return tokens.bit_length() // 2


class Times:
    """The seconds that calls took: of one class of size, and of all."""

    def __init__(self) -> None:
        self._seconds: dict[int, deque[float]] = {}
        self._median: dict[int, float] = {}
        self._calls = 0

    def took(self, seconds: float, size: int) -> None:
        """Record how long a call took."""
        self._calls += 1
        is_due = self._calls < _FEW_CALLS or self._calls % _EVERY == 0
        for key in (size, _ALL):
            times = self._seconds.get(key)
            if times is None:
                times = self._seconds[key] = deque(maxlen=_CALLS)
            times.append(seconds)
            if is_due or key not in self._median:
                self._median[key] = sorted(times)[len(times) // 2]

    def median_s(self, size: int) -> float | None:
        """Return the median seconds of calls of this class, or of all where there is none; None without any call."""
        median = self._median.get(size)
        if median is None:
            median = self._median.get(_ALL)
        return median
