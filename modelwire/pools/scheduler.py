"""Sends the calls of a pool to its deployments, and keeps those that wait. No I/O here; `now` is passed in."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from functools import partial
from math import inf
from threading import Lock
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakSet

from modelwire import forks
from modelwire.pools.call import LOOKED_AT, NO_RESTRICTIONS, STALE_S, WATCH_S, PoolCall
from modelwire.pools.choice import Preference, WaitFor, choose, fast_ones
from modelwire.pools.deployment import Deployment
from modelwire.pools.hedging import HedgeBudget
from modelwire.pools.sticky import StickyTable, cold_s

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Scheduler"]

# The pool assumes this median before any call was answered.
_MEDIAN_S = 1.0
# Between its search in the caches and its start, a call may take as long as this; so many answers are remembered.
_ANSWERED_S = 5.0
_MOST_ANSWERED = 1000


class Scheduler:
    """The deployments of a pool, the calls that wait for one, and what is shared between calls."""

    def __init__(
        self,
        deployments: Sequence[Deployment],
        *,
        prefer: Preference = "fastest",
        sticky: bool = True,
        hedge: float | str | None = None,
        max_wait: float = 60.0,
    ) -> None:
        self.deployments = list(deployments)
        self.prefer = prefer
        self.sticky = sticky
        self.hedges = HedgeBudget(hedge)
        self.max_wait_s = max_wait
        self.table = StickyTable()
        self.lock = Lock()
        self.waiting: deque[PoolCall] = deque()
        # By what identifies its answer: the first call in flight. Equal ones go where it is, and wait for its answer.
        self.leaders: dict[tuple[Any, ...], PoolCall] = {}
        # The same for those that were answered lately: where, and until when that counts.
        self._answered: dict[tuple[Any, ...], tuple[int, float]] = {}
        # The deployments with the best median, for each size. The list is found again when something changes,
        # and at the second time.
        self._fast: dict[int, list[Deployment]] = {}
        self._fast_until = inf
        for position, deployment in enumerate(self.deployments):
            deployment.position = position
        _schedulers.add(self)

    def __reduce__(self) -> Any:
        make = partial(
            Scheduler,
            prefer=self.prefer,
            sticky=self.sticky,
            hedge=self.hedges.after,
            max_wait=self.max_wait_s,
        )
        return make, (self.deployments,)

    def picked(self, call: PoolCall, now: float) -> Deployment | WaitFor:
        """Return where the call goes now, or how long it waits."""
        if call.entries and (home := self.home_of(call, now)) is not None:
            return home
        warm = None
        if call.prefix is not None:
            warm = self.table.place(call.prefix[0], now)
        found: Deployment | WaitFor | None = None
        if self.prefer == "fastest" and not (call.errors or call.shut):
            found = self._at_once(call, warm, now)
        if found is None:
            found = self._chosen(call, warm, now)
        if call.prefix is not None and isinstance(found, Deployment):
            self.table.sent(call.prefix[0], found.position, now)
        return found

    def home_of(self, call: PoolCall, now: float) -> Deployment | None:
        """Return the deployment that needs no request for this call: it has the answer, or makes an equal call."""
        position = call.home
        if position is None:
            position = self._equal_at(call, now)
        if position is None or position in call.shut or position not in call.entries:
            return None
        return self.deployments[position]

    def _equal_at(self, call: PoolCall, now: float) -> int | None:
        """Return the position of the deployment that makes an equal call, or has just answered one."""
        leader = self.leaders.get(call.identity)
        if leader is not None and leader.deployment is not None:
            # A call that is likely to fail leads no other.
            is_followed = leader is not call and not leader.deployment.is_suspect
            return leader.deployment.position if is_followed else None
        position, until = self._answered.get(call.identity, (None, now))
        if until <= now or call.errors:
            return None
        return position

    def remember(self, call: PoolCall, position: int, now: float) -> None:
        """Called when a deployment has answered. Equal calls that searched the caches before that go there."""
        answered = self._answered
        while answered and (len(answered) >= _MOST_ANSWERED or _first_end(answered) <= now):
            del answered[next(iter(answered))]
        answered[call.identity] = position, now + _ANSWERED_S

    def _at_once(self, call: PoolCall, warm: int | None, now: float) -> Deployment | None:
        """Return the deployment that `_chosen` would return, if the call may start there at once.

        None means that `_chosen` must look at all deployments.
        """
        best = None
        for deployment in self._fast_ones(call.size, now):
            if warm is not None and deployment.position != warm:
                continue
            if best is None or deployment.in_flight < best.in_flight:
                best = deployment
        if best is not None and best.may_start(now, call.tokens):
            return best
        return None

    def _chosen(self, call: PoolCall, warm: int | None, now: float) -> Deployment | WaitFor:
        medians = _medians(self.deployments, call.size, now)
        candidates = []
        for deployment, median_s in zip(self.deployments, medians, strict=True):
            penalty_s = 0.0
            if warm is not None and warm != deployment.position and call.prefix is not None:
                penalty_s = cold_s(call.prefix[1])
            candidate = deployment.candidate(now, call.tokens, median_s, penalty_s)
            self.suspect(deployment, is_suspect=deployment.is_closed(now))
            if call.errors or call.shut:
                candidate = call.kept_off(candidate, deployment.position, now)
            candidates.append(candidate)
        choice = choose(candidates, waiting=len(self.waiting), prefer=self.prefer)
        if isinstance(choice, WaitFor):
            return choice
        return self.deployments[choice]

    def _fast_ones(self, size: int, now: float) -> list[Deployment]:
        """Return the deployments with the best median; none while one of all is suspect."""
        if now >= self._fast_until:
            self.find_fast_again()
        fast = self._fast.get(size)
        if fast is None:
            fast = self._fast[size] = []
            if not any(one.is_suspect for one in self.deployments):
                medians = _medians(self.deployments, size, now)
                fast += [self.deployments[position] for position in fast_ones(medians)]
            stale_at = [one.sent_at + STALE_S for one in self.deployments]
            self._fast_until = min([at for at in stale_at if at > now], default=inf)
        return fast

    def find_fast_again(self) -> None:
        """Called when a median has changed or is out of date, and when a deployment becomes suspect or stops to be."""
        self._fast.clear()
        self._fast_until = inf

    def suspect(self, deployment: Deployment, *, is_suspect: bool) -> None:
        """Called when a call has failed there, and when its state was read again."""
        if deployment.is_suspect != is_suspect:
            deployment.is_suspect = is_suspect
            self.find_fast_again()

    def forget_calls(self) -> None:
        """Forget the calls that wait or are in flight. A forked child calls it, because they are its parent's."""
        self.lock = Lock()
        self.waiting.clear()
        self.leaders.clear()
        for deployment in self.deployments:
            deployment.in_flight = deployment.coming = 0
            deployment.health.probe_left()

    def advance(self, now: float) -> list[PoolCall]:
        """Place the waiting calls that can start, in the order of the queue; return those to wake."""
        to_wake: list[PoolCall] = []
        head: PoolCall | None = None
        looked_at = 0
        # What restricts the calls that could not be placed: calls with the same restrictions cannot be placed either.
        held: set[tuple[frozenset[int], int | None]] = set()
        calls = list(self.waiting)
        if any(one.health.is_out for one in self.deployments):
            # Calls that have not failed yet probe first: the fault may lie in the others.
            calls.sort(key=lambda call: bool(call.errors))
        for call in calls:
            kept_off_s = call.kept_off_until() - now
            if kept_off_s > 0:  # It holds up no other call.
                call.wait_s = min(kept_off_s, WATCH_S)
                continue
            restrictions = call.restrictions(now)
            if restrictions in held:
                continue
            if looked_at == LOOKED_AT:
                break
            looked_at += 1
            found = self.picked(call, now)
            if isinstance(found, Deployment):
                self.waiting.remove(call)
                call.place(found, now)
                call.is_coming = True
                found.coming += 1
                to_wake.append(call)
                continue
            call.wait_s = found.seconds
            if head is None:
                head = call
            if restrictions == NO_RESTRICTIONS:
                break  # The calls behind it wait for the same deployments.
            held.add(restrictions)
        if to_wake and head is not None:
            to_wake.append(head)  # It looks for all others from now on.
        return to_wake


def _first_end(answered: dict[tuple[Any, ...], tuple[int, float]]) -> float:
    return next(iter(answered.values()))[1]


_schedulers: WeakSet[Scheduler] = WeakSet()


@forks.in_child
def _forget_the_parents() -> None:
    for scheduler in list(_schedulers):
        scheduler.forget_calls()


def _medians(deployments: Iterable[Deployment], size: int, now: float) -> list[float]:
    """Return the median of each deployment: the least one for those whose times are unknown, or out of date."""
    fresh_at = now - STALE_S
    medians = []
    for deployment in deployments:
        median_s = None
        if deployment.sent_at > fresh_at:
            median_s = deployment.times.median_s(size)
        medians.append(median_s)
    if None not in medians:
        return cast("list[float]", medians)
    least_s = min([one for one in medians if one is not None], default=_MEDIAN_S)
    return [least_s if one is None else one for one in medians]
