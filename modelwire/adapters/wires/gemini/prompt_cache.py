"""`prompt_cache` for Gemini's models, which cache prompts by themselves. No I/O here.

Source: https://ai.google.dev/gemini-api/docs/caching, read 2026-11.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelwire.adapters.wires.prompt_marks import LONG, PromptCacheWish

if TYPE_CHECKING:
    from modelwire.transport.wire import WireRequest

__all__ = ["ask"]


def ask(request: WireRequest, wish: PromptCacheWish) -> list[str]:
    """Return what is left out: implicit caching has no parameter, and so no lifetime."""
    if wish.lifetime == LONG:
        return [f'`prompt_cache` is not "1h": `{wish.model}` caches this prompt by itself.']
    return []
