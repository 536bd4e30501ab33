"""The common part of all wires' rules for requests: problems, the table of fields, tool calls and results. No I/O.

A rule is in the module of its wire (`chat_rules.py` and others) only if the provider enforces it, and its text is the
provider's own. Parameters that only some models reject are not checked; `prompt_cache.py` checks the cache marks.
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
    """The reason why a provider rejects a request; OpenAI names the parameter and a code, too."""

    message: str
    param: str | None = None
    code: str | None = None


Problems = Iterator[Problem]


@cache
def table(file: str) -> JSON:
    """Return the JSON object in a file of this package, which is read once."""
    text = files(__package__).joinpath(file).read_text("utf-8")
    table: JSON = from_json(text)
    return table


def fields_of(wire: str) -> JSON:
    """Return the names of the fields that the requests of a wire may have, and their parts."""
    fields: JSON = table("request_fields.json")[wire]
    return fields


class Turn(NamedTuple):
    """A message, or several that count as one, with the ids of the tool calls and of the results in it."""

    place: int
    role: str
    calls: list[str]
    results: list[str]


def objects(value: Any) -> Iterator[tuple[int, JSON]]:
    """Yield (index, item) for each dict in a list; nothing if `value` is not a list."""
    if isinstance(value, list):
        for index, one in enumerate(value):
            if isinstance(one, dict):
                yield (index, one)


def turns_of(
    messages: Any, content: str, call: str, result: str, *, name: str, role: str = "None"
) -> Iterator[Turn]:
    """Yield a turn for each message, for wires that name the kind of a block by a field of it, such as `toolUse`.

    `content` is the field of a message with its blocks, `call` and `result` are the fields of blocks with
    tool calls and results, and `name` is the field in them with the id. `role` is that of a message without one.
    """
    for index, message in objects(messages):
        turn = Turn(index, str(message.get("role", role)), [], [])
        for _, block in objects(message.get(content)):
            if call in block:
                turn.calls.append(str(block[call].get(name)))
            if result in block:
                turn.results.append(str(block[result].get(name)))
        yield turn


def joined(turns: Iterator[Turn], roles: Collection[str]) -> list[Turn]:
    """Return the turns, in which successive ones of the same role are merged if it is one of `roles`."""
    found: list[Turn] = []
    role: str | None = None
    for turn in turns:
        if turn.role == role and role in roles:
            found[-1].calls.extend(turn.calls)
            found[-1].results.extend(turn.results)
        else:
            found.append(turn)
        role = turn.role
    return found


def unpaired(turns: list[Turn]) -> Iterator[tuple[Turn, list[str], bool]]:
    """Yield (turn, ids, False) for calls without a result in the next turn, and (turn, ids, True) for results
    without a call in the turn before.
    """
    before = Turn(-1, "", [], [])
    for turn in [*turns, Turn(len(turns), "", [], [])]:
        missing = [one for one in before.calls if one not in turn.results]
        if missing:
            yield before, missing, False
        unasked = [one for one in turn.results if one not in before.calls]
        if unasked:
            yield turn, unasked, True
        before = turn
