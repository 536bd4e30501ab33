"""The use of providers' prompt caches: the tokens that calls read and wrote, and the dollars they saved. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from modelwire.aliases import Fields, Kwargs
from modelwire.usage.prices import dollars, price_of_usage

if TYPE_CHECKING:
    from modelwire.prompt_caches import CacheBreak

# The details of a usage that depend on the prompt cache.
_CACHE_DETAILS = frozenset(
    ("cache_read", "cache_creation", "ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens")
)
# Smaller savings or costs are not shown.
_LEAST_USD_SHOWN = Decimal("0.00005")


@dataclass(slots=True)
class PromptCacheUse:
    """Tokens read from and written to prompt caches. `saved` is in USD, and below 0 if the writes cost more.

    `input_tokens` counts all tokens of the input, including those read and written. `breaks` lists the changes of
    prompts that broke a cache: see `modelwire.prompt_caches`.
    """

    input_tokens: int = 0
    read_tokens: int = 0
    written_tokens: int = 0
    saved: Decimal = Decimal(0)
    breaks: list[CacheBreak] = field(default_factory=list)

    def add(self, other: PromptCacheUse) -> None:
        """Add the tokens and dollars of other calls."""
        self.input_tokens += other.input_tokens
        self.read_tokens += other.read_tokens
        self.written_tokens += other.written_tokens
        self.saved += other.saved

    @property
    def share_read(self) -> float:
        """The share of the input that was read from caches, from 0 to 1."""
        if self.input_tokens:
            return self.read_tokens / self.input_tokens
        return 0.0

    def __str__(self) -> str:
        if not (self.read_tokens or self.written_tokens):
            return ""
        text = f"{self.share_read:.0%} of the input read from prompt caches"
        if self.saved >= _LEAST_USD_SHOWN:
            text += f" ({dollars(self.saved)} saved)"
        elif self.saved <= -_LEAST_USD_SHOWN:
            text += f" (they cost {dollars(-self.saved)} more than they saved)"
        return text


def prompt_cache_use_of(
    usage: Mapping[str, Any],
    model: str,
    *,
    provider: str | None = None,
    batch: bool = False,
    tier: Any = None,
) -> PromptCacheUse:
    """Return the use of the prompt cache by one call; `saved` is 0 if the price of the model is unknown."""
    details: Fields = usage.get("input_token_details") or {}
    use = PromptCacheUse(int(usage.get("input_tokens") or 0))
    use.read_tokens = int(details.get("cache_read") or 0)
    by_lifetime = sum(
        int(details.get(name) or 0)
        for name in ("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens")
    )
    use.written_tokens = max(int(details.get("cache_creation") or 0), by_lifetime)
    if not (use.read_tokens or use.written_tokens):
        return use
    others = {name: count for name, count in details.items() if name not in _CACHE_DETAILS}
    uncached = {**usage, "input_token_details": others}
    about: Kwargs = {"provider": provider, "batch": batch, "tier": tier}
    price = price_of_usage(usage, model, **about)
    without = price_of_usage(uncached, model, **about)
    if price is not None and without is not None:
        use.saved = without - price
    return use
