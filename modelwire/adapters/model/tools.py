"""Converts tools and the schemas of answers to a provider's form; those that it cannot take raise an error.

Loaded when a call has one of them. No I/O here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from modelwire.adapters.wires.wire import ToolDialect
from modelwire.aliases import JSON, Fields
from modelwire.errors import InvalidArgument, InvalidType, did_you_mean
from modelwire.runnables.annotations import is_typed_dict
from modelwire.tools.function_calling import (
    convert_to_openai_function,
    convert_to_openai_tool,
    tool_name,
)
from modelwire.tools.json_schema import (
    is_free_form,
    recursive_references,
    schemas_within,
    without_defaults,
)

if TYPE_CHECKING:
    from modelwire.adapters.model.http import HTTPChatModel
    from modelwire.adapters.model.settings import WireSettings
    from modelwire.runnables import Runnable

_TYPED = frozenset(("type", "anyOf", "oneOf", "allOf", "$ref", "enum", "const"))

_CHOICES = ("auto", "none", "any", "required")


def bind_tools(
    model: HTTPChatModel,
    tools: Sequence[Any],
    *,
    tool_choice: Any = None,
    strict: bool | None = None,
    parallel_tool_calls: bool | None = None,
    **kwargs: Any,
) -> Runnable[Any, Any]:
    """Return the model with `tools` bound, each in the form of its wire.

    Raises `InvalidArgument` for a tool or choice that cannot be sent: it names the part and the reason.
    """
    if isinstance(tools, str | Mapping) or not isinstance(tools, Sequence):
        if callable(tools) or isinstance(tools, Mapping):
            hint = " Did you mean a list with it?"
        else:
            hint = ""
        raise InvalidType(f"`tools` is a list of tools, not a `{type(tools).__name__}`.{hint}")
    converted = [_converted(model, tool, strict=strict) for tool in tools]
    names = [_name(tool) for tool in converted]
    params: JSON = {"tools": converted} if converted else {}
    if tool_choice is not None and tool_choice is not False:
        params["tool_choice"] = _choice(tool_choice, converted, names)
    if parallel_tool_calls is not None:
        params["parallel_tool_calls"] = parallel_tool_calls
    if isinstance(kwargs.get("response_format"), type):
        kwargs["response_format"] = response_format(model, kwargs["response_format"], strict=strict)
    return model.bind(**params, **kwargs)


def _converted(model: HTTPChatModel, tool: Any, *, strict: bool | None) -> JSON:
    """Return one tool in the form of the model's wire, checked against the limits of its provider."""
    openai_tool = convert_to_openai_tool(tool)
    if "function" in openai_tool:
        function = openai_tool["function"]
        limits = _limits_of(model)
        what = f"The tool `{function.get('name')}`"
        _check_name(function.get("name"), what, limits)
        is_strict = function.get("strict") if strict is None else strict
        _check_schema(function.get("parameters") or {}, what, limits, strict=bool(is_strict))
    converted = model._wire().tools.convert(tool, openai_tool, strict=strict)
    function = converted.get("function", {})
    if function.get("strict") and "parameters" in function and not model.STRICT_DEFAULTS:
        function = {**function, "parameters": without_defaults(function["parameters"])}
        converted = {**converted, "function": function}
    return converted


def _limits_of(model: WireSettings) -> ToolDialect:
    """Return the known limits of the model's provider for tools; those of an unknown provider are empty."""
    wire = model._wire()
    if getattr(model, "provider", "") in (wire.owner, *wire.tools.clouds):
        return wire.tools
    return ToolDialect(wire.tools.convert)


def _name(tool: JSON) -> str:
    inner = tool.get(
        "function", tool.get(str(tool.get("type")))
    )  # also `{"type": "custom", "custom": {...}}`
    name = inner.get("name") if isinstance(inner, Mapping) else tool.get("name")
    # Anthropic's `mcp_toolset` and OpenAI's `mcp`, one a server.
    if name is None and (server := tool.get("mcp_server_name") or tool.get("server_label")):
        return f"{tool.get('type')} {server}"
    return str(name or tool.get("type") or next(iter(tool)))


def _choice(choice: Any, tools: list[JSON], names: list[str]) -> Any:
    """Return a tool choice after checking it against the tools; the codec encodes it."""
    if not tools:
        raise InvalidArgument("`tool_choice` was given without any tools to choose from.")
    if choice is True:
        return names[0] if len(names) == 1 else "any"
    if not isinstance(choice, str):
        if isinstance(choice, Mapping):
            return choice
        raise InvalidType(
            f"`tool_choice` is a string, a dict or True, not a `{type(choice).__name__}`."
        )
    if choice not in names and tool_name(choice) in names:
        choice = tool_name(choice)
    if choice in names:
        own_kind = next(
            tool for tool, name in zip(tools, names, strict=True) if name == choice
        ).get("type")
        if own_kind == choice:
            return {"type": choice}
        return choice
    if choice in _CHOICES:
        return choice
    raise InvalidArgument(
        f"`tool_choice` is `{choice}`, which is not one of the tools. {did_you_mean(choice, [*names, *_CHOICES])}"
    )


