"""Public names that are imported when they are first used (PEP 562). Imports nothing of ours."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

__all__ = ["exports"]


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
        value = getattr(import_module(module), name)
        setattr(sys.modules[package], name, value)
        return value

    def __dir__() -> list[str]:
        return sorted({*every, *vars(sys.modules[package])})

    return __getattr__, __dir__, every
