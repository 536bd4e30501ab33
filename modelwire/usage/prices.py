"""The cost of answers in US dollars as `Decimal`, by the price list of the package `genai-prices`. No I/O.

Prices are those of the installed version; nothing is fetched.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from functools import cache, lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from modelwire import lazy
from modelwire.aliases import Fields
from modelwire.errors import InvalidArgument, MissingDependency

if TYPE_CHECKING:
    from modelwire.adapters.providers import registry
    from modelwire.messages import AIMessage
else:
    registry = lazy.module("modelwire.adapters.providers.registry")

# The price of a Batch API as a share of the usual price. It is used in plans, and for models whose
# batch price is not in the list: https://platform.openai.com/docs/guides/batch,
# https://docs.anthropic.com/en/docs/build-with-claude/batch-processing and
# https://ai.google.dev/gemini-api/docs/batch-api, read 2026-11.
BATCH_SHARE = Decimal("0.5")

# For each detail of `UsageMetadata`, its name in the price list.
_LISTED_INPUTS = {
    "cache_read": "cache_read_tokens",
    "cache_creation": "cache_write_tokens",
    "audio": "input_audio_tokens",
    "ephemeral_5m_input_tokens": "cache_write_5m_tokens",
    "ephemeral_1h_input_tokens": "cache_write_1h_tokens",
}
_LISTED_OUTPUTS = {"audio": "output_audio_tokens", "reasoning": "output_reasoning_tokens"}


def amount_of(value: Any) -> Decimal:
    """Return a `max_cost` as an amount of USD. Raises: `InvalidArgument` if it is not a number above 0."""
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        amount = Decimal("nan")
    if isinstance(value, bool) or not amount.is_finite() or amount <= 0:
        raise InvalidArgument(
            f"`max_cost` must be an amount in USD above 0, such as 0.5, not {value!r}."
        )
    return amount


def dollars(amount: Decimal) -> str:
    """Return US dollars as text with four decimals, or with two significant digits if four decimals would show zeros.

    >>> dollars(Decimal("1234.5")), dollars(Decimal("0.0000034")), dollars(Decimal(0))
    ('$1,234.5000', '$0.0000034', '$0.0000')
    """
    small = Decimal(0) < amount <= Decimal("0.00005")
    if small:
        return f"${amount:.{1 - amount.adjusted()}f}"
    return f"${amount:,.4f}"


def price_of(message: AIMessage, *, batch: bool = False) -> Decimal | None:
    """Return the cost of an answer in USD; None if its usage or its model's price is unknown.

    Set `batch=True` for an answer of a provider's Batch API. An answer from a cache of modelwire costs
    nothing.

    Raises: `MissingDependency` without `modelwire[profiles]`.
    """
    price = known_price(message, batch=batch)
    if price is None:
        check_price_list()
    return price


def known_price(message: AIMessage, *, batch: bool = False) -> Decimal | None:
    """Return `price_of(message)`, or None if the price list is not installed."""
    about = message.response_metadata
    model = about.get("model_name") or about.get("model")
    provider = about.get("model_provider")
    if not model or message.usage_metadata is None:
        return None
    tier = about.get("service_tier")
    return price_of_usage(
        message.usage_metadata, str(model), provider=provider, batch=batch, tier=tier
    )


def price_of_usage(
    usage: Mapping[str, Any],
    model: str,
    *,
    provider: str | None = None,
    batch: bool = False,
    tier: Any = None,
) -> Decimal | None:
    """Return the price in USD of one call's usage; None if the model's price is unknown or the list is not installed.

    `usage` must be the `UsageMetadata` of a single call, since some prices depend on its length.
    Reasoning tokens that a provider counts only in the total are priced as output, as it bills
    them. `tier` is the `service_tier` in the answer; a tier without a price of its own costs as
    much as the default one.
    """
    if "total_cost" in usage:  # This key marks an answer from a cache, see `adapters.model.cache`.
        return Decimal(str(usage["total_cost"]))
    row = registry.PROVIDERS.get(provider or "")
    if row is not None and row.is_free:
        return Decimal(0)
    if _list() is None:
        return None
    counts = _counts_of(usage)
    call = model, _listed_as(provider), tuple(counts.items())
    if not batch:
        return _price(*call, ("service_tier", tier) if isinstance(tier, str) else None)
    price = _price(*call, ("processing", "batch"))
    usual = _price(*call, None)
    if usual is not None and price == usual:
        return usual * BATCH_SHARE
    return price


def _counts_of(usage: Fields) -> dict[str, int]:
    """Return the tokens of a usage by the names of the price list."""
    sent = int(usage.get("input_tokens") or 0)
    counts = {
        "input_tokens": sent,
        "output_tokens": max(
            int(usage.get("output_tokens") or 0), int(usage.get("total_tokens") or 0) - sent
        ),
    }
    for details, names in (
        ("input_token_details", _LISTED_INPUTS),
        ("output_token_details", _LISTED_OUTPUTS),
    ):
        counts |= {
            names[name]: int(n)
            for name, n in (usage.get(details) or {}).items()
            if n and name in names
        }
    written = counts.get("cache_write_5m_tokens", 0) + counts.get("cache_write_1h_tokens", 0)
    if written > counts.get("cache_write_tokens", 0):
        counts["cache_write_tokens"] = written
    return counts


@lru_cache(maxsize=256)
def listed_model(model: str, provider: str | None = None) -> Any:
    """Return the row of a model in the price list; None if there is none, or no list is installed."""
    try:
        return price_list().find_provider_model(model, None, _listed_as(provider), None)[1]
    except (ImportError, LookupError):
        return None


def _listed_as(provider: str | None) -> str | None:
    """Return the name of a provider in the price list."""
    return provider and (registry.names_of(provider).prices or provider)


def price_list() -> Any:
    """Return all rows of the price list. Raises `ImportError` if it is not installed."""
    return import_module("genai_prices.data_snapshot").get_snapshot()


def prices_of(row: Any) -> Any:
    """Return the current prices of a row in USD: `input_mtok` and the like are for a million tokens."""
    return row.get_prices(datetime.now(UTC), None)


# The list takes 0.1 to 0.2 ms to compute a price, and the rows of a table often have equal counts.
@lru_cache(maxsize=100_000)
def _price(
    model: str,
    provider: str | None,
    counts: tuple[tuple[str, int], ...],
    kind: tuple[str, str] | None,
) -> Decimal | None:
    """Return the price in USD by the list, or None if it has none.

    `kind` chooses a variant of the price, such as ("processing", "batch").
    """
    listed = _list()
    context = dict([kind]) if kind else None
    if _has_unpriced_audio(model, provider, dict(counts)):
        return None
    try:
        found = listed.calc_price(
            listed.Usage(**dict(counts)), model, provider_id=provider, price_context=context
        )
        return Decimal(found.total_price)
    except LookupError:  # The list does not have the provider or the model.
        return None
    except ValueError:
        # The counts contradict each other, for example more cached tokens than input tokens.
        return None


def _has_unpriced_audio(model: str, provider: str | None, counts: Mapping[str, int]) -> bool:
    """Return whether the list would price audio as text, which costs a seventh or less.

    It would if its row of the model has no audio price. This matters for a call with audio tokens,
    and for every call of a model named for audio, since the content of its answers is unknown
    beforehand.
    """
    row = listed_model(model, provider)
    if row is None:
        return False
    prices = prices_of(row)
    has_input_price = getattr(prices, "input_audio_mtok", None) is not None
    has_output_price = getattr(prices, "output_audio_mtok", None) is not None
    if "audio" in row.id and not (has_input_price or has_output_price):
        return True
    has_unpriced_input = bool(counts.get("input_audio_tokens")) and not has_input_price
    has_unpriced_output = bool(counts.get("output_audio_tokens")) and not has_output_price
    return has_unpriced_input or has_unpriced_output


def has_price_list() -> bool:
    """Return whether the price list is installed."""
    return _list() is not None


def check_price_list() -> None:
    """Check that the price list is installed.

    Raises: `MissingDependency` if it is not.
    """
    if not has_price_list():
        _list.cache_clear()  # The list may be installed while the program runs, as in a notebook.
        raise MissingDependency('Prices need genai-prices: `pip install "modelwire[profiles]"`.')


@cache
def _list() -> Any:
    try:
        return import_module("genai_prices")
    except ImportError:
        return None
