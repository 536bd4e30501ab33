"""The journal of a tool loop: a SQLite file from which the same call continues after its process was killed.

It stores the history, each answer of the model, and the start and the result of each tool call. A call that was started
and has no result may have had its effect, so it is not run again unless the caller asks for that.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

from pydantic_core import from_json, to_json

from modelwire.aliases import StrPath, Values
from modelwire.errors import DiskError, InvalidArgument, JobBusy
from modelwire.messages import BaseMessage, messages_from_dict, messages_to_dict
from modelwire.sqlite_files import open_sqlite

# Opening a journal waits this long for its lock, which another process that uses the journal holds until it ends.
_LOCK_WAIT_S = 0.5
_TABLE = """
CREATE TABLE IF NOT EXISTS entries (
  id INTEGER PRIMARY KEY, kind TEXT NOT NULL, call TEXT NOT NULL, messages BLOB NOT NULL)
"""


class Restored(NamedTuple):
    """The conversation of a journal, the number of the model's answers in it, and the ids of interrupted calls."""

    messages: list[BaseMessage]
    answers: int
    interrupted: frozenset[str]


class Journal:
    """An open journal. Its methods may be called from any thread."""

    def __init__(self, path: StrPath) -> None:
        import sqlite3

        self.path = os.fspath(path)
        self._lock = threading.Lock()
        try:
            self._base = open_sqlite(self.path, timeout_s=_LOCK_WAIT_S)
        except (OSError, sqlite3.Error) as exc:
            raise self._unusable(exc) from exc
        try:
            self._base.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._base.execute("BEGIN EXCLUSIVE")
            self._base.execute(_TABLE)
            self._base.execute("COMMIT")
        except (OSError, sqlite3.Error) as exc:
            self._base.close()
            raise self._unusable(exc) from exc

    def _unusable(self, exc: Exception) -> JobBusy | DiskError:
        """Return the error of a journal that cannot be opened."""
        if "locked" in str(exc):
            return JobBusy(f"The journal `{self.path}` is in use by another loop.")
        return DiskError(f"The journal `{self.path}` cannot be used: {exc}.", path=self.path)

    def restore(self, history: Sequence[BaseMessage]) -> Restored:
        """Return the stored conversation. A new journal stores `history` and returns it.

        Raises: `InvalidArgument` if the journal belongs to another conversation.
        """
        entries = self._base.execute("SELECT kind, call, messages FROM entries ORDER BY id")
        stored = [(kind, call, from_json(messages)) for kind, call, messages in entries]
        if not stored:
            self._append("history", "", history)
            return Restored([*history], 0, frozenset())
        restored = _restored(stored)
        if _json(history) not in (to_json(stored[0][2]), _json(restored.messages)):
            raise InvalidArgument(
                f"The journal `{self.path}` belongs to another conversation. Name another file, or delete this one."
            )
        return restored

    def answer(self, message: BaseMessage) -> None:
        """Store an answer of the model."""
        self._append("answer", "", [message])

    def begin(self, call: Values) -> None:
        """Store that the tool of a call is started."""
        self._append("begin", call["id"], ())

    def result(self, call: Values, messages: Sequence[BaseMessage]) -> None:
        """Store the result of a call."""
        self._append("result", call["id"], messages)

    def leave_open(self, call: Values) -> None:
        """Store that a started call was left open, and has not had its effect."""
        self._append("open", call["id"], ())

    def _append(self, kind: str, call: str, messages: Sequence[BaseMessage]) -> None:
        import sqlite3

        row = (kind, call, _json(messages))
        try:
            with self._lock:
                self._base.execute(
                    "INSERT INTO entries (kind, call, messages) VALUES (?, ?, ?)", row
                )
        except sqlite3.Error as exc:
            raise DiskError(
                f"The journal `{self.path}` cannot be written: {exc}.", path=self.path
            ) from exc

    def close(self) -> None:
        """Close the file, so that another loop may use it."""
        self._base.close()


def _json(messages: Sequence[BaseMessage]) -> bytes:
    return to_json(messages_to_dict(messages), fallback=str)


def _restored(entries: Sequence[tuple[str, str, Any]]) -> Restored:
    from modelwire.tools.calls import open_calls

    messages: list[BaseMessage] = []
    results: dict[str, list[BaseMessage]] = {}
    begun = set[str]()
    answers = 0

    def add_results() -> None:
        for call in open_calls(messages):
            messages.extend(results.pop(call["id"], ()))

    for kind, call, stored in entries:
        if kind == "begin":
            begun.add(call)
        elif kind == "open":
            begun.discard(call)
        elif kind == "result":
            begun.discard(call)
            results[call] = messages_from_dict(stored)
        else:
            add_results()
            messages += messages_from_dict(stored)
            answers += kind == "answer"
    add_results()
    return Restored(messages, answers, frozenset(begun))
