"""The median seconds of a deployment's calls, by size. No I/O and no clock here."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import chain

__all__ = ["Times", "size_class"]

# The median is that of the latest so many calls.
_CALLS = 31
# The first calls update the median each, later ones every so often.
_FEW_CALLS = 16
_EVERY = 8


def size_class(tokens: int) -> int:
    """Return the class of a prompt's size: each has four times as many tokens as the one before."""
    return tokens.bit_length() // 2


class Times:
    """The seconds that calls took, by the class of their size."""

    def __init__(self) -> None:
        self._seconds: dict[int, deque[float]] = {}
        self._median: dict[int, float] = {}
        self._calls = 0

    def took(self, seconds: float, size: int) -> bool:
        """Record how long a call took, and return whether a median has changed."""
        self._calls += 1
        times = self._seconds.get(size)
        if times is None:
            times = self._seconds[size] = deque(maxlen=_CALLS)
        times.append(seconds)
        is_due = self._calls < _FEW_CALLS or self._calls % _EVERY == 0
        if not is_due and size in self._median:
            return False
        self._median[size] = _middle(times)
        return True

    def median_s(self, size: int) -> float | None:
        """Return the median seconds of calls of this class, or of all where there is none; None without any call."""
        median = self._median.get(size)
        if median is None and self._seconds:
            median = _middle(chain.from_iterable(self._seconds.values()))
        return median


def _middle(times: Iterable[float]) -> float:
    in_order = sorted(times)
    return in_order[len(in_order) // 2]
