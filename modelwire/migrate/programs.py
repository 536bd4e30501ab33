"""Reads programs from disk, notebooks cell by cell, and shows their changes as a diff."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from modelwire.errors import InvalidArgument
from modelwire.migrate.rewrite import Left, rewrite

_SKIPPED = frozenset(
    ("__pycache__", "node_modules", "site-packages", "venv", "env", "build", "dist")
)
# These lines of a notebook are not Python: `%magic`, `!shell`, `?help`.
_MAGIC = re.compile(rb"^(\s*)(%|!|\?)(.*)$", re.MULTILINE)

# A cell that begins with one of these magics of IPython 9 is Python.
_PYTHON_CELLS = {"capture", "debug", "prun", "python", "python3", "time", "timeit"}


class Migrated(NamedTuple):
    """One file: its bytes before and after, the number of rewritten imports, and the names that were left unchanged.

    `problem` says why the file could not be read, or is None.
    """

    path: Path
    before: bytes
    after: bytes
    imports: int
    left: list[Left]
    problem: str | None = None

    @property
    def diff(self) -> str:
        """The change as a unified diff; empty if nothing changes."""
        from difflib import unified_diff

        old = self.before.decode("utf-8", "replace").splitlines(keepends=True)
        new = self.after.decode("utf-8", "replace").splitlines(keepends=True)
        name = self.path.as_posix()
        lines = unified_diff(old, new, name, name)
        return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)


def programs(paths: Iterable[str | Path]) -> Iterator[Path]:
    """Yield the .py and .ipynb files among `paths` and in their folders, sorted.

    Raises: `InvalidArgument`.
    """
    for path in map(Path, paths):
        if path.is_dir():
            for found in sorted(path.rglob("*")):
                inner = found.relative_to(path).parts
                is_skipped = (
                    any(part.startswith(".") or part in _SKIPPED for part in inner)
                    or found.is_dir()
                )
                if found.suffix in (".py", ".ipynb") and not is_skipped:
                    yield found
        elif path.suffix in (".py", ".ipynb") and path.is_file():
            yield path
        else:
            what = "is neither `.py` nor `.ipynb`" if path.exists() else "does not exist"
            raise InvalidArgument(
                f"`{path}` {what}: name programs, notebooks, or folders with them."
            )


def migrate_file(path: Path) -> Migrated:
    """Read one file, and return its rewritten text. The file itself is not changed."""
    before = b""
    try:
        before = path.read_bytes()
        if b"langchain" not in before and b"langgraph" not in before:
            return Migrated(path, before, before, 0, [])
        if path.suffix == ".ipynb":
            return _migrate_notebook(path, before)
        done = rewrite(before)
    except (OSError, SyntaxError, ValueError) as exc:
        return Migrated(
            path, before, before, 0, [], f"cannot be read: {getattr(exc, 'strerror', None) or exc}"
        )
    return Migrated(path, before, done.text, done.imports, done.left)


def _migrate_notebook(path: Path, before: bytes) -> Migrated:
    text = before.decode("utf-8")
    notebook = json.loads(text)
    cells = None
    if isinstance(notebook, dict):
        cells = notebook.get("cells")
    if not isinstance(cells, list) or not all(isinstance(cell, dict) for cell in cells):
        raise ValueError("it is JSON, but not a notebook with cells")
    imports = 0
    left = []
    for number, cell in enumerate(cells, 1):
        if cell.get("cell_type") != "code":
            continue
        source = cell.get("source") or ""
        joined = "".join(source)
        if "langchain" not in joined and "langgraph" not in joined:
            continue
        try:
            changed, count, unmoved = _migrate_cell(joined)
        except SyntaxError as exc:
            left.append(Left(0, f"cell {number}", f"it cannot be read ({exc}): check it yourself"))
            continue
        imports += count
        left += [one._replace(what=f"cell {number}, {one.what}") for one in unmoved]
        if changed != joined:
            if isinstance(source, str):
                cell["source"] = changed
            else:
                cell["source"] = changed.splitlines(keepends=True)
    keeping = [one for one in left if one.keeps_file]
    if keeping or not imports:
        return Migrated(path, before, before, 0, keeping or left)
    return Migrated(path, before, _written(notebook, text), imports, left)


def _migrate_cell(source: str) -> tuple[str, int, list[Left]]:
    """Rewrite one cell; return its text, the number of rewritten imports, and those left unchanged.

    Lines that are not Python are replaced before the cell is parsed, and restored afterwards.
    """
    magic = re.match(r"\s*%%(\w+)", source)
    if magic is not None and magic[1] not in _PYTHON_CELLS:
        why = "the cell is in another language: check it yourself"
        return source, 0, [Left(1, f"`%%{magic[1]}`", why)]
    hidden: list[bytes] = []

    def hide(match: re.Match[bytes]) -> bytes:
        hidden.append(match.group(2) + match.group(3))
        return match.group(1) + b"pass  # modelwire-hidden-%d-" % (len(hidden) - 1)

    done = rewrite(_MAGIC.sub(hide, source.encode()))
    shown = re.sub(
        rb"pass  # modelwire-hidden-(\d+)-", lambda match: hidden[int(match.group(1))], done.text
    )
    return shown.decode(), done.imports, done.left


def _written(notebook: Any, text: str) -> bytes:
    """Return a notebook as JSON with its original indentation: Jupyter indents by one space, other tools by more."""
    first = re.search(r"\n( +)", text)
    indent = None
    if first:
        indent = len(first[1])
    written = json.dumps(notebook, indent=indent, ensure_ascii=False)
    if text.endswith("\n"):
        written += "\n"
    return written.encode()
