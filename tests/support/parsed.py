"""The package's own modules as syntax trees; each is parsed once a process, for all tests that read the code."""

from __future__ import annotations

import ast
import gc
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "modelwire"
MODULES = sorted(PACKAGE.rglob("*.py"))


@cache
def parsed(path: Path) -> ast.Module:
    """Return the tree of a module. The garbage collector does not look at it while it is made.

    It is not frozen: `gc.freeze()` would also keep what tests before have left, and some count what is alive.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return ast.parse(path.read_text(encoding="utf-8"))
    finally:
        if was_enabled:
            gc.enable()


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """Return all nodes of a module's tree, each before those below it. It is walked once a process."""
    return descendants(parsed(path))


def descendants(root: ast.AST) -> tuple[ast.AST, ...]:
    """Return a node and all below it, as `ast.walk` does in three times the time."""
    found = [root]
    for node in found:
        for name in node._fields:
            value = getattr(node, name, None)
            if isinstance(value, ast.AST):
                found.append(value)
            elif isinstance(value, list):
                found += [one for one in value if isinstance(one, ast.AST)]
    return tuple(found)
