"""How large and how dense the package is, counted on its syntax trees, which no formatting changes."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import NamedTuple

from support.parsed import MODULES, PACKAGE, descendants, nodes

# What stands on the core. The core may be installed without these (HOUSE, section 2).
EXTENSIONS = (
    "jobs",
    "compare",
    "fleet",
    "langchain",
    "local",
    "command",
    "cli",
    "migrate",
    "otel",
    "notebooks",
    "__main__",
    "testing.server",
    "testing.cassettes",
    "testing.pytest_plugin",
    "testing.serve_command",
)
DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef


class Volume(NamedTuple):
    """The sums of several modules."""

    nodes: int
    code_lines: int
    conditional_expressions: int

    @property
    def nodes_a_line(self) -> float:
        """Return the density: httpx, h11 and attrs have 5.2 to 6.5."""
        return self.nodes / self.code_lines

    @property
    def conditional_expressions_in_1000_lines(self) -> float:
        """Return how many decisions are made inside expressions."""
        return 1000 * self.conditional_expressions / self.code_lines


def module_name(path: Path) -> str:
    """Return `adapters.model.http` for `modelwire/adapters/model/http.py`, and an empty text for the package."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_within(module: str, part: str) -> bool:
    """Return whether `module` is `part` or stands below it."""
    return module == part or module.startswith(f"{part}.")


def is_extension(path: Path) -> bool:
    """Return whether the module belongs to what stands on the core."""
    return any(is_within(module_name(path), part) for part in EXTENSIONS)


def node_count(node: ast.AST) -> int:
    """Return the number of nodes of a syntax tree, its root included."""
    return len(descendants(node))


@cache
def volume_of_module(path: Path) -> Volume:
    """Return what one module adds to the sums."""
    conditional = sum(isinstance(node, ast.IfExp) for node in nodes(path))
    return Volume(len(nodes(path)), len(_code_lines(path)), conditional)


def volume(*, of_extensions: bool) -> Volume:
    """Return the sums of the extensions, or those of the core."""
    volumes = [volume_of_module(path) for path in MODULES if is_extension(path) == of_extensions]
    return Volume(*map(sum, zip(*volumes, strict=True)))


def _code_lines(path: Path) -> set[int]:
    """Return the numbers of the lines with a token that is neither a comment nor part of a docstring.

    They are read off the tree, in which a text has all its lines: `tokenize` takes 20 times as long.
    """
    documentation = set[int]()
    texts = set[int]()
    for node in nodes(path):
        if isinstance(node, DOCUMENTED):
            for statement in node.body:
                if _is_documentation(statement):
                    documentation.update(_lines_of(statement))
        elif isinstance(node, ast.Constant | ast.JoinedStr) and node.end_lineno != node.lineno:
            texts.update(_lines_of(node))
    written = [line.strip() for line in path.read_text(encoding="utf-8").split("\n")]
    code = {number for number, line in enumerate(written, 1) if line and line[0] != "#"}
    return (code | texts) - documentation


def _lines_of(node: ast.expr | ast.stmt) -> range:
    return range(node.lineno, (node.end_lineno or 0) + 1)


def _is_documentation(statement: ast.stmt) -> bool:
    """Return whether the statement is a text by itself, which documents what stands above it."""
    if not isinstance(statement, ast.Expr) or not isinstance(statement.value, ast.Constant):
        return False
    return isinstance(statement.value.value, str)
