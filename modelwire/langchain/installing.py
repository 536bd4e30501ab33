"""`install()` makes LangChain accept modelwire's objects without `as_langchain`, also to the right of its own `|`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from importlib import import_module
from typing import Any

from modelwire import messages
from modelwire.aliases import JSON
from modelwire.errors import MissingDependency
from modelwire.langchain.convert import as_langchain
from modelwire.messages import BaseMessage
from modelwire.runnables import Runnable
from modelwire.tools import BaseTool

__all__ = ["install", "uninstall"]

# The classes of modelwire's messages that a checkpoint of LangGraph may contain.
_KEPT = frozenset(
    f"{name}Message{chunk}"
    for name in ("AI", "Chat", "Function", "Human", "System", "Tool")
    for chunk in ("", "Chunk")
)
# Functions and methods of LangChain's that convert objects of a program. Only the first must exist.
_TAUGHT = (
    ("langchain_core.runnables.base", "coerce_to_runnable"),
    ("langchain_core.runnables.base", "Runnable.with_fallbacks"),
    ("langchain_core.runnables.base", "RunnableSerializable.configurable_alternatives"),
    ("langchain_core.runnables.branch", "RunnableBranch.__init__"),
    ("langchain_core.messages.utils", "_convert_to_message"),
    ("langchain_core.prompts.chat", "_convert_to_message_template"),
    ("langchain_core.tools.convert", "tool"),
    ("langchain_core.utils.function_calling", "convert_to_openai_function"),
    ("langgraph._internal._runnable", "coerce_to_runnable"),
)


def install() -> None:
    """Make LangChain convert modelwire's objects where it reads a chain, a graph's node, messages or tools.

    Afterwards `their_prompt | model | their_parser` works with a model of modelwire's, and runs `as_langchain(model)`:
    the chain is LangChain's from end to end, and answers with its messages. The same is true of
    `with_fallbacks([model])`, of `configurable_alternatives(..., other=model)`, and of modelwire's tools in
    `create_agent`, `create_react_agent`, `ToolNode` and `bind_tools` of LangChain's models. `langchain`'s
    `init_chat_model` also makes modelwire's models: `init_chat_model("modelwire:openai:gpt-4o-mini")`. Where LangChain
    checks the class of a model, write `as_langchain(...)` as before.

    It wraps six functions and three methods of LangChain and LangGraph for the whole process. It also adds a row to
    LangChain's table of providers, and modelwire's messages to those that LangGraph's strict mode reads from
    checkpoints. Other objects pass through the functions unchanged. A second call changes nothing; `uninstall()` undoes
    the first.

    Raises:
        MissingDependency: This version of LangChain does not have the function for chains.
    """
    for position, (module, path) in enumerate(_TAUGHT):
        try:
            place, name = _place(module, path)
            original = getattr(place, name)
        except (ImportError, AttributeError) as exc:
            if position == 0:
                raise MissingDependency(
                    f"`{module}` has no `{path}`: write `as_langchain(...)` instead."
                ) from exc
            continue
        if not hasattr(original, "taught_by_modelwire"):
            _put(place, name, original, _taught(original))
    _add_provider()
    _let_checkpoints_read(lambda known, ours: known | ours)


def uninstall() -> None:
    """Undo `install()`: restore LangChain's functions, and remove the provider `modelwire`."""
    for module, path in _TAUGHT:
        try:
            place, name = _place(module, path)
            taught = getattr(place, name)
        except (ImportError, AttributeError):
            continue
        if hasattr(taught, "taught_by_modelwire"):
            _put(place, name, taught, taught.__wrapped__)
    providers = _providers()
    if providers is not None:
        providers.pop("modelwire", None)
    _let_checkpoints_read(lambda known, ours: known - ours)


def _place(module: str, path: str) -> tuple[Any, str]:
    """Return the module or the class that `path` leads to, and the name in it."""
    owner, _, name = path.rpartition(".")
    place: Any = import_module(module)
    if owner:
        place = getattr(place, owner)
    return place, name


def _put(place: Any, name: str, old: Any, new: Any) -> None:
    """Replace `old` by `new` in its class, or in its module and in every module that has imported it by any name."""
    if isinstance(place, type):
        setattr(place, name, new)
        return
    for module in list(sys.modules.values()):
        if not getattr(module, "__name__", "").startswith(("langchain", "langgraph")):
            continue
        for known, value in list(vars(module).items()):
            if value is old:
                setattr(module, known, new)


def _taught(original: Any) -> Any:
    """Return a function that converts modelwire's objects among its arguments, and calls `original`."""
    makes_tool = original.__name__ == "tool"

    @wraps(original)
    def taught(*args: Any, **kwargs: Any) -> Any:
        if (
            makes_tool and args and isinstance(args[0], BaseTool)
        ):  # `tool()` gets a tool instead of a function.
            return as_langchain(args[0])
        for name in kwargs:
            kwargs[name] = _as_theirs(kwargs[name])
        return original(*map(_as_theirs, args), **kwargs)

    taught.taught_by_modelwire = True  # type: ignore[attr-defined]
    return taught


def _as_theirs(thing: Any) -> Any:
    """Return LangChain's counterpart of a runnable, a message, or a list of them; anything else unchanged."""
    if type(thing) in (list, tuple) and any(map(_is_ours, thing)):
        return type(thing)(_as_theirs(one) for one in thing)
    if _is_ours(thing):
        return as_langchain(thing)
    return thing


def _is_ours(thing: Any) -> bool:
    """Return whether `thing` is a runnable or a message of modelwire's, or of a user's subclass of one."""
    return isinstance(thing, BaseMessage | Runnable)


def _add_provider() -> None:
    """Make LangChain's `init_chat_model` create modelwire's models, if the package `langchain` is installed."""
    providers = _providers()
    if providers is not None:
        providers.setdefault("modelwire", ("modelwire.langchain", "ModelwireChatModel", _made))


def _providers() -> JSON | None:
    """Return the table of `langchain`'s `init_chat_model`; None if it cannot be found, as without that package."""
    try:
        base = import_module("langchain.chat_models.base")
    except ImportError:
        return None
    providers: Any = getattr(base, "_BUILTIN_PROVIDERS", None)
    if isinstance(providers, dict) and "openai" in providers:
        return providers
    return None


def _let_checkpoints_read(
    change: Callable[[frozenset[Any], frozenset[Any]], frozenset[Any]],
) -> None:
    """Change the set of classes that LangGraph reads from checkpoints in its strict mode (`LANGGRAPH_STRICT_MSGPACK`).

    `change` gets that set and modelwire's messages, and returns the new set. The names here are those of
    langgraph-checkpoint 4.3 (`serde/_msgpack.py`), read 2026-11; its set has LangChain's messages.
    """
    try:
        serde: Any = import_module("langgraph.checkpoint.serde._msgpack")
    except ImportError:
        return
    known = getattr(serde, "SAFE_MSGPACK_TYPES", None)
    if isinstance(known, frozenset):
        ours = (getattr(messages, name) for name in _KEPT)
        serde.SAFE_MSGPACK_TYPES = change(
            known, frozenset((cls.__module__, cls.__name__) for cls in ours)
        )


def _made(cls: Any, **kwargs: Any) -> Any:
    return cls(**kwargs)
