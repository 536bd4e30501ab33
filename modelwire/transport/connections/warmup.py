"""Opens connections before the first call needs them: name lookup, TCP and TLS handshakes; they stay idle in the pool.

A connection cannot be opened without a request, so each sends one `HEAD` without credentials and ignores the answer's
status. Each connection stays busy until all are open; otherwise the second request would reuse the first connection.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from modelwire.errors import InvalidArgument
from modelwire.transport.connections.address import hide_query
from modelwire.transport.connections.closed_network import calling
from modelwire.transport.connections.hook import CONNECTION_HOOKS, innermost
from modelwire.transport.connections.pooled import (
    AsyncPooledConnection,
    SyncPooledConnection,
)
from modelwire.transport.connections.pools import KEEPALIVE_EXPIRY_S
from modelwire.transport.connections.shared_transport import async_transport, sync_transport
from modelwire.transport.failures import error_of

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["awarm", "warm"]

# A call opens at most this many connections; a larger number is a mistake or an attack.
MOST = 1000
# Opening one connection times out after this, from the first packet to the head of the answer.
SHAKE_S = 10.0
# This many threads open connections of the sync pool.
AT_A_TIME = 32


def _connections(new: Callable[[], Any], n: int) -> list[Any]:
    """Return `n` connections from `new`, not open yet.

    The list is empty if calls use a proxy, another engine, a user's client or a recording.
    """
    if type(n) is not int or not 0 <= n <= MOST:
        raise InvalidArgument(f"`n` is how many connections to open, from 0 to {MOST}, not {n!r}.")
    if any(hook.answers for hook in CONNECTION_HOOKS):
        return []
    if type(innermost(new())) in (SyncPooledConnection, AsyncPooledConnection):
        return [innermost(new()) for _ in range(n)]
    return []


def warm(new: Callable[[], SyncPooledConnection], n: int) -> int:
    """Open `n` connections from `new`; return how many are open. Raises the first `WireError` if none could be."""
    from concurrent.futures import ThreadPoolExecutor

    connections: list[SyncPooledConnection] = _connections(new, n)
    opened: list[Any] = []
    failed: list[Exception] = []

    def shake(connection: SyncPooledConnection) -> None:
        try:
            with calling(connection._host()):
                opened.append(
                    sync_transport(connection._settings).handle_request(_head(connection))
                )
        except Exception as exc:  # noqa: BLE001 - one connection less; raised below if all have failed
            failed.append(exc)

    with ThreadPoolExecutor(min(AT_A_TIME, len(connections)) or 1) as threads:
        list(threads.map(shake, connections))
    for response in opened:
        with suppress(Exception):
            response.read()
            response.close()
    return _kept(len(opened), failed, connections)


async def awarm(new: Callable[[], AsyncPooledConnection], n: int) -> int:
    """Open `n` connections from `new` for the running event loop; return how many are open."""
    import asyncio

    connections: list[AsyncPooledConnection] = _connections(new, n)
    opened: list[Any] = []
    failed: list[Exception] = []

    async def shake(connection: AsyncPooledConnection) -> None:
        try:
            transport = await async_transport(connection._settings)
            with calling(connection._host()):
                opened.append(await transport.handle_async_request(_head(connection)))
        except Exception as exc:  # noqa: BLE001 - one connection less; raised below if all have failed
            failed.append(exc)

    try:
        await asyncio.gather(*(shake(connection) for connection in connections))
    finally:
        for response in opened:
            with suppress(Exception):
                await response.aread()
                await response.aclose()
    return _kept(len(opened), failed, connections)


def _head(connection: SyncPooledConnection | AsyncPooledConnection) -> Any:
    import httpx2

    limits = dict.fromkeys(("connect", "read", "write", "pool"), min(SHAKE_S, KEEPALIVE_EXPIRY_S))
    request = httpx2.Request("HEAD", connection.address.url, extensions={"timeout": limits})
    hide_query(request)
    return request


def _kept(opened: int, failed: list[Exception], connections: list[Any]) -> int:
    if failed and not opened:
        raise error_of(failed[0], origin=connections[0].address.authority) or failed[0] from failed[
            0
        ]
    return opened
