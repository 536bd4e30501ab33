"""Finds out where a prompt cache breaks: the first message, tool or parameter that differs from an earlier call.

A provider reads a prompt from its cache only up to the first difference, so one changed character near the beginning
makes everything after it cost the full price again. Calls with `prompt_cache` are compared with earlier calls, and
`watch()` compares all calls of a block.

Only digests of the last 32 prompts are stored, in memory; for a break also the 40 characters on each side of
the first difference in the new prompt. The old text is not stored, so it cannot be shown.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from modelwire.context_items import adding
from modelwire.records import NamedTuple

if TYPE_CHECKING:
    from modelwire.adapters.model.prompt_prefixes import PromptMemory

__all__ = ["CacheBreak", "Watch", "close", "watch"]

# `Watch.breaks`, and the breaks that `track()` lists, have at most this many entries.
MOST_BREAKS = 1_000


class CacheBreak(NamedTuple):
    """One call whose prompt does not begin with an earlier prompt of the same conversation or line of code.

    The provider's cache of that prompt could not be used.
    """

    model: str
    part: str
    """The kind of the first difference: "message", "tool" or "parameter"."""
    place: int | None
    """The index of the message or the tool among the others; None for a parameter."""
    name: str
    """The role of the message, or the name of the tool or the parameter."""
    change: str
    """"changed", "added", "removed" or "moved"."""
    excerpt: str
    """Up to 40 characters of the new text on each side of the first difference; "" if there is no new text."""
    message: str
    """A sentence that describes the break, as in the log."""

    def __str__(self) -> str:
        return self.message


class Watch:
    """The breaks inside a `watch()` block, oldest first."""

    def __init__(self) -> None:
        self.breaks: list[CacheBreak] = []

    def __str__(self) -> str:
        return "\n".join(map(str, self.breaks)) or "No prompt cache was broken."


# Calls of this context are compared with the last of these prompt memories, even without `prompt_cache`.
WATCHING: ContextVar[tuple[PromptMemory, ...]] = ContextVar("modelwire_prompt_watch", default=())
# Each break in this context is added to these lists, which belong to `watch()` and `track()` blocks.
BREAKS: ContextVar[tuple[list[CacheBreak], ...]] = ContextVar("modelwire_cache_breaks", default=())


@contextmanager
def watch() -> Iterator[Watch]:
    """Compare the prompts of all calls inside the block. The result lists every break; the log has the first ones.

    Example:
        with prompt_caches.watch() as watched:
            agent.invoke(question)
        print(watched)
    """
    from modelwire.adapters.model.prompt_prefixes import PromptMemory

    watched = Watch()
    with adding(WATCHING, PromptMemory()), listing(watched.breaks):
        yield watched


def close() -> None:
    """Delete the prompts that this process has stored at providers; the end of the program does it too."""
    stored = sys.modules.get("modelwire.adapters.model.stored_prompts")
    if stored is not None:
        stored.close()


def listing(breaks: list[CacheBreak]) -> AbstractContextManager[None]:
    """Add the breaks of calls inside the block to the list `breaks`, up to 1,000 of them."""
    return adding(BREAKS, breaks)
