"""Public names that are imported when they are first used (PEP 562). Imports nothing of ours."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

__all__ = ["exports", "importing"]


_lock = threading.Lock()
_importing = 0  # how many threads are at it
_collecting = False  # before the first of them began


@contextmanager
def importing(package: str | None = None) -> Generator[None]:
    """Let the garbage collector rest while big packages are imported: nothing that an import makes is garbage.

    It would run dozens of times over all the objects of pydantic and httpcore2, a tenth of a script's start; and once
    more right afterwards, if what has been made were not counted as old. Does nothing where `package` is there already.
    """
    if package in sys.modules:
        yield
        return
    global _importing, _collecting
    with _lock:
        _importing += 1
        if _importing == 1:
            _collecting = gc.isenabled()
            gc.disable()
    try:
        yield
    finally:
        with _lock:
            _importing -= 1
            if _importing == 0 and _collecting:
                if gc.get_freeze_count() == 0:  # else somebody keeps objects frozen, and they must stay so
                    gc.freeze()
                    gc.unfreeze()  # into the oldest generation
                gc.enable()


def exports(
    package: str, names_by_module: Mapping[str, str | Sequence[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return `__getattr__`, `__dir__` and `__all__` for `package`, whose names live in the modules given.

    Names are listed, or stand in one text with spaces between. A name is looked up once; after that it is an ordinary
    attribute of the package.
    """
    home = {
        name: module
        for module, names in names_by_module.items()
        for name in (names.split() if isinstance(names, str) else names)
    }
    every = sorted(home)

    def __getattr__(name: str) -> Any:
        module = home.get(name)
        if module is None:
            raise AttributeError(f"module `{package}` has no attribute `{name}`")
        with importing():
            value = getattr(import_module(module), name)
        setattr(sys.modules[package], name, value)
        return value

    def __dir__() -> list[str]:
        return sorted({*every, *vars(sys.modules[package])})

    return __getattr__, __dir__, every
