"""Converts message-like values to messages, chunks to messages, messages to dicts and back.

Pure.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

from modelwire import lazy
from modelwire.aliases import JSON, Kwargs, Values
from modelwire.errors import InvalidArgument, InvalidType, did_you_mean, warn_caller
from modelwire.langchain_bridge import is_langchain, own
from modelwire.messages.base import (
    BaseMessage,
    BaseMessageChunk,
    assemble,
    message_to_dict,
    messages_to_dict,
)
from modelwire.messages.serialised import unescaped

if TYPE_CHECKING:
    from modelwire.messages import tool_calls as reading
    from modelwire.messages.ai import AIMessage
    from modelwire.messages.any_message import MessageLikeRepresentation
else:
    reading = lazy.module("modelwire.messages.tool_calls")

__all__ = [
    "_message_from_dict",
    "convert_to_message",
    "convert_to_messages",
    "message_chunk_to_message",
    "message_to_dict",
    "messages_from_dict",
    "messages_to_dict",
]

# This maps the `type` of a message to its class. For a chunk, the type is the name of its class.
TYPES = {
    "human": "HumanMessage",
    "ai": "AIMessage",
    "system": "SystemMessage",
    "tool": "ToolMessage",
    "function": "FunctionMessage",
    "chat": "ChatMessage",
    "remove": "RemoveMessage",
}
TYPES |= {f"{name}Chunk": f"{name}Chunk" for name in TYPES.values() if name != "RemoveMessage"}
# This maps the roles that people and providers use to types. OpenAI's newer models call the system
# message `developer`.
_TYPE_OF_ROLE = {
    "human": "human",
    "user": "human",
    "ai": "ai",
    "assistant": "ai",
    "system": "system",
    "developer": "system",
    "tool": "tool",
    "function": "function",
    "remove": "remove",
}
_OPENAI_ROLES = {
    "human": "user",
    "ai": "assistant",
    "system": "system",
    "tool": "tool",
    "function": "function",
}
# This is LangChain's code for a value that cannot become a message. Scripts and their tests look
# for it in the text.
COERCION_CODE = "MESSAGE_COERCION_FAILURE"
# An error shows at most this many characters of a role or key, which may be a prompt in the wrong
# place.
ROLE_CHARS = 40
_DEVELOPER = {"__openai_role__": "developer"}
# An assistant message of OpenAI may have one of these instead of content:
# https://platform.openai.com/docs/api-reference/chat/create, read 2026-11.
_INSTEAD_OF_CONTENT = ("tool_calls", "function_call")


def convert_to_messages(messages: Iterable[MessageLikeRepresentation] | Any) -> list[BaseMessage]:
    """Return messages for message-like values: messages, texts, `(role, content)` pairs, dicts with a role or type.

    Takes one text, message or dict, any iterable of them, or a prompt value. A text becomes a user
    message; a dict may have OpenAI's keys (`tool_calls`, `refusal`, `tool_call_id`). The messages
    of the input stay the same objects.
    Raises: `InvalidArgument` or `InvalidType`, naming the message and its wrong role or type.
    """
    if type(messages) is str:
        return [_message_class("HumanMessage").of(messages)]
    if isinstance(messages, str | BaseMessage | Mapping):
        return [convert_to_message(messages)]
    if isinstance(messages, bytes | bytearray):
        raise InvalidType("A prompt is a text, not bytes: decode it, as with `data.decode()`.")
    to_messages = getattr(messages, "to_messages", None)
    if callable(to_messages):
        value: Any = own("value", messages) if is_langchain(messages) else messages
        return cast("list[BaseMessage]", value.to_messages())
    if is_langchain(messages):  # It is iterable, like every pydantic object.
        return [convert_to_message(messages)]
    if not isinstance(messages, Iterable):
        raise _foreign(messages)
    if (
        isinstance(messages, tuple)
        and len(messages) == 2
        and messages[0] in (*_TYPE_OF_ROLE, *TYPES)
    ):
        warn_caller(
            f"A pair alone is read as two messages of the user, {messages[0]!r} and another. For one message write "
            f"`[({messages[0]!r}, ...)]`."
        )
    converted: list[BaseMessage] = []
    for message in messages:
        if isinstance(message, BaseMessage):
            converted.append(message)
            continue
        try:
            converted.append(convert_to_message(message))
        except InvalidArgument as exc:
            raise type(exc)(f"Message {len(converted)}: {exc} ({COERCION_CODE})") from exc
    return converted


def convert_to_message(message: MessageLikeRepresentation | Any) -> BaseMessage:
    """Return the message for one message-like value; see `convert_to_messages`.

    Raises: `InvalidArgument` or `InvalidType` for a value that is not a message.
    """
    if isinstance(message, BaseMessage):
        return message
    if isinstance(message, str):
        return _message_class("HumanMessage").of(message)
    if isinstance(message, Mapping):
        return _from_mapping(message)
    if isinstance(message, Sequence):
        if len(message) != 2:
            raise InvalidArgument(
                f"A message written as a sequence must be `(role, content)`; this one has {len(message)} elements."
            )
        return _from_role(message[0], message[1], {})
    if (converted := own_message(message)) is not None:
        return converted
    raise _foreign(message)


def own_message(thing: object) -> BaseMessage | None:
    """Return LangChain's message as one of modelwire's, None for anything else."""
    converted = own("value", thing) if is_langchain(thing) else None
    if isinstance(converted, BaseMessage):
        return converted
    return None


def _foreign(message: object) -> InvalidType:
    if isinstance(message, type) and issubclass(message, BaseMessage):
        name = message.__name__
        return InvalidType(f'`{name}` is a class: make a message of it, such as `{name}("hi")`.')
    return InvalidType(
        f"Unsupported message type: `{type(message).__module__.partition('.')[0]}`'s `{type(message).__name__}`. "
        "Give a message of `modelwire.messages`, a text, a `(role, content)` pair or a dict with `role` and `content`."
    )


def _from_mapping(message: Values) -> BaseMessage:
    if (
        message.get("lc") == 1
        and message.get("type") == "constructor"
        and isinstance(message.get("kwargs"), Mapping)
    ):
        return _from_envelope(message)
    rest = dict(message)
    role = rest.pop("role") if "role" in rest else rest.pop("type", None)
    has_content = (
        "content" in rest or role == "remove" or any(rest.get(key) for key in _INSTEAD_OF_CONTENT)
    )
    if ("role" not in message and "type" not in message) or not has_content:
        raise InvalidArgument(
            f"Message dict must contain 'role' and 'content' keys, got the keys {_listed(message)}."
        )
    content = rest.pop("content", None)
    return _from_role(role, "" if content is None else content, rest)


def _from_envelope(message: Values) -> BaseMessage:
    """Return the message that LangChain has serialised: the path of its class and its arguments."""
    path = message.get("id")
    if isinstance(path, list) and path:
        name = str(path[-1]).removesuffix("Chunk")
    else:
        name = ""
    if name not in TYPES.values():
        raise InvalidArgument(
            f"Unexpected message type: a serialised object of class `{name}` is not a message."
        )
    fields = {key: unescaped(value) for key, value in message["kwargs"].items() if key != "type"}
    return _message_class(name)(**fields)


def _listed(message: Values) -> str:
    return (
        ", ".join(f"`{str(key)[:ROLE_CHARS]}`" for key in islice(message, 10)) or "of an empty dict"
    )


def _from_role(role: object, content: Any, rest: Kwargs) -> BaseMessage:
    """Return the message for a role; `rest` has the other keys of the dict that is converted."""
    kind = _TYPE_OF_ROLE.get(role) if isinstance(role, str) else None
    if kind is None:
        if not isinstance(role, str):
            raise InvalidType(
                f"Unexpected message type: a role must be a text, not a `{type(role).__name__}`."
            )
        if not role.endswith("Chunk") or role not in TYPES:
            shown = role[:ROLE_CHARS]
            raise InvalidArgument(
                f"Unexpected message type: `{shown}`. {did_you_mean(shown, list(_TYPE_OF_ROLE))}"
            )
        kind = role
    class_name = TYPES[kind]
    if kind == "tool" and rest.get("tool_call_id") is None:
        raise InvalidArgument(
            "A tool message needs `tool_call_id`, the id of the tool call whose result it is."
        )
    if kind == "function" and not rest.get("name"):
        raise InvalidArgument(
            "A function message needs `name`, the name of the function whose result it is."
        )
    if not rest and role != "developer":
        return _build(kind, class_name, content, {})
    fields = _known_fields(_message_class(class_name), rest)
    if role == "developer":
        fields["additional_kwargs"] = {**_DEVELOPER, **fields.get("additional_kwargs", {})}
    if fields.get("tool_calls"):
        raw = fields["tool_calls"]
        fields.update(_read_tool_calls(raw, fields.get("invalid_tool_calls") or []))
        if extras := _extras_of(raw):
            fields["additional_kwargs"] = {**extras, **fields.get("additional_kwargs", {})}
    return _build(kind, class_name, content, fields)


def _known_fields(cls: type[BaseMessage], rest: Kwargs) -> Kwargs:
    """Return the keys of a message dict as fields of its class; unknown keys go to `additional_kwargs`."""
    known: Kwargs = {}
    unknown: Kwargs = {}
    for name, value in rest.items():
        if value is None and name != "refusal":  # Dumps have null for missing values.
            continue
        if name in cls.__pydantic_fields__ and name != "type":
            known[name] = value
        elif name != "example":  # Old dumps have this field.
            unknown[name] = value
    if unknown:
        known["additional_kwargs"] = {**unknown, **known.get("additional_kwargs", {})}
    return known


def _read_tool_calls(raw_calls: Any, invalid: list[Any]) -> Kwargs:
    """Return the tool calls, in OpenAI's form or in ours, as fields of a message."""
    if not isinstance(raw_calls, Sequence) or isinstance(raw_calls, str):
        raise InvalidType(f"`tool_calls` must be a list, not a `{type(raw_calls).__name__}`.")
    calls = []
    invalid = list(invalid)
    for raw in raw_calls:
        if isinstance(raw, Mapping):
            read, unread = reading.default_tool_parser([cast("dict[str, Any]", raw)])
        else:
            read = []
            unread = []
        if read or unread:
            calls += read
            invalid += unread
        elif (
            isinstance(raw, Mapping)
            and isinstance(raw.get("name"), str)
            and isinstance(raw.get("args"), Mapping)
        ):
            calls.append(
                reading.tool_call(name=raw["name"], args=dict(raw["args"]), id=raw.get("id"))
            )
        else:
            kind = raw.get("type") if isinstance(raw, Mapping) else type(raw).__name__
            raise InvalidArgument(
                f"A tool call of type `{kind}` cannot be read: give `name`, `args` and `id`, or OpenAI's `function`."
            )
    return {"tool_calls": calls, "invalid_tool_calls": invalid}


