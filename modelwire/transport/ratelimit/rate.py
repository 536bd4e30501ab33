"""How fast requests may leave, as far as experience tells: the ramp at the start, then the rate learned from refusals.

No I/O, no clock. Between two refusals the provider's bucket is empty at both ends, so what it took in between, over the
time that passed, is its refill rate without bias: R8 and R10 of the reliability page, where the constants come from.
"""

from __future__ import annotations

from math import inf, log, sqrt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelwire.transport.ratelimit.admission import Admission

__all__ = ["BURST_S", "AcceptedCount", "RateEstimate"]

# R10: a burst, then 40 requests a second, doubled every 0.3 s for as long as somebody waits.
_RAMP_BURST, _RAMP_PER_S, _RAMP_DOUBLING_S, _RAMP_END_PER_S = 8.0, 40.0, 0.3, 20_000.0
_RAMP_LOOK_S = 0.05  # a look that comes later is late for want of CPU: what has been refused meanwhile is not yet read
_CROWD_BURST = 2.0  # R10 has 8: a limit that allows no burst would refuse seven of them
_GRANT = 2.0  # what an answer adds to the ramp: as the provider takes what it gets, so it gets more
# R8: pace just below the estimate, in bursts of a quarter of a second.
_BELOW, BURST_S, SLACK_S = 0.99, 0.25, 0.025
_FIRST_CUT, _LATER_CUT = 0.85, 0.97
# R8: hold still, then grow, faster and faster. For 5 s, or where requests are few, 40 of them; but no longer than 11 s,
# or than 11 requests take. Several processes that share a limit have few each, and must neither doubt it all the time
# nor leave what one of them gave up to nobody.
_HOLD_S, _HOLD, _HOLD_MOST_S, _HOLD_LEAST = 5.0, 40.0, 11.0, 11.0
_GROWTH_PER_S, _GROWTH_SCALE, _GROWTH_CAP_PER_S = 0.01, 0.6, 0.25
# The first estimate is a guess, from how deep the bucket was: until a second refusal, grow soon and fast.
_GUESS_HOLD_S, _GUESS_HOLD, _GUESS_GROWTH_PER_S = 1.5, 3.0, 0.5
# Where what was taken is about what we had meant to send, the bucket may have been full, and overflowed: then the true
# rate lies between what was taken and our pace at the refusal.
_LIMITED_BY_US, _TRUST_PACE = 0.7, 0.15
_CHANCE = 1.0
# A bucket that holds few (P30) is learned from the first refusal: how many were taken until then, where that was soon,
# less the one that went ahead. It is paced by the gap, without slack; the first guess grows faster, for a bucket of one
# refuses at once, and later the pace is held for twice as long.
_BURST_WITHIN_S, _GONE_AHEAD, _SMALL = 2.0, 1.0, 8.0
_SMALL_HOLD_S, _SMALL_GROWTH_PER_S, _HOLD_SMALL = 0.7, 1.2, 2.0
# A refusal at a pace that has not grown is a pair that came too close, or the bucket is larger than we think: the rate
# falls by a tenth at most. After fewer than `_SOON` requests, again and again, it is doubted twice as much each time.
_AT_MOST, _OFTEN, _LARGER = 0.1, 20, 0.25
# But more than `_PAIRS` in a row are neither: a pace below that of any bucket is refused no more.
_SOON, _DOUBT, _PAIRS = 5, 0.03, 3
_LEAST_PER_S = 1 / 120
# A limit that counts the requests of a window saves nothing up: what was taken between two refusals, a second, lies
# below it. A share of the pace that had grown until a refusal is soon tried again; a smaller one after the guess.
_AIM, _AIM_OF_GUESS, _AIM_HOLD_S, _AIM_GROWTH_PER_S = 0.8, 0.6, 1.0, 0.2
# A pace of twice what was learned is refused no more: the limit is another one, and the pace grows faster.
_ENOUGH = 0.5
_LIFTED, _LIFTED_GROWTH_PER_S = 2.0, 0.5


