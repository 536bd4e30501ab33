"""Reads Google style docstrings: the description of a function and those of its arguments.

Style: https://google.github.io/styleguide/pyguide.html#383-functions-and-methods, read 2026-11. No I/O here.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import cache
from typing import Any

from modelwire.errors import InvalidArgument

# The titles of sections that do not describe arguments.
_OTHERS = (
    "Returns",
    "Return",
    "Yields",
    "Raises",
    "Example",
    "Examples",
    "Note",
    "Notes",
    "Attributes",
)


def parse_google_docstring(
    docstring: str | None, *, named: Collection[str] | None = None, where: str = "the function"
) -> tuple[str, dict[str, str]]:
    """Return the description of the function, and that of each argument by its name.

    The description is the text before the first section, its paragraphs joined by a space. With `named`, the names
    of the function's arguments, a docstring that does not fit raises `InvalidArgument`: a section cannot be read or is
    missing, or it describes an argument that the function does not have. Without `named` such a section is ignored.
    """
    from docstring_parser import ParseError

    text = docstring or ""
    try:
        parsed = _parser().parse(text)
    except ParseError as exc:
        if named is not None:
            raise InvalidArgument(
                f"Found invalid Google-Style docstring in `{where}`: {exc}"
            ) from exc
        parsed = _parser().parse(
            re.split(r"^(?:Args|Arguments):", text, maxsplit=1, flags=re.MULTILINE)[0]
        )
    paragraphs = re.split(r"\n[ \t]*\n", parsed.description or "")
    found = {
        one.arg_name.lstrip("*"): " ".join((one.description or "").split()) for one in parsed.params
    }
    if named is not None:
        _check(found, named, where)
    return " ".join(paragraph.strip() for paragraph in paragraphs), found


@cache
def _parser() -> Any:
    """Return a parser that reads arguments one by one, and any other section as one text, which no model needs."""
    from docstring_parser.google import GoogleParser, Section, SectionType

    arguments = [Section(title, "param", SectionType.MULTIPLE) for title in ("Args", "Arguments")]
    return GoogleParser(
        [*arguments, *(Section(title, "examples", SectionType.SINGULAR) for title in _OTHERS)]
    )


def _check(found: dict[str, str], named: Collection[str], where: str) -> None:
    if named and not found:
        raise InvalidArgument(
            f"Found invalid Google-Style docstring in `{where}`: it does not describe `{'`, `'.join(named)}`. Write a "
            "blank line, `Args:`, and below it one indented line `name: what it means` for each argument."
        )
    for name in found:
        if name not in named:
            raise InvalidArgument(
                f"Arg {name} in docstring not found in function signature of `{where}`, "
                f"which takes {', '.join(f'`{known}`' for known in named) or 'none'}."
            )
