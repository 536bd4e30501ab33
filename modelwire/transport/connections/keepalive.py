"""TCP keepalive: how a connection notices that its peer is gone. No I/O here.

A NAT or a load balancer forgets a silent connection after 120 to 350 s, and a peer whose machine is lost sends nothing
at all. Probes keep the first alive, and end the wait for the second.
"""

from __future__ import annotations

import socket
from functools import lru_cache
from typing import Any

from modelwire.records import NamedTuple

__all__ = ["USUAL", "Keepalive", "SocketOptions", "socket_options", "with_options"]


# Of each option its level, its name and its value.
SocketOptions = list[tuple[int, int, int]]


class Keepalive(NamedTuple):
    """When a silent connection is probed; after the last probe without an answer it is dead."""

    idle_s: int = 60  # of silence, before the first probe
    interval_s: int = 15  # between two probes
    probes: int = 3


USUAL = Keepalive()


@lru_cache(maxsize=100)
def socket_options(keepalive: Keepalive | None) -> SocketOptions:
    """Return the socket options of `keepalive`, as far as this platform has them.

    Linux counts no probes where `TCP_USER_TIMEOUT` is set, but waits for that long (tcp(7), read 2026-11); it also ends
    the wait for what was sent and is not acknowledged. macOS calls the idle time `TCP_KEEPALIVE`.
    """
    if keepalive is None:
        return []
    dead_after_ms = 1000 * (keepalive.idle_s + keepalive.interval_s * (keepalive.probes + 1))
    named = {
        "TCP_KEEPIDLE": keepalive.idle_s,
        "TCP_KEEPALIVE": keepalive.idle_s,
        "TCP_KEEPINTVL": keepalive.interval_s,
        "TCP_KEEPCNT": keepalive.probes,
        "TCP_USER_TIMEOUT": dead_after_ms,
    }
    options = [
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in named.items()
        if hasattr(socket, name)
    ]
    return [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), *options]


def with_options(keepalive: Keepalive | None, address: tuple[Any, ...]) -> socket.socket:
    """Make a socket for an address of `getaddrinfo`: a `socket_factory` for aiohttp."""
    family, kind, protocol, *_ = address
    made = socket.socket(family, kind, protocol)
    try:
        for option in socket_options(keepalive):
            made.setsockopt(*option)
    except BaseException:
        # Whatever the error is, Ctrl-C included, the caller gets no socket that it could close.
        made.close()
        raise
    return made
