"""`modelwire compare`: runs recorded calls again on other models and compares the answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelwire.ext import lazy_exports

if TYPE_CHECKING:
    from modelwire.compare.comparison import Comparison as Comparison
    from modelwire.compare.comparison import compare as compare

__getattr__, __dir__, __all__ = lazy_exports(
    __name__, {"modelwire.compare.comparison": "Comparison compare"}
)
