"""Questions of an MCP server to the user: for the values of a form, or for a visit to a page.

Source: https://modelcontextprotocol.io/specification/2025-11-25/client/elicitation, read 2026-11.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, TypeAlias

from modelwire.aliases import JSON, Values
from modelwire.errors import InvalidArgument, InvalidType
from modelwire.tools.schema_check import JsonSchemaCheck


@dataclass(frozen=True)
class ElicitationAnswer:
    """The user's answer to an `Elicitation`, whose methods `accept`, `decline` and `cancel` return it."""

    action: Literal["accept", "decline", "cancel"]
    content: JSON | None = field(default=None, repr=False)  # The values may be private.


@dataclass(frozen=True)
class Elicitation:
    """A question of an MCP server to the user.

    Either `schema` is set, a flat JSON schema of the values that the server wants, or `url`, a page to visit: a login
    or a payment that must not pass through this program. Show the user `server`, which asks, and the whole `url`.
    """

    server: str
    message: str
    schema: JSON | None = None
    url: str | None = None

    def accept(self, content: Values | None = None) -> ElicitationAnswer:
        """Return the answer with these values, and with the schema's defaults for values that are missing.

        For a `url` there are no values: the answer means that the user has agreed to visit the page.

        Raises: `InvalidArgument` for values that do not match the schema.
        """
        if self.schema is None:
            if content:
                raise InvalidArgument("A question with a `url` takes no values: `accept()`.")
            return ElicitationAnswer("accept")
        values = {**self.defaults, **(content or {})}
        try:
            self._check(values)
        except ValueError as exc:
            raise InvalidArgument(
                f"The answer does not match the schema of the MCP server {self.server}: {exc}."
            ) from None
        return ElicitationAnswer("accept", values)

    def decline(self) -> ElicitationAnswer:
        """Return the answer of a user who declines."""
        return ElicitationAnswer("decline")

    def cancel(self) -> ElicitationAnswer:
        """Return the answer of a user who has closed the question without a choice."""
        return ElicitationAnswer("cancel")

    @property
    def properties(self) -> dict[str, JSON]:
        """The schema of each value, by its name."""
        found: dict[str, JSON] = (self.schema or {}).get("properties", {})
        return found

    @property
    def required(self) -> list[str]:
        """The names of the values that may not be left out."""
        return list((self.schema or {}).get("required") or ())

    @property
    def defaults(self) -> JSON:
        """The values that the schema has defaults for."""
        return {
            name: deepcopy(described["default"])
            for name, described in self.properties.items()
            if "default" in described
        }

    def hint(self, name: str) -> str:
        """Return a text for the user that describes the value `name`: its type, or the choices."""
        described = self.properties[name]
        if described.get("type") == "array":
            return f"some of {', '.join(_choices_of(described.get('items') or {}))}, with commas"
        if choices := _choices_of(described):
            return f"one of {', '.join(choices)}"
        return _HINTS.get(str(described.get("type")), "text")

    def parse(self, name: str, text: str) -> Any:
        """Return the value that a user has typed, converted to the type in the schema.

        Raises: `InvalidArgument` for a text that is not such a value.
        """
        described = self.properties[name]
        value = _typed_value(described, text)
        try:
            JsonSchemaCheck(described)(value)
        except ValueError as exc:
            raise InvalidArgument(f"`{name}` must be {self.hint(name)}: {exc}.") from None
        return value

    @cached_property
    def _check(self) -> JsonSchemaCheck:
        return JsonSchemaCheck(self.schema or {})


ElicitationHandler: TypeAlias = Callable[
    [Elicitation], ElicitationAnswer | Awaitable[ElicitationAnswer]
]


# For each type of the schema, the text that tells the user what to type.
_HINTS = {"boolean": "yes or no", "integer": "a whole number", "number": "a number"}
_TRUTHS = {"yes": True, "y": True, "true": True, "no": False, "n": False, "false": False}


def _choices_of(described: Values) -> list[str]:
    """Return the values that a schema lists: by `enum`, or with titles by `oneOf` or `anyOf`."""
    titled = described.get("oneOf") or described.get("anyOf") or ()
    listed = described.get("enum") or [one["const"] for one in titled if "const" in one]
    return [str(choice) for choice in listed]


def _typed_value(described: Values, text: str) -> Any:
    """Return the value that a text stands for, or the text if it cannot be converted; then the schema rejects it."""
    kind = described.get("type")
    if kind == "array":
        return [part.strip() for part in text.split(",") if part.strip()]
    if kind == "boolean":
        return _TRUTHS.get(text.lower(), text)
    if kind not in ("integer", "number"):
        return text
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return text


def question_of(params: Any, server: str) -> Elicitation:
    """Return the question for the parameters of an `elicitation/create` request."""
    if params.mode == "url":
        return Elicitation(server, params.message, url=params.url)
    return Elicitation(server, params.message, schema=params.requested_schema)


def checked_answer(question: Elicitation, answer: Any) -> JSON:
    """Return the JSON result to send for the answer of an `elicit` function. Raises `InvalidType` for another value."""
    if not isinstance(answer, ElicitationAnswer):
        raise InvalidType(
            "The `elicit` function returns `question.accept(...)`, `.decline()` or `.cancel()`, not a "
            f"`{type(answer).__name__}`."
        )
    if answer.action != "accept":
        return {"action": answer.action}
    checked = question.accept(answer.content)
    if checked.content is None:
        return {"action": "accept"}
    return {"action": "accept", "content": checked.content}
