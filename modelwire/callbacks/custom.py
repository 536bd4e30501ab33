"""Custom events, for the handlers of the enclosing run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from modelwire import lazy
from modelwire.callbacks.base import BaseCallbackManager
from modelwire.errors import CallerError

if TYPE_CHECKING:
    from modelwire.runnables import config as configs
    from modelwire.runnables.config import Config
else:
    configs = lazy.module("modelwire.runnables.config")

__all__ = ["OutsideRun", "adispatch_custom_event", "dispatch_custom_event"]


class OutsideRun(CallerError, RuntimeError):
    """A custom event was dispatched outside of any run."""


def dispatch_custom_event(name: str, data: Any, *, config: Config = None) -> None:
    """Call `on_custom_event` of the handlers of the enclosing run.

    `config`, that of the run, is needed only where the context is lost, as in a thread of your own.

    Raises: `OutsideRun`, a `RuntimeError`, outside of any run.
    """
    manager = configs.get_callback_manager_for_config(configs.ensure_config(config))
    run_id = _enclosing_run(manager, name, config)
    if run_id is not None:
        manager.on_custom_event(name, data, run_id=run_id)


async def adispatch_custom_event(name: str, data: Any, *, config: Config = None) -> None:
    """Do what `dispatch_custom_event` does, async."""
    manager = configs.get_async_callback_manager_for_config(configs.ensure_config(config))
    run_id = _enclosing_run(manager, name, config)
    if run_id is not None:
        await manager.on_custom_event(name, data, run_id=run_id)


def _enclosing_run(manager: BaseCallbackManager, name: str, config: Config) -> UUID | None:
    """Return the id of the enclosing run, or None in a run without an id, which has no handlers."""
    if manager.parent_run_id is not None:
        return manager.parent_run_id
    inside = configs.var_child_runnable_config.get() is not None or config is not None
    if inside and not manager.handlers:
        return None
    raise OutsideRun(
        f"The custom event `{name}` was dispatched outside of a run, so it belongs to none."
        " Dispatch it from a function that is a step of a chain, or pass that step's `config`."
    )
