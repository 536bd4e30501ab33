"""A provider's rate limits: token buckets and fixed windows, and their headers. No I/O, no clock.

Headers: https://platform.openai.com/docs/guides/rate-limits and
https://docs.anthropic.com/en/api/rate-limits, read 2026-11.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

from modelwire.errors import InvalidArgument, did_you_mean
from modelwire.testing.server.replies import Headers

# Each API key has limits for each model: (hash of the key, model).
KeyAndModel = tuple[str, str]

_Dialect = Literal["own", "openai", "anthropic", "retry-after", "none", "lying"]


def check_number(name: str, value: Any, *, least: float | None = None, unit: str = "") -> None:
    """Raise `InvalidArgument` unless `value` is a number of at least `least`; without `least`, one above 0."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if least is None:
        is_valid = is_number and value > 0
        bound = "more than 0"
    else:
        is_valid = is_number and value >= least
        bound = f"at least {least:g} {unit}".rstrip()
    if not is_valid:
        raise InvalidArgument(f"`{name}` must be {bound}, not {value!r}.")


def check_word(name: str, value: Any, known: Sequence[str]) -> None:
    """Raise `InvalidArgument` unless `value` is one of the `known` words."""
    if value not in known:
        hint = did_you_mean(str(value), known)
        raise InvalidArgument(f"`{name}` cannot be {value!r}. {hint}")


@dataclass(frozen=True, slots=True)
class Limits:
    """The rate limits of a key and model, and the headers that the server sends about them.

    `window_s` is the time whose share of a limit may be used at once: 60 allows a whole minute's
    requests in one burst, 1 only a second's. With `fixed` a limit is refilled at the end of each
    window, else continuously. `refused_cost` is the share of its cost that a rejected request still
    takes from the limit. With more than `max_concurrent` requests in flight the server answers
    `busy_status`. `headers` selects the headers about limits: each provider's own, `retry-after`
    alone, or none; `lying` sends OpenAI's with ten times the values.
    """

    rpm: float | None = None
    tpm: float | None = None
    window_s: float = 60.0
    fixed: bool = False
    refused_cost: float = 0.0
    max_concurrent: int | None = None
    busy_status: int = 503
    headers: _Dialect = "own"
    # If True, all models of a key share one limit.
    pooled: bool = False

    def __post_init__(self) -> None:
        for name, least in (("rpm", None), ("tpm", None), ("max_concurrent", 1)):
            value = getattr(self, name)
            if value is not None:
                check_number(name, value, least=least)
        check_number("window_s", self.window_s)
        check_number("refused_cost", self.refused_cost, least=0)
        check_number("busy_status", self.busy_status, least=100)
        check_word("headers", self.headers, get_args(_Dialect))


class Bucket:
    """A token bucket, which is refilled continuously up to its size."""

    def __init__(self, per_minute: float, window_s: float, now_s: float) -> None:
        self.rate = per_minute / 60
        self.capacity = max(1.0, self.rate * window_s)
        self.level = self.capacity
        self._at_s = now_s

    def refill(self, now_s: float) -> None:
        elapsed_s = now_s - self._at_s
        self.level = min(self.capacity, self.level + elapsed_s * self.rate)
        self._at_s = now_s

    def wait_s(self, cost: float) -> float:
        """Return the seconds until `cost` is available. A cost above the capacity only needs a full bucket."""
        missing = min(cost, self.capacity) - self.level
        if missing > 1e-9:
            return missing / self.rate
        return 0.0

    def full_in_s(self) -> float:
        return (self.capacity - self.level) / self.rate


class Window(Bucket):
    """A bucket that is refilled at the end of each window."""

    def __init__(self, per_minute: float, window_s: float, now_s: float) -> None:
        super().__init__(per_minute, window_s, now_s)
        self._window_s = window_s
        self._now_s = now_s

    def refill(self, now_s: float) -> None:
        self._now_s = now_s
        passed = (now_s - self._at_s) // self._window_s
        if passed > 0:
            self.level = self.capacity
            self._at_s += passed * self._window_s

    def wait_s(self, cost: float) -> float:
        missing = min(cost, self.capacity) - self.level
        if missing > 1e-9:
            return self.full_in_s()
        return 0.0

    def full_in_s(self) -> float:
        return self._at_s + self._window_s - self._now_s


@dataclass(frozen=True, slots=True)
class Refusal:
    """A rejection because a limit is used up: the name of the limit, and the seconds to wait."""

    of: str  # "requests" or "tokens"
    wait_s: float


