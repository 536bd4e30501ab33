"""Finds providers in other packages, which register them as entry points of the group `modelwire.providers`.

The name of an entry point is the name of the provider. Its object is a row (`Service`, `Provider`) or a class of chat
models, which is imported only when a program names that provider. docs/plugins.md shows how to write one.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from modelwire import lazy
from modelwire.adapters.providers.rows import Provider
from modelwire.adapters.providers.services import Service
from modelwire.errors import InvalidArgument

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from modelwire import adapters
    from modelwire.adapters import BaseChatModel
else:
    adapters = lazy.module("modelwire.adapters")

GROUP = "modelwire.providers"


def plugin_names() -> list[str]:
    """Return the names of the providers in installed packages, without importing any."""
    return sorted({_spelled(entry.name) for entry in _entries()})


@lru_cache(maxsize=256)
def plugin_of(name: str) -> Service | Provider | type[BaseChatModel] | None:
    """Import and return the plugin with this name; None if no installed package has it.

    Raises: `InvalidArgument` if it cannot be imported, is neither a row nor a class, or is in two packages.
    """
    entries = [entry for entry in _entries() if _spelled(entry.name) == name]
    if not entries:
        return None
    if len({entry.value for entry in entries}) > 1:
        raise InvalidArgument(
            f"Two packages have a provider `{name}`: {' and '.join(map(_described, entries))}. Uninstall one of them."
        )
    try:
        found: Any = entries[0].load()
    except Exception as exc:  # The code of a plugin may raise any error.
        raise InvalidArgument(
            f"The provider `{name}` comes from {_described(entries[0])}, which cannot be loaded: "
            f"{type(exc).__name__}: {exc}. Update or uninstall that package."
        ) from exc
    if isinstance(found, Service):
        return found._replace(name=name)
    if isinstance(found, Provider):
        return found
    if isinstance(found, type) and issubclass(found, adapters.BaseChatModel):
        return found
    raise InvalidArgument(
        f"The provider `{name}` comes from {_described(entries[0])}, which is neither a `Service` nor a subclass of "
        f"`modelwire.adapters.BaseChatModel`, nor a `Provider`, but {found!r:.80}."
    )


def _entries() -> list[EntryPoint]:
    from importlib.metadata import entry_points

    return list(entry_points(group=GROUP))


def _spelled(name: str) -> str:
    return name.lower().replace("-", "_")


def _described(entry: EntryPoint) -> str:
    package = f" of `{entry.dist.name}` {entry.dist.version}" if entry.dist is not None else ""
    return f"the entry point `{entry.value}`{package}"
