"""Computes how long a job waits before it retries a row or a batch that a provider has rejected for now."""

from __future__ import annotations

from typing import NamedTuple


class Backoff(NamedTuple):
    """Exponential backoff: pauses double from `first_s` up to `longest_s` seconds.

    A provider's `Retry-After` of more than `patience_s` seconds is not waited for.
    """

    first_s: float
    longest_s: float
    patience_s: float

    def pause_s(self, failures: int, retry_after_s: float | None = None) -> float | None:
        """Return the seconds to wait after `failures` >= 1 consecutive failures, or None to give up.

        The wait is at least `retry_after_s`, the provider's `Retry-After`, and None if that exceeds
        `patience_s` (rule R4 of RELIABILITY).
        """
        least_s = retry_after_s or 0.0
        if least_s > self.patience_s:
            return None
        doublings = min(failures - 1, 16)
        pause_s = min(self.longest_s, self.first_s * 2.0**doublings)
        return max(least_s, pause_s)
