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
"""The fields of a JSON object, which is only read."""

Args: TypeAlias = tuple[Any, ...]
"""The positional arguments of a call that are passed on."""

Kwargs: TypeAlias = dict[str, Any]
"""The keywords of a call that are passed on."""

Values: TypeAlias = Mapping[str, Any]
"""Values by name, which are only read."""

HeaderFields: TypeAlias = Mapping[str, str]
"""The header fields of a request or an answer, by name. They are only read."""

Function: TypeAlias = Callable[..., Any]
"""A function, whatever it takes and returns."""

Callback: TypeAlias = Callable[[Any], None]
"""A function that is called with each value."""

Chunks: TypeAlias = Iterator[Any]
"""The chunks of a stream."""

AsyncChunks: TypeAlias = AsyncIterator[Any]
"""The chunks of an async stream."""

StrPath: TypeAlias = str | os.PathLike[str]
"""The path of a file."""
