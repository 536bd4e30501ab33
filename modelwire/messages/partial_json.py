"""Parses incomplete JSON.

Pure; linear; nesting beyond the parser's limit is an error, never a crash.
"""

from __future__ import annotations

import re
from typing import Any

from pydantic_core import from_json

from modelwire.errors import InvalidArgument

__all__ = ["parse_partial_json"]

_STRING = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\\?\Z)', re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f]")
_OPEN_NUMBER = re.compile(r"-?\d[\d.eE+-]*\Z|-\Z")
# A text is searched for an open number only if its last characters, this many, may be one.
_NUMBER_CHARS = 8
_CUT_NUMBER = re.compile(r"(?<=\d)(?:\.|[eE][+-]?)\Z")


def parse_partial_json(s: str, *, strict: bool = False) -> Any:
    """Return the value of JSON as far as it is complete. Open strings, arrays and objects are
    closed, partial keys dropped.

    A word in place of a value ends the JSON: the model has continued in prose. Raw line breaks and
    tabs inside strings, which models write, are accepted. `strict` allows neither.
    Raises: `InvalidArgument` (a `ValueError`) if no value has begun.
    """
    text = s
    if _CUT_NUMBER.search(s[-_NUMBER_CHARS:]) and _CUT_NUMBER.search(_STRING.sub("", s)):
        # Outside of strings, "1." and "1e" are 1 so far.
        text = _CUT_NUMBER.sub("", s)
    try:
        return from_json(text, allow_partial="trailing-strings")
    except (ValueError, TypeError) as exc:  # A lone surrogate in the str raises TypeError.
        if strict or isinstance(exc, TypeError):
            raise _no_json(exc) from exc
        failure = exc
    if _CONTROL.search(text):
        text = _STRING.sub(_escape_controls, text)
    data = text.encode("utf-8", "surrogatepass")
    for _ in range(_CUTS):
        try:
            return from_json(data, allow_partial="trailing-strings")
        except ValueError as exc:
            before = _before_the_word(data, exc)
            if before is None:
                break
            data = before
    raise _no_json(failure) from failure


def without_open_number(text: str) -> str:
    """Return JSON text without a number at its end, because further digits may follow: `{"a": 12` becomes `{"a": `."""
    if _OPEN_NUMBER.search(text[-_NUMBER_CHARS:]) and _OPEN_NUMBER.search(_STRING.sub("", text)):
        return _OPEN_NUMBER.sub("", text)
    return text


# A text is cut at most this many times before it is parsed again; the second cut is for a word that
# begins like `true`, `false` or `null`.
_CUTS = 2
# This finds the place in the errors of jiter, pydantic's JSON parser.
_WORD_AT = re.compile(r"expected (?:value|ident) at line (\d+) column (\d+)")


def _before_the_word(data: bytes, error: ValueError) -> bytes | None:
    """Return the data before the word that the parser found in place of a value; None for any other error."""
    place = _WORD_AT.match(str(error))
    if place is None:
        return None
    start = 0
    for _ in range(int(place[1]) - 1):
        start = data.find(b"\n", start) + 1
    # jiter counts columns in bytes from 1.
    end = start + int(place[2]) - 1
    if data[end : end + 1].isalpha():
        return data[:end]
    return None


def _no_json(exc: Exception) -> InvalidArgument:
    return InvalidArgument(f"The text is not JSON, not even the beginning of it: {exc}.")


def _escape_controls(string: re.Match[str]) -> str:
    return _CONTROL.sub(lambda control: f"\\u{ord(control.group()):04x}", string.group())
