"""Processes that share what they know over one Redis or Valkey: the fleet.

    fleet = modelwire.shared("redis://localhost")

`connection.py` talks to the server, `membership.py` is this process's part in the fleet. The core asks for it by
`modelwire/sharing.py`. Needs `modelwire[redis]`; nothing here is imported unless a program shares its state.
"""

from __future__ import annotations

from modelwire.fleet.cache import RedisCache
from modelwire.fleet.connection import Away, Connection, Script
from modelwire.fleet.membership import Fleet, current, share, share_by_config

__all__ = [
    "Away",
    "Connection",
    "Fleet",
    "RedisCache",
    "Script",
    "current",
    "share",
    "share_by_config",
]