class RateEstimate:
    """A bucket filled at the rate we believe in. `level` is how many requests may leave now."""

    __slots__ = (
        "aim",
        "at",
        "burst",
        "ceiling",
        "cut_at",
        "cuts",
        "held_cuts",
        "level",
        "proven",
        "ramp",
        "rate",
        "rate_after_cut",
        "soon",
    )

    def __init__(self, now: float, ceiling: float = inf) -> None:
        self.rate = inf  # requests a second, learned
        self.ceiling = ceiling  # the same, advertised by the provider or stated by the user
        self.rate_after_cut = inf
        self.cut_at = now
        self.cuts = 0  # that taught something
        self.proven = 0.0  # what the latest cut has left that was not in vain
        self.held_cuts = 0  # in a row, of a pace that had not grown
        self.burst = (
            inf  # how many the provider took before it first refused one, where that was soon
        )
        self.aim = 0.0  # the pace below which it grows soon
        self.soon = 0  # refusals in a row, each after a few requests at a pace that had not grown
        self.at = now
        self.level = 0.0
        self.ramp = inf
        self.restart(now, _RAMP_BURST)

    def restart(self, now: float, level: float = 1.0) -> None:
        """Ramp up again from the beginning."""
        self.at, self.level, self.ramp = now, level, _RAMP_PER_S

    def hold_until(self, at: float) -> None:
        """A crowd waits to hear of the first request of all: its ramp begins then, and with few."""
        self.restart(at, _CROWD_BURST)

    def ready_at(self, now: float, *, waiting: bool, mirrored: bool) -> float:
        """Return when the next request may leave; `mirrored`: the provider tells what it has left, the ramp is all."""
        rate = inf if mirrored else min(self.rate, self.ceiling) * _BELOW
        if self.ramp == inf and rate == inf:
            return now
        if now > self.at:
            self._refill(now, rate, waiting=waiting)
        if self.level >= 1 or self.ramp == rate == inf:
            return now
        return now + (1 - self.level) / min(rate, self.ramp)

    def _refill(self, now: float, rate: float, *, waiting: bool) -> None:
        elapsed_s, self.at = now - self.at, now
        if self.ramp < rate:
            burst = max(_RAMP_BURST, self.ramp * BURST_S)
            if waiting:
                elapsed_s = min(elapsed_s, _RAMP_LOOK_S)
                grown = self.ramp * 2 ** min(elapsed_s / _RAMP_DOUBLING_S, 20)
                gained = (grown - self.ramp) * _RAMP_DOUBLING_S / log(2)
                self.ramp = grown if grown < _RAMP_END_PER_S else inf
            else:
                gained = self.ramp * elapsed_s
        else:
            gained, burst = rate * elapsed_s, 1.0 + (rate * SLACK_S if self.takes_bursts else 0.0)
        self.level = max(min(self.level + gained, burst), min(self.level, _RAMP_BURST))
        if waiting and self.rate < inf:
            self.rate = min(self.rate * (1 + self._growth(now) * min(elapsed_s, 1.0)), self.ceiling)

    def _growth(self, now: float) -> float:
        """Return by how much of itself the pace grows a second."""
        if self.cuts == 1:
            if self.burst < _SMALL:
                return _SMALL_GROWTH_PER_S if now - self.cut_at > _SMALL_HOLD_S else 0.0
            return (
                _GUESS_GROWTH_PER_S
                if now - self.cut_at > max(_GUESS_HOLD_S, _GUESS_HOLD / self.rate)
                else 0.0
            )
        if self.rate < self.aim:
            return _AIM_GROWTH_PER_S if now - self.cut_at > _AIM_HOLD_S else 0.0
        if self.rate > _LIFTED * self.rate_after_cut:
            return _LIFTED_GROWTH_PER_S
        hold_s = max(_HOLD_S, min(_HOLD / self.rate, _HOLD_MOST_S), _HOLD_LEAST / self.rate)
        if self.burst < _SMALL:
            hold_s *= _HOLD_SMALL
        held = (now - self.cut_at - hold_s) / hold_s
        return (
            min(_GROWTH_PER_S * (1 + (held / _GROWTH_SCALE) ** 2), _GROWTH_CAP_PER_S)
            if held > 0
            else 0.0
        )

    @property
    def takes_bursts(self) -> bool:
        return self.burst > _SMALL

    def is_cut_in_vain(self, now: float) -> bool:
        """Whether a refusal now is none of a limit's: the pace has not grown since the last cut."""
        return (
            self.cuts > 0
            and self.rate >= self.aim
            and self._growth(now) == 0.0
            and (self.takes_bursts or self.held_cuts > _PAIRS)
        )

    @property
    def is_cut_enough(self) -> bool:
        """Whether cuts in vain have brought the pace far below the one at which a limit was found."""
        return self.rate < _ENOUGH * self.proven

    def forget(self, now: float) -> None:
        """What was learned is no limit: go on from this pace as at the start."""
        ramp, self.rate, self.rate_after_cut = self.rate, inf, inf
        self.restart(now)
        self.ramp = ramp

    def resume(self, at: float) -> None:
        """Send one at the end of a pause, and the others at even distances from it."""
        self.level, self.at = 1.0, at

    def accepted(self, *, mirrored: bool) -> None:
        """An answer has come."""
        if self.ramp < inf and (
            mirrored or (self.burst > _SMALL and self.ramp < min(self.rate, self.ceiling))
        ):
            self.level += _GRANT

    def begin_burst(self, sent: int, seconds: float) -> None:
        """The first refusal of all: `sent` requests have gone since the first, `seconds` ago."""
        if seconds <= _BURST_WITHIN_S:
            self.burst = float(sent)

    def refused_of_burst(self) -> None:
        """One of the requests that were sent before the first refusal has been refused."""
        if self.cuts <= 1:
            self.burst -= 1

    def _rate_of_small_bucket(self, growth: float, accepted: int, ago_s: float) -> float:
        """Return the rate at which the bucket was full until the pace outgrew it, and is drained now. See `burst`.

        A bucket of one is drained at once: the pace of the request before the refused one was what it is filled with.
        """
        spare = max(self.burst - _GONE_AHEAD - 1, 0.0)
        if spare == inf:
            return 0.0
        if not growth:
            return (
                self.rate
                * (1 - min(spare / accepted, _AT_MOST))
                * (1 - min(_DOUBT * (2.0**self.soon - 1), 0.5))
            )
        rate = max(self.rate / (1 + growth * ago_s) - growth, 0.0)
        return rate - sqrt(2 * growth * rate * spare)

    def cut(self, now: float, accepted: int, elapsed_s: float, ago_s: float = 0.0) -> None:
        """A refusal of what was sent `ago_s`: since the last one, or the beginning, `accepted` were taken."""
        growth, self.cut_at = self._growth(now) if self.rate < inf and self.cuts else 0.0, now
        self.held_cuts = 0 if growth else self.held_cuts + 1
        self.aim = 0.0
        if growth and self.takes_bursts:
            self.aim = self.rate * (_AIM_OF_GUESS if self.cuts == 1 else _AIM)
        if accepted <= 0:
            return  # nothing learned; the gate stays shut for longer
        if self.rate == inf:
            # A bucket of a second is the smallest common one, and what a shorter time took was its filling.
            estimate = _FIRST_CUT * accepted / max(elapsed_s, 1.0)
        else:
            estimate = accepted / max(elapsed_s, 1e-3)
            if estimate > _LIMITED_BY_US * self.rate_after_cut:
                estimate = estimate ** (1 - _TRUST_PACE) * self.rate**_TRUST_PACE
            self.soon = 0 if growth or accepted >= _SOON else self.soon + 1
            if not growth and accepted < _OFTEN:
                self.burst += _LARGER  # it may be a larger one, and we send too much
            estimate = max(estimate, self._rate_of_small_bucket(growth, accepted, ago_s))
            weight = accepted / (
                accepted + _CHANCE
            )  # one or two may be chance: they move the rate little
            estimate = min(self.rate * (estimate / self.rate) ** weight, _LATER_CUT * self.rate)
        is_proof = growth > 0 or self.rate == inf
        self.rate = self.rate_after_cut = min(max(estimate, _LEAST_PER_S), self.ceiling)
        if is_proof:
            self.proven = self.rate
        self.ramp = inf
        self.cuts += 1


