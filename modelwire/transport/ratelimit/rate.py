"""How fast requests may be sent: a ramp at the start, then the rate learned from refusals. No I/O and no clock here.

At each of two refusals the provider's token bucket is empty. So the number of requests accepted between them, divided
by the time between them, is the rate at which the bucket is refilled, without bias.
"""

from __future__ import annotations

from math import inf, log, sqrt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelwire.transport.ratelimit.admission import Admission

# The ramp begins with a burst of this many requests.
_RAMP_BURST = 8.0
# After the burst the ramp goes on at this pace.
_RAMP_PER_S = 40.0
# The pace of the ramp doubles in this time as long as calls are queued.
_RAMP_DOUBLING_S = 0.3
# The ramp ends at this pace, above which no limit is assumed.
_RAMP_END_PER_S = 20_000.0
# The ramp grows by at most this time between two polls. A later poll means that the CPU is busy, and
# that refusals which have arrived are not read yet.
_RAMP_POLL_S = 0.05
# If many calls wait for the first request, the ramp begins with this burst: a limit that allows no
# burst would refuse seven of eight.
_CROWD_BURST = 2.0
# Each answer allows this many more requests on the ramp.
_REQUESTS_PER_ANSWER = 2.0

# After an outage the ramp to a known rate begins at this part of it.
_KNOWN_RAMP_PART = 0.25

# The pace is this part of the estimated rate.
PACE_PART = 0.99
# Requests may be sent in bursts of this length.
BURST_S = 0.25
# After the ramp, as many requests as the rate allows in this time may be sent early.
_SLACK_S = 0.025
# The first cut sets this part of the accepted rate, and each later cut at most this part of the old.
_FIRST_CUT = 0.85
_LATER_CUT = 0.97

# After a cut the pace is held for this time.
_HOLD_S = 5.0
# A slow pace is held for the time of this many requests instead.
_HOLD_REQUESTS = 40.0
# The pace is held at most for this time, or for the time of this many requests. Several processes
# that share a limit send few requests each. They should neither test the limit all the time, nor
# leave unused what one of them no longer needs.
_HOLD_MOST_S = 11.0
_HOLD_LEAST_REQUESTS = 11.0
# After that the pace grows by this part a second, and faster the longer it was not refused.
_GROWTH_PER_S = 0.01
# The growth doubles after this part of the time for which the pace was held.
_GROWTH_SCALE = 0.6
# The pace grows at most by this part a second.
_GROWTH_CAP_PER_S = 0.25

# The first estimate is a guess, because the size of the bucket is unknown. Until the second refusal
# the pace is held only for this time.
_GUESS_HOLD_S = 1.5
# It may be held for the time of this many requests instead.
_GUESS_HOLD_REQUESTS = 3.0
# After that it grows by this part a second.
_GUESS_GROWTH_PER_S = 0.5
# If at least this part of the pace was accepted, the bucket may have overflowed: the true rate then
# lies between the accepted rate and the pace, whose logarithms are weighted by this number.
_LIMITED_BY_US = 0.7
_PACE_WEIGHT = 0.15
# The weight of the old estimate, in accepted requests: one or two of them may be chance.
_OLD_WEIGHT_REQUESTS = 1.0

# A small bucket is measured at the first refusal, if it comes within this time: it holds as
# many requests as were accepted until then,
_BURST_WITHIN_S = 2.0
# less the first request, which was sent ahead of the others.
_SENT_AHEAD = 1.0
# A bucket of fewer requests than this is small. Its pace has no slack.
_SMALL_REQUESTS = 8.0
# With a small bucket the first guess is held for this time, and grows by this part a second, because
# a bucket of one request refuses at once.
_SMALL_HOLD_S = 0.7
_SMALL_GROWTH_PER_S = 1.2
# Later the pace is held for this many times as long.
_SMALL_HOLD_FACTOR = 2.0
# A refusal at a pace that has not grown has two requests too close together as its cause, or a bucket
# larger than assumed. The rate falls by at most this part.
_MOST_FALL = 0.1
# After fewer requests than this, the bucket is assumed to be larger by this many requests.
_OFTEN_REQUESTS = 20
_LARGER_REQUESTS = 0.25
# After fewer requests than this the refusal came soon. The rate falls by this part, and by twice as
# much each further time in a row.
_SOON_REQUESTS = 5
_SOON_FALL = 0.03
# More than this many such refusals in a row have another cause, because a pace that is too low for any
# bucket is not refused.
_MOST_PAIRS = 3
# The rate is never estimated lower than this.
_LEAST_PER_S = 1 / 120

