"""Applies `prompt_cache` to requests of Converse, as a `cachePoint` block behind each cached prefix. No I/O here.

Source: https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html, read 2026-11.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from modelwire.adapters.wires.bedrock.blocks_to_wire import cache_point
from modelwire.adapters.wires.bedrock.families import prompt_cache_of
from modelwire.adapters.wires.prompt_marks import (
    LONG,
    SHORT,
    MarkWriter,
    PromptCacheWish,
    Section,
    place_marks,
)
from modelwire.aliases import JSON
from modelwire.errors import InvalidArgument

if TYPE_CHECKING:
    from modelwire.transport.wire import WireRequest


def ask(request: WireRequest, wish: PromptCacheWish) -> list[str]:
    """Add cache points to the request.

    Returns a sentence for each part of the wish that the model does not have. Raises `InvalidArgument` for cache points
    of the caller that the model would reject.
    """
    known = prompt_cache_of(wish.model)
    if known is None:
        return [
            f"`prompt_cache` is left out for `{wish.model}`: Bedrock documents no prompt cache for it, see "
            "https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html."
        ]
    notes = []
    if wish.lifetime == LONG and not known.has_long:
        notes.append(f'`prompt_cache` is "5m", not "1h": `{wish.model}` has no longer lifetime.')
        wish = wish._replace(lifetime=SHORT)
    body = dict(request.body)
    sections = _sections_of(body, marks_tools=known.marks_tools)
    place_marks(sections, _MARKS, wish, least_tokens=known.least_tokens)
    request.body = body
    return notes


def _sections_of(body: JSON, *, marks_tools: bool) -> list[Section]:
    """Return the sections of a body in the order of the prompt; their lists are copies that replace the body's."""
    sections: list[Section] = []
    config = body.get("toolConfig")
    if isinstance(config, Mapping) and config.get("tools"):
        tools = list(config["tools"])
        if not marks_tools and any("cachePoint" in tool for tool in tools):
            raise InvalidArgument(
                "The tools of this model take no `cachePoint`: put it behind the system prompt or a message."
            )
        body["toolConfig"] = {**config, "tools": tools}
        sections.append(Section("tools" if marks_tools else "other", tools, "the tools"))
    if body.get("system"):
        body["system"] = list(body["system"])
        sections.append(Section("system", body["system"], "`system`"))
    turns = body["messages"] = list(body["messages"])
    for number, turn in enumerate(turns):
        turns[number] = {**turn, "content": list(turn["content"])}
        sections.append(Section(turn["role"], turns[number]["content"], f"message {number}"))
    return sections


def _lifetime_at(blocks: Sequence[Any], index: int) -> str | None:
    """Return the lifetime of the cache point behind a block; None without one."""
    following = blocks[index + 1] if index + 1 < len(blocks) else None
    if not isinstance(following, Mapping) or "cachePoint" not in following:
        return None
    return str(following["cachePoint"].get("ttl", SHORT))


def _refusal(block: Any) -> str | None:
    if not isinstance(block, Mapping) or "cachePoint" in block:
        return "there is a cache point already"
    if "reasoningContent" in block:
        return "a cache point cannot follow reasoning"
    return None


def _write(blocks: list[Any], index: int, lifetime: str) -> None:
    point = {"ttl": LONG} if lifetime == LONG else {}
    blocks.insert(index + 1, cache_point(point))


_MARKS = MarkWriter(_lifetime_at, _refusal, _write)
