"""`BatchJob`: a job whose rows were submitted to a Batch API, by this process or by an earlier one.

All its state is in its folder. A method that changes the folder holds its lock meanwhile; reading
needs no lock.
"""

from __future__ import annotations

import logging
import os
import random
import time
from collections.abc import Iterator
from decimal import Decimal
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from modelwire import ext
from modelwire.errors import (
    AuthenticationError,
    ChatError,
    InvalidArgument,
    JobChanged,
    JobError,
    MissingDependency,
    MissingKey,
    NotFound,
    PermissionDenied,
    QuotaExhausted,
    Timeout,
)
from modelwire.jobs.backoff import Backoff
from modelwire.jobs.batch_api.api import checked_id, each_of
from modelwire.jobs.batch_api.batch_folder import BatchFolder, check_format
from modelwire.jobs.batch_api.batch_table import write_table
from modelwire.jobs.batch_api.chain import Split, split_chain
from modelwire.jobs.batch_api.embeddings import with_steps
from modelwire.jobs.batch_api.finished_rows import FinishedRows, check_planned
from modelwire.jobs.batch_api.part_log import Part, PartEvents
from modelwire.jobs.batch_api.plan import direct_answer
from modelwire.jobs.batch_api.reconcile import Reconciler
from modelwire.jobs.batch_api.resubmit_invalid import resubmit_invalid
from modelwire.jobs.batch_api.results import (
    UNUSABLE,
    BatchCost,
    BatchResult,
    BatchStatus,
    checked_statuses,
)
from modelwire.jobs.folder import JobFolder, find_job
from modelwire.jobs.options import ORDERS, check_choice
from modelwire.jobs.progress import notebook_bar
from modelwire.jobs.row_records import TABLE
from modelwire.jobs.store import LIVE, JobStore
from modelwire.jobs.work import differences, failure_text
from modelwire.runnables import RunnableLambda, run_in_executor

if TYPE_CHECKING:
    from modelwire.aliases import StrPath
    from modelwire.jobs.batch_api.batch_options import OnProgress
    from modelwire.runnables import RunnableConfig

_log = logging.getLogger(__name__)

# `wait` polls after these pauses, and from `_SLOW_AFTER_S` on every `_SLOW_S`.
POLLS_S = (5.0, 10.0, 20.0, 40.0, 60.0)
_SLOW_S, _SLOW_AFTER_S = 300.0, 3600.0
_JITTER = 0.2
# The creation of a batch is retried after these pauses. If the provider asks for a longer one, the
# error is raised, because signals are not handled during the pause.
BACKOFF = Backoff(first_s=0.5, longest_s=8.0, patience_s=30.0)
# `finish_live` calls this many rows at a time.
_LIVE_ROWS = 64
# These errors fail every row in the same way.
_EVERY_ROWS = (AuthenticationError, PermissionDenied, QuotaExhausted, MissingKey, MissingDependency)
# `resubmit` takes rows of these statuses by default.
_FINISHED = (
    "expired",
    "errored_retryable",
    "missing",
)