# A limit that counts the requests of a time window saves nothing up, so the accepted rate lies below
# it. This part of the pace before the refusal is tried again soon.
_AIM_PART = 0.8
# If the pace was the first guess, this part is tried again instead.
_AIM_PART_OF_GUESS = 0.6
# The pace begins to grow towards that part after this time.
_AIM_HOLD_S = 1.0
# It grows by this part a second then.
_AIM_GROWTH_PER_S = 0.2
# A pace that cuts have reduced to less than this part of the proven one is cut enough.
_CUT_ENOUGH = 0.5
# Up to this many times the rate that the latest cut has set, a pace counts as proven.
_HARDLY_GROWN = 1.03
# If this many times the learned rate is accepted, the limit was raised, and the pace grows by this
# part a second.
_RAISED_FACTOR = 2.0
_RAISED_GROWTH_PER_S = 0.5


class RateEstimate:
    """A token bucket that is filled at the estimated rate. `level` is the number of requests that may be sent now."""

    __slots__ = (
        "aim",
        "at",
        "burst",
        "ceiling",
        "cut_at",
        "cuts",
        "forgotten",
        "held_cuts",
        "level",
        "proven",
        "ramp",
        "rate",
        "rate_after_cut",
        "soon",
    )

    def __init__(self, now: float) -> None:
        # The learned rate and the advertised or stated one, in requests a second.
        self.rate = inf
        self.ceiling = inf
        # The rate that the latest cut has set, and the time of the cut.
        self.rate_after_cut = inf
        self.cut_at = now
        # The learned rate before `forget`, until it is certain that there is no limit.
        self.forgotten = inf
        # The number of cuts that changed the estimate.
        self.cuts = 0
        # The rate after the latest cut of a pace that had grown.
        self.proven = 0.0
        # The number of cuts in a row of a pace that had not grown.
        self.held_cuts = 0
        # The size of the provider's bucket: how many requests it accepted before the first refusal,
        # if that came soon.
        self.burst = inf
        # Below this pace it grows soon after a cut.
        self.aim = 0.0
        # The number of refusals in a row that came soon, at a pace that had not grown.
        self.soon = 0
        self.at = now
        self.level = 0.0
        self.ramp = inf
        self.restart(now, _RAMP_BURST)

    def restart(self, now: float, level: float = 1.0) -> None:
        """Restart the ramp at its first pace; `level` requests may be sent at once."""
        self.at = now
        self.level = level
        self.ramp = _RAMP_PER_S

    def hold_until(self, at: float) -> None:
        """Begin the ramp at this time with a small burst, because many calls wait for the first request."""
        self.restart(at, _CROWD_BURST)

    def ready_at(self, now: float, *, waiting: bool, mirrored: bool) -> float:
        """Return the time at which the next request may be sent.

        If `mirrored`, headers show how many requests are left, and only the ramp limits the pace.
        """
        rate = inf if mirrored else min(self.rate, self.ceiling) * PACE_PART
        if self.ramp == inf and rate == inf:
            return now
        if now > self.at:
            self._refill(now, rate, waiting=waiting)
        if self.level >= 1 or self.ramp == rate == inf:
            return now
        return now + (1 - self.level) / min(rate, self.ramp)

    def wait_s(self, now: float, turn: int, *, mirrored: bool) -> float:
        """Return the seconds until the pace allows the request with this turn; the next request has turn 1."""
        steady = inf if mirrored else min(self.rate, self.ceiling)
        pace = min(steady, self.ramp)
        if pace == inf:
            return 0.0
        gained = max(now - self.at, 0.0) * pace
        most = max(_RAMP_BURST, self.ramp * BURST_S) if self.ramp < steady else 1.0
        level = max(min(self.level + gained, most), min(self.level, _RAMP_BURST))
        return max(self.at - now, 0.0) + max(turn - level, 0.0) / pace

    def _refill(self, now: float, rate: float, *, waiting: bool) -> None:
        elapsed_s = now - self.at
        self.at = now
        if self.ramp < rate:
            burst = max(_RAMP_BURST, self.ramp * BURST_S)
            if waiting:
                elapsed_s = min(elapsed_s, _RAMP_POLL_S)
                grown = self.ramp * 2 ** min(elapsed_s / _RAMP_DOUBLING_S, 20)
                gained = (grown - self.ramp) * _RAMP_DOUBLING_S / log(2)
                self.ramp = grown if grown < _RAMP_END_PER_S else inf
            else:
                gained = self.ramp * elapsed_s
        else:
            early = rate * _SLACK_S if self.takes_bursts else 0.0
            gained = rate * elapsed_s
            burst = 1.0 + early
        self.level = max(min(self.level + gained, burst), min(self.level, _RAMP_BURST))
        if waiting and self.rate < inf:
            self.rate = min(self.rate * (1 + self._growth(now) * min(elapsed_s, 1.0)), self.ceiling)

    def _growth(self, now: float) -> float:
        """Return the growth of the pace a second, as a part of the pace."""
        if self.cuts == 1:
            if self.burst < _SMALL_REQUESTS:
                hold_s = _SMALL_HOLD_S
                growth = _SMALL_GROWTH_PER_S
            else:
                hold_s = max(_GUESS_HOLD_S, _GUESS_HOLD_REQUESTS / self.rate)
                growth = _GUESS_GROWTH_PER_S
        elif self.rate < self.aim:
            hold_s = _AIM_HOLD_S
            growth = _AIM_GROWTH_PER_S
        elif self.rate > _RAISED_FACTOR * self.rate_after_cut:
            return _RAISED_GROWTH_PER_S
        else:
            few_s = min(_HOLD_REQUESTS / self.rate, _HOLD_MOST_S)
            hold_s = max(_HOLD_S, few_s, _HOLD_LEAST_REQUESTS / self.rate)
            if self.burst < _SMALL_REQUESTS:
                hold_s *= _SMALL_HOLD_FACTOR
            beyond = (now - self.cut_at - hold_s) / hold_s
            faster = 1 + (beyond / _GROWTH_SCALE) ** 2
            growth = min(_GROWTH_PER_S * faster, _GROWTH_CAP_PER_S)
        is_held = now - self.cut_at <= hold_s
        return 0.0 if is_held else growth

    @property
    def takes_bursts(self) -> bool:
        """Whether the provider's bucket is not small."""
        return self.burst > _SMALL_REQUESTS

    def is_cut_in_vain(self, now: float) -> bool:
        """Return whether a refusal now cannot come from a limit, because the pace has not grown since the last cut."""
        return (
            self.cuts > 0
            and self.rate >= self.aim
            and self._growth(now) == 0.0
            and (self.takes_bursts or self.held_cuts > _MOST_PAIRS)
        )

    def hold(self, now: float) -> None:
        """Stop the growth of the pace for as long as after a cut."""
        self.cut_at = now

    @property
    def is_at_proven_pace(self) -> bool:
        """Whether the pace is about the one that the latest cut has set, which hardly ever empties a large bucket."""
        has_grown = self.rate > _HARDLY_GROWN * self.rate_after_cut
        return self.cuts > 1 and self.takes_bursts and self.rate >= self.aim and not has_grown

    @property
    def is_cut_enough(self) -> bool:
        """Whether cuts without effect have brought the pace far below the one at which a limit was found."""
        return self.rate < _CUT_ENOUGH * self.proven

    def forget(self, now: float) -> None:
        """Forget a limit that turned out not to exist, and ramp up from the present rate."""
        self.forgotten = self.ramp = self.rate
        self.rate = self.rate_after_cut = inf
        self.at = now
        self.level = 1.0

    @property
    def is_known(self) -> bool:
        """Whether a limit of the rate was learned, advertised or stated."""
        return min(self.rate, self.ceiling) < inf

    def return_to_known(self, now: float) -> None:
        """Ramp up to the known rate after an outage, and hold it as after a cut: the outage has shown nothing of it."""
        self.restart(now)
        self.ramp = _KNOWN_RAMP_PART * min(self.rate, self.ceiling)
        self.hold(now)

    def held_back(self, now: float) -> None:
        """Called while another limit holds requests back: a rate that is not used must not grow."""
        if self.rate < inf and now > self.at:
            self.cut_at += now - self.at
            self._refill(now, min(self.rate, self.ceiling) * PACE_PART, waiting=False)

    def resume(self, at: float) -> None:
        """Send one request at the end of a pause, and the others at even intervals after it."""
        self.level = 1.0
        self.at = at

    def accepted(self, *, mirrored: bool) -> None:
        """Called when a request was answered. On the ramp, more requests may then be sent."""
        if self.ramp < inf and (
            mirrored or (self.burst > _SMALL_REQUESTS and self.ramp < min(self.rate, self.ceiling))
        ):
            self.level += _REQUESTS_PER_ANSWER

    def begin_burst(self, sent: int, seconds: float) -> None:
        """Called at the first refusal of all: `sent` requests were sent in the last `seconds`."""
        if seconds <= _BURST_WITHIN_S:
            self.burst = float(sent)

    def refused_of_burst(self) -> None:
        """Called when a request that was sent before the first refusal is refused, too."""
        if self.cuts <= 1:
            self.burst -= 1

    def _rate_of_small_bucket(self, growth: float, accepted: int, ago_s: float) -> float:
        """Return the rate of a small bucket that the growing pace has just emptied, or 0.0 if the bucket is not small.

        A bucket of one request is empty at once: its rate is the pace of the request before the refused one.
        """
        spare = max(self.burst - _SENT_AHEAD - 1, 0.0)
        if spare == inf:
            return 0.0
        if not growth:
            fall = min(spare / accepted, _MOST_FALL)
            fall_if_soon = min(_SOON_FALL * (2.0**self.soon - 1), 0.5)
            return self.rate * (1 - fall) * (1 - fall_if_soon)
        rate = max(self.rate / (1 + growth * ago_s) - growth, 0.0)
        return rate - sqrt(2 * growth * rate * spare)

    def cut(self, now: float, accepted: int, elapsed_s: float, ago_s: float = 0.0) -> None:
        """Estimate the rate anew after a refusal.

        `accepted` requests were accepted in `elapsed_s`, since the last refusal or the beginning. The refused request
        was sent `ago_s` ago.
        """
        has_estimate = self.rate < inf and self.cuts
        growth = self._growth(now) if has_estimate else 0.0
        self.cut_at = now
        self.held_cuts = 0 if growth else self.held_cuts + 1
        self.aim = 0.0
        if growth and self.takes_bursts:
            self.aim = self.rate * (_AIM_PART_OF_GUESS if self.cuts == 1 else _AIM_PART)
        forgotten = self.forgotten
        self.forgotten = inf
        if accepted <= 0:
            # Nothing was learned; the gate stays closed for longer.
            self.rate = min(self.rate, forgotten)
            return
        if self.rate == inf:
            # The smallest common bucket holds the requests of a second. If less time has passed, the
            # accepted requests are those that the bucket held.
            estimate = _FIRST_CUT * accepted / max(elapsed_s, 1.0)
            if forgotten < inf:
                estimate = max(estimate, forgotten)
        else:
            estimate = self._later_estimate(growth, accepted, elapsed_s, ago_s)
        is_proof = growth > 0 or self.rate == inf
        self.rate = self.rate_after_cut = min(max(estimate, _LEAST_PER_S), self.ceiling)
        if is_proof:
            self.proven = self.rate
        self.ramp = inf
        self.cuts += 1

    def _later_estimate(
        self, growth: float, accepted: int, elapsed_s: float, ago_s: float
    ) -> float:
        """Return the rate after a further refusal: between the present one and that of the accepted requests."""
        estimate = accepted / max(elapsed_s, 1e-3)
        if estimate > _LIMITED_BY_US * self.rate_after_cut:
            estimate = estimate ** (1 - _PACE_WEIGHT) * self.rate**_PACE_WEIGHT
        is_soon = not growth and accepted < _SOON_REQUESTS
        self.soon = self.soon + 1 if is_soon else 0
        if not growth and accepted < _OFTEN_REQUESTS:
            self.burst += _LARGER_REQUESTS
        estimate = max(estimate, self._rate_of_small_bucket(growth, accepted, ago_s))
        weight = accepted / (accepted + _OLD_WEIGHT_REQUESTS)
        weighted: float = self.rate * (estimate / self.rate) ** weight
        return min(weighted, _LATER_CUT * self.rate)


