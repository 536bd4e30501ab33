"""The permit of one attempt, the queue of attempts that wait for one, and the error of a rejected one.

`RoutedCall` is what a call keeps of its attempts while a pool sends it from one limiter to another.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

from modelwire.errors import ChatError

_UNKNOWN: dict[str, float] = {}
# After this many single calls that went ahead of rows, one row goes ahead of them.
_CALLS_TO_A_ROW = 3
# The queue has four classes: retried single calls (0) and new ones (1), retried rows (2) and new
# ones (3).
_CLASSES = 4
# The number of the first class of rows.
_ROWS = 2
# The order of the classes, by whether new work goes first, and whether it is the turn of a row.
_ORDERS = {
    (False, False): (0, 1, 2, 3),
    (False, True): (2, 3, 0, 1),
    (True, False): (1, 3, 0, 2),
    (True, True): (3, 1, 2, 0),
}


class Admission:
    """The permit of one attempt: it may be queued, is granted, and is released when the attempt ends."""

    __slots__ = (
        "anchor_answers",
        "anchor_index",
        "costs",
        "first_answers",
        "granted",
        "head_seen",
        "index",
        "is_incurable",
        "is_retry",
        "max_output",
        "on_wake",
        "own_refusals",
        "patient",
        "refusals",
        "rejection",
        "released",
        "requested_at",
        "signalled",
        "size",
        "spent",
        "started",
    )

    def __init__(
        self,
        requested_at: float,
        *,
        again: bool,
        patient: bool,
        size: int,
        max_output: int | None,
        previous: Admission | None = None,
    ) -> None:
        self.requested_at = requested_at
        self.is_retry = again
        self.patient = patient
        # The size of the request in bytes, and the limit of its answer in tokens.
        self.size = size
        self.max_output = max_output
        # True if the provider refuses this call however long it waits.
        self.is_incurable = False
        self.granted = self.released = self.signalled = self.head_seen = False
        self.on_wake: Callable[[], object] | None = None
        # The error of an attempt that will not be granted.
        self.rejection: ChatError | None = None
        if previous is None:
            self.refusals = self.own_refusals = self.anchor_index = self.anchor_answers = 0
            self.first_answers = 0
        else:
            # These describe the whole call: the number of its refusals, and of those that concern it
            # alone. The anchor is its first refusal, or the latest one that concerned it alone: the
            # index of the refused request, and the number of answers to all calls until then. An
            # answer to a later request shows that other calls succeed. The last value is the number
            # of answers to all calls until the first refusal.
            self.refusals = previous.refusals
            self.own_refusals = previous.own_refusals
            self.anchor_index = previous.anchor_index
            self.anchor_answers = previous.anchor_answers
            self.first_answers = previous.first_answers
        # The position among all requests that were ever granted, from 1.
        self.index = 0
        self.started = 0.0
        # By kind of limit: the estimated cost of this attempt, and the sum of all costs up to it.
        self.costs: dict[str, float] = _UNKNOWN
        self.spent: dict[str, float] | None = None

    def wake(self) -> None:
        """Wake the owner, which then polls: the attempt is granted, or is the new head of the queue."""
        # This is set before `on_wake` is read. The owner sets `on_wake` before it reads `signalled`,
        # so no wake-up is lost.
        self.signalled = True
        wake = self.on_wake
        if wake is not None:
            wake()


class RoutedCall:
    """A call that a pool sends to several deployments in turn, each with a limiter of its own."""

    queued_s = 0.0
    """The seconds that the call has waited in the queue of its present limiter."""
    has_exchange = False
    """True once the present deployment's model has made a request for it, and not answered from its cache."""
    is_hedge = False
    """True for a call that is made although an equal one is in flight, because that takes long."""
    failed_admissions: Mapping[Any, Admission] = MappingProxyType({})
    """The last failed attempt under each limiter. The next one there continues its counts of refusals."""
    counted_by: Mapping[Any, bool] = MappingProxyType({})
    """The budgets that have counted the failed attempts as one call, so that they do not count the next attempt; for
    each, whether one of the costs was a guess."""

    def record_failed_attempt(self, limiter: Any, admission: Admission) -> None:
        """Store a failed attempt, from which the next attempt of the call under `limiter` continues to count."""
        self.failed_admissions = {**self.failed_admissions, limiter: admission}


# The pool's call that the present call of a deployment belongs to; None outside of a pool.
ROUTED_CALL: ContextVar[RoutedCall | None] = ContextVar("routed_call", default=None)


class AdmissionQueue:
    """The queued admissions; each class is in order of arrival. Retried work goes ahead of new work.

    A single call goes ahead of the rows of batches, because a person may wait for it. Rows get at least one permit of
    four, so that single calls do not starve them.
    """

    __slots__ = ("_calls_in_a_row", "_waiting", "length", "new_first", "newest_at")

    def __init__(self) -> None:
        # True if new work goes first, because retried work was refused repeatedly.
        self.new_first = False
        # Admissions whose owners have left count until their turn.
        self.length = 0
        # The time at which the latest admission was queued.
        self.newest_at = 0.0
        self._waiting: list[deque[Admission]] = [deque() for _ in range(_CLASSES)]
        # The number of single calls granted in a row while rows waited.
        self._calls_in_a_row = 0

    def add(self, admission: Admission) -> None:
        self._waiting[_ROWS * admission.patient + (not admission.is_retry)].append(admission)
        self.length += 1
        self.newest_at = admission.requested_at

    def waiting(self) -> list[Admission]:
        return [one for queue in self._waiting for one in queue if not one.released]

    def first(self) -> Admission | None:
        """Return the next admission; remove those before it whose owners have left."""
        while self.length:
            admission = self._next_queue()[0]
            if not admission.released:
                return admission
            self._pop()
        return None

    def pop_first(self) -> None:
        """Remove the admission that `first` has returned, because it is granted."""
        if self._pop().patient or not any(self._waiting[_ROWS:]):
            self._calls_in_a_row = 0
        else:
            self._calls_in_a_row += 1

    def _pop(self) -> Admission:
        self.length -= 1
        return self._next_queue().popleft()

    def _next_queue(self) -> deque[Admission]:
        order = _ORDERS[self.new_first, self._calls_in_a_row >= _CALLS_TO_A_ROW]
        return next(self._waiting[number] for number in order if self._waiting[number])


def copy_for_followers(error: ChatError) -> ChatError:
    """Return a copy of an error for other calls, without the first call's traceback, attempts and answer."""
    return type(error)(
        error.message,
        provider=error.provider,
        model=error.model,
        status=error.status,
        code=error.code,
        type=error.type,
        retry_after=error.retry_after,
        retry_class=error.retry_class,
    )
