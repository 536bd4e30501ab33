"""Caches of answers, so that the same request is sent once: in memory, in a file, or on a Redis server.

A cache maps two texts, the prompt and the model with its parameters, to a list of generations. A cache never makes a
call fail: any error of its file or server is a miss. `RedisCache` is an extension (`modelwire/fleet/cache.py`).
"""

from __future__ import annotations

import json
import logging
import math
import os
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from threading import RLock
from time import monotonic, time
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from modelwire import lazy
from modelwire._extensions import extension
from modelwire.aliases import JSON
from modelwire.errors import CallerError, InvalidArgument, InvalidType
from modelwire.sqlite_files import open_sqlite, use_wal

if TYPE_CHECKING:
    import sqlite3

    from modelwire import outputs
    from modelwire.fleet import RedisCache as RedisCache
    from modelwire.messages import BaseMessage
    from modelwire.outputs import Generation

    RETURN_VAL_TYPE: TypeAlias = Sequence[Generation]
else:
    outputs = lazy.module("modelwire.outputs")
    RETURN_VAL_TYPE = Sequence  # Custom caches annotate the result of `lookup` with this name.

__all__ = ["RETURN_VAL_TYPE", "BaseCache", "InMemoryCache", "SQLiteCache"]

_log = logging.getLogger(__name__)


def __getattr__(name: str) -> Any:
    """Load `RedisCache` when it is first used. Raises: `MissingDependency` without redis-py (`modelwire[redis]`)."""
    if name != "RedisCache":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return extension("fleet").RedisCache


class Claim(Protocol):
    """The right of one process to make a call, for which equal calls of other processes wait.

    A cache that several processes share may have the method `lookup_or_claim(prompt, llm_string, timeout_s)`, and an
    async `alookup_or_claim`. The method returns the cached generations; without any, a claim for the caller; or None if
    it can return neither. While another process has the claim, the method waits until that process has stored its
    answer or lost its claim.
    """

    reader_since: float | None
    """When the reader of a stream got its last chunk (`time.monotonic()`); None while the call waits for the provider.

    A claim ends after a while in which the reader reads nothing.
    """

    def release(self) -> None:
        """Release the claim, without waiting. Called when the call has ended, whether its answer was stored or not."""


class BaseCache(ABC):
    """The interface of a cache. The async methods run the sync ones in a thread unless overridden."""

    @abstractmethod
    def lookup(self, prompt: str, llm_string: str) -> RETURN_VAL_TYPE | None:
        """Return the generations cached for this prompt and model (`llm_string`), or None."""

    @abstractmethod
    def update(self, prompt: str, llm_string: str, return_val: RETURN_VAL_TYPE) -> None:
        """Store the generations for this prompt and model (`llm_string`)."""

    @abstractmethod
    def clear(self, **kwargs: Any) -> None:
        """Remove all entries."""

    async def alookup(self, prompt: str, llm_string: str) -> RETURN_VAL_TYPE | None:
        """Return the generations cached for this prompt and model (`llm_string`), or None."""
        import asyncio

        return await asyncio.to_thread(self.lookup, prompt, llm_string)

    async def aupdate(self, prompt: str, llm_string: str, return_val: RETURN_VAL_TYPE) -> None:
        """Store the generations for this prompt and model (`llm_string`)."""
        import asyncio

        await asyncio.to_thread(self.update, prompt, llm_string, return_val)

    async def aclear(self, **kwargs: Any) -> None:
        """Remove all entries."""
        import asyncio

        await asyncio.to_thread(self.clear, **kwargs)


# Each update removes at most this many expired entries, so that no single call pays for all of them.
EXPIRED_PER_UPDATE = 20


def _checked_ttl(ttl: Any) -> float | None:
    """Return `ttl` as a number of seconds; None means that entries never expire. Raises `InvalidArgument`."""
    if ttl is None:
        return None
    is_number = isinstance(ttl, int | float) and not isinstance(ttl, bool)
    if not is_number or not math.isfinite(ttl) or ttl <= 0:
        raise InvalidArgument(
            f"`ttl` must be a number of seconds above 0, such as `ttl=3600`, not `{ttl!r}`."
        )
    return float(ttl)


