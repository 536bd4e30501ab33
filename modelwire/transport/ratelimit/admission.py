"""One attempt in the limiter's hands, the queue of them, and what one learns that may never be made."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from modelwire.errors import ChatError

__all__ = ["Admission", "AdmissionQueue", "copy_for_followers"]


_UNKNOWN: dict[str, float] = {}


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
    """Who waits: retried work goes ahead of new work, each in the order it came."""

    __slots__ = ("new", "new_first", "retries")

    def __init__(self) -> None:
        self.new_first = (
            False  # what was retried is refused again and again: a call that never was may try
        )
        self.retries: deque[Admission] = deque()
        self.new: deque[Admission] = deque()

    def add(self, admission: Admission) -> None:
        (self.retries if admission.is_retry else self.new).append(admission)

    def waiting(self) -> list[Admission]:
        return [
            admission
            for queue in (self.retries, self.new)
            for admission in queue
            if not admission.released
        ]

    def heads(self) -> Iterator[deque[Admission]]:
        """Yield, again and again, the queue whose first admission is next."""
        while True:
            queue = self.new if self.new_first and self.new else self.retries or self.new
            if not queue:
                return
            if queue[0].released:
                queue.popleft()
            else:
                yield queue


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
