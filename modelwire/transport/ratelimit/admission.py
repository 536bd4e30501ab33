"""One attempt in the limiter's hands, the queue of them, and what one learns that may never be made."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from modelwire.errors import ChatError

__all__ = ["Admission", "AdmissionQueue", "copy_for_followers"]


_UNKNOWN: dict[str, float] = {}
_CALLS_TO_A_ROW = 3  # single calls that go ahead of rows, until one row goes ahead of them
# The classes: single calls that are retried (0) and new ones (1), rows that are retried (2) and new ones (3).
_CLASSES, _ROWS = 4, 2
# Which class goes before which, by whether new work goes first, and whether it is the turn of a row.
_ORDERS = {
    (False, False): (0, 1, 2, 3),
    (False, True): (2, 3, 0, 1),
    (True, False): (1, 3, 0, 2),
    (True, True): (3, 1, 2, 0),
}


class Admission:
    """One attempt: it waits, it is granted, it ends."""

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
        self.size = size  # bytes of the request
        self.max_output = max_output  # tokens
        self.is_incurable = False  # no waiting will have this call answered
        self.granted = self.released = self.signalled = self.head_seen = False
        self.on_wake: Callable[[], object] | None = None
        self.rejection: ChatError | None = None  # why it will never be granted
        if previous is None:
            self.refusals = self.own_refusals = self.anchor_index = self.anchor_answers = 0
            self.first_answers = 0
        else:
            # Of the call so far: all refusals, and those that are about it alone. What was sent after the request with
            # the anchor's index, and answered, proves that; how many had been answered then, and at the first refusal.
            self.refusals = previous.refusals
            self.own_refusals = previous.own_refusals
            self.anchor_index = previous.anchor_index
            self.anchor_answers = previous.anchor_answers
            self.first_answers = previous.first_answers
        self.index = 0  # among all that were ever granted, from 1
        self.started = 0.0
        # By kind of limit: what it will cost, as far as one can tell, and what had been spent then, this one included.
        self.costs: dict[str, float] = _UNKNOWN
        self.spent: dict[str, float] | None = None

    def wake(self) -> None:
        """Have its owner look: it is granted, or keeps the time from now on."""
        self.signalled = (
            True  # before `wake` is read: whoever sets `wake` looks at `signalled` after
        )
        wake = self.on_wake
        if wake is not None:
            wake()


class AdmissionQueue:
    """All that waits, each class in the order it came. Retried work goes ahead of new work.

    A single call, which a person may wait for, goes ahead of the rows of batches. They get one permit of four at least,
    so that no stream of single calls starves them.
    """

    __slots__ = ("_calls_in_a_row", "_waiting", "length", "new_first", "newest_at")

    def __init__(self) -> None:
        # Retried work was refused again and again: work that never was refused may try.
        self.new_first = False
        self.length = 0  # admissions whose owners have left are counted until their turn
        self.newest_at = 0.0  # when the latest of all began to wait
        self._waiting: list[deque[Admission]] = [deque() for _ in range(_CLASSES)]
        self._calls_in_a_row = 0  # granted while rows waited

    def add(self, admission: Admission) -> None:
        self._waiting[_ROWS * admission.patient + (not admission.is_retry)].append(admission)
        self.length += 1
        self.newest_at = admission.requested_at

    def waiting(self) -> list[Admission]:
        return [one for queue in self._waiting for one in queue if not one.released]

    def first(self) -> Admission | None:
        """Return the admission that is next, and forget those before it whose owners have left."""
        while self.length:
            admission = self._next_queue()[0]
            if not admission.released:
                return admission
            self._pop()
        return None

    def pop_first(self) -> None:
        """Remove what `first` has returned: it is granted."""
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
    """Copy what another call may be told, without the first one's traceback, attempts and answer."""
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