class InMemoryCache(BaseCache):
    """A cache in this process's memory.

    Args:
        maxsize: the greatest number of entries; the oldest entry is removed first. None: no limit.
        ttl: the seconds after which a stored entry expires, and is a miss; None: never.

    Raises: `InvalidArgument` if `maxsize` or `ttl` is not above 0.
    """

    def __init__(self, *, maxsize: int | None = None, ttl: float | None = None) -> None:
        if maxsize is not None and maxsize <= 0:
            raise InvalidArgument(f"`maxsize` is {maxsize}: maxsize must be greater than 0.")
        self._cache: dict[tuple[str, str], RETURN_VAL_TYPE] = {}
        self._maxsize = maxsize
        self._ttl_s = _checked_ttl(ttl)
        # When each entry expires, by the monotonic clock. All have the same `ttl`, so the first entry expires first.
        self._expires: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._lock = RLock()

    def __getstate__(self) -> dict[str, Any]:
        with self._lock:
            now = monotonic()
            return {
                "_cache": dict(self._cache),
                "_maxsize": self._maxsize,
                "_ttl_s": self._ttl_s,
                "_left_s": {key: at - now for key, at in self._expires.items()},
            }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._cache = state["_cache"]
        self._maxsize = state["_maxsize"]
        self._lock = RLock()
        self._ttl_s = state["_ttl_s"]
        now = monotonic()
        self._expires = OrderedDict((key, now + left) for key, left in state["_left_s"].items())

    def lookup(self, prompt: str, llm_string: str) -> RETURN_VAL_TYPE | None:
        key = prompt, llm_string
        if self._ttl_s is not None and self._expires.get(key, math.inf) <= monotonic():
            return None
        return self._cache.get(key)

    def update(self, prompt: str, llm_string: str, return_val: RETURN_VAL_TYPE) -> None:
        key = prompt, llm_string
        with self._lock:
            self._remove(key)
            self._remove_expired()
            if self._maxsize is not None and len(self._cache) >= self._maxsize:
                self._remove(next(iter(self._cache)))
            self._cache[key] = return_val
            if self._ttl_s is not None:
                self._expires[key] = monotonic() + self._ttl_s

    def _remove(self, key: tuple[str, str]) -> None:
        self._cache.pop(key, None)
        self._expires.pop(key, None)

    def _remove_expired(self) -> None:
        for _ in range(min(EXPIRED_PER_UPDATE, len(self._expires))):
            key, at = next(iter(self._expires.items()))
            if at > monotonic():
                return
            self._remove(key)

    def clear(self, **kwargs: Any) -> None:
        with self._lock:
            self._cache.clear()
            self._expires.clear()

    async def alookup(self, prompt: str, llm_string: str) -> RETURN_VAL_TYPE | None:
        return self.lookup(prompt, llm_string)

    async def aupdate(self, prompt: str, llm_string: str, return_val: RETURN_VAL_TYPE) -> None:
        self.update(prompt, llm_string, return_val)

    async def aclear(self, **kwargs: Any) -> None:
        self.clear()


_UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, RecursionError)


class TextCache(BaseCache):
    """A cache that stores each answer as a JSON text under a digest. An answer that cannot be read is a miss.

    `place` names the file or server in the log. Raises: `InvalidArgument` if `ttl` is not a number of seconds above 0.
    """

    place: str

    def __init__(self, ttl: float | None = None) -> None:
        self._ttl_s = _checked_ttl(ttl)
        self._complaints: set[str] = set()

    def _digest(self, prompt: str, llm_string: str) -> bytes:
        """Return the key under which an answer is stored: a SHA-256 digest of 32 bytes."""
        from hashlib import sha256

        return sha256(json.dumps([prompt, llm_string]).encode()).digest()

    def _text_of(self, answers: RETURN_VAL_TYPE) -> str | None:
        """Return an answer as JSON text; None, with a warning in the log, if JSON cannot express it."""
        try:
            return json.dumps([_written(each) for each in answers], separators=(",", ":"))
        except (TypeError, ValueError, RecursionError) as exc:
            self._complain(f"an answer is not JSON and was not cached ({exc})")
            return None

    def _answers_of(self, text: str | bytes) -> RETURN_VAL_TYPE | None:
        """Return the answer in a JSON text; None, with a warning in the log, if it cannot be read."""
        try:
            return [_read_generation(each) for each in json.loads(text)]
        except _UNREADABLE as exc:
            self._complain(f"an answer in it cannot be read ({type(exc).__name__})")
            return None

    def _complain(self, what: str) -> None:
        if what not in self._complaints:
            self._complaints.add(what)
            _log.warning("The cache at %s cannot be used: %s.", self.place, what)


