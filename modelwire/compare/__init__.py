"""`modelwire compare`: runs recorded calls again on other models and compares the answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelwire import _lazy

if TYPE_CHECKING:
    from modelwire.compare.comparison import Comparison as Comparison
    from modelwire.compare.comparison import compare as compare

__getattr__, __dir__, __all__ = _lazy.exports(
    __name__, {"modelwire.compare.comparison": "Comparison compare"}
)
