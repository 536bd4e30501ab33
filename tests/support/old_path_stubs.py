"""The stubs that show old import paths to type checkers. Run this file to write them.

A path of `modelwire.compat` has no file, and a type checker finds no module there. Beside a package of ours a `.pyi` is
enough; below a path that is none itself it would need a folder, which Python would take for a package.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from modelwire import compat

PACKAGE = Path(compat.__file__).parents[1]


def stubs() -> Iterator[tuple[Path, str]]:
    """Yield the place and the text of each stub."""
    for path, homes in compat.PATHS.items():
        place = PACKAGE.joinpath(*path.split(".")).with_suffix(".pyi")
        if (place.parent / "__init__.py").exists():
            names = ((home, name) for home in sorted(homes) for name in homes[home].split())
            yield place, "".join(_import(home, name) for home, name in names)


def _import(home: str, name: str) -> str:
    line = f"from {home} import {name} as {name}\n"
    return line if len(line) <= 101 else f"from {home} import (\n    {name} as {name},\n)\n"


if __name__ == "__main__":
    for place, text in stubs():
        place.write_text(text, encoding="utf-8")