# The `application_id` and the `user_version` in the header of the file (https://www.sqlite.org/fileformat.html, read
# 2026-11). A file with other values is not read. Version 1 of the table had no expiry times.
_APPLICATION = int.from_bytes(b"mwca", "big")
_VERSION = 2
# A lookup or update waits this long for the write of another process; after that it is a miss.
_BUSY_S = 2.0
_TABLE = "CREATE TABLE answers (question BLOB PRIMARY KEY, answer TEXT NOT NULL, expires REAL)"
_INDEX = "CREATE INDEX expiring ON answers (expires) WHERE expires IS NOT NULL"
_LOOKUP = "SELECT answer FROM answers WHERE question = ? AND (expires IS NULL OR expires > ?)"
_UPDATE = "INSERT OR REPLACE INTO answers (question, answer, expires) VALUES (?, ?, ?)"
_REMOVE_EXPIRED = """DELETE FROM answers WHERE rowid IN (
    SELECT rowid FROM answers WHERE expires IS NOT NULL AND expires <= ? LIMIT ?)"""


class SQLiteCache(TextCache):
    """A cache in the SQLite file `path`, for many threads and processes at once; its entries outlast the processes.

    The first use creates the file, which only its owner can read, since it holds the answers of models. If the file or
    an entry cannot be read (damaged, locked, of another version, not JSON), the lookup is a miss and logs a warning.

    Args:
        path: the file.
        database_path: LangChain's name for `path`.
        ttl: the seconds after which an entry that this object stores expires, for every process; None: never.

    Raises: `InvalidType` if `path` is not a path, `InvalidArgument` if `ttl` is not above 0.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        database_path: str | os.PathLike[str] | None = None,
        ttl: float | None = None,
    ) -> None:
        path = path if path is not None else database_path
        if not isinstance(path, (str, os.PathLike)):
            raise InvalidType(f"`path` must be the path of a file, not a `{type(path).__name__}`.")
        super().__init__(ttl)
        self.place = self.path = os.path.expanduser(path)
        self._reset()

    def _reset(self) -> None:
        self._lock = RLock()
        self._pid = os.getpid()
        self._connection: sqlite3.Connection | None = None
        self._unusable = False
        self._complaints = set()

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "ttl_s": self._ttl_s}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__init__(state["ttl_s"])
        self.place = self.path = state["path"]
        self._reset()

    def __repr__(self) -> str:
        return f"SQLiteCache({self.path!r})"

    def lookup(self, prompt: str, llm_string: str) -> RETURN_VAL_TYPE | None:
        key = self._digest(prompt, llm_string), time()
        row = self._try(lambda connection: connection.execute(_LOOKUP, key).fetchone())
        return None if row is None else self._answers_of(row[0])

    def update(self, prompt: str, llm_string: str, return_val: RETURN_VAL_TYPE) -> None:
        answer = self._text_of(return_val)
        if answer is None:
            return
        now = time()
        expires = None if self._ttl_s is None else now + self._ttl_s
        row = self._digest(prompt, llm_string), answer, expires

        def write(connection: sqlite3.Connection) -> None:
            connection.execute(_UPDATE, row)
            if expires is not None:
                connection.execute(_REMOVE_EXPIRED, (now, EXPIRED_PER_UPDATE))

        self._try(write)

    def clear(self, **kwargs: Any) -> None:
        """Delete all entries. Raises: `CallerError` if that fails."""
        if self._try(lambda connection: connection.execute("DELETE FROM answers")) is None:
            raise CallerError(
                f"The cache at `{self.path}` could not be cleared; the log says why. Delete the file."
            )

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._lock:
            connection = self._connection
            self._connection = None
            if connection is not None and self._pid == self._getpid():
                connection.close()

    # When the interpreter exits, the names in `os` are removed before the last cache is deleted.
    _getpid = staticmethod(os.getpid)

    def __del__(self) -> None:
        if hasattr(self, "_lock"):
            self.close()

    def _try(self, act: Any) -> Any:
        """Return the result of `act` on the open connection, or `None` if the file fails."""
        import sqlite3

        if self._pid != os.getpid():
            # A child must neither use nor close the connection of its parent.
            _abandoned.append(self._connection)
            self._reset()
        try:
            with self._lock:
                if self._connection is None and not self._unusable:
                    self._connection = self._open()
                if self._connection is None:
                    return None
                return act(self._connection)
        except (sqlite3.Error, OSError) as exc:
            self._complain(str(exc))
            return None

    def _open(self) -> sqlite3.Connection | None:
        import sqlite3

        if self.path != ":memory:":
            os.makedirs(os.path.dirname(os.path.abspath(self.path)), mode=0o700, exist_ok=True)
        connection = open_sqlite(self.path, timeout_s=_BUSY_S, follows_links=False)
        try:
            usable = _prepare(connection)
        except sqlite3.Error:
            connection.close()
            raise
        if not usable:
            connection.close()
            self._unusable = True
            self._complain("the file belongs to another program or another version")
            return None
        if self.path != ":memory:":
            _close_to_others(self.path)
        return connection


def _close_to_others(path: str) -> None:
    """Restrict a file, which another program may have created, and SQLite's files beside it to their owner."""
    for name in (path, f"{path}-wal", f"{path}-shm"):
        with suppress(OSError):  # The file belongs to another user, or does not exist.
            if (mode := os.stat(name, follow_symlinks=False).st_mode) & 0o077:
                os.chmod(name, mode & 0o700)


