"""Lets this process join a fleet and leave it, and handles a fork and the end of the program."""

from __future__ import annotations

import atexit
import logging
import os
import sys
from collections.abc import Sequence
from threading import Lock
from typing import Any

from modelwire import config, ext, forks
from modelwire.errors import InvalidArgument, InvalidConfig
from modelwire.fleet.budgets import Accounts, SharedBudgetStore
from modelwire.fleet.connection import Connection
from modelwire.fleet.limits import LimitSharing
from modelwire.sharing import VARIABLE

_log = logging.getLogger("modelwire.fleet")

_lock = Lock()
_current: Fleet | None = None


class Fleet:
    """This process's membership in a fleet: it shares its limits, budgets and cached answers until `close`.

    `modelwire.shared` returns it.
    """

    def __init__(self, url: str, prefix: str) -> None:
        # The URL, which may hold a password, and the prefix.
        self.settings = (url, prefix)
        self.connection = Connection(url, prefix=prefix)
        self._accounts: Accounts | None = None
        self._limits = LimitSharing(self.connection)

    def share_limits(self, lease: Any, identity: Sequence[str | None]) -> None:
        """Share the limits of one limiter, whose `identity` is the same in all processes."""
        self._limits.add(lease, identity)

    @property
    def is_away(self) -> bool:
        """Whether the server does not answer, so that this process continues alone."""
        return self.connection.is_away

    def budget_store(
        self, name: str, per: str | None, zone: str, when_away: str
    ) -> SharedBudgetStore:
        """Return the store of a named budget. Raises: `InvalidArgument` for an unknown period or zone."""
        with _lock:
            if self._accounts is None:
                self._accounts = Accounts(self.connection)
        return SharedBudgetStore(self._accounts, name, per, zone, when_away)

    def close(self) -> None:
        """Return this process's leases and reserved amounts to the fleet, and share nothing from now on."""
        global _current
        with _lock:
            is_current = _current is self
            if is_current:
                _current = None
        if self._accounts is not None:
            self._accounts.close()
        if is_current:
            ext.exchange_limiters({})  # New limiters share nothing.
        self._limits.close()
        self.connection.close()

    def start_after_fork(self) -> None:
        """Start over in a forked child, with connections and leases of its own."""
        self.connection.start_after_fork()
        self._limits.start_after_fork()
        if self._accounts is not None:
            self._accounts.start_after_fork()

    def __repr__(self) -> str:
        state = "away" if self.is_away else "here"
        return f"<Fleet {self.connection.shown} {state}>"


def share(url: str | None = None, *, prefix: str | None = None) -> Fleet:
    """Share state over the server at `url`, and return the fleet. `modelwire.shared` calls this."""
    settings = _settings(url, prefix)
    fleet, is_new = _joined(*settings)
    if is_new:
        try:
            fleet.connection.check()
        except InvalidArgument:
            fleet.close()
            raise
    return fleet


def share_by_config() -> Fleet | None:
    """Share state as the environment or the file says. The server is not called before it is needed.

    If the file is not valid, a warning is logged and None returned: the program itself may not need the file.
    """
    try:
        settings = _settings(None, None)
    except InvalidConfig as exc:
        _log.warning("Nothing is shared with other processes. %s", exc)
        return None
    return _joined(*settings)[0]


def current() -> Fleet | None:
    """Return the fleet that is in use, or None."""
    return _current


def _settings(url: str | None, prefix: str | None) -> tuple[str, str]:
    """Return the URL and the prefix, from the arguments, the environment or the file."""
    found: dict[str, str] = {}
    if url is None:
        url = os.environ.get(VARIABLE)
    if not url:
        found = config.shared_settings()
        url = found.get("url")
    if not url:
        raise InvalidArgument(
            f'No server is named: write `modelwire.shared("redis://HOST")`, set `{VARIABLE}`, or give '
            f"`{config.FILE_NAME}` a table `[shared]` with a `url`."
        )
    return url, prefix or found.get("prefix") or "modelwire"


def _joined(url: str, prefix: str) -> tuple[Fleet, bool]:
    """Return the fleet with these settings, and whether it is new."""
    global _current
    with _lock:
        if _current is None:
            _current = Fleet(url, prefix)
            _close_with_child()
            ext.exchange_limiters({})  # Limiters made before this share nothing.
            return _current, True
        if _current.settings != (url, prefix):
            raise InvalidArgument(
                f"This process already shares its limits, budgets and caches over {_current.connection.shown}. Close "
                "what `shared` has returned first, or pass the same URL and prefix."
            )
        return _current, False


def _close_at_exit() -> None:
    if _current is not None:
        _current.close()


def _close_with_child(_: object = None) -> None:
    """Close the fleet when this process ends, if it is a child of `multiprocessing`, which does not run `atexit`."""
    process = sys.modules.get("multiprocessing.process")
    if process is not None and process.parent_process() is not None:
        from multiprocessing.util import Finalize

        Finalize(None, _close_at_exit, exitpriority=0)


@forks.in_child
def _start_after_fork() -> None:
    global _lock
    _lock = Lock()
    if _current is not None:
        _current.start_after_fork()
        # A child of `multiprocessing` first forgets the finalizers of its parent, and calls this function then.
        if (util := sys.modules.get("multiprocessing.util")) is not None:
            util.register_after_fork(_current, _close_with_child)


atexit.register(_close_at_exit)
