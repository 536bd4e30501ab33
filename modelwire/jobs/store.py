"""The store of a job: the SQLite file `job.sqlite` in the job's folder, which any SQLite tool opens.

All tables have the same columns, and rows are only ever appended to them:

- `rows`: the result of a row, by the row's `number`; if a row has two records, the later one is valid
- `events`: the events of the parts of a batch job, by the `number` of the part
- `inputs`: the rows of a batch job as they were submitted, by the row's `number`
- `requests`: the requests of the parts of a batch job, in the order in which they are sent, by the row's `number`
- `replies`: the provider's results for the rows of a batch job, by the row's `number`; `kind` is the part's number
- `ways`: which rows of a job with a deadline are in which batch, and which batches have returned
- `live`, `tiered`: answers to rows of a batch job that did not come through a batch, by the row's `number`

`record` is JSON and `checksum` its CRC-32: SQLite detects a torn page, but not a flipped bit.
Records that are appended together, or in one `transaction`, survive a power failure once it is
committed; before that none of them is stored.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory
from typing import NamedTuple
from zlib import crc32

from modelwire.errors import DiskError
from modelwire.sqlite_files import open_sqlite, use_wal

STORE_NAME = "job.sqlite"
EVENTS = "events"
INPUTS = "inputs"
REQUESTS = "requests"
REPLIES = "replies"
LIVE = "live"
TIERED = "tiered"
WAYS = "ways"
# In WAL mode, this syncs the log at each commit.
SYNCHRONOUS = "FULL"
# A statement waits this long for the lock of another process.
_LOCK_TIMEOUT_S = 5.0
_TABLES = ("rows", EVENTS, INPUTS, REQUESTS, REPLIES, LIVE, TIERED, WAYS)
# No id of an entry in SQLite is larger.
_LARGEST_ID = 2**63 - 1

_TABLE = (
    "CREATE TABLE IF NOT EXISTS {} "
    "(id INTEGER PRIMARY KEY, number INTEGER, kind TEXT, checksum INTEGER, record TEXT)"
)
_INSERT = "INSERT INTO {} VALUES (?, ?, ?, ?, CAST(? AS TEXT))"


class Entry(NamedTuple):
    """One record of a table. `id` is None until the store assigns one."""

    id: int | None
    number: int | None
    kind: str  # For a row it is "answered" or "failed", for an event its name.
    checksum: int
    record: bytes

    @classmethod
    def of(
        cls,
        kind: str,
        record: bytes,
        number: int | None = None,
        id: int | None = None,
    ) -> Entry:
        """Return the entry of a record."""
        return cls(id, number, kind, crc32(record), record)

    @property
    def is_damaged(self) -> bool:
        """Whether the record differs from what was written."""
        return crc32(self.record) != self.checksum


class JobStore:
    """An open store. Its methods raise `DiskError` if the disk fails; entries appended before that are unchanged.

    One thread may append while another one reads. `read_only` needs no lock on the folder: it
    creates nothing, and finds no entries if there is no store yet.
    """

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        self.path = folder / STORE_NAME
        self._read_only = read_only
        self._writer: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None
        self._copy: TemporaryDirectory[str] | None = None
        if not read_only:
            self._open_writer()

    def _open_writer(self) -> None:
        try:
            self._writer = open_sqlite(self.path, timeout_s=_LOCK_TIMEOUT_S)
            self._writer.text_factory = bytes
            use_wal(self._writer, synchronous=SYNCHRONOUS)
            for table in _TABLES:
                self._writer.execute(_TABLE.format(table))
        except OSError as exc:
            raise DiskError.of(exc, self.path) from exc
        except sqlite3.Error as exc:
            self.close()
            raise self._disk_error(exc) from exc

    def _connect(self) -> sqlite3.Connection:
        # In WAL mode a reader creates files beside the store, too. If it cannot, no other process
        # is writing.
        option = "mode=rw"
        path = self.path.absolute()
        if not os.access(path.parent, os.W_OK):
            option = "immutable=1"
            try:
                path = self._with_its_log(path)
            except OSError as exc:
                raise DiskError.of(exc, path) from exc
        address = f"{path.as_uri()}?{option}"
        connection = sqlite3.connect(
            address, uri=True, isolation_level=None, check_same_thread=False
        )
        connection.text_factory = bytes
        return connection

    def _with_its_log(self, path: Path) -> Path:
        """Return a copy of a store of a killed job that includes the records in its write-ahead log.

        SQLite ignores the log of a store that it opens as immutable.
        """
        log = path.with_name(f"{path.name}-wal")
        if not log.exists() or not log.stat().st_size:
            return path
        if self._copy is None:
            self._copy = TemporaryDirectory(prefix="modelwire-store-")
            folder = Path(self._copy.name)
            for each in (path, log):
                copyfile(each, folder / each.name)
            with closing(sqlite3.connect(folder / path.name)) as whole:
                whole.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return Path(self._copy.name) / path.name

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make one transaction of all changes in the block, synced when it ends.

        Readers see none of them before that. After a failure none of them is stored.
        """
        writer = self._writing()
        self._run("BEGIN IMMEDIATE")
        try:
            yield
            self._run("COMMIT")
        finally:
            # Some errors of the disk have ended the transaction already.
            writer.rollback()

    def append(self, table: str, entries: Iterable[Entry]) -> None:
        """Append entries, and sync them unless a `transaction` does that at its end.

        They survive a crash once they are synced; after a failure none of them is stored.
        """
        if self._writing().in_transaction:
            self._insert(table, entries)
            return
        with self.transaction():
            self._insert(table, entries)

    def _insert(self, table: str, entries: Iterable[Entry]) -> None:
        try:
            self._writing().executemany(_INSERT.format(table), entries)
        except sqlite3.Error as exc:
            raise self._disk_error(exc) from exc

    def clear(self, table: str, first: int = 0) -> None:
        """Delete the entries of a table with an id of at least `first`."""
        self._run(f"DELETE FROM {table} WHERE id >= {first}")  # noqa: S608 - a name of ours

    def _run(self, statement: str) -> None:
        try:
            self._writing().execute(statement)
        except sqlite3.Error as exc:
            raise self._disk_error(exc) from exc

    def entries(self, table: str, first: int = 0, last: int = _LARGEST_ID) -> Iterator[Entry]:
        """Yield the entries of a table with ids from `first` to `last`, in the order of insertion.

        Damaged entries are included.
        """
        if self._read_only and not self.path.exists():
            return
        query = (
            f"SELECT id, number, kind, checksum, record FROM {table} "  # noqa: S608 - a name of ours
            "WHERE id BETWEEN ? AND ? ORDER BY id"
        )
        try:
            for id, number, kind, checksum, record in self._reading().execute(query, (first, last)):
                kind_text = (kind or b"").decode(errors="replace")
                yield Entry(id, number, kind_text, checksum, record or b"")
        except sqlite3.Error as exc:
            if not self._read_only or "no such table" not in str(exc):
                # The process was killed after it created the file and before it created the tables.
                raise self._disk_error(exc) from exc

    def read(self, table: str, id: int) -> bytes:
        """Return the record of an entry. Raises: `DiskError` if it is damaged."""
        try:
            query = f"SELECT checksum, record FROM {table} WHERE id = ?"  # noqa: S608 - a name of ours
            found = self._reading().execute(query, (id,)).fetchone()
        except sqlite3.Error as exc:
            raise self._disk_error(exc) from exc
        if found is None or crc32(found[1] or b"") != found[0]:
            raise DiskError(
                f"Entry {id} of the table `{table}` in `{self.path}` is damaged. Put a copy of the file back.",
                path=str(self.path),
            )
        return bytes(found[1])

    def numbers(self, table: str) -> Iterator[tuple[int, int]]:
        """Yield the id and the number of each entry of a table, without reading its record."""
        query = f"SELECT id, number FROM {table} ORDER BY id"  # noqa: S608 - a name of ours
        try:
            yield from self._reading().execute(query)
        except sqlite3.Error as exc:
            raise self._disk_error(exc) from exc

    def next_id(self, table: str) -> int:
        """Return the id that the next entry of a table gets."""
        try:
            found = self._reading().execute(f"SELECT max(id) FROM {table}").fetchone()  # noqa: S608 - a name of ours
        except sqlite3.Error as exc:
            raise self._disk_error(exc) from exc
        return (found[0] or 0) + 1

    def _writing(self) -> sqlite3.Connection:
        if self._writer is None:
            raise DiskError(f"`{self.path}` was opened to be read.", path=str(self.path))
        return self._writer

    def _reading(self) -> sqlite3.Connection:
        """Return the connection for reading. It is not the writer's, so that it need not wait for a sync."""
        if self._reader is None:
            self._reader = self._connect()
        return self._reader

    def close(self) -> None:
        """Close the file. Nothing is buffered, so nothing is written."""
        for connection in (self._reader, self._writer):
            if connection is not None:
                connection.close()
        self._reader = self._writer = None
        if self._copy is not None:
            self._copy.cleanup()
            self._copy = None

    def _disk_error(self, error: sqlite3.Error) -> DiskError:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        path = self.path
        if code == sqlite3.SQLITE_FULL:
            return DiskError.of(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), path)
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return DiskError(
                f"`{path}` is damaged: {error}. Put a copy of it back, or save what is whole: "
                f"`sqlite3 {STORE_NAME} .recover | sqlite3 saved.sqlite`, and put that in its place.",
                path=str(path),
            )
        return DiskError.of(OSError(str(error)), path)
