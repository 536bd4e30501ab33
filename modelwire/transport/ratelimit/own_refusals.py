"""Which refusals are about one call alone: others are answered meanwhile. No I/O, no clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelwire.transport.ratelimit.admission import Admission

__all__ = ["Answers", "count_own_refusal"]

# A refusal is about its own call from its third on, where so many others were answered meanwhile.
_REFUSALS_TO_BE_OWN, _OTHERS_ANSWERED = 3, 5
# A call fails only after many of those, and where at least so many others were answered since its first refusal, or the
# gate has been shut for so long: at a low limit, one call may be refused time and again though waiting would help it.
_INCURABLE_REFUSALS, _INCURABLE_ANSWERED, _INCURABLE_CLOSED_S = 6, 200, 60.0


class Answers:
    """What the limiter keeps of the answers of a key."""

    __slots__ = ("count", "latest_index", "revived_index")

    def __init__(self) -> None:
        self.count = 0
        self.latest_index = 0  # the latest request that was answered
        self.revived_index = 0  # and of a call refused twice before: waiting helps such calls


def count_own_refusal(admission: Admission, answers: Answers, closed_s: float | None) -> bool:
    """Return whether a refusal is about this call alone, and count it as such.

    `closed_s` is how long the gate has been shut, None where it is open.
    """
    if not _is_own(admission, answers, is_closed=closed_s is not None):
        if not admission.anchor_index:
            admission.anchor_index, admission.anchor_answers = admission.index, answers.count
            admission.first_answers = answers.count
        return False
    admission.own_refusals += 1
    admission.anchor_index, admission.anchor_answers = admission.index, answers.count
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
