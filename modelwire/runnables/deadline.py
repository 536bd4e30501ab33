"""When a call is late.

The clock is monotonic. A sync function cannot be interrupted: its lateness shows when it returns.
"""

from __future__ import annotations

from collections.abc import Awaitable
from math import isfinite
from time import monotonic
from typing import Any, TypeVar

from modelwire.errors import InvalidArgument, InvalidType, Timeout

__all__ = ["Deadline", "check", "covered", "start_clock"]

Result = TypeVar("Result")

# A step that knows what it was waiting for (a model knows the provider and the attempts) names its own lateness
# better than whoever waits for it, so the cover from outside falls this much later.
COVER_GRACE_S = 0.05


class Deadline(float):
    """The reading of `time.monotonic()` after which a call is late; `limit_s` is the `timeout` it came from."""

    limit_s: float


def start_clock(timeout: object, inherited: float | None = None) -> Deadline:
    """Turn a `timeout` in seconds into a deadline, never later than the `inherited` one."""
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise InvalidType(f"`timeout` must be a number of seconds, not a `{type(timeout).__name__}`.")
    if not timeout > 0 or not isfinite(timeout):
        raise InvalidArgument(f"`timeout` must be more than 0 seconds and finite, not {timeout!r}.")
    deadline = Deadline(monotonic() + timeout)
    deadline.limit_s = timeout
    if inherited is not None and inherited < deadline:
        return inherited if isinstance(inherited, Deadline) else Deadline(inherited)
    return deadline


def late(name: str, deadline: float) -> Timeout:
    """Make the error for the runnable `name`."""
    limit_s = getattr(deadline, "limit_s", None)
    limit = "its deadline" if limit_s is None else f"the {limit_s:g} s of `timeout`"
    return Timeout(f"`{name}` did not finish within {limit}. Give it more time, or less to do.")


def check(deadline: float | None, runnable: Any) -> None:
    """Raise `Timeout` when `deadline` has passed."""
    if deadline is not None and monotonic() >= deadline:
        raise late(runnable.get_name(), deadline)


async def covered(work: Awaitable[Result], deadline: float | None, runnable: Any, *, grace_s: float = 0.0) -> Result:
    """Await `work`, cancel it at the deadline (plus `grace_s`) and then raise `Timeout`."""
    if deadline is None:
        return await work
    import asyncio

    scope = asyncio.timeout(deadline - monotonic() + grace_s)
    try:
        async with scope:
            return await work
    except TimeoutError as exc:
        if not scope.expired() or isinstance(exc, Timeout):
            raise
        raise late(runnable.get_name(), deadline) from exc
