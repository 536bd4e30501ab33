"""What the codecs do alike with messages and their blocks on the way out. No I/O here."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from modelwire.errors import InvalidArgument, InvalidType
from modelwire.messages import BaseMessage

__all__ = [
    "calls_of",
    "key_names",
    "kind_of",
    "role_of",
    "safe_call_id",
    "take_call",
    "text_of",
    "tool_call_id_of",
    "value_of",
    "with_results_apart",
    "without_data",
]


def role_of(message: Any, roles: Mapping[str, str], api: str) -> str:
    """Return what `roles` has for the message's type, or for the role of a `ChatMessage`.

    The type decides and not the class: a call loads only the classes it has messages of.
    """
    if not isinstance(message, BaseMessage):
        raise InvalidType(
            f"A message must be one of `modelwire.messages`, not `{type(message).__name__}`."
        )
    if (role := roles.get(kind := message.type)) is not None:
        return role
    kind = kind.removesuffix("MessageChunk").lower()
    if kind == "chat":
        kind = message.role.lower()  # type: ignore[attr-defined]  # a `ChatMessage`
    if (role := roles.get(kind)) is None:
        known = ", ".join(f"`{name}`" for name in roles)
        raise InvalidArgument(f"{api} takes no message of type or role `{kind}`. Known: {known}.")
    return role


def tool_call_id_of(message: BaseMessage) -> str:
    """Return which call a tool's message answers."""
    id = getattr(message, "tool_call_id", None)
    if not isinstance(id, str):
        raise InvalidArgument("A message of role `tool` needs a `tool_call_id`: use `ToolMessage`.")
    return id


def calls_of(message: Any, messages: Sequence[BaseMessage]) -> list[Any]:
    """Return the tool calls of an answer that are sent back, in a list of the caller's own.

    They are its `tool_calls`, else its `tool_use` blocks, which a caller may have written. One that could not be parsed
    is sent, without arguments, only where a tool's message among all `messages` answers it: a wire wants both or none.
    """
    calls = list(message.tool_calls)
    if invalid := message.invalid_tool_calls:
        answered = {getattr(it, "tool_call_id", None) for it in messages}
        calls += [
            {**bad, "args": {}}
            for bad in invalid
            if bad["name"] and bad["id"] and bad["id"] in answered
        ]
    elif not calls and message.content.__class__ is list:
        written = [
            it for it in message.content if isinstance(it, Mapping) and it.get("type") == "tool_use"
        ]
        calls = [
            {"id": it.get("id"), "name": it["name"], "args": it.get("input")}
            for it in written
            if it.get("name")
        ]
    return calls


def with_results_apart(messages: Sequence[BaseMessage]) -> Sequence[BaseMessage]:
    """Return the messages with the `tool_result` blocks of users, Anthropic's, as tool messages before the rest."""
    apart: list[BaseMessage] = []
    for message in messages:
        content: Any = getattr(message, "content", "")
        if content.__class__ is list and message.type == "human":
            results = [
                it for it in content if isinstance(it, Mapping) and it.get("type") == "tool_result"
            ]
            for it in results:
                from modelwire.messages import ToolMessage

                status: Any = "error" if it.get("is_error") else "success"
                id, result = str(it.get("tool_use_id")), it.get("content") or ""
                apart.append(ToolMessage(result, tool_call_id=id, status=status))
            if results:
                message = message.model_copy(
                    update={"content": [it for it in content if it not in results]}
                )
        apart.append(message)
    return apart


def take_call(calls: list[Any], id: Any) -> Any:
    """Remove the first call of that id and return it; None where there is none."""
    for at, call in enumerate(calls):
        if call["id"] == id:
            return calls.pop(at)
    return None


def safe_call_id(id: Any, most: int | None = None) -> str:
    """Return an id of letters, digits, `_` and `-`. Others' may have dots and colons (Kimi: `functions.f:0`).

    The checksum keeps two ids apart that differ only in what is replaced or cut.
    """
    text = str(id or "")
    if re.fullmatch(r"[a-zA-Z0-9_-]+", text) and (most is None or len(text) <= most):
        return text
    short = re.sub(r"[^a-zA-Z0-9_-]", "_", text)[: most and most - 9] or "tooluse"
    return f"{short}_{zlib.crc32(text.encode('utf-8', 'replace')):08x}"


def kind_of(item: Any) -> str:
    """Return the type of a content block. Raises `InvalidType`, `InvalidArgument` for what is none."""
    if not isinstance(item, Mapping):
        raise InvalidType(
            f"A content block must be a string or a dict, not `{type(item).__name__}`."
        )
    if not isinstance(kind := item.get("type"), str):
        raise InvalidArgument(f"A content block needs a `type`; it has {key_names(item)}.")
    return kind


def text_of(item: Mapping[str, Any]) -> str:
    if not isinstance(text := item.get("text"), str):
        raise InvalidArgument(
            f"A block of type `{item.get('type')}` needs its `text` as a string; it has {key_names(item)}."
        )
    return text


def value_of(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a `non_standard` block wraps."""
    if not isinstance(value := item.get("value"), Mapping):
        raise InvalidArgument("A block of type `non_standard` needs its `value` as a dict.")
    return dict(value)


def without_data(item: Mapping[str, Any], kind: str) -> InvalidArgument:
    return InvalidArgument(
        f"A block of type `{kind}` needs `url`, `base64` with `mime_type`, or `file_id`; it has {key_names(item)}."
    )


def key_names(item: Mapping[str, Any]) -> str:
    return ", ".join(f"`{key}`" for key in list(item)[:8]) or "no keys"
