"""The endpoints beside chat calls and batches: the lists of models, and the counts of tokens. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelwire.aliases import JSON
from modelwire.testing.server.replies import Reply, json_reply
from modelwire.testing.server.wires import WIRES, error_reply

if TYPE_CHECKING:
    from modelwire.testing.server.requests import SeenRequest

# The list of models lacks these wires, whose APIs list models at another path, or in another format.
_OWN_LISTS = ("bedrock", "gemini")
_LISTED = sorted({row.model for name, row in WIRES.items() if name not in _OWN_LISTS})
# The field with the count, by the end of the path that counts tokens.
_COUNTS = {
    "/messages/count_tokens": "input_tokens",
    "/responses/input_tokens": "input_tokens",
    "/count-tokens:rawPredict": "input_tokens",
    ":countTokens": "totalTokens",
    "/count-tokens": "inputTokens",
}


def other_reply(request: SeenRequest, path: str) -> Reply:
    """Return a list of models, one model, or a count of tokens; 404 for any other request."""
    of_anthropic = "anthropic-version" in request.headers
    counted = None
    for end, name in _COUNTS.items():
        if path.endswith(end):
            counted = name
            break
    method = request.method
    if method == "POST" and counted is not None:
        # Tokens are counted by bytes, as for the rate limits.
        count: JSON = {counted: max(1, len(request.content) // 4)}
        if path.endswith("/responses/input_tokens"):
            count["object"] = "response.input_tokens"
        return json_reply(200, count)
    model_row = _openai_row
    if of_anthropic:
        model_row = _anthropic_row
    if method == "GET" and path.endswith("/models"):
        page: JSON = {"object": "list"}
        if of_anthropic:
            page = {"has_more": False, "first_id": _LISTED[0], "last_id": _LISTED[-1]}
        return json_reply(200, {"data": [model_row(name) for name in _LISTED], **page})
    if method == "GET" and "/models/" in path:
        return json_reply(200, model_row(path.rpartition("/")[2]))
    message = f"There is nothing at {method} {request.path}. OpenAI's clients need a `base_url` with `/v1`."
    wire = "openai"
    if of_anthropic:
        wire = "anthropic"
    return error_reply(wire, 404, number=request.number, message=message, code="not_found")


def _anthropic_row(name: str) -> JSON:
    return {
        "type": "model",
        "id": name,
        "display_name": name,
        "created_at": "2025-01-01T00:00:00Z",
        "lifecycle": "active",
    }


def _openai_row(name: str) -> JSON:
    return {"id": name, "object": "model", "created": 1_735_689_600, "owned_by": "modelwire"}