class BatchJob:
    """A job at a provider's Batch API. `submit_batch` creates one, `load` opens an existing one."""

    def __init__(
        self,
        path: Path,
        split: Split | None,
        *,
        on_progress: OnProgress | None = None,
    ):
        self.path = path
        self.on_progress = on_progress or notebook_bar()
        self.place = BatchFolder(path, split)
        self.rows = FinishedRows(self.place)

    @classmethod
    def load(
        cls,
        job: StrPath,
        chain: Any = None,
        *,
        dir: StrPath = ".",
        config: RunnableConfig | None = None,
        force: bool = False,
        on_progress: OnProgress | None = None,
    ) -> BatchJob:
        """Return the job in the folder `job`, or the job with the id `job` among those in the folder `dir`.

        With the `chain` that it was submitted with, results are the chain's outputs; without it
        they are the model's messages.
        Raises: `JobChanged` for another chain, unless `force` is set; `InvalidArgument` if there is
        no such batch job.
        """
        folder = find_job(os.fspath(job), Path(dir))
        if "batch" not in folder.about:
            raise InvalidArgument(
                f"`{folder.path}` is not a batch job: run it with `run_job`, or `modelwire batch`."
            )
        check_format(folder)
        split = None
        if chain is not None:
            about = folder.about["batch"].get("embeddings") or {}
            split = split_chain(with_steps(chain, about.get("text")), config)
        if split is not None and not force:
            before = folder.about["fingerprint"]
            now = {"input": before.get("input"), "via": before.get("via")}
            changed = differences(before, now | split.work.fingerprint())
            if changed:
                raise JobChanged(
                    f"`{folder.path}` was submitted with another chain. {' '.join(changed)} "
                    "`force=True` reads its results all the same."
                )
        return cls(folder.path, split, on_progress=on_progress)

    def __repr__(self) -> str:
        return f"BatchJob({self.id!r}, {os.fspath(self.path)!r})"

    @property
    def id(self) -> str:
        """The job's id, which is its name on the command line."""
        return JobFolder(self.path).id

    def wait(
        self,
        timeout: float | None = None,
        poll: float | Literal["auto"] = "auto",
    ) -> BatchJob:
        """Wait until all results are downloaded. Transient failures are retried meanwhile.

        Errors of the key, the account or the disk are raised. `poll` is the seconds between two
        requests for the state.
        Raises: `Timeout` after `timeout` seconds; the job is unchanged, and this or another process
        may wait again.
        """
        began = time.monotonic()
        if self._is_done():
            return self
        with self.place.opened(time.time) as job:
            reconciler = Reconciler(job)
            looks = 0
            while not self._advance(reconciler):
                elapsed_s = time.monotonic() - began
                if poll == "auto":
                    pause_s = _pause_s(looks, elapsed_s)
                else:
                    pause_s = poll
                if timeout is not None:
                    if elapsed_s >= timeout:
                        raise Timeout(
                            f"The batch is not done after {timeout:g} s. It goes on; wait for it again."
                        )
                    pause_s = min(pause_s, timeout - elapsed_s)
                time.sleep(pause_s)
                looks += 1
        return self

    def poll(self) -> bool:
        """Advance the job as far as it can be without waiting. Return whether all results are downloaded.

        Errors are raised as by `wait`.
        """
        if self._is_done():
            return True
        with self.place.opened(time.time) as job:
            return self._advance(Reconciler(job))

    def _is_done(self) -> bool:
        return self.place.read()[1].done

    def _advance(self, reconciler: Reconciler) -> bool:
        """Take every step that the job is ready for. Return whether it is done."""
        is_done = advance(reconciler)
        self._show_progress(reconciler)
        return is_done

    def _show_progress(self, reconciler: Reconciler) -> None:
        if self.on_progress is not None:
            self.on_progress(reconciler.progress())

    def hand_in(
        self,
        folder: JobFolder,
        events: PartEvents,
        *,
        tries: int,
        searches: bool = True,
    ) -> None:
        """Create as many batches as the provider's queue takes.

        With `searches` it waits until it is known whether each batch was created; without it, `wait`
        finds that out. A transient failure is retried, in all `tries` times.
        """
        with self.place.connected(folder, events, time.time) as job:
            reconciler = Reconciler(job)
            create_batches(reconciler, tries=tries, searches=searches)
            self._show_progress(reconciler)
        if not events.done:
            events.store.clear(TABLE)  # The rows of the last table are out of date.
        state = "submitted"
        if events.done:
            state = "answered"
        folder.end({"state": state, "rows": events.rows})

    async def await_end(
        self,
        timeout: float | None = None,  # noqa: ASYNC109 - it is `wait`'s
        poll: float | Literal["auto"] = "auto",
    ) -> BatchJob:
        """Wait without blocking the event loop; see `wait`."""
        return await run_in_executor(None, self.wait, timeout, poll)

    def cancel(self) -> None:
        """Cancel the job. Rows answered until then are billed and kept; `wait` fetches them."""
        with self.place.opened(time.time) as job:
            check_planned(self.path, job.events)
            Reconciler(job).cancel()

    def resubmit(
        self,
        status: Any = _FINISHED,
        *,
        inputs: Any = None,
        encoding: str = "utf-8",
    ) -> int:
        """Submit the rows again whose result has one of the statuses; return how many were submitted.

        `errored_retryable` are transient errors, `errored` all errors, `unusable` answers for which
        a step after the model raises: these were billed, and the new answers are billed, too. With
        `inputs` (the table or rows that the job was submitted with), rows that could not be sent
        (`invalid`) are read again and submitted if they are valid now. All other rows must be
        unchanged, else `JobChanged` is raised.
        """
        statuses = checked_statuses(status)
        with self.place.opened(time.time) as job:
            _check_done(self.path, job.events)
            round = 1 + job.events.last_round
            count = 0
            if inputs is not None:
                split = self.place.needed_chain("inputs")
                count = resubmit_invalid(split, job, inputs, encoding, round)
            is_unusable = None
            if UNUSABLE in statuses:
                is_unusable = self.rows.is_unusable
            count += Reconciler(job).resubmit(statuses, round=round, is_unusable=is_unusable)
            if count:
                self.hand_in(job.folder, job.events, tries=5)
        return count

    def finish_live(self, status: Any = (*_FINISHED, "cancelled")) -> int:
        """Call the model directly, at the full price, for rows without an answer; return how many have one now.

        `with_retry` and `with_fallbacks` around the model apply. A row that fails keeps its result,
        and the error is logged; errors such as an invalid key or an empty account are raised. Each
        answer is stored as soon as it arrives.
        """
        statuses = checked_statuses(status)
        split = self.place.needed_chain("finish_live")

        def ask_live(value: Any) -> Any:
            return ext.storable_answer(split.call_directly(value))

        with self.place.claimed() as (folder, events):
            _check_done(self.path, events)
            chunks = _chunks(self.rows.unanswered(folder, events, statuses))
            step = RunnableLambda(ask_live)
            return sum(_call_directly(events.store, step, chunk) for chunk in chunks)

    def adopt(self, part: int, batch_id: str) -> None:
        """Use `batch_id` as the batch of the part with this number, after `BatchUncertain` was raised."""
        with self.place.claimed() as (_, events):
            facts = {
                "batch_id": checked_id(batch_id),
                "expires_at": 0.0,
                "guessed": True,
                "confirmed": True,
            }
            events.write("created", _uncertain(events, part), **facts)

    def submit_again(self, part: int) -> None:
        """Submit the part with this number again, although a batch may have been made of it.

        This is for a part whose batch is uncertain (`BatchUncertain`) or unknown to the provider.
        The next `wait` creates a new batch, which is billed even if an earlier one was billed, too.
        A cancelled job creates none.
        """
        with self.place.claimed() as (folder, events):
            found = next((one for one in events.parts if one.number == part), None)
            if found is None or not self._is_lost(folder, events, found):
                found = _uncertain(events, part)
            events.write("requeued", found)

    def _is_lost(self, folder: JobFolder, events: PartEvents, part: Part) -> bool:
        """Return whether the provider does not know a part's batch, or has no results of it."""
        if part.stage == "ended":
            # A part stays in this stage only if the download of its results has failed.
            return True
        if part.stage != "created":
            return False
        with self.place.connected(folder, events, time.time) as job:
            try:
                return job.look(part).lacks_results
            except NotFound:
                return True

    def delete_remote(self) -> None:
        """Delete the job's files and batches at the provider, as far as its API allows. The job must be done.

        Files that are deleted already are ignored; the first other failure is raised at the end.
        """
        with self.place.opened(time.time) as job:
            _check_done(self.path, job.events)
            delete = partial(job.api.delete, job.batch_client)
            each_of(job.events.parts, delete)

    def status(self, *, look: bool = True) -> BatchStatus:
        """Return the state of the job. With `look`, poll the batches that are not done first."""
        folder, events = self.place.read()
        running = events.running()
        done_there = 0
        if look and running:
            with self.place.connected(folder, events, time.time) as job:
                for part in running:
                    done_there += job.look(part).done
        current = [part for part in events.parts if part.stage != "replaced"]
        submitted = sum(part.rows for part in current if part.batch_id)
        at_work = sum(part.rows for part in running)
        if events.done:
            state = "done"
        elif events.cancelled:
            state = "cancelling"
        elif submitted:
            state = "processing"
        else:
            state = "planned"
        open_rows = sum(part.rows for part in current if part.stage != "downloaded")
        done = events.rows - open_rows
        if open_rows:
            # Rows that share an answer are done when all rows are.
            done -= events.same
        batches = tuple(part.batch_id for part in events.parts if part.batch_id)
        return BatchStatus(
            state,
            events.rows,
            submitted,
            done + done_there,
            at_work - done_there,
            len(current),
            batches,
        )

    def results(
        self,
        order: Literal["input", "arrival"] = "input",
        errors: Literal["return", "raise"] = "return",
    ) -> Iterator[BatchResult]:
        """Yield one result for each input. The steps after the model run when a result is read; no model is called.

        With `order="arrival"`, rows come in the order of their results. With `errors="raise"`, the
        first error is raised.

        Raises: `InvalidArgument` for another order or another `errors`.
        """
        check_choice("order", order, ORDERS)
        check_choice("errors", errors, ("return", "raise"))
        return self._results(by_arrival=order == "arrival", raising=errors == "raise")

    def _results(self, *, by_arrival: bool, raising: bool) -> Iterator[BatchResult]:
        for result, _ in self.rows.finished(by_arrival=by_arrival):
            if raising and result.error is not None:
                raise result.error
            yield result

    def cost(self) -> BatchCost:
        """Return the cost of all answers that the job has now."""
        usd = Decimal(0)
        answers = 0
        unpriced = 0
        for result, _ in self.rows.recorded(by_arrival=False):
            if result.message is not None:
                answers += 1
                unpriced += result.cost is None
                usd += result.cost or 0
        return BatchCost(usd, answers, unpriced)

    def write(
        self,
        path: StrPath,
        *,
        order: Literal["input", "arrival"] = "input",
    ) -> int:
        """Write a table of inputs and answers as `run_job` does (.jsonl, .csv, .tsv or .parquet);
        return its number of rows.

        Before the job's end, a row without an answer has the `error` "pending". Raises:
        `DiskError`, and `JobBusy` for the output of another job.
        """
        with self.place.claimed() as (folder, events):
            return write_table(self, folder, events, Path(path), order)

    def to_parquet(self, path: StrPath) -> int:
        """Write a Parquet file; see `write`."""
        return self.write(path)


