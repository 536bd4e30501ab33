"""Where the beginning of a prompt is warm in a provider's cache. No I/O and no clock here.

Providers cache the beginning of a prompt from about a thousand tokens on, for some minutes after its last use, and each
deployment has a cache of its own. A call whose beginning (system, tools, first user turn) was sent lately stays there
while that costs less than a cold prompt elsewhere.

Source: https://platform.openai.com/docs/guides/prompt-caching (from 1,024 tokens, 5 to 10 minutes) and
https://docs.anthropic.com/en/docs/build-with-claude/prompt-caching (5 minutes), read 2026-11
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

__all__ = ["LEAST_CHARS", "StickyTable", "chars_of", "cold_s", "prefix_of"]

# A beginning of fewer characters is not cached by any provider.
LEAST_CHARS = 4_096
# A prompt stays warm for this time after its last use.
_WARM_S = 300.0
# The table has at most this many beginnings.
_MOST_PREFIXES = 10_000
# A cold prompt costs this many seconds for each thousand characters, up to the second number.
_COLD_S_PER_1000_CHARS = 0.25
_COLD_MOST_S = 30.0


def chars_of(messages: Sequence[Any]) -> int:
    """Return the length of all texts in the messages."""
    return sum(len(_text_of(message.content)) for message in messages)


def prefix_of(
    messages: Sequence[Any], bound: int = 0, bound_chars: int = 0
) -> tuple[int, int] | None:
    """Return a digest of a prompt's beginning and its length in characters; None if it is too short to be cached.

    `bound` identifies the tools and other arguments that every call has, which have so many characters.
    """
    texts: list[str] = []
    chars = bound_chars
    for message in messages:
        text = _text_of(message.content)
        texts.append(text)
        chars += len(text)
        if message.type == "human":
            break
    if chars < LEAST_CHARS:
        return None
    return hash((bound, *texts)), chars


def _text_of(content: Any) -> str:
    """Return a message's content as one text; a block without a text counts as its type."""
    if isinstance(content, str):
        return content
    texts: list[str] = []
    for block in content:
        if not isinstance(block, str):
            block = str(block.get("text", block.get("type")))
        texts.append(block)
    return "\n".join(texts)


def cold_s(chars: int) -> float:
    """Return what a cold prompt costs, as the seconds that a call waits rather than pay them."""
    return min(chars / 1000 * _COLD_S_PER_1000_CHARS, _COLD_MOST_S)


class StickyTable:
    """The deployment where each beginning is warm, and since when."""

    def __init__(self) -> None:
        self._warm: OrderedDict[int, tuple[int, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._warm)

    def place(self, digest: int, now: float) -> int | None:
        """Return the position of the deployment where the beginning is warm, or None."""
        found = self._warm.get(digest)
        if found is None or now - found[1] > _WARM_S:
            return None
        return found[0]

    def sent(self, digest: int, position: int, now: float) -> None:
        """Record that a prompt with this beginning goes to the deployment at `position`."""
        self._warm[digest] = (position, now)
        self._warm.move_to_end(digest)
        if len(self._warm) > _MOST_PREFIXES:
            self._warm.popitem(last=False)

    def forget(self, digest: int, position: int) -> None:
        """Called when the call has failed at `position`, so that nothing is warm there."""
        found = self._warm.get(digest)
        if found is not None and found[0] == position:
            del self._warm[digest]
