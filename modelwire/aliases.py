"""Names for types that many signatures share."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

__all__ = ["JSON", "Args", "Function", "Kwargs", "StrPath", "Values"]

JSON: TypeAlias = dict[str, Any]
"""A JSON object."""

Args: TypeAlias = tuple[Any, ...]
"""The positional arguments of a call that are passed on."""

Kwargs: TypeAlias = dict[str, Any]
"""The keywords of a call that are passed on."""

Values: TypeAlias = Mapping[str, Any]
"""Values by name, which are only read."""

Function: TypeAlias = Callable[..., Any]
"""A function, whatever it takes and returns."""

StrPath: TypeAlias = str | os.PathLike[str]
"""The path of a file."""
