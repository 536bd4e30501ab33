"""The main loop of a file job: it reads rows, runs a bounded number of calls, and stores records.

A worker starts its next row only once the record of the last one is synced. So a crash at any
moment loses, and a later run repeats, at most the rows in flight (`max_concurrency`), and those
that failed since the last answer, whose failures are held back if they may have a common cause,
such as an outage.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from time import monotonic
from typing import TYPE_CHECKING, Any, cast

from modelwire.errors import DiskError, InvalidArgument, JobChanged, JobStopped
from modelwire.jobs.budget import RowMoney
from modelwire.jobs.concurrency import START, ConcurrencyTuner
from modelwire.jobs.failure_streak import LOOK_AHEAD, FailureStreak, probe_rows, record_of_probe
from modelwire.jobs.folder import JobFolder
from modelwire.jobs.input_rows import InputRows, Question, check_enough, check_same, check_source
from modelwire.jobs.job_result import JobResult
from modelwire.jobs.live_scheduler import LiveScheduler
from modelwire.jobs.options import JobOptions, checked_options
from modelwire.jobs.output import JobTable, check_output
from modelwire.jobs.progress import Progress, Standing
from modelwire.jobs.row_caller import RowCaller, stopped
from modelwire.jobs.row_records import (
    ANSWERED,
    FAILED,
    UNKNOWN,
    Record,
    Results,
    digest_of,
    identity_of,
)
from modelwire.jobs.rows import Row
from modelwire.jobs.store import WAYS, Entry
from modelwire.jobs.work import Work, check_prices, failure_text, make_work
from modelwire.runnables import get_config_list

if TYPE_CHECKING:
    from modelwire.jobs.finish_by import JobPlan
    from modelwire.jobs.hybrid_scheduler import HybridScheduler

__all__ = ["FileJob"]

# After a Ctrl-C, a SIGTERM or an error of the job, calls in flight may take this long to finish.
DRAIN_S = 10.0
# The throughput is measured this often, to decide whether to run more rows at a time.
MEASURE_INTERVAL_S = 0.25
# Under a `max_cost`, this many rows run at a time until a first row shows the cost of a model that
# cannot be found.
UNPRICED_AT_ONCE = 8
# The loop yields to other tasks after skipping this many finished rows.
SKIPPED_AT_ONCE = 500

# A job that a signal has stopped has one of these reasons.
SIGNALS = ("interrupted", "terminated")


class FileJob:
    """One run of a job.

    The constructor checks everything that can be checked before the first request.
    """

    def __init__(self, work: Any, rows: Any, keywords: JobOptions) -> None:
        self.options = options = checked_options(keywords)
        self.output = None if options["output"] is None else Path(options["output"])
        job_dir = options["job_dir"] or (None if self.output is None else f"{self.output}.job")
        if self.output is not None:
            check_output(self.output, options["order"], rows, job_dir)
        self.work: Work = make_work(
            work, options["model"], system=options["system"], schema=options["schema"]
        )
        self.input = InputRows(rows, options)
        # This folder is removed when all rows are done.
        self._scratch = None if job_dir else Path(mkdtemp(prefix="modelwire-job-"))
        self.folder = JobFolder(Path(job_dir or str(self._scratch)))
        self.standing = Standing()
        self._is_complete = False
        # This is the reason why no new row is started.
        self.stopped: str | None = None
        # This is set when nothing of the run is left.
        self.over = threading.Event()
        # `ending` is set when the job has been stopped, `freed` when a reserved amount was released.
        self.ending, self.freed = asyncio.Event(), asyncio.Event()
        self._finished = asyncio.Event()
        self._error: BaseException | None = None
        self.scheduler = LiveScheduler()
        try:
            self.work.check_columns(self.input.source.columns)
            self.money: RowMoney | None = None
            if options["max_cost"] is not None:
                check_prices(self.work.chain)
                self.money = RowMoney(options["max_cost"], self.work)
            (self.config,) = get_config_list([options["config"]], 1)
            self.caller: RowCaller
            if options["engine"] == "ray":
                from modelwire.jobs.ray_engine import RayCaller, portion

                self.caller = RayCaller(self.work.chain, self.config, workers=options["workers"])
                concurrency = options["max_concurrency"] or portion(
                    with_max_cost=options["max_cost"] is not None
                )
            else:
                self.caller = RowCaller(self.work.chain, self.config)
                concurrency = options["max_concurrency"] or self.config.get("max_concurrency")
            self.window = ConcurrencyTuner(concurrency or START, concurrency)
            fingerprint = {
                "input": self.input.source.fingerprint(),
                **self.work.fingerprint(self.config),
            }
            if self.output is not None:
                self.folder.check_output_is_free(self.output)
            self.folder.claim()
            self.table = JobTable(self.output, options, self.folder)
            self._begin(fingerprint)
        except BaseException:
            # Ctrl-C is included: only this object can release the input and the lock of the folder.
            self._close()
            raise

    def _begin(self, fingerprint: dict[str, Any]) -> None:
        """Restore the state of earlier runs. New rows may have been appended to the input."""
        options, folder, is_new = self.options, self.folder, not self.folder.about
        input_changed = folder.check(
            fingerprint, input_may_differ=options["retry_failed"], rows_may_come=True
        )
        self.results = Results(folder.path)
        for record in self.results.recover():
            self._count(record)
        if input_changed and fingerprint["input"]:
            check_source(
                self.input.opened(), self.results, folder.path, retry_failed=options["retry_failed"]
            )
        folder.agree(fingerprint, options["command"], output=self.output, input_may_differ=True)
        if folder.about.get("answer_columns") != self.work.answer_columns:
            folder.note(answer_columns=self.work.answer_columns)
        try:
            if options["finish_by"] is not None or self.results.store.next_id(WAYS) > 1:
                from modelwire.jobs.hybrid_scheduler import HybridScheduler

                self.scheduler = HybridScheduler(self, options["finish_by"])
        except InvalidArgument:  # No request was sent, and none will be.
            self.results.close()
            if is_new:
                rmtree(folder.path, ignore_errors=True)
            raise

    def planned(self) -> JobPlan:
        """Return the plan of a job without running it, and leave the folder unchanged."""
        scheduler = cast("HybridScheduler", self.scheduler)
        plan = scheduler.plan()
        self._close()
        if not self.results.end and not scheduler.assignments.made:
            rmtree(self.folder.path, ignore_errors=True)
        return plan

    def _close(self) -> None:
        self.input.source.close()
        if hasattr(self, "results"):
            self.results.close()
        self.folder.release()
        if self._scratch is not None and (
            not hasattr(self, "results") or not self.results.end or self._is_complete
        ):
            rmtree(self._scratch, ignore_errors=True)

    async def run(self) -> JobResult:
        """Call the chain for all rows without an answer; write the output when all have one."""
        from modelwire.jobs.group_commit import GroupCommit

        self._loop = asyncio.get_running_loop()
        self.input.begin()
        self._asking: dict[bytes, asyncio.Future[tuple[dict[str, Any], str]]] = {}
        self._in_flight = self._answers = 0
        self._streak = FailureStreak()
        # A worker holds this lock while it takes the next row.
        self._turn = asyncio.Lock()
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="modelwire-job")
        self._commits = GroupCommit(self.results.write, self._disk, self.fail)
        self._began = monotonic()
        self.progress = Progress(quiet=self.options["quiet"])
        try:
            while await self.scheduler.next_pass():
                await self._run_workers()
            return await self._end()
        except asyncio.CancelledError:
            self._end_folder(self._ended(complete=False))
            raise
        finally:
            await self.scheduler.close()
            self.progress.close()
            self.caller.close()
            self._disk.shutdown(wait=True)
            self._close()
            self.over.set()

    async def _run_workers(self) -> None:
        self._finished.clear()
        self._workers: set[asyncio.Task[None]] = set()
        self._add_workers()
        endless = (
            self._commits.run(),
            self._show_for_ever(),
            self._widen_for_ever(),
            self.scheduler.watch(),
        )
        others = [asyncio.create_task(each) for each in endless]
        over, finished = (
            asyncio.create_task(self.ending.wait()),
            asyncio.create_task(self._finished.wait()),
        )
        try:
            await asyncio.wait({over, finished}, return_when=asyncio.FIRST_COMPLETED)
            if not finished.done() and not self._commits.has_failed:
                await asyncio.wait({finished}, timeout=DRAIN_S)
            self._release()
        finally:
            tasks = [*self._workers, *others, over, finished]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.standing.asked -= len(self._streak.end())
            self._commits.flush()

    def _add_workers(self) -> None:
        unpriced = self.money is not None and self.money.is_blind
        most = min(self.window.size, UNPRICED_AT_ONCE) if unpriced else self.window.size
        self._workers |= {
            asyncio.create_task(self._worker()) for _ in range(most - len(self._workers))
        }

    async def _widen_for_ever(self) -> None:
        """Run more rows at a time, as long as that raises the throughput."""
        while True:
            await asyncio.sleep(MEASURE_INTERVAL_S)
            full = self._in_flight >= 0.9 * self.window.size
            self.window.observe(self._loop.time(), self.standing.asked, full=full)
            if self.stopped is None and not self.input.exhausted:
                self._add_workers()

    async def _end(self) -> JobResult:
        complete = not self.is_stopped
        if complete:
            try:
                self._check_end()
                await self._loop.run_in_executor(self._disk, self._write)
            except (DiskError, JobChanged, JobStopped) as exc:
                self._error, complete = exc, False
        elif self.output is None and self._error is None:
            # The results in memory were billed, so they are returned.
            await self._loop.run_in_executor(self._disk, self._write)
        self._is_complete = complete
        result = self._ended(complete=complete)
        self._end_folder(result)
        if self._error is not None:
            if self._scratch is not None and self.results.end:
                self._error.add_note(f"What is done is kept. {self._to_go_on()}.")
            raise self._error
        return result

    def _to_go_on(self) -> str:
        """Return the sentence that explains how to resume a stopped job."""
        if self._scratch is None:
            return "The same command goes on from there"
        return f"The same call with `job_dir={str(self._scratch)!r}` goes on from there"

    def _write(self) -> None:
        """Write the table of this run's rows."""
        self.table.write(
            self.results, self.input, self.work.answer_columns, is_new=self.standing.asked > 0
        )

    def _end_folder(self, result: JobResult) -> None:
        """Write the summary.

        A `DiskError` here must not hide the reason why the job has stopped.
        """
        try:
            state = "complete" if result.complete else "interrupted"
            why = self.stopped if self._error is None else failure_text(self._error)
            self.folder.end(
                {"state": state, "stopped": why, **result.numbers(), **self.table.facts()}
            )
        except DiskError as exc:
            self._error = self._error or exc

    def _ended(self, *, complete: bool) -> JobResult:
        self._measure()
        s = self.standing
        if self.stopped in SIGNALS:
            self.progress.say(f"{s.rows:,} rows are done and kept. {self._to_go_on()}.")
        return JobResult(
            output=self.output,
            job_dir=self.folder.path,
            job_id=self.folder.id,
            complete=complete,
            stopped=self.stopped,
            rows=s.rows,
            failed=s.failed,
            asked=s.asked,
            same=s.same,
            cached=s.cached,
            cut=s.cut,
            refused=s.refused,
            input_tokens=s.input_tokens,
            output_tokens=s.output_tokens,
            cost=s.cost,
            unpriced=s.unpriced,
            saved=s.saved(),
            elapsed_s=s.elapsed_s,
            table=self.table.rows,
            types=self.folder.about.get("types", {}),
        )

    def stop(self, reason: str) -> None:
        """Start no new row, and let those in flight finish within `DRAIN_S`.

        It must be called on the job's event loop.
        """
        calls = self.caller.wind_up()
        if self.stopped in (None, "max_cost"):
            self.stopped = reason
            self.freed.set()
            if reason in SIGNALS and calls:
                each = (
                    "1 call; Ctrl-C leaves it"
                    if calls == 1
                    else f"{calls} calls; Ctrl-C leaves them"
                )
                self.progress.say(f"Waiting at most {DRAIN_S:.0f} s for {each}.")
        self.ending.set()

    @property
    def is_stopped(self) -> bool:
        """Whether no new row is started any more."""
        return self.stopped is not None or self._error is not None

    async def on_disk(self, act: Callable[..., object], *args: Any) -> None:
        """Call `act` in the thread that writes. A cancelled caller does not cancel it."""
        await asyncio.shield(self._loop.run_in_executor(self._disk, act, *args))

    def fail(self, error: BaseException) -> None:
        """Stop the job with an error, which is raised when the rows in flight have ended."""
        if self._error is None:
            self._error = error
        self.stop("error")

    async def _next(self) -> Question | None:
        """Return the next row to call; None if there is none, or none may be started."""
        skipped = 0
        async with self._turn:
            while self.stopped is None and not self.input.exhausted and self.scheduler.quota > 0:
                if (question := self.input.take()) is None:
                    break
                if not self.scheduler.is_in_batch(question) and not self.has_result(question):
                    return question if await self._has_money(question) else None
                skipped += 1
                if skipped % SKIPPED_AT_ONCE == 0:
                    await asyncio.sleep(0)
        return None

    async def _has_money(self, question: Question) -> bool:
        """Reserve the cost of a row.

        If the budget is too small, wait while rows in flight may release a part of it.
        """
        if self.money is None or question.row.problem is not None:
            return True
        while not self.money.hold_for(question):
            if not self._in_flight:
                if self.scheduler.on_shortage(question):
                    return False
                self.stopped = "max_cost"
                self.progress.say(self.money.shortage(self.money.needed(question.row_json)))
                return False
            self.freed.clear()
            await self.freed.wait()
            if self.stopped is not None:
                return False
        return True

    def _settle(self, question: Question) -> None:
        """Release what was reserved for a row that has ended; its actual cost is counted already."""
        if self.money is not None:
            self.money.give_back(question.reserved)
        self.freed.set()

    def has_result(self, question: Question) -> bool:
        """Return whether a row needs no call. Raises: `JobChanged` if it has changed since its last one."""
        state = self.results.state(question.row.number)
        if state == UNKNOWN or (state == FAILED and self.options["retry_failed"]):
            return False
        check_same(question, self.results, self.folder.path)
        return True

    def _check_end(self) -> None:
        """Raise unless every row of this run has a result, and every row with a result is still in the input."""
        among = self.input.among
        recorded = self.results.count(ANSWERED, among) + self.results.count(FAILED, among)
        if recorded < self.input.taken:
            missing = self.input.taken - recorded
            raise stopped(f"{missing:,} of {self.input.taken:,} rows have no result.")
        if (
            self.input.exhausted
            and self.options["limit"] is None
            and self.options["sample"] is None
        ):
            check_enough(self.input.taken, self.results, self.folder.path)

    async def _worker(self) -> None:
        this = cast("asyncio.Task[None]", asyncio.current_task())
        try:
            while (
                len(self._workers) <= self.window.size
                and (question := await self._next()) is not None
            ):
                is_placed = await self._in_window(question)
                if self._streak.may_have_common_cause(self.window.size):
                    await self._check_common_cause()
                if is_placed:
                    await self._commits.committed()
            if len(self._workers) == 1 and self._streak.of_key:
                # No other worker is left that would check.
                await self._check_common_cause()
        except asyncio.CancelledError:
            if not self.caller.is_over and not this.cancelling():
                self.fail(stopped("A row was cancelled, and the job has not done that."))
            raise
        except BaseException as exc:  # noqa: BLE001 - it ends the job, and is raised where the job is awaited
            self.fail(exc)
        finally:
            self._workers.discard(this)
            if not self._workers:
                self._finished.set()

    async def _in_window(self, question: Question) -> bool:
        self._in_flight += 1
        self.scheduler.quota -= 1
        try:
            return await self._resolve(question)
        finally:
            self._in_flight -= 1
            self._settle(question)

    async def _check_common_cause(self) -> None:
        """Raise `JobStopped` if every row now fails, checked with probe rows."""
        failed = self._streak.count
        async with self._turn:
            # No other row is started meanwhile.
            if self.stopped is not None or self._streak.count < failed:
                return  # An answer has arrived in the meantime.
            answers = self._answers
            questions = []
            for row in probe_rows(self.input.look_ahead(LOOK_AHEAD), self.may_call):
                question = Question(row)
                if question.row.problem is None and (
                    self.money is None or self.money.hold_for(question)
                ):
                    questions.append(question)
                    self.input.take_early(row)
            await asyncio.gather(*(self._in_window(question) for question in questions))
            if self._answers == answers:
                await self._probe_answered_row()
            if self._answers == answers and self.stopped is None:
                raise stopped(
                    f"The last {self._streak.count} rows that were asked have all failed: {self._streak.last_error}",
                    "run the same command again, which asks those anew,",
                )

    def may_call(self, row: Row) -> bool:
        """Return whether the chain may be called for a row that was read ahead."""
        if self.scheduler.has_row(row.number):
            return False
        state = self.results.state(row.number)
        return row.problem is None and (
            state == UNKNOWN or (state == FAILED and self.options["retry_failed"])
        )

    async def _probe_answered_row(self) -> None:
        """Call the chain for a row that was answered before, to check whether any row is answered now."""
        # The records of the last moments can be read after this.
        await self._commits.committed()
        record = self.results.last_asked()
        if record is None or self.stopped is not None:
            return
        question = Question(Row(record["n"], record["line"], record["row"]))
        if self.money is None or self.money.hold_for(question):
            try:
                about, _ = await self._ask(record["row"])
                again = record_of_probe(record, about)
                self._count(again.about, question.reserved)
                self._place(again)
            finally:
                self._settle(question)

    def digest(self, question: Question) -> bytes | None:
        """Return the deduplication key of a row, or None if deduplication is off."""
        if question.asks is None and self.options["dedupe"]:
            question.asks = digest_of(identity_of(self.work.question(question.row.values)))
        return question.asks

    async def _resolve(self, question: Question) -> bool:
        """Determine and store the record of a row: its own error, the answer of an equal row, or a new call.

        Return whether there is a record to sync.
        """
        row = question.row
        if row.problem is not None:
            return self._record(
                question, {"error": f"Line {row.line}: {row.problem}", "attempts": 0}
            )
        if (digest := self.digest(question)) is None:
            return self._record(question, *await self._ask(row.values))
        same = self.results.answers.find(digest)
        if same is None and (flight := self._asking.get(digest)) is not None:
            about, failure_scope = await asyncio.shield(flight)
            if "error" in about:
                return self._record(
                    question, {"error": about["error"], "attempts": 0}, failure_scope
                )
            same = self.results.answers.find(digest)
        if same is not None:
            return self._record(question, {"same": same, "attempts": 0})
        flight = self._asking[digest] = self._loop.create_future()
        try:
            about, failure_scope = await self._ask(row.values)
            if "error" not in about:
                about["ask"] = digest.hex()
            is_placed = self._record(question, about, failure_scope)
            if "error" not in about:
                self.results.answers.add(digest, row.number)
            flight.set_result((about, failure_scope))
        finally:
            del self._asking[digest]
            flight.cancel()
        return is_placed

    async def _ask(self, values: Any) -> tuple[dict[str, Any], str]:
        about, failure_scope = await self.caller.ask(self.work.filled(values))
        if failure_scope:
            self._streak.add(failure_scope, about["error"])
        elif "answer" in about:
            self._answers += 1
            self._release()
        return about, failure_scope

    def _release(self) -> None:
        """Store the failures that were held back, after an answer has shown that they have no common cause."""
        if self.stopped is None:
            for record in self._streak.end():
                self._place(record)

    def place_from_batch(self, record: Record) -> Entry:
        """Count the record of a row that a batch has answered; return its entry."""
        self.standing.asked += 1
        self._count(record.about)
        return self.results.place(record)

    def _place(self, record: Record) -> None:
        self._commits.add(self.results.place(record))

    def _count(self, about: dict[str, Any], reserved: Decimal = Decimal(0)) -> None:
        self.standing.count(about)
        if self.money is not None:
            self.money.pay(about, reserved)

    def _record(self, question: Question, about: dict[str, Any], failure_scope: str = "") -> bool:
        """Count a record and add it to the next group. A failure with a `failure_scope` is held back."""
        record = Record(
            question.row.number, question.row.line, question.row_json, question.check, about
        )
        if failure_scope:
            self._streak.held.append(record)
        else:
            self._place(record)
        self.standing.asked += 1
        self._count(about, question.reserved)
        if question.row.problem is None:
            self.scheduler.count(about)
        if self.options["max_cost"] is not None and about.get("attempts") and "cost" not in about:
            raise stopped(
                "`max_cost` cannot be held: the price of the model is not known.",
                "run it again without `max_cost`",
            )
        return not failure_scope

    def _measure(self) -> None:
        s = self.standing
        s.elapsed_s = monotonic() - self._began
        held = sum(self.results.state(record.number) == UNKNOWN for record in self._streak.held)
        among = self.input.among
        s.failed = self.results.count(FAILED, among) + held
        refused = {row for row in self.results.refused if among is None or row in among}
        s.refused = len(refused) + sum(record.refused for record in self._streak.held)
        s.rows = self.results.count(ANSWERED, among) + s.failed
        s.recorded = (
            s.rows if among is None else self.results.count(ANSWERED) + self.results.count(FAILED)
        )
        s.waiting = self.caller.why_waiting() or self.scheduler.waiting()
        s.total = self.input.total()

    async def _show_for_ever(self) -> None:
        if self.options["quiet"]:
            return
        while True:
            await asyncio.sleep(self.progress.every_s)
            self._measure()
            self.progress.show(self.standing)
