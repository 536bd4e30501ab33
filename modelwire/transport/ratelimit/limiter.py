"""Who may send, and when: the state that all calls of one key share. No I/O and no clock here; `now` is passed in.

    limiter.admit(admission)                # granted at once, or in the queue
    limiter.poll(admission, now)            # seconds until the next look, None once it is granted
    limiter.answered(admission, now)        # a 200 has begun
    limiter.failed(admission, now, error)   # or this
    limiter.leave(admission, now)           # always, at the end: the place is free

Single calls go ahead of the rows of batches, and retried work ahead of new work. The head of the queue keeps the time
for all others: whoever lets it go wakes the next one, so there is no timer, thread or task here, and nobody wakes who
cannot go. Rules R5-R12 of the reliability page.
"""

from __future__ import annotations

from collections import deque
from math import inf
from threading import RLock
from typing import TYPE_CHECKING

from modelwire.errors import (
    AuthenticationError,
    ChatError,
    ConnectFailed,
    ProviderError,
    QuotaExhausted,
    RetryClass,
    Timeout,
)
from modelwire.transport.ratelimit.admission import Admission, AdmissionQueue, copy_for_followers
from modelwire.transport.ratelimit.concurrency import ConcurrencyLimit
from modelwire.transport.ratelimit.gate import PAUSE_CAP_S, Gate
from modelwire.transport.ratelimit.limits import change_of, limits_of
from modelwire.transport.ratelimit.minute_quota import MinuteQuota
from modelwire.transport.ratelimit.own_refusals import Answers, count_own_refusal
from modelwire.transport.ratelimit.random_refusals import (
    FEW_SENT,
    Onset,
    RandomRefusals,
    Suspicion,
)
from modelwire.transport.ratelimit.rate import BURST_S, AcceptedCount, RateEstimate
from modelwire.transport.ratelimit.retry_budget import RetryBudget
from modelwire.transport.retry import is_refusal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from random import Random

    from modelwire.transport.ratelimit.headers import Advertised
    from modelwire.transport.ratelimit.limits import Change, Limits

__all__ = ["AdaptiveRateLimiter"]

_PAUSE_FIRST_S = 1.0  # R6
# The first request of a key finds out for all whether it is good and has credit: they wait for as long as a refusal
# takes. A few single calls made at the same moment do not.
_ALONE_S, _FEW, _FEW_ALONE_S = 0.3, 5, 0.005
_OVERLOADS_TO_HALF_OPEN, _PROBE_FIRST_S = 3, 0.5  # R11
_OUTAGE_PATIENCE_S = 600.0  # how long the rows of a batch wait for a provider that fails and fails
_UNPROVEN_PATIENCE_S = 60.0  # and for one that has never answered
_SILENCE_S = 30.0  # a batch that waits that long for its provider says so
_WATCH_S = 5.0  # however it came that nobody woke us
_RETIME_S = 1.0  # the head of the queue looks again at least so often: the pace may have grown
_LEAST_S = 0.001  # a timer that rings at the very moment finds t + 1e-17 == t, and spins
_EXHAUSTED_S = 5.0  # the rows of a batch take another one's word that nobody is let in
_EVENT_EVERY_S = 1.0
# So many probes of retried calls are refused one after the other: a call that was never refused tries next, for there
# may be no other fault than theirs.
_RETRIED_PROBES = 3


