"""Converts `tools` and `tool_choice` of any wire to those of Chat Completions. No I/O here.

Wire format: https://platform.openai.com/docs/guides/function-calling, read 2026-11.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modelwire.adapters.wires.outgoing_messages import key_names
from modelwire.aliases import JSON, Fields
from modelwire.errors import InvalidArgument, InvalidType, did_you_mean
from modelwire.messages.block_translators.standard import type_of, without

# The tool choices that do not name a tool, and their names on this wire.
_WORDS = {"auto": "auto", "none": "none", "required": "required", "any": "required"}


def tool_params(params: Fields) -> JSON:
    """Return `tools` and `tool_choice` of `params` in the wire's form, with `parallel_tool_calls` if the choice has it.

    A tool is a dict in OpenAI's form (`{"type": "function", "function": {...}}`), in Anthropic's form
    (`{"name", "description", "input_schema"}`), a bare function (`{"name", "description", "parameters"}`), a function
    or custom tool in the flat form of the Responses API, or a tool of the service's own type, which is sent unchanged.
    A choice is "auto", "none", "required", "any", the name of one of the tools, or a dict in OpenAI's or Anthropic's
    form. Raises `InvalidArgument` or `InvalidType` for anything else.
    """
    chat_params: JSON = {}
    tools = params.get("tools")
    if tools is not None:
        if isinstance(tools, str | Mapping) or not isinstance(tools, Sequence):
            raise InvalidType(f"`tools` is a list of dicts, not a `{type(tools).__name__}`.")
        chat_params["tools"] = [_tool(tool, position) for position, tool in enumerate(tools)]
    if "tool_choice" in params:
        choice = params["tool_choice"]
        chat_params["tool_choice"] = _choice(choice, chat_params.get("tools") or [])
        # Anthropic forbids parallel calls in the tool choice.
        if isinstance(choice, Mapping) and "disable_parallel_tool_use" in choice:
            chat_params["parallel_tool_calls"] = not choice["disable_parallel_tool_use"]
    return chat_params


def _tool(tool: Any, position: int) -> JSON:
    if not isinstance(tool, Mapping):
        raise InvalidType(
            f"Tool {position} is a `{type(tool).__name__}`, not a dict. `bind_tools` converts other tools."
        )
    if "input_schema" in tool:
        converted: JSON = {"type": "function", "function": _function_from_anthropic(tool)}
    elif "type" in tool:
        converted = _nested(tool)
    elif "function" in tool:  # the form of Mistral's SDK
        converted = {"type": "function", **tool}
    elif "name" in tool:
        converted = {"type": "function", "function": dict(tool)}
    else:
        raise InvalidArgument(
            f"Tool {position} has no `type` and no `name`; it has {key_names(tool)}."
        )
    kind = converted["type"]
    if not isinstance(kind, str) or (kind == "function" and not _name(converted)):
        raise InvalidArgument(
            f"Tool {position} needs a `type` that is a string, and a function a `name`."
        )
    return converted


def _nested(tool: Fields) -> JSON:
    """Return a tool in this wire's form, which has a function or a custom tool in an inner dict."""
    kind = tool["type"]
    if kind not in ("function", "custom") or kind in tool or "name" not in tool:
        return dict(tool)
    inner = without(tool, "type")
    form: Any = inner.get("format")
    if type_of(form) == "grammar" and "grammar" not in form:
        inner["format"] = {"type": "grammar", "grammar": without(form, "type")}
    return {"type": kind, kind: inner}


def _function_from_anthropic(tool: Fields) -> JSON:
    function = {"name": tool.get("name")}
    for key in ("description", "input_schema", "strict"):
        if key in tool:
            name = "parameters" if key == "input_schema" else key
            function[name] = tool[key]
    return function


def _choice(choice: Any, tools: Sequence[Fields]) -> Any:
    if choice is True:
        return "required"
    if isinstance(choice, str):
        return _WORDS.get(choice) or _by_name(choice, tools)
    if isinstance(choice, Mapping):
        kind = choice.get("type")
        if kind == "tool" or (kind in ("function", "custom") and kind not in choice):
            return _by_name(str(choice.get("name")), tools)
        return _WORDS.get(str(kind)) or dict(choice)
    raise InvalidType(f"`tool_choice` is a string or a dict, not a `{type(choice).__name__}`.")


def _by_name(name: str, tools: Sequence[Fields]) -> JSON:
    kinds = {_name(tool): tool["type"] for tool in tools}
    if kinds and name not in kinds:
        known = [known for known in kinds if known]
        raise InvalidArgument(
            f"`tool_choice` names `{name}`, which is not one of the tools. {did_you_mean(name, known)}"
        )
    if kinds.get(name) == "custom":
        return {"type": "custom", "custom": {"name": name}}
    return {"type": "function", "function": {"name": name}}


def _name(tool: Fields) -> str | None:
    inner = tool.get(tool["type"])
    name = inner.get("name") if isinstance(inner, Mapping) else None
    return name if isinstance(name, str) else None
