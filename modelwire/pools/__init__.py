"""One chat model made of several deployments: `pool(...)`.

`choice.py` decides where a call goes, `health.py` which deployments are out, `sticky.py` where a prompt is warm,
`hedging.py` when a second deployment is called; all of them are pure. `scheduler.py` has the queue, `call.py` the state
of one call, `cached.py` finds its answer in the caches. `model.py` is the chat model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelwire import lazy

if TYPE_CHECKING:
    from modelwire.pools.limits import PoolLimits as PoolLimits
    from modelwire.pools.make import pool as pool
    from modelwire.pools.model import PoolChatModel as PoolChatModel

__getattr__, __dir__, __all__ = lazy.exports(
    __name__,
    {
        "modelwire.pools.limits": ["PoolLimits"],
        "modelwire.pools.make": ["pool"],
        "modelwire.pools.model": ["PoolChatModel"],
    },
)
