"""Learns the limits of a key from its answers and refusals. No I/O and no clock here; `now` is passed in.

A refusal has one of four causes, and each has its own consequence:

- It concerns its own call only (`own_refusals.py`): the other calls go on as before.
- It is random (`random_refusals.py`): it is ignored.
- The provider limits the rate (HTTP 429): the pace is cut.
- The provider is overloaded (HTTP 503 or 529): fewer requests run at a time.

If no request succeeds any more, the gate closes and lets single probes through. `docs/reliability.md` ("Rate limits")
describes the behaviour.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from modelwire.errors import ChatError, RetryClass
from modelwire.transport.ratelimit.admission import Admission, copy_for_followers
from modelwire.transport.ratelimit.concurrency import ConcurrencyLimit
from modelwire.transport.ratelimit.gate import PAUSE_CAP_S, Gate
from modelwire.transport.ratelimit.limits import change_of
from modelwire.transport.ratelimit.own_refusals import Answers, count_own_refusal
from modelwire.transport.ratelimit.random_refusals import (
    FEW_SENT,
    Onset,
    RandomRefusals,
    Suspicion,
)
from modelwire.transport.ratelimit.rate import BURST_S, AcceptedCount, RateEstimate

if TYPE_CHECKING:
    from random import Random

    from modelwire.transport.ratelimit.headers import Advertised
    from modelwire.transport.ratelimit.limits import Change

# The first pause after a refusal before which nothing was accepted lasts this long.
_PAUSE_FIRST_S = 1.0
# This many overloads in a row close the gate.
_OVERLOADS_TO_CLOSE = 3
# The first probe after an overload or an outage is sent after this time.
_PROBE_FIRST_S = 0.5
# A pace counts as long proven only after this many requests.
_LONG_PROVEN_REQUESTS = 200
# At most one change of the limits is reported within this time.
_CHANGE_EVERY_S = 1.0


class Congestion:
    """The pace, the concurrency limit and the gate of one key, adjusted by each refusal."""

    def __init__(self, now: float, rng: Random, name: str) -> None:
        self.name = name
        # The number of requests that were ever granted.
        self.sent = 0
        # The number of granted requests that have not ended.
        self.in_flight = 0
        # True once any request was answered.
        self.proven = False
        self.rate = RateEstimate(now)
        self.concurrency = ConcurrencyLimit()
        self.gate = Gate(now, rng)
        self.accepted = AcceptedCount(now)
        self.answers = Answers()
        self.random_refusals = RandomRefusals()
        self.last_refusal: ChatError | None = None
        # The latest change of the limits that was not yet reported.
        self.change: Change | None = None
        self._changed_at = -inf
        # The index of the latest request at the last cut. Only requests sent after it may cause
        # another cut, or show that the trouble is over.
        self.cut_index = 0
        # The index of the last cut after which one refusal was not followed by another cut.
        self._spared_cut = -1
        # The number of requests sent when the first refusal of a limit was read.
        self._burst_sent = 0
        self._suspicion = Suspicion()
        # True while the gate is closed because of an overload or an outage.
        self._was_down = False

    def rejected(self, error: ChatError) -> None:
        """Called when a call found that the key, its credit or the model is invalid."""
        self.last_refusal = copy_for_followers(error)

    def recovered(self, now: float) -> bool:
        """Open the gate, because a request sent after the last cut was answered. Return whether it was closed."""
        self.concurrency.overloads = 0
        if not self.gate.open():
            return False
        is_pace_known = self._was_down and self.rate.is_known
        self._was_down = False
        was_narrowed = self.concurrency.reopen(keeps_unused=is_pace_known)
        if is_pace_known:
            self.rate.return_to_known(now)
            self.accepted.restart(self.sent, now)
        elif was_narrowed or self.rate.rate == inf:
            self.rate.restart(now)
        self.note("resumed", now)
        return True

    def refused(
        self, admission: Admission, now: float, error: ChatError, advertised: Advertised | None
    ) -> None:
        """Called when a request was refused. Find the cause and slow down accordingly."""
        admission.refusals += 1
        if self._concerns_own_call(admission, now):
            self.accepted.ignored()
            if self.rate.rate < inf:
                self.pause(now, min(1 / self.rate.rate, PAUSE_CAP_S))
            return
        trial_failed = self.random_refusals.refused()
        if self.random_refusals.random and not self.gate.probing:
            self.accepted.ignored()
            return
        onset = None
        is_rate_known = self.rate.rate < inf
        is_limit_known = is_rate_known or self.concurrency.most < inf or self.gate.probing
        if not (is_limit_known or trial_failed):
            onset = self._suspicion.refused(admission.index, self._onset_of(admission))
            if onset.accepted > 0 and not self._suspicion.proves_limit(self.sent):
                if self.sent <= FEW_SENT:
                    # A small bucket that is empty refuses the next request too, so the outcome of
                    # the requests in flight is awaited first.
                    asked_s = min(self.gate.retry_after_s(error), PAUSE_CAP_S)
                    self._pause_as_asked(now, admission, now - admission.started, asked_s)
                return
            self._suspicion.clear()
        if error.retry_class is RetryClass.THROTTLE:
            self._throttled(admission, now, error, onset, advertised)
        else:
            self._overloaded(admission, now, error)

    def _concerns_own_call(self, admission: Admission, now: float) -> bool:
        closed_at = self.gate.closed_at
        closed_s = None if closed_at is None else now - closed_at
        return count_own_refusal(admission, self.answers, closed_s)

    def _onset_of(self, admission: Admission) -> Onset:
        accepted, elapsed_s = self.accepted.before(admission, self.sent)
        return Onset(accepted, elapsed_s, self.sent)

    def _throttled(
        self,
        admission: Admission,
        now: float,
        error: ChatError,
        onset: Onset | None,
        advertised: Advertised | None,
    ) -> None:
        """Cut the pace after an HTTP 429, unless the last cut already covers this request."""
        if admission.index <= self.cut_index:
            self._refused_with_the_last(admission, now, error)
            return
        in_vain = self.rate.is_cut_in_vain(now)
        if in_vain and self.rate.is_cut_enough and self.random_refusals.may_be_random:
            self._refused_by_chance(now, advertised)
            return
        if self._is_single():
            self._keep_pace(admission, now, error)
            return
        self.last_refusal = copy_for_followers(error)
        if onset is None:
            onset = self._onset_of(admission)
        accepted = onset.accepted
        elapsed_s = onset.elapsed_s
        if not self.rate.cuts:
            self._burst_sent = onset.sent
            self.rate.begin_burst(onset.taken, elapsed_s)
        self.accepted.refused(admission)
        self.cut_index = self.sent
        if advertised is not None:
            advertised.refused(admission)
        self.rate.cut(now, accepted, elapsed_s, now - admission.started)
        if accepted <= 0:
            self._close_gate(now, error, _PAUSE_FIRST_S)
        elif advertised is None and self.random_refusals.slowed(in_vain=in_vain):
            self.rate.forget(now)
            self.pause(now, 0.0)  # A pause that has begun still holds.
        else:
            self._pause_after_cut(now, admission, error)

    def _pause_after_cut(self, now: float, admission: Admission, error: ChatError) -> None:
        self.gate.pauses = 0
        asked_s = self.gate.retry_after_s(error)
        least_s = self.gate.spread(max(BURST_S, min(1 / self.rate.rate, PAUSE_CAP_S)))
        self._pause_as_asked(now, admission, least_s, asked_s)
        self.note("cut", now)

    def _refused_with_the_last(self, admission: Admission, now: float, error: ChatError) -> None:
        """Count a refusal of an attempt that was sent before the last reduction of the limit."""
        self.accepted.refused_with_the_last(admission)
        if admission.index <= self._burst_sent:
            self.rate.refused_of_burst()
        if error.retry_after is not None:
            self._pause_as_asked(now, admission, 0.0, error.retry_after)

    def _is_single(self) -> bool:
        """Return whether this is the first refusal since the last cut, at a pace that is hardly ever refused."""
        is_first = self._spared_cut < self.cut_index
        is_long_proven = self.sent >= _LONG_PROVEN_REQUESTS and self.rate.is_at_proven_pace
        return is_first and is_long_proven and self.random_refusals.are_rare

    def _keep_pace(self, admission: Admission, now: float, error: ChatError) -> None:
        """Count a refusal that the pace may not have caused: the pace stays, and does not grow for a while."""
        self._spared_cut = self.cut_index
        self.accepted.ignored()
        self.rate.hold(now)
        if error.retry_after is not None:
            self._pause_as_asked(now, admission, 0.0, error.retry_after)

    def _refused_by_chance(self, now: float, advertised: Advertised | None) -> None:
        """Count a random refusal, which a lower pace would not have avoided."""
        self.accepted.ignored()
        if advertised is None and self.random_refusals.slowed(in_vain=True):
            self.rate.forget(now)

    def _overloaded(self, admission: Admission, now: float, error: ChatError) -> None:
        """Narrow the concurrency after an HTTP 503 or 529; close the gate after several in a row."""
        self.last_refusal = copy_for_followers(error)
        is_narrower = self.narrow(admission, now, in_a_row=True)
        if error.retry_after is not None:
            self._pause_as_asked(now, admission, 0.0, self.gate.retry_after_s(error))
        is_only_request = not self.proven and self.in_flight <= 1
        are_many = self.concurrency.overloads >= _OVERLOADS_TO_CLOSE
        if is_narrower and (self.gate.probing or is_only_request or are_many):
            self.start_probing(now, error)

    def narrow(self, admission: Admission, now: float, *, in_a_row: bool) -> bool:
        """Allow fewer requests in flight.

        Return False if the last cut already covers this request, or if narrowing has not helped
        before.
        """
        if admission.index <= self.cut_index:
            return False
        self.cut_index = self.sent
        at_once = min(self.concurrency.most, float(self.in_flight))
        if in_a_row and not self.concurrency.overloads and self.random_refusals.narrowed(at_once):
            self.concurrency.open()
            return False
        self.concurrency.narrow(at_once, in_a_row=in_a_row)
        self.rate.restart(now)
        self.note("cut", now)
        return True

    def start_probing(self, now: float, error: ChatError) -> None:
        """Close the gate after an overload or in an outage, and let single probes through."""
        self._was_down = True
        self._close_gate(now, error, _PROBE_FIRST_S)

    def _close_gate(self, now: float, error: ChatError, first_s: float) -> None:
        """Close the gate; the first probe is sent after `first_s`, later ones after longer pauses."""
        self.gate.shut(now, error, first_s)
        self.rate.resume(self.gate.paused_until)
        self.cut_index = self.sent
        self.note("half_open", now)

    def pause(self, now: float, seconds: float) -> None:
        """Send no request for `seconds`, then begin with one request at the present pace."""
        self.gate.pause(now, seconds)
        self.rate.resume(self.gate.paused_until)

    def _pause_as_asked(
        self, now: float, admission: Admission, least_s: float, asked_s: float
    ) -> None:
        self.gate.pause_as_asked(now, admission, least_s, asked_s)
        self.rate.resume(self.gate.paused_until)

    def note(self, kind: str, now: float) -> None:
        """Record a change of the limits, for the observers of the next call that ends."""
        if now - self._changed_at >= _CHANGE_EVERY_S:
            self._changed_at = now
            self.change = change_of(self, kind, now)
