"""Public names and old import paths that are resolved when a program first uses them (PEP 562, PEP 451)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

__all__ = ["exports", "find_old_paths", "module"]


class _LazyModule:
    """A stand-in for a module, which is imported when one of its names is first used."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        found = sys.modules.get(self._name)
        # If another thread is importing the module, `import_module` waits for it.
        if found is None or getattr(found.__spec__, "_initializing", False):
            found = import_module(self._name)
        return getattr(found, name)


def module(name: str) -> Any:
    """Return a stand-in for the module `name`, imported on first use. Type checkers need a real import as well."""
    return _LazyModule(name)


def exports(
    package: str, names_by_module: Mapping[str, str | Sequence[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return `__getattr__`, `__dir__` and `__all__` of a package whose names other modules define.

    `names_by_module` has the names of each module, as a list or as one text with spaces between them. The first use of
    a name imports its module; after that the name is an ordinary attribute of the package.
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
        value = getattr(import_module(module), name)
        setattr(sys.modules[package], name, value)
        return value

    def __dir__() -> list[str]:
        return sorted({*every, *vars(sys.modules[package])})

    return __getattr__, __dir__, every


class _OldPaths:
    """The import finder for the paths of `modelwire.compat`. As the last finder it never hides a module that exists."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if not name.startswith("modelwire.") or name.startswith("modelwire.compat"):
            return None
        from importlib.machinery import ModuleSpec

        homes = import_module("modelwire.compat").homes_of(name)
        return None if homes is None else ModuleSpec(name, self, is_package=True)  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> None:
        """Return None, so that the import system creates the module."""

    def exec_module(self, module: Any) -> None:
        homes = import_module("modelwire.compat").homes_of(module.__name__)
        module.__getattr__, module.__dir__, module.__all__ = exports(module.__name__, homes)


def find_old_paths() -> None:
    """Install the finder for the import paths of `modelwire.compat`, once for each process."""
    if not any(type(finder).__name__ == "_OldPaths" for finder in sys.meta_path):
        sys.meta_path.append(_OldPaths())
