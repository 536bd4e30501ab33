"""Calls the user's functions with the arguments that they accept, in a context where nested calls
inherit the config.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextvars import Context, copy_context
from typing import Any, TypeVar

from modelwire.aliases import Function, Kwargs
from modelwire.runnables.closing import aclose, close
from modelwire.runnables.config import RunnableConfig, var_child_runnable_config

Output = TypeVar("Output")

# `next` returns this for an exhausted iterator.
END: Any = object()


def accepted_kwargs(func: Any) -> tuple[bool, bool]:
    """Return two booleans: whether `func` has a parameter `config`, and whether it has one named `run_manager`."""
    if func is None:
        return False, False
    code = getattr(func, "__code__", None)
    if code is not None and not hasattr(func, "__wrapped__"):
        names: Any = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    else:
        try:
            names = inspect.signature(func).parameters
        except (ValueError, TypeError):  # Some built-ins have no signature.
            return False, False
    return "config" in names, "run_manager" in names


def takes_manager(*functions: Any) -> bool:
    """Return whether one of the functions has a parameter named `run_manager`."""
    return any(accepted_kwargs(func)[1] for func in functions)


def config_place(method: Function) -> int | None:
    """Return the position of the parameter `config` among the positional ones of a bound method; None without one."""
    try:
        parameters = inspect.signature(method).parameters
    except (ValueError, TypeError):  # Some built-ins have no signature.
        return None
    place = next((place for place, name in enumerate(parameters) if name == "config"), None)
    if place is None or parameters["config"].kind is inspect.Parameter.KEYWORD_ONLY:
        return None
    return place


def extra_kwargs(
    takes: tuple[bool, bool],
    kwargs: Kwargs,
    config: RunnableConfig,
    manager: Any,
    *,
    sync: bool,
) -> Kwargs:
    """Return `kwargs` with `config` and `run_manager` added, each if `takes` (see `accepted_kwargs`) is true for it.

    A sync function gets a sync run manager.
    """
    takes_config, takes_manager = takes
    if takes_config:
        kwargs = {**kwargs, "config": config}
    if takes_manager:
        if sync and hasattr(manager, "get_sync"):
            manager = manager.get_sync()
        kwargs = {**kwargs, "run_manager": manager}
    return kwargs


def context_with(config: RunnableConfig) -> Context:
    """Return a copy of the context in which calls without a config inherit `config`.

    Variables set in it do not leak out.
    """
    context = copy_context()
    context.run(var_child_runnable_config.set, config)
    return context


async def await_with_deadline(work: Awaitable[Output], config: RunnableConfig) -> Output:
    """Await the user's coroutine; nested calls inherit `config`, and with it the deadline."""
    token = var_child_runnable_config.set(config)
    try:
        return await work
    finally:
        var_child_runnable_config.reset(token)


def call_func_with_variable_args(
    func: Callable[..., Output],
    input: Any,
    config: RunnableConfig,
    run_manager: Any = None,
    **kwargs: Any,
) -> Output:
    """Call `func(input)`, with `config` and `run_manager` if it has such parameters."""
    extra = extra_kwargs(accepted_kwargs(func), kwargs, config, run_manager, sync=True)
    return context_with(config).run(func, input, **extra)


async def acall_func_with_variable_args(
    func: Callable[..., Awaitable[Output]],
    input: Any,
    config: RunnableConfig,
    run_manager: Any = None,
    **kwargs: Any,
) -> Output:
    """Await `func(input)`, with `config` and `run_manager` if it has such parameters."""
    extra = extra_kwargs(accepted_kwargs(func), kwargs, config, run_manager, sync=False)
    return await await_with_deadline(func(input, **extra), config)


def stream_function(
    func: Callable[..., Iterator[Output]],
    input: Any,
    config: RunnableConfig,
    manager: Any,
    kwargs: Kwargs,
) -> Iterator[Output]:
    """Yield from the generator `func(input)`, which runs in a copy of the context; close it and then its input."""
    extra = extra_kwargs(accepted_kwargs(func), kwargs, config, manager, sync=True)
    context = context_with(config)
    output = None
    try:
        output = iter(context.run(func, input, **extra))
        while (chunk := context.run(next, output, END)) is not END:
            yield chunk
    finally:
        # A `finally` in the generator may reset a context variable that was set in this context.
        context.run(close, output, input)


async def astream_function(
    func: Callable[..., AsyncIterator[Output]],
    input: Any,
    config: RunnableConfig,
    manager: Any,
    kwargs: Kwargs,
) -> AsyncIterator[Output]:
    """Yield from the async generator `func(input)`; close it and then its input."""
    extra = extra_kwargs(accepted_kwargs(func), kwargs, config, manager, sync=False)
    output = None
    try:
        output = aiter(func(input, **extra))
        while True:
            token = var_child_runnable_config.set(config)
            try:
                chunk = await anext(output)
            except StopAsyncIteration:
                return
            finally:
                var_child_runnable_config.reset(token)
            yield chunk
    finally:
        await aclose(output, input)
