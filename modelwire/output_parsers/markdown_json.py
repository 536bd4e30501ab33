"""Parses the JSON in a model's text: bare, or in a markdown code block with prose around it. Pure; linear time."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from pydantic_core import from_json

from modelwire.aliases import JSON
from modelwire.errors import InvalidArgument, OutputParserException
from modelwire.messages.partial_json import parse_partial_json

_FENCE = re.compile(r"```(?:json[c5]?\b)?\s*", re.IGNORECASE)
# At most this many code blocks are searched; each may cost a scan of the whole text.
_MOST_FENCES = 20


def parse_json_markdown(
    json_string: str, *, parser: Callable[[str], Any] = parse_partial_json
) -> Any:
    """Return the value of a text that is JSON, or else of its first code block that is JSON.

    Text after the value is ignored. The default `parser` accepts JSON that is cut short. Raises: `InvalidArgument`
    (a `ValueError`) if there is no JSON.
    """
    try:
        return parser(json_string.strip(" \n\r\t`"))
    except ValueError as exc:
        for start in _code_starts(json_string):
            try:
                return parser(json_string[start:])
            except ValueError:
                continue
        raise InvalidArgument(f"The text is not JSON, and no code block in it is: {exc}") from exc


def parse_complete_json(text: str) -> Any:
    """Return the value of complete JSON; raw line breaks in strings and text after the value are accepted.

    Raises: `ValueError` for everything else.
    """
    try:
        return from_json(text)
    except (
        ValueError,
        TypeError,
    ) as exc:  # `from_json` raises TypeError for a lone surrogate in the text.
        begun = text.lstrip()
        if not begun.startswith(("{", "[", '"')):
            raise InvalidArgument(f"The text is not JSON: {exc}.") from exc
    import json

    try:
        return json.JSONDecoder(strict=False).raw_decode(begun)[0]
    except RecursionError as exc:
        raise InvalidArgument("The JSON is nested too deeply.") from exc


def parse_and_check_json_markdown(text: str, expected_keys: list[str]) -> JSON:
    """Return a JSON object that has all of `expected_keys`. Raises: `OutputParserException`."""
    try:
        found = parse_json_markdown(text)
    except ValueError as exc:
        raise OutputParserException(
            f"Got invalid JSON object. Error: {exc}", llm_output=text
        ) from exc
    if not isinstance(found, dict):
        raise OutputParserException(
            f"Expected JSON object (dict), but got: {type(found).__name__}.", llm_output=text
        )
    for key in expected_keys:
        if key not in found:
            raise OutputParserException(
                f"Got invalid return object. Expected key `{key}` to be present, but got {found}",
                llm_output=text,
            )
    return found


def _code_starts(text: str) -> Iterator[int]:
    """Yield the position at which the text of each code block starts."""
    position = 0
    for _ in range(_MOST_FENCES):
        fence = _FENCE.search(text, position)
        if fence is None:
            return
        position = fence.end()
        yield position
