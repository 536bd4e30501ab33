"""What the fault tests share: short waits between tries, and a provider on loopback for each."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from support.colours import AsyncColour, SyncColour

from modelwire.adapters.model import call_parts as base
from modelwire.testing import ProviderServer

WAYS = {"sync": SyncColour(), "async": AsyncColour(), "aiohttp": AsyncColour()}


@pytest.fixture(params=["sync", "async", pytest.param("aiohttp", marks=pytest.mark.long)])
def colour(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> SyncColour | AsyncColour:
    """Drive the same test through the sync and the async methods, these over both engines."""
    if request.param == "aiohttp":
        pytest.importorskip("aiohttp")
        monkeypatch.setattr(base, "async_connection", partial(_over_aiohttp, base.async_connection))
    return WAYS[request.param]


@pytest.fixture
def not_over_aiohttp(colour: Any, request: pytest.FixtureRequest) -> None:
    """Skip what is a known limit of aiohttp: `catalogue.py` lists it."""
    if request.node.callspec.params["colour"] == "aiohttp":
        pytest.skip("a known limit of aiohttp's")


def _over_aiohttp(async_line: Any, *given: Any, **named: Any) -> Any:
    return async_line(*given, **{**named, "engine": "aiohttp"})


@pytest.fixture
def server() -> Iterator[ProviderServer]:
    with ProviderServer() as running:
        yield running


@pytest.fixture(params=["openai", "responses", "anthropic", "bedrock", "gemini"])
def wire(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name
