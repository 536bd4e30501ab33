"""Recognizes objects of LangChain, and converts them by `modelwire.langchain`. The rest of modelwire uses only this.

No code here imports `langchain_core`. If the program has not loaded it, no object can be LangChain's, and each check
only looks into `sys.modules`.
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
    """Return whether `cls` is LangChain's class `name` or a subclass of it."""
    if "langchain_core" not in sys.modules:
        return False
    return any(base.__name__ == name and base.__module__.startswith(_ROOTS) for base in cls.__mro__)


def own(kind: str, thing: Any) -> Any:
    """Return modelwire's counterpart of an object of LangChain.

    `kind` is the kind of the result: "value", "runnable", "tool" (an OpenAI function), "callable_tool", "handler",
    "manager", "history", or "form" (a dict that `modelwire.load` writes). Raises `InvalidType` for an object without a
    counterpart, `MissingDependency` if the installed LangChain is too old.
    """
    return getattr(import_module("modelwire.langchain"), f"own_{kind}")(thing)
