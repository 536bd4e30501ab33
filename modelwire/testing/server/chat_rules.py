"""OpenAI's rules for requests to Chat Completions and Responses. No I/O.

The error texts are copied from public issues, read 2026-11.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

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


def _required(body: JSON, names: Collection[str]) -> Problems:
    for name in names:
        if name not in body:
            message = f"Missing required parameter: '{name}'."
            yield Problem(message, name, "missing_required_parameter")


def _unknown(path: str) -> Problem:
    return Problem(f"Unknown parameter: '{path}'.", path, "unknown_parameter")


def _unknown_in(name: str, value: Any, key: str, known: dict[str, list[str]]) -> Problems:
    """Yield a problem for each unknown field in a list of objects; their field `key` names their type."""
    for index, one in objects(value):
        fields = known.get(str(one.get(key)))
        if fields is not None:
            for field in one:
                if field not in fields:
                    yield _unknown(f"{name}[{index}].{field}")


def chat_problems(body: JSON, request: SeenRequest) -> Problems:
    known = fields_of("openai")
    fields = known["body"]
    required = ["model", "messages"]
    if "/deployments/" in request.path:
        # On Azure the URL names the model, and a request may have `data_sources`:
        # https://learn.microsoft.com/azure/ai-services/openai/reference, read 2026-11.
        fields = [*fields, "data_sources"]
        required = ["messages"]
    yield from _required(body, required)
    for name in body:
        if name not in fields:
            yield Problem(f"Unrecognized request argument supplied: {name}")
    yield from _unknown_in("tools", body.get("tools"), "type", known["tools"])
    yield from _unknown_roles(body.get("messages"), list(known["messages"]))
    yield from _unknown_in("messages", body.get("messages"), "role", known["messages"])
    yield from _chat_pairs(body)


def _unknown_roles(messages: object, roles: list[str]) -> Problems:
    supported = ", ".join(f"'{role}'" for role in roles)
    for index, one in objects(messages):
        role = one.get("role")
        if role not in roles:
            message = f"Invalid value: '{role}'. Supported values are: {supported}."
            yield Problem(message, f"messages[{index}].role", "invalid_value")


def _chat_pairs(body: JSON) -> Problems:
    turns = joined(_chat_turns(body), ["tool"])
    for turn, ids, is_result in unpaired(turns):
        where = f"messages.[{turn.place}].role"
        if is_result:
            message = (
                "Invalid parameter: messages with role 'tool' must be a response to a preceeding"
                " message with 'tool_calls'."
            )
            yield Problem(message, where)
        else:
            message = (
                "An assistant message with 'tool_calls' must be followed by tool messages responding to each"
                " 'tool_call_id'. The following tool_call_ids did not have response messages: "
            )
            yield Problem(message + ", ".join(ids), where)


def _chat_turns(body: JSON) -> Iterator[Turn]:
    for index, one in objects(body.get("messages")):
        turn = Turn(index, str(one.get("role")), [], [])
        for _, call in objects(one.get("tool_calls")):
            turn.calls.append(str(call.get("id")))
        if "tool_call_id" in one:
            turn.results.append(str(one["tool_call_id"]))
        yield turn


def responses_problems(body: JSON, request: SeenRequest) -> Problems:
    known = fields_of("responses")
    yield from _required(body, ["model"])
    for name in body:
        if name not in known["body"]:
            yield _unknown(name)
    yield from _unknown_in("tools", body.get("tools"), "type", known["tools"])
    yield from _unknown_in("input", body.get("input"), "type", known["input"])
    if "previous_response_id" in body or "conversation" in body:
        return  # The provider has stored the earlier items, which may have the other half of a pair.
    calls = set[str]()
    results = set[str]()
    for _, item in objects(body.get("input")):
        kind = item.get("type")
        call_id = str(item.get("call_id"))
        if kind in _CALLS_OF_RESPONSES:
            calls.add(call_id)
        elif kind in _RESULTS_OF_RESPONSES:
            results.add(call_id)
    for one in sorted(results - calls):
        yield Problem(f"No tool call found for function call output with call_id {one}.", "input")
    for one in sorted(calls - results):
        yield Problem(f"No tool output found for function call {one}.", "input")


_CALLS_OF_RESPONSES = ("function_call", "custom_tool_call")
_RESULTS_OF_RESPONSES = ("function_call_output", "custom_tool_call_output")
