"""Converts functions, models, TypedDicts, tools and schemas to the tool formats of providers. No I/O here.

Formats: https://platform.openai.com/docs/guides/function-calling and
https://docs.anthropic.com/en/docs/agents-and-tools/tool-use/implement-tool-use, read 2026-11.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from modelwire.aliases import JSON, Values
from modelwire.errors import InvalidArgument, InvalidType
from modelwire.langchain_bridge import is_langchain, own
from modelwire.messages import AIMessage, HumanMessage, ToolMessage
from modelwire.messages.block_translators.standard import without
from modelwire.messages.tool_calls import tool_name
from modelwire.runnables.annotations import is_typed_dict, is_v1_model
from modelwire.tools.args_schema import (
    create_schema_from_function,
    docstring_of,
    is_v2_model,
    json_schema_of,
    model_from_typed_dict,
)
from modelwire.tools.docstring import parse_google_docstring
from modelwire.tools.json_schema import (
    anthropic_schema,
    inlined,
    strict_schema,
    without_titles,
)

if TYPE_CHECKING:
    from modelwire.messages import BaseMessage
    from modelwire.tools.base import BaseTool

__all__ = [
    "convert_to_anthropic_tool",
    "convert_to_json_schema",
    "convert_to_openai_function",
    "convert_to_openai_tool",
    "tool_example_to_messages",
    "tool_name",
]

# The types a JSON schema may have at its top; any other `type` of a dict is a provider's own kind of tool.
JSON_TYPES = frozenset(("object", "array", "string", "number", "integer", "boolean", "null"))


def convert_to_openai_function(function: Any, *, strict: bool | None = None) -> JSON:
    """Return a dict of `name`, and of `description` and `parameters` if the function has them.

    `function` is a function, a pydantic model class, a TypedDict class, a tool, a JSON schema with a title, or a tool
    as OpenAI, Anthropic or Bedrock has it. With `strict`, every object is closed and all its properties are required;
    the input is never changed. The title of a class or schema becomes a name that providers accept: `Page[Item]` is
    `Page_Item_`. Raises: `InvalidArgument` for a value that has no such form.
    """
    if is_langchain(function):
        function = own("tool", function)
    converted = dict(
        _from_dict(function) if isinstance(function, Mapping) else _from_python(function)
    )
    if strict is None:
        return converted
    if converted.get("strict", strict) != strict:
        raise InvalidArgument(
            f"The tool `{converted.get('name')}` has `strict={converted['strict']}`, the call has `strict={strict}`. "
            "Set it in one place."
        )
    converted["strict"] = strict
    if strict and "parameters" in converted:
        converted["parameters"] = strict_schema(converted["parameters"])
    return converted


def convert_to_openai_tool(tool: Any, *, strict: bool | None = None) -> JSON:
    """Return `{"type": "function", "function": {...}}`; a provider's built-in tool, a dict, is returned unchanged."""
    if is_own_kind(tool):
        return dict(tool)
    if (
        isinstance(tool, Mapping)
        and tool.get("type") == "function"
        and isinstance(tool.get("function"), Mapping)
    ):
        return {**tool, "function": convert_to_openai_function(tool["function"], strict=strict)}
    return {"type": "function", "function": convert_to_openai_function(tool, strict=strict)}


def convert_to_anthropic_tool(tool: Any, *, strict: bool | None = None) -> JSON:
    """Return `{"name", "description", "input_schema"}`; a provider's built-in tool, a dict, is returned unchanged.

    A tool's `extras` (`cache_control`, `input_examples` ...) are added, as are further keys of a dict in OpenAI's or
    Anthropic's format. With `strict`, keywords that strict mode does not accept (bounds, patterns, lengths) move into
    descriptions.
    """
    if is_own_kind(tool):
        return dict(tool)
    extras = dict(getattr(tool, "extras", None) or {})
    if isinstance(tool, Mapping) and ("input_schema" in tool or "function" in tool):
        extras |= without(tool, *_KNOWN_KEYS)
    function = convert_to_openai_function(tool, strict=strict)
    converted: JSON = {"name": function["name"]}
    if function.get("description"):
        converted["description"] = function["description"]
    converted["input_schema"] = function.get("parameters") or {"type": "object", "properties": {}}
    if function.get("strict"):
        # Anthropic's strict mode allows optional keys, which OpenAI's does not.
        plain = convert_to_openai_function(tool).get("parameters") or converted["input_schema"]
        converted["input_schema"] = anthropic_schema(plain)
        converted["strict"] = True
    return converted | extras


def convert_to_json_schema(schema: Any, *, strict: bool | None = None) -> JSON:
    """Return the JSON schema of any value that can be a tool, with `title` and `description` at the schema's top.

    Raises: `InvalidArgument` for a tool without a schema.
    """
    function = convert_to_openai_tool(schema, strict=strict)
    if "function" not in function:
        raise InvalidArgument(f"A tool of the type `{function.get('type')}` has no JSON schema.")
    function = function["function"]
    is_titled = isinstance(schema, Mapping) and "title" in schema
    described = {"description": function["description"]} if "description" in function else {}
    title = schema["title"] if is_titled else function["name"]
    return {"title": title, **described, **function.get("parameters", {})}


_KNOWN_KEYS = (
    "type",
    "function",
    "name",
    "title",
    "description",
    "input_schema",
    "parameters",
    "strict",
)
_SHAPES = frozenset(
    ("function", "toolSpec", "properties", "$defs", "definitions", "anyOf", "allOf", "oneOf")
)


