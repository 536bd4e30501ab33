"""Public names that are imported when they are first used (PEP 562). Imports nothing of ours."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any

__all__ = ["exports", "load"]


def load(module: str) -> ModuleType:
    """Import `module` with the garbage collector at rest: nothing that an import makes is garbage.

    It would run dozens of times over the half million objects of pydantic and httpx2, a twentieth of a script's start.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        return import_module(module)
    finally:
        if collecting:
            gc.enable()


def exports(
    package: str, names_by_module: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return `__getattr__`, `__dir__` and `__all__` for `package`, whose names live in the modules given.

    A name is looked up once; after that it is an ordinary attribute of the package.
    """
    home = {name: module for module, names in names_by_module.items() for name in names}
    every = sorted(home)

    def __getattr__(name: str) -> Any:
        module = home.get(name)
        if module is None:
            raise AttributeError(f"module `{package}` has no attribute `{name}`")
        value = getattr(load(module), name)
        setattr(sys.modules[package], name, value)
        return value

    def __dir__() -> list[str]:
        return sorted({*every, *vars(sys.modules[package])})

    return __getattr__, __dir__, every
