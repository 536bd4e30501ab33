"""What the rest of modelwire knows of LangChain: how to see one of its objects, and whom to ask about it.

Nothing here imports `langchain_core`. As long as the program has not loaded it no object can be one of its own, and
every question costs one look into `sys.modules`.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

__all__ = ["is_langchain", "is_langchains", "own"]

_ROOTS = ("langchain_core.",)


def is_langchain(thing: object) -> bool:
    """Return whether `thing` is an object of a LangChain class or of a subclass of one."""
    if "langchain_core" not in sys.modules:
        return False
    return any(cls.__module__.startswith(_ROOTS) for cls in type(thing).__mro__)


def is_langchains(cls: type, name: str) -> bool:
    """Return whether `cls` is LangChain's class `name`, or one that is built on it."""
    if "langchain_core" not in sys.modules:
        return False
    return any(base.__name__ == name and base.__module__.startswith(_ROOTS) for base in cls.__mro__)


def own(kind: str, thing: Any) -> Any:
    """Return our counterpart of an object of LangChain's.

    `kind` is what it shall be here: "value", "runnable", "tool" (as OpenAI's function), "callable_tool",
    "handler", "manager", "history", or "form" (what `modelwire.load` writes). Raises `InvalidType` for what has no
    counterpart, `MissingDependency` for a LangChain that is too old.
    """
    return getattr(import_module("modelwire.langchain"), f"own_{kind}")(thing)
