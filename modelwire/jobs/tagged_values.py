"""Converts Python values to JSON and back without loss.

A value without a JSON form becomes an object with the name of its type. A row that waits on disk
must become the same prompt when it is called again, and plain JSON turns a date into a text, a tuple
into a list and infinity into null.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from math import isfinite
from typing import Any
from uuid import UUID

_Converter = Callable[[Any], Any]

# A tagged object has two keys: the name of the type, and the value in a form for JSON.
_TYPE = "$type"
_VALUE = "value"

_PLAIN = frozenset({str, int, bool, type(None)})


def _listed(items: Any) -> list[Any]:
    return [tagged(one) for one in items]


def _pairs(items: dict[Any, Any]) -> list[Any]:
    return [_listed(pair) for pair in items.items()]


def _iso(value: datetime | time) -> str | list[Any]:
    """Return the ISO text of a time; with the time's `fold` if that is set, because the text does not contain it."""
    text = value.isoformat()
    if value.fold:
        return [text, value.fold]
    return text


def _iso_reader(kind: type[datetime] | type[time]) -> _Converter:
    def read(stored: Any) -> datetime | time:
        if isinstance(stored, str):
            return kind.fromisoformat(stored)
        text, fold = stored
        return kind.fromisoformat(text).replace(fold=fold)

    return read


def _reader(kind: Callable[[Any], Any]) -> _Converter:
    """Return the function that makes a collection of the kind from a list of tagged items."""

    def read(items: list[Any]) -> Any:
        return kind(untagged(items))

    return read


# The types that are tagged, and for each the function that converts a value to JSON.
_WRITERS: dict[type, _Converter] = {
    datetime: _iso,
    date: date.isoformat,
    time: _iso,
    timedelta: lambda value: [value.days, value.seconds, value.microseconds],
    bytes: lambda value: b64encode(value).decode(),
    Decimal: str,
    UUID: str,
    float: repr,  # Infinity and NaN are tagged.
    tuple: _listed,
    set: _listed,
    frozenset: _listed,
    # A dict is tagged if it has a key that is not a string, or the key `$type`.
    dict: _pairs,
}
# The functions that convert the JSON back, by the name of the type.
_READERS: dict[str, _Converter] = {
    "datetime": _iso_reader(datetime),
    "date": date.fromisoformat,
    "time": _iso_reader(time),
    "timedelta": lambda parts: timedelta(*parts),
    "bytes": b64decode,
    "Decimal": Decimal,
    "UUID": UUID,
    "float": float,
    "tuple": _reader(tuple),
    "set": _reader(set),
    "frozenset": _reader(frozenset),
    "dict": _reader(dict),
}


def tagged(value: Any) -> Any:
    """Return `value` in a form for a JSON writer.

    Values of types that this module does not know are unchanged.
    """
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is list:
        return _listed(value)
    if kind is float and isfinite(value):
        return value
    if kind is dict and _has_plain_keys(value):
        return {name: tagged(one) for name, one in value.items()}
    if kind not in _WRITERS:
        return value
    return {_TYPE: kind.__name__, _VALUE: _WRITERS[kind](value)}


def _has_plain_keys(value: dict[Any, Any]) -> bool:
    """Return whether a dict can be an object of JSON that is not mistaken for a tagged one."""
    return _TYPE not in value and set(map(type, value)) <= {str}


def untagged(value: Any) -> Any:
    """Return the value from which `tagged` has made the JSON `value`."""
    if isinstance(value, list):
        return [untagged(one) for one in value]
    if not isinstance(value, dict):
        return value
    if _TYPE in value:
        read = _READERS[value[_TYPE]]
        return read(value[_VALUE])
    return {name: untagged(one) for name, one in value.items()}
