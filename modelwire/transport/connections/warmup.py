"""Opens connections before the first call needs them: name lookup, TCP and TLS handshakes; they stay idle in the pool.

A connection cannot be opened without a request, so each gets one `HEAD` without credentials, whatever the answer. Each
connection is kept busy until all are open, because the second request would otherwise reuse the first one.
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

MOST = 1000  # more is a mistake, or an attack
SHAKE_S = 10.0  # for one connection, from the first packet to the head of the answer
AT_A_TIME = 32  # threads that shake hands for the sync pool


def _lines(line: Callable[[], Any], n: int) -> list[Any]:
    """Make the lines; none where calls take a proxy, another engine, a client of the user's own or a recording."""
    if type(n) is not int or not 0 <= n <= MOST:
        raise InvalidArgument(f"`n` is how many connections to open, from 0 to {MOST}, not {n!r}.")
    if any(hook.answers for hook in CONNECTION_HOOKS):
        return []
    if type(innermost(line())) in (SyncPooledConnection, AsyncPooledConnection):
        return [innermost(line()) for _ in range(n)]
    return []


def warm(line: Callable[[], SyncPooledConnection], n: int) -> int:
    """Open `n` connections; return how many stay. Raises the `WireError` of the first where none could be opened."""
    from concurrent.futures import ThreadPoolExecutor

    lines: list[SyncPooledConnection] = _lines(line, n)
    opened: list[Any] = []
    failed: list[Exception] = []

    def shake(line: SyncPooledConnection) -> None:
        try:
            with calling(line._host()):
                opened.append(sync_transport(line._settings).handle_request(_head(line)))
        except Exception as exc:  # noqa: BLE001 - one connection less; told below where it is all of them
            failed.append(exc)

    with ThreadPoolExecutor(min(AT_A_TIME, len(lines)) or 1) as threads:
        list(threads.map(shake, lines))
    for response in opened:
        with suppress(Exception):
            response.read()
            response.close()
    return _kept(len(opened), failed, lines)


async def awarm(line: Callable[[], AsyncPooledConnection], n: int) -> int:
    """Open `n` connections for the running event loop; return how many stay."""
    import asyncio

    lines: list[AsyncPooledConnection] = _lines(line, n)
    opened: list[Any] = []
    failed: list[Exception] = []

    async def shake(line: AsyncPooledConnection) -> None:
        try:
            transport = await async_transport(line._settings)
            with calling(line._host()):
                opened.append(await transport.handle_async_request(_head(line)))
        except Exception as exc:  # noqa: BLE001 - one connection less; told below where it is all of them
            failed.append(exc)

    try:
        await asyncio.gather(*(shake(line) for line in lines))
    finally:
        for response in opened:
            with suppress(Exception):
                await response.aread()
                await response.aclose()
    return _kept(len(opened), failed, lines)


def _head(line: SyncPooledConnection | AsyncPooledConnection) -> Any:
    import httpx2

    limits = dict.fromkeys(("connect", "read", "write", "pool"), min(SHAKE_S, KEEPALIVE_EXPIRY_S))
    request = httpx2.Request("HEAD", line.address.url, extensions={"timeout": limits})
    hide_query(request)
    return request


def _kept(opened: int, failed: list[Exception], lines: list[Any]) -> int:
    if failed and not opened:
        raise error_of(failed[0], origin=lines[0].address.authority) or failed[0] from failed[0]
    return opened
