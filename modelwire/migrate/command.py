"""The command `modelwire migrate PATH...`: shows how imports would change and which cannot; `--write` changes files."""
# ruff: noqa: T201 - a command prints

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from modelwire.errors import MissingDependency

if TYPE_CHECKING:
    from modelwire.migrate.programs import Migrated


def register(commands: Any) -> None:
    """Declare the command, its options and the function that runs it."""
    parser = commands.add_parser(
        "migrate",
        help="rewrite the imports of programs written for LangChain",
        description="Show how the imports of .py and .ipynb files would change, and which have no equivalent and why. "
        "Nothing is written without --write.",
    )
    parser.add_argument(
        "paths", nargs="+", metavar="PATH", help="a .py or .ipynb file, or a folder with such files"
    )
    parser.add_argument("--write", action="store_true", help="change the files")
    parser.set_defaults(run=_migrate)


def _migrate(options: argparse.Namespace) -> int:
    try:
        from modelwire.migrate.programs import migrate_file, programs
    except ImportError as exc:
        if exc.name is None or exc.name.partition(".")[0] != "libcst":
            raise
        raise MissingDependency(
            "`modelwire migrate` needs libcst: `pip install 'modelwire[migrate]'`."
        ) from exc
    seen = changed = unreadable = 0
    for path in programs(options.paths):
        seen += 1
        done = migrate_file(path)
        unreadable += done.problem is not None
        changed += done.after != done.before
        _show(done)
        if options.write and done.after != done.before:
            path.write_bytes(done.after)
    verb = "rewritten" if options.write else "would change; --write writes them"
    print(f"{changed} of {seen} files {verb}.", file=sys.stderr)
    return 1 if unreadable else 0


def _show(done: Migrated) -> None:
    if done.after != done.before:
        print(done.diff, end="")
    if done.problem is not None:
        print(f"{done.path}: {done.problem}", file=sys.stderr)
    if done.left:
        print(
            f"{done.path}: {done.imports} imports have an equivalent, {len(done.left)} need your attention:",
            file=sys.stderr,
        )
    for left in done.left:
        where = ""
        if left.line:
            where = f"line {left.line}: "
        print(f"  {where}{left.what}: {left.why}.", file=sys.stderr)
