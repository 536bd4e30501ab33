"""Shares what processes know of limits, budgets and answers over Redis or Valkey, where the user asks for it.

    modelwire.shared("redis://localhost")     # or MODELWIRE_SHARED, or `[shared] url = "..."` in modelwire.toml

This is the one place where the core asks whether its state is shared. The code is an extension (`modelwire/fleet/`),
which is not imported until it is asked for.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from modelwire._extensions import extension, loaded_extension
from modelwire.user_paths import model_file_places

if TYPE_CHECKING:
    from modelwire.fleet import Fleet

__all__ = ["VARIABLE", "shared", "shared_state"]

# The environment variable that holds the URL of the server.
VARIABLE = "MODELWIRE_SHARED"
# A line of `modelwire.toml` that may begin the settings of sharing. `modelwire.config` reads them.
_TABLE = rb"(?m)^\s*\[?\s*[\"']?shared\b"
# True once the environment and the file were read.
_is_read = False


def shared(url: str | None = None, **options: Any) -> Fleet:
    """Share what this process knows with all others that use the same server: limits, budgets, cached answers.

    `url` is `redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]`, `rediss://...` with TLS, or `unix://PATH`; `valkey://`
    and `valkeys://` mean the same. Left out, it is `$MODELWIRE_SHARED`, else the `url` of `[shared]` in
    `modelwire.toml`. `prefix` begins the names of all keys on the server, "modelwire" by default; processes with
    another prefix share nothing with this one. A second call with the same arguments returns the same object.

    If the server does not answer, this process goes on alone, logs one warning, and joins when the server is back.

    Raises: `InvalidArgument` for a URL that cannot be used, a password that the server refuses, or while another URL is
    in use; `InvalidConfig`; `MissingDependency` without redis-py (`modelwire[redis]`).
    """
    fleet: Fleet = extension("fleet").share(url, **options)
    return fleet


def shared_state() -> Fleet | None:
    """Return what `shared` has returned, None if nothing is shared.

    The first call reads the environment and `modelwire.toml`. Raises: as `shared`, but only for the environment
    variable. A file that cannot be used is logged, and nothing is shared.
    """
    global _is_read
    fleet = loaded_extension("fleet")
    if fleet is not None and (state := fleet.current()) is not None:
        found: Fleet = state
        return found
    if _is_read:
        return None
    _is_read = True
    if os.environ.get(VARIABLE) or _file_may_share():
        configured: Fleet | None = extension("fleet").share_by_config()
        return configured
    return None


def _file_may_share() -> bool:
    for place in model_file_places():
        try:
            return re.search(_TABLE, place.read_bytes()) is not None
        except OSError:
            continue
    return False
