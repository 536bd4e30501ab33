"""Marks and finds the arguments of a tool that the program passes, and that the model never sees."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin, get_type_hints
from weakref import WeakKeyDictionary

from modelwire.aliases import Args, Function, Kwargs, Values
from modelwire.langchain_bridge import is_langchains
from modelwire.runnables.config import RunnableConfig


class InjectedToolArg:
    """Marks an argument that the program passes: `state: Annotated[dict, InjectedToolArg]`."""


class InjectedToolCallId(InjectedToolArg):
    """Marks the argument that gets the id of the tool call: `call_id: Annotated[str, InjectedToolCallId]`."""


class _DirectlyInjectedToolArg:
    """The base class of types whose values always come from the program: their arguments need no mark."""


# modelwire passes these arguments; no schema shows them.
FILTERED_ARGS = ("run_manager", "callbacks")
# A docstring need not describe these arguments.
CONTEXT_ARGS = (*FILTERED_ARGS, "runtime")


class Signature(NamedTuple):
    """The parameters of a function, read once."""

    parameters: Mapping[str, inspect.Parameter]
    hints: Values  # The resolved annotations, without those that cannot be resolved.
    config_name: str | None  # The name of the parameter that takes the config.
    injected: frozenset[str]  # The names of the parameters for injected arguments.


def signature_of(func: Function) -> Signature:
    """Return the signature of `func`; it is cached for each function."""
    if inspect.ismethod(func):  # Each access creates a new bound method.
        cached = _read_once(func.__func__)
        own = next(iter(cached.parameters), None)
        return cached._replace(parameters={k: v for k, v in cached.parameters.items() if k != own})
    return _read_once(func)


def positional(func: Function, args: Args, kwargs: Kwargs) -> tuple[Args, Kwargs]:
    """Return the arguments of a call of `func` with its positional-only parameters among the positional ones."""
    parameters = signature_of(func).parameters.values()
    only = [one for one in parameters if one.kind is one.POSITIONAL_ONLY][len(args) :]
    while only and only[-1].name not in kwargs:
        only.pop()
    rest = dict(kwargs)
    return (*args, *(rest.pop(one.name, one.default) for one in only)), rest


# The keys are weak references, so the cache keeps no function alive.
_signatures: WeakKeyDictionary[Function, Signature] = WeakKeyDictionary()


def _read_once(func: Function) -> Signature:
    try:
        known = _signatures.get(func)
        if known is None:
            known = _signatures[func] = _read(func)
    except TypeError:  # It is not hashable, or has no weak references.
        return _read(func)
    return known


def _read(func: Function) -> Signature:
    try:
        parameters = dict(inspect.signature(func).parameters)
    except (ValueError, TypeError):  # Some built-ins have no signature.
        parameters = {}
    hints = _hints(func, parameters)
    return Signature(
        parameters,
        hints,
        next((name for name in parameters if _is_config(hints.get(name))), None),
        frozenset(name for name in parameters if is_injected(hints.get(name))),
    )


def _hints(func: Function, parameters: Mapping[str, inspect.Parameter]) -> Kwargs:
    """Return the resolved annotations of the parameters, without those that cannot be resolved."""
    annotations = {
        name: parameter.annotation
        for name, parameter in parameters.items()
        if parameter.annotation is not inspect.Parameter.empty
    }
    namespace = getattr(_source(func), "__globals__", {})
    hints: Kwargs = {}
    for name, annotation in annotations.items():
        holder = types.SimpleNamespace(__annotations__={name: annotation})
        try:
            hints.update(get_type_hints(holder, globalns=namespace, include_extras=True))
        except (NameError, AttributeError, TypeError, SyntaxError):
            continue
    return hints


def _source(func: Any) -> Any:
    """Return the function in whose module the annotations of `func` were written."""
    while isinstance(func, functools.partial):
        func = func.func
    func = inspect.unwrap(func)
    if inspect.isclass(func):
        made = func.__init__ if func.__init__ is not object.__init__ else func.__new__
        return inspect.unwrap(made)
    if hasattr(func, "__globals__"):
        return func
    return getattr(func, "__func__", type(func).__call__)


def _is_config(hint: Any) -> bool:
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    is_union = get_origin(hint) in (Union, types.UnionType)
    return any(
        _is_class(option, RunnableConfig) for option in (get_args(hint) if is_union else [hint])
    )


def _is_class(thing: Any, ours: type) -> bool:
    """Return whether `thing` is the class `ours`, a subclass of it, or LangChain's class of the same name."""
    if not isinstance(thing, type):
        return False
    return ours in thing.__mro__ or is_langchains(thing, ours.__name__)


def is_injected(hint: Any, kind: type = InjectedToolArg) -> bool:
    """Return whether an annotation is marked as `kind`, or is itself a type that is always injected."""
    if get_origin(hint) is Annotated:
        origin, *marks = get_args(hint)
        return any(is_mark(mark, kind) for mark in marks) or is_injected(origin, kind)
    bare = get_origin(hint) or hint
    return kind is InjectedToolArg and _is_class(bare, _DirectlyInjectedToolArg)


def is_mark(mark: Any, kind: type) -> bool:
    """Return whether a piece of metadata is the class `kind`, or an object of it."""
    return _is_class(mark if isinstance(mark, type) else type(mark), kind)
