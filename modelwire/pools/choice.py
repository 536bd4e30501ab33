"""Decides which deployment of a pool a call goes to, or how long it waits. No I/O, no clock and no state here.

A call goes where it is expected to end first: the wait for its start plus the median seconds of such calls. It joins
the queue of a deployment only if it starts soon; otherwise it waits in the pool's own queue, from which it can still
go anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Literal, NamedTuple

__all__ = ["HORIZON_S", "PRIMED", "Candidate", "Preference", "WaitFor", "choose", "fast_ones"]

Preference = Literal["fastest", "first", "weights"]

# A call joins the queue of a deployment in which it starts within this time. The limiter there learns
# a higher pace only while calls wait in its queue.
HORIZON_S = 0.5
# While the pool's queue is longer, so many calls may wait for a deployment however slow its pace is.
PRIMED = 2
# Deployments whose expected times differ by less than this part, or by less than this time, are equal.
_EQUAL_PART = 0.25
_EQUAL_S = 0.05
# A slower deployment takes a call if the queues of the better ones last this many times as long as the call would
# end later there: of slow calls some end far later than the median.
_QUEUE_PART = 1.2
# The rate of deployments whose rate is 0.
_LEAST_PER_S = 0.001
# A waiting call looks again at least after the first and at most after the second time.
_LEAST_WAIT_S = 0.005
_MOST_WAIT_S = 0.5


class Candidate(NamedTuple):
    """What is known of one deployment for one call."""

    wait_s: float = 0.0
    """Seconds until the call could start there; infinity while another call's end decides that."""
    median_s: float = 1.0
    """The median seconds of such calls there."""
    pause_s: float = 0.0
    """Seconds until any request may be sent there."""
    queued: int = 0
    """Calls that wait there already."""
    in_flight: int = 0
    """Calls of this pool that have not ended there."""
    per_s: float = inf
    """The known rate of requests there."""
    penalty_s: float = 0.0
    """Seconds that this call would lose there: a cold prompt, or a deployment that has just refused it."""
    is_probe_due: bool = False
    """True if the deployment is out, and one call may find out whether it is back."""
    weight: float = 1.0
    recent: float = 0.0
    """Calls that were sent there lately."""


class WaitFor(NamedTuple):
    """No deployment can take the call now; look again after these seconds."""

    seconds: float


def choose(
    candidates: Sequence[Candidate], *, waiting: int = 0, prefer: Preference = "fastest"
) -> int | WaitFor:
    """Return the position of the deployment that takes the call, or how long the call waits.

    `waiting` calls are in the pool's queue, including this one if it is there.
    """
    patience_s = 0.0
    if waiting > 1:
        patience_s = _patience_s(candidates, waiting)
    best_s = inf
    startable: list[int] = []
    costs = []
    for position, candidate in enumerate(candidates):
        if candidate.is_probe_due:
            return position
        wait_s = candidate.wait_s
        cost_s = wait_s + candidate.median_s + candidate.penalty_s
        costs.append(cost_s)
        if cost_s < best_s:
            best_s = cost_s
        if wait_s <= 0 or _may_join(candidate, patience_s):
            startable.append(position)
    if not startable:
        return _wait(candidates)
    if prefer == "first":
        return startable[0]
    if prefer == "weights":
        return min(startable, key=lambda position: _share(candidates[position]))
    least_s = min([costs[position] for position in startable])
    if least_s > _as_good_as(best_s):
        better = [one for one, cost_s in zip(candidates, costs, strict=True) if cost_s < least_s]
        if least_s > best_s + _QUEUE_PART * _all_started_s(better, waiting):
            return _wait(better)
    limit_s = _as_good_as(least_s)
    equal = [position for position in startable if costs[position] <= limit_s]
    if len(equal) == 1:
        return equal[0]
    return min(equal, key=lambda position: _load(candidates[position]))


def fast_ones(medians_s: Sequence[float]) -> list[int]:
    """Return the positions of the deployments that are as good as the fastest one while calls start at once.

    The least busy one of them is what `choose` returns.
    """
    limit_s = _as_good_as(min(medians_s))
    return [position for position, median_s in enumerate(medians_s) if median_s <= limit_s]


def _patience_s(candidates: Sequence[Candidate], waiting: int) -> float:
    """Return how long the last call of the pool's queue waits at the known rates."""
    per_s = sum(candidate.per_s for candidate in candidates if candidate.wait_s < inf)
    if per_s <= 0:
        return 0.0
    return waiting / per_s


def _all_started_s(candidates: Sequence[Candidate], waiting: int) -> float:
    """Return after what time the last call of all queues would start at these deployments."""
    per_s = max(sum([one.per_s for one in candidates]), _LEAST_PER_S)
    return (waiting + sum([one.queued for one in candidates])) / per_s


def _may_join(candidate: Candidate, patience_s: float) -> bool:
    if candidate.pause_s > HORIZON_S:
        return False
    is_soon = candidate.wait_s <= HORIZON_S
    return is_soon or (candidate.queued < PRIMED and candidate.wait_s <= patience_s)


def _as_good_as(cost_s: float) -> float:
    return max(cost_s * (1 + _EQUAL_PART), cost_s + _EQUAL_S)


def _share(candidate: Candidate) -> tuple[float, float]:
    return candidate.penalty_s, (candidate.recent + 1) / candidate.weight


def _load(candidate: Candidate) -> tuple[float, float]:
    return candidate.penalty_s + candidate.wait_s, candidate.in_flight


def _wait(candidates: Sequence[Candidate]) -> WaitFor:
    wait_s = min(max(one.wait_s - HORIZON_S, one.pause_s) for one in candidates)
    return WaitFor(min(max(wait_s, _LEAST_WAIT_S), _MOST_WAIT_S))
