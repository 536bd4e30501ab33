"""The config of one attempt of a pool's call. No I/O here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelwire.callbacks.hooks import listening
from modelwire.runnables.config import changed

if TYPE_CHECKING:
    from modelwire.pools.deployment import Deployment
    from modelwire.pools.scheduler import PoolCall
    from modelwire.runnables import RunnableConfig

__all__ = ["config_of_attempt"]


def config_of_attempt(
    config: RunnableConfig, call: PoolCall, deployment: Deployment
) -> RunnableConfig:
    """Return the config of one attempt: its run is named after the deployment, and a run id names the first."""
    if not (listening(config) or config.get("run_id")):
        return config
    metadata = {**(config.get("metadata") or {}), "deployment": deployment.name}
    config = changed(config, metadata=metadata)
    if call.errors:
        config.pop("run_id", None)
    return config
