"""Listeners of one runnable: functions that are called when its run starts, ends or fails, but not for nested runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from modelwire.aliases import Function
from modelwire.errors import InvalidType
from modelwire.tracers.base import AsyncBaseTracer, BaseTracer
from modelwire.tracers.schemas import Run

if TYPE_CHECKING:
    from modelwire.runnables.config import ConfigFactory, RunnableConfig

__all__ = ["AsyncRootListenersTracer", "RootListenersTracer", "listening_to"]

# A function `f(run)` or `f(run, config)`; for `with_alisteners` it is async.
Listener = Function


def listening_to(*, asynchronous: bool, **listeners: Listener | None) -> ConfigFactory:
    """Return a function that adds the listeners to the config of a call, as a handler."""
    for name, listener in listeners.items():
        if listener is not None and not callable(listener):
            raise InvalidType(
                f"`{name}` must be a function of the run, not a `{type(listener).__name__}`."
            )
    tracer: Any = AsyncRootListenersTracer if asynchronous else RootListenersTracer
    return lambda config: {"callbacks": [tracer(config=_complete(config), **listeners)]}


def _complete(config: RunnableConfig) -> RunnableConfig:
    """Return the config with the keys that a listener may expect: `tags`, `metadata` and `configurable`."""
    return {"tags": [], "metadata": {}, "configurable": {}, **config}


class _Root:
    """Finds the root run, which is the first that starts, and calls its listeners."""

    def __init__(
        self,
        *,
        config: RunnableConfig,
        on_start: Listener | None,
        on_end: Listener | None,
        on_error: Listener | None,
    ) -> None:
        super().__init__()
        self.config = config
        self.root_id: UUID | None = None
        self.listeners = {"start": on_start, "end": on_end, "error": on_error}

    def _call(self, run: Run, step: str) -> Any:
        listener = self.listeners[step]
        if listener is None:
            return None
        if _takes_config(listener):
            return listener(run, self.config)
        return listener(run)

    def _opens(self, run: Run) -> bool:
        if self.root_id is not None:
            return False
        self.root_id = run.id
        return True


class RootListenersTracer(_Root, BaseTracer):
    """Calls `on_start`, `on_end` or `on_error` for the first run that starts."""

    _schema_format = "original+chat"

    def _persist_run(self, run: Run) -> None:
        """Do nothing: listeners need no finished run."""

    def _on_run_create(self, run: Run) -> None:
        if self._opens(run):
            self._call(run, "start")

    def _on_run_update(self, run: Run) -> None:
        if run.id == self.root_id:
            self._call(run, _last_step(run))


class AsyncRootListenersTracer(_Root, AsyncBaseTracer):
    """Awaits `on_start`, `on_end` or `on_error` for the first run that starts."""

    _schema_format = "original+chat"

    async def _persist_run(self, run: Run) -> None:
        """Do nothing: listeners need no finished run."""

    async def _on_run_create(self, run: Run) -> None:
        if self._opens(run):
            await self._acall(run, "start")

    async def _on_run_update(self, run: Run) -> None:
        if run.id == self.root_id:
            await self._acall(run, _last_step(run))

    async def _acall(self, run: Run, step: str) -> None:
        answer = self._call(run, step)
        if answer is not None:
            await answer


def _last_step(run: Run) -> str:
    return "end" if run.error is None else "error"


def _takes_config(listener: Listener) -> bool:
    from inspect import Parameter, signature

    try:
        parameters = signature(listener).parameters.values()
    except (ValueError, TypeError):  # Some built-ins have no signature.
        return False
    positional = [
        p
        for p in parameters
        if p.kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    ]
    return len(positional) > 1 or any(p.name == "config" for p in parameters)
