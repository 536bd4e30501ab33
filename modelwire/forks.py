"""What a forked child does first: it replaces the locks that another thread of its parent may hold, and forgets."""

from __future__ import annotations

import os
from collections.abc import Callable

__all__ = ["in_child"]


def in_child(function: Callable[[], None]) -> Callable[[], None]:
    """Call `function` in each child that this process forks; a decorator. Where there are no forks it does nothing."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=function)
    return function
