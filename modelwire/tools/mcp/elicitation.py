"""What an MCP server asks the user for while it works: values of a form, or a visit to a page.

Source: https://modelcontextprotocol.io/specification/2025-11-25/client/elicitation, read 2026-11.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, TypeAlias

from modelwire.errors import InvalidArgument, InvalidType
from modelwire.tools.schema_check import JsonSchemaCheck

__all__ = ["Elicitation", "ElicitationAnswer", "ElicitationHandler"]


@dataclass(frozen=True)
class ElicitationAnswer:
    """The user's answer to an `Elicitation`. Its methods `accept`, `decline` and `cancel` make one."""

    action: Literal["accept", "decline", "cancel"]
    content: dict[str, Any] | None = field(default=None, repr=False)  # it may be private


@dataclass(frozen=True)
class Elicitation:
    """A question of an MCP server to the user.

    Either `schema` is set, a flat JSON schema of the values that the server wants, or `url`, a page to visit: a login
    or a payment that must not pass through this program. Show the user `server`, which asks, and the whole `url`.
    """

    server: str
    message: str
    schema: dict[str, Any] | None = None
    url: str | None = None

    def accept(self, content: Mapping[str, Any] | None = None) -> ElicitationAnswer:
        """Return the answer with these values, and the schema's defaults for those left out.

        For a `url` there are no values: it means that the user has agreed to visit the page.

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
        """Return the answer of a user who says no."""
        return ElicitationAnswer("decline")

    def cancel(self) -> ElicitationAnswer:
        """Return the answer of a user who has closed the question without a choice."""
        return ElicitationAnswer("cancel")

    @property
    def defaults(self) -> dict[str, Any]:
        """The values that the schema has defaults for."""
        properties = (self.schema or {}).get("properties", {})
        return {
            name: deepcopy(described["default"])
            for name, described in properties.items()
            if "default" in described
        }

    @cached_property
    def _check(self) -> JsonSchemaCheck:
        return JsonSchemaCheck(self.schema or {})


ElicitationHandler: TypeAlias = Callable[
    [Elicitation], ElicitationAnswer | Awaitable[ElicitationAnswer]
]


def question_of(params: Any, server: str) -> Elicitation:
    """Return the question that the parameters of an `elicitation/create` request have."""
    if params.mode == "url":
        return Elicitation(server, params.message, url=params.url)
    return Elicitation(server, params.message, schema=params.requested_schema)


def checked_answer(question: Elicitation, answer: Any) -> dict[str, Any]:
    """Return the result to send for the answer of a handler. Raises `InvalidType` for another value."""
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
