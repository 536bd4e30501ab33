"""Vectors in the records of a job: 32-bit floats in base64, in an object with one key."""

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
    """A vector in a table, whose type in Parquet is a list of 32-bit floats."""


def stored_vector(numbers: Sequence[float]) -> dict[str, str]:
    """Return a vector for a record."""
    return {_KEY: b64encode(_little_endian(array("f", numbers)).tobytes()).decode()}


def is_vector(value: Any) -> bool:
    """Return whether a value of a record is a vector."""
    return isinstance(value, Mapping) and _KEY in value


def vector_of(stored: Mapping[str, str]) -> Vector:
    """Return the vector that `stored_vector` has stored."""
    numbers = array("f")
    numbers.frombytes(b64decode(stored[_KEY]))
    return Vector(_little_endian(numbers))


def _little_endian(numbers: array[float]) -> array[float]:
    """Return the numbers with their bytes swapped where the machine stores the largest byte first, in place."""
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
