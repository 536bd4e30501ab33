"""Shares rate limits, budgets and cached answers between processes over Redis or Valkey, if the user asks for it.

    modelwire.shared("redis://localhost")     # or MODELWIRE_SHARED, or `[shared] url = "..."` in modelwire.toml

Only this module of the core checks whether its state is shared. The code is an extension (`modelwire/fleet/`), which
is imported only if the user asks for sharing.
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
# Matches a line of `modelwire.toml` that may set up sharing. Only then `modelwire.config` reads the file.
_TABLE = rb"(?m)^\s*\[?\s*[\"']?shared\b"
# True once the environment and the file have been read.
_is_read = False


def shared(url: str | None = None, **options: Any) -> Fleet:
    """Share limits, budgets and cached answers with all other processes that use the same server.

    `url` is `redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]`, `rediss://...` with TLS, or `unix://PATH`; `valkey://`
    and `valkeys://` mean the same. Without `url` it is `$MODELWIRE_SHARED`, else the `url` of `[shared]` in
    `modelwire.toml`. The names of all keys on the server begin with `prefix`, "modelwire" by default; processes with
    different prefixes share nothing. A second call with the same arguments returns the same object.

    If the server does not answer, this process continues alone, logs one warning, and joins again when it answers.

    Raises: `InvalidArgument` for a URL that cannot be used, a password that the server refuses, or while another URL is
    in use; `InvalidConfig`; `MissingDependency` without redis-py (`modelwire[redis]`).
    """
    fleet: Fleet = extension("fleet").share(url, **options)
    return fleet


def shared_state() -> Fleet | None:
    """Return the object that `shared` has returned; None if nothing is shared.

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
