"""Google style docstrings, as far as tools need them: what the function does, and what its arguments mean.

Style: https://google.github.io/styleguide/pyguide.html#383-functions-and-methods, read 2026-11. No I/O here.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from modelwire.errors import InvalidArgument

__all__ = ["parse_google_docstring"]

_ARGUMENTS = ("Args:", "Arguments:")
_SECTION = re.compile(r"^(Args|Arguments|Returns|Return|Yields|Raises|Example|Examples|Note|Notes|Attributes):")


def parse_google_docstring(
    docstring: str | None, *, named: Collection[str] | None = None, where: str = "the function"
) -> tuple[str, dict[str, str]]:
    """Return the description and what is said of each argument.

    The description is what stands before the first section, its paragraphs joined by a space. With `named`, the names
    of the arguments that there are, a docstring that does not fit raises `InvalidArgument`: no section of arguments
    where there are some, or one that is not there.
    """
    paragraphs = re.split(r"\n[ \t]*\n", (docstring or "").strip("\n"))
    said: list[str] = []
    arguments: str | None = None
    for paragraph in paragraphs:
        if paragraph.startswith(_ARGUMENTS):
            arguments = paragraph
        elif arguments is not None:
            if not paragraph.startswith((" ", "\t")):
                break
            arguments += "\n" + paragraph  # after a blank line inside of the section
        elif not _SECTION.match(paragraph):
            said.append(paragraph.strip())
        elif said:
            break
    found = _descriptions(arguments) if arguments is not None else {}
    if named is not None:
        _check(found, named, where)
    return " ".join(part for part in said if part), found


def _descriptions(section: str) -> dict[str, str]:
    """Read `name (type): text` lines; deeper lines continue the text before them."""
    found: dict[str, str] = {}
    name: str | None = None
    margin: int | None = None
    for line in section.splitlines()[1:]:
        if not line.strip():
            continue
        indent = len(line) - len(line.lstrip())
        margin = indent if margin is None else margin
        head, colon, text = line.partition(":")
        if name is not None and (indent > margin or not colon):
            found[name] = f"{found[name]} {line.strip()}".strip()
        elif colon:
            name = head.split("(")[0].strip().lstrip("*")
            found[name] = text.strip()
    return found


def _check(found: dict[str, str], named: Collection[str], where: str) -> None:
    if named and not found:
        raise InvalidArgument(
            f"Found invalid Google-Style docstring in `{where}`: it says nothing of `{'`, `'.join(named)}`. Write a "
            "blank line, `Args:`, and below it one indented line `name: what it means` for each argument."
        )
    for name in found:
        if name not in named:
            raise InvalidArgument(
                f"Arg {name} in docstring not found in function signature of `{where}`, "
                f"which takes {', '.join(f'`{known}`' for known in named) or 'none'}."
            )
