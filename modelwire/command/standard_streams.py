"""Decodes the text that is piped into a command, and writes lines to standard error."""

from __future__ import annotations

import sys

from modelwire.errors import InvalidArgument
from modelwire.terminal_text import echo


def warn(text: str) -> None:
    """Write a line to standard error."""
    echo(text, file=sys.stderr, flush=True)


def has_terminal() -> bool:
    """Return whether standard input is a terminal, so that the user can be asked."""
    return sys.stdin is not None and sys.stdin.isatty()


def decoded(data: bytes) -> str:
    """Return piped input as text. Raises `InvalidArgument` if it is not UTF-8."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        if exc.reason == "unexpected end of data" and exc.end == len(data):
            warn("The piped text ends within a character: that character is left out.")
            return data[: exc.start].decode("utf-8-sig")
        raise InvalidArgument(
            f"The piped text is not UTF-8 (byte {exc.start}). Send a file with `modelwire ask -a FILE`."
        ) from None
