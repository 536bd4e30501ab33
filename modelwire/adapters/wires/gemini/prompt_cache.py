"""Applies `prompt_cache` to requests of Gemini, which caches by itself and can store long prompts. No I/O here.

Gemini's implicit caching is free, but not guaranteed. A stored prompt is always read. It costs its input tokens once
more, some storage and another request, so it pays off if several calls share a long system instruction or many tools.
Source: https://ai.google.dev/gemini-api/docs/caching, read 2026-11.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic_core import to_json

from modelwire.adapters.wires.prompt_marks import LONG, PromptCacheWish, StoredHead
from modelwire.aliases import JSON

if TYPE_CHECKING:
    from modelwire.transport.wire import WireRequest

# A shorter beginning of a prompt is not stored, but left to implicit caching. Our choice: about 8,000 tokens, twice the
# largest minimum of any model.
LEAST_STORED_BYTES = 32_768
# The fields of a request that a stored prompt replaces.
_STORABLE = ("systemInstruction", "tools", "toolConfig")
_LIFETIMES_S = {LONG: 3600.0}
_USUAL_LIFETIME_S = 300.0


def ask(request: WireRequest, wish: PromptCacheWish) -> list[str]:
    """Set `storable` of the request if the beginning of its prompt is long enough to be stored.

    Returns a sentence for a part of the wish that is left out: implicit caching has no lifetime.
    """
    head = {name: request.body[name] for name in _STORABLE if name in request.body}
    path = request.url.partition("?")[0].rpartition(":")[0]
    collection, found, _ = path.rpartition("/models/")
    is_long = len(to_json(head, fallback=str)) >= LEAST_STORED_BYTES
    if not found or not is_long or "cachedContent" in request.body:
        if wish.lifetime == LONG and "cachedContent" not in request.body:
            return [f'`prompt_cache` is not "1h": `{wish.model}` caches this prompt by itself.']
        return []
    request.storable = _stored_head(collection, wish, head)
    return []


def _stored_head(collection: str, wish: PromptCacheWish, head: JSON) -> StoredHead:
    """Return the head of a prompt and the addresses to store it, which on Vertex AI are in the project."""
    collection = collection.removesuffix("/publishers/google")
    origin, in_project, place = collection.partition("/projects/")
    name = f"models/{wish.model.rpartition('/')[2]}"
    if in_project:
        name = f"projects/{place}/publishers/google/{name}"
    lifetime_s = _LIFETIMES_S.get(wish.lifetime, _USUAL_LIFETIME_S)
    return StoredHead(f"{collection}/cachedContents", origin, {"model": name}, head, lifetime_s)
