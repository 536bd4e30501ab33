"""Sends the calls of a pool to its deployments, and keeps those that wait. No I/O here; `now` is passed in."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from functools import partial
from math import inf
from threading import Lock
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakSet

from modelwire import forks
from modelwire.errors import AllDeploymentsFailed
from modelwire.pools.call import LOOKED_AT, NO_RESTRICTIONS, STALE_S, WATCH_S, PoolCall, wake
from modelwire.pools.choice import Preference, WaitFor, choose, fast_ones
from modelwire.pools.deployment import Deployment
from modelwire.pools.hedging import HedgeBudget
from modelwire.pools.sticky import StickyTable, cold_s

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Scheduler"]

# The pool assumes this median before any call was answered.
_MEDIAN_S = 1.0


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

    def wake(self, now: float) -> None:
        """Place the waiting calls that can start, and wake them."""
        if not self.waiting:
            return
        with self.lock:
            to_wake = self.advance(now)
        wake(to_wake)

    def error_of(self, errors: Mapping[str, BaseException]) -> AllDeploymentsFailed:
        """Return the error of a call: its own `errors`, by deployment, and the last ones of the other deployments."""
        all_errors = dict(errors)
        for deployment in self.deployments:
            if deployment.name not in all_errors and deployment.health.last_error is not None:
                all_errors[deployment.name] = deployment.health.last_error
        return AllDeploymentsFailed.of(all_errors)


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
