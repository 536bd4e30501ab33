"""Google's rules for requests to generateContent. No I/O.

The error texts are copied from public issues, read 2026-11.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelwire.aliases import JSON
from modelwire.testing.server.request_rules import (
    Problem,
    Problems,
    Turn,
    fields_of,
    objects,
    turns_of,
)

if TYPE_CHECKING:
    from modelwire.testing.server.requests import SeenRequest


def gemini_problems(body: JSON, request: SeenRequest) -> Problems:
    known = fields_of("gemini")
    contents = body.get("contents")
    if not contents:
        yield Problem("* GenerateContentRequest.contents: contents is not specified\n")
    yield from _cannot_find("", body, known["body"])
    config = body.get("generationConfig") or body.get("generation_config") or {}
    yield from _cannot_find("generation_config", config, known["generationConfig"])
    for index, content in objects(contents):
        yield from _cannot_find(f"contents[{index}]", content, known["content"])
        if content.get("role") not in ("user", "model", "function", None):
            yield Problem("Please use a valid role: user, model.")
        for place, part in objects(content.get("parts")):
            yield from _cannot_find(f"contents[{index}].parts[{place}]", part, known["part"])
    turns = turns_of(
        contents, "parts", "functionCall", "functionResponse", name="name", role="user"
    )
    yield from _order(list(turns))


def _cannot_find(where: str, value: JSON, known: list[str]) -> Problems:
    """Yield a problem for each unknown field. Protocol buffers accept names in camelCase and snake_case."""
    at = ""
    if where:
        at = f" at '{where}'"
    for name in value:
        first, *others = name.split("_")
        in_camel_case = first + "".join(map(str.capitalize, others))
        if in_camel_case not in known and name not in known:
            message = (
                f'Invalid JSON payload received. Unknown name "{name}"{at}: Cannot find field.'
            )
            yield Problem(message)


def _order(turns: list[Turn]) -> Problems:
    nothing = Turn(-1, "", [], [])
    for before, turn in zip([nothing, *turns], [*turns, nothing], strict=True):
        if turn.calls and before.role not in ("user", "function"):
            yield Problem(
                "Please ensure that function call turn comes immediately after a user turn or after a function"
                " response turn."
            )
        if turn.results and not before.calls:
            yield Problem(
                "Please ensure that function response turn comes immediately after a function call turn."
            )
        if len(turn.results) != len(before.calls):
            yield Problem(
                "Please ensure that the number of function response parts is equal to the number of function call"
                " parts of the function call turn."
            )
