"""A provider that answers as a model would: it calls the tool it should, and keeps to the form it was given."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from modelwire.testing.server.answers import Answer

__all__ = ["sensible"]

Schema = Mapping[str, Any]


def sensible(request: Any) -> Answer:
    """Call the first tool (or the one that must be called) once; answer in the form that is wanted; else, say hello."""
    body = request.fields
    usage = {"input_tokens": 20, "output_tokens": 8}
    tool = _tool(body)
    if tool is not None and not _has_tool_result(request.messages):
        name, schema = tool
        return Answer(
            tool_calls=[{"name": name, "args": _value(schema, schema, "", request.text)}],
            usage=usage,
        )
    form = _form(body)
    if form is not None:
        return Answer(json.dumps(_value(form, form, "", request.text)), usage=usage)
    return Answer("Hello, this is an answer of some words.", usage=usage)


def _tool(body: Schema) -> tuple[str, Schema] | None:
    tools = {}
    for tool in body.get("tools") or ():
        function = tool.get("function", tool)
        tools[function.get("name")] = (
            function.get("parameters") or function.get("input_schema") or {}
        )
    choice = body.get("tool_choice")
    if not tools or choice == "none":
        return None
    named = next(iter(tools))
    if isinstance(choice, Mapping):
        named = choice.get("function", choice).get("name", named)
    return named, tools[named]


def _has_tool_result(messages: list[Any]) -> bool:
    last = messages[-1] if messages else {}
    parts = last.get("content") if isinstance(last.get("content"), list) else ()
    return (
        last.get("role") == "tool"
        or last.get("type") == "function_call_output"
        or any(isinstance(part, Mapping) and part.get("type") == "tool_result" for part in parts)
    )


def _form(body: Schema) -> Schema | None:
    form = (
        body.get("response_format")
        or (body.get("text") or {}).get("format")
        or body.get("output_format")
    )
    form = form or (body.get("output_config") or {}).get("format")
    if not isinstance(form, Mapping) or form.get("type") not in ("json_schema", "json_object"):
        return None
    if form["type"] == "json_object":
        text = {"type": "string"}
        return {"type": "object", "properties": {"setup": text, "punchline": text}}
    found: Schema = form.get("json_schema", form).get("schema") or {}
    return found


def _value(schema: Any, root: Schema, name: str, text: str) -> Any:
    """Return a value of the form `schema`: a text that is quoted in the prompt, 3, and so on."""
    if "$ref" in schema:
        return _value(root.get("$defs", {})[schema["$ref"].rpartition("/")[2]], root, name, text)
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return _value(schema["anyOf"][0], root, name, text)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if kind == "object":
        wanted = schema.get("properties", {})
        return {key: _value(inner, root, key, text) for key, inner in wanted.items()}
    if kind == "array":
        return [_value(schema.get("items", {}), root, name, text)]
    quoted = re.search(r"'([^']+)'", text)
    return {"integer": 3, "number": 3.0, "boolean": True, "null": None}.get(
        kind, quoted.group(1) if quoted else f"some {name}"
    )
