"""Converts messages, prompts, documents and results between the classes of modelwire and of LangChain.

The classes of both have the same fields under the same names, so fields are moved without parsing, validation or JSON.
Lists and dicts of a message are copied; an artifact stays the same object.
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
# The classes that are converted, by their module, whose name is the same in both libraries.
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
# These fields of a message hold objects of the program, which are not copied.
_AS_THEY_ARE = frozenset({"artifact"})
_CONTAINERS = (dict, list, tuple)
# A function that returns the class for values of a class in the other library, or None.
_Target = Callable[[type], type | None]


def to_langchain(value: Any) -> Any:
    """Convert modelwire's messages, prompts and documents to LangChain's, also inside of lists, tuples and dicts.

    Ids, usage, artifacts, statuses and content blocks are kept. A value that LangChain has no class for, such as a text
    or an object of your own, is returned unchanged.
    """
    return _converted(value, _their_class)


def from_langchain(value: Any) -> Any:
    """Convert LangChain's messages, prompts and documents to modelwire's: the reverse of `to_langchain`.

    Raises:
        InvalidType: The value contains a message of a kind that modelwire does not have.
    """
    return _converted(value, _our_class)


own_value = from_langchain


def own_form(thing: Any) -> Any:
    """Return LangChain's serialised form of one of its objects (`langchain_core.load.dumpd`)."""
    from langchain_core.load import dumpd

    return dumpd(thing)


def own_messages(messages: list[Any]) -> list[BaseMessage]:
    return [_converted(message, _our_class) for message in messages]


def their_messages(messages: list[BaseMessage]) -> list[Any]:
    return [_converted(message, _their_class) for message in messages]


def _converted(value: Any, target: _Target) -> Any:
    """Return `value` with its objects moved to the classes that `target` names; the same object if nothing changes."""
    kind = type(value)
    if kind in _CONTAINERS or kind.__name__ == "AddableDict":
        return _converted_container(value, target)
    cls = target(kind)
    if cls is not None:
        return _moved(value, cls, target)
    if kind.__name__ == "Command":
        return _converted_command(value, target)
    return value


def _converted_container(value: Any, target: _Target) -> Any:
    if isinstance(value, dict):
        items = {key: _converted(item, target) for key, item in value.items()}
        if all(items[key] is item for key, item in value.items()):
            return value
        return type(value)(items)
    parts = [_converted(item, target) for item in value]
    if all(new is old for new, old in zip(parts, value, strict=True)):
        return value
    return type(value)(parts)


def _converted_command(value: Any, target: _Target) -> Any:
    """Return LangGraph's `Command` with its values converted; an object of another class is returned unchanged."""
    if type(value).__module__ != "langgraph.types":
        return value
    return replace(
        value,
        update=_converted(value.update, target),
        resume=_converted(value.resume, target),
    )


def _moved(value: Any, cls: Any, target: _Target) -> Any:
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
        if len(source) > len(
            fields
        ):  # The value has fields that the target class does not declare.
            extra |= {name: item for name, item in source.items() if name not in fields}
    moved = cls.__new__(cls)
    set_slots(moved, fields, value.__pydantic_fields_set__ & fields.keys(), extra)
    return moved


class _Form(NamedTuple):
    """The fields of a class, with their defaults, and how its values are made."""

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
    # An empty one, as most are, costs no comprehension.
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
    """Return LangChain's class for values of modelwire's class `kind`; None if it has none."""
    return _counterpart(kind, "modelwire.", "langchain_core")


@lru_cache(maxsize=256)
def _our_class(kind: type) -> type | None:
    """Return modelwire's class for values of LangChain's class `kind`; None if it has none.

    Raises: `InvalidType` if `kind` is a class of messages, and modelwire has none for it.
    """
    found = _counterpart(kind, "langchain_core.", "modelwire")
    if found is None:
        bases = [f"{base.__module__}.{base.__name__}" for base in kind.__mro__]
        if _THEIR_BASE in bases:
            raise InvalidType(
                f"modelwire has no kind of message for `{kind.__module__}.{kind.__name__}`. Derive it from one of "
                f"{', '.join(f'`{name}`' for name in _KINDS)}, or pass a dict with `role` and `content`."
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
