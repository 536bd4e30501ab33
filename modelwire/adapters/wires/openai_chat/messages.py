"""Converts messages to the `messages` of Chat Completions. No I/O here.

Wire format: https://platform.openai.com/docs/api-reference/chat/create, read 2026-11. This wire accepts consecutive
messages of one role, empty content and a system message at any place, so each message is converted by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from modelwire.adapters.wires.outgoing_messages import with_paired_calls
from modelwire.aliases import JSON, Fields
from modelwire.errors import InvalidArgument, InvalidType
from modelwire.messages.block_translators.standard import type_of
from modelwire.messages.tool_calls import CALL_EXTRAS
from modelwire.records import NamedTuple

if TYPE_CHECKING:
    from modelwire.messages import AIMessage, BaseMessage

Turn = dict[str, Any]


class Dialect(NamedTuple):
    """The parts of messages that a service accepts and OpenAI does not."""

    # The types of content blocks that are sent unchanged.
    extra_block_types: frozenset[str] = frozenset()
    # The service accepts Anthropic's cache marks (OpenRouter).
    cache_control: bool = False
    # The keys of an answer's `additional_kwargs` that later requests repeat. For `reasoning`, the value of
    # `reasoning_content` is sent if that key is missing.
    replayed: tuple[str, ...] = ()
    # Later requests repeat the reasoning as a part of the content (Mistral).
    thinking_parts: bool = False


# The dialect of OpenAI itself.
OPENAI = Dialect()


def turns_from_messages(
    messages: Sequence[BaseMessage], dialect: Dialect, *, provider: str | None = None
) -> list[Turn]:
    """Return the wire's messages, in order.

    The history may come from another provider. Tool calls are read from `AIMessage.tool_calls`, or from `tool_use`
    blocks if that is empty. Another provider's thinking and server-side tools are left out. `tool_result` blocks of a
    human message become `tool` messages before it. Extra fields of tool calls are sent only to the `provider` that
    sent them. Raises `InvalidArgument` for content that the wire does not accept, `InvalidType` for an unknown type of
    message.
    """
    turns: list[Turn] = []
    for position, message in enumerate(with_paired_calls(messages)):
        kind = getattr(message, "type", "")
        # A chunk is converted like a message.
        write = TO_WIRE.get(kind) or TO_WIRE.get(str(kind).removesuffix("MessageChunk").lower())
        if write is None:
            raise unsendable(message, position)
        turns += write(message, position, dialect)
        if dialect.cache_control and (mark := message.additional_kwargs.get("cache_control")):
            turns[-1]["cache_control"] = mark
        extras = message.additional_kwargs.get(CALL_EXTRAS)
        if isinstance(extras, Mapping) and message.response_metadata.get("model_provider") in (
            None,
            provider,
        ):
            _put_extras(turns[-1].get("tool_calls"), extras)
    return turns


def without_foreign_media(
    messages: Sequence[BaseMessage], provider: str, left_out: list[str]
) -> list[BaseMessage]:
    """Return the messages without the images, audio and files in answers of another provider's models.

    This wire accepts such blocks in messages of users only. A sentence for each removed block is added to `left_out`.
    """
    from modelwire.messages.block_translators.standard import DATA_TYPES, standard_block

    known = []
    for message in messages:
        of = message.response_metadata.get("model_provider")
        if (
            message.type.startswith(("ai", "AI"))
            and of not in (None, provider)
            and isinstance(message.content, list)
        ):
            types = [
                standard_block(it)["type"] if isinstance(it, dict) else "text"
                for it in message.content
            ]
            found = [
                f"A block of type `{kind}` in an answer of `{of}` is left out: Chat Completions accepts it "
                "in messages of users only."
                for kind in types
                if kind in DATA_TYPES
            ]
            if found:
                left_out += found
                pairs = zip(message.content, types, strict=True)
                content = [block for block, kind in pairs if kind not in DATA_TYPES]
                message = message.model_copy(update={"content": content})
        known.append(message)
    return known


def unsendable(message: Any, position: int) -> InvalidArgument | InvalidType:
    """Return the error for a message that a wire cannot send."""
    if getattr(message, "type", "") == "remove":
        return InvalidArgument(
            f"Message {position} is a `RemoveMessage`: it edits a history and cannot be sent."
        )
    return InvalidType(f"Message {position} is a `{type(message).__name__}`, which cannot be sent.")


def _human(message: Any, position: int, dialect: Dialect) -> Iterable[Turn]:
    content = message.content
    if type(content) is str:
        turn: Turn = {"role": "user", "content": content}
        return (_named(turn, message) if message.name or message.additional_kwargs else turn,)
    turns: list[Turn] = []
    rest: list[Any] = []
    for block in content:
        if type_of(block) == "tool_result":
            turns.append(_tool_result(block, position, dialect))
        else:
            rest.append(block)
    if rest or not turns:
        turns.append(
            _named({"role": "user", "content": _content(rest, "user", position, dialect)}, message)
        )
    return turns


def _tool_result(block: Fields, position: int, dialect: Dialect) -> Turn:
    """Return Anthropic's block with a tool's result as a message of this wire."""
    content = block.get("content") or ""
    if not isinstance(content, str | Sequence):
        raise InvalidType(
            f"Message {position}: a `tool_result` holds a text or a list, not a `{type(content).__name__}`."
        )
    content = _content(content, "tool", position, dialect)
    return {"role": "tool", "tool_call_id": block.get("tool_use_id"), "content": content}


def _system(message: Any, position: int, dialect: Dialect) -> Iterable[Turn]:
    # `convert_to_messages` keeps the role `developer` of a dict under this key.
    role = message.additional_kwargs.get("__openai_role__") or "system"
    return (
        _named(
            {"role": role, "content": _content(message.content, role, position, dialect)}, message
        ),
    )


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
    # A request refers to an audio answer by its id.
    if isinstance(audio := kwargs.get("audio"), Mapping):
        if audio.get("id"):
            turn["audio"] = {"id": audio["id"]}
        else:
            content = content or audio.get("transcript")
    turn["content"] = content or (None if len(turn) > 1 else "")
    if dialect.thinking_parts and (thought := kwargs.get("reasoning_content")):
        if isinstance(content, str) and content:
            texts = [{"type": "text", "text": content}]
        else:
            texts = content or []
        turn["content"] = [
            {"type": "thinking", "thinking": [{"type": "text", "text": thought}]},
            *texts,
        ]
    for name in dialect.replayed:
        if value := kwargs.get(name) or (
            kwargs.get("reasoning_content") if name == "reasoning" else None
        ):
            turn[name] = value
    if calls and "reasoning_content" in dialect.replayed:
        # If the model thinks, DeepSeek answers a turn with calls but without this key with status 400 (seen 2026-11).
        turn.setdefault("reasoning_content", "")
    return (_named(turn, message),)


TO_WIRE: dict[str, Callable[[Any, int, Dialect], Iterable[Turn]]] = {
    "human": _human,
    "ai": _ai,
    "system": _system,
    "tool": _tool,
    "chat": _chat,
    "function": _function,
}


def _named(turn: Turn, message: Any) -> Turn:
    if name := message.name or message.additional_kwargs.get("name"):
        turn["name"] = name
    return turn


def _content(content: Any, role: str, position: int, dialect: Dialect) -> Any:
    if isinstance(content, str):
        return content
    from modelwire.adapters.wires.openai_chat.blocks_to_wire import to_wire

    parts = to_wire(
        content,
        role=role,
        position=position,
        extra_types=dialect.extra_block_types,
        cache_control=dialect.cache_control,
    )
    return parts or ""  # The API rejects an empty list.


def _assistant_content(content: Any, position: int, dialect: Dialect) -> Any:
    """Return the content of an answer. If blocks were dropped and only texts remain, they are joined into one text."""
    parts = _content(content, "assistant", position, dialect)
    if isinstance(parts, str) or len(parts) == len(content):
        return parts
    if all(part.keys() == {"type", "text"} for part in parts):
        return "".join(part["text"] for part in parts)
    return parts


def _tool_calls(message: AIMessage, position: int) -> list[JSON]:
    calls = [
        _tool_call(it["id"], it["name"], arguments_json(it["args"], position))
        for it in message.tool_calls
    ]
    # A tool message may answer an invalid call too, so it is sent, with the arguments' text as the model wrote it.
    calls += [
        _tool_call(bad["id"], bad["name"], bad["args"] or "") for bad in message.invalid_tool_calls
    ]
    if calls:
        return calls
    if raw := message.additional_kwargs.get("tool_calls"):
        return list(raw)
    content: Any = message.content
    if isinstance(content, str):
        return []
    return [
        _tool_call(
            block.get("id"), block.get("name"), arguments_json(block.get("input") or {}, position)
        )
        for block in content
        if type_of(block) == "tool_use"
    ]


def _tool_call(id_: Any, name: Any, arguments: str) -> JSON:
    return {"id": id_, "type": "function", "function": {"name": name or "", "arguments": arguments}}


def _put_extras(calls: list[JSON] | None, extras: Fields) -> None:
    """Add their extra fields to the calls, in place. A call of a custom tool gets its plain text instead of JSON."""
    for position, call in enumerate(calls or ()):
        more = extras.get(str(call.get("id")))
        if not isinstance(more, Mapping) or "function" not in call:
            continue
        full = {**call, **more}
        if full["type"] == "custom":
            function = full.pop("function")
            full["custom"] = {"name": function["name"], "input": _free_text(function["arguments"])}
        calls[position] = full  # type: ignore[index]  # `calls` is not None inside the loop.


def _free_text(arguments: str) -> str:
    """Return the text of a custom tool's call, which our decoder has stored as the JSON object `{"__arg1": text}`."""
    from pydantic_core import from_json

    try:
        return str(from_json(arguments)["__arg1"])
    except (ValueError, KeyError, TypeError):
        return arguments


def arguments_json(args: Any, position: int) -> str:
    """Return the arguments of a tool call as JSON text. Raises `InvalidArgument` if they are not JSON values."""
    from pydantic_core import PydanticSerializationError, to_json

    try:
        return to_json(args).decode()
    except (PydanticSerializationError, ValueError) as exc:
        raise InvalidArgument(
            f"Message {position}: the arguments of a tool call are not JSON: {exc}."
        ) from exc
