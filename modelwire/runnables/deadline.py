"""Deadlines of calls.

The clock is monotonic. A sync function cannot be interrupted: its deadline is checked when it
returns. `Step` enforces deadlines for our own runnables, `guard` for every class of a user: each
call of a chain passes one of the two.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial, wraps
from math import isfinite
from time import monotonic
from typing import Any, TypeVar

from modelwire.aliases import Args, Function, Kwargs
from modelwire.errors import InvalidArgument, InvalidType, Timeout
from modelwire.runnables.closing import aclose, close

Result = TypeVar("Result")
Item = TypeVar("Item")
# A function that starts the timeout of a call's config, and returns the config and its deadline.
_Clocked = Callable[[Any], tuple[Any, float | None]]

# A step that knows what it waited for (a model knows the provider and the attempts) raises a more
# helpful `Timeout` than its caller, so the caller waits this much longer.
COVER_GRACE_S = 0.05


class Deadline(float):
    """The reading of `time.monotonic()` at which a call times out; `limit_s` is the `timeout` it was computed from."""

    limit_s: float


def start_clock(timeout: object, inherited: float | None = None) -> Deadline:
    """Return the deadline of a `timeout` in seconds, never later than the `inherited` one."""
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise InvalidType(
            f"`timeout` must be a number of seconds, not a `{type(timeout).__name__}`."
        )
    if not timeout > 0 or not isfinite(timeout):
        raise InvalidArgument(f"`timeout` must be more than 0 seconds and finite, not {timeout!r}.")
    deadline = Deadline(monotonic() + timeout)
    deadline.limit_s = timeout
    if inherited is not None and inherited < deadline:
        if isinstance(inherited, Deadline):
            return inherited
        return Deadline(inherited)
    return deadline


def late(name: str, deadline: float) -> Timeout:
    """Return the `Timeout` for the runnable `name`, which did not finish by `deadline`."""
    limit_s = getattr(deadline, "limit_s", None)
    limit = "its deadline" if limit_s is None else f"the {limit_s:g} s of `timeout`"
    return Timeout(f"`{name}` did not finish within {limit}. Give it more time, or less work.")


def check(deadline: float | None, runnable: Any) -> None:
    """Raise `Timeout` if `deadline` has passed."""
    if deadline is not None and monotonic() >= deadline:
        raise late(runnable.get_name(), deadline)


async def covered(
    work: Awaitable[Result], deadline: float | None, runnable: Any, *, grace_s: float = 0.0
) -> Result:
    """Await `work`; cancel it at the deadline (plus `grace_s`) and then raise `Timeout`."""
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


def covered_chunks(chunks: Iterator[Item], deadline: float | None, runnable: Any) -> Iterator[Item]:
    """Yield the chunks, and raise `Timeout` once the deadline has passed."""
    if deadline is None:
        return chunks

    def checked() -> Iterator[Item]:
        try:
            check(deadline, runnable)
            for chunk in chunks:
                check(deadline, runnable)
                yield chunk
            check(deadline, runnable)
        finally:
            close(chunks)

    return checked()


def acovered_chunks(
    chunks: AsyncIterator[Item], deadline: float | None, runnable: Any, *, grace_s: float = 0.0
) -> AsyncIterator[Item]:
    """Yield the chunks.

    At the deadline (plus `grace_s`), cancel the wait for the next chunk and raise `Timeout`.
    """
    if deadline is None:
        return chunks

    async def checked() -> AsyncIterator[Item]:
        try:
            while True:
                try:
                    chunk = await covered(anext(chunks), deadline, runnable, grace_s=grace_s)
                except StopAsyncIteration:
                    return
                yield chunk
        finally:
            await aclose(chunks)

    return checked()


def guard(cls: type, clocked: _Clocked) -> None:
    """Make the single-input methods that a user's class defines observe the `timeout` of their config."""
    for name, guarded in _GUARDED.items():
        method = cls.__dict__.get(name)
        if inspect.isfunction(method) and not method.__module__.startswith("modelwire."):
            setattr(cls, name, guarded(method, clocked))


def _begun(clocked: _Clocked, args: Args, kwargs: Kwargs) -> tuple[Any, Any, float | None]:
    """Start the timeout of a call with these arguments, and return them with the deadline.

    The config is the second positional argument, or the keyword `config`.
    """
    if len(args) > 1:
        config, deadline = clocked(args[1])
        return (args[0], config, *args[2:]), kwargs, deadline
    passed = kwargs.get("config")
    config, deadline = clocked(passed)
    if config is not passed:
        kwargs = {**kwargs, "config": config}
    return args, kwargs, deadline


def _guarded_call(method: Function, clocked: _Clocked) -> Function:
    @wraps(method)
    def call(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        args, kwargs, deadline = _begun(clocked, args, kwargs)
        check(deadline, self)
        output = method(self, *args, **kwargs)
        check(deadline, self)
        return output

    return call


def _guarded_acall(method: Function, clocked: _Clocked) -> Function:
    @wraps(method)
    async def acall(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        args, kwargs, deadline = _begun(clocked, args, kwargs)
        return await covered(method(self, *args, **kwargs), deadline, self, grace_s=COVER_GRACE_S)

    return acall


def _guarded_chunks(cover: Function) -> Callable[..., Function]:
    def guarded(method: Function, clocked: _Clocked) -> Function:
        @wraps(method)
        def stream(self: Any, /, *args: Any, **kwargs: Any) -> Any:
            args, kwargs, deadline = _begun(clocked, args, kwargs)
            return cover(method(self, *args, **kwargs), deadline, self)

        return stream

    return guarded


_guarded_stream = _guarded_chunks(covered_chunks)
_guarded_astream = _guarded_chunks(partial(acovered_chunks, grace_s=COVER_GRACE_S))
_GUARDED: dict[str, Callable[..., Function]] = {
    "invoke": _guarded_call,
    "ainvoke": _guarded_acall,
    "stream": _guarded_stream,
    "astream": _guarded_astream,
    "transform": _guarded_stream,
    "atransform": _guarded_astream,
}
