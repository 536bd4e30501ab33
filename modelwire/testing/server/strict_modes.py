"""Rejects a strict schema that uses a keyword which the provider's strict mode does not support.

For each provider, `strict_modes.json` has a JSON schema that describes the schemas which its strict mode
supports, with date and source.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any

from pydantic_core import from_json

from modelwire.aliases import JSON
from modelwire.testing.server.request_rules import table
from modelwire.testing.server.requests import SeenRequest


def strict_problem(wire: str, request: SeenRequest) -> str | None:
    """Return the unsupported part of a strict schema for which the provider would reject the request, or None."""
    if b'"strict"' not in request.content and b'"json_schema"' not in request.content:
        return None
    if "/openai/" in request.path:
        provider = "azure_openai"
    else:
        provider = wire.replace("responses", "openai")
    if provider not in table("strict_modes.json"):
        return None
    body = request.body
    # Anthropic's response formats are always strict.
    forms = (body.get("output_format"), (body.get("output_config") or {}).get("format"))
    body = {**body, "format": [{**form, "strict": True} for form in forms if form]}
    for name, schema in _strict_schemas(body):
        for problem in _problems(provider, schema):
            return f"Invalid schema for `{name}`: {problem}"
    return None


def _strict_schemas(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the name and the schema of every strict tool and response format in a body."""
    if isinstance(value, list):
        for one in value:
            yield from _strict_schemas(one)
    elif isinstance(value, dict):
        name = str(value.get("name", "response_format"))
        if value.get("strict") is True:
            places = (value.get("parameters"), value.get("schema"), value.get("input_schema"))
            converse = value.get("inputSchema", {}).get("json")
            for one in (*places, converse):
                if isinstance(one, dict):
                    yield (name, one)
        elif "structure" in value:
            # Amazon's response format is always strict; its schema is JSON in a text.
            yield name, from_json(value["structure"]["jsonSchema"]["schema"])
        for key in ("tools", "function", "toolSpec", "toolConfig", *_FORMS):
            yield from _strict_schemas(value.get(key))


_FORMS = (
    "response_format",
    "json_schema",
    "text",
    "format",
    "outputConfig",
    "textFormat",
)


def _problems(provider: str, schema: JSON) -> Iterator[str]:
    jsonschema: Any = import_module("jsonschema")  # It has no types, and is slow to import.
    modes = table("strict_modes.json")
    mode = modes[provider]
    for error in jsonschema.Draft202012Validator(mode["schema"]).iter_errors(schema):
        where = ".".join(map(str, error.absolute_path)) or "the schema"
        yield f"{where}: {error.message:.300} ({mode['source']}, read {modes['read']})"
    if mode["all_required"]:
        yield from _optional(schema)


def _optional(node: Any) -> Iterator[str]:
    """Yield a problem for each optional property, in a mode that requires all properties."""
    if isinstance(node, dict):
        properties = node.get("properties")
        if node.get("type") == "object" and isinstance(properties, dict):
            for name in properties.keys() - set(node.get("required") or ()):
                yield f"`required` must name every property, and `{name}` is missing."
        for inner in node.values():
            yield from _optional(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from _optional(inner)
