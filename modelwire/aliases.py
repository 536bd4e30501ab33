"""Names for types that many signatures share."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any, TypeAlias

__all__ = [
    "JSON",
    "Args",
    "AsyncChunks",
    "Callback",
    "Chunks",
    "Fields",
    "Function",
    "HeaderFields",
    "Kwargs",
    "StrPath",
    "Values",
]

JSON: TypeAlias = dict[str, Any]
"""A JSON object."""

Fields: TypeAlias = Mapping[str, Any]
"""A JSON object that is only read."""

Args: TypeAlias = tuple[Any, ...]
"""Positional arguments that are passed on to another function."""

Kwargs: TypeAlias = dict[str, Any]
"""Keyword arguments that are passed on to another function."""

Values: TypeAlias = Mapping[str, Any]
"""Values by name, in a mapping that is only read."""

HeaderFields: TypeAlias = Mapping[str, str]
"""The header fields of a request or response by name, in a mapping that is only read."""

Function: TypeAlias = Callable[..., Any]
"""A function with any parameters and any result."""

Callback: TypeAlias = Callable[[Any], None]
"""A function that is called with each value, such as each chunk of a stream."""

Chunks: TypeAlias = Iterator[Any]
"""The chunks of a stream."""

AsyncChunks: TypeAlias = AsyncIterator[Any]
"""The chunks of an async stream."""

StrPath: TypeAlias = str | os.PathLike[str]
"""The path of a file."""