def is_own_kind(tool: Any) -> bool:
    """Return whether a tool is a provider's built-in one: a dict with a `type` such as `web_search_20250305`.

    Those of Google and Amazon have no type, but one key with settings: `{"google_search": {}}`, `{"cachePoint": {}}`.
    """
    if not isinstance(tool, Mapping) or "input_schema" in tool:
        return False
    if (
        len(tool) == 1
        and _SHAPES.isdisjoint(tool)
        and isinstance(next(iter(tool.values())), Mapping | list)
    ):
        return True
    kind = tool.get("type")
    return isinstance(kind, str) and kind != "function" and kind not in JSON_TYPES


def _from_dict(tool: Values) -> JSON:
    if "input_schema" in tool and "name" in tool:
        return _named(tool, tool["name"], tool["input_schema"])
    # https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ToolSpecification.html
    if "toolSpec" in tool:
        spec = tool["toolSpec"]
        return _named(spec, spec["name"], spec.get("inputSchema", {}).get("json"))
    if isinstance(tool.get("function"), Mapping):
        return _from_dict(tool["function"])
    if "name" in tool:
        return {
            key: value
            for key, value in tool.items()
            if key in ("name", "description", "parameters", "strict")
        }
    if "title" in tool:
        rest = without(tool, "title", "description")
        return _named(tool, tool_name(str(tool["title"])), without_titles(rest) if rest else None)
    if "type" in tool or "properties" in tool:
        raise InvalidArgument(
            "A JSON schema used as a tool must have a top-level 'title' key: it becomes the name of the tool. "
            f"This one has none: {_shortened(tool)}"
        )
    raise InvalidArgument(
        "This dict is not a tool: it has neither a `name`, nor the `title` of a JSON schema, nor the shape of a tool "
        f"of OpenAI, Anthropic or Bedrock: {_shortened(tool)}"
    )


def _named(source: Values, name: Any, parameters: Any) -> JSON:
    function: JSON = {"name": name}
    if "description" in source:
        function["description"] = source["description"]
    if parameters:
        function["parameters"] = parameters
    if "strict" in source:
        function["strict"] = source["strict"]
    return function


def _shortened(value: Any, limit: int = 300) -> str:
    text = repr(value)
    if len(text) <= limit:
        return text
    return f"{text[:limit]}..."


def _from_python(thing: Any) -> JSON:
    from modelwire.tools.base import BaseTool

    if isinstance(thing, BaseTool):
        return _from_tool(thing)
    if is_v2_model(thing) or is_v1_model(thing):
        return _from_model(thing)
    if is_typed_dict(thing):
        return _from_model(model_from_typed_dict(thing))
    if callable(thing) and not isinstance(thing, type):
        return _from_function(thing)
    # A tool as an MCP server lists it has these attributes.
    listed = getattr(thing, "input_schema", None) or getattr(thing, "inputSchema", None)
    if isinstance(listed, dict) and isinstance(getattr(thing, "name", None), str):
        about = {"description": thing.description} if getattr(thing, "description", None) else {}
        return _named(about, thing.name, without_titles(listed))
    if isinstance(thing, type):
        kind = f"the class `{thing.__name__}`"
    else:
        kind = f"a `{type(thing).__name__}`"
    raise InvalidType(
        f"A tool or schema cannot be {kind}. Give a function, a pydantic model class, a TypedDict class, a tool, or a "
        "dict: a JSON schema with a `title`, or a tool as a provider has it."
    )


def _from_model(model: Any, name: str | None = None, description: str | None = None) -> JSON:
    schema = inlined(json_schema_of(model))
    title = schema.pop("title", model.__name__)
    text = schema.pop("description", "")
    description = text if description is None else description
    about = {"description": description} if description else {}
    return {"name": name or tool_name(title), **about, "parameters": without_titles(schema)}


_from_model_cached = lru_cache(maxsize=512)(_from_model)


def _from_function(function: Any) -> JSON:
    name = getattr(function, "__name__", type(function).__name__)
    model = create_schema_from_function(
        name, function, filter_args=None, parse_docstring=True, include_injected=False
    )
    description, _ = parse_google_docstring(docstring_of(function))
    return _from_model(model, name, description)


def _from_tool(tool: BaseTool) -> JSON:
    schema = tool.tool_call_schema
    if not isinstance(schema, Mapping):  # `tool_call_schema` has created it, and it never changes.
        return deepcopy(_from_model_cached(schema, tool.name, tool.description))
    parameters = inlined(without(schema, "title", "description"))
    about = {"description": tool.description} if tool.description else {}
    return {"name": tool.name, **about, "parameters": without_titles(parameters)}


def tool_example_to_messages(
    input: str,
    tool_calls: Sequence[Any],
    tool_outputs: Sequence[str] | None = None,
    *,
    ai_response: str | None = None,
) -> list[BaseMessage]:
    """Return the messages of an example: the question, the model's calls, their outputs, and optionally its answer.

    `tool_calls` are objects of pydantic models, each named like the tool it calls.
    """
    if tool_outputs and len(tool_outputs) != len(tool_calls):
        raise InvalidArgument(
            f"There are {len(tool_calls)} tool calls and {len(tool_outputs)} outputs: their numbers must match."
        )
    outputs = tool_outputs or ["You have correctly called this tool."] * len(tool_calls)
    calls = [
        {
            "id": str(uuid4()),
            "type": "function",
            "function": {"name": tool_name(type(call).__name__), "arguments": _arguments(call)},
        }
        for call in tool_calls
    ]
    messages: list[BaseMessage] = [HumanMessage(content=input)]
    messages.append(AIMessage(content="", additional_kwargs={"tool_calls": calls}))
    for call, output in zip(calls, outputs, strict=True):
        messages.append(ToolMessage(content=output, tool_call_id=str(call["id"])))
    if ai_response:
        messages.append(AIMessage(content=ai_response))
    return messages


def _arguments(call: Any) -> str:
    return str(call.json() if is_v1_model(type(call)) else call.model_dump_json())
