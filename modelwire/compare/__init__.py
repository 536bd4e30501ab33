"""`modelwire compare`: what other models would have answered to the calls of a recording."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelwire import _lazy

if TYPE_CHECKING:
    from modelwire.compare.comparison import Comparison as Comparison
    from modelwire.compare.comparison import compare as compare

__getattr__, __dir__, __all__ = _lazy.exports(
    __name__, {"modelwire.compare.comparison": "Comparison compare"}
)
