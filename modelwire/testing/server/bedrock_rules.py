"""Amazon's rules for requests to Converse. No I/O.

The API ignores unknown fields, so there is no rule for them. The error texts are copied from public issues,
read 2026-11.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from modelwire.aliases import JSON
from modelwire.testing.server.request_rules import Problem, Problems, turns_of, unpaired

if TYPE_CHECKING:
    from modelwire.testing.server.requests import SeenRequest


def converse_problems(body: JSON, request: SeenRequest) -> Problems:
    turns = list(
        turns_of(body.get("messages"), "content", "toolUse", "toolResult", name="toolUseId")
    )
    roles = [turn.role for turn in turns]
    if turns and roles[0] != "user":
        yield Problem(
            "A conversation must start with a user message."
            " Try again with a conversation that starts with a user message."
        )
    if any(one == other for one, other in pairwise(roles)):
        yield Problem(
            "A conversation must alternate between user and assistant roles. Make sure the conversation alternates"
            " between user and assistant roles and try again."
        )
    if "toolConfig" not in body and any(turn.calls or turn.results for turn in turns):
        yield Problem(
            "The toolConfig field must be defined when using toolUse and toolResult content blocks."
        )
    for turn, ids, is_result in unpaired(turns):
        if is_result:
            where = f"messages.{turn.place}.content"
            yield Problem(
                f"The number of toolResult blocks at {where} exceeds the number of toolUse blocks of previous turn."
            )
        else:
            where = f"messages.{turn.place + 1}.content"
            yield Problem(
                f"Expected toolResult blocks at {where} for the following Ids: {', '.join(ids)}"
            )
