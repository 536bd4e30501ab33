"""Splits a job's rows between the provider's Batch API and direct calls, to meet a deadline.

The table `ways` of the job's store records which rows are in which batch, in one transaction for
each batch and before the batch is submitted. A row in a batch is called directly only after the
batch has ended and its answers are stored.
"""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

from modelwire.aliases import Fields
from modelwire.errors import CallerError, ChatError, InvalidArgument, MissingDependency
from modelwire.jobs.batch_api.chain import Split, split_chain
from modelwire.jobs.batch_api.client import BatchClient
from modelwire.jobs.batch_api.submission import batch_api_of, submit
from modelwire.jobs.batch_assignments import RETURNED, Assignments, BatchAnswer, OpenBatch
from modelwire.jobs.flex import FlexTier
from modelwire.jobs.forecast import Forecast
from modelwire.jobs.input_rows import Question
from modelwire.jobs.live_scheduler import LiveScheduler, cancelled
from modelwire.jobs.plan import LIVE, PILOT, next_step
from modelwire.jobs.row_records import ANSWERED, UNKNOWN, exact_json, groups_of
from modelwire.jobs.store import WAYS
from modelwire.jobs.work import models_of
from modelwire.usage import BATCH_SHARE

if TYPE_CHECKING:
    from modelwire.jobs.finish_by import JobPlan
    from modelwire.jobs.runner import Job

# A batch has at most this many rows, which are in memory during the submission.
_MOST_ROWS = 10_000


