"""When to try again, and how long to wait first. Pure decisions: no I/O, no clock, the dice are passed in.

The times are those of `docs/reliability.md`: what a failure means is the error's own `retry_class`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from modelwire.aliases import HeaderFields
from modelwire.errors import (
    Attempt,
    ChatError,
    ConnectFailed,
    ConnectionLost,
    ProxyFailed,
    RetryClass,
    TLSFailed,
    WireError,
)
from modelwire.records import NamedTuple

if TYPE_CHECKING:
    from random import Random


class RetryPolicy(NamedTuple):
    """How often one call is tried, and for how long. All times in seconds.

    `max_retries` bounds the retries after bad luck (broken connections, 5xx); `0` switches every kind of retry off.
    `max_requests` bounds all requests of the call, whatever they come to: 1 + `max_retries` where the user has set
    that. It is infinite for the rows of a batch, whose refusals are the limiter's. `max_wait_s` runs from the first
    refusal (rate limit, overload): later than that no try is begun.
    """

    max_retries: int = 4
    max_wait_s: float = 60.0
    max_retry_after_s: float = 120.0  # a longer Retry-After raises at once
    max_glitches: int = 1
    max_requests: float = 10


# min(0.5 * 2^n, 8) seconds: the first of them anything below that (R3), the others less a quarter at most, as both
# official SDKs wait. With full jitter throughout, one lone call in a hundred uses up its five tries within a second;
# many calls at a time are spread by the limiter.
_TRANSIENT_FIRST_S = 0.5
_TRANSIENT_CAP_S = 8.0
_TRANSIENT_JITTER = 0.25
# R4: after the k-th refusal min(0.5 * 2^k, 30) seconds, 0.25 at the least; a Retry-After is a floor and not the
# schedule. Spread upward, so that everybody who was told the same does not come back at once.
_REFUSED_FIRST_S = 0.5
_REFUSED_CAP_S = 30.0
_REFUSED_LEAST_S = 0.25
_SPREAD = 0.10
# A batch's row that is refused again and again while others are answered waits twice as long each time, and fails at
# last: no waiting cures it (a prompt that the provider's own limit of tokens can never take, a broken shard).
_OWN_REFUSED_CAP_S = 8.0


class History:
    """The failed attempts of one call, and when the provider first refused it."""

    __slots__ = ("attempts", "begun", "excused", "refused_at")

    def __init__(self) -> None:
        self.attempts: list[Attempt] = []
        self.begun = False  # whether a part of an answer has come in the present attempt
        self.excused = (
            0  # failures of an outage that everybody had, not counted against `max_retries`
        )
        self.refused_at: float | None = (
            None  # by the provider, or by its gate; the beginning of `max_wait_s`
        )

    def record(self, error: ChatError, elapsed_s: float) -> Attempt:
        """Add a failed attempt, show the list so far on its error, and return it."""
        attempt = Attempt(
            error.retry_class,
            type(error).__name__,
            error.status,
            error.code,
            error.request_id,
            elapsed_s,
            self.begun or _maybe_billed(error),
        )
        self.attempts.append(attempt)
        self.begun = False
        error.attempts = tuple(self.attempts)
        return attempt

    @property
    def maybe_billed(self) -> int:
        """How many attempts may have been paid for, though they brought no answer."""
        return sum(attempt.maybe_billed for attempt in self.attempts)

    def count(self, *classes: RetryClass) -> int:
        return sum(attempt.retry_class in classes for attempt in self.attempts)


class GiveUp(str):
    """The reason why there is no further attempt, as a sentence for the error; empty if the error suffices."""

    __slots__ = ()


def wait_before_retry(
    error: ChatError,
    history: History,
    policy: RetryPolicy,
    *,
    remaining_s: float | None,
    rng: Random,
    waited_s: float = 0.0,
    in_queue: bool = False,
    own_refusals: int = 0,
    is_incurable: bool = False,
) -> float | GiveUp:
    """Return the seconds to wait before the next attempt, or why there is none.

    `history` already counts the attempt that failed with `error`. `remaining_s` is the time to the call's deadline,
    `waited_s` that since its first refusal. `in_queue`: the row of a batch, which the limiter's queue holds for as long
    as refusals ask for; `own_refusals` of them were about this call alone, and it is incurable after many of them.
    """
    if policy.max_retries == 0 or error.retry_class is RetryClass.FATAL:
        return GiveUp()
    if len(history.attempts) >= policy.max_requests:
        return GiveUp()
    retry_after_s = error.retry_after
    if retry_after_s is not None and retry_after_s > policy.max_retry_after_s:
        return GiveUp(
            f"The provider asks to wait {retry_after_s:g} s, longer than we wait on our own "
            f"({policy.max_retry_after_s:g} s)."
        )
    if is_refusal(error):
        if in_queue and is_incurable:
            return GiveUp(
                f"It has been refused {len(history.attempts)} times while other calls were answered."
            )
        left_s = policy.max_wait_s - waited_s
        least_s = max(retry_after_s or 0.0, _REFUSED_LEAST_S)
        if least_s > left_s:
            return too_long(policy)
        if in_queue:
            wait_s = _in_queue(retry_after_s, own_refusals, rng)
        else:
            wait_s = _after_refusal(least_s, history, left_s, rng)
    else:
        backoff_s = _after_bad_luck(error, history, policy, rng)
        if backoff_s is None:
            return GiveUp()
        wait_s = max(backoff_s, (retry_after_s or 0.0) * (1 + rng.uniform(0, _SPREAD)))
    needs_s = max(wait_s, retry_after_s or 0.0)
    if remaining_s is not None and needs_s >= remaining_s:
        return GiveUp(
            f"The next attempt would have to wait {needs_s:.3g} s and the call has {max(remaining_s, 0):.3g} s left."
        )
    return wait_s


def is_refusal(error: ChatError) -> bool:
    """Return whether the provider has refused the attempt for now."""
    return error.retry_class in (RetryClass.THROTTLE, RetryClass.OVERLOAD)


def too_long(policy: RetryPolicy) -> GiveUp:
    return GiveUp(f"Waiting on would take longer than `max_wait` ({policy.max_wait_s:g} s).")


def _in_queue(retry_after_s: float | None, own_refusals: int, rng: Random) -> float:
    """Return the wait of a batch's row after a refusal.

    The limiter's queue holds the row for as long as all have to wait. The row waits longer only for itself.
    """
    asked_s = (retry_after_s or 0.0) * (1 + rng.uniform(0, _SPREAD))
    return max(asked_s, min(_REFUSED_LEAST_S * 2.0**own_refusals, _OWN_REFUSED_CAP_S))


def _after_refusal(least_s: float, history: History, left_s: float, rng: Random) -> float:
    """Return the wait after a refusal: at least `least_s`, and cut to what is left of `max_wait`."""
    k = history.count(RetryClass.THROTTLE, RetryClass.OVERLOAD)
    backoff_s = min(_REFUSED_FIRST_S * 2.0 ** min(k, 16), _REFUSED_CAP_S)
    return min(max(least_s, backoff_s) * (1 + rng.uniform(0, _SPREAD)), left_s)


def _after_bad_luck(
    error: ChatError, history: History, policy: RetryPolicy, rng: Random
) -> float | None:
    """Return the backoff after a transient error; None to give up."""
    if error.retry_class is RetryClass.GLITCH:
        if history.count(RetryClass.GLITCH) > policy.max_glitches:
            return None
    elif history.count(RetryClass.TRANSIENT) - history.excused > policy.max_retries:
        return None
    elif len(history.attempts) == 1 and _provably_unsent(error):
        return 0.0
    n = history.count(RetryClass.TRANSIENT, RetryClass.GLITCH) - history.excused - 1
    most_s = min(_TRANSIENT_FIRST_S * 2.0 ** min(n, 16), _TRANSIENT_CAP_S)
    return most_s * (1 - rng.uniform(0, _TRANSIENT_JITTER if n else 1.0))


def _provably_unsent(error: ChatError) -> bool:
    """Return whether no server has read the request: no connection opened, or a kept-alive one was closed already."""
    is_stale = isinstance(error, ConnectionLost) and error.code == "stale_connection"
    return is_stale or isinstance(error, ConnectFailed)


# What says of an error that the request had not gone, or that the provider itself, no gateway of its, has refused it.
_UNBILLED = (ConnectFailed, TLSFailed, ProxyFailed)
_UNSENT_CODES = frozenset({"stale_connection", "connect_timeout", "pool_timeout", "write_timeout"})
_GATEWAY_STATUSES = frozenset({502, 504, 520, 522, 523, 524})


def _maybe_billed(error: ChatError) -> bool:
    if not isinstance(error, WireError):
        return error.status in _GATEWAY_STATUSES
    return not isinstance(error, _UNBILLED) and error.code not in _UNSENT_CODES


def read_retry_after(headers: HeaderFields) -> float | None:
    """Return the seconds a reply asks to wait, or None; `headers` by lower-case name.

    `retry-after-ms`, then `retry-after` as seconds or as an HTTP date, which is measured against the reply's own
    `date` header, as the local clock may be wrong; that one counts where the reply has no date. What is not a positive
    finite number is ignored, never raised.
    Source: RFC 9110 10.2.3; `retry-after-ms` is OpenAI's.
    """
    milliseconds = number_in(headers.get("retry-after-ms"))
    if milliseconds:
        return milliseconds / 1000
    value = headers.get("retry-after")
    return number_in(value) or _seconds_until(value, headers.get("date"))


def number_in(text: str | None) -> float | None:
    """Return the number a header holds; None where it is negative, infinite or none."""
    try:
        number = float(text) if text is not None else math.nan
    except ValueError:
        return None
    if 0 <= number < math.inf:
        return number
    return None


def _seconds_until(http_date: str | None, server_now: str | None) -> float | None:
    if http_date is None:
        return None
    try:
        from datetime import UTC, datetime
        from email.utils import parsedate_to_datetime

        now = datetime.now(UTC) if server_now is None else parsedate_to_datetime(server_now)
        wait_s = (parsedate_to_datetime(http_date) - now).total_seconds()
    except (TypeError, ValueError, OverflowError, ImportError, OSError):
        return None  # not a date; no file descriptor for the import
    return wait_s if wait_s > 0 else None
