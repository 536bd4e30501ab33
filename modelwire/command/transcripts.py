"""`modelwire log`: shows the conversations of `ask` and `chat`. One SQLite file stores them, without attached data.

The file `typed` beside it stores the lines that the user typed in `chat`, for the prompt's history. `--no-log`, and
`log = false` in modelwire.toml, switch both off.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from modelwire import config, messages
from modelwire.aliases import JSON
from modelwire.command.standard_streams import warn
from modelwire.errors import DiskError, InvalidArgument
from modelwire.sqlite_files import open_sqlite
from modelwire.terminal_text import agrees, echo
from modelwire.user_paths import user_folder

_TABLES = """
CREATE TABLE IF NOT EXISTS talks (id INTEGER PRIMARY KEY, begun TEXT NOT NULL, model TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS messages (
  talk INTEGER NOT NULL REFERENCES talks(id), position INTEGER NOT NULL, message TEXT NOT NULL,
  PRIMARY KEY (talk, position));
"""


def register(commands: Any) -> None:
    """Declare the command, its options and the function that runs it."""
    log = commands.add_parser("log", help="the questions and answers of `ask` and `chat`")
    log.add_argument(
        "talk",
        nargs="?",
        type=int,
        metavar="NUMBER",
        help="show this conversation (default: list the last ones)",
    )
    log.add_argument(
        "-n",
        type=int,
        default=10,
        metavar="N",
        help="list at most this many conversations (default: %(default)s)",
    )
    log.add_argument(
        "--find", metavar="TEXT", help="list conversations that contain this text (default: all)"
    )
    log.add_argument("--json", action="store_true", help="print JSON")
    log.add_argument("--path", action="store_true", help="print the path of the file")
    log.add_argument(
        "--clear",
        action="store_true",
        help="delete all conversations, and the input history of `chat`",
    )
    log.add_argument("--yes", "-y", action="store_true", help="with --clear: do not ask")
    log.add_argument("--debug", action="store_true", help="show the traceback of an error")
    log.set_defaults(run=_log)


def _path() -> Path:
    return user_folder("data") / "transcripts.db"


def own_file(name: str) -> Path:
    """Create a file in the user's data folder if it is missing, and return its path. Only the user can read it."""
    path = user_folder("data") / name
    path.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    path.chmod(0o600)  # Earlier versions of modelwire let other users read the file.
    return path


@contextmanager
def _opened() -> Iterator[Any]:
    """Open the SQLite file, which is created if it is missing, for one transaction. Raises: `DiskError`."""
    import sqlite3

    path = _path()
    try:
        try:
            own_file(path.name)
        except OSError as exc:
            raise sqlite3.Error(exc) from exc
        base = open_sqlite(path, timeout_s=10, in_transactions=True)
        with closing(base), base:
            base.executescript(_TABLES)
            yield base
    except sqlite3.Error as exc:
        raise DiskError(f"The transcript `{path}` cannot be used: {exc}.", path=str(path)) from exc


def keep(talk: int | None, model: str, history: Sequence[Any], *, off: bool = False) -> int | None:
    """Store a conversation in place of its earlier state, and return its number. A failure is only printed."""
    if off or not config.keeps_transcripts():
        return None
    rows = [json.dumps(message) for message in without_data(history)]
    try:
        with _opened() as base:
            if talk is None:
                begun = datetime.now().astimezone().isoformat(timespec="seconds")
                talk = base.execute(
                    "INSERT INTO talks (begun, model) VALUES (?, ?)", (begun, model)
                ).lastrowid
            base.execute("DELETE FROM messages WHERE talk = ?", (talk,))
            base.executemany(
                "INSERT INTO messages VALUES (?, ?, ?)", [(talk, *row) for row in enumerate(rows)]
            )
    except DiskError as exc:
        warn(f"Not in the log: {exc}")
    return talk


def _stored(talk: int | None) -> tuple[int, str, list[Any]]:
    """Return number, model and messages of a conversation, by default of the last one. Raises: `InvalidArgument`."""
    with _opened() as base:
        if talk is None:
            (talk,) = base.execute("SELECT max(id) FROM talks").fetchone()
        if talk is None:
            raise InvalidArgument("There is no conversation to continue: the log is empty.")
        rows = _rows_of(base, talk)
        (model,) = base.execute("SELECT model FROM talks WHERE id = ?", (talk,)).fetchone()
    return talk, model, read_messages(f"[{', '.join(rows)}]", f"Conversation {talk}")


def earlier(options: argparse.Namespace) -> tuple[int | None, list[Any]]:
    """Return number and messages of the conversation that `-c` or `--cid` continues; None and no messages without them.

    The conversation's model is used unless `-m` names another. The text of `-s` becomes its system message.
    """
    talk: int | None = None
    history: list[Any] = []
    if options.go_on or options.cid is not None:
        talk, model, history = _stored(options.cid)
        options.model = options.model or model
    if options.system:
        rest = [message for message in history if message.type != "system"]
        history = [messages.SystemMessage(options.system), *rest]
    return talk, history


def _rows_of(base: Any, talk: int) -> list[str]:
    talk = min(talk, 2**63 - 1)  # SQLite has no larger integer.
    found = base.execute("SELECT message FROM messages WHERE talk = ? ORDER BY position", (talk,))
    rows = [text for (text,) in found]
    if not rows:
        raise InvalidArgument(f"There is no conversation {talk}. `modelwire log` lists them.")
    return rows


def without_data(history: Sequence[Any]) -> list[JSON]:
    """Return messages as JSON objects, in which a short text replaces the data of each attachment."""
    written = []
    for message in messages.messages_to_dict(history):
        content = message["data"].get("content")
        if isinstance(content, list):
            message["data"]["content"] = [_shortened(block) for block in content]
        written.append(json.loads(json.dumps(message, default=str)))
    return written


def _shortened(block: Any) -> Any:
    if isinstance(block, dict) and block.get("base64"):
        kind = block.get("mime_type") or block["type"]
        size = len(block["base64"]) * 3 // 4
        return {"type": "text", "text": f" ({kind}, {size:,} bytes, not stored)"}
    return block


def read_messages(text: str, where: str) -> list[Any]:
    """Return the messages in JSON that `/save` or the log wrote. Raises `InvalidArgument`, which names `where`."""
    try:
        return list(messages.messages_from_dict(json.loads(text)))
    except (ValueError, KeyError, TypeError) as exc:
        raise InvalidArgument(f"{where} is not a saved conversation: {exc}.") from exc


def _log(options: argparse.Namespace) -> None:
    if options.path:
        echo(_path())
        return
    with _opened() as base:
        if options.clear:
            _clear(base, is_confirmed=options.yes)
        elif options.talk is not None:
            _show(base, options.talk, as_json=options.json)
        else:
            _list(base, options)


def _clear(base: Any, *, is_confirmed: bool) -> None:
    """Delete all conversations and the prompt's history. Unless confirmed, the user is asked first."""
    (count,) = base.execute("SELECT count(*) FROM talks").fetchone()
    if not is_confirmed and not agrees(f"Delete {count} conversations and your input history?"):
        raise InvalidArgument("Nothing was deleted. `modelwire log --clear --yes` does not ask.")
    base.execute("DELETE FROM messages")
    base.execute("DELETE FROM talks")
    own_file("typed").unlink()


def _show(base: Any, talk: int, *, as_json: bool) -> None:
    rows = _rows_of(base, talk)
    if as_json:
        echo(f"[{', '.join(rows)}]")
        return
    for message in read_messages(f"[{', '.join(rows)}]", f"Conversation {talk}"):
        calls = [
            f"-> {call['name']}({call['args']})" for call in getattr(message, "tool_calls", ())
        ]
        echo(f"{message.type}: {' '.join([message.text, *calls]).strip()}")


def _list(base: Any, options: argparse.Namespace) -> None:
    found = base.execute(
        "SELECT id, begun, model, (SELECT message FROM messages WHERE talk = talks.id AND message LIKE '%\"human\"%' "
        "ORDER BY position LIMIT 1) FROM talks WHERE ? IS NULL OR id IN (SELECT talk FROM messages WHERE "
        "instr(lower(message), lower(?))) ORDER BY id DESC LIMIT ?",
        (options.find, options.find, options.n),
    ).fetchall()
    for number, begun, model, first in reversed(found):
        text = ""
        if first:
            text = read_messages(f"[{first}]", f"Conversation {number}")[0].text
        if options.json:
            echo(json.dumps({"number": number, "begun": begun, "model": model, "question": text}))
        else:
            minute = begun[:16].replace("T", " ")
            line = " ".join(text.split())
            echo(f"{number:>4}  {minute}  {model}  {line[:60]}")
    if not found:
        warn("No conversation contains this text." if options.find else "The log is empty.")
