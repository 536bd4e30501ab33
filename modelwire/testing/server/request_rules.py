"""The requests that providers refuse: unknown parameters, wrong roles, tool calls without results. No I/O.

A rule stands here only if the provider enforces it, and the text is the provider's own. What a model of one family does
not take is not checked. `request_fields.json` has the fields of the SDKs' types (openai 3.54, anthropic 2.12,
google-genai 3.4). Amazon's API ignores unknown members, so that wire has no such rule. `prompt_cache.py` counts the
cache marks.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from functools import cache
from importlib.resources import files
from itertools import pairwise
from typing import Any, NamedTuple

from pydantic_core import from_json

from modelwire.testing.server.requests import SeenRequest

__all__ = ["Problem", "request_problem"]

JSON = dict[str, Any]


class Problem(NamedTuple):
    """The reason why a provider refuses a request; OpenAI names the parameter and a code, too."""

    message: str
    param: str | None = None
    code: str | None = None


def request_problem(wire: str, request: SeenRequest) -> Problem | None:
    """Return the first reason for which the provider of a wire would refuse the request."""
    return next(_RULES[wire](request.fields, request), None)


@cache
def _fields() -> JSON:
    table: JSON = from_json(files(__package__).joinpath("request_fields.json").read_text("utf-8"))
    return table


class Turn(NamedTuple):
    """A message, or several that count as one, with the ids of the tool calls and of the results in it."""

    place: int
    role: str
    calls: list[str]
    results: list[str]


def _objects(value: Any) -> Iterator[tuple[int, JSON]]:
    """Yield the objects of a list with their places. A value that is not a list has none."""
    if isinstance(value, list):
        yield from ((index, one) for index, one in enumerate(value) if isinstance(one, dict))


def _joined(turns: Iterator[Turn], roles: Collection[str]) -> list[Turn]:
    """Return the turns; successive ones of one of `roles` are one."""
    found: list[Turn] = []
    for turn in turns:
        if found and turn.role in roles and found[-1].role == turn.role:
            found[-1].calls.extend(turn.calls)
            found[-1].results.extend(turn.results)
        else:
            found.append(turn)
    return found


def _unpaired(turns: list[Turn]) -> Iterator[tuple[Turn, list[str], bool]]:
    """Yield each turn with calls that the next one does not answer, or with results that have no call before."""
    silent = Turn(len(turns), "", [], [])
    for before, turn in zip([silent, *turns], [*turns, silent], strict=True):
        missing = [one for one in before.calls if one not in turn.results]
        if missing:
            yield before, missing, False
        unasked = [one for one in turn.results if one not in before.calls]
        if unasked:
            yield turn, unasked, True


def _required(body: JSON, names: Collection[str]) -> Iterator[Problem]:
    for name in names:
        if name not in body:
            message = f"Missing required parameter: '{name}'."
            yield Problem(message, name, "missing_required_parameter")


def _unknown(path: str) -> Problem:
    return Problem(f"Unknown parameter: '{path}'.", path, "unknown_parameter")


def _unknown_in(name: str, value: Any, key: str, known: dict[str, list[str]]) -> Iterator[Problem]:
    """Yield a problem for each unknown field in a list of objects, whose field `key` says what they are."""
    for index, one in _objects(value):
        fields = known.get(str(one.get(key)))
        if fields is not None:
            yield from (
                _unknown(f"{name}[{index}].{field}") for field in one if field not in fields
            )


def _chat(body: JSON, request: SeenRequest) -> Iterator[Problem]:
    known, of_azure = _fields()["openai"], "/deployments/" in request.path
    # Azure has the model in the URL, and sources of data: https://learn.microsoft.com/azure/ai-services/openai/reference
    yield from _required(body, ["messages"] if of_azure else ["model", "messages"])
    for name in body:
        if name not in known["body"] and not (of_azure and name == "data_sources"):
            yield Problem(f"Unrecognized request argument supplied: {name}")
    yield from _unknown_in("tools", body.get("tools"), "type", known["tools"])
    for index, one in _objects(body.get("messages")):
        if one.get("role") not in known["messages"]:
            path, roles = (
                f"messages[{index}].role",
                ", ".join(f"'{it}'" for it in known["messages"]),
            )
            message = f"Invalid value: '{one.get('role')}'. Supported values are: {roles}."
            yield Problem(message, path, "invalid_value")
    yield from _unknown_in("messages", body.get("messages"), "role", known["messages"])
    for turn, ids, is_result in _unpaired(_joined(_chat_turns(body), ["tool"])):
        if is_result:
            message = (
                "Invalid parameter: messages with role 'tool' must be a response to a preceeding"
                " message with 'tool_calls'."
            )
            yield Problem(message, f"messages.[{turn.place}].role")
        else:
            message = (
                "An assistant message with 'tool_calls' must be followed by tool messages responding to each"
                " 'tool_call_id'. The following tool_call_ids did not have response messages: "
            )
            yield Problem(message + ", ".join(ids), f"messages.[{turn.place}].role")


def _chat_turns(body: JSON) -> Iterator[Turn]:
    for index, one in _objects(body.get("messages")):
        calls = [str(call.get("id")) for _, call in _objects(one.get("tool_calls"))]
        results = [str(one["tool_call_id"])] if "tool_call_id" in one else []
        yield Turn(index, str(one.get("role")), calls, results)


def _responses(body: JSON, request: SeenRequest) -> Iterator[Problem]:
    known = _fields()["responses"]
    yield from _required(body, ["model"])
    yield from (_unknown(name) for name in body if name not in known["body"])
    yield from _unknown_in("tools", body.get("tools"), "type", known["tools"])
    yield from _unknown_in("input", body.get("input"), "type", known["input"])
    if "previous_response_id" in body or "conversation" in body:
        return  # The provider has the items before.
    calls, results = set[str](), set[str]()
    for _, item in _objects(body.get("input")):
        kind = item.get("type")
        if kind in _CALLS_OF_RESPONSES:
            calls.add(str(item.get("call_id")))
        elif kind in _RESULTS_OF_RESPONSES:
            results.add(str(item.get("call_id")))
    for one in sorted(results - calls):
        yield Problem(f"No tool call found for function call output with call_id {one}.", "input")
    for one in sorted(calls - results):
        yield Problem(f"No tool output found for function call {one}.", "input")


_CALLS_OF_RESPONSES = ("function_call", "custom_tool_call")
_RESULTS_OF_RESPONSES = ("function_call_output", "custom_tool_call_output")


def _anthropic(body: JSON, request: SeenRequest) -> Iterator[Problem]:
    known = _fields()["anthropic"]
    with_betas = "anthropic-beta" in request.headers or "beta=true" in request.query
    fields = known["body with betas" if with_betas else "body"]
    for name in ("max_tokens", "messages", "model"):
        if name not in body:
            yield Problem(f"{name}: Field required")
    yield from (_extra(name) for name in body if name not in fields)
    for index, tool in _objects(body.get("tools")):
        kind = str(tool.get("type") or "custom")
        yield from _extra_in(f"tools.{index}.{kind}", tool, known["tools"].get(kind))
    for index, message in _objects(body.get("messages")):
        if message.get("role") not in ("user", "assistant", "system"):
            yield Problem(f"messages.{index}.role: Input should be 'user' or 'assistant'")
        yield from _extra_in(f"messages.{index}", message, ["role", "content"])
        for place, block in _objects(message.get("content")):
            kind = str(block.get("type"))
            where = f"messages.{index}.content.{place}.{kind}"
            yield from _extra_in(where, block, known["content"].get(kind))
    for turn, ids, is_result in _unpaired(_joined(_anthropic_turns(body), ["user", "assistant"])):
        where, named = f"messages.{turn.place}", ", ".join(ids)
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


def _extra_in(where: str, value: JSON, known: list[str] | None) -> Iterator[Problem]:
    """Yield a problem for each unknown field of an object. A type that the table does not have is not checked."""
    if known is not None:
        yield from (_extra(f"{where}.{name}") for name in value if name not in known)


def _anthropic_turns(body: JSON) -> Iterator[Turn]:
    for index, message in _objects(body.get("messages")):
        blocks = [block for _, block in _objects(message.get("content"))]
        calls = [str(block.get("id")) for block in blocks if block.get("type") == "tool_use"]
        results = [
            str(block.get("tool_use_id")) for block in blocks if block.get("type") == "tool_result"
        ]
        yield Turn(index, str(message.get("role")), calls, results)


def _converse(body: JSON, request: SeenRequest) -> Iterator[Problem]:
    turns = list(_converse_turns(body))
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
    for turn, ids, is_result in _unpaired(turns):
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


def _converse_turns(body: JSON) -> Iterator[Turn]:
    for index, message in _objects(body.get("messages")):
        blocks = [block for _, block in _objects(message.get("content"))]
        calls = [str(block["toolUse"].get("toolUseId")) for block in blocks if "toolUse" in block]
        results = [
            str(block["toolResult"].get("toolUseId")) for block in blocks if "toolResult" in block
        ]
        yield Turn(index, str(message.get("role")), calls, results)


def _gemini(body: JSON, request: SeenRequest) -> Iterator[Problem]:
    known = _fields()["gemini"]
    if not body.get("contents"):
        yield Problem("* GenerateContentRequest.contents: contents is not specified\n")
    yield from _cannot_find("", body, known["body"])
    config = body.get("generationConfig") or body.get("generation_config") or {}
    yield from _cannot_find("generation_config", config, known["generationConfig"])
    for index, content in _objects(body.get("contents")):
        yield from _cannot_find(f"contents[{index}]", content, known["content"])
        if content.get("role") not in ("user", "model", "function", None):
            yield Problem("Please use a valid role: user, model.")
        for place, part in _objects(content.get("parts")):
            yield from _cannot_find(f"contents[{index}].parts[{place}]", part, known["part"])
    yield from _gemini_order(list(_gemini_turns(body)))


def _cannot_find(where: str, value: JSON, known: list[str]) -> Iterator[Problem]:
    """Yield a problem for each unknown field. JSON of protocol buffers may spell a field in two ways."""
    at = f" at '{where}'" if where else ""
    for name in value:
        first, *others = name.split("_")
        if first + "".join(map(str.capitalize, others)) not in known and name not in known:
            message = (
                f'Invalid JSON payload received. Unknown name "{name}"{at}: Cannot find field.'
            )
            yield Problem(message)


def _gemini_turns(body: JSON) -> Iterator[Turn]:
    for index, content in _objects(body.get("contents")):
        parts = [part for _, part in _objects(content.get("parts"))]
        calls = [str(part["functionCall"].get("name")) for part in parts if "functionCall" in part]
        results = [
            str(part["functionResponse"].get("name"))
            for part in parts
            if "functionResponse" in part
        ]
        yield Turn(index, str(content.get("role", "user")), calls, results)


def _gemini_order(turns: list[Turn]) -> Iterator[Problem]:
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


_RULES: dict[str, Callable[[JSON, SeenRequest], Iterator[Problem]]] = {
    "openai": _chat,
    "responses": _responses,
    "anthropic": _anthropic,
    "bedrock": _converse,
    "gemini": _gemini,
}
