"""What came through a batch, reported as if it had come live: to handlers, tracers and trackers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelwire.adapters.model.run import is_observed, start_model_run
from modelwire.errors import ModelwireError
from modelwire.runnables.config import changed, settled

if TYPE_CHECKING:
    from modelwire.jobs.batch_api.chain import Split
    from modelwire.jobs.batch_api.results import BatchResult

__all__ = ["tell"]


def tell(split: Split, result: BatchResult, value: Any, job: str) -> None:
    """Report what came of `value`, one start and one end or error; put the answer as the model shall say it.

    A row that was never asked is not reported, nor one that has the answer of another row, nor an answer that was
    reported when it was asked live. The run's metadata say which row of which job it is, and in which round: results
    may be read many times, and who counts them counts them once.
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
                if message is not None:
                    run.end(result_of(message))
                elif error is not None:
                    raise error
        except ModelwireError as exc:
            if exc is not error:  # a handler's
                raise
