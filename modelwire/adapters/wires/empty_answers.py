"""Checks answers without any content: an error, unless the finish reason explains them. No I/O here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelwire.adapters.wires.json import malformed
from modelwire.messages.finish_reasons import Ending, ending_of

if TYPE_CHECKING:
    from modelwire.messages import AIMessage


def is_empty(message: AIMessage) -> bool:
    """Return whether an answer has no content, no tool call and no `additional_kwargs`, such as a refusal."""
    has_calls = message.tool_calls or message.invalid_tool_calls
    return not (message.content or has_calls or message.additional_kwargs)


def check_empty(
    wire: str, reason: Any, *, provider: str, words: Any = None, request_id: str | None = None
) -> None:
    """Raise `MalformedResponse` for an empty answer whose finish reason means a failure or is unknown.

    `reason` is the wire's own value; an answer without one passes. The error shows `words`, the provider's explanation.
    """
    if not isinstance(reason, str) or not reason:
        return
    kind = ending_of(wire, reason)
    if kind not in (None, Ending.BROKEN):
        return
    raise malformed(
        f"The answer of `{provider}` is empty: {reason}.",
        str(words or ""),
        provider=provider,
        request_id=request_id,
        status=200,
    )
