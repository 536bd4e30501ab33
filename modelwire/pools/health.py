"""Whether a deployment is out because its calls fail, and when one call may probe it. No I/O and no clock here.

Refusals for now (HTTP 429, 503) are the limiter's; this is about failures and rejections. A deployment is out after
three calls in a row have failed, or one rejection of its key or account. A 403 or 404 may concern its call alone (a
filtered prompt, an unknown file): after more of these in a row than calls are in flight, it is out like one that fails.
It comes back by one probe.
"""

from __future__ import annotations

from enum import Enum
from math import inf

from modelwire.errors import (
    AuthenticationError,
    ChatError,
    MissingKey,
    NotFound,
    PermissionDenied,
    ProxyFailed,
    QuotaExhausted,
    RetryClass,
    TLSFailed,
)

__all__ = ["Health", "Verdict", "verdict_of"]

# The failures of so many calls in a row take a deployment out,
_FAILURES_TO_LEAVE = 3
# for this time, which doubles with each failed probe up to the second.
_FAILED_FIRST_S = 0.5
_FAILED_MOST_S = 4.0
# A rejected deployment is out for this time, which doubles up to the second.
_REJECTED_FIRST_S = 10.0
_REJECTED_MOST_S = 300.0
# These reject all calls of the deployment.
_REJECTIONS_OF_ALL = (AuthenticationError, QuotaExhausted, TLSFailed, ProxyFailed)
# These may reject one call only. They take a deployment out if so many calls in a row are rejected, and one more for
# each call in flight: a rejection takes less time than an answer.
_REJECTIONS_OF_ONE = (PermissionDenied, NotFound)
_REJECTIONS_TO_LEAVE = 3
_FAILURES = (RetryClass.TRANSIENT, RetryClass.GLITCH)
_REFUSALS = (RetryClass.THROTTLE, RetryClass.OVERLOAD)


class Verdict(Enum):
    """What an error of one deployment means for the call."""

    REFUSED = "refused"  # Another deployment may take it now, and this one later.
    FAILED = "failed"  # The same, but the deployment may be down.
    REJECTED = "rejected"  # This deployment never takes it.
    FINAL = "final"  # No deployment would take it: the call itself is the cause.


def verdict_of(error: BaseException) -> Verdict:
    """Return what `error` means."""
    if isinstance(error, (*_REJECTIONS_OF_ALL, *_REJECTIONS_OF_ONE, MissingKey)):
        return Verdict.REJECTED
    if not isinstance(error, ChatError):
        return Verdict.FINAL
    if error.retry_class in _REFUSALS:
        return Verdict.REFUSED
    if error.retry_class in _FAILURES:
        return Verdict.FAILED
    return Verdict.FINAL


class Health:
    """The failures of one deployment since its last answer."""

    __slots__ = (
        "_failures",
        "_out_at",
        "_pauses",
        "_probed_at",
        "_rejections",
        "is_proven",
        "is_rejected",
        "last_error",
        "out_until",
    )

    def __init__(self) -> None:
        self.is_proven = False  # True once it has answered a call.
        self.is_rejected = False
        self.last_error: BaseException | None = None
        self.out_until: float | None = None
        self._out_at = -inf
        # The failures and the rejections of single calls since the last answer.
        self._failures = 0
        self._rejections = 0
        self._pauses = 0
        self._probed_at: float | None = None

    @property
    def is_out(self) -> bool:
        """Whether only a probe may be sent."""
        return self.out_until is not None

    def wait_s(self, now: float) -> float:
        """Return the seconds until a call may be sent; infinity while a probe is in flight."""
        if self.out_until is None:
            return 0.0
        if self._probed_at is not None:
            return inf
        return max(self.out_until - now, 0.0)

    def is_probe_due(self, now: float) -> bool:
        """Return whether one call may be sent to find out whether the deployment is back."""
        return self.is_out and self.wait_s(now) <= 0

    def sent(self, now: float) -> None:
        """Called when a call is sent there."""
        if self.out_until is not None:
            self._probed_at = now

    def probe_left(self) -> None:
        """Called when the probe in flight, if there is one, is of another process."""
        self._probed_at = None

    def left(self, started: float) -> None:
        """Called when a call has ended without an outcome, such as a cancelled one."""
        if started == self._probed_at:
            self._probed_at = None

    def answered(self, started: float) -> None:
        """Called when a call that began at `started` was answered."""
        if started < self._out_at:
            return
        self.is_proven = True
        self.is_rejected = False
        self.last_error = self.out_until = self._probed_at = None
        self._failures = self._rejections = self._pauses = 0

    def refused(self, started: float, error: BaseException) -> None:
        """Called when the provider takes no call for now: it is up, and its limiter holds the calls back."""
        self.last_error = error
        if started == self._probed_at:
            self.out_until = self._probed_at = None
            self._failures = 0

    def failed(
        self, started: float, now: float, error: BaseException, *, is_first: bool = True
    ) -> None:
        """Called when a call has failed.

        `is_first` is False if this call has failed here since the last answer: the fault may lie in the call, so a
        further failure neither takes the deployment out nor makes its pauses longer.
        """
        self.last_error = error
        if started < self._out_at:
            return
        is_probe = self._probed_at is not None and started >= self._probed_at
        self._failures += is_first
        if is_probe and not is_first:
            self._pauses -= (
                1  # `_leave` adds it again, so the next pause is as long as the last one.
            )
        if is_probe or (is_first and self._failures >= _FAILURES_TO_LEAVE):
            self._leave(now, _FAILED_FIRST_S, _FAILED_MOST_S)

    def rejected(
        self, started: float, now: float, error: BaseException, *, in_flight: int = 0
    ) -> None:
        """Called when the provider has rejected a call, which may concern all calls of this deployment.

        `in_flight` other calls have not ended there. A missing key takes no deployment out: nothing was sent, and the
        key may be set before the next call.
        """
        self.last_error = error
        if isinstance(error, MissingKey):
            self.left(started)
            return
        if started < self._out_at and self.is_rejected:
            return
        self._rejections += 1
        are_many = self._rejections >= _REJECTIONS_TO_LEAVE + in_flight
        if isinstance(error, _REJECTIONS_OF_ALL) or (are_many and not self.is_proven):
            self.is_rejected = True
            self._leave(now, _REJECTED_FIRST_S, _REJECTED_MOST_S)
        elif are_many:
            self._leave(now, _FAILED_FIRST_S, _FAILED_MOST_S)
        else:
            self.left(started)

    def _leave(self, now: float, first_s: float, most_s: float) -> None:
        self._out_at = now
        self.out_until = now + min(first_s * 2.0 ** min(self._pauses, 10), most_s)
        self._pauses += 1
        self._probed_at = None
