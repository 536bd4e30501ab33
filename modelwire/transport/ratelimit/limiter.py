"""The limiter that the calls with one address, credential and model share. No I/O and no clock: `now` is passed in.

    limiter.admit(admission)                # grants it at once, or queues it
    limiter.poll(admission, now)            # seconds until the next poll, None once it is granted
    limiter.answered(admission, now)        # an HTTP 200 has begun
    limiter.failed(admission, now, error)   # or the attempt has failed
    limiter.leave(admission, now)           # always, at the end: releases the permit

Single calls go ahead of the rows of batches, and retried work ahead of new work. No timer, thread or task runs here:
the call at the head of the queue polls in time for all others, and the call that grants it wakes the next one. This
module grants permits in the order of the queue; `congestion.py` decides how many there are. `docs/reliability.md`
("Rate limits") describes the behaviour.
"""

from __future__ import annotations

from collections import deque
from math import inf
from threading import RLock
from typing import TYPE_CHECKING

from modelwire.aliases import HeaderFields
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
from modelwire.transport.ratelimit.congestion import Congestion
from modelwire.transport.ratelimit.limits import limits_of, mirrors_requests
from modelwire.transport.ratelimit.minute_quota import MinuteQuota
from modelwire.transport.ratelimit.outage import Outage
from modelwire.transport.ratelimit.retry_budget import RetryBudget
from modelwire.transport.retry import is_refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from random import Random

    from modelwire.transport.ratelimit.headers import Advertised
    from modelwire.transport.ratelimit.lease import Lease
    from modelwire.transport.ratelimit.limits import Change, Limits

# The first request of a key shows whether the key is valid and has credit. The other requests wait
# for it, for about as long as a refusal takes.
_FIRST_ALONE_S = 0.3
# Up to this many single calls at the start do not wait that long for the first request...
_FEW_CALLS = 5
# ... but only this long.
_FEW_ALONE_S = 0.005
# Each queued call polls at least this often, in case a wake-up was lost.
_WATCH_S = 5.0
# The head of the queue polls at least this often, because the pace may have grown.
_HEAD_POLL_S = 1.0
# A wait is at least this long. A shorter one may round to no wait at all, which would be a busy loop.
_LEAST_WAIT_S = 0.001
# Batch rows fail at once for this long after a call found that the key has no credit or is invalid.
_REJECTED_FOR_S = 5.0
# After this many refused probes of retried calls, a call that was never refused sends the next
# probe, because the fault may lie in the retried calls.
_RETRIED_PROBES = 3


