"""The config of one attempt of a pool's call. No I/O here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelwire.callbacks.hooks import listening
from modelwire.runnables.config import changed

if TYPE_CHECKING:
    from modelwire.pools.call import PoolCall
    from modelwire.pools.deployment import Deployment
    from modelwire.runnables import RunnableConfig

__all__ = ["config_of_attempt"]


def config_of_attempt(
    config: RunnableConfig, call: PoolCall, deployment: Deployment
) -> RunnableConfig:
    """Return the config of one attempt. Its metadata name the deployment, and a run id is that of the first attempt."""
    if not (listening(config) or config.get("run_id")):
        return config
    metadata = {**(config.get("metadata") or {}), "deployment": deployment.name}
    of_run: Any = {name: config.get(name) for name in ("run_name", "run_id") if name in config}
    if call.errors or call.shut:
        of_run.pop("run_id", None)
    return changed(config, metadata=metadata, **of_run)
