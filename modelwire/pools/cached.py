"""Where the caches of a pool's models have the answer of a call.

Each model stores its answers under keys of its own, so a pool looks for a call's answer in the entries of all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from modelwire import lazy
from modelwire.adapters.model import global_cache
from modelwire.errors import ModelwireError
from modelwire.runnables.binding import RunnableBinding

if TYPE_CHECKING:
    from modelwire.adapters.model import cache
    from modelwire.adapters.model.cache import CacheEntry
    from modelwire.messages import BaseMessage
    from modelwire.pools.deployment import Deployment
else:
    cache = lazy.module("modelwire.adapters.model.cache")

__all__ = ["afind", "are_cached", "entries_of", "find"]


def are_cached(deployments: Sequence[Deployment]) -> bool:
    """Return whether answers of these deployments may be in a cache."""
    if global_cache.llm_cache is not None:
        return True
    for one in deployments:  # noqa: SIM110 - each call of a pool asks, and a generator takes twice the time
        if one.model.cache:
            return True
    return False


def entries_of(
    runnables: Sequence[Any], messages: list[BaseMessage], kwargs: Mapping[str, Any]
) -> dict[int, CacheEntry]:
    """Return the cache entries of a call by the positions of the deployments that have one."""
    entries = {}
    for position, runnable in enumerate(runnables):
        entry = _entry_of(runnable, messages, dict(kwargs))
        if entry is not None:
            entries[position] = entry
    return entries


def _entry_of(
    runnable: Any, messages: list[BaseMessage], kwargs: dict[str, Any]
) -> CacheEntry | None:
    model = runnable
    while isinstance(model, RunnableBinding):
        kwargs = {**model.kwargs, **kwargs}
        model = model.bound
    try:
        return cache.entry_of(model, messages, kwargs.pop("stop", None), kwargs)
    except ModelwireError:  # The call itself raises it, with its deployment.
        return None


def find(entries: Mapping[int, CacheEntry]) -> int | None:
    """Return the position of the first deployment whose cache has the answer; None if none has."""
    missed: list[CacheEntry] = []
    for position, entry in entries.items():
        if entry in missed:
            continue
        if entry.has_answer():
            return position
        missed.append(entry)
    return None


async def afind(entries: Mapping[int, CacheEntry]) -> int | None:
    """Return the position of the first deployment whose cache has the answer; None if none has."""
    missed: list[CacheEntry] = []
    for position, entry in entries.items():
        if entry in missed:
            continue
        if await entry.ahas_answer():
            return position
        missed.append(entry)
    return None