class AdaptiveRateLimiter:
    """Grants permits to send, and queues the calls that must wait. `rng` adds jitter to the pauses."""

    def __init__(self, now: float, rng: Random, *, name: str = "") -> None:
        self.name = name
        self._lock = RLock()
        # True while a method changes the state under the lock. The garbage collector may close a
        # forgotten stream inside of such a method, on the same thread, which calls `leave` again.
        self._is_changing = False
        # The attempts that have ended but whose permits are not released yet, each with whether it
        # was sent.
        self._left: deque[tuple[Admission, bool]] = deque()
        self._queue = AdmissionQueue()
        # The queued admission whose owner polls in time for all others, and the time at which it
        # may be granted.
        self._head: Admission | None = None
        self._head_at = inf
        self.used_at = now
        # This is the first admission that was ever granted; it is None once its outcome is known.
        self._first: Admission | None = None
        # The limits that the user stated: requests and tokens a minute.
        self.stated: tuple[float | None, float | None] = (None, None)
        self._quota: MinuteQuota | None = None
        # The part of the stated or advertised limits that this process may use, if several
        # processes divide them.
        self.share = 1.0
        self.congestion = congestion = Congestion(now, rng, name)
        self.rate = congestion.rate
        self.concurrency = congestion.concurrency
        self.gate = congestion.gate
        self.random_refusals = congestion.random_refusals
        # The limits that the provider's headers advertise, from the first such header on.
        self.advertised: Advertised | None = None
        self.outage = Outage()
        self._budget = RetryBudget()
        self._rejected_at = -inf
        # The part of this limiter in a fleet of processes (`lease.py`), or None.
        self.lease: Lease | None = None

    def state(
        self, requests_per_minute: float | None, tokens_per_minute: float | None, now: float
    ) -> None:
        """Set the limits that the user states; None if they are unknown."""
        with self._lock:
            self._is_changing = True
            try:
                self.stated = (requests_per_minute, tokens_per_minute)
                self.take_share(self.share, now)
            finally:
                self._is_changing = False

    def take_share(self, share: float, now: float) -> None:
        """Use only this part of the stated or advertised limits; other processes use the rest."""
        with self._lock:
            self.share = share
            requests_per_minute, tokens_per_minute = self.stated
            before = self._quota
            self._quota = None
            # A fleet keeps to the limit together, by its pace.
            is_led = self.lease is not None and self.lease.alone_since is None
            if requests_per_minute is not None and not is_led:
                self._quota = MinuteQuota(requests_per_minute * share, before)
            if tokens_per_minute is not None or self.advertised is not None:
                ours = None if tokens_per_minute is None else tokens_per_minute * share
                self._advertised(now).state("tokens", ours, now)
            self._set_ceiling()

    def refresh(self, change: Callable[[float], object], now: float) -> None:
        """Call `change`, which applies a decision of the fleet, then grant the admissions that are due."""
        with self._lock:
            self._is_changing = True
            try:
                change(now)
                to_wake = self._advance(now) if self._queue.length else []
            finally:
                self._is_changing = False
        _wake_all(to_wake)

    def limits(self, now: float) -> Limits:
        """Return the limits that are known at present."""
        return limits_of(self, now)

    def _advertised(self, now: float) -> Advertised:
        if self.advertised is None:
            from modelwire.transport.ratelimit.headers import Advertised

            self.advertised = Advertised(now, self.congestion.sent)
        return self.advertised

    def _set_ceiling(self) -> None:
        per_minute, _ = self.stated
        advertised_per_s = inf if self.advertised is None else self.advertised.requests_per_s()
        stated_per_s = inf if per_minute is None else per_minute / 60
        self.rate.ceiling = min(advertised_per_s, stated_per_s) * self.share

    def admit(self, admission: Admission) -> None:
        """Grant `admission`, or queue it. Its owner must call `leave` in any case, even after a Ctrl-C in here."""
        now = admission.requested_at
        queue = self._queue
        to_wake: list[Admission] = []
        with self._lock:
            self._is_changing = True
            try:
                self.used_at = now
                if admission.patient and now < self._rejected_at + _REJECTED_FOR_S:
                    admission.rejection = self.congestion.last_refusal
                    admission.released = True
                elif not queue.length and self._ready_at(now, admission, waiting=False) <= now:
                    self._grant(admission, now)
                else:
                    queue.add(admission)
                    to_wake = self._advance(now)
            finally:
                self._is_changing = False
        if to_wake:
            _wake_all(to_wake, but=admission)

    def poll(self, admission: Admission, now: float) -> float | None:
        """Grant all admissions that are due.

        Return the seconds until `admission` must poll again, or None once it is granted.
        """
        with self._lock:
            self._is_changing = True
            try:
                admission.signalled = False
                self._release_left()
                to_wake = self._advance(now)
                if admission.granted:
                    wait_s = None
                elif admission is self._head:
                    repoll_s = inf if now < self.gate.paused_until else _HEAD_POLL_S
                    wait_s = max(min(self._head_at - now, repoll_s, _WATCH_S), _LEAST_WAIT_S)
                else:
                    wait_s = _WATCH_S
            finally:
                self._is_changing = False
        _wake_all(to_wake, but=admission)
        return wait_s

    def waiting(self) -> int:
        """Return the number of queued calls."""
        return len(self._queue.waiting())

    def is_idle(self) -> bool:
        """Return whether no request is in flight and none is queued."""
        return not (self.congestion.in_flight or self._queue.length)

    def _ready_at(self, now: float, admission: Admission, *, waiting: bool) -> float:
        """Return the time at which `admission` may be granted, infinity if another call must end first."""
        if now < self.gate.paused_until:
            return self.gate.paused_until
        if self._quota is not None and (free_at := self._quota.ready_at(now)) > now:
            return free_at
        if self.gate.probing:
            return self.gate.ready_at(now)
        if self._first is not None:
            known_at = _first_known_at(self._first, admission, self._queue, self.congestion.sent)
            if now < known_at:
                if known_at - admission.requested_at > _FEW_ALONE_S:
                    self.rate.hold_until(known_at)
                return known_at
        in_flight = self.congestion.in_flight
        if in_flight >= self.concurrency.most and not self.concurrency.admits(in_flight):
            self.rate.held_back(now)
            return inf
        if self.advertised is None:
            return self.rate.ready_at(now, waiting=waiting, mirrored=False)
        left_at = self.advertised.ready_at(now, admission)
        return max(
            left_at, self.rate.ready_at(now, waiting=waiting, mirrored=mirrors_requests(self))
        )

    def _first_ended(self, now: float) -> None:
        """Called when the outcome of the first request is known: other requests no longer wait for it."""
        self._first = None
        self.rate.at = min(self.rate.at, now)

    def _grant(self, admission: Admission, now: float) -> None:
        congestion = self.congestion
        congestion.sent += 1
        # There must be no call between this line and the next: a Ctrl-C arrives at calls, and the
        # permit would be lost.
        congestion.in_flight += 1
        admission.index = congestion.sent
        admission.started = now
        admission.granted = True
        self.rate.level -= 1
        self.random_refusals.sent()
        if congestion.sent == 1:
            self._first = admission
        if self.gate.probing:
            self.gate.probe = admission
        elif self.rate.rate == inf:
            congestion.accepted.sent(now)
        if self._quota is not None:
            self._quota.grant(now)
        if self.advertised is not None:
            self.advertised.spend(admission, now)

    def _advance(self, now: float) -> list[Admission]:
        """Grant all that is due. Return the admissions to wake: those granted, and a new head of the queue."""
        to_wake: list[Admission] = []
        while (admission := self._queue.first()) is not None:
            at = self._ready_at(now, admission, waiting=True)
            if at > now:
                # A head that waited for a probe is not sure of the pace yet, so it polls by itself.
                is_freed = self._head_at == inf > at and self.concurrency.most < inf
                if admission is not self._head or is_freed:
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
        headers: HeaderFields | None = None,
        usage: Mapping[str, int] | None = None,
    ) -> None:
        """Called when the provider has accepted the request.

        For a stream this is called at its head, and again at its end with `usage`.
        """
        congestion = self.congestion
        with self._lock:
            self._is_changing = True
            try:
                if self._first is not None:
                    self._first_ended(now)
                if headers is not None and (
                    self.advertised is not None or "ratelimit" in " ".join(headers)
                ):
                    self._read(headers, admission, now)
                if usage is not None and self.advertised is not None:
                    self.advertised.correct(admission, usage)
                if not admission.head_seen:
                    admission.head_seen = congestion.proven = True
                    congestion.answers.add(admission)
                    if 0 < self.gate.asked_index < admission.index:
                        self.gate.shorten()
                        self.rate.resume(max(self.gate.paused_until, now))
                    self._budget.answered(admission)
                    self.rate.accepted(
                        mirrored=self.advertised is not None and mirrors_requests(self)
                    )
                    if self.concurrency.most < inf:
                        self.concurrency.answered(congestion.in_flight)
                    if admission.index > congestion.cut_index and (
                        self.gate.pauses
                        or self.concurrency.overloads
                        or self.gate.closed_at is not None
                    ):
                        self._recover(now)
                to_wake = self._advance(now) if self._queue.length else []
            finally:
                self._is_changing = False
        if to_wake:
            _wake_all(to_wake)

    def failed(
        self,
        admission: Admission,
        now: float,
        error: ChatError,
        headers: HeaderFields | None = None,
        *,
        renewed: bool = False,
    ) -> None:
        """Called when an attempt has failed. `renewed` is True if the call can try another key."""
        congestion = self.congestion
        to_wake: list[Admission] = []
        with self._lock:
            self._is_changing = True
            try:
                if self._first is not None:
                    self._first_ended(now)
                if headers is not None and (
                    self.advertised is not None or "ratelimit" in " ".join(headers)
                ):
                    self._read(headers, admission, now, refused=is_refusal(error))
                is_key_bad = _concerns_all(error) and not congestion.proven and not renewed
                if isinstance(error, QuotaExhausted) or is_key_bad:
                    self._rejected_at = now
                    congestion.rejected(error)
                    to_wake = self._reject_all()
                elif is_refusal(error):
                    _refused(self, admission, now, error)
                elif error.retry_class is RetryClass.TRANSIENT:
                    self._budget.failed(admission)
                    if isinstance(error, Timeout):
                        congestion.narrow(admission, now, in_a_row=False)
                elif isinstance(error, ProviderError) and admission.index > congestion.cut_index:
                    # The provider has read and rejected the request, so the provider is up.
                    self._recover(now)
                is_passing = error.retry_class in (RetryClass.TRANSIENT, RetryClass.GLITCH)
                if is_passing and self.outage.is_on and admission is self.gate.probe:
                    congestion.start_probing(now, error)
            finally:
                self._is_changing = False
        if to_wake:
            _wake_all(to_wake)

    def _reject_all(self) -> list[Admission]:
        """Reject all queued calls: one call found that the key, its credit or the model is invalid.

        Return those that must be woken.
        """
        rejected = self._queue.waiting()
        for admission in rejected:
            admission.rejection = self.congestion.last_refusal
            admission.released = True
        self._queue = AdmissionQueue()
        return rejected

    def may_retry(self, admission: Admission, now: float, error: ChatError) -> bool:
        """Return whether a call may retry after a transient error, and charge the retry to the budget.

        The result is False in an outage: the call must then wait behind the gate.
        """
        with self._lock:
            self._is_changing = True
            try:
                if isinstance(error, ConnectFailed) and not self.congestion.proven:
                    # The address is probably wrong: the call's own retries show that soon.
                    return True
                if not self.outage.is_on and not self._budget.is_out:
                    self._budget.pay()
                    return True
                if not self.outage.is_on:
                    self.outage.is_on = True
                    self.congestion.last_refusal = copy_for_followers(error)
                    self.congestion.start_probing(now, error)
                return False
            finally:
                self._is_changing = False

    def leave(self, admission: Admission, now: float, *, sent: bool = True) -> None:
        """Release the permit of an attempt that has ended, or leave the queue.

        `sent` is False if the request was not sent.
        """
        with self._lock:
            self._left.append((admission, sent))
            if self._is_changing:
                return
            self._is_changing = True
            try:
                self._release_left()
                to_wake = self._advance(now) if self._queue.length else []
            finally:
                self._is_changing = False
        if to_wake:
            _wake_all(to_wake)

    def _release_left(self) -> None:
        """Release the permits of the attempts that have ended."""
        while self._left:
            admission, sent = self._left.popleft()
            if admission.released:
                continue
            admission.released = True
            if admission is self._first:
                self._first = None
            if not admission.granted:
                continue
            self.congestion.in_flight -= 1
            if admission is self.gate.probe:
                self.gate.probe = None
            if not sent:
                self.rate.level += 1
                if self._quota is not None:
                    self._quota.give_back(admission.started)
                if self.advertised is not None:
                    self.advertised.give_back(admission)

    def _recover(self, now: float) -> None:
        """Called when a request sent after the last cut has reached the provider."""
        self._queue.new_first = False
        was_closed = self.congestion.recovered(now)
        if was_closed and self.outage.is_on:
            self.outage.is_on = False
            self._budget.recover()

    def _read(
        self,
        headers: HeaderFields,
        admission: Admission,
        now: float,
        *,
        refused: bool = False,
    ) -> None:
        if self._advertised(now).read(headers, admission, now, refused=refused):
            self._set_ceiling()
            self.congestion.note("learned", now)

    def take_change(self) -> Change | None:
        """Return the latest change of the limits, and clear it; None if there is none."""
        with self._lock:
            change = self.congestion.change
            self.congestion.change = None
        return change


