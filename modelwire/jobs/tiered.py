"""Answers urgent inputs by direct calls, and the others through the provider's Batch API at half the price."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from shutil import rmtree
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal, cast

from pydantic_core import from_json

from modelwire.aliases import StrPath
from modelwire.errors import InvalidArgument, Timeout, did_you_mean
from modelwire.ext import CallObserver, observing
from modelwire.jobs.batch_api import BatchJob, submit_batch
from modelwire.jobs.batch_api.plan import direct_answer, row_record
from modelwire.jobs.row_records import digest_of, json_of
from modelwire.jobs.rows import Row
from modelwire.jobs.store import TIERED
from modelwire.messages import messages_from_dict
from modelwire.runnables import RunnableLambda, run_in_executor

if TYPE_CHECKING:
    from modelwire.messages import AIMessage
    from modelwire.outputs import ChatResult
    from modelwire.runnables import Runnable, RunnableConfig

_PRIORITIES = ("high", "low")
_Priority = Literal["high", "low"]
_Priorities = Sequence[_Priority] | Callable[[Any], _Priority]


def tiered_batch(
    chain: Runnable[Any, Any],
    inputs: Sequence[Any],
    priorities: _Priorities,
    *,
    config: RunnableConfig | None = None,
    return_exceptions: bool = False,
    dir: StrPath | None = None,
    bucket: str | None = None,
    timeout: float | None = None,
    poll: float | Literal["auto"] = "auto",
) -> list[Any]:
    """Answer `inputs` in their order: those of "high" priority by direct calls, those of "low" in a
    batch at half the price.

    `priorities` is "high" or "low" for each input, or a function of an input. The batch is
    submitted first, the direct calls run meanwhile, and the function returns when the batch is
    done: after up to a day, `timeout` seconds at most. `dir` is the folder of the batch's state and
    of every direct answer. A repeated call with the same `dir`, after a timeout or a crash, creates
    no batch twice and repeats no answered call. By default it is a new folder in the working
    directory, which is removed when all inputs have an answer. `bucket` is that of `submit_batch`.
    Errors are raised when all is done, or returned in place of the answer with `return_exceptions`.
    Raises: `NotBatchable` for a chain that no Batch API can answer, `Timeout` (the batch continues;
    the text names its folder), `JobBusy` if another process uses the folder.

    Example:
        tiered_batch(prompt | model, questions, lambda q: "high" if q["waiting"] else "low")
    """
    levels = _priorities(inputs, priorities)
    high = [place for place, level in enumerate(levels) if level == "high"]
    low = [place for place, level in enumerate(levels) if level == "low"]
    if not low:
        live = chain.batch(list(inputs), config, return_exceptions=True)
        return _checked_answers(live, return_exceptions)
    cheap = [inputs[place] for place in low]
    job = submit_batch(chain, cheap, dir=dir, config=config, bucket=bucket)
    live = _Live(job, chain, config).answers(inputs, high)
    answers = dict(zip(high, live, strict=True))
    _wait(job, timeout, poll)
    for result in job.results():
        answers[low[result.index]] = result.error or result.output
    in_order = [answers[place] for place in range(len(inputs))]
    if dir is None and not any(isinstance(answer, BaseException) for answer in in_order):
        rmtree(job.path, ignore_errors=True)
    return _checked_answers(in_order, return_exceptions)


def _wait(job: BatchJob, timeout: float | None, poll: Any) -> None:
    try:
        job.wait(timeout, poll)
    except Timeout as exc:
        raise Timeout(
            f"{exc} The state of the batch is in `{job.path}`: call again with `dir` set to that folder."
        ) from exc


def _checked_answers(answers: list[Any], return_exceptions: bool) -> list[Any]:  # noqa: FBT001
    """Return the answers. Raises the first exception among them, unless `return_exceptions`."""
    for answer in answers:
        if isinstance(answer, BaseException) and not return_exceptions:
            raise answer
    return answers


class _Live:
    """Calls the chain directly for inputs, and stores each answer of the model in the job's folder when it arrives.

    An input with an answer from an earlier call of `tiered_batch` is not sent again; only the steps
    after the model run again.
    """

    def __init__(
        self,
        job: BatchJob,
        chain: Runnable[Any, Any],
        config: RunnableConfig | None,
    ) -> None:
        self._job = job
        self._chain = chain
        self._config = config
        self._split = job.place.needed_chain("tiered_batch")
        self._lock = Lock()

    def answers(self, inputs: Sequence[Any], places: Sequence[int]) -> list[Any]:
        """Return the results of the inputs at these places, in their order; an exception for one that fails."""
        with self._job.place.claimed() as (_, events):
            self._store = events.store
            known = {}
            for entry in self._store.entries(TIERED):
                if not entry.is_damaged:
                    record = from_json(entry.record)
                    known[record["n"]] = record
            pairs = [(place, inputs[place], known.get(place)) for place in places]
            answers = RunnableLambda(self._answer)
            return answers.batch(pairs, self._config, return_exceptions=True)

    def _answer(self, pair: tuple[int, Any, dict[str, Any] | None], config: RunnableConfig) -> Any:
        place, value, known = pair
        check = _digest(value)
        if known is not None and known["check"] == check:
            (message,) = messages_from_dict([known["message"]])
            if self._split.after is None:
                return message
            return self._split.after.invoke(message, config)
        last = _LastAnswer()
        try:
            with observing(last):
                return self._chain.invoke(value, config)
        finally:
            if last.message is not None:
                # With retries or fallbacks, the result is made of the last model's answer.
                with self._lock:
                    self._store.append(TIERED, [direct_answer(place, last.message, check=check)])


class _LastAnswer(CallObserver):
    """Observes the calls of a chain, and holds the last answer of a model in `message`."""

    message: AIMessage | None = None

    def answered(self, result: ChatResult) -> None:
        for generation in result.generations[:1]:
            self.message = cast("AIMessage", generation.message)


def _digest(value: Any) -> str:
    return digest_of(json_of(row_record(Row(0, 1, value), None))).hex()


async def atiered_batch(
    chain: Runnable[Any, Any], inputs: Sequence[Any], priorities: _Priorities, **options: Any
) -> list[Any]:
    """Answer `inputs` as `tiered_batch` does, without blocking the event loop."""
    return cast(
        "list[Any]", await run_in_executor(None, tiered_batch, chain, inputs, priorities, **options)
    )


def _priorities(inputs: Sequence[Any], priorities: _Priorities) -> list[str]:
    if callable(priorities):
        levels = [priorities(value) for value in inputs]
    else:
        levels = list(priorities)
    if len(levels) != len(inputs):
        raise InvalidArgument(
            f"There are {len(inputs)} inputs and {len(levels)} priorities; give one for each."
        )
    for priority in levels:
        if priority not in _PRIORITIES:
            raise InvalidArgument(
                f"A priority is `{priority}`. {did_you_mean(str(priority), _PRIORITIES)}"
            )
    return [str(priority) for priority in levels]
