"""`prompt_cache` for Gemini: it caches prompts by itself, and stores long heads under a name. No I/O here.

Implicit caching costs nothing and promises nothing. A stored prompt is read for sure, costs its input once more and
some storage, and needs a request of its own: it pays for a long system instruction, or many tools, from some calls on.
Source: https://ai.google.dev/gemini-api/docs/caching, read 2026-11.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic_core import to_json

from modelwire.adapters.wires.prompt_marks import LONG, PromptCacheWish, StoredHead
from modelwire.aliases import JSON

if TYPE_CHECKING:
    from modelwire.transport.wire import WireRequest

# A head of fewer bytes is left to implicit caching. Our choice: some 8,000 tokens, twice the largest minimum.
LEAST_STORED_BYTES = 32_768
# What a stored prompt can stand for; a call with it may have none of these.
_STORABLE = ("systemInstruction", "tools", "toolConfig")
_LIFETIMES_S = {LONG: 3600.0}
_USUAL_LIFETIME_S = 300.0


def ask(request: WireRequest, wish: PromptCacheWish) -> list[str]:
    """Offer a long head to be stored, and return what is left out: implicit caching has no lifetime."""
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
    """Return where the head is stored: beside the models, or in the project on Vertex AI."""
    collection = collection.removesuffix("/publishers/google")
    origin, in_project, place = collection.partition("/projects/")
    name = f"models/{wish.model.rpartition('/')[2]}"
    if in_project:
        name = f"projects/{place}/publishers/google/{name}"
    lifetime_s = _LIFETIMES_S.get(wish.lifetime, _USUAL_LIFETIME_S)
    return StoredHead(f"{collection}/cachedContents", origin, {"model": name}, head, lifetime_s)
