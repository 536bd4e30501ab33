"""Adds up the chunks of a stream, in time linear in their number for texts, lists and message chunks."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterable, Callable, Iterable, Sequence
from typing import Any, TypeVar, cast

from modelwire.aliases import Fields
from modelwire.errors import InvalidType

__all__ = ["AddableDict", "aadd", "add"]

Item = TypeVar("Item")


class AddableDict(dict[str, Any]):
    """A dict that a stream sends in parts.

    Adding two adds the values of each key; `None` adds nothing.
    """

    def __add__(self, other: Fields) -> AddableDict:
        total = AddableDict(self)
        for key, value in other.items():
            have = total.get(key)
            if have is None:
                total[key] = value
            elif value is not None:
                total[key] = _added(key, have, value)
        return total

    def __radd__(self, other: Fields) -> AddableDict:
        return AddableDict(other) + self


class GrowingDict(AddableDict):
    """A dict that a stream sends in ever longer versions. The sum of two is the later one."""

    def __add__(self, other: Fields) -> AddableDict:
        if type(other) is GrowingDict:
            return other
        return super().__add__(other)


class GrowingList(list[Any]):
    """A list that a stream sends in ever longer versions. The sum of two is the later one."""

    def __add__(self, other: Any) -> Any:
        if type(other) is GrowingList:
            return other
        return super().__add__(other)


class GrowingStr(str):
    """A text that a stream sends in ever longer versions.

    A step that needs the whole text takes the last version.
    """

    __slots__ = ()


class GrowingInt(int):
    """A number that a stream sends in versions with ever more digits.

    A step that needs the whole number takes the last version.
    """

    __slots__ = ()


class GrowingFloat(float):
    """A number that a stream sends in versions with ever more digits.

    A step that needs the whole number takes the last version.
    """

    __slots__ = ()


_GROWING: dict[type, type] = {
    str: GrowingStr,
    int: GrowingInt,
    float: GrowingFloat,
    list: GrowingList,
}
_VERSIONS = frozenset({*_GROWING.values(), GrowingDict})


def growing(value: Any) -> Any:
    """Return a str, int, float or list as a subclass that marks it as a version of a growing value:
    a later version replaces it instead of being added. Return any other value unchanged.
    """
    return _GROWING.get(type(value), _same)(value)


def replaces(value: Any) -> bool:
    """Return whether a later value of a stream replaces this one instead of being added to it."""
    kind = type(value)
    return kind in _VERSIONS or kind is bool or not hasattr(value, "__add__")


def _same(value: Item) -> Item:
    return value


def _added(key: str, have: Any, value: Any) -> Any:
    try:
        return have + value
    except TypeError as exc:
        kinds = f"'{type(have).__name__}' and '{type(value).__name__}'"
        raise InvalidType(f"Cannot add incompatible types for key '{key}': {kinds}.") from exc


def add(addables: Iterable[Any]) -> Any:
    """Return the sum of all items; None if there are none."""
    items = list(addables)
    return _joined(items) if items else None


async def aadd(addables: AsyncIterable[Any]) -> Any:
    """Return the sum of all items; None if there are none."""
    return add([item async for item in addables])


def collected(items: list[Any]) -> Any:
    """Return the sum of the items, for a step that needs its whole input; None if there are none.
    Items that cannot be added replace others.

    In an `AddableDict` each key is summed separately: values of one key that cannot be added do not
    affect the other keys.
    """
    if not items:
        return None
    total = _collected(items) if len(items) > 1 else items[0]
    grown = _WHEN_WHOLE.get(type(total))
    return total if grown is None else grown(total)


_WHEN_WHOLE: dict[type, type] = {
    GrowingDict: AddableDict,
    **{version: kind for kind, version in _GROWING.items()},
}


def _collected(items: list[Any]) -> Any:
    kinds = {type(item) for item in items}
    if kinds == {bool}:  # The sum of booleans would be an integer.
        return items[-1]
    is_in_parts = any(issubclass(kind, AddableDict) for kind in kinds)
    if is_in_parts and all(issubclass(kind, dict) for kind in kinds):
        # A plain dict replaces the previous one. From the first `AddableDict` on, dicts are added.
        begun = next((place for place, item in enumerate(items) if _adds(item)), len(items))
        start = max(begun - 1, 0)
        return _joined_dicts(items[start:], collected)
    try:
        return _joined(items)
    except TypeError:
        total = items[0]
        for item in items[1:]:
            total = _sum_or_later(total, item)
        return total


def _adds(item: Any) -> bool:
    return isinstance(item, AddableDict) and type(item) is not GrowingDict


def _sum_or_later(total: Any, item: Any) -> Any:
    if isinstance(total, dict) and isinstance(item, dict) and (_adds(total) or _adds(item)):
        return _collected([total, item])
    try:
        return total + item
    except TypeError:
        return item


def _joined(items: list[Any]) -> Any:
    """Return the sum of one or more items, in linear time if all have one known type."""
    first = items[0]
    if len(items) == 1:
        return first
    kind = type(first)
    if kind in _VERSIONS and all(type(item) in _VERSIONS for item in items):
        return items[-1]
    if all(type(item) is kind for item in items):
        if kind is str:
            return "".join(items)
        if kind is list:
            return [part for item in items for part in item]
        if kind is AddableDict:
            return _joined_dicts(items, _joined)
        # If `modelwire.messages` is not loaded, no item can be one of its chunks.
        messages = sys.modules.get("modelwire.messages")
        if kind is getattr(messages, "AIMessageChunk", None):
            return cast("Any", messages).add_ai_message_chunks(*items)
    total = first
    for item in items[1:]:
        total = total + item
    return total


def _joined_dicts(items: Sequence[Fields], join: Callable[[list[Any]], Any]) -> AddableDict:
    parts: dict[str, list[Any]] = {}
    for item in items:
        for key, value in item.items():
            held = parts.setdefault(key, [])
            if value is not None:
                held.append(value)
    total = AddableDict()
    for key, values in parts.items():
        try:
            total[key] = join(values) if values else None
        except TypeError:  # Add the values one by one, so that the error names the two types.
            for value in values:
                total = total + {key: value}
    return total
