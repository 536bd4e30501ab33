"""Removes control characters from the text of models, tools and files before a terminal shows it.

A terminal obeys escape sequences: they can change its title, clear the screen or write into the clipboard.
"""

from __future__ import annotations

import sys
from typing import IO

__all__ = ["agrees", "echo", "printable"]

# The control characters of ASCII and Latin-1 (C0, DEL and C1 of ECMA-48), except for line feeds and tabs.
_CONTROLS = {code: None for code in [*range(32), *range(127, 160)] if chr(code) not in "\n\t"}


def printable(text: str) -> str:
    """Return `text` without control characters other than line feeds and tabs."""
    return text.translate(_CONTROLS)


def echo(
    *values: object, file: IO[str] | None = None, end: str = "\n", flush: bool = False
) -> None:
    """Print as `print` does, on a terminal without control characters. Elsewhere the text is not changed."""
    stream = sys.stdout if file is None else file
    text = " ".join(map(str, values))
    if stream is not None and stream.isatty():
        text = printable(text)
    print(text, file=stream, end=end, flush=flush)


def agrees(question: str) -> bool:
    """Ask the user a question on the terminal, and return whether the answer is yes; False without a terminal."""
    if sys.stdin is None or not sys.stdin.isatty():
        return False
    return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