def response_format(model: WireSettings, schema: Any, *, strict: bool | None) -> JSON:
    """Return `schema` as OpenAI's `response_format`; the codec of another wire turns it into its own."""
    if isinstance(schema, Mapping) and is_ready(schema):
        if "json_schema" in schema:
            return dict(schema)
        return {"type": "json_schema", "json_schema": dict(schema)}
    function = convert_to_openai_function(schema)
    plain = function.get("parameters") or {"type": "object", "properties": {}}
    limits = _limits_of(model)
    by_wire = model._wire().structured
    if strict is None and not isinstance(schema, Mapping):
        strict = _defaults_to_strict(schema, plain, model._wire().tools)
    what = f"The form of the answer, `{function['name']}`,"
    _check_schema(plain, what, limits, strict=bool(strict) or by_wire.always_strict)
    sent = by_wire.schema(plain, strict=strict)
    if strict and not model.STRICT_DEFAULTS:
        sent = without_defaults(sent)
    json_schema: JSON = {"name": tool_name(str(function["name"])), "schema": sent}
    if function.get("description"):
        json_schema["description"] = function["description"]
        if by_wire.describes_in_schema:
            sent["description"] = function["description"]
    if strict is not None:
        json_schema["strict"] = strict
    return {"type": "json_schema", "json_schema": json_schema}


def _defaults_to_strict(schema: Any, plain: JSON, limits: Any) -> bool | None:
    """Return True, as OpenAI's SDK does, for a pydantic class that strict mode supports; None for anything else."""
    if is_typed_dict(schema):  # In strict mode the model would invent values for optional keys.
        return None
    try:
        _check_schema(plain, "", limits, strict=True)
    except InvalidArgument:
        return None
    return True


def is_ready(schema: Fields) -> bool:
    """Return whether a dict is a provider's description of the form of an answer, not a plain JSON schema."""
    if schema.get("type") == "json_schema":
        return True
    return isinstance(schema.get("schema"), Mapping) and "name" in schema


def _check_name(name: Any, what: str, limits: ToolDialect) -> None:
    if not isinstance(name, str) or not re.fullmatch(limits.name, name):
        raise InvalidArgument(
            f"{what} cannot be sent under this name: it must match `{limits.name}` ({limits.source})."
        )


def _check_schema(schema: Fields, what: str, limits: ToolDialect, *, strict: bool) -> None:
    """Raise `InvalidArgument` for a schema the provider cannot take, naming the part and the reason."""
    for where, problem in _problems(schema, limits, strict=strict):
        part = f"`{where}` " if where else "the outermost schema "
        raise InvalidArgument(f"{what} cannot be sent: {part}{problem} ({limits.source}).")


def _problems(schema: Fields, limits: ToolDialect, *, strict: bool) -> Iterator[tuple[str, str]]:
    if schema and schema.get("type", "object") != "object":
        yield "", f"is of type `{schema['type']}`, and it must be an object"
    for key in sorted(limits.top & schema.keys()):
        yield (
            "",
            f"has `{key}`, and it must be a plain object: put the alternatives into a property",
        )
    if not strict:
        return
    for where, node in schemas_within(schema):
        for key in sorted(limits.strict & node.keys()):
            yield where, f"has `{key}`, which strict mode does not know"
        if limits.strict_types:
            if node.get("type") == "array" and "items" not in node:
                yield where, "is a list without `items`, which strict mode wants for every list"
            if where and not node.keys() & _TYPED:
                yield where, "has no type, and strict mode wants one"
        if where and is_free_form(node):
            yield (
                where,
                (
                    "is an object with any keys, which strict mode does not know: name its properties, make it a "
                    "list of pairs, or set `strict=False`"
                ),
            )
        if not limits.strict_recursion and node.get("$ref") == "#":
            yield (
                where,
                "refers to the whole, and this provider takes no schema that contains itself",
            )
    if not limits.strict_recursion:
        for name in _recursive(schema):
            yield name, "contains itself, which this provider does not take"


def _recursive(schema: Fields) -> list[str]:
    """Return the names of the definitions in a schema that contain themselves."""
    return [ref.split("/", 2)[2] for ref in sorted(recursive_references(schema))]
