"""Names for the types that jobs pass around: chains, records of rows, settings, bodies of a Batch API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from modelwire.runnables import Runnable

__all__ = ["JSON", "Chain", "Fields"]

# A JSON object that its holder may change.
JSON = dict[str, Any]
# Names and their values, which are only read.
Fields = Mapping[str, Any]
# A prompt, a model and what follows it, or any part of that.
Chain: TypeAlias = "Runnable[Any, Any]"
