"""Switches the terminal's echo off while an answer streams, so that typed text does not run into the answer."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from modelwire.command.standard_streams import has_terminal

# The place of the local flags in the list that `termios.tcgetattr` returns.
_LOCAL_FLAGS = 3


@contextmanager
def without_echo() -> Iterator[None]:
    """Switch the echo off for a block. Text that is typed meanwhile appears at the next prompt, also after Ctrl-C."""
    with _flags(echoes=False):
        yield


@contextmanager
def with_echo() -> Iterator[None]:
    """Switch the echo on for a block, such as a question to the user within `without_echo`."""
    with _flags(echoes=True):
        yield


@contextmanager
def _flags(*, echoes: bool) -> Iterator[None]:
    if not has_terminal():
        yield
        return
    try:
        termios: Any = import_module("termios")
    except ImportError:  # Windows has no such terminals
        yield
        return
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    changed = [*before]
    # Without NOFLSH, Ctrl-C would discard the text that was typed.
    if echoes:
        changed[_LOCAL_FLAGS] |= termios.ECHO
        changed[_LOCAL_FLAGS] &= ~termios.NOFLSH
    else:
        changed[_LOCAL_FLAGS] &= ~termios.ECHO
        changed[_LOCAL_FLAGS] |= termios.NOFLSH
    termios.tcsetattr(terminal, termios.TCSANOW, changed)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSANOW, before)
