"""Lets a limiter send what a fleet of processes allows it, instead of what it has learned alone. No I/O and no clock.

A limiter with a lease is an ordinary limiter whose pace, gate, concurrency and congestion are those of this module. Its
calls are queued as usual and granted without a round trip, from *slots*: times at which one request may be sent, each
of which belongs to one member of the fleet. An extension renews the lease several times a second:

    report = lease.report(now)                 # what this process has sent and seen, and what it wants
    lease.apply(reply, now, asked_at)          # the slots, the pause, the places; an applied report is confirmed
    lease.take_turn(text, news)                # sometimes: brings the shared state up to date for all members

In three cases the limiter decides by itself:

- It *joins*: for a moment after its first call it waits for the first reply.
- It is *alone*: the lease has ended, because the server is away or this process was stopped. Then it goes on with its
  part of what the fleet knew, which is 1/n of it for n members, and learns as a limiter without a lease.
- It comes *back*: for a little longer than the members take to find the server again, each keeps to its part.
"""

from __future__ import annotations

from collections import deque
from math import ceil, floor, inf
from typing import TYPE_CHECKING

from modelwire import errors
from modelwire.aliases import JSON
from modelwire.transport.ratelimit.admission import copy_for_followers
from modelwire.transport.ratelimit.concurrency import ConcurrencyLimit
from modelwire.transport.ratelimit.congestion import Congestion
from modelwire.transport.ratelimit.gate import Gate
from modelwire.transport.ratelimit.rate import RateEstimate
from modelwire.transport.ratelimit.shared_congestion import Event, News, SharedCongestion, scaled

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from modelwire.errors import ChatError
    from modelwire.transport.ratelimit.admission import Admission
    from modelwire.transport.ratelimit.headers import Advertised
    from modelwire.transport.ratelimit.limiter import AdaptiveRateLimiter

# A lease ends this long after the request for it, if it is not renewed.
_LEASE_S = 0.5
# The first call waits at most this long for the first reply.
_JOIN_S = 0.3
# A call that waits for the fleet polls after this time, if no reply has woken it.
_POLL_S = 0.1
# A slot that was not used for this long is lost.
_SLOT_LASTS_S = 0.5
# A report asks for the slots of the calls that are expected in this time.
_AHEAD_S = 0.25
# A process that was alone for longer than this comes back slowly, because others may still be alone.
_ALONE_LONG_S = 1.0
# This is a little longer than members take to find a server that is back.
_RETURN_S = 1.3
# After a sign of trouble, nothing is sent for this time, in which the fleet decides.
_HOLD_S = 0.05
# A limiter without calls for this long no longer renews its lease.
_DORMANT_S = 30.0


