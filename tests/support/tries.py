"""Tries of a scene whose counts depend on the machine: a noisy one may spoil one try of three, a fault spoils each."""

from __future__ import annotations

from collections.abc import Callable

from modelwire.transport.ratelimit import registry

_TRIES = 3


def fewest(count_of: Callable[[], int], enough: int) -> int:
    """Run the scene until it counts `enough` or fewer, three times at most. Return the lowest of its counts.

    Each try begins without the limits that the one before it has learned.
    """
    lowest = count_of()
    for _ in range(_TRIES - 1):
        if lowest <= enough:
            break
        registry.forget()
        lowest = min(lowest, count_of())
    return lowest