class Limiter:
    """The buckets of every key and model."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._buckets: dict[KeyAndModel, dict[str, Bucket]] = {}

    def change(self, limits: Limits, now_s: float) -> None:
        """Replace the limits. A bucket that was half empty is half empty afterwards."""
        old = self._buckets
        self._buckets = {}
        self.limits = limits
        for at, buckets in old.items():
            for name, fresh in self._of(at, now_s).items():
                bucket = buckets.get(name)
                if bucket is not None:
                    bucket.refill(now_s)
                    fresh.level *= bucket.level / bucket.capacity

    def _of(self, at: KeyAndModel, now_s: float) -> dict[str, Bucket]:
        limits = self.limits
        if limits.pooled:
            at = at[0], ""
        found = self._buckets.get(at)
        if found is None:
            make = Bucket
            if limits.fixed:
                make = Window
            shares = {"requests": limits.rpm, "tokens": limits.tpm}
            found = self._buckets[at] = {
                name: make(share, limits.window_s, now_s)
                for name, share in shares.items()
                if share is not None
            }
        return found

    def admit(self, at: KeyAndModel, tokens: float, now_s: float) -> Refusal | None:
        """Charge one request with its estimated tokens to the limits of a key and model.

        Return None if it is admitted, else the rejection by the limit with the longest wait.
        """
        buckets = self._of(at, now_s)
        costs = {"requests": 1.0, "tokens": tokens}
        worst: Refusal | None = None
        for name, bucket in buckets.items():
            bucket.refill(now_s)
            wait_s = bucket.wait_s(costs[name])
            if wait_s and (worst is None or wait_s > worst.wait_s):
                worst = Refusal(name, wait_s)
        share = 1.0
        if worst is not None:
            share = self.limits.refused_cost
        for name, bucket in buckets.items():
            charged = share * costs[name]
            bucket.level = max(0.0, bucket.level - charged)
        return worst

    def settle(self, at: KeyAndModel, tokens: float, now_s: float) -> None:
        """Credit tokens that were reserved and not used to the limit; a negative number charges more."""
        bucket = self._of(at, now_s).get("tokens")
        if bucket is not None:
            bucket.refill(now_s)
            bucket.level = max(0.0, min(bucket.capacity, bucket.level + tokens))

    def headers(
        self,
        at: KeyAndModel,
        own: str,
        now_s: float,
        refused: Refusal | None,
        *,
        scale: float,
        epoch_s: float,
    ) -> Headers:
        """Return the rate-limit headers of an answer; `own` is the dialect of its wire.

        `scale` converts the server's seconds to the client's. `epoch_s` is the client's present time.
        """
        if self.limits.headers == "own":
            dialect = own
        else:
            dialect = self.limits.headers
        if dialect == "none":
            return {}
        out: Headers = {}
        if dialect != "retry-after":
            for name, bucket in self._of(at, now_s).items():
                full_in_s = bucket.full_in_s() * scale
                out |= _state_headers(name, bucket, dialect, full_in_s, epoch_s)
        if refused is not None and dialect != "lying":
            wait_s = refused.wait_s * scale
            out |= _retry_headers(wait_s, dialect, is_scaled=scale != 1)
        return out


def _state_headers(
    name: str, bucket: Bucket, dialect: str, full_in_s: float, epoch_s: float
) -> Headers:
    """Return the headers about one limit, which is full again in `full_in_s` of the client's seconds."""
    form = _FORMS.get(dialect, _Form())
    limit = bucket.capacity
    left = bucket.level
    reset = duration(full_in_s)
    if form.by_time:
        reset = rfc3339(epoch_s + full_in_s, "milliseconds")
    if dialect == "lying":
        limit = left = 10 * bucket.capacity
        reset = "1ms"
    values = {
        "limit": f"{limit:.0f}",
        "remaining": f"{math.floor(left)}",
        "reset": reset,
    }
    headers: Headers = {}
    for field, value in values.items():
        header = form.name.format(field=field, limit=name)
        headers[header] = value
    return headers


def _retry_headers(wait_s: float, dialect: str, *, is_scaled: bool) -> Headers:
    """Return the headers with the wait before a retry. Scaled seconds have a fraction; real ones are whole."""
    text = str(math.ceil(wait_s))
    if is_scaled:
        text = f"{wait_s:.3f}"
    headers = {"retry-after": text}
    if _FORMS.get(dialect, _Form()).in_ms:
        headers["retry-after-ms"] = str(math.ceil(wait_s * 1000))
    return headers


class _Form(NamedTuple):
    """The form of a dialect's headers."""

    name: str = "x-ratelimit-{field}-{limit}"
    by_time: bool = False  # If True, the header about the reset has a time, else a duration.
    in_ms: bool = False  # If True, the wait before a retry is sent in milliseconds, too.


# Any other dialect has the default form.
_FORMS = {
    "openai": _Form(in_ms=True),
    "anthropic": _Form("anthropic-ratelimit-{limit}-{field}", by_time=True),
}


def duration(seconds: float) -> str:
    """Return seconds in OpenAI's format (a Go duration): `12ms`, `2.5s`, `6m0s`, `1h2m3s`."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    whole_minutes, rest = divmod(round(seconds, 2), 60)
    hours, minutes = divmod(int(whole_minutes), 60)
    text = f"{round(rest, 2):g}s"
    if hours or minutes:
        text = f"{minutes}m{text}"
    if hours:
        text = f"{hours}h{text}"
    return text


def rfc3339(epoch_s: float, timespec: str = "auto") -> str:
    """Return a time in UTC as RFC 3339 has it, such as `2026-11-25T09:00:00Z`."""
    from datetime import UTC, datetime

    time = datetime.fromtimestamp(epoch_s, UTC)
    return time.isoformat(timespec=timespec).replace("+00:00", "Z")
