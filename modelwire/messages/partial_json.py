"""Read JSON that is still being written. Pure; linear; nesting beyond the parser's limit is an error, never a crash."""

from __future__ import annotations

import re
from typing import Any

from pydantic_core import from_json

from modelwire.errors import InvalidArgument

__all__ = ["parse_partial_json"]

_STRING = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\\?\Z)', re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f]")
_CUT_NUMBER = re.compile(r"(?<=\d)(?:\.|[eE][+-]?)\Z")


def parse_partial_json(s: str, *, strict: bool = False) -> Any:
    """Parse JSON as far as it goes: open strings, arrays and objects count as closed, a half key or word as absent.

    Raw line breaks and tabs inside strings, which models write, are taken as meant; `strict` refuses them.
    Raises `InvalidArgument` (a `ValueError`) where no value has begun or the text is not JSON.
    """
    text = s
    if _CUT_NUMBER.search(s) and _CUT_NUMBER.search(_STRING.sub("", s)):
        text = _CUT_NUMBER.sub("", s)  # outside of strings, "1." and "1e" have said 1 so far
    try:
        return from_json(text, allow_partial="trailing-strings")
    except (ValueError, TypeError) as exc:  # TypeError: a lone surrogate in the str itself
        if strict or not _CONTROL.search(text):
            raise InvalidArgument(f"The text is not JSON, not even the beginning of it: {exc}.") from exc
    try:
        return from_json(_STRING.sub(_escape_controls, text), allow_partial="trailing-strings")
    except ValueError as exc:
        raise InvalidArgument(f"The text is not JSON, not even the beginning of it: {exc}.") from exc


def _escape_controls(string: re.Match[str]) -> str:
    return _CONTROL.sub(lambda control: f"\\u{ord(control.group()):04x}", string.group())
