"""Measures tokens, dollars and seconds of the models called in a `with` block."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from math import ceil
from time import monotonic
from typing import TYPE_CHECKING, Any

from modelwire._extensions import extension
from modelwire.aliases import Fields, Kwargs
from modelwire.callbacks import UsageMetadataCallbackHandler
from modelwire.callbacks.hooks import adding_handler
from modelwire.prompt_caches import listing
from modelwire.usage.prices import has_price_list, price_of_usage
from modelwire.usage.prompt_cache_use import PromptCacheUse, prompt_cache_use_of

if TYPE_CHECKING:
    from uuid import UUID

    from modelwire.messages import UsageMetadata

# The name under which models without a name are listed.
_UNKNOWN = "unknown"


def _is_of_batch(about: Fields) -> bool:
    """Return whether a call is a row read from a batch job's results, by its run's metadata."""
    return all(name in about for name in ("batch_job", "batch_row", "batch_round"))


@dataclass(slots=True)
class Spent:
    """The usage of one model, or of all: answered calls, their price in USD, and calls whose price is unknown."""

    calls: int = 0
    cost: Decimal = Decimal(0)
    unpriced: int = 0

    def add(self, price: Decimal | None) -> None:
        self.calls += 1
        if price is None:
            self.unpriced += 1
        else:
            self.cost += price


class CostTracker(UsageMetadataCallbackHandler):
    """A callback handler that sums the tokens, cost and time of model calls.

    `usage_metadata` is tokens by model, `cost` USD in all, `by_model` a `Spent` for each,
    `latency_s(50)` a percentile in seconds, `calls_per_s` and `tokens_per_s` are averages from the
    first start to the last end. A call's seconds are those from its start to its end, with waiting
    and retries.

    An answer from a cache counts as a call without tokens and cost. An answer without token counts,
    such as a stream that was not read to its end, is a call of unknown price. Answers of a batch
    are counted when its results are read, at the price of batches; an answer that is read again is
    not counted again. `cache` sums up the use of the providers' prompt caches.
    """

    def __init__(self) -> None:
        super().__init__()
        self.by_model: dict[str, Spent] = {}
        self.total = Spent()
        self.cache = PromptCacheUse()
        self.errors = 0
        # The seconds of each call, in the order in which the calls ended.
        self.latencies_s = array("d")
        # For each running call, its start in seconds and its metadata.
        self._started: dict[UUID, tuple[float, Fields]] = {}
        # For each batch job, the last round of each row that was counted, plus 1.
        self._counted: dict[str, bytearray] = {}
        self._first_start: float | None = None
        self._last_end: float | None = None

    def on_chat_model_start(
        self, serialized: dict[str, Any], messages: Any, *, run_id: Any = None, **kwargs: Any
    ) -> None:
        """Record the start of a call and its metadata."""
        now = monotonic()
        about = kwargs.get("metadata") or {}
        with self._lock:
            self._started[run_id] = now, about
            if self._first_start is None and not _is_of_batch(about):
                self._first_start = now

    def on_llm_end(self, response: Any, *, run_id: Any = None, **kwargs: Any) -> None:
        """Add an answer's tokens, price and seconds."""
        about = self._ended(run_id)
        if about is None:
            return
        # A stream that was closed before its first chunk has no message.
        for generation in [one for row in response.generations for one in row] or [None]:
            message = getattr(generation, "message", None)
            metadata = getattr(message, "response_metadata", None) or {}
            model = str(metadata.get("model_name") or about.get("ls_model_name") or _UNKNOWN)
            usage = getattr(message, "usage_metadata", None)
            self._count(model, usage, metadata, in_batch=about.get("batch_round", 0) > 0)

    def on_llm_error(self, error: BaseException, *, run_id: Any = None, **kwargs: Any) -> None:
        """Count a failed call."""
        if self._ended(run_id) is not None:
            with self._lock:
                self.errors += 1

    def _ended(self, run_id: Any) -> Fields | None:
        """Return the metadata of a call that ends; None for a row of a batch that is counted already."""
        now = monotonic()
        with self._lock:
            if run_id not in self._started:
                return {}
            began, about = self._started.pop(run_id)
            if _is_of_batch(about):
                return about if self._is_new(**about) else None
            self.latencies_s.append(now - began)
            self._last_end = now
            return about

    def _is_new(self, batch_job: str, batch_row: int, batch_round: int, **_: Any) -> bool:
        rounds = self._counted.setdefault(batch_job, bytearray())
        rounds.extend(bytes(max(0, batch_row + 1 - len(rounds))))
        known = rounds[batch_row]
        rounds[batch_row] = min(batch_round + 1, 255)
        return known != rounds[batch_row]

    def _count(
        self,
        model: str,
        usage: UsageMetadata | None,
        metadata: Fields,
        *,
        in_batch: bool,
    ) -> None:
        price = cache_use = None
        if usage:
            provider = metadata.get("model_provider")
            tier = metadata.get("service_tier")
            about: Kwargs = {"provider": provider, "batch": in_batch, "tier": tier}
            price = price_of_usage(usage, model, **about)
            # An answer from a cache has this key.
            if "total_cost" not in usage:
                self._add(model, usage, metadata)
                cache_use = prompt_cache_use_of(usage, model, **about)
        with self._lock:
            if cache_use is not None:
                self.cache.add(cache_use)
            self.by_model.setdefault(model, Spent()).add(price)
            self.total.add(price)

    @property
    def cost(self) -> Decimal:
        """The cost in USD of all calls whose price is known."""
        return self.total.cost

    @property
    def elapsed_s(self) -> float:
        """Seconds from the first start to the last end; 0 before the first end."""
        if self._first_start is None or self._last_end is None:
            return 0.0
        return self._last_end - self._first_start

    @property
    def calls_per_s(self) -> float:
        """The number of answers per second, over `elapsed_s`."""
        if self.elapsed_s:
            return self.total.calls / self.elapsed_s
        return 0.0

    @property
    def tokens_per_s(self) -> float:
        """The number of output tokens per second of all calls together, over `elapsed_s`."""
        made = sum(usage["output_tokens"] for usage in self.usage_metadata.values())
        if self.elapsed_s:
            return made / self.elapsed_s
        return 0.0

    def latency_s(self, percent: float) -> float | None:
        """Return the seconds within which `percent` of the calls ended; None before the first end."""
        with self._lock:
            return percentile(self.latencies_s, percent)

    def _repr_html_(self) -> str:
        return str(extension("notebooks").show_spent(self))

    def _cost_text(self) -> str:
        unpriced = self.total.unpriced
        if not unpriced:
            return f"${self.cost:.6f}"
        if unpriced < self.total.calls:
            return f"${self.cost:.6f} and {unpriced:,} calls of unknown price"
        if has_price_list():
            return "cost unknown"
        return "cost unknown (`pip install 'modelwire[profiles]'` installs the price list)"

    def __str__(self) -> str:
        lines = [f"{'model':<32}{'calls':>8}{'input':>12}{'output':>12}{'USD':>14}"]
        for model, spent in sorted(self.by_model.items()):
            usage: Fields = self.usage_metadata.get(model) or {
                "input_tokens": 0,
                "output_tokens": 0,
            }
            cost = "unknown" if spent.unpriced == spent.calls else f"{spent.cost:.6f}"
            lines.append(
                f"{model:<32}{spent.calls:>8,}{usage['input_tokens']:>12,}{usage['output_tokens']:>12,}{cost:>14}"
            )
        lines.append(f"{self.total.calls:,} calls, {self.errors:,} errors, {self._cost_text()}")
        if cache := str(self.cache):
            lines.append(cache)
        if breaks := self.cache.breaks:
            lines.append(f"breaks of prompt caches: {len(breaks):,}; the first: {breaks[0]}")
        if self.latencies_s:
            marks = ", ".join(
                f"p{percent} {self.latency_s(percent):.2f} s" for percent in (50, 95, 99)
            )
            lines.append(
                f"{marks}; {self.calls_per_s:.1f} calls/s, {self.tokens_per_s:.1f} output tokens/s"
            )
        return "\n".join(lines)

    __repr__ = __str__


def percentile(values: Sequence[float], percent: float) -> float | None:
    """Return the smallest value that `percent` (0 to 100) of the values do not exceed; None without values."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[max(0, ceil(len(ordered) * percent / 100) - 1)]


@contextmanager
def track() -> Iterator[CostTracker]:
    """Track the models called inside the `with` block, also in tasks that the block starts.

    Example:
        with track() as spent:
            chain.batch(rows)
        print(spent)
    """
    tracker = CostTracker()
    with adding_handler(tracker), listing(tracker.cache.breaks):
        yield tracker