def advance(reconciler: Reconciler) -> bool:
    """Take every step that a job is ready for. Return whether the job is done. A transient failure is only logged."""
    job = reconciler.job
    events = job.events
    check_planned(job.folder.path, events)
    try:
        reconciler.advance()
    except ChatError as exc:
        if not exc.retryable:
            raise
        _log.info("`%s` is looked at again: %s", job.folder.path, exc)
    if events.done:
        job.folder.end({"state": "answered", "rows": events.rows})
    return events.done


def create_batches(reconciler: Reconciler, *, tries: int, searches: bool) -> None:
    """Create the batches of the parts that wait for one. A transient failure is retried, in all `tries` times.

    It is raised at once if the provider asks for a long pause; `wait` or another submission resumes later.

    With `searches`, wait until it is known whether each batch was created.
    """
    events = reconciler.events
    failures = looks = 0
    while True:
        try:
            if not events.parts and not events.done:
                reconciler.advance()
            reconciler.create_batches()
        except ChatError as exc:
            failures += 1
            pause_s = BACKOFF.pause_s(failures, exc.retry_after)
            if not exc.retryable or failures == tries or pause_s is None:
                raise
            time.sleep(pause_s)
            continue
        if not searches or not reconciler.is_searching():
            return
        time.sleep(_pause_s(looks, 0.0))
        looks += 1


