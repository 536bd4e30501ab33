"""Types for what a job reads and writes: records of rows, settings, and the bodies of a Batch API."""

from collections.abc import Mapping
from typing import Any

__all__ = ["JSON", "Fields"]

# A JSON object that its holder may change.
JSON = dict[str, Any]
# Names and their values, which are only read.
Fields = Mapping[str, Any]
