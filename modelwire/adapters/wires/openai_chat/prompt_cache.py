"""Applies `prompt_cache` to requests of OpenAI's two APIs, and of services with Anthropic's cache marks. No I/O here.

OpenAI caches every long prompt by itself. `prompt_cache_key` routes requests with the same beginning to one machine,
and `prompt_cache_retention` extends the lifetime of the cache.
Source: https://developers.openai.com/api/docs/guides/prompt-caching, read 2026-11.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

from modelwire.adapters.wires.anthropic.families import least_cached_tokens
from modelwire.adapters.wires.anthropic.prompt_cache import (
    MARKS,
    blocks_of,
    marked_turns,
    turn_sections,
)
from modelwire.adapters.wires.openai_chat.families import has_breakpoints, has_long_prompt_cache
from modelwire.adapters.wires.prompt_marks import LONG, PromptCacheWish, Section, place_marks
from modelwire.aliases import JSON, Fields

if TYPE_CHECKING:
    from modelwire.transport.wire import WireRequest

# The providers that accept OpenAI's parameters of the prompt cache.
# https://learn.microsoft.com/azure/foundry/openai/how-to/prompt-caching, read 2026-11.
_OPENAI_ITSELF = ("openai", "azure_openai")
_NO_HOUR = (
    '`prompt_cache` is not "1h": `{model}` has no lifetime that can be set. '
    "Its prompts are cached with the default lifetime."
)
# Instructions with fewer characters are certainly below the cache's minimum of 1,024 tokens, and get no breakpoint.
_LEAST_MARKED_CHARS = 2_048
_INSTRUCTIONS = ("system", "developer")


def ask(request: WireRequest, wish: PromptCacheWish) -> list[str]:
    """Add the parameters of the prompt cache, or cache marks for Claude behind a gateway, to the request.

    Returns a sentence for each part of the wish that the model does not have. Raises `InvalidArgument` for cache marks
    of the caller that the provider would reject.
    """
    service = wish.service
    if service is not None and service.cache_control:
        # The providers of other models cache by themselves, and the gateway sends such calls to the same provider:
        # https://openrouter.ai/docs/guides/best-practices/prompt-caching, read 2026-11.
        if "claude" not in wish.model:
            return [_NO_HOUR.format(model=wish.model)] if wish.lifetime == LONG else []
        _mark(request, wish)
        return []
    takes_key = wish.provider in _OPENAI_ITSELF
    if service is not None:
        takes_key = wish.wire in service.prompt_cache_key_over
    if not takes_key:
        return [
            f"`prompt_cache` is left out for `{wish.model}`: `{wish.provider}` documents no parameter for it. It may "
            "cache prompts by itself."
        ]
    body = dict(request.body)
    body.setdefault("prompt_cache_key", stable_prefix_key(wish.model, body))
    request.body = body
    if wish.provider in _OPENAI_ITSELF and has_breakpoints(wish.model):
        _place_breakpoint(body, wish)
    if wish.lifetime != LONG or "prompt_cache_retention" in body or "prompt_cache_options" in body:
        return []
    if wish.provider in _OPENAI_ITSELF and has_long_prompt_cache(wish.model):
        body["prompt_cache_retention"] = "24h"
        return []
    return [_NO_HOUR.format(model=wish.model)]


def _place_breakpoint(body: JSON, wish: PromptCacheWish) -> None:
    """Put a breakpoint at the end of the instructions, so that other conversations can read them from the cache.

    These models cache only up to a breakpoint, and place one at the end of each request by themselves. That one is
    turned off for a row with one turn, which no other call would read.
    """
    name = "messages" if "messages" in body else "input"
    turns = list(body[name]) if isinstance(body[name], list) else []
    head = _instructions_of(turns)
    if head:
        content = blocks_of(head[-1].get("content"))
        if wish.wire == "responses" and isinstance(head[-1].get("content"), str):
            content = [{**content[0], "type": "input_text"}]
        if content and sum(len(str(block.get("text"))) for block in content) >= _LEAST_MARKED_CHARS:
            content[-1] = {"prompt_cache_breakpoint": {"mode": "explicit"}, **content[-1]}
            turns[len(head) - 1] = {**head[-1], "content": content}
            body[name] = turns
    if wish.is_row and not any(turn.get("role") == "assistant" for turn in turns):
        body.setdefault("prompt_cache_options", {"mode": "explicit"})


def _instructions_of(turns: Any) -> list[Any]:
    """Return the messages with instructions at the beginning of a conversation."""
    head: list[Any] = []
    for turn in turns if isinstance(turns, list) else []:
        if not isinstance(turn, Mapping) or turn.get("role") not in _INSTRUCTIONS:
            break
        head.append(turn)
    return head


def stable_prefix_key(model: str, body: Fields) -> str:
    """Return a digest of the model, its tools and its instructions, with which all calls of a program begin."""
    head = _instructions_of(body.get("messages", body.get("input")))
    stable = [model, body.get("tools"), body.get("instructions"), head]
    return sha256(to_json(stable, fallback=str)).hexdigest()[:32]


def _mark(request: WireRequest, wish: PromptCacheWish) -> None:
    """Write cache marks into the messages for Claude. Chat Completions cannot mark the tools, which precede them."""
    body = dict(request.body)
    tools = Section("other", list(body.get("tools") or ()), "`tools`")
    turns = turn_sections(body["messages"])
    place_marks(
        [tools, *turns],
        MARKS,
        wish,
        least_tokens=least_cached_tokens(wish.model),
        automatic_marks=int("cache_control" in body),
    )
    body["messages"] = marked_turns(body["messages"], turns)
    request.body = body
