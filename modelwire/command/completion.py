"""`modelwire completion`: prints the script by which a shell completes commands, options and values, made by shtab."""

# ruff: noqa: T201 - a command prints

from __future__ import annotations

import argparse
from typing import Any

_SHELLS = ("bash", "zsh", "fish", "tcsh", "powershell")
# An argument whose placeholder or name is one of these is completed with paths of files, or of folders.
_FILES = frozenset({"FILE", "PATH", "SCHEMA", "file", "input", "recording"})
_FOLDERS = frozenset({"FOLDER"})
# zsh has no `compdef` until its completion is initialised. This line does that if the user's files do not.
_ZSH_START = "(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }"


def register(commands: Any) -> None:
    """Declare the command. Its caller sets the default `parser` to the whole parser, once that is built."""
    parser = commands.add_parser(
        "completion",
        help="print what makes your shell complete modelwire's commands",
        epilog='example: eval "$(modelwire completion bash)"',
    )
    parser.add_argument("shell", help="your shell", choices=_SHELLS)
    parser.set_defaults(run=_print)


def _print(options: argparse.Namespace) -> None:
    import shtab

    _mark_paths(options.parser, shtab.FILE, shtab.DIRECTORY)
    if options.shell == "zsh":
        print(_ZSH_START)
    print(shtab.complete(options.parser, shell=options.shell))


def _mark_paths(parser: argparse.ArgumentParser, file: Any, folder: Any) -> None:
    """Mark the arguments of a parser and its subparsers that are paths: shtab reads their attribute `complete`."""
    for action in parser._actions:
        name: Any = action.metavar or action.dest
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                _mark_paths(below, file, folder)
        elif name in _FILES:
            action.complete = file  # type: ignore[attr-defined]
        elif name in _FOLDERS:
            action.complete = folder  # type: ignore[attr-defined]
