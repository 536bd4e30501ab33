"""How many tokens a call has used, and the sums and differences of such counts. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NotRequired, cast

from typing_extensions import TypedDict

from modelwire.aliases import JSON, Values
from modelwire.errors import InvalidType

__all__ = [
    "InputTokenDetails",
    "OutputTokenDetails",
    "UsageMetadata",
    "add_usage",
    "subtract_usage",
]


class InputTokenDetails(TypedDict, total=False):
    """Parts of the input tokens; they need not add up to all of them. Providers may add keys."""

    audio: int
    cache_creation: int
    cache_read: int


class OutputTokenDetails(TypedDict, total=False):
    """Parts of the output tokens; they need not add up to all of them. Providers may add keys."""

    audio: int
    reasoning: int


class UsageMetadata(TypedDict):
    """Tokens of one call or of several; `input_tokens` includes those from a cache."""

    input_tokens: int
    output_tokens: int
    total_tokens: int
    input_token_details: NotRequired[InputTokenDetails]
    output_token_details: NotRequired[OutputTokenDetails]


def add_usage(left: UsageMetadata | None, right: UsageMetadata | None) -> UsageMetadata:
    """Return the sum of two usages key by key; None counts as zero."""
    if left is None and right is None:
        return UsageMetadata(input_tokens=0, output_tokens=0, total_tokens=0)
    if left is None or right is None:
        return cast("UsageMetadata", left if right is None else right)
    return cast("UsageMetadata", _combine(left, right, lambda a, b: a + b))


def subtract_usage(left: UsageMetadata | None, right: UsageMetadata | None) -> UsageMetadata:
    """Return the difference of two usages key by key, never below zero; None counts as zero."""
    nothing = UsageMetadata(input_tokens=0, output_tokens=0, total_tokens=0)
    return cast(
        "UsageMetadata", _combine(left or nothing, right or nothing, lambda a, b: max(a - b, 0))
    )


def _combine(left: Values, right: Values, operation: Callable[[int, int], int]) -> JSON:
    combined: JSON = dict(left)
    for key in left.keys() | right.keys():
        ours = left.get(key)
        theirs = right.get(key)
        if isinstance(ours, Mapping) or isinstance(theirs, Mapping):
            combined[key] = _combine(ours or {}, theirs or {}, operation)
        elif ours is None and theirs is None:
            combined[key] = None
        elif isinstance(ours or 0, int | float) and isinstance(theirs or 0, int | float):
            combined[key] = operation(ours or 0, theirs or 0)
        else:
            kinds = f"`{type(ours).__name__}` and `{type(theirs).__name__}`"
            raise InvalidType(
                f"Unknown value types in usage: key `{key}` holds {kinds}, only counts and dicts add up."
            )
    return combined