def give_up_refused(place: BatchFolder) -> bool:
    """End the parts for which the provider has refused to create a batch; return whether there were any.

    Their rows get no result, and `wait` continues with the other batches.
    """
    with place.claimed() as (folder, events):
        api = place.api(folder)
        refused = [part for part in events.waiting() if api.has_no_batch(part)]
        for part in refused:
            events.write("downloaded", part, outcome="cancelled")
    return bool(refused)


def _uncertain(events: PartEvents, number: int) -> Part:
    """Return the part with this number. Raises: `InvalidArgument` unless its batch is uncertain."""
    for part in events.parts:
        is_uncertain = part.stage in ("intent", "uploaded")
        if part.stage == "planned":
            is_uncertain = part.possibly_lost
        elif part.stage in ("created", "ended"):
            is_uncertain = part.is_guess
        if part.number == number and is_uncertain:
            return part
    raise InvalidArgument(f"Nothing is uncertain about part {number} of `{events.folder}`.")


def _pause_s(looks: int, elapsed_s: float) -> float:
    """Return the seconds until `wait` polls again."""
    pause_s = _SLOW_S
    if elapsed_s <= _SLOW_AFTER_S:
        place = min(looks, len(POLLS_S) - 1)
        pause_s = POLLS_S[place]
    return pause_s * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - spreads polls, keeps no secret


def _check_done(path: Path, events: PartEvents) -> None:
    if not events.done:
        raise JobError(f"The job in `{path}` is not done: call its `wait()` first.")


def _call_directly(store: JobStore, step: Any, rows: list[tuple[int, Any]]) -> int:
    """Call the model for some rows and store each answer; return the number of answers.

    A row that fails keeps its result. If there was no answer and an error would fail every row,
    that error is raised.
    """
    answered = 0
    failures = []
    values = [value for _, value in rows]
    for place, message in step.batch_as_completed(values, return_exceptions=True):
        number, _ = rows[place]
        if isinstance(message, BaseException):
            failures.append(message)
            reason = failure_text(message)
            _log.warning("Row %d could not be called directly: %s", number, reason)
        else:
            entry = direct_answer(number, message, told=True)
            store.append(LIVE, [entry])
            answered += 1
    every_rows = [error for error in failures if isinstance(error, _EVERY_ROWS)]
    if every_rows and not answered:
        raise every_rows[0]
    return answered


def _chunks(rows: Iterator[tuple[int, Any]]) -> Iterator[list[tuple[int, Any]]]:
    """Yield the rows in lists, each of which `finish_live` calls at a time."""
    while chunk := list(islice(rows, _LIVE_ROWS)):
        yield chunk