class HybridScheduler(LiveScheduler):
    """Executes the plan of a job with a deadline, or collects the batches of an earlier run."""

    def __init__(self, job: Job, hour: datetime | None) -> None:
        super().__init__()
        if job.input.is_read_once:
            raise InvalidArgument(
                "`finish_by` counts the rows first, and reads them again: give a list, or a file."
            )
        self.job = job
        self.hour = hour
        self._notes: list[str] = []
        # Rows called in this pass.
        self._called = 0
        self._pass_began = 0.0
        # True if this pass has skipped rows that a later pass must look at.
        self._left_behind = False
        # Rows that batches have returned without an answer since the last pass.
        self._returned = 0
        self._polling: asyncio.Task[None] | None = None
        # This task polls the batches while rows are called directly.
        self._watching: list[asyncio.Task[None]] = []
        # False once the provider has refused to create a batch.
        self._takes_batches = hour is not None
        # True if the budget is used up until a batch returns.
        self._is_short = False
        self._most = _MOST_ROWS
        self._split = self._split_chain()
        split = None
        if hour is not None:
            split = self._split
        self.flex = FlexTier(split)
        self.assignments = Assignments(job.folder.path, job.store.results.store, self._split)
        self._reserve_open_batches()
        self.forecast = Forecast(job, hour, self.flex, self.assignments, self._most)
        if hour is not None:
            self._notes += self.forecast.checked(has_batches=self._may_submit())

    def _split_chain(self) -> Split | None:
        """Return the chain split at its model; None if no batch can be made of it, so all rows are called directly."""
        chain = self.job.calls.work.chain
        bucket = self.job.options["bucket"]
        kinds: dict[str, None] = {}
        for one in models_of(chain):
            name = getattr(one, "model", "")
            kinds[f"{type(one).__name__}({name!r})"] = None
        if len(kinds) > 1:
            raise InvalidArgument(
                f"`finish_by` plans for one model, and the chain has {', '.join(kinds)}: their prices and limits "
                "differ. Write one job for each: `run_job(prompt | model, rows, output=..., finish_by=...)`."
            )
        try:
            split = split_chain(chain, self.job.options["config"])
            if self.hour is None:  # Batches of an earlier run are collected, and none is submitted.
                return split
            api = batch_api_of(split.model, bucket)
            provider = cast("Any", split.model).provider
            with BatchClient(split.model, split.model._wire().codec(provider)):
                self._most = min(api.max_rows, _MOST_ROWS)
        except (InvalidArgument, MissingDependency) as exc:
            if bucket is not None:  # A user who names a bucket wants batches.
                raise
            self._notes.append(f"All rows go live. {exc}")
            return None
        return split

    def _reserve_open_batches(self) -> None:
        """Reserve the cost of the batches of an earlier run."""
        money = self.job.ledger.money
        if money is None:
            return
        for batch in self.assignments.open_batches.values():
            needed = Decimal(0)
            for row in self.assignments.rows(batch):
                needed += money.needed(exact_json(row["row"]))
            batch.reserved = needed * BATCH_SHARE
            money.owe(batch.reserved)

    def plan(self) -> JobPlan:
        """Return the current forecast."""
        return self.forecast.plan(self._notes, has_batches=self._may_submit())

    def _may_submit(self) -> bool:
        """Return whether rows may be submitted.

        During a run, at least one direct call must have succeeded before.
        """
        is_able = self._split is not None and self._takes_batches
        if not is_able or self.job.input.exhausted:
            return False
        return not self._has_begun or self.job.store.results.count(ANSWERED) > 0

    def holds(self, number: int, question: Question | None = None) -> bool:
        """Return whether the row with this number is in a batch, or a row with the same request as `question`.

        A later pass decides about such a row. Without a `question`, only the number is compared.
        """
        is_held = self.assignments.has(number)
        if question is None:
            return is_held
        may_have_equal = self.assignments.made > 0 and question.row.problem is None
        if may_have_equal and not is_held:
            digest = self.job.calls.digest(question)
            is_held = self.assignments.has_equal(digest)
        self._left_behind = self._left_behind or is_held
        return is_held

    def count(self, about: Fields) -> None:
        """Count the result of a row that was called directly."""
        self.forecast.unassigned -= 1
        self._called += 1
        self.flex.count(about)

    def on_shortage(self, question: Question) -> bool:
        """Called when the budget cannot cover a row.

        Put the row back and return True if finished batches may free budget.
        """
        self.job.window.quota = 0
        self._is_short = bool(self.assignments.open_batches)
        if self._is_short:
            self.job.input.put_back(question)
        return self._is_short

    def waiting(self) -> str | None:
        """Return the rows and batches at the provider as text, or None."""
        batches = self.assignments.open_batches
        rows = sum(batch.rows for batch in batches.values())
        if rows:
            return f"{rows:,} rows in {len(batches):,} batches"
        return None

    def _begin_first_pass(self) -> None:
        """Start the first pass with a few direct calls, to learn the price and the rate, and
        whether the chain works at all.
        """
        quota = math.inf
        if self.hour is not None:
            self.job.progress.say(str(self.plan()))
            if self._split is not None:
                answered = self.job.store.results.count(ANSWERED)
                quota = max(0, PILOT - answered)
        self._has_begun = True
        self._begin_pass(quota, LIVE)

    async def next_pass(self) -> bool:
        """Wait until rows are to be called directly, and set the quota of the window.

        Return False if none is left, or the job has been stopped.
        """
        if not self._has_begun:
            self._begin_first_pass()
            return True
        await cancelled(self._watching)
        seconds = time.monotonic() - self._pass_began
        if not self.flex.finish_pass(seconds):
            self.forecast.add_pass(self._called, seconds)
        while True:
            await self._poll_once()
            if self.job.is_stopped:
                return False
            step = next_step(self.forecast.state(has_batches=self._may_submit()))
            for count in step.submit:
                if not await self._submit_next(count):
                    break
            is_at_end = self.job.input.exhausted
            is_away = bool(self.assignments.open_batches)
            if is_at_end and not is_away and not self._left_behind:
                return False
            has_money = not self._is_short
            has_rows = self._returned or not is_at_end
            can_call = has_money and has_rows and self.forecast.unassigned > 0
            if can_call or not is_away:
                self._begin_next_pass(step.tier)
                return True
            await self._pause()

    def _begin_next_pass(self, tier: str) -> None:
        """Start a pass of direct calls on `tier`, from the first row again if all rows were read."""
        if self.job.input.exhausted:
            self._left_behind = False
            self._returned = 0
            self.job.input.begin_again()
        quota = math.inf
        if tier == self.flex.NAME:
            # The actual rate may be higher than the measured one.
            quota = self.forecast.quota(2 * self.flex.rate)
        elif tier != LIVE or self.assignments.open_batches:
            quota = self.forecast.quota(self.forecast.rate()[0])
        self._begin_pass(quota, tier)

    def _begin_pass(self, quota: float, tier: str) -> None:
        self.job.calls.caller.tier_chain = self.flex.start_pass(tier)
        self._called = 0
        self._pass_began = time.monotonic()
        self.job.window.quota = quota
        self._watching = [asyncio.create_task(self._watch())]

    async def _watch(self) -> None:
        """Poll the batches while rows are called directly."""
        while not self.job.ending.is_set():
            await self._pause()
            await self._poll_once()

    async def close(self) -> None:
        """Wait for a poll in progress, which holds the lock of a batch's folder."""
        await cancelled(self._watching)
        if self._polling is not None:
            await asyncio.wait({self._polling})

    async def _pause(self) -> None:
        """Wait until the batches are polled again, or the job is stopped."""
        timeout_s = self.forecast.poll_interval_s()
        with suppress(TimeoutError):
            await asyncio.wait_for(self.job.ending.wait(), timeout_s)

    async def _poll_once(self) -> None:
        """Poll all batches once.

        Concurrent callers share one poll, and cancelling a caller does not cancel it.
        """
        if self._polling is None or self._polling.done():
            self._polling = asyncio.create_task(self._poll_batches())
        await asyncio.shield(self._polling)

    async def _poll_batches(self) -> None:
        try:
            for batch in list(self.assignments.open_batches.values()):
                is_back = await asyncio.to_thread(batch.poll)
                if batch.refusal:
                    self._call_directly(batch.refusal)
                    is_back = is_back or await asyncio.to_thread(batch.poll)
                if is_back:
                    await self._collect(batch)
            if self.hour is not None and self.job.stopped is None:
                await self._cancel_batches()
        except Exception as exc:  # noqa: BLE001 - it ends the job, and is raised where the job is awaited
            self.job.fail(exc)

    async def _cancel_batches(self) -> None:
        """Cancel the batches for which the plan has no more time."""
        for number in next_step(self.forecast.state(has_batches=False)).cancel:
            batch = self.assignments.open_batches[number]
            batch.is_cancelling = True
            with suppress(ChatError):  # The next poll asks for the cancellation again.
                await asyncio.to_thread(batch.job.cancel)
            self.job.progress.say(
                f"Batch {number} is cancelled early: the rows without an answer are called directly."
            )

    async def _submit_next(self, count: int) -> bool:
        """Submit the next `count` rows as a batch.

        Return False if there are fewer, or the budget does not cover them.
        """
        job = self.job
        questions, reserved = self._take_for_batch(count)
        if not questions:
            return False
        rows = [(question, job.calls.digest(question)) for question in questions]
        batch, entries = self.assignments.new_batch(rows)
        batch.reserved = reserved
        self.forecast.unassigned -= len(questions)
        store = job.store.results.store
        await job.store.on_disk(store.append, WAYS, entries)
        values = [question.row.values for question in questions]
        options: Any = {
            "config": job.options["config"],
            "bucket": job.options["bucket"],
            "dir": batch.job.path,
            "dedupe": False,
            "max_rounds": 1,
        }
        try:
            await asyncio.to_thread(submit, job.calls.work.chain, values, options, searches=False)
        except ChatError as exc:
            # The next poll resumes the submission, and raises permanent errors.
            if not exc.retryable:
                return False
        except CallerError as exc:
            # No row can be submitted. The direct calls will raise the reason.
            self._call_directly(str(exc))
            numbers = [question.row.number for question in questions]
            await self._end(batch, numbers, left=len(questions))
            return False
        return len(questions) == count

    def _take_for_batch(self, count: int) -> tuple[list[Question], Decimal]:
        """Take up to `count` rows that the budget covers; return them, and the USD that are reserved for them."""
        money = self.job.ledger.money
        reserved = Decimal(0)
        questions: list[Question] = []
        while len(questions) < count and (question := self._eligible()) is not None:
            if money is not None:
                needed = money.needed(question.row_json) * BATCH_SHARE
                if not money.hold(needed):
                    self.job.input.put_back(question)
                    break
                reserved += needed
            questions.append(question)
            digest = self.job.calls.digest(question)
            self.assignments.assign(question.row.number, digest)
        return questions, reserved

    def _call_directly(self, reason: str) -> None:
        """Submit no more batches: all rows are called directly."""
        if self._takes_batches:
            self._takes_batches = False
            self.job.progress.say(
                f"No more batches are submitted: rows are called directly. {reason}"
            )

    def _eligible(self) -> Question | None:
        """Take the next row that may be submitted; None if there is none.

        A row that needs a later pass of direct calls is skipped, and `_left_behind` is set.
        """
        job = self.job
        while (question := job.input.take()) is not None:
            number = question.row.number
            if question.row.problem is not None:
                self._left_behind = True
            elif self.assignments.state_of(number) == RETURNED:
                self._left_behind = True
                self._returned += 1
            elif job.store.has_result(question) or self.holds(number, question):
                continue
            elif job.calls.has_equal(question):
                self._left_behind = True
            else:
                return question
        return None

    async def _collect(self, batch: OpenBatch) -> None:
        """Store the answers of an ended batch, and release the other rows for direct calls."""
        job = self.job
        numbers = []
        left = 0
        groups = groups_of(self.assignments.answers(batch), _size_bytes)
        results = job.store.results
        while some := await asyncio.to_thread(next, groups, None):
            entries = []
            for number, record, digest in some:
                numbers.append(number)
                if record is None:
                    left += 1
                elif results.state(number) != ANSWERED:
                    # The row is answered already if an earlier run was killed at this point.
                    job.ledger.count_finished(record.about)
                    entries.append(results.place(record))
                    if digest is not None and not record.failed:
                        results.answers.add(digest, number)
            await job.store.on_disk(results.write, entries)
        await self._end(batch, numbers, left=left)

    async def _end(self, batch: OpenBatch, numbers: list[int], *, left: int) -> None:
        """Record that a batch has returned, and release its rows."""
        job = self.job
        seconds = time.time() - batch.at
        if not batch.is_cancelling:
            self.assignments.seconds.append(seconds)
        entry = self.assignments.returned_entry(batch, seconds, left)
        results = job.store.results
        await job.store.on_disk(results.store.append, WAYS, [entry])
        unanswered = [number for number in numbers if results.state(number) == UNKNOWN]
        self.assignments.release(batch, numbers, unanswered)
        self.forecast.unassigned += left
        self._returned += left
        self._left_behind = self._left_behind or left > 0
        self._is_short = False
        if job.ledger.money is not None:
            job.ledger.money.give_back(batch.reserved)
        job.ledger.freed.set()


def _size_bytes(answer: BatchAnswer) -> int:
    _, record, _ = answer
    if record is None:
        return 0
    return record.size_bytes
