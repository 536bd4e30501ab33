"""Whether refusals are a limit or bad luck: a limit refuses more when it is asked for more. No I/O, no clock.

Now and then, when many cuts have not ended the refusals, the limiter stops heeding them and lets the pace grow. Under
a limit a quarter of the requests is refused within a moment, and the next such trial is put off for four times as long.
Otherwise the refusals were luck, and there was nothing to be learned from them.
"""

from __future__ import annotations

__all__ = ["RandomRefusals"]

_MEMORY = 0.06  # of the share of refusals, in requests
_CUTS, _CUTS_IN_VAIN = (
    100.0,
    6.0,
)  # to a trial: where the pace had grown since the last cut, and where it had not
_LATER = 4
_NARROWED = 0.7  # of what was at work at first, and refused all the same
_LUCK = 0.25  # more refusals than that are no luck
_WORSE = 2.5
_PAID = 100  # requests: a trial that took so many before a limit ended it puts off no other


class RandomRefusals:
    """Counts what cutting has brought. While it is `random`, refusals are no reason to send less."""

    __slots__ = ("_cuts", "_lasted", "_most", "_trials", "_widest", "share")

    def __init__(self) -> None:
        self.share = 0.0  # of the latest requests, refusals
        self._most = 0.0  # of them that still are luck; 0: they mean something
        self._cuts = 0.0
        self._trials = 1
        self._lasted = 0
        self._widest = 0.0

    @property
    def random(self) -> bool:
        return self._most > 0

    def sent(self) -> None:
        """Count a request; it is taken for accepted until it is refused, for a refusal takes less time."""
        self.share *= 1 - _MEMORY
        self._lasted += 1

    def refused(self) -> bool:
        """Tell whether this ends a trial."""
        self.share += _MEMORY
        if not 0 < self._most < self.share:
            return False
        self._most = 0.0
        self._trials = 1 if self._lasted >= _PAID else self._trials * _LATER
        return True

    def slowed(self, *, in_vain: bool) -> bool:
        """The pace was cut; `in_vain`: though it had not grown since the last cut. Tell whether to try without."""
        self._cuts += 1 / (_CUTS_IN_VAIN if in_vain else _CUTS)
        return self._cuts >= self._trials and self._is_luck()

    def narrowed(self, at_once: float) -> bool:
        """Fewer are let at work than these; tell whether to try without."""
        self._widest = max(self._widest, at_once)
        return at_once <= _NARROWED * self._widest and self._is_luck()

    def _is_luck(self) -> bool:
        self._cuts = self._widest = 0.0
        self._lasted = 0
        if self.share <= _LUCK:
            self._most = max(_WORSE * self.share, _LUCK)
        return self.random
