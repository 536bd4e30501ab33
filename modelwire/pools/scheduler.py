"""Sends the calls of a pool to its deployments, and keeps those that wait. No I/O here; `now` is passed in.

call = PoolCall(scheduler, ...)
call.poll(now)                      # a `Deployment`, or None: wait for `call.wait_s`, or until it is woken
call.answered(now)                  # or
call.failed(now, error)             # raises the error of the call, or returns: poll again
call.leave(now)                     # the call ends without an outcome
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from functools import partial
from math import inf
from threading import Lock
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakSet

from modelwire import forks
from modelwire.errors import (
    AllDeploymentsFailed,
    ChatError,
    MalformedResponse,
    RetryClass,
    and_said,
)
from modelwire.pools.choice import HORIZON_S, Candidate, Preference, WaitFor, choose, fast_ones
from modelwire.pools.deployment import RECENT_PART, Deployment
from modelwire.pools.health import Verdict, verdict_of
from modelwire.pools.hedging import HedgeBudget
from modelwire.pools.sticky import StickyTable, cold_s
from modelwire.pools.times import size_class
from modelwire.transport.ratelimit.admission import Admission, RoutedCall
from modelwire.transport.ratelimit.outage import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["PoolCall", "Scheduler"]

# At most so many waiting calls are looked at when one of them may start.
_LOOKED_AT = 32
# A call that is not the first of the queue looks again after this time, in case a wake-up was lost.
_WATCH_S = 1.0
# A call goes back to a deployment that has refused it or failed after this time, which doubles up to the second.
_AGAIN_FIRST_S = 0.25
_AGAIN_MOST_S = 8.0
# A call that a limiter has returned unsent may go there again after this time.
_UNSENT_S = 0.05
# A call fails after this many failures of its own. A failure is the call's own if the deployment has answered other
# calls since it last failed this one; otherwise the deployment may be down, and the call waits. An answer that cannot
# be decoded always counts, because the provider may bill it.
_MOST_OWN_FAILURES = 4
# A call fails after this many refusals of its own.
_MOST_OWN_REFUSALS = 20
# The pool assumes this median before any call was answered.
_MEDIAN_S = 1.0
# The times of a deployment without a call for so long are out of date: it is tried again.
_STALE_S = 60.0
_CHARS_PER_TOKEN = 4
_NONE: Mapping[Any, Any] = MappingProxyType({})
_NO_RESTRICTIONS: tuple[frozenset[int], int | None] = (frozenset(), None)


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
            stale_at = [one.sent_at + _STALE_S for one in self.deployments]
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
                call.wait_s = min(kept_off_s, _WATCH_S)
                continue
            restrictions = call.restrictions(now)
            if restrictions in held:
                continue
            if looked_at == _LOOKED_AT:
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
            if restrictions == _NO_RESTRICTIONS:
                break  # The calls behind it wait for the same deployments.
            held.add(restrictions)
        if to_wake and head is not None:
            to_wake.append(head)  # It looks for all others from now on.
        return to_wake


_schedulers: WeakSet[Scheduler] = WeakSet()


@forks.in_child
def _forget_the_parents() -> None:
    for scheduler in list(_schedulers):
        scheduler.forget_calls()


def _medians(deployments: Iterable[Deployment], size: int, now: float) -> list[float]:
    """Return the median of each deployment: the least one for those whose times are unknown, or out of date."""
    fresh_at = now - _STALE_S
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


class PoolCall(RoutedCall):
    """One call of a pool, on its way through the deployments."""

    deployment: Deployment | None = None
    # True from its turn in the pool's queue until its owner has woken.
    is_coming = False
    # The call waits so long, or until its waiter is woken.
    wait_s = 0.0
    waiter: Admission | None = None
    # The last error of each deployment that has failed this call, by name.
    errors: Mapping[str, BaseException] = _NONE
    # By position: how often a deployment has failed this call, and when it may go there again.
    _fails: Mapping[int, int] = _NONE
    _again_at: Mapping[int, float] = _NONE
    # The failures and refusals of this call alone, and by verdict and position how many calls the deployment had
    # answered when it last failed this one.
    _own_failures = 0
    _own_refusals = 0
    _answers_at: Mapping[tuple[Verdict, int], int] = _NONE
    # The same by position alone, for the failures and overloads, but not for the rate limits.
    _answers_at_failure: Mapping[int, int] = _NONE
    # The time since which all deployments are out.
    _out_since: float | None = None
    # The seconds that the reader of a stream has spent between its chunks.
    reader_s = 0.0

    def __init__(
        self,
        scheduler: Scheduler,
        now: float,
        *,
        chars: int = 0,
        prefix: tuple[int, int] | None = None,
        patient: bool = False,
        stream: bool = False,
        shut: frozenset[int] = frozenset(),
    ) -> None:
        self.scheduler = scheduler
        self.tokens = chars // _CHARS_PER_TOKEN
        self.size = size_class(self.tokens)
        self.prefix = prefix
        self.patient = patient
        self.stream = stream
        self.shut = shut
        self.started = now
        scheduler.hedges.calls += 1

    def poll(self, now: float) -> Deployment | None:
        """Return the deployment that takes the call now; None: it waits for `wait_s`, or until `waiter` is woken.

        Raises: `AllDeploymentsFailed` if waiting cannot help.
        """
        scheduler = self.scheduler
        to_wake: list[PoolCall] = []
        with scheduler.lock:
            if self.deployment is None:
                first = scheduler.deployments[0]
                if self.errors or self.waiter is not None or first.health.is_out:
                    self._check_outage(now)
                if self.waiter is None and not scheduler.waiting:
                    found = scheduler.picked(self, now)
                    if isinstance(found, Deployment):
                        self.place(found, now)
                        return found
                to_wake = self._queued(now)
            placed = self.deployment
            self._arrived()
        for call in to_wake:
            if call is not self and call.waiter is not None:
                call.waiter.wake()
        return placed

    def _queued(self, now: float) -> list[PoolCall]:
        scheduler = self.scheduler
        if self.waiter is None:
            self.waiter = Admission(now, again=False, patient=False, size=0, max_output=None)
            scheduler.waiting.append(self)
        self.waiter.signalled = False
        self.wait_s = _WATCH_S
        return scheduler.advance(now)

    def _arrived(self) -> None:
        if self.is_coming and self.deployment is not None:
            self.is_coming = False
            self.deployment.coming -= 1

    def place(self, deployment: Deployment, now: float) -> None:
        """Called with the deployment that takes the call."""
        if self.scheduler.prefer == "weights":
            for other in self.scheduler.deployments:
                other.recent *= RECENT_PART
            deployment.recent += 1
        deployment.in_flight += 1
        if deployment.health.is_out:
            deployment.health.sent(now)
        if deployment.sent_at <= now - _STALE_S:
            self.scheduler.find_fast_again()
        deployment.sent_at = now
        self.deployment = deployment
        self.started = now
        self.queued_s = self.reader_s = 0.0
        self.has_exchange = False

    def restrictions(self, now: float) -> tuple[frozenset[int], int | None]:
        """Return the positions of the deployments that do not take this call now, and of the one where it is warm."""
        if not self.errors and self.prefix is None:
            return _NO_RESTRICTIONS
        later = [position for position, again_at in self._again_at.items() if again_at > now]
        warm = None
        if self.prefix is not None:
            warm = self.scheduler.table.place(self.prefix[0], now)
        return self.shut.union(later), warm

    def kept_off_until(self) -> float:
        """Return until when no deployment takes this call, because each has failed it lately."""
        if not self._again_at:
            return -inf
        again_at = [
            self._again_at.get(one.position, -inf)
            for one in self.scheduler.deployments
            if one.position not in self.shut
        ]
        return min(again_at, default=-inf)

    def kept_off(self, candidate: Candidate, position: int, now: float) -> Candidate:
        """Return the candidate as it is for this call, which it has failed before."""
        if position in self.shut:
            return candidate._replace(wait_s=inf, pause_s=inf, is_probe_due=False)
        remaining_s = self._again_at.get(position, now) - now
        if remaining_s <= 0:
            return candidate
        wait_s = max(candidate.wait_s, remaining_s + HORIZON_S)
        return candidate._replace(wait_s=wait_s, queued=_LOOKED_AT, is_probe_due=False)

    def _check_outage(self, now: float) -> None:
        """Raise if no deployment would ever take the call, or if all are out for too long."""
        scheduler = self.scheduler
        deployments = scheduler.deployments
        if not any(self._may_take(one, now) for one in deployments):
            raise self._error()
        if not all(self._is_down(one, now) for one in deployments):
            self._out_since = None
            return
        since = self._out_since
        if since is None:
            since = self._out_since = now
        patience_s = scheduler.max_wait_s
        if self.patient and all(one.is_down(now) for one in deployments):
            is_proven = any(one.health.is_proven for one in deployments)
            patience_s = max(patience_s, PATIENCE_S if is_proven else 0.0)
        if now - since > patience_s:
            raise self._error()

    def _may_take(self, deployment: Deployment, now: float) -> bool:
        """Return whether the deployment may take this call, now or soon."""
        if deployment.position in self.shut:
            return False
        health = deployment.health
        return not (health.is_out and health.is_rejected) or health.is_probe_due(now)

    def _is_down(self, deployment: Deployment, now: float) -> bool:
        """Return whether the deployment is down, or seems so to this call: it has answered none since it failed it."""
        position = deployment.position
        if position in self.shut or deployment.is_down(now):
            return True
        return self._answers_at_failure.get(position) == deployment.answers

    def _error(self) -> AllDeploymentsFailed:
        errors = dict(self.errors)
        for deployment in self.scheduler.deployments:
            if deployment.name not in errors and deployment.health.last_error is not None:
                errors[deployment.name] = deployment.health.last_error
        return AllDeploymentsFailed.of(errors)

    def first_chunk(self, now: float) -> None:
        """Called when the first chunk of a stream has come."""
        self.scheduler.hedges.took(now - self.started, stream=True)

    def answered(self, now: float) -> None:
        """Called when the deployment has answered. An answer from its model's cache shows nothing of it."""
        scheduler = self.scheduler
        deployment = self.deployment
        if deployment is not None and deployment.sends_requests and not self.has_exchange:
            self.leave(now)  # The answer is from the cache of the deployment's model.
            return
        elapsed_s = now - self.started
        with scheduler.lock:
            deployment = self._ended()
            deployment.answers += 1
            health = deployment.health
            if health.last_error is not None or not health.is_proven:
                health.answered(self.started)
            seconds = max(elapsed_s - self.queued_s - self.reader_s, 0.0)
            if deployment.times.took(seconds, self.size):
                scheduler.find_fast_again()
            if not self.stream and scheduler.hedges.after is not None:
                scheduler.hedges.took(elapsed_s, stream=False)
        if scheduler.waiting:
            self._wake(now)

    def failed(self, now: float, error: BaseException, *, has_begun: bool = False) -> None:
        """Called when the deployment has failed. Raise the error of the call unless it can go elsewhere.

        `has_begun`: chunks of the answer have been yielded, so the call cannot be repeated.
        """
        verdict = verdict_of(error)
        with self.scheduler.lock:
            deployment = self._ended()
            self._record(deployment, verdict, now, error)
        self._wake(now)
        if verdict is Verdict.FINAL or has_begun:
            raise named(error, deployment)
        self.errors = {**self.errors, deployment.name: error}
        is_often = self._own_failures >= _MOST_OWN_FAILURES
        if is_often or self._own_refusals >= _MOST_OWN_REFUSALS:
            raise self._error() from error

    def _record(
        self, deployment: Deployment, verdict: Verdict, now: float, error: BaseException
    ) -> None:
        health = deployment.health
        started = self.started
        position = deployment.position
        was_sent = bool(getattr(error, "attempts", ()))
        is_first, is_own = True, False
        if was_sent:
            is_first, is_own = self._compare(deployment, verdict, error)
        again_s = self._again_s(position, was_sent=was_sent)
        self._again_at = {**self._again_at, position: now + again_s}
        if self.prefix is not None and verdict is not Verdict.FINAL:
            self.scheduler.table.forget(self.prefix[0], position)
        if verdict is not Verdict.FINAL:
            self.scheduler.suspect(deployment, is_suspect=True)
        if verdict is Verdict.REFUSED:
            health.refused(started, error)
            self._own_refusals += is_own
        elif verdict is Verdict.FAILED:
            health.failed(started, now, error, is_first=is_first)
            self._own_failures += is_own or isinstance(error, MalformedResponse)
        elif verdict is Verdict.REJECTED:
            health.rejected(started, now, error, in_flight=deployment.in_flight)
            self.shut |= {position}
        else:
            health.left(started)

    def _compare(
        self, deployment: Deployment, verdict: Verdict, error: BaseException
    ) -> tuple[bool, bool]:
        """Compare a failure with the last one of this call at the deployment, by what it has answered between them.

        Return whether it is the first since an answer, and whether it is the call's own.
        """
        position, answers = deployment.position, deployment.answers
        before = self._answers_at.get((verdict, position))
        self._answers_at = {**self._answers_at, (verdict, position): answers}
        if getattr(error, "retry_class", None) is not RetryClass.THROTTLE:
            self._answers_at_failure = {**self._answers_at_failure, position: answers}
        if before is None:
            return True, False
        return answers > before, answers > before

    def _again_s(self, position: int, *, was_sent: bool) -> float:
        if not was_sent:
            return _UNSENT_S
        fails = self._fails.get(position, 0)
        self._fails = {**self._fails, position: fails + 1}
        return min(_AGAIN_FIRST_S * 2.0 ** min(fails, 10), _AGAIN_MOST_S)

    def leave(self, now: float) -> None:
        """End a call without an outcome: it was cancelled, or its reader has left."""
        with self.scheduler.lock:
            if self in self.scheduler.waiting:
                self.scheduler.waiting.remove(self)
            if self.deployment is not None:
                self._ended().health.left(self.started)
        self._wake(now)

    def cancelled(self, now: float) -> None:
        """End a call whose answer came from another deployment first.

        The time until `now` counts as the time of its answer, which would have taken at least as long.
        """
        if self.deployment is not None:
            with self.scheduler.lock:
                elapsed_s = now - self.started
                seconds = max(elapsed_s - self.queued_s, 0.0)
                if self.deployment.times.took(seconds, self.size):
                    self.scheduler.find_fast_again()
        self.leave(now)

    def _ended(self) -> Deployment:
        deployment = self.deployment
        assert deployment is not None  # noqa: S101 - it was placed
        if self.is_coming:
            self._arrived()
        self.deployment = self.waiter = None
        if deployment.in_flight:  # A stream of the parent process may be closed in a forked child.
            deployment.in_flight -= 1
        return deployment

    def _wake(self, now: float) -> None:
        scheduler = self.scheduler
        if not scheduler.waiting:
            return
        with scheduler.lock:
            to_wake = scheduler.advance(now)
        for call in to_wake:
            if call.waiter is not None:
                call.waiter.wake()


def named(error: BaseException, deployment: Deployment) -> BaseException:
    """Return an error that names its deployment."""
    if isinstance(error, ChatError):
        if getattr(error, "deployment", None) is None:
            error.deployment = deployment.name
            error.message = and_said(error.message, f"The deployment is `{deployment.name}`.")
    else:
        error.add_note(f"The deployment is `{deployment.name}`.")
    return error
