"""Credentials of a server with a URL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

__all__ = ["http_auth"]


@asynccontextmanager
async def http_auth(url: str, headers: Mapping[str, str], auth: Any) -> AsyncIterator[Any]:
    """Yield what the HTTP client signs its requests with."""
    yield auth