def _refused(
    limiter: AdaptiveRateLimiter, admission: Admission, now: float, error: ChatError
) -> None:
    if admission is limiter.gate.probe:
        many_failed = limiter.gate.pauses >= _RETRIED_PROBES
        limiter._queue.new_first = admission.is_retry and many_failed
    limiter.congestion.refused(admission, now, error, limiter.advertised)


def _first_known_at(
    first: Admission, admission: Admission, queue: AdmissionQueue, sent: int
) -> float:
    """Return the time until which `admission` waits for the outcome of the first request of all."""
    is_crowded = admission.patient or queue.length > _FEW_CALLS or sent > _FEW_CALLS
    if not is_crowded:
        return admission.requested_at + _FEW_ALONE_S
    # An event loop that starts hundreds of calls sends the first one after it has started the last.
    last = max(admission.requested_at, queue.newest_at)
    return max(first.started, min(last, first.started + _FIRST_ALONE_S)) + _FIRST_ALONE_S


def _concerns_all(error: ChatError) -> bool:
    """Return whether other calls with this key and model fail in the same way. A 403 may concern the content."""
    return isinstance(error, AuthenticationError) or error.code == "model_not_found"


def _wake_all(admissions: list[Admission], but: Admission | None = None) -> None:
    for admission in admissions:
        if admission is not but:
            admission.wake()
