"""Chooses the connection of a call: over our pools, over a client of httpx's kind, or over aiohttp."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelwire.transport.connections.address import address_of
from modelwire.transport.connections.closed_network import mocks_seeing
from modelwire.transport.connections.pooled import AsyncPooledConnection, SyncPooledConnection
from modelwire.transport.connections.proxies import proxy_of

if TYPE_CHECKING:
    from modelwire.transport.steps import AnyExchange

__all__ = ["async_connection", "sync_connection"]


def sync_connection(
    exchange: AnyExchange, client: Any = None, *, proxy: str | None = None
) -> SyncPooledConnection:
    """Return the connection of a sync call: over the user's `client`, through a proxy, or direct."""
    if client is None and proxy is None:
        proxy = proxy_of(address_of(exchange.url))
    if client is not None or proxy is not None:
        from modelwire.transport.connections.user_client import SyncClientConnection

        return SyncClientConnection(exchange, client, proxy=proxy)
    return SyncPooledConnection(exchange)


def async_connection(
    exchange: AnyExchange,
    client: Any = None,
    *,
    proxy: str | None = None,
    engine: str = "httpx2",
) -> AsyncPooledConnection:
    """Return the connection of an async call: over the user's `client`, a proxy, aiohttp, or direct."""
    # A mock of httpx2 answers the calls of both engines.
    if client is None and engine == "aiohttp" and not mocks_seeing("httpx2"):
        from modelwire.transport.connections.aiohttp_engine import AiohttpConnection

        return AiohttpConnection(exchange, proxy=proxy)
    if client is None and proxy is None:
        proxy = proxy_of(address_of(exchange.url))
    if client is not None or proxy is not None:
        from modelwire.transport.connections.user_client import AsyncClientConnection

        return AsyncClientConnection(exchange, client, proxy=proxy)
    return AsyncPooledConnection(exchange)
