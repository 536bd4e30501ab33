"""R6: the gate that is shut while nobody may send, and lets one through to try. No I/O here, and no clock."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random

    from modelwire.errors import ChatError
    from modelwire.transport.ratelimit.admission import Admission

__all__ = ["PAUSE_CAP_S", "Gate"]

# Without a Retry-After: a short pause for a pace slightly too high, a doubling one when nothing gets through.
PAUSE_CAP_S, _PAUSE_JITTER = 8.0, 0.25
_MAX_PAUSE_S = 120.0  # whoever was told to wait longer raises; after this we ask again
_RETRY_AFTER_SPREAD = 0.10  # R4: a Retry-After is a floor


class Gate:
    """Open, paused until a time, or shut with one probe at a time. `rng` spreads the pauses."""

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
        self.closed_at: float | None = None  # since when nothing gets through
        self.pauses = 0  # in a row, with nothing getting through
        self.probing = False
        self.probe: Admission | None = None
        # The request whose Retry-After made the pause longer; 0: none did. And when the pause would end without it.
        self.asked_index = 0
        self._otherwise_until = now

    def pause_s(self, now: float) -> float:
        """Return how long nobody may send."""
        return max(self.paused_until - now, 0.0)

    def pause(self, now: float, seconds: float) -> None:
        self.paused_until = max(self.paused_until, now + min(seconds, _MAX_PAUSE_S))

    def pause_as_asked(
        self, now: float, admission: Admission, least_s: float, asked_s: float
    ) -> None:
        """Wait for `asked_s`, or only `least_s` once a request is answered that was sent after `admission`."""
        self.pause(now, least_s)
        if asked_s > least_s and not self.asked_index:
            self._otherwise_until = self.paused_until
        if asked_s > least_s:
            self.asked_index = max(self.asked_index, admission.index)
        self.pause(now, asked_s)

    def shorten(self) -> None:
        """Take back what a Retry-After added: the provider has answered a request that was sent later."""
        self.paused_until = min(self.paused_until, self._otherwise_until)
        self.asked_index = 0

    def ready_at(self, now: float) -> float:
        """Return when a probe may go: now, or never while another is out."""
        return now if self.probe is None else inf

    def shut(self, now: float, error: ChatError, first_s: float) -> None:
        """Nothing gets through: wait for longer each time, and then try with one."""
        self.asked_index = 0  # the probe finds out
        if self.closed_at is None:
            self.closed_at = now
        backoff_s = self.spread(min(first_s * 2.0 ** min(self.pauses, 10), PAUSE_CAP_S))
        self.pause(now, max(self.retry_after_s(error), backoff_s))
        self.pauses += 1
        self.probing, self.probe = True, None

    def open(self) -> bool:
        """One got through; tell whether the gate was shut."""
        was_shut = self.closed_at is not None
        self.pauses, self.closed_at, self.probing, self.probe = 0, None, False, None
        return was_shut

    def retry_after_s(self, error: ChatError) -> float:
        """Return the seconds a refusal asks to wait, 0 for none: a floor, and never the schedule (R4)."""
        return (error.retry_after or 0.0) * (1 + self._rng.uniform(0, _RETRY_AFTER_SPREAD))

    def spread(self, seconds: float) -> float:
        return seconds * (1 - self._rng.uniform(0, _PAUSE_JITTER))
