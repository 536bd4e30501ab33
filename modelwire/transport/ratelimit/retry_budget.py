"""Limits the retries of a key after transient errors, and detects an outage. No I/O and no clock here.

An empty budget fails no call: the retries wait behind the gate until a probe succeeds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelwire.transport.ratelimit.admission import Admission

# The budget begins with this many points, and a retry costs this many. These are the numbers of
# botocore's retry quota.
_BUDGET_POINTS = 500.0
_RETRY_POINTS = 14.0
# At least this many failures, which are at least this part of the requests sent meanwhile, are an
# outage.
_OUTAGE_FAILURES = 12
_OUTAGE_PART = 0.8


class RetryBudget:
    """The retry budget of a key, in points: answers earn them, retries cost them."""

    __slots__ = ("_first", "_last", "_level", "_row")

    def __init__(self) -> None:
        self._level = _BUDGET_POINTS
        # The number of failures in a row, and the indexes of the first and the last of them.
        self._row = self._first = self._last = 0

    def answered(self, admission: Admission) -> None:
        """Called when a request was answered: pay back a retry, or earn 1 point; end a series of failures."""
        earned = _RETRY_POINTS if admission.is_retry else 1.0
        self._level = min(self._level + earned, _BUDGET_POINTS)
        if admission.index > self._first:
            self._row = self._first = self._last = 0

    def failed(self, admission: Admission) -> None:
        """Called when a request failed with a transient error. Count it in the series of failures."""
        if admission.index > self._first:
            self._row += 1
            self._first = self._first or admission.index
            self._last = max(self._last, admission.index)

    @property
    def is_out(self) -> bool:
        """Whether too few points are left for a retry, or nearly all requests since the first failure have failed.

        An answer takes longer than a failure, so failures are compared with the requests sent, not with those ended.
        """
        sent = self._last - self._first + 1
        nearly_all_fail = self._row >= _OUTAGE_FAILURES and self._row >= _OUTAGE_PART * sent
        return nearly_all_fail or self._level < _RETRY_POINTS

    def pay(self) -> None:
        """Subtract the cost of a retry."""
        self._level -= _RETRY_POINTS

    def recover(self) -> None:
        """Fill the budget, because the provider works again."""
        self._level = _BUDGET_POINTS
        self._row = self._first = self._last = 0