# The connections of parent processes. As long as this list refers to them, the child does not close them.
_abandoned: list[Any] = []


def _prepare(connection: sqlite3.Connection) -> bool:
    """Create the table in a new file. Return whether the file is a cache of modelwire."""
    import sqlite3

    header = _header(connection)
    if header == (0, 0, 0):
        with suppress(sqlite3.OperationalError):  # Another process is creating the file.
            use_wal(connection)
        connection.execute("BEGIN IMMEDIATE")
        if _header(connection) == (0, 0, 0):
            connection.execute(_TABLE)
            connection.execute(_INDEX)
            connection.execute(f"PRAGMA application_id = {_APPLICATION}")
            connection.execute(f"PRAGMA user_version = {_VERSION}")
        connection.execute("COMMIT")
        header = _header(connection)
    # In this mode a power cut may lose the last answers, but never damages the file.
    connection.execute("PRAGMA synchronous = NORMAL")
    return header[:2] == (_APPLICATION, _VERSION)


def _header(connection: sqlite3.Connection) -> tuple[int, int, int]:
    """Return the `application_id`, the `user_version` and the number of tables and indexes of the file.

    They are read in one transaction, because another process may be creating the file.
    """
    is_alone = not connection.in_transaction
    if is_alone:
        connection.execute("BEGIN")
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if is_alone:
        connection.execute("COMMIT")
    return application, version, tables


def _written(generation: Generation) -> JSON:
    message = getattr(generation, "message", None)
    stored = {"text": generation.text} if message is None else {"message": _message_dict(message)}
    return {**stored, "info": generation.generation_info}


def _message_dict(message: BaseMessage) -> JSON:
    """Return a message as a dict of its fields, unchanged: `json.dumps` must fail for a value that is not JSON."""
    fields = type(message).model_fields
    data = {
        name: value
        for name, value in message.__dict__.items()
        if name in fields
        and name != "type"
        and (name == "content" or value != fields[name].default)
    }
    return {"type": message.type, "data": {**(message.__pydantic_extra__ or {}), **data}}


def _read_generation(written: JSON) -> Generation:
    from modelwire.messages import messages_from_dict

    if "message" not in written:
        return outputs.Generation(text=written["text"], generation_info=written["info"])
    (message,) = messages_from_dict([written["message"]])
    return outputs.ChatGeneration(message=message, generation_info=written["info"])