class Lease:
    """The part of one limiter in a fleet. `urge` is called when the lease should be renewed at once."""

    def __init__(self, limiter: AdaptiveRateLimiter, now: float, rng: Random) -> None:
        self.limiter = limiter
        self.urge: Callable[[], object] = _ignore
        # The shared state: its version, its text, and the number of its cuts.
        self.version = 0
        self.text = ""
        self.epoch = 0
        # The number of live members, and of those that send.
        self.members = self.active = 1
        # True if no limit of the pace is known.
        self.is_free = False
        self.may_probe = False
        # The lease holds until `expires_at`; the first call waits for it until `join_until`.
        self.expires_at = self.join_until = -inf
        # The time since which the limiter decides by itself, or None.
        self.alone_since: float | None = None
        self.is_dormant = True
        self._returns_at = -inf
        self._reported_at = now
        self._reported_sent = self._reported_answers = 0
        self._sent_per_s = 0.0
        self._events: list[tuple[float, Event]] = []
        self._rejection: str | None = None
        self.congestion = limiter.congestion = _LeasedCongestion(self, now, rng, limiter.name)
        self.rate = limiter.rate = _LeasedRate(self, now)
        self.gate = limiter.gate = _LeasedGate(self, now, rng)
        self.concurrency = limiter.concurrency = _LeasedConcurrency(self)
        limiter.random_refusals = self.congestion.random_refusals
        self.congestion.rate = self.rate
        self.congestion.gate = self.gate
        self.congestion.concurrency = self.concurrency
        limiter.lease = self

    @property
    def has_news(self) -> bool:
        """Whether this process has seen something that the fleet should know at once."""
        return bool(self._events) or self._rejection is not None

    def holds(self, now: float) -> bool:
        """Return whether the lease is valid, so that the fleet decides."""
        return now < self.expires_at

    def end(self, now: float) -> None:
        """End the lease for good: the limiter decides by itself."""
        self.limiter.refresh(self._end, now)

    def _end(self, now: float) -> None:
        self.expires_at = self.join_until = -inf
        self.urge = _ignore
        self.is_dormant = False
        if self.alone_since is None:
            self._go_alone(now)

    def joins(self, now: float) -> bool:
        """Called when there is no lease. Return whether the call should wait for one, or the limiter is alone."""
        if self.is_dormant:
            self.is_dormant = False
            self.join_until = now + _JOIN_S
            self.urge()
        if now < self.join_until:
            return True
        if self.alone_since is None:
            self._go_alone(now)
        return False

    def _go_alone(self, now: float) -> None:
        self.alone_since = now
        share = 1 / self.members
        self.rate.slots.clear()
        if self.text:
            scaled(self.rate, self.text, share, now)
        else:
            self.rate.restart(now)
        if self.concurrency.most < inf:
            self.concurrency.most = max(1.0, floor(self.concurrency.whole * share))
        if self.limiter.advertised is not None:
            self.limiter.advertised.members = 1
        self.limiter.take_share(share, now)

    def report(self, now: float) -> JSON | None:
        """Return the report for the fleet, as JSON values; None if an idle limiter needs no lease."""
        limiter = self.limiter
        congestion = self.congestion
        if limiter.is_idle() and now - limiter.used_at > _DORMANT_S:
            self.is_dormant = True
            return None
        sent = congestion.sent - self._reported_sent
        self._measure(sent, now)
        waiting = limiter._queue.length
        held = self.rate.held(now)
        wanted = ceil(waiting + self._sent_per_s * _AHEAD_S - held)
        ceiling = self.rate.ceiling / limiter.share
        return {
            "version": self.version,
            "sent": sent,
            "sent_alone": 0 if self.alone_since is None else sent,
            "answered": self.rate.answered - self._reported_answers,
            "in_flight": congestion.in_flight,
            "is_waiting": waiting > 0,
            "per_s": round(self._sent_per_s, 3),
            "wanted": 0 if self.is_free or now < self._returns_at else max(wanted, 0),
            "held": held,
            "wants_probe": self.gate.probing and self.gate.probe is None and waiting > 0,
            "has_probe": self.gate.probe is not None,
            "places": congestion.in_flight + waiting,
            "ceiling": _or_minus(ceiling),
            "rejected": self._rejection or "",
            "events": [
                event._replace(age_s=round(now - started, 4))._asdict()
                for started, event in self._events
            ],
        }

    def _measure(self, sent: int, now: float) -> None:
        """Update the mean of the requests a second; `sent` were sent since the latest reply."""
        elapsed_s = max(now - self._reported_at, 1e-3)
        weight = min(elapsed_s, 0.5) / 0.5
        self._sent_per_s += weight * (sent / elapsed_s - self._sent_per_s)

    def apply(self, reply: JSON, now: float, asked_at: float) -> None:
        """Apply the reply to a report that was sent at `asked_at`: the slots, the pause, the places."""
        self.limiter.refresh(lambda now: self._apply(reply, now, asked_at), now)

    def _apply(self, reply: JSON, now: float, asked_at: float) -> None:
        report = reply["report"]
        self._reported_at = asked_at
        self._reported_sent += report["sent"]
        self._reported_answers += report["answered"]
        del self._events[: len(report["events"])]
        if report["rejected"]:
            self._rejection = None
        self.members = reply["members"]
        self.active = reply["active"]
        if not reply.get("pub"):
            return
        if reply.get("text"):
            self.version = reply["version"]
            self.text = reply["text"]
        if self._is_returning(now):
            return
        if self.alone_since is not None:
            self._stop_alone(now)
        self.expires_at = asked_at + _LEASE_S
        if reply["rejected"] and self._rejection is None:
            self._reject_queued(reply["rejected"], now)
        self._follow(reply, reply["pub"], now)

    def _reject_queued(self, error: str, now: float) -> None:
        self.limiter._rejected_at = now
        self.congestion.last_refusal = _error_named(error)
        for admission in self.limiter._reject_all():
            admission.wake()

    def _is_returning(self, now: float) -> bool:
        """Return whether this process has just reached the server again after a long time without it.

        For a moment it then sends no more than its part.
        """
        if self.alone_since is None:
            return False
        if self._returns_at < self.alone_since:
            was_long = now - self.alone_since > _ALONE_LONG_S
            self._returns_at = now + _RETURN_S if was_long else now
        return now < self._returns_at

    def _stop_alone(self, now: float) -> None:
        self.alone_since = None
        self.rate.level = 0.0
        self.gate.asked_index = 0
        self.limiter.take_share(1.0, now)

    def _follow(self, reply: JSON, pub: JSON, now: float) -> None:
        congestion = self.congestion
        gate = self.gate
        rate = self.rate
        server_now = reply["now"]
        if pub["epoch"] != self.epoch:
            self.epoch = pub["epoch"]
            congestion.cut_index = congestion.sent
            rate.slots.clear()
            congestion.note("half_open" if pub["is_probing"] else "cut", now)
        elif gate.closed_at is not None and not pub["is_probing"]:
            congestion.note("resumed", now)
        self._follow_gate(reply, pub, now)
        self.limiter.outage.is_on = pub["is_outage"]
        if self.limiter.advertised is not None:
            self.limiter.advertised.members = self.active
        if pub["is_proven"]:
            self._skip_the_first()
        self.concurrency.whole = _or_inf(pub["most"])
        self.concurrency.most = _or_inf(reply["places"])
        pace = _or_inf(pub["pace"])
        self.is_free = pace == inf
        rate.give(reply["slots"], now + reply["first_slot"] - server_now, pace)
        rate.show(pace * reply["share"], is_ramp=pub["is_ramping"], now=now)

    def _follow_gate(self, reply: JSON, pub: JSON, now: float) -> None:
        gate = self.gate
        server_now = reply["now"]
        pause_s = max(pub["paused_until"] - server_now, 0.0)
        if reply["is_held"]:
            pause_s = max(pause_s, _HOLD_S)
        gate.paused_until = now + pause_s
        gate.probing = pub["is_probing"]
        gate.pauses = pub["pauses"]
        gate.closed_at = None
        if pub["closed_at"] is not None:
            gate.closed_at = now - (server_now - pub["closed_at"])
        self.may_probe = reply["may_probe"] and gate.probe is None

    def _skip_the_first(self) -> None:
        """Hold no request back for the first one of this process, because others have been answered."""
        self.congestion.proven = True
        self.limiter._first = None
        if not self.congestion.sent:
            self.congestion.sent = self._reported_sent = 1

    def take_turn(self, text: str, news: JSON) -> tuple[str, JSON]:
        """Update the shared state by the news. Return its text, and the part that members need."""
        events = [(one.pop("at"), Event(**one)) for one in news["events"]]
        state = SharedCongestion.load(text, news["now"])
        ceiling = _or_inf(news["ceiling"])
        state.take_turn(News(**{**news, "ceiling": ceiling, "events": events}))
        return state.dump(), _plain(state)

    def restored(self, server_now: float) -> tuple[str, JSON]:
        """Return the latest shared state that this process knows, for a server that has lost it."""
        state = SharedCongestion.load(self.text, server_now)
        pub = _plain(state)
        return self.text, {**pub, "sent": state.congestion.sent}

    def emit(
        self, kind: str, admission: Admission | None, now: float, error: ChatError | None = None
    ) -> None:
        """Report what this process has seen, and send nothing until the fleet has decided."""
        started = now
        epoch = self.epoch
        if admission is not None:
            started = admission.started
            if admission.index <= self.congestion.cut_index:
                epoch -= 1
        retry_after = None if error is None else error.retry_after
        self._events.append((started, Event(kind, 0.0, epoch, retry_after)))
        self.may_probe = False
        if kind != "recovered":
            self.gate.paused_until = max(self.gate.paused_until, now + _HOLD_S)
        self.urge()

    def missed(self, now: float) -> None:
        """Record a refusal for the next report, which came while this process was alone."""
        if self.text:
            self._events.append((now, Event("missed", 0.0, 0)))

    def reject(self, error: ChatError) -> None:
        """Report that one call found the key, its credit or the model invalid."""
        self._rejection = type(error).__name__
        self.urge()


