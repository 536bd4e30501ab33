"""Messages as the `messages` of Chat Completions. No I/O here.

Wire format: https://platform.openai.com/docs/api-reference/chat/create, read 2026-11. This wire takes consecutive
messages of one role, empty content and a system message anywhere, so messages go out one by one, as they stand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from modelwire.errors import InvalidArgument, InvalidType

if TYPE_CHECKING:
    from modelwire.messages import AIMessage, BaseMessage

__all__ = ["OPENAI", "Dialect", "turns_from_messages"]

Turn = dict[str, Any]


class Dialect(NamedTuple):
    """What a service takes in messages beside what OpenAI does."""

    extra_block_types: frozenset[str] = frozenset()  # content blocks that pass as they are
    cache_control: bool = False  # keep Anthropic's cache marks (OpenRouter)
    replayed: tuple[str, ...] = ()  # names in an AIMessage's `additional_kwargs` that are sent back


OPENAI = Dialect()


def turns_from_messages(messages: Sequence[BaseMessage], dialect: Dialect) -> list[Turn]:
    """Return the wire's messages, in order.

    A history from another provider is sayable: tool calls come from `AIMessage.tool_calls` (or from `tool_use` blocks
    where that is empty), the model's thinking and its server-side tools are left out, and `tool_result` blocks of a
    human message become `tool` messages before it.
    Raises `InvalidArgument` for what the wire cannot say, `InvalidType` for a message of a foreign type.
    """
    turns: list[Turn] = []
    for position, message in enumerate(messages):
        kind = getattr(message, "type", "")
        say = SAY.get(kind) or SAY.get(str(kind).removesuffix("MessageChunk").lower())  # chunks are messages here
        if kind == "remove":
            raise InvalidArgument(f"Message {position} is a `RemoveMessage`: it edits a history and cannot be sent.")
        if say is None:
            raise InvalidType(f"Message {position} is a `{type(message).__name__}`, which is no message we can send.")
        turns += say(message, position, dialect)
    return turns


# ---------------------------------------------------------------- one function a message type


def _human(message: Any, position: int, dialect: Dialect) -> Iterable[Turn]:
    content = message.content
    if type(content) is str:
        return (_named({"role": "user", "content": content}, message),)
    turns: list[Turn] = []
    rest: list[Any] = []
    for block in content:
        if isinstance(block, Mapping) and block.get("type") == "tool_result":
            turns.append(_tool_result(block, position, dialect))
        else:
            rest.append(block)
    if rest or not turns:
        turns.append(_named({"role": "user", "content": _content(rest, "user", position, dialect)}, message))
    return turns


def _tool_result(block: Mapping[str, Any], position: int, dialect: Dialect) -> Turn:
    """Turn the block Anthropic's wire has for a tool's answer into this wire's message."""
    content = _content(block.get("content") or "", "tool", position, dialect)
    return {"role": "tool", "tool_call_id": block.get("tool_use_id"), "content": content}


def _system(message: Any, position: int, dialect: Dialect) -> Iterable[Turn]:
    # `convert_to_messages` keeps the role `developer` of a dict under this key.
    role = message.additional_kwargs.get("__openai_role__") or "system"
    return (_named({"role": role, "content": _content(message.content, role, position, dialect)}, message),)


def _chat(message: Any, position: int, dialect: Dialect) -> Iterable[Turn]:
    content = _content(message.content, message.role, position, dialect)
    return (_named({"role": message.role, "content": content}, message),)


def _tool(message: Any, position: int, dialect: Dialect) -> Iterable[Turn]:
    content = _content(message.content, "tool", position, dialect)
    return ({"role": "tool", "tool_call_id": message.tool_call_id, "content": content},)


def _function(message: Any, position: int, dialect: Dialect) -> Iterable[Turn]:
    content = _content(message.content, "function", position, dialect)
    return ({"role": "function", "name": message.name, "content": content},)


def _ai(message: AIMessage, position: int, dialect: Dialect) -> Iterable[Turn]:
    kwargs = message.additional_kwargs
    turn: Turn = {"role": "assistant"}
    content = _assistant_content(message.content, position, dialect)
    calls = _tool_calls(message, position)
    legacy_call = None if calls else kwargs.get("function_call")
    if calls:
        turn["tool_calls"] = calls
    elif legacy_call:
        turn["function_call"] = legacy_call
    if kwargs.get("refusal"):
        turn["refusal"] = kwargs["refusal"]
    if isinstance(kwargs.get("audio"), Mapping):  # a spoken answer is referred to, not sent again
        turn["audio"] = {"id": kwargs["audio"].get("id")}
    turn["content"] = content or (None if len(turn) > 1 else "")
    for name in dialect.replayed:
        if kwargs.get(name):
            turn[name] = kwargs[name]
    return (_named(turn, message),)


SAY: dict[str, Callable[[Any, int, Dialect], Iterable[Turn]]] = {
    "human": _human,
    "ai": _ai,
    "system": _system,
    "tool": _tool,
    "chat": _chat,
    "function": _function,
}


# ---------------------------------------------------------------- their pieces


def _named(turn: Turn, message: Any) -> Turn:
    if name := message.name or message.additional_kwargs.get("name"):
        turn["name"] = name
    return turn


def _content(content: Any, role: str, position: int, dialect: Dialect) -> Any:
    if isinstance(content, str):
        return content
    from modelwire.adapters.openai.parts import parts_from_blocks

    return parts_from_blocks(
        content,
        role=role,
        position=position,
        extra_types=dialect.extra_block_types,
        cache_control=dialect.cache_control,
    ) or ""  # the wire refuses an empty list  # fmt: skip


def _assistant_content(content: Any, position: int, dialect: Dialect) -> Any:
    """Return text, or parts where all of the content is sayable; what is left of another wire's blocks is one text."""
    parts = _content(content, "assistant", position, dialect)
    if isinstance(parts, str) or len(parts) == len(content):
        return parts
    if all(part.keys() == {"type", "text"} for part in parts):
        return "".join(part["text"] for part in parts)
    return parts


def _tool_calls(message: AIMessage, position: int) -> list[dict[str, Any]]:
    calls = [_tool_call(call["id"], call["name"], _json(call["args"], position)) for call in message.tool_calls]
    # A tool message may answer these too; the model's own text goes back.
    calls += [_tool_call(call["id"], call["name"], call["args"] or "") for call in message.invalid_tool_calls]
    if calls:
        return calls
    if raw := message.additional_kwargs.get("tool_calls"):
        return list(raw)
    if isinstance(message.content, str):
        return []
    return [
        _tool_call(block.get("id"), block.get("name"), _json(block.get("input") or {}, position))
        for block in message.content
        if isinstance(block, dict) and block.get("type") == "tool_use"
    ]


def _tool_call(id_: Any, name: Any, arguments: str) -> dict[str, Any]:
    return {"id": id_, "type": "function", "function": {"name": name or "", "arguments": arguments}}


def _json(args: Any, position: int) -> str:
    from pydantic_core import PydanticSerializationError, to_json

    try:
        return to_json(args).decode()
    except (PydanticSerializationError, ValueError) as exc:
        raise InvalidArgument(f"Message {position}: the arguments of a tool call are not JSON: {exc}.") from exc
