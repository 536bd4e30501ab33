"""Fetches a provider's list of models, which is also the cheapest call that shows whether a key is accepted.

The providers describe these lists here: https://platform.openai.com/docs/api-reference/models/list,
https://docs.anthropic.com/en/api/models-list, https://ai.google.dev/api/models#method:-models.list.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module
from typing import Any, NamedTuple

from modelwire import ext
from modelwire.command.model_options import choose_model
from modelwire.errors import InvalidArgument, ModelwireError

_TIMEOUT_S = 10.0
# At most this many pages of a list are fetched, in case a provider sends pages without end.
_MOST_PAGES = 50
# Each row: the end of a chat call's URL, what replaces it in the URL of the list, the parameter for large pages.
_ADDRESSES = (
    (r"/(?:chat/completions|responses)$", "/models", ""),
    (r"/v1/messages$", "/v1/models", "limit=1000"),
    (r"(?<!publishers/google)/models/[^/]+:\w+$", "/models", "pageSize=1000"),
)


class ListRefused(ModelwireError):
    """A provider did not send its list of models. `status` is None if it did not answer at all."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class ModelList(NamedTuple):
    """The names of a provider's models, sorted, and whether the request had a key."""

    names: list[str]
    had_key: bool


def listed_models(provider: str) -> ModelList:
    """Return the models that a provider offers to the key in use.

    Raises:
        `MissingKey`: there is no key. `InvalidArgument`: the provider has no such list.
        `ListRefused`: the provider refused the key, or cannot be reached.
    """
    model = choose_model(f"{provider}:unnamed")
    build = getattr(model, "build_request", None)
    address = None
    if build is not None:
        request = build("hi")
        address = _list_address(request.url)
    if address is None:
        raise InvalidArgument(f"`{provider}` has no list of models that modelwire can read.")
    headers = {
        name: value
        for name, value in request.headers.items()
        if name.lower() not in ("content-type", "accept-encoding", "content-length")
    }
    had_key = not ext.KEY_HEADERS.isdisjoint(map(str.lower, headers))
    return ModelList(sorted(_names(provider, address, headers)), had_key)


def _list_address(url: str) -> str | None:
    """Return the URL of the list beside a chat call's URL; None if no row of the table fits."""
    place, _, query = url.partition("?")
    if "alt=" in query:
        query = ""
    for ending, of_list, paging in _ADDRESSES:
        if re.search(ending, place):
            address = re.sub(ending, of_list, place)
            parameters = "&".join(filter(None, (query, paging)))
            if parameters:
                address += f"?{parameters}"
            return address
    return None


def _names(provider: str, address: str, headers: dict[str, str]) -> Iterator[str]:
    httpx2 = import_module("httpx2")
    page = ""
    with httpx2.Client(timeout=_TIMEOUT_S, headers=headers) as client:
        for _ in range(_MOST_PAGES):
            url = address
            if page:
                url += "&" if "?" in address else "?"
                url += page
            rows = body = _body(provider, httpx2, client, url)
            if isinstance(body, dict):
                rows = body.get("data") or body.get("models") or []
            named = [row.get("id") or row.get("name") for row in rows if isinstance(row, dict)]
            for name in filter(None, named):
                yield str(name).removeprefix("models/")
            page = _next_page(body)
            if not page:
                return


def _next_page(body: Any) -> str:
    if not isinstance(body, dict):
        return ""
    if body.get("has_more") and body.get("last_id"):  # Anthropic
        return f"after_id={body['last_id']}"
    token = body.get("nextPageToken")  # Gemini
    if token:
        return f"pageToken={token}"
    return ""


def _body(provider: str, httpx2: Any, client: Any, url: str) -> Any:
    where = ext.shown_url(url.partition("?")[0])
    try:
        reply = client.get(url)
        body = reply.json()
    except httpx2.HTTPError as exc:
        raise ListRefused(f"{where} cannot be reached: {type(exc).__name__}: {exc}") from exc
    except ValueError:
        body = None
    if reply.status_code in (401, 403):
        reason = _reason(body)
        raise ListRefused(f"{provider} refuses the key{reason}.", reply.status_code)
    if reply.status_code != 200 or not isinstance(body, dict | list):
        reason = _reason(body)
        raise ListRefused(
            f"{where} does not send its list of models: status {reply.status_code}{reason}.",
            reply.status_code,
        )
    return body


def _reason(body: Any) -> str:
    text = None
    if isinstance(body, dict):
        text = body.get("error")
    if isinstance(text, dict):
        text = text.get("message")
    if not text:
        return ""
    words = ext.mask_secrets(str(text)).split()
    return f": {' '.join(words).rstrip('.')}"
