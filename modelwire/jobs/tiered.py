"""One list of inputs at two prices: what is urgent live, what may wait through the provider's Batch API."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from shutil import rmtree
from typing import TYPE_CHECKING, Any, Literal, cast

from modelwire.errors import InvalidArgument, did_you_mean
from modelwire.jobs.provider_batch import BatchJob, submit_batch

if TYPE_CHECKING:
    from modelwire.runnables import Runnable, RunnableConfig

__all__ = ["atiered_batch", "tiered_batch"]

PRIORITIES = ("high", "low")
Priority = Literal["high", "low"]
Priorities = Sequence[Priority] | Callable[[Any], Priority]


def tiered_batch(
    chain: Runnable[Any, Any],
    inputs: Sequence[Any],
    priorities: Priorities,
    *,
    config: RunnableConfig | None = None,
    return_exceptions: bool = False,
    dir: str | os.PathLike[str] | None = None,
    timeout: float | None = None,
    poll: float | Literal["auto"] = "auto",
) -> list[Any]:
    """Answer `inputs` in their order: those of "high" priority live, those of "low" as a batch at half the price.

    `priorities` is "high" or "low" for each input, or a function of an input. The batch is handed in first, the live
    ones are asked meanwhile, and it comes back when the batch is done: up to a day, `timeout` seconds at most. `dir` is
    where the batch's state lies; called again with it after a crash, no batch is made twice. Left out, it is a new
    folder here, removed when all have an answer. What fails is raised when all is done, or stands in its place with
    `return_exceptions`.
    Raises `NotBatchable` for a chain that no Batch API can answer, `Timeout` (the batch goes on).

    Example:
        tiered_batch(prompt | model, questions, lambda q: "high" if q["waiting"] else "low")
    """
    said = _priorities(inputs, priorities)
    high = [place for place, priority in enumerate(said) if priority == "high"]
    low = [place for place, priority in enumerate(said) if priority == "low"]
    job = submit_batch(chain, [inputs[place] for place in low], dir=dir, config=config) if low else None
    answers: list[Any] = [None] * len(inputs)
    live = chain.batch([inputs[place] for place in high], config, return_exceptions=True)
    for place, answer in zip(high, live, strict=True):
        answers[place] = answer
    if job is not None:
        _gather(job, low, answers, timeout, poll)
    failed = next((answer for answer in answers if isinstance(answer, BaseException)), None)
    if job is not None and dir is None and failed is None:
        rmtree(job.path, ignore_errors=True)
    if failed is not None and not return_exceptions:
        raise failed
    return answers


async def atiered_batch(
    chain: Runnable[Any, Any], inputs: Sequence[Any], priorities: Priorities, **options: Any
) -> list[Any]:
    """Do what `tiered_batch` does without blocking the event loop."""
    from modelwire.runnables.config import run_in_executor

    return cast("list[Any]", await run_in_executor(None, tiered_batch, chain, inputs, priorities, **options))


def _priorities(inputs: Sequence[Any], priorities: Priorities) -> list[str]:
    said = [priorities(value) for value in inputs] if callable(priorities) else list(priorities)
    if len(said) != len(inputs):
        raise InvalidArgument(f"There are {len(inputs)} inputs and {len(said)} priorities; give one for each.")
    for priority in said:
        if priority not in PRIORITIES:
            raise InvalidArgument(f"A priority is `{priority}`. {did_you_mean(str(priority), PRIORITIES)}")
    return [str(priority) for priority in said]


def _gather(
    job: BatchJob, places: list[int], answers: list[Any], timeout_s: float | None, poll: float | Literal["auto"]
) -> None:
    job.wait(timeout_s, poll)
    for result in job.results():
        answers[places[result.index]] = result.error if result.error is not None else result.output
