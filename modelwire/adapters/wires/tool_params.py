"""Reads tools, the tool choice and the answer's schema, whichever wire's form they have. No I/O here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from modelwire.aliases import Fields
from modelwire.errors import InvalidArgument, InvalidType


class Function(NamedTuple):
    """A tool that the caller defines and runs."""

    name: str
    description: str | None
    schema: Fields | None  # the JSON schema of its arguments
    strict: bool


def read_function(tool: Any) -> Function | None:
    """Read a tool in OpenAI's or Anthropic's form. Return None for another kind, such as a provider's own tool.

    Raises `InvalidType` if `tool` is not a dict.
    """
    if not isinstance(tool, Mapping):
        raise InvalidType(
            f"A tool of a request must be a dict, not `{type(tool).__name__}`: `bind_tools` converts it."
        )
    function = tool.get("function", tool)
    if not isinstance(function, Mapping) or not isinstance(name := function.get("name"), str):
        return None
    schema = function.get("parameters", function.get("input_schema"))
    if schema is None and tool.get("type") not in (None, "function"):
        return None
    return Function(
        name, function.get("description") or None, schema or None, bool(function.get("strict"))
    )


def read_choice(choice: Any) -> tuple[str, str | None]:
    """Return a tool choice as ("auto", "any" or "none", None) or ("tool", the tool's name).

    `choice` is `auto`, `any`, `required`, `none`, a tool's name, a bool, or the dict of any wire. Raises `InvalidType`
    or `InvalidArgument` for an invalid choice.
    """
    if isinstance(choice, Mapping):
        function = choice.get("function")
        named = function.get("name") if isinstance(function, Mapping) else choice.get("name")
        if isinstance(named, str):
            return "tool", named
        choice = choice.get("type")
        if choice == "function":
            raise InvalidArgument("`tool_choice` of type `function` needs the function's `name`.")
    if isinstance(choice, bool):
        return "any" if choice else "none", None
    if not isinstance(choice, str):
        raise InvalidType(
            f"`tool_choice` must be a string or a dict, not `{type(choice).__name__}`."
        )
    word = "any" if choice == "required" else choice
    if word in ("auto", "any", "none"):
        return (word, None)
    return ("tool", choice)


def read_form(form: Any, api: str) -> Fields | None:
    """Return the dict with the `schema` in OpenAI's `response_format`; None for `text`, which is the default.

    Raises `InvalidType` or `InvalidArgument` for another form; the error calls the API `api`.
    """
    if not isinstance(form, Mapping):
        raise InvalidType(f"`response_format` must be a dict, not `{type(form).__name__}`.")
    if form.get("type") == "text":
        return None
    inner = form.get("json_schema")
    inner = inner if isinstance(inner, Mapping) else form
    if form.get("type") != "json_schema" or not isinstance(inner.get("schema"), Mapping):
        raise InvalidArgument(
            f"{api} takes a `response_format` of type `json_schema` with its `schema` only."
        )
    return inner
