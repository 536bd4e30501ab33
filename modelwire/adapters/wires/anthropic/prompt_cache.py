"""Applies `prompt_cache` to requests of the Messages API, as `cache_control` on blocks. No I/O here.

Source: https://platform.claude.com/docs/en/build-with-claude/prompt-caching, read 2026-11.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from modelwire.adapters.wires.anthropic.families import least_cached_tokens
from modelwire.adapters.wires.prompt_marks import (
    LONG,
    SHORT,
    MarkWriter,
    PromptCacheWish,
    Section,
    place_marks,
)

if TYPE_CHECKING:
    from modelwire.transport.wire import WireRequest

# The provider rejects marks on blocks of these types. It caches them together with the blocks around them.
_UNMARKABLE = frozenset(("thinking", "redacted_thinking"))


def ask(request: WireRequest, wish: PromptCacheWish) -> list[str]:
    """Write cache marks into the request, and return an empty list, as nothing of the wish is left out.

    Raises `InvalidArgument` for cache marks of the caller that the provider would reject.
    """
    body = dict(request.body)
    heads = [
        Section(name, blocks_of(body[name]), f"`{name}`")
        for name in ("tools", "system")
        if body.get(name)
    ]
    turns = turn_sections(body["messages"])
    place_marks(
        [*heads, *turns],
        MARKS,
        wish,
        least_tokens=least_cached_tokens(wish.model),
        automatic_marks=int("cache_control" in body),
    )
    for head in heads:
        body[head.name] = head.blocks
    body["messages"] = marked_turns(body["messages"], turns)
    request.body = body
    return []


def turn_sections(turns: Sequence[Any]) -> list[Section]:
    """Return a section for each turn, with its blocks in a new list."""
    return [
        Section(str(turn.get("role")), blocks_of(turn.get("content")), f"message {number}")
        for number, turn in enumerate(turns)
    ]


def marked_turns(turns: Sequence[Any], sections: Sequence[Section]) -> list[Any]:
    """Return the turns with the blocks of the sections, into which cache marks may have been written.

    A turn without a new mark is the same object as before.
    """
    marked: list[Any] = []
    for turn, section in zip(turns, sections, strict=True):
        if section.blocks == blocks_of(turn.get("content")):
            marked.append(turn)
        else:
            marked.append({**turn, "content": section.blocks})
    return marked


def blocks_of(content: Any) -> list[Any]:
    """Return content as a new list of blocks; a string becomes a text block, which is the same prompt."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return list(content or ())


def _lifetime_at(blocks: Sequence[Any], index: int) -> str | None:
    mark = blocks[index].get("cache_control") if isinstance(blocks[index], Mapping) else None
    if not isinstance(mark, Mapping):
        return None
    return str(mark.get("ttl", SHORT))


def _refusal(block: Any) -> str | None:
    if not isinstance(block, Mapping):
        return "it is not an object"
    if block.get("type") in _UNMARKABLE:
        return f"the provider accepts no mark on a block of type `{block['type']}`"
    if block.get("type") == "text" and not block.get("text"):
        return "the text is empty"
    return None


def _write(blocks: list[Any], index: int, lifetime: str) -> None:
    mark = {"type": "ephemeral"}
    if lifetime == LONG:
        mark["ttl"] = LONG
    blocks[index] = {**blocks[index], "cache_control": mark}


MARKS = MarkWriter(_lifetime_at, _refusal, _write)