class AdaptiveRateLimiter:
    """See the module. `rng` spreads the pauses."""

    def __init__(self, now: float, rng: Random, *, name: str = "") -> None:
        self.name = name
        self._lock = RLock()
        # By calls that the garbage collector ended, inside of our lock.
        self._left: deque[tuple[Admission, bool]] = deque()
        self._queue = AdmissionQueue()
        self._head: Admission | None = None  # who keeps the time
        self._head_at = inf
        self.used_at = now
        self.in_flight = 0
        self.sent = 0  # how many were ever granted
        self._first: Admission | None = None  # the first of them, until something is heard of it
        self.stated: tuple[float | None, float | None] = (
            None,
            None,
        )  # by the user: requests, tokens a minute
        self._quota: MinuteQuota | None = None  # of the requests that the user states
        self.share = 1.0  # ours of what is stated or advertised, where several processes divide it among them
        self.rate = RateEstimate(now)
        self.random_refusals = RandomRefusals()
        self._suspicion = Suspicion()
        self._burst_sent = 0  # how many had been sent when the first refusal of a limit was read
        self._answers = Answers()
        self.advertised: Advertised | None = None  # made when a header says something
        self.gate = Gate(now, rng)
        self.last_refusal: ChatError | None = None  # the last refusal
        self._exhausted_at = -inf
        # The last cut: only what was sent after it may cut again, or say that it is over (R7).
        self._cut_index = 0
        self._accepted = AcceptedCount(now)
        self.concurrency = ConcurrencyLimit()
        self._budget = RetryBudget()
        self._proven = False
        self._outage = False
        self._reported: float | None = (
            None  # the reading of the clock that tells one long wait from another
        )
        self.change: Change | None = None
        self._changed_at = -inf

    def state(
        self, requests_per_minute: float | None, tokens_per_minute: float | None, now: float
    ) -> None:
        """Take the user's word for the provider's limits; None for what they do not know."""
        with self._lock:
            self.stated = (requests_per_minute, tokens_per_minute)
            before, self._quota = self._quota, None
            if requests_per_minute is not None:
                self._quota = MinuteQuota(requests_per_minute * self.share, before)
            if tokens_per_minute is not None or self.advertised is not None:
                ours = None if tokens_per_minute is None else tokens_per_minute * self.share
                self._advertised(now).state("tokens", ours, now)
            self._set_ceiling()

    def take_share(self, share: float, now: float) -> None:
        """Hold this part of the limits that are stated or advertised; others hold the rest."""
        self.share = share
        self.state(*self.stated, now)

    def limits(self, now: float) -> Limits:
        """Return what is known of the limits now."""
        return limits_of(self, now)

    def _advertised(self, now: float) -> Advertised:
        if self.advertised is None:
            from modelwire.transport.ratelimit.headers import Advertised

            self.advertised = Advertised(now, self.sent)
        return self.advertised

    def _set_ceiling(self) -> None:
        stated, _ = self.stated
        advertised = inf if self.advertised is None else self.advertised.requests_per_s()
        self.rate.ceiling = min(advertised, inf if stated is None else stated / 60) * self.share

    def admit(self, admission: Admission) -> None:
        """Grant `admission`, or have it wait from now on. Its holder leaves in any case, Ctrl-C in here included."""
        now, queue = admission.requested_at, self._queue
        with self._lock:
            self.used_at = now
            if admission.patient and now < self._exhausted_at + _EXHAUSTED_S:
                admission.rejection, admission.released = self.last_refusal, True
                return
            if not queue.length and self._ready_at(now, admission, waiting=False) <= now:
                self._grant(admission, now)
                return
            queue.add(admission)
            to_wake = self._advance(now)
        _wake_all(to_wake, but=admission)

    def poll(self, admission: Admission, now: float) -> float | None:
        """Let go who may go. Return the seconds after which `admission` has to look again, None once it is granted."""
        with self._lock:
            admission.signalled = False
            self._release_abandoned()
            to_wake = self._advance(now)
            if admission.granted:
                wait_s = None
            elif admission is self._head:
                retime_s = inf if now < self.gate.paused_until else _RETIME_S
                wait_s = max(min(self._head_at - now, retime_s, _WATCH_S), _LEAST_S)
            else:
                wait_s = _WATCH_S
        _wake_all(to_wake, but=admission)
        return wait_s

    def blocked_since(self, admission: Admission) -> float | None:
        """Return since when `admission` has waited for a provider that takes nothing at all; None: things move."""
        closed_at = self.gate.closed_at
        return None if closed_at is None else max(closed_at, admission.requested_at)

    @property
    def is_out(self) -> bool:
        """Whether the provider fails for everybody, so that the rows of batches wait for better times."""
        return self._outage

    def is_hopeless(self, now: float) -> bool:
        """Whether that has been so for longer than anybody's patience; one call at a time still looks."""
        patience_s = _OUTAGE_PATIENCE_S if self._proven else _UNPROVEN_PATIENCE_S
        closed_at = self.gate.closed_at
        return self._outage and closed_at is not None and now - closed_at >= patience_s

    def long_wait(self, now: float) -> str | None:
        """Say for how long nothing has got through, or may go out, where that is long: once for each time."""
        closed_at, paused_until = self.gate.closed_at, self.gate.paused_until
        if closed_at is not None and now - closed_at >= _SILENCE_S:
            wait = f"nothing has got through for {now - closed_at:.3g} s"
        elif paused_until - now >= _SILENCE_S:
            wait = f"no request may go out for {paused_until - now:.3g} s"
        else:
            return None
        same = paused_until if closed_at is None else closed_at
        if same == self._reported:
            return None
        self._reported = same
        return wait

    def pause_s(self, now: float) -> float:
        """Return how long nobody may send."""
        return self.gate.pause_s(now)

    def waiting(self) -> int:
        return len(self._queue.waiting())

    def is_idle(self) -> bool:
        return not (self.in_flight or self._queue.length)

    def _ready_at(self, now: float, admission: Admission, *, waiting: bool) -> float:
        """Return when `admission` may go: now or later, or never, which is until somebody else's call ends."""
        if now < self.gate.paused_until:
            return self.gate.paused_until
        if self._quota is not None and (free_at := self._quota.ready_at(now)) > now:
            return free_at
        if self.gate.probing:
            return self.gate.ready_at(now)
        if self._first is not None and now < (
            known_at := self._first_known_at(self._first, admission)
        ):
            if known_at - admission.requested_at > _FEW_ALONE_S:
                self.rate.hold_until(known_at)
            return known_at
        if self.in_flight >= self.concurrency.most and not self.concurrency.admits(self.in_flight):
            return inf
        if self.advertised is None:
            return self.rate.ready_at(now, waiting=waiting, mirrored=False)
        left_at = self.advertised.ready_at(now, admission)
        return max(left_at, self.rate.ready_at(now, waiting=waiting, mirrored=self._mirrors()))

    def _first_known_at(self, first: Admission, admission: Admission) -> float:
        """Return how long `admission` waits to hear of the first request of all."""
        crowded = admission.patient or self._queue.length > _FEW or self.sent > _FEW
        if not crowded:
            return admission.requested_at + _FEW_ALONE_S
        # An event loop that starts hundreds of calls sends the first one when it has started the last.
        last = max(admission.requested_at, self._queue.newest_at)
        return max(first.started, min(last, first.started + _ALONE_S)) + _ALONE_S

    def _learn_of_the_first(self, now: float) -> None:
        self._first = None
        self.rate.at = min(self.rate.at, now)

    def _mirrors(self) -> bool:
        """Whether the provider says how many requests it has left for us, so that the pace need not be guessed."""
        if self.advertised is None or self.stated[0] is not None or self.share < 1:
            return False
        return self.advertised.mirrors_requests()

    def _grant(self, admission: Admission, now: float) -> None:
        self.sent += 1
        self.in_flight += (
            1  # no call from here to where the admission knows it: Ctrl-C comes at calls
        )
        admission.index, admission.started, admission.granted = self.sent, now, True
        self.rate.level -= 1
        self.random_refusals.sent()
        if self.sent == 1:
            self._first = admission
        if self.gate.probing:
            self.gate.probe = admission
        elif self.rate.rate == inf:
            self._accepted.sent(now)
        if self._quota is not None:
            self._quota.grant(now)
        if self.advertised is not None:
            self.advertised.spend(admission, now)

    def _advance(self, now: float) -> list[Admission]:
        """Grant all that may go; return who has to hear of it, the one who keeps the time from now on included."""
        to_wake: list[Admission] = []
        while (admission := self._queue.first()) is not None:
            at = self._ready_at(now, admission, waiting=True)
            if at > now:
                # After a probe nobody trusts the pace yet: who waited for it looks again by itself, within `_WATCH_S`.
                if admission is not self._head or (
                    self._head_at == inf > at and self.concurrency.most < inf
                ):
                    self._head = admission
                    to_wake.append(admission)
                self._head_at = at
                return to_wake
            self._queue.pop_first()
            self._grant(admission, now)
            to_wake.append(admission)
        self._head = None
        return to_wake

    def answered(
        self,
        admission: Admission,
        now: float,
        headers: Mapping[str, str] | None = None,
        usage: Mapping[str, int] | None = None,
    ) -> None:
        """The provider has taken the request; a stream says so at its head, and once more, with `usage`, at its end."""
        with self._lock:
            if self._first is not None:
                self._learn_of_the_first(now)
            if headers is not None and (
                self.advertised is not None or "ratelimit" in " ".join(headers)
            ):
                self._read(headers, admission, now)
            if usage is not None and self.advertised is not None:
                self.advertised.correct(admission, usage)
            if not admission.head_seen:
                admission.head_seen = self._proven = True
                answers = self._answers
                answers.count += 1
                if admission.index > answers.latest_index:
                    answers.latest_index = admission.index
                if admission.refusals > 1:
                    answers.revived_index = max(answers.revived_index, admission.index)
                if 0 < self.gate.asked_index < admission.index:
                    self.gate.shorten()
                    self.rate.resume(max(self.gate.paused_until, now))
                self._budget.answered(admission)
                self.rate.accepted(mirrored=self.advertised is not None and self._mirrors())
                if self.concurrency.most < inf:
                    self.concurrency.answered(self.in_flight)
                if admission.index > self._cut_index and (
                    self.gate.pauses
                    or self.concurrency.overloads
                    or self.gate.closed_at is not None
                ):
                    self._got_through(now)
            to_wake = self._advance(now) if self._queue.length else []
        if to_wake:
            _wake_all(to_wake)

    def failed(
        self,
        admission: Admission,
        now: float,
        error: ChatError,
        headers: Mapping[str, str] | None = None,
        *,
        renewed: bool = False,
    ) -> None:
        """The provider, or the wire, has refused; `renewed`: the call has another key to try."""
        with self._lock:
            if self._first is not None:
                self._learn_of_the_first(now)
            if headers is not None and (
                self.advertised is not None or "ratelimit" in " ".join(headers)
            ):
                self._read(headers, admission, now, refused=is_refusal(error))
            to_wake: list[Admission] = []
            if isinstance(error, QuotaExhausted) or (
                _is_hopeless(error) and not self._proven and not renewed
            ):
                self._exhausted_at, self.last_refusal = now, copy_for_followers(error)
                to_wake = self._reject_all()
            elif is_refusal(error):
                self._refused(admission, now, error)
            elif error.retry_class is RetryClass.TRANSIENT:
                self._budget.failed(admission)
                if isinstance(error, Timeout):
                    self._narrow(admission, now, in_a_row=False)
            elif isinstance(error, ProviderError) and admission.index > self._cut_index:
                self._got_through(now)  # it was read and judged: the provider is there
            bad_luck = error.retry_class in (RetryClass.TRANSIENT, RetryClass.GLITCH)
            if bad_luck and self._outage and admission is self.gate.probe:
                self._shut(now, error, _PROBE_FIRST_S)
        if to_wake:
            _wake_all(to_wake)

    def _reject_all(self) -> list[Admission]:
        """Have nobody who waits send: no credit, no such key or model, as one call has learned for all."""
        dismissed = self._queue.waiting()
        for admission in dismissed:
            admission.rejection, admission.released = self.last_refusal, True
        self._queue = AdmissionQueue()
        return dismissed

    def may_retry(self, admission: Admission, now: float, error: ChatError) -> bool:
        """Pay for another try after bad luck. False: the provider fails for everybody, wait for it behind the gate."""
        with self._lock:
            nobody_is_there = (
                isinstance(error, ConnectFailed) and not self._proven
            )  # a wrong address: say so soon
            if nobody_is_there:
                return True
            if not self._outage and not self._budget.is_out:
                self._budget.pay()
                return True
            if not self._outage:
                self._outage, self.last_refusal = True, copy_for_followers(error)
                self._shut(now, error, _PROBE_FIRST_S)
            return False

    def leave(self, admission: Admission, now: float, *, sent: bool = True) -> None:
        """The attempt is over, or was given up in the queue; `sent=False`: it was granted and never went."""
        # The garbage collector may end a forgotten stream while we are at work. `threading.Condition` asks it, too.
        if self._lock._is_owned():  # type: ignore[attr-defined]
            self._left.append((admission, sent))
            return
        with self._lock:
            self._release(admission, sent=sent)
            if self._left:
                self._release_abandoned()
            to_wake = self._advance(now) if self._queue.length else []
        if to_wake:
            _wake_all(to_wake)

    def _release_abandoned(self) -> None:
        while self._left:
            admission, sent = self._left.popleft()
            self._release(admission, sent=sent)

    def _release(self, admission: Admission, *, sent: bool) -> None:
        if admission.released:
            return
        admission.released = True
        if admission is self._first:
            self._first = None
        if admission.granted:
            self.in_flight -= 1
            if admission is self.gate.probe:
                self.gate.probe = None
            if not sent:
                self.rate.level += 1
                if self._quota is not None:
                    self._quota.give_back(admission.started)
                if self.advertised is not None:
                    self.advertised.give_back(admission)

    def _got_through(self, now: float) -> None:
        self.concurrency.overloads = 0
        self._queue.new_first = False
        if not self.gate.open():
            return
        if self._outage:
            self._outage = False
            self._budget.recover()
        if self.concurrency.reopen() or self.rate.rate == inf:
            self.rate.restart(now)
        self.concurrency.full = inf
        self._note("resumed", now)

    def _refused(self, admission: Admission, now: float, error: ChatError) -> None:
        admission.refusals += 1
        if admission is self.gate.probe:
            self._queue.new_first = admission.is_retry and self.gate.pauses >= _RETRIED_PROBES
        closed_at = self.gate.closed_at
        closed_s = None if closed_at is None else now - closed_at
        if count_own_refusal(admission, self._answers, closed_s):
            self._accepted.ignored()
            if self.rate.rate < inf:
                self._pause(now, min(1 / self.rate.rate, PAUSE_CAP_S))
            return
        trial_failed = self.random_refusals.refused()
        if self.random_refusals.random and not self.gate.probing:
            self._accepted.ignored()
            return
        onset = None
        is_limit_known = self.rate.rate < inf or self.concurrency.most < inf or self.gate.probing
        if not (is_limit_known or trial_failed):
            onset = self._suspicion.refused(
                admission.index, _onset_of(self._accepted, admission, self.sent)
            )
            if onset.accepted > 0 and not self._suspicion.proves_limit(self.sent):
                if self.sent <= FEW_SENT:
                    # A small bucket that is empty refuses the next one too: first hear of what is on its way.
                    asked_s = min(self.gate.retry_after_s(error), PAUSE_CAP_S)
                    self._pause_as_asked(now, admission, now - admission.started, asked_s)
                return
            self._suspicion.clear()
        if error.retry_class is RetryClass.THROTTLE:
            self._throttled(admission, now, error, onset)
        else:
            self._overloaded(admission, now, error)

    def _throttled(
        self, admission: Admission, now: float, error: ChatError, onset: Onset | None
    ) -> None:
        if admission.index <= self._cut_index:  # one of many that were refused at the same time
            self._accepted.refused_with_the_last(admission)
            if admission.index <= self._burst_sent:
                self.rate.refused_of_burst()
            if error.retry_after is not None:
                self._pause_as_asked(now, admission, 0.0, error.retry_after)
            return
        in_vain = self.rate.is_cut_in_vain(now)
        if in_vain and self.rate.is_cut_enough and self.random_refusals.may_be_luck:
            self._accepted.ignored()
            if self.advertised is None and self.random_refusals.slowed(in_vain=True):
                self.rate.forget(now)
            return
        self.last_refusal = copy_for_followers(error)
        if onset is None:
            onset = _onset_of(self._accepted, admission, self.sent)
        accepted, elapsed_s = onset.accepted, onset.elapsed_s
        if not self.rate.cuts:
            self._burst_sent = onset.sent
            self.rate.begin_burst(onset.taken, elapsed_s)
        self._accepted.refused(admission)
        self._cut_index = self.sent
        if self.advertised is not None:
            self.advertised.refused(admission)
        self.rate.cut(now, accepted, elapsed_s, now - admission.started)
        if (
            accepted > 0
            and self.advertised is None
            and self.random_refusals.slowed(in_vain=in_vain)
        ):
            self.rate.forget(now)
            self._pause(now, 0.0)  # one that is still on holds
        elif accepted <= 0:
            self._shut(now, error, _PAUSE_FIRST_S)
        else:
            self.gate.pauses = 0
            asked_s = self.gate.retry_after_s(error)
            least_s = self.gate.spread(max(BURST_S, min(1 / self.rate.rate, PAUSE_CAP_S)))
            self._pause_as_asked(now, admission, least_s, asked_s)
            self._note("cut", now)

    def _overloaded(self, admission: Admission, now: float, error: ChatError) -> None:
        self.last_refusal = copy_for_followers(error)
        cut = self._narrow(admission, now, in_a_row=True)
        if error.retry_after is not None:
            self._pause_as_asked(now, admission, 0.0, self.gate.retry_after_s(error))
        alone = not self._proven and self.in_flight <= 1
        if cut and (
            self.gate.probing or alone or self.concurrency.overloads >= _OVERLOADS_TO_HALF_OPEN
        ):
            self._shut(now, error, _PROBE_FIRST_S)

    def _narrow(self, admission: Admission, now: float, *, in_a_row: bool) -> bool:
        """Have fewer at a time; False when that was done already for the likes of `admission`."""
        if admission.index <= self._cut_index:
            return False
        self._cut_index = self.sent
        at_once = min(self.concurrency.most, float(self.in_flight))
        if in_a_row and not self.concurrency.overloads and self.random_refusals.narrowed(at_once):
            self.concurrency.open()
            return False
        self.concurrency.narrow(at_once, in_a_row=in_a_row)
        self.rate.restart(now)
        self._note("cut", now)
        return True

    def _shut(self, now: float, error: ChatError, first_s: float) -> None:
        self.gate.shut(now, error, first_s)
        self.rate.resume(self.gate.paused_until)
        self._cut_index = self.sent
        self._note("half_open", now)

    def _pause(self, now: float, seconds: float) -> None:
        self.gate.pause(now, seconds)
        self.rate.resume(self.gate.paused_until)

    def _pause_as_asked(
        self, now: float, admission: Admission, least_s: float, asked_s: float
    ) -> None:
        self.gate.pause_as_asked(now, admission, least_s, asked_s)
        self.rate.resume(self.gate.paused_until)

    def _read(
        self,
        headers: Mapping[str, str],
        admission: Admission,
        now: float,
        *,
        refused: bool = False,
    ) -> None:
        if self._advertised(now).read(headers, admission, now, refused=refused):
            self._set_ceiling()
            self._note("learned", now)

    def pop_change(self) -> Change | None:
        """Return what has changed, once."""
        with self._lock:
            news, self.change = self.change, None
        return news

    def _note(self, kind: str, now: float) -> None:
        if now - self._changed_at >= _EVENT_EVERY_S:
            self._changed_at = now
            self.change = change_of(self, kind, now)


def _onset_of(counted: AcceptedCount, admission: Admission, sent: int) -> Onset:
    accepted, elapsed_s = counted.before(admission, sent)
    return Onset(accepted, elapsed_s, sent)


def _is_hopeless(error: ChatError) -> bool:
    """Whether the others with this key and model will hear the same; a 403 may be about the content."""
    return isinstance(error, AuthenticationError) or error.code == "model_not_found"


def _wake_all(admissions: list[Admission], but: Admission | None = None) -> None:
    for admission in admissions:
        if admission is not but:
            admission.wake()