class _LeasedRate(RateEstimate):
    """The pace of a process with a lease: it sends at its slots. Alone, it estimates its part of the rate."""

    __slots__ = ("answered", "lease", "slots")

    def __init__(self, lease: Lease, now: float) -> None:
        super().__init__(now)
        # A process has no burst of its own: the server gives the first slots of the ramp to the whole fleet.
        self.level = 0.0
        self.lease = lease
        self.slots: deque[float] = deque()
        # The number of requests that were ever answered.
        self.answered = 0

    def ready_at(self, now: float, *, waiting: bool, mirrored: bool) -> float:
        lease = self.lease
        if now >= lease.expires_at:
            if lease.joins(now):
                return now + _POLL_S
            return super().ready_at(now, waiting=waiting, mirrored=mirrored)
        if lease.is_free:
            self.level = 0.0
            return now
        self._drop_used(now)
        if self.level >= 1:  # A request that was not sent has returned its slot.
            return now
        if self.slots:
            return max(self.slots[0], now)
        lease.urge()
        return now + _POLL_S

    def _drop_used(self, now: float) -> None:
        """Remove one slot for each request granted since this method last ran, and the slots that have expired."""
        slots = self.slots
        while slots and self.level < 0:
            slots.popleft()
            self.level += 1
        while slots and slots[0] < now - _SLOT_LASTS_S:
            slots.popleft()

    def held(self, now: float) -> int:
        """Return the number of slots that are left."""
        if self.lease.holds(now):
            self._drop_used(now)
        return len(self.slots)

    def give(self, count: int, first_at: float, pace: float) -> None:
        """Add slots, at even intervals from `first_at` on."""
        self.level = max(self.level, 0.0) if not self.slots else self.level
        self.slots.extend(first_at + number / pace for number in range(count))

    def show(self, pace: float, *, is_ramp: bool, now: float) -> None:
        """Set the fields that forecasts and users read: the part of the pace that this process has now."""
        self.at = now
        self.rate = inf if is_ramp else pace
        self.ramp = pace if is_ramp else inf

    def wait_s(self, now: float, turn: int, *, mirrored: bool) -> float:
        if not self.lease.holds(now):
            return super().wait_s(now, turn, mirrored=mirrored)
        if self.lease.is_free:
            return 0.0
        self._drop_used(now)
        if turn <= len(self.slots):
            return max(self.slots[turn - 1] - now, 0.0)
        last_at = self.slots[-1] if self.slots else now
        lacking = turn - len(self.slots)
        return max(last_at - now, 0.0) + lacking / min(self.rate, self.ramp)

    def accepted(self, *, mirrored: bool) -> None:
        self.answered += 1
        if self.lease.alone_since is not None:
            super().accepted(mirrored=mirrored)

    def hold_until(self, at: float) -> None:
        if self.lease.alone_since is not None:
            super().hold_until(at)

    def held_back(self, now: float) -> None:
        # The fleet decides how its pace grows, and a request takes a slot, which time does not bring.
        if self.lease.alone_since is not None:
            super().held_back(now)

    def _growth(self, now: float) -> float:
        # While it is alone, one of several members does not test how much the others leave.
        if self.lease.members > 1:
            return 0.0
        return super()._growth(now)


