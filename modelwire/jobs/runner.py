"""The main loop of a job: it reads rows, runs a bounded number of calls, and stores records.

A worker starts its next row only once the record of the last one is synced. So a crash at any
moment loses at most the rows in flight (`max_concurrency`), and the rows that have failed since the
last answer: those failures are held back, because they may have a common cause such as an outage. A
later run calls both again.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from time import monotonic
from typing import TYPE_CHECKING, Any, cast

from modelwire.aliases import JSON, Fields, Kwargs
from modelwire.embeddings import Embeddings
from modelwire.errors import DiskError, InvalidArgument, JobChanged, JobStopped
from modelwire.jobs.embedding_rows import EmbeddingCaller, EmbeddingWork, embedding_work
from modelwire.jobs.failures import Failures
from modelwire.jobs.folder import JobFolder
from modelwire.jobs.input_rows import InputRows, Question
from modelwire.jobs.job_result import JobResult
from modelwire.jobs.ledger import Ledger
from modelwire.jobs.live_scheduler import LiveScheduler, cancelled
from modelwire.jobs.options import JobOptions, checked_options
from modelwire.jobs.output import JobTable, check_output
from modelwire.jobs.progress import Progress
from modelwire.jobs.row_caller import RowCaller, stopped
from modelwire.jobs.row_calls import RowCalls
from modelwire.jobs.row_records import ANSWERED, FAILED, Record
from modelwire.jobs.rows import Row
from modelwire.jobs.store import WAYS
from modelwire.jobs.work import OPTIONS_OF_PROMPT, Work, failure_text, make_work
from modelwire.runnables import get_config_list

if TYPE_CHECKING:
    from modelwire.jobs.finish_by import JobPlan
    from modelwire.jobs.hybrid_scheduler import HybridScheduler
    from modelwire.jobs.row_store import RowStore
    from modelwire.jobs.window import RowWindow

# The throughput is measured this often, to decide whether to run more rows at a time.
MEASURE_INTERVAL_S = 0.25
# After skipping this many finished rows, a worker lets the other tasks of the event loop run.
_SKIPPED_AT_ONCE = 500

# These numbers of a `Standing` are fields of the result.
_COUNTED = (
    *("rows", "failed", "asked", "same", "cached", "cut", "refused"),
    *("input_tokens", "output_tokens", "cost", "unpriced", "elapsed_s"),
    *("cache_read", "cache_written", "cache_saved"),
)
# If a signal stops the job, `JobResult.stopped` is one of these.
SIGNALS = ("interrupted", "terminated")


def open_job(work: Any, rows: Any, keywords: JobOptions) -> Job:
    """Return a job that is ready to run: its options are checked, its folder is locked, its input is open."""
    options = checked_options(keywords)
    output = options["output"]
    job_dir = options["job_dir"]
    if output is not None:
        job_dir = job_dir or f"{output}.job"
        check_output(output, options["order"], rows, job_dir)
    made = _made(work, options)
    # Ctrl-C is included: an error of any kind releases the input and the lock of the folder.
    with ExitStack() as opened:
        input = InputRows(rows, options)
        opened.callback(input.close)
        folder = JobFolder(Path(job_dir or mkdtemp(prefix="modelwire-job-")))
        folder.is_temporary = not job_dir
        opened.callback(folder.release)
        made.check_columns(input.source.columns)
        job = _claimed(made, input, folder, options, opened)
        job.opened = opened.pop_all()
        return job


def _made(work: Any, options: Fields) -> Work:
    """Return the work of a chain, a prompt with its model, or an embeddings model."""
    if isinstance(work, Embeddings):
        return embedding_work(work, options)
    if options["text"] is not None:
        raise InvalidArgument(
            "`text` is for an embeddings model: a prompt names its columns itself."
        )
    of_prompt = {name: options[name] for name in OPTIONS_OF_PROMPT}
    return make_work(work, options["model"], **of_prompt)


def _claimed(
    work: Work,
    input: InputRows,
    folder: JobFolder,
    options: Kwargs,
    opened: ExitStack,
) -> Job:
    """Return the job of a folder, with the state of earlier runs."""
    from modelwire.jobs.row_store import RowStore
    from modelwire.jobs.window import RowWindow

    ledger = Ledger(work, options["max_cost"])
    (config,) = get_config_list([options["config"]], 1)
    caller, most = _caller(work, config, options)
    fingerprint = {"input": input.source.fingerprint(), **work.fingerprint(config)}
    output = options["output"]
    retry_failed = options["retry_failed"]
    if output is not None:
        folder.check_output_is_free(output)
    folder.claim()
    table = JobTable(output, options, folder)
    input_changed = folder.check(fingerprint, input_may_differ=retry_failed, rows_may_come=True)
    store = RowStore(folder.path, retry_failed=retry_failed)
    opened.callback(store.close)
    failures = Failures(store)
    calls = RowCalls(work, caller, store.results, failures, dedupe=options["dedupe"])
    window = RowWindow(most or work.rows_at_most, most or work.rows_at_once)
    job = Job(input, window, ledger, failures, store, table, folder, calls, options)
    job.restore(fingerprint, input_changed=input_changed)
    return job


def _caller(work: Work, config: Any, options: Fields) -> tuple[RowCaller, int | None]:
    """Return the caller for the rows, and the most rows that may run at a time (None leaves that to the window)."""
    most = options["max_concurrency"] or config.get("max_concurrency")
    if isinstance(work, EmbeddingWork):
        return EmbeddingCaller(work.chain, config, work.texts_of_request), most
    if options["engine"] == "local":
        return RowCaller(work.chain, config), most
    from modelwire.jobs import ray_engine

    caller = ray_engine.RayCaller(work.chain, config, workers=options["workers"])
    most = options["max_concurrency"] or ray_engine.portion(
        with_max_cost=options["max_cost"] is not None
    )
    return caller, most


@dataclass(eq=False)
class Job:
    """One run of a job. `open_job` makes it."""

    input: InputRows
    window: RowWindow
    ledger: Ledger
    failures: Failures
    store: RowStore
    output: JobTable
    folder: JobFolder
    calls: RowCalls
    options: Fields
    scheduler: LiveScheduler = field(default_factory=LiveScheduler)
    # Closing this stack releases the folder, the store and the input.
    opened: ExitStack = field(default_factory=ExitStack)
    # The reason why no new row is started: "max_cost", "error" or a signal's; None while rows are started.
    stopped: str | None = None
    # Set when the run has ended and has released everything.
    over: threading.Event = field(default_factory=threading.Event)
    # Set when the job is stopped before its end.
    ending: asyncio.Event = field(default_factory=asyncio.Event)
    # A worker holds this lock while it takes the next row.
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    progress: Progress = field(init=False)
    _error: BaseException | None = None
    _began: float = 0.0

    def restore(self, fingerprint: JSON, *, input_changed: bool) -> None:
        """Restore the state of earlier runs. New rows may have been appended to the input."""
        options = self.options
        folder = self.folder
        store = self.store
        is_new = not folder.about
        for record in store.results.recover():
            self.ledger.count(record)
        if input_changed and fingerprint["input"]:
            store.check_source(self.input.opened())
        folder.agree(
            fingerprint, options["command"], output=self.output.path, input_may_differ=True
        )
        columns = self.calls.work.answer_columns
        if folder.about.get("answer_columns") != columns:
            folder.note(answer_columns=columns)
        if options["finish_by"] is None and store.results.store.next_id(WAYS) == 1:
            return
        from modelwire.jobs.hybrid_scheduler import HybridScheduler

        try:
            self.scheduler = HybridScheduler(self, options["finish_by"])
        except InvalidArgument:  # No request was sent, and none will be.
            folder.is_temporary = folder.is_temporary or is_new
            raise

    def planned(self) -> JobPlan:
        """Return the plan of a job with a deadline, without running it, and release the job."""
        scheduler = cast("HybridScheduler", self.scheduler)
        plan = scheduler.plan()
        if not self.store.results.end and not scheduler.assignments.made:
            self.folder.is_temporary = True
        self.opened.close()
        return plan

    async def run(self) -> JobResult:
        """Call the chain for all rows without a result; write the output when all have one."""
        self.input.begin()
        self._began = monotonic()
        self.progress = Progress(quiet=self.options["quiet"])
        try:
            while await self.scheduler.next_pass():
                await self._run_pass()
            return await self._end()
        except asyncio.CancelledError:
            self._end_folder(self._result(complete=False))
            raise
        finally:
            await self.scheduler.close()
            self.progress.close()
            self.calls.caller.close()
            self.opened.close()
            self.over.set()

    async def _run_pass(self) -> None:
        """Run workers until the input or the quota of the pass is used up, or the job is stopped."""
        self._add_workers()
        endless = (
            self.store.commit_groups(self.fail),
            self._show_for_ever(),
            self._widen_for_ever(),
        )
        beside = [asyncio.create_task(each) for each in endless]
        try:
            await self.window.drained(self.ending, may_wait=lambda: not self.store.has_failed)
            self.failures.release()
        finally:
            await self.window.close()
            await cancelled(beside)
            self.ledger.standing.asked -= len(self.failures.streak.end())
            self.store.flush(self.fail)

    def _add_workers(self) -> None:
        self.window.fill(self._work, is_blind=self.ledger.is_blind)

    async def _widen_for_ever(self) -> None:
        """Run more rows at a time, as long as that raises the throughput."""
        while True:
            await asyncio.sleep(MEASURE_INTERVAL_S)
            self.window.observe(self.ledger.standing.asked)
            if self.stopped is None and not self.input.exhausted:
                self._add_workers()

    async def _show_for_ever(self) -> None:
        while not self.options["quiet"]:
            await asyncio.sleep(self.progress.every_s)
            self._measure()
            self.progress.show(self.ledger.standing)

    async def _work(self) -> None:
        """Take and run one row after the other, as long as the window has room. Each worker runs this."""
        this = cast("asyncio.Task[None]", asyncio.current_task())
        failures = self.failures
        try:
            while self.window.has_room and (question := await self._next()) is not None:
                is_placed = await self.run_row(question)
                if failures.streak.may_have_common_cause(self.window.size):
                    await failures.check(self)
                if is_placed:
                    await self.store.committed()
            if self.window.has_one_worker and failures.streak.of_key:
                # No other worker is left that would check.
                await failures.check(self)
        except asyncio.CancelledError:
            if not self.calls.caller.is_over and not this.cancelling():
                self.fail(stopped("A row was cancelled, and not by the job."))
            raise
        except BaseException as exc:  # noqa: BLE001 - it ends the job, and is raised where the job is awaited
            self.fail(exc)

    async def _next(self) -> Question | None:
        """Return the next row to call; None if there is none, or none may be started."""
        skipped = 0
        async with self.turn:
            while self.stopped is None and not self.input.exhausted and self.window.quota > 0:
                question = self.input.take()
                if question is None:
                    break
                is_held = self.scheduler.holds(question.row.number, question)
                if not is_held and not self.store.has_result(question):
                    if await self._has_money(question):
                        return question
                    return None
                skipped += 1
                if skipped % _SKIPPED_AT_ONCE == 0:
                    await asyncio.sleep(0)
        return None

    async def _has_money(self, question: Question) -> bool:
        """Reserve the cost of a row, and return whether the budget covers it.

        If it does not, wait as long as rows in flight may release a part of the budget.
        """
        ledger = self.ledger
        money = ledger.money
        if money is None or question.row.problem is not None:
            return True
        while not ledger.reserve(question):
            if not self.window.in_flight:
                if not self.scheduler.on_shortage(question):
                    self._start_no_more("max_cost")
                    self.progress.say(money.shortage(money.needed(question.row_json)))
                return False
            ledger.freed.clear()
            await ledger.freed.wait()
            if self.stopped is not None:
                return False
        return True

    async def run_row(self, question: Question) -> bool:
        """Call the chain for a row and record the result. Return whether the record is going to be stored now.

        A failure that may have a common cause with others is held back.
        """
        self.window.in_flight += 1
        self.window.quota -= 1
        try:
            about, failure_scope = await self.calls.resolve(question)
            self._record(question, about, failure_scope)
        finally:
            self.window.in_flight -= 1
            self.ledger.settle(question)
        return not failure_scope

    def _record(self, question: Question, about: JSON, failure_scope: str) -> None:
        """Count the result of a row and store its record. A failure with a `failure_scope` is held back."""
        row = question.row
        record = Record(row.number, row.line, question.row_json, question.check, about)
        if failure_scope:
            self.failures.streak.held.append(record)
        else:
            self.store.place(record)
        self.ledger.count_finished(about, question.reserved)
        if row.problem is None:
            self.scheduler.count(about)
        is_unpriced = about.get("attempts") and "cost" not in about
        if is_unpriced and self.ledger.money is not None:
            raise stopped(
                "`max_cost` cannot be held: the price of the model is not known.",
                "run it again without `max_cost`",
            )

    def may_call(self, row: Row) -> bool:
        """Return whether the chain may be called for a row that was read ahead."""
        if row.problem is not None:
            return False
        if not self.store.is_open(row.number):
            return False
        return not self.scheduler.holds(row.number)

    @property
    def is_stopped(self) -> bool:
        """Whether the job was stopped or has failed, so that it starts no further row."""
        return self.stopped is not None or self._error is not None

    def stop(self, reason: str) -> None:
        """Start no new row, and let those in flight finish within `RowWindow.DRAIN_S`.

        It must be called on the job's event loop.
        """
        calls = self.calls.caller.wind_up()
        if self.stopped in (None, "max_cost"):
            self._start_no_more(reason)
            self.ledger.freed.set()
            if reason in SIGNALS and calls:
                each = f"{calls} calls; Ctrl-C leaves them"
                if calls == 1:
                    each = "1 call; Ctrl-C leaves it"
                self.progress.say(f"Waiting at most {self.window.DRAIN_S:.0f} s for {each}.")
        self.ending.set()

    def _start_no_more(self, reason: str) -> None:
        self.stopped = reason
        self.failures.is_stopped = True

    def fail(self, error: BaseException) -> None:
        """Stop the job with an error, which is raised when the rows in flight have ended."""
        if self._error is None:
            self._error = error
        self.stop("error")

    async def _end(self) -> JobResult:
        """Write the output if all rows have a result, and the summary; return the result. Raises the job's error."""
        complete = not self.is_stopped
        if complete:
            try:
                self._check_end()
                await self.store.on_disk(self._write)
            except (DiskError, JobChanged, JobStopped) as exc:
                self._error = exc
                complete = False
        elif self.output.path is None and self._error is None:
            # The results in memory were billed, so they are returned.
            await self.store.on_disk(self._write)
        result = self._result(complete=complete)
        self._end_folder(result)
        if self._error is not None:
            if self._is_in_memory and self.store.results.end:
                self._error.add_note(f"What is done is kept. {self._to_go_on()}.")
            raise self._error
        return result

    def _check_end(self) -> None:
        """Raise `JobStopped` if a row has no result, and `JobChanged` if a row with a result is not in the input."""
        among = self.input.among
        taken = self.input.taken
        results = self.store.results
        recorded = results.count(ANSWERED, among) + results.count(FAILED, among)
        if recorded < taken:
            raise stopped(f"{taken - recorded:,} of {taken:,} rows have no result.")
        if self.input.is_whole:
            self.store.check_enough(taken)

    def _write(self) -> None:
        """Write the table of this run's rows."""
        self.output.write(
            self.store.results,
            self.input,
            self.calls.work.answer_columns,
            is_new=self.ledger.standing.asked > 0,
        )

    def _end_folder(self, result: JobResult) -> None:
        """Write the summary of the run into the job's folder.

        A `DiskError` here must not hide the reason why the job has stopped.
        """
        if not result.complete and self.store.results.end:
            self.folder.is_temporary = False
        summary: JSON = {"state": "interrupted", "stopped": self.stopped}
        if result.complete:
            summary["state"] = "complete"
        if self._error is not None:
            summary["stopped"] = failure_text(self._error)
        summary |= result.numbers()
        summary |= self.output.facts()
        try:
            self.folder.end(summary)
        except DiskError as exc:
            self._error = self._error or exc

    @property
    def _is_in_memory(self) -> bool:
        """Whether the user has named neither an output nor a folder."""
        return self.output.path is None and not self.options["job_dir"]

    def _to_go_on(self) -> str:
        """Return the sentence that explains how to resume a stopped job."""
        if self._is_in_memory:
            return f"The same call with `job_dir={str(self.folder.path)!r}` goes on from there"
        return "The same command goes on from there"

    def _result(self, *, complete: bool) -> JobResult:
        self._measure()
        s = self.ledger.standing
        if self.stopped in SIGNALS:
            self.progress.say(f"{s.rows:,} rows are done and kept. {self._to_go_on()}.")
        return JobResult(
            output=self.output.path,
            job_dir=self.folder.path,
            job_id=self.folder.id,
            complete=complete,
            stopped=self.stopped,
            saved=s.saved(),
            table=self.output.rows,
            types=self.folder.about.get("types", {}),
            **{name: getattr(s, name) for name in _COUNTED},
        )

    def _measure(self) -> None:
        """Update the numbers of the job that are not counted row by row."""
        s = self.ledger.standing
        results = self.store.results
        among = self.input.among
        held, held_refusals = self.failures.counts()
        s.recorded = results.count(ANSWERED) + results.count(FAILED)
        refused = results.refused
        if among is None:
            s.recorded += held
        else:
            refused = refused.intersection(among)
        s.failed = results.count(FAILED, among) + held
        s.rows = results.count(ANSWERED, among) + s.failed
        s.refused = len(refused) + held_refusals
        s.elapsed_s = monotonic() - self._began
        s.waiting = self.calls.caller.why_waiting() or self.scheduler.waiting()
        s.total = self.input.total()
