"""When to try again, and how long to wait first. Pure decisions: no I/O, no clock, the dice are passed in.

The rules are R1-R4 and R13 of the reliability page: what a failure means is the error's own `retry_class`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, NamedTuple

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

if TYPE_CHECKING:
    from random import Random

    from modelwire.transport.governor.limits import Change

__all__ = [
    "GiveUp", "History", "RetryPolicy", "on_failed_attempt", "on_limit", "on_wait", "read_retry_after", "too_long",
    "wait_before_retry",
]  # fmt: skip

# Told of every failed attempt of the calls in its context: how a job counts what a row took.
on_failed_attempt: ContextVar[Callable[[Attempt], object] | None] = ContextVar("on_failed_attempt", default=None)

# Told when a provider's limit is learned or changes, in the context of the call that met it; once a second at most.
on_limit: ContextVar[Callable[[Change], object] | None] = ContextVar("on_limit", default=None)

# Told when a call of its context begins (1) to wait with nothing on the wire, when it no longer does (-1), and before
# it goes on (0). What this raises ends the call: a job that is to end leaves those that wait.
on_wait: ContextVar[Callable[[int], object] | None] = ContextVar("on_wait", default=None)


class RetryPolicy(NamedTuple):
    """How patient one call is. All times in seconds.

    `max_retries` counts bad luck only (broken connections, 5xx); `0` switches every kind of retry off. Being told to
    come back later does not count against it: that is bounded by `max_wait_s`, the sum of such waits in one call.
    """

    max_retries: int = 4
    max_wait_s: float = 60.0
    max_retry_after_s: float = 120.0  # asked to wait longer than this, we raise at once and say so
    max_glitches: int = 1


# Full jitter below min(0.5 * 2^n, 8) seconds: R3, the constants of both official SDKs.
_TRANSIENT_FIRST_S, _TRANSIENT_CAP_S = 0.5, 8.0
# A closed gate without a Retry-After: 1 s * 2^k up to 30 s, shortened by up to 25 %: R6.
_GATE_FIRST_S, _GATE_CAP_S, _GATE_JITTER = 1.0, 30.0, 0.25
# A Retry-After is a floor; spread upward, so that everybody who was told the same does not come back at once: R4.
_RETRY_AFTER_SPREAD = 0.10


class History:
    """What one call has been through."""

    __slots__ = ("attempts", "begun", "excused", "waited_s")

    def __init__(self) -> None:
        self.attempts: list[Attempt] = []
        self.begun = False  # whether a part of an answer has come in the present attempt
        self.excused = 0  # failures of an outage that everybody had, not counted against `max_retries`
        self.waited_s = 0.0  # in THROTTLE and OVERLOAD waits

    def record(self, error: ChatError, elapsed_s: float) -> None:
        """Add a failed attempt and show the list so far on its error."""
        self.attempts.append(
            Attempt(
                error.retry_class, type(error).__name__, error.status, error.code, error.request_id, elapsed_s,
                self.begun or _maybe_billed(error),
            )
        )  # fmt: skip
        self.begun = False
        error.attempts = tuple(self.attempts)
        if (tell := on_failed_attempt.get()) is not None:
            tell(self.attempts[-1])

    @property
    def maybe_billed(self) -> int:
        """How many attempts may have been paid for, though they brought no answer."""
        return sum(attempt.maybe_billed for attempt in self.attempts)

    def count(self, *classes: RetryClass) -> int:
        return sum(attempt.retry_class in classes for attempt in self.attempts)


class GiveUp(str):
    """Why there is no further attempt, as a sentence for the error; empty where the error says it all."""

    __slots__ = ()


def wait_before_retry(
    error: ChatError,
    history: History,
    policy: RetryPolicy,
    *,
    remaining_s: float | None,
    rng: Random,
    governed: bool = False,
) -> float | GiveUp:
    """Return the seconds to wait before the next attempt, or why there is none.

    `history` already counts the attempt that failed with `error`. `remaining_s` is the time to the call's deadline.
    `governed`: a rate limit and an overload are waited out in the governor's queue, and `max_wait_s` is counted there.
    """
    if policy.max_retries == 0 or error.retry_class is RetryClass.FATAL:
        return GiveUp()
    asked_s = error.retry_after
    if asked_s is not None and asked_s > policy.max_retry_after_s:
        return GiveUp(
            f"The provider asks to wait {asked_s:g} s, longer than we wait on our own ({policy.max_retry_after_s:g} s)."
        )
    busy = error.retry_class in (RetryClass.THROTTLE, RetryClass.OVERLOAD)
    governed = governed and busy
    wait_s = 0.0 if governed else _backoff(error, history, policy, rng)
    if isinstance(wait_s, GiveUp):
        return wait_s
    if asked_s is not None:
        wait_s = max(wait_s, asked_s * (1 + rng.uniform(0, _RETRY_AFTER_SPREAD)))
    if busy:
        if history.waited_s + wait_s > policy.max_wait_s:
            return too_long(policy)
        history.waited_s += 0.0 if governed else wait_s
    if remaining_s is not None and wait_s >= remaining_s:
        return GiveUp(
            f"The next attempt would have to wait {wait_s:.3g} s and the call has {max(remaining_s, 0):.3g} s left."
        )
    return 0.0 if governed else wait_s


def too_long(policy: RetryPolicy) -> GiveUp:
    return GiveUp(f"Waiting on would take longer than `max_wait` ({policy.max_wait_s:g} s).")


def _backoff(error: ChatError, history: History, policy: RetryPolicy, rng: Random) -> float | GiveUp:
    """The wait our own rules ask for, before a Retry-After has its say."""
    match error.retry_class:
        case RetryClass.THROTTLE | RetryClass.OVERLOAD:
            k = history.count(RetryClass.THROTTLE, RetryClass.OVERLOAD) - 1
            gate_s = min(_GATE_FIRST_S * 2.0 ** min(k, 16), _GATE_CAP_S)
            return gate_s * (1 - rng.uniform(0, _GATE_JITTER))
        case RetryClass.GLITCH:
            if history.count(RetryClass.GLITCH) > policy.max_glitches:
                return GiveUp()
        case _:
            if history.count(RetryClass.TRANSIENT) - history.excused > policy.max_retries:
                return GiveUp()
            if len(history.attempts) == 1 and _provably_unsent(error):
                return 0.0
    n = history.count(RetryClass.TRANSIENT, RetryClass.GLITCH) - 1
    return rng.uniform(0, min(_TRANSIENT_FIRST_S * 2.0 ** min(n, 16), _TRANSIENT_CAP_S))


def _provably_unsent(error: ChatError) -> bool:
    """No connection, or a kept-alive one the server had already left: nobody has read the request."""
    return isinstance(error, ConnectFailed) or (isinstance(error, ConnectionLost) and error.code == "stale_connection")


# What says of an error that the request had not gone, or that the provider itself, no gateway of its, has refused it.
_UNBILLED = (ConnectFailed, TLSFailed, ProxyFailed)
_UNSENT_CODES = frozenset({"stale_connection", "connect_timeout", "pool_timeout", "write_timeout"})
_GATEWAY_STATUSES = frozenset({502, 504, 520, 522, 523, 524})


def _maybe_billed(error: ChatError) -> bool:
    if not isinstance(error, WireError):
        return error.status in _GATEWAY_STATUSES
    return not isinstance(error, _UNBILLED) and error.code not in _UNSENT_CODES


def read_retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds a reply asks to wait, or None; `headers` by lower-case name.

    `retry-after-ms`, then `retry-after` as seconds or as an HTTP date, which is measured against the reply's own
    `date` header: the local clock may be wrong. What is not a positive finite number is ignored, never raised.
    Source: RFC 9110 10.2.3; `retry-after-ms` is OpenAI's.
    """
    milliseconds = _positive(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after")
    return _positive(value) or _seconds_until(value, headers.get("date"))


def _positive(text: str | None) -> float | None:
    try:
        number = float(text) if text is not None else math.nan
    except ValueError:
        return None
    return number if 0 < number < math.inf else None


def _seconds_until(http_date: str | None, server_now: str | None) -> float | None:
    if http_date is None or server_now is None:
        return None
    from email.utils import parsedate_to_datetime

    try:
        wait_s = (parsedate_to_datetime(http_date) - parsedate_to_datetime(server_now)).total_seconds()
    except (TypeError, ValueError, OverflowError):
        return None
    return wait_s if wait_s > 0 else None
