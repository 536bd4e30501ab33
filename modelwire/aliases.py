"""Names for types that many signatures share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

__all__ = ["JSON", "Kwargs", "Values"]

JSON: TypeAlias = dict[str, Any]
"""A JSON object."""

Kwargs: TypeAlias = dict[str, Any]
"""The keywords of a call that are passed on."""

Values: TypeAlias = Mapping[str, Any]
"""Values by name, which are only read."""
