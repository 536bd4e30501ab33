"""Learns the limits of a key from the answers and refusals of a whole fleet. No I/O and no clock here.

The members of a fleet store this state as text on a server and take turns: one loads it, adds what all members have
reported since the last turn, and stores it again. So a member that dies loses nothing. The rules are those of one
process, because the state is an ordinary `Congestion`, whose times are those of the server.

A member learns of a cut a little later than it is made. So each cut begins a new *epoch*, and a refusal has the epoch
in which its request was sent: only a request of the present epoch can cause another cut.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from dataclasses import dataclass, field
from math import inf
from random import Random
from typing import Any, NamedTuple

from modelwire.aliases import JSON, Kwargs
from modelwire.errors import Overloaded, RateLimited
from modelwire.transport.ratelimit.admission import Admission
from modelwire.transport.ratelimit.congestion import Congestion
from modelwire.transport.ratelimit.gate import PAUSE_CAP_S
from modelwire.transport.ratelimit.random_refusals import Onset
from modelwire.transport.ratelimit.rate import PACE_PART, RateEstimate

# The numbers of sent requests of the latest turns are stored for this long. They show how many requests were sent
# before a refused one.
_HISTORY_S = 5.0
# At most this many of them are stored.
_MOST_HISTORY = 60
# At most this many answers of a turn raise the concurrency limit, and allow more requests on the ramp.
_MOST_ANSWERS = 5_000
# The parts of a congestion whose fields are stored, and the fields that are not.
_PARTS = ("rate", "concurrency", "gate", "accepted", "random_refusals")
_NOT_STORED = frozenset({"_rng", "probe", "onset"})
# The numbers of a congestion itself that are not stored: the first comes with the news, the second is of one process.
_NUMBERS_NOT_STORED = frozenset({"in_flight", "_changed_at"})


class Event(NamedTuple):
    """What one member has seen: a refusal of a limit, or a sign of an overload, of an outage, or of its end."""

    kind: str  # "throttled", "overloaded", "ignored", "missed", "timeout", "outage" or "recovered".
    age_s: float  # Seconds since the request was sent.
    epoch: int  # The epoch in which the request was sent.
    retry_after: float | None = None


@dataclass(slots=True)
class News:
    """What the members have reported since the last turn; `sent` is the number of all requests so far."""

    now: float
    sent: int
    answered: int
    in_flight: int
    members: int
    is_waiting: bool
    ceiling: float
    events: list[tuple[float, Event]] = field(default_factory=list)  # Each with its report's time.


class Published(NamedTuple):
    """The part of the shared state that members need."""

    pace: float  # Requests a second, infinity if no limit is known.
    extra: float  # Further requests that may be sent at once.
    is_growing: bool  # Whether the pace changes with time, so that the state needs regular turns.
    paused_until: float
    is_probing: bool
    closed_at: float | None
    pauses: int
    most: float  # Requests in flight.
    epoch: int
    is_outage: bool
    is_proven: bool
    is_ramping: bool


class SharedCongestion:
    """The congestion of a fleet, between `load` and `dump`."""

    def __init__(self, now: float) -> None:
        self.congestion = Congestion(now, Random(), "fleet")  # noqa: S311
        self.epoch = 0
        self.is_outage = False
        self._history: list[tuple[float, int]] = []
        self._extra = 0.0

    @classmethod
    def load(cls, text: str | bytes, now: float) -> SharedCongestion:
        """Return the state that is stored in `text`; a new one if `text` is empty."""
        state = cls(now)
        if not text:
            return state
        data = json.loads(text)
        congestion = state.congestion
        for part in _PARTS:
            _set_fields(getattr(congestion, part), data[part])
        _set_fields(congestion, data["numbers"])
        suspicion = congestion._suspicion
        _set_fields(suspicion, data["suspicion"])
        if data["onset"] is not None:
            suspicion.onset = Onset(0, 0.0, 0)
            _set_fields(suspicion.onset, data["onset"])
        state.epoch = data["epoch"]
        state.is_outage = data["is_outage"]
        state._history = [(at, sent) for at, sent in data["history"]]
        return state

    def dump(self) -> str:
        """Return the state as JSON text, from which `load` restores it."""
        congestion = self.congestion
        suspicion = congestion._suspicion
        data: JSON = {part: _fields(getattr(congestion, part)) for part in _PARTS}
        data["numbers"] = {
            name: value
            for name, value in vars(congestion).items()
            if isinstance(value, int | float) and name not in _NUMBERS_NOT_STORED
        }
        data["suspicion"] = _fields(suspicion)
        data["onset"] = None if suspicion.onset is None else _fields(suspicion.onset)
        data |= {"epoch": self.epoch, "is_outage": self.is_outage, "history": self._history}
        return json.dumps(data, separators=(",", ":"))

    def take_turn(self, news: News) -> None:
        """Update the state by what members have reported since the last turn."""
        congestion = self.congestion
        now = news.now
        new = max(news.sent - congestion.sent, 0)
        congestion.sent = max(news.sent, congestion.sent)
        congestion.in_flight = news.in_flight
        congestion.rate.ceiling = news.ceiling
        self._remember(now)
        if new:
            congestion.random_refusals.sent(new)
            if congestion.rate.rate == inf and not congestion.gate.probing:
                congestion.accepted.sent(now, new)
        self._count_answers(min(news.answered, _MOST_ANSWERS), news.members)
        ordered = sorted(news.events, key=lambda one: one[0] - one[1].age_s)
        for reported_at, event in ordered:
            self._take(event, min(reported_at, now) - event.age_s, now)
        if news.in_flight >= congestion.concurrency.most:
            congestion.rate.held_back(now)
        else:
            congestion.rate.ready_at(now, waiting=news.is_waiting, mirrored=False)
        congestion.rate.level = 0.0

    def published(self) -> Published:
        """Return the part of the present state that members need."""
        rate = self.congestion.rate
        gate = self.congestion.gate
        steady = min(rate.rate, rate.ceiling) * PACE_PART
        return Published(
            pace=min(rate.ramp, steady),
            extra=self._extra,
            is_growing=rate.ramp < inf or rate.rate < inf,
            paused_until=gate.paused_until,
            is_probing=gate.probing,
            closed_at=gate.closed_at,
            pauses=gate.pauses,
            most=self.congestion.concurrency.most,
            epoch=self.epoch,
            is_outage=self.is_outage,
            is_proven=self.congestion.proven,
            is_ramping=rate.ramp < steady,
        )

    def _remember(self, now: float) -> None:
        history = [one for one in self._history if now - _HISTORY_S <= one[0] <= now]
        self._history = [*history[1 - _MOST_HISTORY :], (now, self.congestion.sent)]

    def _count_answers(self, answered: int, members: int) -> None:
        congestion = self.congestion
        if answered:
            congestion.proven = True
        before = congestion.rate.level
        for _ in range(answered):
            congestion.concurrency.answered(congestion.in_flight)
            congestion.rate.accepted(mirrored=False)
        # A refusal is known to several members later than to one: for them the ramp alone sets the pace.
        self._extra = congestion.rate.level - before if members == 1 else 0.0

    def _take(self, event: Event, started: float, now: float) -> None:
        congestion = self.congestion
        cut_index = congestion.cut_index
        is_of_this_epoch = event.epoch >= self.epoch
        admission = self._admission_at(started, is_of_this_epoch=is_of_this_epoch)
        is_nothing_accepted = congestion.gate.probing or not congestion.proven
        if is_of_this_epoch and is_nothing_accepted:
            congestion.accepted.begin_at(admission)
        if event.kind == "throttled":
            congestion.refused(admission, now, RateLimited("", retry_after=event.retry_after), None)
        elif event.kind == "overloaded":
            congestion.refused(admission, now, Overloaded("", retry_after=event.retry_after), None)
        elif event.kind in ("ignored", "missed"):
            congestion.accepted.ignored()
            if congestion.rate.rate < inf and event.kind == "ignored":
                congestion.pause(now, min(1 / congestion.rate.rate, PAUSE_CAP_S))
        elif event.kind == "timeout":
            congestion.narrow(admission, now, in_a_row=False)
        elif event.kind == "outage":
            self.is_outage = True
            congestion.start_probing(now, Overloaded("", retry_after=event.retry_after))
        elif event.kind == "recovered" and is_of_this_epoch:
            congestion.recovered(now)
            self.is_outage = False
        if congestion.cut_index != cut_index:
            self.epoch += 1

    def _admission_at(self, started: float, *, is_of_this_epoch: bool) -> Admission:
        """Return an admission that stands for the request that a member sent at this time."""
        admission = Admission(started, again=False, patient=False, size=0, max_output=None)
        admission.started = started
        sent_before = self._sent_before(started)
        cut_index = self.congestion.cut_index
        if is_of_this_epoch:
            admission.index = max(sent_before, cut_index + 1)
        else:
            admission.index = min(sent_before, cut_index)
        return admission

    def _sent_before(self, at: float) -> int:
        """Return how many requests the fleet had sent at this time."""
        times = [one[0] for one in self._history]
        place = bisect_right(times, at)
        if place == len(times):
            return self.congestion.sent
        after_at, after = self._history[place]
        if place == 0:
            return after
        before_at, before = self._history[place - 1]
        return before + round((after - before) * (at - before_at) / (after_at - before_at))


def scaled(rate: RateEstimate, text: str | bytes, share: float, now: float) -> None:
    """Set `rate` to this share of the rate in a stored state, as learned at `now`."""
    stored = json.loads(text)["rate"]
    whole = min(stored["rate"], stored.pop("ceiling"))
    _set_fields(rate, {**stored, "rate": whole})
    for name in ("rate", "rate_after_cut", "proven", "aim", "ramp"):
        setattr(rate, name, getattr(rate, name) * share)
    rate.at = rate.cut_at = now
    rate.level = 0.0


def _fields(part: Any) -> JSON:
    return {name: getattr(part, name) for name in part.__slots__ if name not in _NOT_STORED}


def _set_fields(part: Any, values: Kwargs) -> None:
    for name, value in values.items():
        setattr(part, name, tuple(value) if isinstance(value, list) else value)
