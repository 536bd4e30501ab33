"""Tokens, dollars and seconds of the models called in a `with` block."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from decimal import Decimal
from math import ceil
from time import monotonic
from typing import TYPE_CHECKING, Any

from modelwire.callbacks.hooks import register_configure_hook
from modelwire.callbacks.usage import UsageMetadataCallbackHandler
from modelwire.jobs.cost import price_of_usage

if TYPE_CHECKING:
    from uuid import UUID

    from modelwire.messages import UsageMetadata

__all__ = ["CostTracker", "Spent", "percentile", "track"]


@dataclass(slots=True)
class Spent:
    """What one model, or all of them, took: calls answered and their price in USD; `unpriced` calls have none."""

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
    """Sums what model calls used, what it cost, and how long they took; a handler like any other.

    `usage_metadata` is tokens by model, `cost` USD in all, `by_model` a `Spent` each, `latency_s(50)` a percentile in
    seconds, `calls_per_s` and `tokens_per_s` over the time from the first start to the last end. Seconds are those
    from a call's start to its end, with waiting and retries.
    """

    def __init__(self) -> None:
        super().__init__()
        self.by_model: dict[str, Spent] = {}
        self.total = Spent()
        self.errors = 0
        self.latencies_s = array("d")  # in order of the ends
        self._started: dict[UUID, float] = {}
        self._first_start: float | None = None
        self._last_end: float | None = None

    # ------------------------------------------------------------ hearing

    def on_chat_model_start(self, serialized: dict[str, Any], messages: Any, *, run_id: Any = None, **_: Any) -> None:
        """Note when a call starts."""
        now = monotonic()
        with self._lock:
            self._started[run_id] = now
            if self._first_start is None:
                self._first_start = now

    def on_llm_end(self, response: Any, *, run_id: Any = None, **kwargs: Any) -> None:
        """Add an answer's tokens, price and seconds."""
        self._ended(run_id)
        super().on_llm_end(response, **kwargs)

    def on_llm_error(self, error: BaseException, *, run_id: Any = None, **kwargs: Any) -> None:
        """Count a failure."""
        self._ended(run_id)
        with self._lock:
            self.errors += 1

    def _ended(self, run_id: Any) -> None:
        now = monotonic()
        with self._lock:
            began = self._started.pop(run_id, None)
            if began is not None:
                self.latencies_s.append(now - began)
                self._last_end = now

    def _add(self, model: str, usage: UsageMetadata, metadata: Mapping[str, Any]) -> None:
        tokens: Any = {key: value for key, value in usage.items() if key != "total_cost"}
        super()._add(model, tokens, metadata)
        price = price_of_usage(usage, model, provider=metadata.get("model_provider"))
        with self._lock:
            self.by_model.setdefault(model, Spent()).add(price)
            self.total.add(price)

    # ------------------------------------------------------------ telling

    @property
    def cost(self) -> Decimal:
        """USD of all calls whose price is known."""
        return self.total.cost

    @property
    def elapsed_s(self) -> float:
        """Seconds from the first start to the last end; 0 before there was one."""
        if self._first_start is None or self._last_end is None:
            return 0.0
        return self._last_end - self._first_start

    @property
    def calls_per_s(self) -> float:
        """Answers a second."""
        return self.total.calls / self.elapsed_s if self.elapsed_s else 0.0

    @property
    def tokens_per_s(self) -> float:
        """Output tokens a second, of all calls together."""
        made = sum(usage["output_tokens"] for usage in self.usage_metadata.values())
        return made / self.elapsed_s if self.elapsed_s else 0.0

    def latency_s(self, percent: float) -> float | None:
        """Return the seconds within which `percent` of the calls ended; None before the first did."""
        with self._lock:
            return percentile(self.latencies_s, percent)

    def __str__(self) -> str:
        lines = [f"{'model':<32}{'calls':>8}{'input':>12}{'output':>12}{'USD':>14}"]
        for model, spent in sorted(self.by_model.items()):
            usage = self.usage_metadata[model]
            cost = "unknown" if spent.unpriced == spent.calls else f"{spent.cost:.6f}"
            lines.append(
                f"{model:<32}{spent.calls:>8,}{usage['input_tokens']:>12,}{usage['output_tokens']:>12,}{cost:>14}"
            )
        lines.append(f"{self.total.calls:,} calls, {self.errors:,} errors, ${self.cost:.6f}")
        if self.total.unpriced:
            lines[-1] += f" and {self.total.unpriced:,} calls of unknown price"
        if self.latencies_s:
            marks = ", ".join(f"p{percent} {self.latency_s(percent):.2f} s" for percent in (50, 95, 99))
            lines.append(f"{marks}; {self.calls_per_s:.1f} calls/s, {self.tokens_per_s:.1f} output tokens/s")
        return "\n".join(lines)

    __repr__ = __str__


def percentile(values: Sequence[float], percent: float) -> float | None:
    """Return the smallest of `values` that `percent` (0 to 100) of them do not exceed; None of none."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[max(0, ceil(len(ordered) * percent / 100) - 1)]


_tracking: ContextVar[tuple[CostTracker, ...]] = ContextVar("modelwire_cost_trackers", default=())


@contextmanager
def track() -> Iterator[CostTracker]:
    """Track the models called inside the `with` block, in this context and those it starts.

    Example:
        with track() as spent:
            chain.batch(rows)
        print(spent)
    """
    register_configure_hook(_tracking, inheritable=True)
    tracker = CostTracker()
    token = _tracking.set((*_tracking.get(), tracker))
    try:
        yield tracker
    finally:
        _tracking.reset(token)