_WINDOW_S = 5.0


class AcceptedCount:
    """Counts the requests taken from refusal to refusal; before the first, in the last 5 to 10 s."""

    __slots__ = ("_index", "_started", "_window", "refusals")

    def __init__(self, now: float) -> None:
        self._index, self._started = 0, now  # of the request that was refused
        self.refusals = 0  # since that one, itself included
        self._window = (
            now,
            0,
            now,
            0,
        )  # when a count was begun, and how many were sent since: twice

    def sent(self, now: float) -> None:
        """Count a request; needed until the first refusal."""
        before_at, before, since_at, since = self._window
        if now - since_at >= _WINDOW_S:
            before_at, before, since_at, since = since_at, since, now, 0
        self._window = (before_at, before, since_at, since + 1)

    def refused(self, admission: Admission) -> None:
        self._index, self._started, self.refusals = admission.index, admission.started, 1

    def ignored(self) -> None:
        """Count a refusal that says nothing of a limit."""
        if self.refusals:
            self.refusals += 1

    def refused_with_the_last(self, admission: Admission) -> None:
        """One of many that were refused at the same time."""
        self.refusals += admission.index > self._index

    def before(self, admission: Admission, sent: int) -> tuple[int, float]:
        """Return how many of the `sent` requests were taken before `admission` was refused, and in how many seconds."""
        if self.refusals:
            return admission.index - self._index - self.refusals, admission.started - self._started
        before_at, before, _, since = self._window
        return before + since - (sent - admission.index) - 1, admission.started - before_at
