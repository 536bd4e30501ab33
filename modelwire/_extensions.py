"""The core finds its extensions by the table in this module. No other module of the core names one.

The core works without its extensions. Each module of the table is imported when a program uses it; if it is missing,
the program gets an error with its name. Plugins of other packages come by entry points instead
(`adapters/providers/plugins.py`).
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

from modelwire.errors import MissingDependency

__all__ = ["extension", "loaded_extension"]

# The name by which the core asks for an extension, and its module.
_MODULES = {
    "batch_api": "modelwire.jobs.batch_api",
    "fleet": "modelwire.fleet",
    "jobs": "modelwire.jobs",
    "langchain": "modelwire.langchain",
    "local": "modelwire.local",
    "local_server": "modelwire.local.server",
    "notebooks": "modelwire.notebooks",
}


def extension(name: str) -> Any:
    """Return the module of an extension.

    Raises: `MissingDependency` if this installation of modelwire does not have it.
    """
    module = _MODULES[name]
    try:
        return import_module(module)
    except ModuleNotFoundError as exc:
        if exc.name is None or not module.startswith(exc.name):
            raise  # The extension is there; a package that it needs is not.
        raise MissingDependency(
            f"This installation of modelwire has no `{module}`: `pip install modelwire` installs the whole package."
        ) from exc


def loaded_extension(name: str) -> Any:
    """Return the module of an extension if the program has loaded it, else None."""
    return sys.modules.get(_MODULES[name])
