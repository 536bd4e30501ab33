"""Which runnables may run on an event loop alone, without a thread for the user's sync code."""

from __future__ import annotations

from typing import Any

__all__ = ["loop_native"]


def loop_native(runnable: Any) -> bool:
    """Tell whether a sync call may be answered by `ainvoke`.

    A class that overrides `invoke` and leaves `ainvoke` to its base is not: its `ainvoke` would skip what it does.
    """
    for cls in type(runnable).__mro__:
        if "ainvoke" in cls.__dict__:
            return bool(runnable._loop_native())
        if "invoke" in cls.__dict__:
            return False
    return False
