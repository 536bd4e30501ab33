"""Decides whether refusals are a limit or bad luck: a limit refuses more when it is asked for more. No I/O, no clock.

As long as no limit is known, a refusal counts as bad luck until several come close together (`Suspicion`): at a pace
above its limit a provider refuses at least every second request, bad luck a few in a hundred.

Now and then, when many cuts have not ended the refusals, the limiter stops heeding them and lets the pace grow. Under
a limit a quarter of the requests is refused within a moment, and the next such trial is put off for four times as long.
Otherwise the refusals were luck, and there was nothing to be learned from them.
"""

from __future__ import annotations

__all__ = ["FEW_SENT", "Onset", "RandomRefusals", "Suspicion"]

# A cumulative sum of log-likelihood ratios (Page's test), in units of one accepted request: a refusal speaks for a
# limit, which refuses half of all, 3.6 times as strongly as an accepted request speaks for chance, which refuses one in
# twenty: ln(0.5 / 0.05) / ln(0.95 / 0.5).
_REFUSED_WEIGHT = 3.6
# The sum that proves a limit: five refusals, with one accepted request among them. Among the first requests of a key
# three are enough: there a bucket that holds few is common, and each refusal is a large part of all.
_PROOF, _PROOF_OF_FEW, FEW_SENT = 16.5, 9.5, 64
_PROOF_OF_FIRST, _FIRST_SENT = 6.5, 8  # and two, running, among the very first

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


class Onset:
    """The first of some refusals that came close together, and what the provider had taken before it."""

    __slots__ = ("accepted", "elapsed_s", "sent", "taken")

    def __init__(self, accepted: int, elapsed_s: float, sent: int) -> None:
        self.accepted = accepted
        self.elapsed_s = elapsed_s
        self.sent = sent  # until the refusal was read, the refused request included
        self.taken = sent - 1  # of these, as far as no refusal of them has been read


class Suspicion:
    """Adds up what speaks for a limit, in the order of sending, until a limit is proven or chance explains it.

    A refusal takes less time than an answer: what was sent before a refused request and was not refused is accepted.
    """

    __slots__ = ("_level", "_refused_index", "onset")

    def __init__(self) -> None:
        self._level = 0.0
        self._refused_index = 0
        self.onset: Onset | None = None

    def refused(self, index: int, onset: Onset) -> Onset:
        """Count the refusal of the request with this index. Return the onset of its series: `onset` if it is new."""
        accepted = max(index - self._refused_index - 1, 0)
        self._refused_index = max(self._refused_index, index)
        if self.onset is None or self._level <= accepted:
            self.onset = onset
        elif index <= self.onset.sent:
            self.onset.taken -= 1
        self._level = max(self._level - accepted, 0.0) + _REFUSED_WEIGHT
        return self.onset

    def proves_limit(self, sent: int) -> bool:
        if sent > FEW_SENT:
            return self._level >= _PROOF
        return self._level >= (_PROOF_OF_FEW if sent > _FIRST_SENT else _PROOF_OF_FIRST)

    def clear(self) -> None:
        self._level, self.onset = 0.0, None


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

    @property
    def may_be_luck(self) -> bool:
        return self.share <= _LUCK

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
