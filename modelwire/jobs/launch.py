"""`run_job` for sync code, where Ctrl-C and SIGTERM drain the job, and `arun_job` for an event loop."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Unpack

from modelwire import ext, lazy
from modelwire.errors import InvalidArgument
from modelwire.jobs.job_result import JobResult
from modelwire.jobs.options import JobOptions

if TYPE_CHECKING:
    from modelwire.jobs import runner
    from modelwire.jobs.finish_by import JobPlan
else:
    runner = lazy.module("modelwire.jobs.runner")

# While the job runs, the main thread wakes up this often, so that Python can handle signals.
_WAKE_S = 1.0
# After a second signal, the job has this long to store its results.
_LEAVE_S = 2.0


def run_job(work: Any, rows: Any, **options: Unpack[JobOptions]) -> JobResult:
    """Call `work` for every row, and write a table with the answers. A repeated call resumes the job.

    `work` is any chain, or a prompt (a template with `{column}`s) together with `model=`. `rows` is
    the path of a CSV, TSV, JSON lines or Parquet file, a data frame, or an iterable of dicts or
    texts. A row that cannot be read or answered does not stop the others; its error is in the
    column `error`. Finished rows survive any crash. The options are those of
    `modelwire.jobs.JobOptions`, explained there.

    A Ctrl-C or SIGTERM waits for the calls in flight (at most 10 s) before it is raised.

    Raises: `JobChanged`, `JobBusy`, `JobStopped`, `DiskError`.

    Example:
        run_job("Summarise: {review}", "reviews.csv", model="openai:gpt-4o-mini", output="summaries.csv")
        run_job("Summarise: {review}", frame, model="openai:gpt-4o-mini").to_pandas()
    """
    job = runner.open_job(work, rows, options)
    home = ext.background_loop()
    future: Future[JobResult] | None = None
    reasons: list[str] = []

    def stop(reason: str) -> None:
        # A signal may arrive at any moment, also while another is handled, so the job is notified
        # before the signal is counted.
        if future is not None:
            home.post(lambda: job.stop(reason))
        reasons.append(reason)
        if future is not None and len(reasons) > 1:
            future.cancel()
            job.over.wait(_LEAVE_S)
            raise _leaving(reason)

    # The signals are handled before the job starts, since its first rows are called at once.
    on_sigint = _handling(signal.SIGINT, signal.default_int_handler, lambda: stop("interrupted"))
    with on_sigint, _handling(signal.SIGTERM, signal.SIG_DFL, lambda: stop("terminated")):
        future = asyncio.run_coroutine_threadsafe(job.run(), home.loop)
        early, reasons[:] = reasons[:], []
        for reason in early:
            stop(reason)
        result = _awaited(future, lambda: stop("interrupted"))
    if result.stopped in runner.SIGNALS:
        raise _leaving(result.stopped)
    return result


def _leaving(reason: str) -> BaseException:
    """Return the exception that ends a program after a signal."""
    if reason == "interrupted":
        return KeyboardInterrupt()
    return SystemExit(128 + signal.SIGTERM)


def plan_job(work: Any, rows: Any, **options: Unpack[JobOptions]) -> JobPlan:
    """Return the forecast for `run_job` with the same arguments and `finish_by`, without any
    request. Printed, it is a table.

    Raises: `InvalidArgument` if the deadline cannot be met, or not within `max_cost`.

    Example:
        print(plan_job("Summarise: {review}", "reviews.csv", model="openai:gpt-4o-mini", finish_by="07:00"))
    """
    if options.get("finish_by") is None:
        raise InvalidArgument('A plan needs an hour: `finish_by="07:00"` (`--finish-by 07:00`).')
    return runner.open_job(work, rows, options).planned()


async def arun_job(work: Any, rows: Any, **options: Unpack[JobOptions]) -> JobResult:
    """Run a job on this event loop; see `run_job`. The caller handles signals.

    A cancelled job can be run again.
    """
    job = await asyncio.to_thread(runner.open_job, work, rows, options)
    return await job.run()


def _awaited(future: Future[JobResult], stop: Callable[[], None]) -> JobResult:
    """Wait for the job and return its result; call `stop` when Ctrl-C interrupts the wait."""
    while True:
        try:
            # A signal that arrives just before a wait does not wake the wait, so Python is made to
            # check for signals repeatedly.
            while not future.done():
                wait([future], timeout=_WAKE_S)
            return future.result()
        except KeyboardInterrupt:
            # The handler of a second signal has cancelled the job, or a step of the chain has
            # raised the interrupt.
            if future.done():
                raise
            stop()  # The program has its own signal handler, as in a notebook.


@contextmanager
def _handling(number: int, default: Any, act: Callable[[], None]) -> Iterator[None]:
    """Handle a signal with `act`, in the main thread only, and only if the program has not set its own handler."""
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(number) != default
    ):
        yield
        return
    signal.signal(number, lambda *_: act())
    try:
        yield
    finally:
        signal.signal(number, default)
