"""Learns from overloads how many requests may be in flight at a time. No I/O and no clock here."""

from __future__ import annotations

from math import inf

# The first overload multiplies the limit by this.
_FIRST_FACTOR = 0.9
# Each further overload in a row multiplies the limit by this.
_LATER_FACTOR = 0.7
# The limit grows by this part of itself after as many answers as it allows requests.
_GROWTH = 0.03
# Answers count only while at least this part of the limit is in use.
_IN_USE = 0.9


class ConcurrencyLimit:
    """The maximum number of requests in flight, which overloads reduce and answers raise."""

    __slots__ = ("_answers", "_unused", "full", "most", "overloads")

    def __init__(self) -> None:
        # At most this many requests may be in flight; infinity if no limit is known.
        self.most = inf
        # The number that was in flight at the first overload.
        self.full = inf
        # The limit before the first overload, if so few requests were in flight that it held none back.
        self._unused: float | None = None
        # The number of overloads in a row.
        self.overloads = 0
        # The number of answers since the limit last changed.
        self._answers = 0

    def admits(self, in_flight: int) -> bool:
        """Return whether one more request may be sent. One at a time is always allowed."""
        return in_flight < self.most or not in_flight

    def answered(self, in_flight: int) -> None:
        """Called when a request was answered. Raise the limit after enough answers."""
        if self.most == inf or in_flight < _IN_USE * self.most:
            return
        self._answers += 1
        if self._answers >= self.most:
            self.most += max(1.0, _GROWTH * self.most)
            self._answers = 0

    def narrow(self, at_once: float, *, in_a_row: bool) -> None:
        """Reduce the limit below `at_once`, the number of requests in flight; with `in_a_row`, count an overload."""
        if not self.overloads:
            self.full = at_once
            self._unused = self.most if at_once < _IN_USE * self.most else None
        factor = _LATER_FACTOR if self.overloads else _FIRST_FACTOR
        self.most = max(1.0, at_once * factor)
        self.overloads += in_a_row
        self._answers = 0

    def open(self) -> None:
        """Remove the limit."""
        self.most = self.full = inf

    def reopen(self, *, keeps_unused: bool = False) -> bool:
        """Set the limit below the number that was too high before. Return whether there was such a number.

        With `keeps_unused` a limit that held no request back is set again as it was.
        """
        was_too_high = self.full
        self.full = inf
        if was_too_high == inf:
            return False
        self.most = max(1.0, _LATER_FACTOR * was_too_high)
        if keeps_unused and self._unused is not None:
            self.most = self._unused
        return True

    @property
    def places(self) -> int | None:
        """The maximum number of requests in flight, None without a limit."""
        if self.most == inf:
            return None
        return int(self.most)
