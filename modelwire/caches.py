"""Caches of answers, so that the same request is sent once: in memory, or in a file that many processes share.

A cache maps two texts, the prompt and what else makes the answer, to a list of generations. It is only ever a saving:
`SQLiteCache` turns whatever goes wrong with its file into a miss.
"""

from __future__ import annotations

import json
import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from threading import RLock
from typing import TYPE_CHECKING, Any, TypeAlias

from modelwire import lazy
from modelwire.errors import CallerError, InvalidArgument, InvalidType
from modelwire.sqlite_files import open_sqlite, use_wal

if TYPE_CHECKING:
    import sqlite3

    from modelwire import outputs
    from modelwire.messages import BaseMessage
    from modelwire.outputs import Generation

    RETURN_VAL_TYPE: TypeAlias = Sequence[Generation]
else:
    outputs = lazy.module("modelwire.outputs")
    RETURN_VAL_TYPE = Sequence  # what a lookup returns, under the name custom caches annotate with

__all__ = ["RETURN_VAL_TYPE", "BaseCache", "InMemoryCache", "SQLiteCache"]

_log = logging.getLogger(__name__)


class BaseCache(ABC):
    """The interface of a cache. The async methods run the sync ones in a thread unless overridden."""

    @abstractmethod
    def lookup(self, prompt: str, llm_string: str) -> RETURN_VAL_TYPE | None:
        """Return the generations cached for this prompt, or `None`."""

    @abstractmethod
    def update(self, prompt: str, llm_string: str, return_val: RETURN_VAL_TYPE) -> None:
        """Store the generations for this prompt."""

    @abstractmethod
    def clear(self, **kwargs: Any) -> None:
        """Forget everything."""

    async def alookup(self, prompt: str, llm_string: str) -> RETURN_VAL_TYPE | None:
        """Return the generations cached for this prompt, or `None`."""
        import asyncio

        return await asyncio.to_thread(self.lookup, prompt, llm_string)

    async def aupdate(self, prompt: str, llm_string: str, return_val: RETURN_VAL_TYPE) -> None:
        """Store the generations for this prompt."""
        import asyncio

        await asyncio.to_thread(self.update, prompt, llm_string, return_val)

    async def aclear(self, **kwargs: Any) -> None:
        """Forget everything."""
        import asyncio

        await asyncio.to_thread(self.clear, **kwargs)


class InMemoryCache(BaseCache):
    """A cache in this process's memory; with `maxsize`, at most that many entries, the oldest going first."""

    def __init__(self, *, maxsize: int | None = None) -> None:
        if maxsize is not None and maxsize <= 0:
            raise InvalidArgument(f"`maxsize` is {maxsize}: maxsize must be greater than 0.")
        self._cache: dict[tuple[str, str], RETURN_VAL_TYPE] = {}
        self._maxsize = maxsize
        self._lock = RLock()

    def __getstate__(self) -> dict[str, Any]:
        with self._lock:
            return {"_cache": dict(self._cache), "_maxsize": self._maxsize}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._cache, self._maxsize, self._lock = state["_cache"], state["_maxsize"], RLock()

    def lookup(self, prompt: str, llm_string: str) -> RETURN_VAL_TYPE | None:
        return self._cache.get((prompt, llm_string))

    def update(self, prompt: str, llm_string: str, return_val: RETURN_VAL_TYPE) -> None:
        with self._lock:
            self._cache.pop((prompt, llm_string), None)
            if self._maxsize is not None and len(self._cache) >= self._maxsize:
                del self._cache[next(iter(self._cache))]
            self._cache[prompt, llm_string] = return_val

    def clear(self, **kwargs: Any) -> None:
        with self._lock:
            self._cache.clear()

    async def alookup(self, prompt: str, llm_string: str) -> RETURN_VAL_TYPE | None:
        return self.lookup(prompt, llm_string)

    async def aupdate(self, prompt: str, llm_string: str, return_val: RETURN_VAL_TYPE) -> None:
        self.update(prompt, llm_string, return_val)

    async def aclear(self, **kwargs: Any) -> None:
        self.clear()


# Both stand in the file's header, https://www.sqlite.org/fileformat.html, read 2026-11.
_APPLICATION = int.from_bytes(b"mwca", "big")
_VERSION = 1  # of the table and of what is in it; another one is not read
_BUSY_S = 2.0  # how long to wait for another process's write before going on without


