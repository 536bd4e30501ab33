"""Finds the refusals that concern one call only: other calls are answered meanwhile. No I/O and no clock here."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelwire.transport.ratelimit.admission import Admission

# A refusal concerns its own call only if the call had at least this many refusals.
_REFUSALS_TO_BE_OWN = 3
# At least this many other requests must have been answered in the meantime, too.
_OTHERS_ANSWERED = 5
# A call fails after this many such refusals, if one of the next two conditions holds.
_INCURABLE_REFUSALS = 6
# At least this many other requests were answered since its first refusal.
_INCURABLE_ANSWERED = 200
# The gate has been closed for this long. At a low limit a call may be refused repeatedly although
# waiting would help, so both numbers are large.
_INCURABLE_CLOSED_S = 60.0


class Answers:
    """Counts the answered requests of a key, and stores which was the latest."""

    __slots__ = ("count", "latest_index", "revived_index")

    def __init__(self) -> None:
        self.count = 0
        # The index of the latest request that was answered.
        self.latest_index = 0
        # The index of the latest answered request of a call that was refused twice before. It shows
        # that waiting helps such calls.
        self.revived_index = 0

    def add(self, admission: Admission) -> None:
        """Count the answer to the request of `admission`."""
        self.count += 1
        if admission.index > self.latest_index:
            self.latest_index = admission.index
        if admission.refusals > 1:
            self.revived_index = max(self.revived_index, admission.index)


def count_own_refusal(admission: Admission, answers: Answers, closed_s: float | None) -> bool:
    """Return whether a refusal concerns this call only, and count it.

    `closed_s` is the time for which the gate has been closed, or None if it is open.
    """
    if not _is_own(admission, answers, is_closed=closed_s is not None):
        if not admission.anchor_index:
            admission.anchor_index = admission.index
            admission.anchor_answers = answers.count
            admission.first_answers = answers.count
        return False
    admission.own_refusals += 1
    admission.anchor_index = admission.index
    admission.anchor_answers = answers.count
    is_shut_for_long = closed_s is not None and closed_s >= _INCURABLE_CLOSED_S
    others_go_on = answers.count - admission.first_answers >= _INCURABLE_ANSWERED
    is_often = admission.own_refusals >= _INCURABLE_REFUSALS
    admission.is_incurable = is_often and (is_shut_for_long or others_go_on)
    return True


def _is_own(admission: Admission, answers: Answers, *, is_closed: bool) -> bool:
    if admission.refusals < _REFUSALS_TO_BE_OWN:
        return False
    if answers.revived_index > admission.anchor_index:
        return False
    if admission.own_refusals > 0 and is_closed:
        return True
    are_many = answers.count - admission.anchor_answers >= _OTHERS_ANSWERED
    return are_many and answers.latest_index > admission.anchor_index
