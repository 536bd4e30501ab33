"""Opens the SQLite files of modelwire: the cache, budgets, transcripts and the store of a job.

A new file can be read by its owner only. SQLite gives the same mode to the `-wal` and `-shm` files beside it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

__all__ = ["close_sqlite", "open_sqlite", "use_wal"]


def open_sqlite(
    path: str | os.PathLike[str],
    *,
    timeout_s: float = 30.0,
    follows_links: bool = True,
    in_transactions: bool = False,
) -> sqlite3.Connection:
    """Return a connection to a file, which is created if it does not exist; ":memory:" is a database without a file.

    `timeout_s` is how long a statement waits for the lock of another process. Without `follows_links` a symbolic link
    is an error, since it may lead to another user's file. With `in_transactions`, statements belong to a transaction
    until `with connection:` ends; otherwise each is committed by itself.

    Raises: `OSError`, `sqlite3.Error`.
    """
    import sqlite3

    if os.fspath(path) != ":memory:":
        flags = os.O_RDWR | os.O_CREAT
        if not follows_links:
            flags |= getattr(os, "O_NOFOLLOW", 0)
        os.close(os.open(path, flags, 0o600))
    return sqlite3.connect(
        path,
        timeout=timeout_s,
        isolation_level="DEFERRED" if in_transactions else None,
        check_same_thread=False,
    )


def use_wal(connection: sqlite3.Connection, *, synchronous: str = "NORMAL") -> None:
    """Switch to the write-ahead log, with which readers and one writer do not wait for each other.

    With "NORMAL" a process that ends at any time loses no committed data, but a power cut may lose the last commits;
    with "FULL" a power cut loses none. Raises: `sqlite3.Error`.
    """
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {synchronous}")


def close_sqlite(connection: sqlite3.Connection, *, opened_by: int) -> bool:
    """Close a connection in the process `opened_by` that opened it; return False in a forked child.

    A child must neither use nor close the connection of its parent.
    """
    if opened_by != os.getpid():
        return False
    connection.close()
    return True
