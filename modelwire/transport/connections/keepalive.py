"""TCP keepalive: a connection notices that its peer is gone. No I/O here.

A NAT or a load balancer forgets a silent connection after 120 to 350 s; probes prevent that. A peer whose machine is
lost sends nothing at all; unanswered probes end the wait for it.
"""

from __future__ import annotations

import socket
from functools import lru_cache
from typing import Any

from modelwire.records import NamedTuple

__all__ = ["USUAL", "Keepalive", "SocketOptions", "socket_options", "with_options"]


# Each option is a tuple of its level, its name and its value.
SocketOptions = list[tuple[int, int, int]]


class Keepalive(NamedTuple):
    """When a silent connection is probed; after the last probe without an answer it is dead."""

    idle_s: int = 60  # The silence before the first probe.
    interval_s: int = 15  # The time between two probes.
    probes: int = 3  # The number of probes.


USUAL = Keepalive()


@lru_cache(maxsize=100)
def socket_options(keepalive: Keepalive | None) -> SocketOptions:
    """Return the socket options of `keepalive`, as far as this platform has them.

    If `TCP_USER_TIMEOUT` is set, Linux waits for that long and counts no probes (tcp(7), read 2026-11); it then also
    gives up data that were sent and not acknowledged. macOS calls the idle time `TCP_KEEPALIVE`.
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
    """Return a new socket for an address of `getaddrinfo`, as a `socket_factory` for aiohttp does."""
    family, kind, protocol, *_ = address
    made = socket.socket(family, kind, protocol)
    try:
        for option in socket_options(keepalive):
            made.setsockopt(*option)
    except BaseException:
        # After any error, even Ctrl-C, the caller does not get the socket and cannot close it.
        made.close()
        raise
    return made
