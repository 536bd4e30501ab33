"""The cache of all models that set no `cache`; `modelwire.globals.set_llm_cache` sets it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelwire.caches import BaseCache

llm_cache: BaseCache | None = None
