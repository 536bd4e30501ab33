"""Shares limits, budgets and cached answers between processes, a fleet, over one Redis or Valkey server.

    fleet = modelwire.shared("redis://localhost")

`connection.py` talks to the server, and by `membership.py` a process joins the fleet. The core finds this package by
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
