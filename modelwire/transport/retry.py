"""Decides whether a failed attempt is retried, and after how long. Pure: no I/O and no clock; randomness is passed in.

`docs/reliability.md` documents the times. The `retry_class` of an error says what kind of failure it is.
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
    """How often one call is retried, and for how long.

    `max_retries` bounds the retries after transient failures (broken connections, 5xx); 0 switches off every retry.
    `max_requests` bounds all requests of the call, whatever their result: 1 + `max_retries` if the user has set that.
    It is infinite for the rows of a batch, which the limiter holds back after refusals. No attempt starts later than
    `max_wait_s` after the first refusal (rate limit, overload).
    """

    max_retries: int = 4
    max_wait_s: float = 60.0
    max_retry_after_s: float = 120.0  # A longer Retry-After raises at once.
    max_glitches: int = 1  # Retries after a `RetryClass.GLITCH`.
    max_requests: float = 10


# The wait before the n-th retry of a transient failure is min(0.5 * 2^n, 8) s. The first one is any part of that, at
# random; the others are shortened by a quarter at most, as both official SDKs do. If all were any part of it, one call
# in a hundred would use up its five attempts within a second. The limiter spreads many concurrent calls.
_TRANSIENT_FIRST_S = 0.5
_TRANSIENT_CAP_S = 8.0
_TRANSIENT_JITTER = 0.25
# The wait after the k-th refusal is min(0.5 * 2^k, 30) s, but at least 0.25 s and at least the Retry-After. It is
# lengthened by up to `_SPREAD` at random, so that calls with the same Retry-After do not return at the same time.
_REFUSED_FIRST_S = 0.5
_REFUSED_CAP_S = 30.0
_REFUSED_LEAST_S = 0.25
_SPREAD = 0.10
# A row of a batch that is refused repeatedly while others are answered waits twice as long each time, up to this many
# seconds, and fails in the end: no wait helps it (a prompt that exceeds a limit of the provider, a broken shard).
_OWN_REFUSED_CAP_S = 8.0


class History:
    """The failed attempts of one call, and when the provider first refused it."""

    __slots__ = ("attempts", "begun", "excused", "refused_at")

    def __init__(self) -> None:
        self.attempts: list[Attempt] = []
        # True if the present attempt has received a part of an answer.
        self.begun = False
        # The number of failures in an outage, which do not count against `max_retries`.
        self.excused = 0
        # The time of the first refusal, by the provider or the limiter's gate, from which `max_wait_s` runs.
        self.refused_at: float | None = None

    def record(self, error: ChatError, elapsed_s: float) -> Attempt:
        """Add a failed attempt and return it; `error.attempts` becomes the list of all attempts so far."""
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
        """The number of failed attempts that the provider may have billed."""
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
    `waited_s` the time since its first refusal. `in_queue` is True for a row of a batch, which the limiter's queue
    holds back after refusals. `own_refusals` is the number of refusals that concerned this call alone; after many of
    them `is_incurable` is True.
    """
    if policy.max_retries == 0 or error.retry_class is RetryClass.FATAL:
        return GiveUp()
    if len(history.attempts) >= policy.max_requests:
        return GiveUp()
    retry_after_s = error.retry_after
    if retry_after_s is not None and retry_after_s > policy.max_retry_after_s:
        return GiveUp(
            f"The provider asks to wait {retry_after_s:g} s, longer than `max_retry_after` "
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
    """Return whether the error is a temporary refusal: a rate limit or an overload."""
    return error.retry_class in (RetryClass.THROTTLE, RetryClass.OVERLOAD)


def too_long(policy: RetryPolicy) -> GiveUp:
    return GiveUp(f"Waiting on would take longer than `max_wait` ({policy.max_wait_s:g} s).")


def _in_queue(retry_after_s: float | None, own_refusals: int, rng: Random) -> float:
    """Return the wait in seconds of a batch's row after a refusal, before it enters the limiter's queue.

    The queue holds the row for as long as all rows have to wait; this wait is for refusals of this row alone.
    """
    asked_s = (retry_after_s or 0.0) * (1 + rng.uniform(0, _SPREAD))
    return max(asked_s, min(_REFUSED_LEAST_S * 2.0**own_refusals, _OWN_REFUSED_CAP_S))


def _after_refusal(least_s: float, history: History, left_s: float, rng: Random) -> float:
    """Return the wait in seconds after a refusal: at least `least_s`, at most `left_s`, the rest of `max_wait`."""
    k = history.count(RetryClass.THROTTLE, RetryClass.OVERLOAD)
    backoff_s = min(_REFUSED_FIRST_S * 2.0 ** min(k, 16), _REFUSED_CAP_S)
    return min(max(least_s, backoff_s) * (1 + rng.uniform(0, _SPREAD)), left_s)


def _after_bad_luck(
    error: ChatError, history: History, policy: RetryPolicy, rng: Random
) -> float | None:
    """Return the seconds to wait after an error other than a rate limit or an overload; None to give up."""
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


# An attempt may have been billed, unless its error has one of these classes or codes, which say that the request was
# not sent, or the provider itself has answered. These statuses come from a gateway in front of it.
_UNBILLED = (ConnectFailed, TLSFailed, ProxyFailed)
_UNSENT_CODES = frozenset({"stale_connection", "connect_timeout", "pool_timeout", "write_timeout"})
_GATEWAY_STATUSES = frozenset({502, 504, 520, 522, 523, 524})


def _maybe_billed(error: ChatError) -> bool:
    if not isinstance(error, WireError):
        return error.status in _GATEWAY_STATUSES
    return not isinstance(error, _UNBILLED) and error.code not in _UNSENT_CODES


def read_retry_after(headers: HeaderFields) -> float | None:
    """Return the seconds that a reply asks to wait, or None; `headers` have lower-case names.

    `retry-after-ms` is read, then `retry-after` as seconds or as an HTTP date. A date is compared with the reply's own
    `date` header, as the local clock may be wrong, or with the local clock if there is none. A value that is not a
    positive finite number is ignored.
    Source: RFC 9110 10.2.3; `retry-after-ms` is OpenAI's.
    """
    milliseconds = number_in(headers.get("retry-after-ms"))
    if milliseconds:
        return milliseconds / 1000
    value = headers.get("retry-after")
    return number_in(value) or _seconds_until(value, headers.get("date"))


def number_in(text: str | None) -> float | None:
    """Return the number in a header; None if it is missing, negative, infinite or not a number."""
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
        return None  # It is not a date, or there is no file descriptor for the import.
    return wait_s if wait_s > 0 else None
