"""Converts Python values to JSON and back without loss: values without a JSON form become an object with their type.

A row that waits on disk must become the same prompt when it is called again. Plain JSON turns a
date into a text, a tuple into a list and infinity into null.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from math import isfinite
from typing import Any
from uuid import UUID

# This key of a tagged object holds the type's name.
_TYPE = "$type"
_VALUE = "value"

_PLAIN = frozenset({str, int, bool, type(None)})


def _pairs(items: Any) -> list[Any]:
    return [[tagged(name), tagged(one)] for name, one in items.items()]


def _dict(pairs: list[Any]) -> dict[Any, Any]:
    return {untagged(name): untagged(one) for name, one in pairs}


def _listed(items: Any) -> list[Any]:
    return [tagged(one) for one in items]


def _each(items: list[Any]) -> Any:
    return (untagged(one) for one in items)


def _iso(value: datetime | time) -> str | list[Any]:
    """Return the ISO text of a time, with its `fold` if that is set: the text does not show it."""
    text = value.isoformat()
    if value.fold:
        return [text, value.fold]
    return text


def _iso_reader(kind: type[datetime] | type[time]) -> Callable[[Any], Any]:
    def read(stored: Any) -> datetime | time:
        if isinstance(stored, str):
            return kind.fromisoformat(stored)
        text, fold = stored
        return kind.fromisoformat(text).replace(fold=fold)

    return read


# This maps a name to a type, the function that converts its values to JSON, and the one that
# converts them back.
_TYPES: dict[str, tuple[type, Callable[[Any], Any], Callable[[Any], Any]]] = {
    "datetime": (datetime, _iso, _iso_reader(datetime)),
    "date": (date, date.isoformat, date.fromisoformat),
    "time": (time, _iso, _iso_reader(time)),
    "timedelta": (
        timedelta,
        lambda value: [value.days, value.seconds, value.microseconds],
        lambda parts: timedelta(*parts),
    ),
    "bytes": (bytes, lambda value: b64encode(value).decode(), b64decode),
    "Decimal": (Decimal, str, Decimal),
    "UUID": (UUID, str, UUID),
    "float": (float, repr, float),  # Infinity and NaN are tagged.
    "tuple": (tuple, _listed, lambda items: tuple(_each(items))),
    "set": (set, _listed, lambda items: set(_each(items))),
    "frozenset": (frozenset, _listed, lambda items: frozenset(_each(items))),
    # These are dicts with keys that are not strings, or with the key `$type`.
    "dict": (dict, _pairs, _dict),
}
_NAMES = {kind: name for name, (kind, _, _) in _TYPES.items()}


def tagged(value: Any) -> Any:
    """Return `value` in a form for a JSON writer.

    Values of types that this module does not know are unchanged.
    """
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is dict and _TYPE not in value and all(type(name) is str for name in value):
        return {name: tagged(one) for name, one in value.items()}
    if kind is list:
        return _listed(value)
    name = _NAMES.get(kind)
    if name is None or (kind is float and isfinite(value)):
        return value
    return {_TYPE: name, _VALUE: _TYPES[name][1](value)}


def untagged(value: Any) -> Any:
    """Return the value that `tagged` had, from its JSON."""
    if isinstance(value, list):
        return list(_each(value))
    if not isinstance(value, dict):
        return value
    if _TYPE in value:
        return _TYPES[value[_TYPE]][2](value[_VALUE])
    return {name: untagged(one) for name, one in value.items()}
