"""Stores of named budgets: the interface, and a SQLite file that all processes of a user share.

Processes that share a Redis have another store (`modelwire/fleet/budgets.py`). A store has one sum of spent and
reserved amounts for each name and period. The reservations of a killed process stay, since its calls may have been
billed, so a sum is never too low.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from modelwire.budgets.spending import Spending
from modelwire.errors import DiskError, InvalidArgument
from modelwire.sharing import shared_state
from modelwire.sqlite_files import close_sqlite, open_sqlite, use_wal
from modelwire.user_paths import user_folder

_log = logging.getLogger(__name__)

_PERIODS = {None: "", "hour": "%Y-%m-%dT%H", "day": "%Y-%m-%d", "month": "%Y-%m"}
_SCHEMA = """CREATE TABLE IF NOT EXISTS spent (
    name TEXT, period TEXT, usd INTEGER NOT NULL, tokens INTEGER NOT NULL, calls INTEGER NOT NULL,
    PRIMARY KEY (name, period)) WITHOUT ROWID"""
_TOTAL = "SELECT usd, tokens, calls FROM spent WHERE name = ? AND period = ?"
_ADD = """INSERT INTO spent VALUES (?, ?, ?, ?, ?) ON CONFLICT (name, period) DO UPDATE SET
    usd = usd + excluded.usd, tokens = tokens + excluded.tokens, calls = calls + excluded.calls"""


class BudgetStore(ABC):
    """The sums of one named budget. Only one thread at a time may call its methods.

    `per` and `zone` determine the periods. Raises: `InvalidArgument` for an unknown period or time zone.
    """

    def __init__(self, name: str, per: str | None, zone: str) -> None:
        if per not in _PERIODS:
            raise InvalidArgument(f'`per` is "hour", "day" or "month", not `{per!r}`.')
        try:
            self._zone = ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, TypeError, OSError):
            raise InvalidArgument(
                f'`{zone}` is not a time zone: write an IANA name, such as "Europe/Vienna".'
            ) from None
        self._name = name
        self._format = _PERIODS[per]

    def period(self) -> str:
        """Return the name of the current hour, day or month."""
        return datetime.now(self._zone).strftime(self._format)

    @abstractmethod
    def total(self) -> Spending:
        """Return the sum of all amounts that all processes have spent and reserved in the current period."""

    @abstractmethod
    def add(self, amount: Spending, period: Any) -> None:
        """Add an amount, which may be negative, to the sum of a period.

        It is called once for each `add_within`, with the period that `add_within` has returned. An amount that cannot
        be written now is written later.
        """

    @abstractmethod
    def add_within(self, amount: Spending, limits: Sequence[Any]) -> tuple[str | None, Any]:
        """Add `amount` unless that exceeds a limit; return the name of that limit (or None), and the period.

        The period is a value that only `add` reads. Raises: `DiskError`, `BudgetUnavailable`.
        """


class SQLiteBudgetStore(BudgetStore):
    """The row of one named budget in the user's file. Raises: `InvalidArgument` if the file cannot be used."""

    def __init__(self, name: str, per: str | None, zone: str) -> None:
        super().__init__(name, per, zone)
        self._lock = threading.Lock()
        # The amounts, by period, that could not be written yet.
        self._owed: dict[str, Spending] = {}
        self._path = path = user_folder("config") / "budgets.sqlite"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = open_sqlite(path)
            # Python 3.13 warns of a connection that is not closed.
            weakref.finalize(self, _close, self._db, os.getpid(), name, self._owed)
            use_wal(self._db)
            self._db.execute(_SCHEMA)
        except (OSError, sqlite3.Error) as exc:
            raise InvalidArgument(
                f"`{path}`, the file of named budgets, cannot be used: {exc}."
            ) from exc

    def total(self) -> Spending:
        """Return the sum of all amounts that all processes have spent and reserved in the current period.

        Raises: `DiskError`.
        """
        period = self.period()
        with self._lock, self._reported("read"):
            return self._total(period).plus(self._owed.get(period, Spending()))

    def add(self, amount: Spending, period: str) -> None:
        """Add an amount, which may be negative, to the sum of a period.

        The call has ended, and its answer matters more than the sum. So an amount that cannot be
        written raises no error, and is written together with the next one.
        """
        with self._lock:
            owed = self._owed.get(period, Spending())
            self._owed[period] = owed.plus(amount)
            try:
                _write_owed(self._db, self._name, self._owed)
            except sqlite3.Error as exc:
                text = "The budget `%s` is not up to date in `%s` yet: %s."
                _log.warning(text, self._name, self._path, str(exc))

    def add_within(self, amount: Spending, limits: Sequence[Any]) -> tuple[str | None, str]:
        """Add `amount` unless that exceeds a limit; return the name of that limit (or None), and the period.

        Raises: `DiskError`.
        """
        period = self.period()
        with self._lock, self._reported("written, so the call was not sent"):
            _write_owed(self._db, self._name, self._owed)
            # The transaction keeps other processes from writing between the sum and the check.
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._db.execute(_ADD, _row(self._name, amount, period))
                passed = self._total(period).passed(limits)
                self._db.execute("COMMIT" if passed is None else "ROLLBACK")
            except BaseException:
                # Ctrl-C is included: an open transaction would lock out every other process.
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
        return passed, period

    def _total(self, period: str) -> Spending:
        row = self._db.execute(_TOTAL, (self._name, period)).fetchone()
        if row is None:
            return Spending()
        return Spending.from_units(*row)

    @contextmanager
    def _reported(self, what: str) -> Iterator[None]:
        """Convert SQLite's errors inside the block to `DiskError`."""
        try:
            yield
        except sqlite3.Error as exc:
            raise DiskError(
                f"`{self._path}`, the file of named budgets, cannot be {what}: {exc}.",
                path=str(self._path),
            ) from exc


def store_of(name: str, per: str | None, zone: str, when_away: str) -> BudgetStore:
    """Return the store of a named budget: on Redis if this process shares its state, else in the user's file."""
    fleet = shared_state()
    if fleet is None:
        return SQLiteBudgetStore(name, per, zone)
    return fleet.budget_store(name, per, zone, when_away)


def _row(name: str, amount: Spending, period: str) -> tuple[Any, ...]:
    return name, period, *amount.units()


def _write_owed(connection: sqlite3.Connection, name: str, owed: dict[str, Spending]) -> None:
    """Write the amounts by period, and remove each written one from `owed`."""
    for period, amount in list(owed.items()):
        connection.execute(_ADD, _row(name, amount, period))
        del owed[period]


def _close(connection: sqlite3.Connection, pid: int, name: str, owed: dict[str, Spending]) -> None:
    if pid == os.getpid():
        with suppress(sqlite3.Error):
            _write_owed(connection, name, owed)
    close_sqlite(connection, opened_by=pid)
