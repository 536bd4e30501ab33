"""Settings of the whole process: the cache of all models without one of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelwire.adapters.model import global_cache

if TYPE_CHECKING:
    from modelwire.caches import BaseCache

__all__ = ["get_llm_cache", "set_llm_cache"]


def set_llm_cache(value: BaseCache | None) -> None:
    """Set the cache of every model whose `cache` is `None` or `True`; `None` removes it."""
    from modelwire.adapters.model.cache import checked_cache

    global_cache.llm_cache = None if value is None else checked_cache(value)


def get_llm_cache() -> BaseCache | None:
    """Return the cache that `set_llm_cache` has set, or None."""
    return global_cache.llm_cache
