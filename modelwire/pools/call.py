"""One call of a pool: where it is, what has failed it, and what may still be tried. No I/O here; `now` is passed in.

call = PoolCall(scheduler, ...)
call.poll(now)                      # a `Deployment`, or None: wait for `call.wait_s`, or until it is woken
call.answered(now)                  # or
call.failed(now, error)             # raises the error of the call, or returns: poll again
call.leave(now)                     # the call ends without an outcome
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import inf
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from modelwire.errors import (
    ChatError,
    MalformedResponse,
    RetryClass,
    and_said,
)
from modelwire.pools.choice import HORIZON_S, Candidate
from modelwire.pools.deployment import RECENT_PART, Deployment
from modelwire.pools.health import Verdict, verdict_of
from modelwire.pools.times import size_class
from modelwire.transport.ratelimit.admission import ROUTED_CALL, Admission, RoutedCall
from modelwire.transport.ratelimit.outage import PATIENCE_S

if TYPE_CHECKING:
    from modelwire.adapters.model.cache import CacheEntry
    from modelwire.adapters.model.coalescing import PendingCall
    from modelwire.pools.scheduler import Scheduler

__all__ = ["LOOKED_AT", "NO_RESTRICTIONS", "STALE_S", "WATCH_S", "PoolCall", "wake"]

# At most so many waiting calls are looked at when one of them may start.
LOOKED_AT = 32
# A call that is not the first of the queue looks again after this time, in case a wake-up was lost.
WATCH_S = 1.0
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
# The times of a deployment without a call for so long are out of date: it is tried again.
STALE_S = 60.0
_CHARS_PER_TOKEN = 4
_NONE: Mapping[Any, Any] = MappingProxyType({})
NO_RESTRICTIONS: tuple[frozenset[int], int | None] = (frozenset(), None)


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
    _chunk_at = 0.0
    # What equal calls have in common, if their answers are cached.
    equals: tuple[Any, ...] = ()
    # The call of a pool inside which this one is made, as by a handler.
    outer: RoutedCall | None = None
    # What equal calls wait for, if this is the first of them.
    pending: PendingCall | None = None
    # The position of a deployment whose cache has the answer.
    home: int | None = None

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
        entries: Mapping[int, CacheEntry] = _NONE,
    ) -> None:
        self.scheduler = scheduler
        self.tokens = chars // _CHARS_PER_TOKEN
        self.size = size_class(self.tokens)
        self.prefix = prefix
        self.patient = patient
        self.stream = stream
        self.shut = shut
        # By position: the cache entry of the call at each deployment that has one.
        self.entries = entries
        if entries:
            keys = [(position, entry.key) for position, entry in entries.items()]
            self.equals = id(scheduler), *keys
        self.outer = ROUTED_CALL.get()
        self.started = now
        scheduler.hedges.calls += 1

    def poll(self, now: float) -> Deployment | None:
        """Return the deployment that takes the call now; None: it waits for `wait_s`, or until `waiter` is woken.

        Raises: `AllDeploymentsFailed` if waiting cannot help.
        """
        scheduler = self.scheduler
        to_wake: list[PoolCall] = []
        with scheduler.lock:
            if self.home is not None:
                self.place(scheduler.deployments[self.home], now)
            elif self.deployment is None:
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
        wake(call for call in to_wake if call is not self)
        return placed

    def _queued(self, now: float) -> list[PoolCall]:
        scheduler = self.scheduler
        if self.waiter is None:
            self.waiter = Admission(now, again=False, patient=False, size=0, max_output=None)
            scheduler.waiting.append(self)
        self.waiter.signalled = False
        self.wait_s = WATCH_S
        return scheduler.advance(now)

    def _arrived(self) -> None:
        if self.is_coming and self.deployment is not None:
            self.is_coming = False
            self.deployment.coming -= 1

    def place(self, deployment: Deployment, now: float) -> None:
        """Called with the deployment that takes the call."""
        if self.home is None:
            self._count(deployment, now)
        deployment.in_flight += 1
        self.deployment = deployment
        self.started = now
        self.queued_s = self.reader_s = 0.0
        self.has_exchange = False

    def _count(self, deployment: Deployment, now: float) -> None:
        """Count a call that makes a request there."""
        scheduler = self.scheduler
        if scheduler.prefer == "weights":
            for other in scheduler.deployments:
                other.recent *= RECENT_PART
            deployment.recent += 1
        if deployment.health.is_out:
            deployment.health.sent(now)
        if deployment.sent_at <= now - STALE_S:
            scheduler.find_fast_again()
        deployment.sent_at = now

    def restrictions(self, now: float) -> tuple[frozenset[int], int | None]:
        """Return the positions of the deployments that do not take this call now, and of the one where it is warm."""
        if not self.errors and self.prefix is None:
            return NO_RESTRICTIONS
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
        return candidate._replace(wait_s=wait_s, queued=LOOKED_AT, is_probe_due=False)

    def _check_outage(self, now: float) -> None:
        """Raise if no deployment would ever take the call, or if all are out for too long."""
        scheduler = self.scheduler
        deployments = scheduler.deployments
        if not any(self._may_take(one, now) for one in deployments):
            raise scheduler.error_of(self.errors)
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
            raise scheduler.error_of(self.errors)

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

    def first_chunk(self, now: float) -> None:
        """Called when the first chunk of a stream has come. One from a cache shows nothing of the deployment."""
        if not self._is_from_a_cache:
            self.scheduler.hedges.took(now - self.started, stream=True)

    def mark_reader(self, now: float, *, has_chunk: bool) -> None:
        """Called when the reader of a stream gets a chunk, and when it asks for the next one."""
        if has_chunk:
            self._chunk_at = now
        else:
            self.reader_s += now - self._chunk_at
        if self.pending is not None:
            self.pending.reader_since = now if has_chunk else inf

    def answered(self, now: float) -> None:
        """Called when the deployment has answered. An answer from its model's cache shows nothing of it."""
        scheduler = self.scheduler
        self.release()
        if self._is_from_a_cache:
            self.withdraw(now)
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
        scheduler.wake(now)

    @property
    def _is_from_a_cache(self) -> bool:
        """Whether the answer came without a request of this call."""
        deployment = self.deployment
        return deployment is not None and deployment.sends_requests and not self.has_exchange

    def failed(self, now: float, error: BaseException, *, has_begun: bool = False) -> None:
        """Called when the deployment has failed. Raise the error of the call unless it can go elsewhere.

        `has_begun`: chunks of the answer have been yielded, so the call cannot be repeated.
        """
        verdict = verdict_of(error)
        self.home = None
        with self.scheduler.lock:
            deployment = self._ended()
            self._record(deployment, verdict, now, error)
        self.scheduler.wake(now)
        if verdict is Verdict.FINAL or has_begun:
            raise named(error, deployment)
        self.errors = {**self.errors, deployment.name: error}
        is_often = self._own_failures >= _MOST_OWN_FAILURES
        if is_often or self._own_refusals >= _MOST_OWN_REFUSALS:
            raise self.scheduler.error_of(self.errors) from error

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
        self.release()
        self.withdraw(now)

    def release(self) -> None:
        """End the wait of equal calls for this one."""
        if self.pending is not None:
            self.pending.resolve()
            self.pending = None

    def withdraw(self, now: float) -> None:
        """Leave the queue, or the place that the call has."""
        with self.scheduler.lock:
            if self in self.scheduler.waiting:
                self.scheduler.waiting.remove(self)
            self.waiter = None
            if self.deployment is not None:
                self._ended().health.left(self.started)
        self.scheduler.wake(now)

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


def wake(calls: Iterable[PoolCall]) -> None:
    """Wake the owners of calls; one that has left the queue meanwhile has none."""
    for call in calls:
        waiter = call.waiter
        if waiter is not None:
            waiter.wake()


def named(error: BaseException, deployment: Deployment) -> BaseException:
    """Return an error that names its deployment."""
    if isinstance(error, ChatError):
        if getattr(error, "deployment", None) is None:
            error.deployment = deployment.name
            error.message = and_said(error.message, f"The deployment is `{deployment.name}`.")
    else:
        error.add_note(f"The deployment is `{deployment.name}`.")
    return error
