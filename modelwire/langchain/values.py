"""Messages, prompts, documents and results: the same value in a class of modelwire's and in one of LangChain's.

Both sides have the same fields under the same names, so a value is moved field by field: nothing is parsed, checked or
written as JSON. Lists and dicts of a message are copied; an artifact stays the same object.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from importlib import import_module
from typing import Any, NamedTuple

from modelwire.aliases import JSON
from modelwire.errors import InvalidType
from modelwire.ext import set_slots
from modelwire.messages import BaseMessage

__all__ = [
    "from_langchain",
    "own_form",
    "own_messages",
    "own_value",
    "their_messages",
    "to_langchain",
]

_KINDS = [f"{name}Message" for name in ("AI", "Chat", "Function", "Human", "System", "Tool")]
# Module, alike on both sides -> the classes in it that are moved.
_MOVED = {
    "messages": ["RemoveMessage", *_KINDS, *(f"{name}Chunk" for name in _KINDS)],
    "documents": ["Document"],
    "prompt_values": ["StringPromptValue", "ChatPromptValue", "ImagePromptValue"],
    "outputs": [
        "ChatGeneration",
        "ChatGenerationChunk",
        "ChatResult",
        "Generation",
        "GenerationChunk",
        "LLMResult",
    ],
}
_AS_THEY_ARE = frozenset({"artifact"})  # of the program, not of the message
_CONTAINERS = (dict, list, tuple)


def to_langchain(value: Any) -> Any:
    """Return the value as LangChain has it: messages, prompts and documents, also inside of lists, tuples and dicts.

    Ids, usage, artifacts, statuses and content blocks stay as they are. What has no counterpart there, such as a text
    or an object of your own, is returned unchanged.
    """
    return _converted(value, _their_class)


def from_langchain(value: Any) -> Any:
    """Return the value as modelwire has it; the way back of `to_langchain`.

    Raises:
        InvalidType: A message of LangChain's of a kind that modelwire does not have.
    """
    return _converted(value, _our_class)


own_value = from_langchain


def own_form(thing: Any) -> Any:
    """Return an object of LangChain's in its serialised form, with its data escaped as LangChain escapes it."""
    from langchain_core.load import dumpd

    return dumpd(thing)


def own_messages(messages: list[Any]) -> list[BaseMessage]:
    return [_converted(message, _our_class) for message in messages]


def their_messages(messages: list[BaseMessage]) -> list[Any]:
    return [_converted(message, _their_class) for message in messages]


def _converted(value: Any, target: Callable[[type], type | None]) -> Any:
    """Return what `value` is with the classes that `target` names; the same object where nothing in it changes."""
    kind = type(value)
    if kind in _CONTAINERS or kind.__name__ == "AddableDict":
        return _converted_container(value, target)
    cls = target(kind)
    if cls is not None:
        return _moved(value, cls, target)
    if kind.__name__ == "Command":
        return _converted_command(value, target)
    return value


def _converted_container(value: Any, target: Callable[[type], type | None]) -> Any:
    if isinstance(value, dict):
        items = {key: _converted(item, target) for key, item in value.items()}
        if all(items[key] is item for key, item in value.items()):
            return value
        return type(value)(items)
    parts = [_converted(item, target) for item in value]
    if all(new is old for new, old in zip(parts, value, strict=True)):
        return value
    return type(value)(parts)


def _converted_command(value: Any, target: Callable[[type], type | None]) -> Any:
    """Return LangGraph's `Command` with its values converted; anything else of that name as it is."""
    if type(value).__module__ != "langgraph.types":
        return value
    return replace(
        value,
        update=_converted(value.update, target),
        resume=_converted(value.resume, target),
    )


def _moved(value: Any, cls: Any, target: Callable[[type], type | None]) -> Any:
    form = _form(cls)
    source = value.__dict__
    fields: JSON = {}
    for name, field in form.fields:
        if name not in source:
            fields[name] = field.get_default(call_default_factory=True)
        elif not form.is_message:
            fields[name] = _converted(source[name], target)
        else:
            fields[name] = source[name] if name in _AS_THEY_ARE else _copied(source[name])
    extra: JSON | None = None
    if form.takes_extra:
        extra = dict(value.__pydantic_extra__ or ())
        if len(source) > len(fields):  # a field that only this class has
            extra |= {name: item for name, item in source.items() if name not in fields}
    moved = cls.__new__(cls)
    set_slots(moved, fields, value.__pydantic_fields_set__ & fields.keys(), extra)
    return moved


class _Form(NamedTuple):
    """What a class's values are made of."""

    fields: list[tuple[str, Any]]
    is_message: bool
    takes_extra: bool


@lru_cache(maxsize=256)
def _form(cls: Any) -> _Form:
    fields = cls.__pydantic_fields__
    return _Form(
        list(fields.items()),
        "additional_kwargs" in fields,
        cls.model_config.get("extra") == "allow",
    )


def _copied(value: Any) -> Any:
    kind = type(value)
    if kind is dict:
        if value:
            return {key: _copied(item) for key, item in value.items()}
        return {}
    if kind is list:
        if value:
            return [_copied(item) for item in value]
        return []
    return value


@lru_cache(maxsize=256)
def _their_class(kind: type) -> type | None:
    """Return LangChain's class for values of our class `kind`, None where it has none."""
    return _counterpart(kind, "modelwire.", "langchain_core")


@lru_cache(maxsize=256)
def _our_class(kind: type) -> type | None:
    """Return our class for values of LangChain's class `kind`, None if it has no counterpart. Raises `InvalidType`."""
    found = _counterpart(kind, "langchain_core.", "modelwire")
    if found is None and any(
        f"{base.__module__}.{base.__name__}" == _THEIR_BASE for base in kind.__mro__
    ):
        raise InvalidType(
            f"`{kind.__module__}.{kind.__name__}` is a message that modelwire has no kind for. Build it on one of "
            f"{', '.join(f'`{name}`' for name in _KINDS)}, or give a dict with `role` and `content`."
        )
    return found


_THEIR_BASE = "langchain_core.messages.base.BaseMessage"


def _counterpart(kind: type, root: str, other: str) -> type | None:
    for base in kind.__mro__:
        if not base.__module__.startswith(root):
            continue
        for module, names in _MOVED.items():
            if base.__name__ in names:
                return getattr(import_module(f"{other}.{module}"), base.__name__)  # type: ignore[no-any-return]
        if base.__name__ == "ChatPromptValueConcrete":
            return import_module(f"{other}.prompt_values").ChatPromptValue  # type: ignore[no-any-return]
    return None
