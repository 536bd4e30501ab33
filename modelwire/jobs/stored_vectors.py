"""Converts vectors to the form in which a job's records hold them, and back: base64 of their 32-bit floats."""

from __future__ import annotations

import sys
from array import array
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from typing import Any

# The column of the vectors in a table.
COLUMN = "embedding"
_KEY = "$float32"


class Vector(list[float]):
    """A vector as a value of a table. In a Parquet file, its type is a list of 32-bit floats."""


def stored_vector(numbers: Sequence[float]) -> dict[str, str]:
    """Return a vector as a value of a record: an object whose only key is `$float32`."""
    data = _little_endian(array("f", numbers)).tobytes()
    return {_KEY: b64encode(data).decode()}


def is_vector(value: Any) -> bool:
    """Return whether a value of a record is a stored vector."""
    return type(value) is dict and _KEY in value


def vector_of(stored: Mapping[str, str]) -> Vector:
    """Return the vector from which `stored_vector` has made a value of a record."""
    numbers = array("f")
    numbers.frombytes(b64decode(stored[_KEY]))
    return Vector(_little_endian(numbers))


def _little_endian(numbers: array[float]) -> array[float]:
    """Swap the bytes of the numbers in place on a big-endian machine; return the same array."""
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
