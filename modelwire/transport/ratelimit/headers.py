"""Reads the limits in a provider's headers, and counts how much of each is left. No I/O and no clock here.

There are two dialects: `x-ratelimit-*` of OpenAI and compatible services, whose reset is the time until the bucket is
full again, as a Go duration, and `anthropic-ratelimit-*`, whose reset is an RFC 3339 date. The period of a limit is not
assumed to be a minute, because Groq counts requests a day: it is limit * reset / (limit - remaining), and is used if it
is close to a common one. Headers that cannot be read are ignored.

Source: https://platform.openai.com/docs/guides/rate-limits, https://docs.anthropic.com/en/api/rate-limits, read 2026-11
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from modelwire.aliases import HeaderFields
from modelwire.transport.ratelimit.rate import BURST_S
from modelwire.transport.retry import number_in

if TYPE_CHECKING:
    from modelwire.transport.ratelimit.admission import Admission

_KINDS = ("requests", "tokens", "input-tokens", "output-tokens")
_NAMES = {
    kind: tuple(
        tuple(pattern.format(part=part, kind=kind) for part in ("limit", "remaining", "reset"))
        for pattern in ("x-ratelimit-{part}-{kind}", "anthropic-ratelimit-{kind}-{part}")
    )
    for kind in _KINDS
}
_PERIODS_S = (1.0, 60.0, 3600.0, 86400.0)
# A period may differ from a common one by this part of it.
_TOLERANCE = 0.10
# After this time without a request, the counts in the headers are trusted again.
_QUIET_S = 60.0
# If nothing is left of a limit without a known period, requests stop for at most this time.
_STOP_CAP_S = 60.0
# The estimated cost of a call before any answer: tokens a byte of JSON, and tokens of the answer.
_TOKENS_PER_BYTE = 0.25
_ANSWER_TOKENS = 500.0
# Each answer moves these estimates by this part of their error.
_LEARNING_RATE = 0.1


class Bucket:
    """One advertised limit, as a token bucket. `level` is the estimated amount that is left."""

    __slots__ = ("at", "level", "limit", "period_s", "stop_until")

    def __init__(self, limit: float, now: float, period_s: float | None = None) -> None:
        self.limit = limit
        self.period_s = period_s
        self.level = limit
        self.at = now
        self.stop_until = now

    @property
    def per_s(self) -> float:
        """The amount that the limit allows a second, infinity if its period is unknown."""
        if self.period_s:
            return self.limit / self.period_s
        return math.inf

    def ready_at(self, now: float, cost: float, *, mirrored: bool) -> float:
        """Return the time at which `cost` may be spent. Unless `mirrored`, only a short burst can be saved up."""
        if self.period_s is None:
            return self.stop_until
        most = self.limit if mirrored else max(self.per_s * BURST_S, cost)
        self.level = min(self.level + max(now - self.at, 0.0) * self.per_s, most)
        self.at = now
        lacking = min(cost, self.limit) - self.level
        if lacking <= 0:
            return now
        return now + lacking / self.per_s


class Advertised:
    """The buckets of one key. `spend` and `read` keep them equal to the provider's.

    A header shows what was left when its own request arrived. An answer takes seconds, so the requests that were sent
    after that one are subtracted, in the order of sending and not by time.
    """

    def __init__(self, now: float, sent_index: int = 0) -> None:
        self._buckets: dict[str, Bucket] = {}
        # The kinds of limits that the user stated. Headers do not change them.
        self._stated: set[str] = set()
        # The index of the latest request whose headers were read, and of the latest request of all.
        self._read_index = 0
        self._sent_index = sent_index
        # The index of the latest request when the buckets began to follow the provider's.
        self._mirrored_index: int | None = None
        # True while the remaining requests in the headers are for this process only, and may be sent
        # in a burst.
        self._trusted = True
        # The number of processes that spend the same tokens. Each call of this one counts this many
        # times.
        self.members = 1
        self._spent_at = now
        # The sum of all costs, by kind of limit.
        self._spent = dict.fromkeys(_KINDS, 0.0)
        self._tokens_per_byte = _TOKENS_PER_BYTE
        self._answer_tokens = _ANSWER_TOKENS
        # True while the headers of a refusal are read.
        self._refused = False
        # The index of the latest request that was refused with nothing left, or 0.
        self._empty_index = 0

    def state(self, kind: str, per_minute: float | None, now: float) -> None:
        """Set a limit that the user states; None removes it."""
        self._buckets.pop(kind, None)
        self._stated.discard(kind)
        if per_minute is not None:
            self._buckets[kind] = Bucket(per_minute, now, 60.0)
            self._stated.add(kind)
            if self._mirrored_index is None:
                self._mirrored_index = self._sent_index

    def mirrors_requests(self) -> bool:
        """Return whether the number of requests left is known, so that no pace must be learned."""
        bucket = self._buckets.get("requests")
        return bucket is not None and bucket.period_s is not None and self._trusted

    def ready_at(self, now: float, admission: Admission) -> float:
        """Return the time at which enough of every limit is left for `admission`."""
        self._estimate(admission)
        if not self._trusted and now - self._spent_at > _QUIET_S:
            self._trusted = True
        return max(
            (
                bucket.ready_at(now, admission.costs[kind], mirrored=self._trusted)
                for kind, bucket in self._buckets.items()
                if self._trusted or kind != "requests"  # Without trust, the pace limits requests.
            ),
            default=now,
        )

    def spend(self, admission: Admission, now: float) -> None:
        """Subtract the estimated cost of a request that is sent."""
        self._estimate(admission)
        self._spent_at = now
        self._sent_index = admission.index
        for kind, cost in admission.costs.items():
            self._spent[kind] += cost
        admission.spent = dict(self._spent)
        for kind, bucket in self._buckets.items():
            bucket.level -= admission.costs[kind]

    def give_back(self, admission: Admission) -> None:
        """Add the cost of a request that was not sent after all."""
        if admission.spent is not None:
            for kind, bucket in self._buckets.items():
                bucket.level += admission.costs[kind]

    def correct(self, admission: Admission, usage: Mapping[str, int]) -> None:
        """Replace the estimated cost of a call by its usage, and improve the estimates."""
        took_in = usage.get("input_tokens") or 0
        took_out = usage.get("output_tokens") or 0
        if took_in and admission.size:
            self._tokens_per_byte += _LEARNING_RATE * (
                took_in / admission.size - self._tokens_per_byte
            )
        if took_out:
            self._answer_tokens += _LEARNING_RATE * (took_out - self._answer_tokens)
        if admission.spent is None:
            return
        costs = admission.costs
        took_in *= self.members
        took_out *= self.members
        took = _costs(took_in or costs["input-tokens"], took_out or costs["output-tokens"])
        for kind, bucket in self._buckets.items():
            # The last header already includes a request that was sent before its own. A limit that
            # the user states is in no header.
            if kind in self._stated or admission.index > self._read_index:
                bucket.level += costs[kind] - took[kind]

    def refused(self, admission: Admission) -> None:
        """Called when a request was refused although enough was left: others share this key, or bursts are refused."""
        if self._mirrored_index is not None and self._mirrored_index < admission.index:
            self._trusted = False

    def _estimate(self, admission: Admission) -> None:
        output = self._answer_tokens
        if admission.max_output is not None:
            output = float(admission.max_output)
        tokens_in = admission.size * self._tokens_per_byte
        admission.costs = _costs(tokens_in * self.members, output * self.members)

    def costs(self, tokens_in: float) -> dict[str, float]:
        """Return the likely cost of a call with this many input tokens, by kind of limit."""
        return _costs(tokens_in, self._answer_tokens)

    def allows(self, tokens_in: float, now: float) -> bool:
        """Return whether every limit had enough left, at its latest change, for a call with this many input tokens.

        False does not mean that such a call must wait: the refill since that change is not counted.
        """
        tokens = tokens_in + self._answer_tokens
        for kind, bucket in self._buckets.items():
            if bucket.period_s is None:
                is_left = bucket.stop_until <= now
            elif kind == "requests":
                is_left = bucket.level >= 1
            else:
                is_left = bucket.level >= tokens
            if not is_left:
                return False
        return True

    def requests_per_s(self) -> float:
        bucket = self._buckets.get("requests")
        if bucket is not None:
            return bucket.per_s
        return math.inf

    def tokens_per_minute(self) -> tuple[float | None, float | None, float | None]:
        """Return the limits of all tokens, of input tokens and of output tokens a minute; None for an unknown one."""
        return (
            self._per_minute("tokens"),
            self._per_minute("input-tokens"),
            self._per_minute("output-tokens"),
        )

    def _per_minute(self, kind: str) -> float | None:
        bucket = self._buckets.get(kind)
        if bucket is None or bucket.period_s is None:
            return None
        return bucket.per_s * 60

    def read(
        self,
        headers: HeaderFields,
        admission: Admission,
        now: float,
        *,
        refused: bool = False,
    ) -> bool:
        """Read the headers of the answer to `admission`. Return whether a limit is new.

        If nothing is left of a limit without a known period, requests stop only after a refusal has confirmed it: some
        gateways send such headers with every answer.
        """
        is_new = False
        self._refused = refused
        for kind, dialects in _NAMES.items():
            for limit_name, remaining_name, reset_name in dialects:
                if limit_name in headers and kind not in self._stated:
                    texts = (
                        headers[limit_name],
                        headers.get(remaining_name),
                        headers.get(reset_name),
                    )
                    is_new |= self._take(kind, texts, headers.get("date"), admission, now)
        if admission.index > self._read_index:
            self._read_index = admission.index
        return is_new

    def _take(
        self,
        kind: str,
        texts: tuple[str, str | None, str | None],
        server_now: str | None,
        admission: Admission,
        now: float,
    ) -> bool:
        limit = number_in(texts[0])
        remaining = number_in(texts[1])
        if limit is None or limit <= 0 or remaining is None or remaining > limit:
            return False
        bucket = self._buckets.get(kind)
        is_new = bucket is None or bucket.limit != limit
        if bucket is None or is_new:
            bucket = self._buckets[kind] = Bucket(limit, now, None)
        if bucket.period_s is None:
            reset_s = duration_s(texts[2], server_now)
            bucket.period_s = _period(limit, remaining, reset_s)
            is_new = bucket.period_s is not None
            if bucket.period_s is None:
                if remaining < 1 and reset_s is not None and self._confirmed(admission):
                    bucket.stop_until = now + min(reset_s, _STOP_CAP_S)
                return False
        if admission.index > self._read_index:
            bucket.level = remaining - self._spent_after(kind, admission)
            bucket.at = admission.started
        if self._mirrored_index is None:
            self._mirrored_index = max(self._sent_index, admission.index)
        return is_new

    def _confirmed(self, admission: Admission) -> bool:
        """Return whether a refusal has confirmed that nothing is left, and no later request was answered."""
        if self._refused:
            self._empty_index = admission.index
        elif admission.index > self._empty_index:
            self._empty_index = 0
        return self._empty_index > 0

    def _spent_after(self, kind: str, admission: Admission) -> float:
        """Return the cost of the requests that were sent after `admission`."""
        if admission.spent is None:  # It was sent before costs were counted.
            self._estimate(admission)
            return max(self._sent_index - admission.index, 0) * admission.costs[kind]
        return self._spent[kind] - admission.spent[kind]


def _costs(tokens_in: float, tokens_out: float) -> dict[str, float]:
    """Return the cost of a call with these tokens, by kind of limit."""
    return dict(zip(_KINDS, (1.0, tokens_in + tokens_out, tokens_in, tokens_out), strict=True))


def _period(limit: float, remaining: float, reset_s: float | None) -> float | None:
    """Return the period of a limit if the three numbers come close to a common one, or None."""
    if reset_s is None or reset_s <= 0 or remaining >= limit:
        return None
    inferred_s = limit * reset_s / (limit - remaining)
    return next((p for p in _PERIODS_S if abs(inferred_s - p) <= _TOLERANCE * p), None)


_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|us|µs|ns|h|m|s)")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


def duration_s(text: str | None, server_now: str | None = None) -> float | None:
    """Return the seconds of a Go duration (`6m0s`), of a number, or until an RFC 3339 date; None for any other text.

    A date is compared with `server_now`, the reply's own `date`, or with the local clock if there is none.
    """
    if not text or len(text) > 64:
        return None
    number = number_in(text)
    if number is not None:
        return number
    if "T" in text:
        return _until(text, server_now)
    parts = _PART.findall(text)
    if "".join(value + unit for value, unit in parts) != text:
        return None
    return sum(float(value) * _SECONDS[unit] for value, unit in parts)


def _until(date: str, server_now: str | None) -> float | None:
    from datetime import datetime
    from email.utils import parsedate_to_datetime

    try:
        at = datetime.fromisoformat(date)
        now = parsedate_to_datetime(server_now) if server_now else datetime.now(at.tzinfo)
        return max((at - now).total_seconds(), 0.0)
    except (TypeError, ValueError, OverflowError):
        return None
