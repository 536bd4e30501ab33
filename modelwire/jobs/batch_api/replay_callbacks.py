"""Reports the results of a batch to handlers, tracers and trackers as if the model had been called directly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelwire.adapters.model.run import is_observed, start_model_run
from modelwire.errors import ModelwireError
from modelwire.runnables.config import changed, settled

if TYPE_CHECKING:
    from modelwire.jobs.batch_api.chain import Split
    from modelwire.jobs.batch_api.results import BatchResult

__all__ = ["report"]


def report(split: Split, result: BatchResult, value: Any, job: str) -> None:
    """Report a result as one model run, with a start and an end or error. Convert its message to
    the model's output version.

    A row is not reported if it was never sent, if it shares the answer of an equal row, or if it
    was reported by a direct call. The run's metadata name the job, the row and the round, so that a
    handler can count a row once even if the results are read many times.
    """
    message, error = result.message, result.error
    if message is not None and split.model.output_version == "v1":
        from modelwire.messages.block_translators.v1 import as_v1

        message = result.message = as_v1(message)
    if (
        result.same is not None
        or result.told
        or result.status in ("invalid", "pending")
        or (message is None and error is None)
    ):
        return
    config = settled(split.config)
    if is_observed(split.model, config):
        about = {"batch_job": job, "batch_row": result.index, "batch_round": result.round}
        config = changed(config, metadata={**(config.get("metadata") or {}), **about})
        from modelwire.adapters.model.results import result_of

        try:
            with start_model_run(
                split.model, split.messages(split.prepared(value)), config, dict(split.kwargs)
            ) as run:
                if error is not None:
                    raise error
                if message is not None:
                    run.end(result_of(message))
        except ModelwireError as exc:
            if exc is not error:  # It is the error of a callback handler.
                raise
