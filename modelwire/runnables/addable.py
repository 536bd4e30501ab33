"""Adding up the chunks of a stream. Sums of text, lists and message chunks are linear in their number."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterable, Iterable, Mapping
from typing import Any, TypeVar

from modelwire.errors import InvalidType

__all__ = ["AddableDict", "aadd", "add"]

Item = TypeVar("Item")


class AddableDict(dict[str, Any]):
    """A dict of which a stream sends parts: adding joins the values of a key, `None` counts as nothing yet."""

    def __add__(self, other: Mapping[str, Any]) -> AddableDict:
        total = AddableDict(self)
        for key, value in other.items():
            have = total.get(key)
            if have is None:
                total[key] = value
            elif value is not None:
                total[key] = _added(key, have, value)
        return total

    def __radd__(self, other: Mapping[str, Any]) -> AddableDict:
        return AddableDict(other) + self


def _added(key: str, have: Any, value: Any) -> Any:
    try:
        return have + value
    except TypeError as exc:
        kinds = f"'{type(have).__name__}' and '{type(value).__name__}'"
        raise InvalidType(f"Cannot add incompatible types for key '{key}': {kinds}.") from exc


def add(addables: Iterable[Any]) -> Any:
    """Add all items up; the sum of nothing is None."""
    items = list(addables)
    return _joined(items) if items else None


async def aadd(addables: AsyncIterable[Any]) -> Any:
    """Add all items up; the sum of nothing is None."""
    items = [item async for item in addables]
    return _joined(items) if items else None


def collected(items: list[Any]) -> Any:
    """Add up n >= 1 items as a step does that needs its whole input: where two do not add, the later one is taken."""
    try:
        return _joined(items)
    except TypeError:
        total = items[0]
        for item in items[1:]:
            try:
                total = total + item
            except TypeError:
                total = item
        return total


def _joined(items: list[Any]) -> Any:
    """Add n >= 1 items, those of one known kind in linear time."""
    first = items[0]
    if len(items) == 1:
        return first
    kind = type(first)
    if all(type(item) is kind for item in items):
        if kind is str:
            return "".join(items)
        if kind is list:
            return [part for item in items for part in item]
        if kind is AddableDict:
            return _joined_dicts(items)
        messages = sys.modules.get("modelwire.messages")  # nobody can hold a chunk of a module that is not loaded
        if messages is not None and kind is messages.AIMessageChunk:
            return messages.add_ai_message_chunks(*items)
    total = first
    for item in items[1:]:
        total = total + item
    return total


def _joined_dicts(items: list[AddableDict]) -> AddableDict:
    parts: dict[str, list[Any]] = {}
    for item in items:
        for key, value in item.items():
            held = parts.setdefault(key, [])
            if value is not None:
                held.append(value)
    total = AddableDict()
    for key, values in parts.items():
        try:
            total[key] = _joined(values) if values else None
        except TypeError:  # the same again, one by one, for the error that names the two
            for value in values:
                total = total + {key: value}
    return total