# Before the first refusal, requests are counted in windows of this length.
_WINDOW_S = 5.0


class AcceptedCount:
    """Counts the requests accepted from refusal to refusal; before the first refusal, in the last 5 to 10 s."""

    __slots__ = ("_index", "_started", "_window", "refusals")

    def __init__(self, now: float) -> None:
        # The index and the start of the request that was refused last.
        self._index = 0
        self._started = now
        # The number of refusals since then, including that one.
        self.refusals = 0
        # The start of the previous window and its count, and the start and count of the present one.
        self._window = (now, 0, now, 0)

    def sent(self, now: float, count: int = 1) -> None:
        """Count requests that are sent; this is used until the first refusal."""
        before_at, before, since_at, since = self._window
        if now - since_at >= _WINDOW_S:
            before_at = since_at
            before = since
            since_at = now
            since = 0
        self._window = (before_at, before, since_at, since + count)

    def begin_at(self, admission: Admission) -> None:
        """Begin a new count just before this request, because nothing was accepted before it."""
        self._index = admission.index - self.refusals
        self._window = (admission.started, 0, admission.started, 0)

    def refused(self, admission: Admission) -> None:
        """Begin a new count of accepted requests at this refusal."""
        self._index = admission.index
        self._started = admission.started
        self.refusals = 1

    def restart(self, sent: int, now: float) -> None:
        """Begin a new count after an outage, whose requests were not accepted; `sent` requests were sent so far."""
        if self.refusals:
            self._index = sent
            self._started = now
            self.refusals = 1

    def ignored(self) -> None:
        """Count a refusal that no limit has caused."""
        if self.refusals:
            self.refusals += 1

    def refused_with_the_last(self, admission: Admission) -> None:
        """Count a refusal that arrived together with the last one."""
        self.refusals += admission.index > self._index

    def before(self, admission: Admission, sent: int) -> tuple[int, float]:
        """Return how many of the `sent` requests were accepted before this refused one, and in how many seconds."""
        if self.refusals:
            return admission.index - self._index - self.refusals, admission.started - self._started
        before_at, before, _, since = self._window
        return before + since - (sent - admission.index) - 1, admission.started - before_at
