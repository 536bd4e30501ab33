"""Anthropic's rules for requests to Messages. No I/O.

The error texts are copied from public issues and from
https://platform.claude.com/docs/en/build-with-claude/handling-stop-reasons, read 2026-11.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from modelwire.aliases import JSON
from modelwire.testing.server.request_rules import (
    Problem,
    Problems,
    Turn,
    fields_of,
    joined,
    objects,
    unpaired,
)

if TYPE_CHECKING:
    from modelwire.testing.server.requests import SeenRequest


def messages_problems(body: JSON, request: SeenRequest) -> Problems:
    known = fields_of("anthropic")
    fields = known["body"]
    has_betas = "anthropic-beta" in request.headers or "beta=true" in request.query
    if has_betas:
        fields = known["body with betas"]
    for name in ("max_tokens", "messages", "model"):
        if name not in body:
            yield Problem(f"{name}: Field required")
    for name in body:
        if name not in fields:
            yield _extra(name)
    for index, tool in objects(body.get("tools")):
        kind = str(tool.get("type") or "custom")
        where = f"tools.{index}.{kind}"
        yield from _extra_in(where, tool, known["tools"].get(kind))
    for index, message in objects(body.get("messages")):
        if message.get("role") not in ("user", "assistant", "system"):
            yield Problem(f"messages.{index}.role: Input should be 'user' or 'assistant'")
        yield from _extra_in(f"messages.{index}", message, ["role", "content"])
        for place, block in objects(message.get("content")):
            kind = str(block.get("type"))
            where = f"messages.{index}.content.{place}.{kind}"
            yield from _extra_in(where, block, known["content"].get(kind))
    yield from _pairs(body)


def _pairs(body: JSON) -> Problems:
    for turn, ids, is_result in unpaired(joined(_turns(body), ["user", "assistant"])):
        where = f"messages.{turn.place}"
        named = ", ".join(ids)
        if is_result:
            yield Problem(
                f"{where}.content.0: unexpected `tool_use_id` found in `tool_result` blocks: {named}. Each"
                " `tool_result` block must have a corresponding `tool_use` block in the previous message."
            )
        else:
            yield Problem(
                f"{where}: `tool_use` ids were found without `tool_result` blocks immediately after: {named}."
                " Each `tool_use` block must have a corresponding `tool_result` block in the next message."
            )


def _extra(path: str) -> Problem:
    return Problem(f"{path}: Extra inputs are not permitted")


def _extra_in(where: str, value: JSON, known: list[str] | None) -> Problems:
    """Yield a problem for each field of `value` that is not in `known`; None skips the check."""
    if known is not None:
        for name in value:
            if name not in known:
                yield _extra(f"{where}.{name}")


def _turns(body: JSON) -> Iterator[Turn]:
    for index, message in objects(body.get("messages")):
        turn = Turn(index, str(message.get("role")), [], [])
        for _, block in objects(message.get("content")):
            kind = block.get("type")
            if kind == "tool_use":
                turn.calls.append(str(block.get("id")))
            elif kind == "tool_result":
                turn.results.append(str(block.get("tool_use_id")))
        yield turn
