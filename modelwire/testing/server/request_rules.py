"""The common part of all wires' rules for requests: problems, the table of fields, tool calls and results. No I/O.

A rule is in the module of its wire (`chat_rules.py` and others) only if the provider enforces it, and its text is the
provider's own. What a model of one family does not take is not checked; `prompt_cache.py` counts the cache marks.
`request_fields.json` has the fields of the SDKs' types (openai 3.54, anthropic 2.12, google-genai 3.4).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from pydantic_core import from_json

from modelwire.aliases import JSON


class Problem(NamedTuple):
    """The reason why a provider refuses a request; OpenAI names the parameter and a code, too."""

    message: str
    param: str | None = None
    code: str | None = None


@cache
def table() -> JSON:
    """Return the table of `request_fields.json`, which is read once."""
    text = files(__package__).joinpath("request_fields.json").read_text("utf-8")
    table: JSON = from_json(text)
    return table


def fields_of(wire: str) -> JSON:
    """Return the names of the fields of a body and of its parts."""
    fields: JSON = table()[wire]
    return fields


class Turn(NamedTuple):
    """A message, or several that count as one, with the ids of the tool calls and of the results in it."""

    place: int
    role: str
    calls: list[str]
    results: list[str]


def objects(value: Any) -> Iterator[tuple[int, JSON]]:
    """Yield the objects of a list with their places. A value that is not a list has none."""
    if isinstance(value, list):
        for index, one in enumerate(value):
            if isinstance(one, dict):
                yield (index, one)


def turns_of(
    messages: Any, content: str, call: str, result: str, *, name: str, role: str = "None"
) -> Iterator[Turn]:
    """Yield the turns of a wire whose blocks have the fields `call` or `result`, and a `name` in them.

    `content` is the field of a message with its blocks, `role` that of a message without one.
    """
    for index, message in objects(messages):
        blocks = [block for _, block in objects(message.get(content))]
        calls = [str(block[call].get(name)) for block in blocks if call in block]
        results = [str(block[result].get(name)) for block in blocks if result in block]
        yield Turn(index, str(message.get("role", role)), calls, results)


def joined(turns: Iterator[Turn], roles: Collection[str]) -> list[Turn]:
    """Return the turns; successive ones of one of `roles` are one."""
    found: list[Turn] = []
    for turn in turns:
        last = found[-1:]
        if turn.role in roles and last and last[0].role == turn.role:
            last[0].calls.extend(turn.calls)
            last[0].results.extend(turn.results)
        else:
            found.append(turn)
    return found


def unpaired(turns: list[Turn]) -> Iterator[tuple[Turn, list[str], bool]]:
    """Yield each turn with calls that the next one does not answer, or with results that have no call before."""
    silent = Turn(len(turns), "", [], [])
    for before, turn in zip([silent, *turns], [*turns, silent], strict=True):
        missing = [one for one in before.calls if one not in turn.results]
        if missing:
            yield before, missing, False
        unasked = [one for one in turn.results if one not in before.calls]
        if unasked:
            yield turn, unasked, True