def _extras_of(raw_calls: Sequence[Values]) -> Kwargs:
    """Return the fields of tool calls in OpenAI's form that must be sent back with them.

    The result is the `additional_kwargs` of the message that has the calls.
    """
    raw = [call for call in raw_calls if "args" not in call and call.get("id")]
    extras = {call["id"]: more for call in raw if (more := reading.tool_call_extras(call))}
    if extras:
        return {reading.CALL_EXTRAS: extras}
    return {}


def _message_class(name: str) -> type[BaseMessage]:
    return cast("type[BaseMessage]", getattr(sys.modules["modelwire.messages"], name))


def _build(kind: str, class_name: str, content: Any, fields: Kwargs) -> BaseMessage:
    """Return a message, without validation if its values are certainly valid."""
    cls = _message_class(class_name)
    if kind == "remove":
        fields.pop("content", None)
        if not fields.get("id"):
            raise InvalidArgument("A remove message needs `id`, the id of the message to remove.")
        return cls(**fields)
    if _is_clean(content) and all(_is_right(name, value) for name, value in fields.items()):
        return cls.of(content if isinstance(content, str) else list(content), **fields)
    return cls(content=content, **fields)


def _is_clean(content: Any) -> bool:
    return isinstance(content, str) or (
        isinstance(content, list) and all(isinstance(block, str | dict) for block in content)
    )


