"""Providers that other packages bring: the entry points `modelwire.providers`, looked up where a name is not ours.

The name of an entry point is the provider's. What it refers to is a row (`Service`, `Provider`) or a chat model class.
It is loaded when a program names that provider, never before. docs/plugins.md shows how to write one.
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
    """Return the providers that installed packages bring; none of them is loaded."""
    return sorted({_spelled(entry.name) for entry in _entries()})


@lru_cache(maxsize=256)
def plugin_of(name: str) -> Service | Provider | type[BaseChatModel] | None:
    """Load the plugin of that name; None where no package has one.

    Raises: `InvalidArgument` where it cannot be loaded, is neither row nor class, or two packages have one.
    """
    entries = [entry for entry in _entries() if _spelled(entry.name) == name]
    if not entries:
        return None
    if len({entry.value for entry in entries}) > 1:
        raise InvalidArgument(
            f"Two packages bring a provider `{name}`: {' and '.join(map(_described, entries))}. Uninstall one of them."
        )
    try:
        found: Any = entries[0].load()
    except Exception as exc:  # a plugin may fail in any way
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
