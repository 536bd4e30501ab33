"""Imports the official package `mcp` and its HTTP client when they are first needed."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from modelwire.errors import MissingDependency


def package(name: str) -> Any:
    """Return a module of the extra `mcp`. Raises `MissingDependency` if the extra is not installed or too old."""
    try:
        found = import_module(name)
    except ImportError as exc:
        raise MissingDependency(
            "MCP servers need the package `mcp`: pip install 'modelwire[mcp]'"
        ) from exc
    if name == "mcp" and not hasattr(found, "Client"):
        raise MissingDependency(
            "The package `mcp` is older than 2.3: pip install --upgrade 'modelwire[mcp]'"
        )
    return found
