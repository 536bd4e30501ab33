"""Adds an item to a tuple that belongs to the current context, for the time of a `with` block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

__all__ = ["adding"]

Item = TypeVar("Item")


@contextmanager
def adding(items: ContextVar[tuple[Item, ...]], item: Item) -> Iterator[None]:
    """Add `item` to the tuple `items` of this context, and remove it when the block ends.

    Blocks may end in any order: each removes its own item only, and what the block has set besides stays.
    """
    items.set((*items.get(), item))
    try:
        yield
    finally:
        items.set(_without(items.get(), item))


def _without(items: tuple[Item, ...], item: Item) -> tuple[Item, ...]:
    """Return the tuple without the last place of this object; an equal object stays."""
    for index in reversed(range(len(items))):
        if items[index] is item:
            return items[:index] + items[index + 1 :]
    return items