# A value of this type is valid for the field; `_read_tool_calls` has checked `tool_calls`.
_RIGHT = {
    "name": str,
    "id": str,
    "tool_call_id": str,
    "additional_kwargs": dict,
    "tool_calls": list,
    "artifact": object,
}


def _is_right(name: str, value: Any) -> bool:
    return isinstance(value, _RIGHT.get(name, ())) or (name == "invalid_tool_calls" and value == [])


def openai_role(message: BaseMessage) -> str | None:
    """Return OpenAI's role for a message, None for one that is never sent to a model."""
    kind = message.type.removesuffix("MessageChunk").lower()
    if kind == "chat":
        return str(message.role)  # type: ignore[attr-defined]  # what a chat message has
    if kind == "system":
        return str(message.additional_kwargs.get("__openai_role__", "system"))
    return _OPENAI_ROLES.get(kind)


def message_chunk_to_message(chunk: BaseMessage) -> BaseMessage:
    """Return a chunk (usually a sum) as a message, without validation; a message is returned unchanged."""
    if not isinstance(chunk, BaseMessageChunk):
        return chunk
    bases = (base for base in type(chunk).__mro__ if issubclass(base, BaseMessage))
    cls = next(base for base in bases if not issubclass(base, BaseMessageChunk))
    values = chunk.__dict__
    fields = {name: values[name] for name in cls.__pydantic_fields__}
    fields["type"] = cls.__pydantic_fields__["type"].default
    if fields["response_metadata"].get("output_version") == "v1" and isinstance(
        fields["content"], list
    ):
        from modelwire.messages.block_translators.standard import with_calls_whole

        fields["content"] = with_calls_whole(fields["content"], cast("AIMessage", chunk))
    return assemble(cls, fields, (chunk.__pydantic_fields_set__ & fields.keys()) - {"type"})


def messages_from_dict(messages: Sequence[JSON]) -> list[BaseMessage]:
    """Return the messages of dicts that `messages_to_dict` has written."""
    return [_message_from_dict(message) for message in messages]


def _message_from_dict(message: Any) -> BaseMessage:
    """Return the message of a dict that `message_to_dict` has written.

    Raises: `InvalidArgument` for any other value.
    """
    if (
        not isinstance(message, Mapping)
        or "type" not in message
        or not isinstance(message.get("data"), Mapping)
    ):
        raise InvalidArgument(
            "A message dict must have `type` and `data`, as `messages_to_dict` writes it."
        )
    name = TYPES.get(message["type"])
    if name is None:
        raise InvalidArgument(
            f"Got unexpected message type: `{message['type']}`. {did_you_mean(str(message['type']), list(TYPES))}"
        )
    return _message_class(name)(**message["data"])
