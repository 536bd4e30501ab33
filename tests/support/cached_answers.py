"""What tests put into caches, and a check that each kind of cache passes."""

from __future__ import annotations

import os

from modelwire.caches import BaseCache
from modelwire.outputs import Generation


def texts(*values: str) -> list[Generation]:
    return [Generation(text=value) for value in values]


def check_in_a_fork(cache: BaseCache) -> None:
    """Use a cache in a child process after its parent, and then in the parent again."""
    cache.update("p", "m", texts("one"))
    child = os.fork()
    if child == 0:
        seen = cache.lookup("p", "m") == texts("one")
        cache.update("q", "m", texts("child"))
        os._exit(0 if seen else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert cache.lookup("q", "m") == texts("child")
    assert cache.lookup("p", "m") == texts("one")
