"""Code that runs first in a forked child: it replaces locks that a thread of the parent may hold, and clears state."""

from __future__ import annotations

import os
from collections.abc import Callable

__all__ = ["in_child"]


def in_child(function: Callable[[], None]) -> Callable[[], None]:
    """Register `function` to be called in each child that this process forks, and return it, as a decorator does.

    On a system without forks this does nothing.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=function)
    return function
