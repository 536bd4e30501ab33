"""What named budgets have spent, in one sqlite file of the user's that all processes share.

A row is a name and a period, with what was spent and set aside there. What a killed process had set aside stays: its
calls may have been paid for. So a total is never too low.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from modelwire.budgets.spending import Spending
from modelwire.errors import InvalidArgument

__all__ = ["BudgetStore"]

PER_USD = 10**12  # sqlite has whole numbers of 64 bits: millionths of a millionth of a dollar
PERIODS = {None: "", "hour": "%Y-%m-%dT%H", "day": "%Y-%m-%d", "month": "%Y-%m"}
_SCHEMA = """CREATE TABLE IF NOT EXISTS spent (
    name TEXT, period TEXT, usd INTEGER NOT NULL, tokens INTEGER NOT NULL, calls INTEGER NOT NULL,
    PRIMARY KEY (name, period)) WITHOUT ROWID"""
_TOTAL = "SELECT usd, tokens, calls FROM spent WHERE name = ? AND period = ?"
_ADD = """INSERT INTO spent VALUES (?, ?, ?, ?, ?) ON CONFLICT (name, period) DO UPDATE SET
    usd = usd + excluded.usd, tokens = tokens + excluded.tokens, calls = calls + excluded.calls"""


class BudgetStore:
    """The row of one named budget. Its methods are called by one thread at a time.

    Raises: InvalidArgument for an unknown zone or period, or a file that cannot be used.
    """

    def __init__(self, name: str, per: str | None, zone: str) -> None:
        if per not in PERIODS:
            raise InvalidArgument(f'`per` is "hour", "day" or "month", not `{per!r}`.')
        try:
            self._zone = ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, TypeError, OSError):
            raise InvalidArgument(
                f'`{zone}` is no time zone: write an IANA name, such as "Europe/Vienna".'
            ) from None
        from modelwire.folders import user_folder

        self._name, self._format = name, PERIODS[per]
        self._lock = threading.Lock()
        path = user_folder("config") / "budgets.sqlite"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(
                path, timeout=30, isolation_level=None, check_same_thread=False
            )
            weakref.finalize(
                self, _close, self._db, os.getpid()
            )  # Python 3.13 warns of a connection left open
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")  # a killed process loses nothing
            self._db.execute(_SCHEMA)
        except (OSError, sqlite3.Error) as exc:
            raise InvalidArgument(
                f"`{path}`, the file of named budgets, cannot be used: {exc}."
            ) from exc

    def period(self) -> str:
        """Name the present hour, day or month."""
        return datetime.now(self._zone).strftime(self._format)

    def total(self) -> Spending:
        """Return what is spent and set aside now, by all processes."""
        with self._lock:
            return self._total(self.period())

    def add(self, amount: Spending, period: str) -> None:
        """Add to what is spent; amounts may be negative."""
        with self._lock:
            self._db.execute(_ADD, self._row(amount, period))

    def add_within(self, amount: Spending, limits: Sequence[Any]) -> tuple[str | None, str]:
        """Add `amount` unless that passes a limit; return the name of that limit, if there is one, and the period."""
        period = self.period()
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")  # nobody else writes between the sum and the check
            try:
                self._db.execute(_ADD, self._row(amount, period))
                passed = self._total(period).passed(limits)
                self._db.execute("COMMIT" if passed is None else "ROLLBACK")
            except BaseException:  # Ctrl-C too: an open transaction locks every other process out
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
        return passed, period

    def _total(self, period: str) -> Spending:
        row = self._db.execute(_TOTAL, (self._name, period)).fetchone()
        return Spending() if row is None else Spending(Decimal(row[0]) / PER_USD, row[1], row[2])

    def _row(self, amount: Spending, period: str) -> tuple[Any, ...]:
        return (
            self._name,
            period,
            int((amount.usd * PER_USD).to_integral_value()),
            amount.tokens,
            amount.calls,
        )


def _close(connection: sqlite3.Connection, pid: int) -> None:
    if pid == os.getpid():  # a forked child must leave its parent's alone
        connection.close()
