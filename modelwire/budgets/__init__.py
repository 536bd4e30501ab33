"""Limits on the dollars, tokens, calls and seconds that model calls may use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelwire import lazy

if TYPE_CHECKING:
    from modelwire.budgets.spending import Budget as Budget
    from modelwire.budgets.spending import Left as Left
    from modelwire.budgets.spending import Spending as Spending
    from modelwire.budgets.spending import budget as budget

__getattr__, __dir__, __all__ = lazy.exports(
    __name__, {"modelwire.budgets.spending": "Budget Left Spending budget"}
)
