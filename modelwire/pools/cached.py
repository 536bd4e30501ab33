"""Where the caches of a pool's models have the answer of a call.

Each model stores its answers under keys of its own, so a pool looks for a call's answer in the entries of all of them.
Equal calls of a pool wait for the first one, wherever it goes, and then take its answer from the cache.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any

from modelwire import lazy
from modelwire.adapters.model import global_cache
from modelwire.errors import ModelwireError
from modelwire.runnables.binding import RunnableBinding
from modelwire.runnables.deadline import check, covered

if TYPE_CHECKING:
    import asyncio

    from modelwire.adapters.model import cache, coalescing
    from modelwire.adapters.model.cache import CacheEntry
    from modelwire.messages import BaseMessage
    from modelwire.pools.call import PoolCall
    from modelwire.pools.deployment import Deployment
    from modelwire.pools.model import PoolChatModel
else:
    coalescing = lazy.module("modelwire.adapters.model.coalescing")
    cache = lazy.module("modelwire.adapters.model.cache")

__all__ = ["are_cached", "entries_of", "search"]


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


def search(
    call: PoolCall,
    loop: asyncio.AbstractEventLoop | None,
    deadline: float | None,
    model: PoolChatModel,
) -> cache.Flow:
    """Wait for an equal call in flight, if there is one, and set `call.home` if a cache has the answer.

    If there is none, equal calls wait for this one from then on, until `call.release`.
    """
    waits = cache.MAX_WAITS
    if call.pending is not None or _is_inside_an_equal_one(call):
        waits = 0
    for _ in range(waits):
        pending, is_first = coalescing.join(call.equals, loop=loop)
        if is_first:
            call.pending = pending
        if is_first or not pending.may_be_awaited(loop):
            break
        call.withdraw(monotonic())
        yield cache.wait_for(pending, deadline, model)
    missed: list[CacheEntry] = []
    for position, entry in call.entries.items():
        if entry in missed:
            continue
        check(deadline, model)
        if (yield _within(entry.has_answer(), deadline, model)):
            call.withdraw(monotonic())
            call.home = position
            return
        missed.append(entry)


def _is_inside_an_equal_one(call: PoolCall) -> bool:
    """Return whether the call is made inside an equal one, as by a handler, so that it cannot wait for that."""
    outer: Any = call.outer
    while outer is not None:
        if outer.equals == call.equals:
            return True
        outer = outer.outer
    return False


def _within(step: cache.Step, deadline: float | None, model: PoolChatModel) -> cache.Step:
    """Return the step with a limit of time, which a blocking function does not have."""
    return cache.Step(step.run, lambda: covered(step.arun(), deadline, model))
