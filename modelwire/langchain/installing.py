"""`install()`: LangChain takes our objects as they are, also on the right of its own `|`."""

from __future__ import annotations

import sys
from functools import wraps
from importlib import import_module
from typing import Any

from modelwire.errors import MissingDependency
from modelwire.langchain.convert import as_langchain
from modelwire.messages import BaseMessage
from modelwire.runnables.base import Runnable

__all__ = ["install"]

# Functions and methods of LangChain's that take runnables or messages from a program; the first must be there.
_TAUGHT = (
    ("langchain_core.runnables.base", "coerce_to_runnable"),
    ("langchain_core.runnables.base", "Runnable.with_fallbacks"),
    ("langchain_core.runnables.base", "RunnableSerializable.configurable_alternatives"),
    ("langchain_core.messages.utils", "_convert_to_message"),
    ("langgraph._internal._runnable", "coerce_to_runnable"),
)


def install() -> None:
    """Have LangChain turn our objects into its own where it reads a chain, a graph's node or a list of messages.

    After it, `their_prompt | model | their_parser` works with a model of ours, and `as_langchain(model)` is what runs
    there: the chain is LangChain's from end to end, and answers with its messages. So do `with_fallbacks([model])` and
    `configurable_alternatives(..., other=model)`. `langchain`'s `init_chat_model` also makes our models:
    `init_chat_model("modelwire:openai:gpt-4o-mini")`. Where LangChain asks for a model or a tool by its class
    (`create_agent`, `bind_tools`), write `as_langchain(...)` as before.

    It wraps three functions and two methods of LangChain's, for the whole process, and adds a row to its table of
    providers. Calling it again changes nothing.

    Raises:
        MissingDependency: This version of LangChain does not have the function for chains.
    """
    for position, (module, path) in enumerate(_TAUGHT):
        owner, _, name = path.rpartition(".")
        try:
            place = import_module(module)
            place = getattr(place, owner) if owner else place
            original = getattr(place, name)
        except (ImportError, AttributeError) as exc:
            if position == 0:
                raise MissingDependency(
                    f"`{module}` has no `{name}`: write `as_langchain(...)` instead."
                ) from exc
            continue
        if hasattr(original, "taught_by_modelwire"):
            continue
        if owner:
            setattr(place, name, _taught(original))
        else:
            _replace(name, original, _taught(original))
    _add_provider()


def _taught(original: Any) -> Any:
    @wraps(original)
    def taught(*args: Any, **kwargs: Any) -> Any:
        return original(
            *map(_as_theirs, args), **{name: _as_theirs(value) for name, value in kwargs.items()}
        )

    taught.taught_by_modelwire = True  # type: ignore[attr-defined]
    return taught


def _as_theirs(thing: Any) -> Any:
    """Return LangChain's counterpart of a runnable or a message of ours, also in a list; anything else as it is."""
    if isinstance(thing, list | tuple) and any(map(_is_ours, thing)):
        return [_as_theirs(one) for one in thing]
    return as_langchain(thing) if _is_ours(thing) else thing


def _replace(name: str, original: Any, taught: Any) -> None:
    """Put `taught` in the place of `original` in every module that has imported it."""
    for module in list(sys.modules.values()):
        is_theirs = getattr(module, "__name__", "").startswith(("langchain", "langgraph"))
        if is_theirs and module.__dict__.get(name) is original:
            setattr(module, name, taught)


def _is_ours(thing: Any) -> bool:
    """Tell a runnable or a message of ours, also of a class of the user's own that is built on one of ours."""
    return isinstance(thing, BaseMessage | Runnable)


def _add_provider() -> None:
    """Let LangChain's `init_chat_model` make our models, where the package `langchain` is there."""
    try:
        base = import_module("langchain.chat_models.base")
    except ImportError:
        return
    providers: Any = getattr(base, "_BUILTIN_PROVIDERS", None)
    if isinstance(providers, dict) and "openai" in providers:
        providers.setdefault("modelwire", ("modelwire.langchain", "ModelwireChatModel", _made))


def _made(cls: Any, **kwargs: Any) -> Any:
    return cls(**kwargs)
