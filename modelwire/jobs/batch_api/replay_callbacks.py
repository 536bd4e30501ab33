"""Reports the results of a batch to handlers, tracers and trackers as if the model had been called directly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelwire import ext

if TYPE_CHECKING:
    from modelwire.jobs.batch_api.chain import Split
    from modelwire.jobs.batch_api.results import BatchResult


def report(split: Split, result: BatchResult, value: Any, job: str) -> None:
    """Report the result of a row to the callbacks as one run of the model.

    `value` is the input of the row, and `job` the id of the job.
    A row is not reported if it was never sent, if it shares the answer of an equal row, or if it
    was reported by a direct call. The run's metadata name the job, the row and the round, so that a
    handler can count a row once even if the results are read many times. The message of the result
    is converted to the model's output version before.
    """
    message = result.message
    error = result.error
    if message is not None and split.model.output_version == "v1":
        message = result.message = ext.as_v1(message)
    if result.same is not None or result.told or result.status in ("invalid", "pending"):
        return
    outcome: Any = message
    if error is not None:
        outcome = error
    if outcome is None:
        return
    ext.report_call(
        split.model,
        lambda: split.messages(split.prepared(value)),
        outcome,
        config=split.config,
        metadata={"batch_job": job, "batch_row": result.index, "batch_round": result.round},
        options=split.kwargs,
    )
