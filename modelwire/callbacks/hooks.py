"""Checks whether a run has any handler, and adds handlers from a context instead of a config by hooks.

This module is all that a run without callbacks loads; it must stay small.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

from modelwire.aliases import Values
from modelwire.context_items import adding
from modelwire.errors import InvalidArgument
from modelwire.records import NamedTuple

if TYPE_CHECKING:
    from modelwire.callbacks.base import BaseCallbackHandler

__all__ = ["listening", "register_configure_hook"]

Handler = TypeVar("Handler")


class Hook(NamedTuple):
    """A source of handlers: a context variable, or an environment variable for which `handle_class` is created."""

    context_var: ContextVar[Any]
    inheritable: bool
    handle_class: type[BaseCallbackHandler] | None
    env_var: str | None


_hooks: tuple[Hook, ...] = ()


def register_configure_hook(
    context_var: ContextVar[Any],
    inheritable: bool,  # noqa: FBT001 - LangChain scripts pass it by position
    handle_class: type[BaseCallbackHandler] | None = None,
    env_var: str | None = None,
) -> None:
    """Add the handler (or tuple of handlers) in `context_var` to every run started in a context where it is set.

    With `handle_class` and `env_var`, a new handler is created if the environment variable is set
    to a value other than "", "0", "false" or "no", and `context_var` has none. Registering the same
    hook again changes nothing.

    Raises: `InvalidArgument` for `env_var` without `handle_class`.
    """
    global _hooks
    if env_var is not None and handle_class is None:
        raise InvalidArgument("`env_var` needs `handle_class`, the class of the handler to create.")
    hook = Hook(context_var, inheritable, handle_class, env_var)
    if hook not in _hooks:
        _hooks = (*_hooks, hook)


# The handlers of the `adding_handler` blocks around the current code.
_added: ContextVar[tuple[Any, ...]] = ContextVar("modelwire_added_handlers", default=())


@contextmanager
def adding_handler(handler: Handler) -> Iterator[Handler]:
    """Add `handler` to every run that starts inside the block, also in tasks that the block starts."""
    register_configure_hook(_added, inheritable=True)
    with adding(_added, handler):
        yield handler


def listening(config: Values | None) -> bool:
    """Return whether a run under `config` has any handler.

    Without one it takes about 0.1 microseconds.
    """
    if config is not None:
        callbacks = config.get("callbacks")
        if callbacks and (type(callbacks) is list or getattr(callbacks, "handlers", True)):
            return True
    return bool(_hooks) and any(_is_set(hook) for hook in _hooks)


def listening_to_models(config: Values) -> bool:
    """Return whether the run of a chat model under `config` has a handler that wants its events."""
    callbacks = config.get("callbacks")
    if callbacks:
        handlers = getattr(callbacks, "handlers", callbacks)
        if not isinstance(handlers, list) or any(map(_wants_models, handlers)):
            return True
    for hook in _hooks:  # noqa: SIM110 - every call runs this, and a loop is faster
        if _is_set(hook, _wants_models):
            return True
    return False


def _wants_models(handler: Any) -> bool:
    """Return whether a handler wants any event of a model's run."""
    is_deaf = (
        getattr(handler, "ignore_chat_model", False)
        and getattr(handler, "ignore_llm", False)
        and getattr(handler, "ignore_retry", False)
    )
    return not is_deaf


def hooked_handlers() -> list[tuple[BaseCallbackHandler, bool]]:
    """Return (handler, inherit) for each handler that hooks add in this context; `inherit`: for child runs too."""
    found: list[tuple[BaseCallbackHandler, bool]] = []
    for hook in _hooks:
        held = hook.context_var.get(None)
        if held is None and hook.handle_class is not None and _env_asks(hook.env_var):
            held = hook.handle_class()
        if held is None:
            continue
        handlers = held if isinstance(held, tuple) else (held,)
        found.extend((handler, hook.inheritable) for handler in handlers)
    return found


def _is_set(hook: Hook, wants: Callable[[Any], bool] | None = None) -> bool:
    """Return whether a hook adds a handler, or one that `wants` accepts."""
    held = hook.context_var.get(None)
    if held in (None, ()):
        return _env_asks(hook.env_var)
    if wants is None:
        return True
    return any(map(wants, held if isinstance(held, tuple) else (held,)))


def _env_asks(name: str | None) -> bool:
    return name is not None and os.environ.get(name, "").lower() not in ("", "0", "false", "no")