class SQLiteCache(BaseCache):
    """A cache in the SQLite file `path`, for many threads and processes at a time; it stays when they end.

    The file is made when first needed, readable by its owner only: it holds what models answered. What cannot be read
    (a damaged or locked file, one of another version, an answer that is not JSON) is a miss, and says so in the log.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        database_path: str | os.PathLike[str] | None = None,
    ) -> None:
        path = path if path is not None else database_path  # LangChain's name for it
        if not isinstance(path, (str, os.PathLike)):
            raise InvalidType(f"`path` must be the path of a file, not a `{type(path).__name__}`.")
        self.path = os.path.expanduser(path)
        self._reset()

    def _reset(self) -> None:
        self._lock = RLock()
        self._pid = os.getpid()
        self._connection: sqlite3.Connection | None = None
        self._unusable = False
        self._complaints: set[str] = set()

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.path = state["path"]
        self._reset()

    def __repr__(self) -> str:
        return f"SQLiteCache({self.path!r})"

    def lookup(self, prompt: str, llm_string: str) -> RETURN_VAL_TYPE | None:
        query = "SELECT answer FROM answers WHERE question = ?"
        row = self._try(
            lambda connection: connection.execute(query, (_digest(prompt, llm_string),)).fetchone()
        )
        if row is None:
            return None
        try:
            return [_read_generation(one) for one in json.loads(row[0])]
        except _UNREADABLE as exc:
            self._complain(f"an answer in it cannot be read ({type(exc).__name__})")
            return None

    def update(self, prompt: str, llm_string: str, return_val: RETURN_VAL_TYPE) -> None:
        try:
            answer = json.dumps(
                [_written(generation) for generation in return_val], separators=(",", ":")
            )
        except (TypeError, ValueError, RecursionError) as exc:
            self._complain(f"an answer is not JSON and was not cached ({exc})")
            return
        statement = "INSERT OR REPLACE INTO answers (question, answer) VALUES (?, ?)"
        self._try(
            lambda connection: connection.execute(statement, (_digest(prompt, llm_string), answer))
        )

    def clear(self, **kwargs: Any) -> None:
        """Delete all entries. Raises: `CallerError` if that fails."""
        if self._try(lambda connection: connection.execute("DELETE FROM answers")) is None:
            raise CallerError(
                f"The cache at `{self.path}` could not be cleared; the log says why. Delete the file."
            )

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None and self._pid == self._getpid():
                connection.close()

    _getpid = staticmethod(
        os.getpid
    )  # as the program ends, `os` is emptied before the last cache goes

    def __del__(self) -> None:
        if hasattr(self, "_lock"):
            self.close()

    def _try(self, act: Any) -> Any:
        """Return the result of `act` on the open connection, or `None` if the file fails."""
        import sqlite3

        if (
            self._pid != os.getpid()
        ):  # a connection must not be used across a fork, nor closed by the child
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

    def _complain(self, what: str) -> None:
        if what not in self._complaints:
            self._complaints.add(what)
            _log.warning("The cache at %s cannot be used: %s.", self.path, what)


def _close_to_others(path: str) -> None:
    """Restrict a file that somebody else made, and SQLite's files beside it, to its owner."""
    for name in (path, f"{path}-wal", f"{path}-shm"):
        with suppress(OSError):  # another's, or not there
            if (mode := os.stat(name, follow_symlinks=False).st_mode) & 0o077:
                os.chmod(name, mode & 0o700)


_abandoned: list[Any] = []  # connections of the process we were forked from


def _prepare(connection: sqlite3.Connection) -> bool:
    """Create the table in a new file. Return whether the file is a cache of modelwire."""
    import sqlite3

    header = _header(connection)
    if header == (0, 0, 0):
        with suppress(sqlite3.OperationalError):  # Another process is creating the file.
            use_wal(connection)
        connection.execute("BEGIN IMMEDIATE")
        if _header(connection) == (0, 0, 0):
            connection.execute(
                "CREATE TABLE answers (question BLOB PRIMARY KEY, answer TEXT NOT NULL)"
            )
            connection.execute(f"PRAGMA application_id = {_APPLICATION}")
            connection.execute(f"PRAGMA user_version = {_VERSION}")
        connection.execute("COMMIT")
        header = _header(connection)
    connection.execute(
        "PRAGMA synchronous = NORMAL"
    )  # a power cut may lose the last answers, never damage the file
    return header[:2] == (_APPLICATION, _VERSION)


def _header(connection: sqlite3.Connection) -> tuple[int, int, int]:
    """Read what tells whose file it is, at one moment: another process may be making it."""
    is_alone = not connection.in_transaction
    if is_alone:
        connection.execute("BEGIN")
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if is_alone:
        connection.execute("COMMIT")
    return application, version, tables


def _digest(prompt: str, llm_string: str) -> bytes:
    from hashlib import sha256

    return sha256(json.dumps([prompt, llm_string]).encode()).digest()


_UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, RecursionError)


def _written(generation: Generation) -> dict[str, Any]:
    message = getattr(generation, "message", None)
    stored = {"text": generation.text} if message is None else {"message": _message_dict(message)}
    return {**stored, "info": generation.generation_info}


def _message_dict(message: BaseMessage) -> dict[str, Any]:
    """Return the fields unchanged: a value that is not JSON must fail, not come back as something else."""
    fields = type(message).model_fields
    data = {
        name: value
        for name, value in message.__dict__.items()
        if name in fields
        and name != "type"
        and (name == "content" or value != fields[name].default)
    }
    return {"type": message.type, "data": {**(message.__pydantic_extra__ or {}), **data}}


def _read_generation(written: dict[str, Any]) -> Generation:
    from modelwire.messages import messages_from_dict

    if "message" not in written:
        return outputs.Generation(text=written["text"], generation_info=written["info"])
    (message,) = messages_from_dict([written["message"]])
    return outputs.ChatGeneration(message=message, generation_info=written["info"])