class _LeasedGate(Gate):
    """The gate of a process with a lease: only one member of the fleet sends a probe."""

    __slots__ = ("lease",)

    def __init__(self, lease: Lease, now: float, rng: Random) -> None:
        super().__init__(now, rng)
        self.lease = lease

    def ready_at(self, now: float) -> float:
        if self.probe is not None:
            return inf
        if now >= self.lease.expires_at:
            if self.lease.joins(now):
                return now + _POLL_S
            return now
        if self.lease.may_probe:
            return now
        self.lease.urge()
        return now + _POLL_S


class _LeasedConcurrency(ConcurrencyLimit):
    """The concurrency limit of a process with a lease: its part of the fleet's limit, which may be 0."""

    __slots__ = ("lease", "whole")

    def __init__(self, lease: Lease) -> None:
        super().__init__()
        self.lease = lease
        # The limit of the whole fleet.
        self.whole = inf

    def admits(self, in_flight: int) -> bool:
        if self.lease.alone_since is not None:
            return super().admits(in_flight)
        self.lease.urge()
        return in_flight < self.most

    def answered(self, in_flight: int) -> None:
        if self.lease.alone_since is not None:
            super().answered(in_flight)


class _LeasedCongestion(Congestion):
    """Reports to the fleet what happens to the calls of this process. Alone, it decides itself."""

    def __init__(self, lease: Lease, now: float, rng: Random, name: str) -> None:
        super().__init__(now, rng, name)
        self.lease = lease

    def refused(
        self, admission: Admission, now: float, error: ChatError, advertised: Advertised | None
    ) -> None:
        if self.lease.alone_since is not None:
            self.lease.missed(now)
            super().refused(admission, now, error, advertised)
            return
        admission.refusals += 1
        if self._concerns_own_call(admission, now):
            self.lease.emit("ignored", admission, now)
            return
        self.last_refusal = copy_for_followers(error)
        is_throttle = error.retry_class is errors.RetryClass.THROTTLE
        self.lease.emit("throttled" if is_throttle else "overloaded", admission, now, error)

    def narrow(self, admission: Admission, now: float, *, in_a_row: bool) -> bool:
        if self.lease.alone_since is not None:
            return super().narrow(admission, now, in_a_row=in_a_row)
        self.lease.emit("timeout", admission, now)
        return True

    def start_probing(self, now: float, error: ChatError) -> None:
        if self.lease.alone_since is not None:
            super().start_probing(now, error)
            return
        self.lease.emit("outage", None, now, error)

    def recovered(self, now: float) -> bool:
        if self.lease.alone_since is not None:
            return super().recovered(now)
        self.lease.emit("recovered", None, now)
        return self.gate.closed_at is not None

    def rejected(self, error: ChatError) -> None:
        super().rejected(error)
        self.lease.reject(error)


def _error_named(name: str) -> ChatError:
    """Return the error for queued calls, because another process has found an error of this class."""
    found = getattr(errors, name, None)
    if not (isinstance(found, type) and issubclass(found, errors.ProviderError)):
        found = errors.ProviderError
    return found("The provider refuses this key or model, as another process has just found.")


def _plain(state: SharedCongestion) -> JSON:
    """Return the part of a state that members need, as JSON values."""
    pub = state.published()._asdict()
    return pub | {"pace": _or_minus(pub["pace"]), "most": _or_minus(pub["most"])}


def _or_inf(value: float) -> float:
    """Return a limit from JSON, in which a negative number stands for infinity."""
    return inf if value < 0 else value


def _or_minus(value: float) -> float:
    return -1.0 if value == inf else value


def _ignore() -> None:
    """Do nothing; this is `urge` while no extension renews the lease."""
