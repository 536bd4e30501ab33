"""R12: what retries after bad luck may cost, and when so much bad luck is an outage. No I/O here, and no clock.

A budget that is empty loses no call: the retries of the key wait behind the gate until a probe gets through.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelwire.transport.ratelimit.admission import Admission

__all__ = ["RetryBudget"]

_BUDGET, _RETRY_COST = 500.0, 14.0  # botocore's retry quota
_ALL_FAIL, _NEARLY_ALL = 12, 0.8  # as many failures in a row are no bad luck


class RetryBudget:
    """Filled by answers, emptied by retries."""

    __slots__ = ("_first", "_last", "_level", "_row")

    def __init__(self) -> None:
        self._level = _BUDGET
        self._row = self._first = self._last = (
            0  # failures in a row, the first and the last of these requests
        )

    def answered(self, admission: Admission) -> None:
        self._level = min(self._level + (_RETRY_COST if admission.is_retry else 1.0), _BUDGET)
        if admission.index > self._first:
            self._row = self._first = self._last = 0

    def failed(self, admission: Admission) -> None:
        if admission.index > self._first:
            self._row += 1
            self._first = self._first or admission.index
            self._last = max(self._last, admission.index)

    @property
    def is_out(self) -> bool:
        """Whether there is nothing to pay one more retry with, or nearly all fail of those sent since the first did.

        The answers to others take longer: failures are counted among the requests that were sent, not those that ended.
        """
        all_fail = self._row >= _ALL_FAIL and self._row >= _NEARLY_ALL * (
            self._last - self._first + 1
        )
        return all_fail or self._level < _RETRY_COST

    def pay(self) -> None:
        """Make one more retry."""
        self._level -= _RETRY_COST

    def recover(self) -> None:
        """The provider is back."""
        self._level = _BUDGET
        self._row = self._first = self._last = 0
