"""Gemini's `cachedContents`: beginnings of prompts, stored under a name until they expire or are deleted. No I/O.

Source: https://ai.google.dev/api/caching, read 2026-11.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from pydantic_core import to_json

from modelwire.aliases import JSON
from modelwire.testing.server.replies import Reply, json_reply
from modelwire.testing.server.wires import error_reply

if TYPE_CHECKING:
    from modelwire.testing.server.requests import SeenRequest

_PATH = re.compile(
    r"/v1\w*/(?P<place>(projects/[^/]+/locations/[^/]+/)?cachedContents)(?P<name>/[^/]+)?$"
)
# The server counts this many bytes as one token.
BYTES_A_TOKEN = 4
# A shorter beginning of a prompt is rejected.
_LEAST_TOKENS = 1024
_USUAL_LIFETIME_S = 3600.0
# The provider's error for an unknown name, copied from public issues, 2026-11.
NOT_THERE = "CachedContent not found (or permission denied)"


class StoredPrompt(NamedTuple):
    """The stored beginning of a prompt. It expires at `ends_s` on the server's clock."""

    model: str
    tokens: int
    key_hash: str
    ends_s: float


class StoredPrompts:
    """Stores beginnings of prompts by their names. `made` counts all of them, `stored` has those not deleted."""

    def __init__(self) -> None:
        self.stored: dict[str, StoredPrompt] = {}
        self.made = 0

    def find(self, name: str, key_hash: str, now_s: float) -> StoredPrompt | None:
        """Return a stored prompt; None if the name is unknown to this key, or the prompt has expired."""
        found = self.stored.get(name)
        if found is None or found.key_hash != key_hash or found.ends_s < now_s:
            return None
        return found

    def handle(self, request: SeenRequest, path: str, now_s: float) -> Reply | None:
        """Return the answer to a request about stored prompts; None for any other request."""
        found = _PATH.search(path)
        if found is None:
            return None
        if found["name"] is None:
            if request.method != "POST":
                return None
            return self._make(request, found["place"], now_s)
        name = found["place"] + found["name"]
        known = self.find(name, request.key_hash, now_s)
        if known is None:
            return error_reply("gemini", 403, number=request.number, message=NOT_THERE)
        if request.method == "DELETE":
            del self.stored[name]
            return json_reply(200, {})
        if request.method == "PATCH":
            ttl = str(request.fields.get("ttl", ""))
            known = known._replace(ends_s=now_s + _lifetime_s(ttl))
            self.stored[name] = known
        return json_reply(200, _about(name, known))

    def _make(self, request: SeenRequest, place: str, now_s: float) -> Reply:
        parts = dict(request.fields)
        ttl = str(parts.pop("ttl", ""))
        model = str(parts.pop("model", "")).rpartition("/")[2]
        tokens = len(to_json(parts)) // BYTES_A_TOKEN
        if tokens < _LEAST_TOKENS:
            message = f"Cached content is too small. total_token_count={tokens}, min_total_token_count={_LEAST_TOKENS}"
            return error_reply("gemini", 400, number=request.number, message=message)
        self.made += 1
        name = f"{place}/stored-{self.made}"
        ends_s = now_s + _lifetime_s(ttl)
        self.stored[name] = StoredPrompt(model, tokens, request.key_hash, ends_s)
        return json_reply(200, _about(name, self.stored[name]))


def _lifetime_s(ttl: str) -> float:
    if ttl.endswith("s"):
        return float(ttl[:-1])
    return _USUAL_LIFETIME_S


def _about(name: str, stored: StoredPrompt) -> JSON:
    usage = {"totalTokenCount": stored.tokens}
    return {"name": name, "model": f"models/{stored.model}", "usageMetadata": usage}
