"""The usage of calls: tokens, their price, and trackers that add them up.

`modelwire.jobs`, `modelwire.budgets` and the log use this package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelwire import lazy

if TYPE_CHECKING:
    from modelwire.usage.prices import BATCH_SHARE as BATCH_SHARE
    from modelwire.usage.prices import amount_of as amount_of
    from modelwire.usage.prices import check_price_list as check_price_list
    from modelwire.usage.prices import dollars as dollars
    from modelwire.usage.prices import known_price as known_price
    from modelwire.usage.prices import listed_model as listed_model
    from modelwire.usage.prices import price_list as price_list
    from modelwire.usage.prices import price_of as price_of
    from modelwire.usage.prices import price_of_usage as price_of_usage
    from modelwire.usage.prices import prices_of as prices_of
    from modelwire.usage.prompt_cache_use import PromptCacheUse as PromptCacheUse
    from modelwire.usage.prompt_cache_use import prompt_cache_use_of as prompt_cache_use_of
    from modelwire.usage.tracking import CostTracker as CostTracker
    from modelwire.usage.tracking import Spent as Spent
    from modelwire.usage.tracking import percentile as percentile
    from modelwire.usage.tracking import track as track

__getattr__, __dir__, __all__ = lazy.exports(
    __name__,
    {
        "modelwire.usage.prices": (
            "BATCH_SHARE amount_of check_price_list dollars known_price listed_model price_list price_of"
            " price_of_usage prices_of"
        ),
        "modelwire.usage.prompt_cache_use": "PromptCacheUse prompt_cache_use_of",
        "modelwire.usage.tracking": "CostTracker Spent percentile track",
    },
)
