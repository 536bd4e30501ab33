"""Converts callback handlers, callback managers and configs between modelwire and LangChain.

A handler always gets values of the library that it was written for.
"""

from __future__ import annotations

from functools import wraps
from inspect import iscoroutinefunction
from typing import Any

from langchain_core.callbacks import AsyncCallbackManager as TheirAsyncManager
from langchain_core.callbacks import BaseCallbackManager as TheirBaseManager
from langchain_core.callbacks import CallbackManager as TheirManager

from modelwire.aliases import Fields, Function, Kwargs, Values
from modelwire.callbacks import AsyncCallbackManager, BaseCallbackManager, CallbackManager
from modelwire.errors import InvalidType
from modelwire.langchain.values import from_langchain, to_langchain
from modelwire.langchain_bridge import is_langchain
from modelwire.runnables import RunnableConfig, ensure_config

_KEYS = (
    "tags",
    "metadata",
    "run_name",
    "run_id",
    "max_concurrency",
    "recursion_limit",
    "configurable",
)


class _Translated:
    """A handler of the other library: each `on_...` gets its arguments in the classes that the handler knows."""

    def __init__(self, handler: Any, translate: Function) -> None:
        self.handler = handler
        self._translate = translate

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.handler, name)
        if not name.startswith("on_") or not callable(found):
            return found
        if name != "on_chat_model_start" and _is_empty(found):
            return None  # Without the method, a call does not stream for a handler that ignores tokens.
        call = _translating(found, self._translate)
        self.__dict__[name] = call
        return call

    def __eq__(self, other: object) -> bool:
        return self.handler is (other.handler if isinstance(other, _Translated) else other)

    def __hash__(self) -> int:
        return hash(id(self.handler))

    def __repr__(self) -> str:
        return repr(self.handler)


class _Theirs(_Translated):
    """A handler of LangChain's that receives the events of modelwire's runs."""


class _Ours(_Translated):
    """A handler of modelwire's that receives the events of LangChain's runs."""

    def __getattr__(self, name: str) -> Any:
        found = super().__getattr__(name)
        if found is None and name.startswith("on_"):
            return _ignore  # LangChain calls each method, so it must exist.
        return found


def _ignore(*args: Any, **kwargs: Any) -> None:
    """Ignore the event."""


def _is_empty(method: Any) -> bool:
    owner = getattr(getattr(method, "__func__", None), "__module__", "")
    return owner in ("langchain_core.callbacks.base", "modelwire.callbacks.base")


def _translating(call: Function, translate: Function) -> Function:
    def translated(values: Values) -> Kwargs:
        return {name: translate(value) for name, value in values.items()}

    if iscoroutinefunction(call):

        @wraps(call)
        async def adelivered(*args: Any, **kwargs: Any) -> Any:
            return await call(*map(translate, args), **translated(kwargs))

        return adelivered

    @wraps(call)
    def delivered(*args: Any, **kwargs: Any) -> Any:
        return call(*map(translate, args), **translated(kwargs))

    return delivered


def own_handler(handler: Any) -> Any:
    """Return a handler of LangChain's that modelwire's runs can call: it receives LangChain's classes."""
    if isinstance(handler, _Ours):
        return handler.handler
    return _Theirs(handler, to_langchain)


def their_handler(handler: Any) -> Any:
    """Return a handler of modelwire's that LangChain's runs can call: it receives modelwire's classes."""
    if isinstance(handler, _Theirs):
        return handler.handler
    if is_langchain(handler):
        return handler
    return _Ours(handler, from_langchain)


def own_manager(manager: Any) -> BaseCallbackManager:
    """Return a callback manager of modelwire's with the handlers and the parent run of LangChain's `manager`.

    Raises `InvalidType` if `manager` is not a callback manager.
    """
    if not isinstance(manager, TheirBaseManager):
        raise InvalidType(
            f"`callbacks` must be a list of handlers or a callback manager, not a `{type(manager).__name__}`."
        )
    kind = AsyncCallbackManager if manager.is_async else CallbackManager
    return kind(**_contents(manager, _managed_handler))


def _managed_handler(handler: Any) -> Any:
    """Return a handler of LangChain's manager, which may be of either library, for modelwire's runs."""
    if is_langchain(handler):
        return own_handler(handler)
    if isinstance(handler, _Ours):
        return handler.handler
    return handler


def _contents(manager: Any, handler: Function) -> Kwargs:
    return {
        "handlers": [handler(one) for one in manager.handlers],
        "inheritable_handlers": [handler(one) for one in manager.inheritable_handlers],
        "parent_run_id": manager.parent_run_id,
        "tags": [*manager.tags],
        "inheritable_tags": [*manager.inheritable_tags],
        "metadata": {**manager.metadata},
        "inheritable_metadata": {**manager.inheritable_metadata},
    }


def own_config(config: Fields | None) -> RunnableConfig | None:
    """Return a config of LangChain's as a config of modelwire's."""
    if config is None:
        return None
    ready = {key: config[key] for key in _KEYS if config.get(key) is not None}
    callbacks = config.get("callbacks")
    if isinstance(callbacks, TheirBaseManager):
        callbacks = own_manager(callbacks)
    if callbacks is not None:
        ready["callbacks"] = callbacks
    limit_s = config.get("configurable", {}).get("timeout")
    if type(limit_s) in (
        int,
        float,
    ):  # LangChain moves keys that it does not know into `configurable`.
        ready["timeout"] = limit_s
    return ready  # type: ignore[return-value]


def their_config(config: RunnableConfig, *, is_async: bool) -> Kwargs:
    """Return a config of modelwire's as a config of LangChain's, with the same parent run."""
    ready: Kwargs = {key: config[key] for key in _KEYS if config.get(key) is not None}  # type: ignore[literal-required]
    callbacks: Any = config.get("callbacks")
    if isinstance(callbacks, BaseCallbackManager):
        kind = TheirAsyncManager if is_async else TheirManager
        ready["callbacks"] = kind(**_contents(callbacks, their_handler))
    elif callbacks:
        ready["callbacks"] = [their_handler(one) for one in callbacks]
    return ready


def config_below() -> RunnableConfig:
    """Return the config of a call for which LangChain has started a run.

    LangChain's handlers are left out, because they receive the events of that run. Modelwire's own
    handlers, observers and the deadline of the calls around it stay.
    """
    config = ensure_config()
    callbacks: Any = config.get("callbacks")
    if not callbacks:
        return config
    if isinstance(callbacks, BaseCallbackManager):
        left: Any = callbacks.copy()
        for handler in [one for one in left.handlers if isinstance(one, _Theirs)]:
            left.remove_handler(handler)
    else:
        left = [one for one in callbacks if not isinstance(one, _Theirs) and not is_langchain(one)]
    return {**config, "callbacks": left}
