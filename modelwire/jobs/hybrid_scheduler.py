"""Splits a job's rows between the Batch API and direct calls to meet a deadline.

The table `ways` of the job's store records which rows are in which batch, in one transaction for
each batch and before the batch is submitted. A row in a batch is called directly only after the
batch has ended and its answers are stored.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from contextlib import closing, suppress
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

from modelwire.errors import (
    CallerError,
    ChatError,
    InvalidArgument,
    MissingDependency,
    ModelwireError,
)
from modelwire.jobs.batch_api.chain import Split, split_chain
from modelwire.jobs.batch_api.client import BatchClient
from modelwire.jobs.batch_api.submission import batch_api_of, submit
from modelwire.jobs.batch_assignments import RETURNED, Assignments, BatchAnswer, OpenBatch
from modelwire.jobs.finish_by import JobPlan, shortage_text
from modelwire.jobs.flex import FlexTier
from modelwire.jobs.input_rows import Question
from modelwire.jobs.live_scheduler import LiveScheduler
from modelwire.jobs.plan import LIVE, PILOT, Pace, State, expected, next_step, rate_of, shortage
from modelwire.jobs.preview import ANSWER_TOKENS, question_text
from modelwire.jobs.row_records import ANSWERED, UNKNOWN, exact_json, groups_of
from modelwire.jobs.store import WAYS
from modelwire.jobs.work import models_of, price_of_counts
from modelwire.usage import BATCH_SHARE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modelwire.jobs.runner import FileJob

__all__ = ["HybridScheduler"]

# The mean length of a prompt is estimated from this many rows.
MEASURED = 1_000
# A batch has at most this many rows, which are in memory during the submission.
MOST_ROWS = 10_000
SHORTEST_POLL_S, LONGEST_POLL_S = 0.2, 60.0
# Providers end a cancelled batch within ten minutes.
CANCEL_S = 600.0
YEAR_S = 365 * 86_400.0


class HybridScheduler(LiveScheduler):
    """Executes the plan of a job with a deadline, or collects the batches of an earlier run."""

    def __init__(self, job: FileJob, hour: datetime | None) -> None:
        super().__init__()
        self.job, self.hour = job, hour
        self.quota = 0
        self.notes: list[str] = []
        self._models = list(models_of(job.work.chain))
        # Rows called in this pass.
        self._called, self._pass_began = 0, 0.0
        # True if this pass has skipped rows that a later pass must look at.
        self._left_behind = False
        # Rows that batches have returned without an answer since the last pass.
        self._returned = 0
        # Rows and seconds of each pass.
        self._live: deque[tuple[int, float]] = deque(maxlen=20)
        self._task: asyncio.Task[None] | None = None
        self._began_at = time.time()
        # False once the provider has refused to create a batch.
        self.takes_batches = True
        # True if the budget is used up until a batch returns.
        self._is_short = False
        if job.input.is_read_once:
            raise InvalidArgument(
                "`finish_by` counts the rows first, and reads them again: give a list, or a file."
            )
        self._most = MOST_ROWS
        self.split = self._split()
        self.flex = FlexTier(self.split if hour is not None else None)
        self.assignments = Assignments(job.folder.path, job.results.store, self.split)
        if job.money is not None:
            for batch in self.assignments.open_batches.values():
                needs = (
                    job.money.needed(exact_json(row["row"])) for row in self.assignments.rows(batch)
                )
                batch.reserved = sum(needs, Decimal(0)) * BATCH_SHARE
                job.money.owe(batch.reserved)
        # Rows that are neither answered nor in a batch.
        self._unassigned = 0
        # The estimated USD of a direct call for a row.
        self._guess: float | None = None
        self._measure()
        if hour is not None:
            self._check(hour)

    def _split(self) -> Split | None:
        """Return the chain split for a batch; None if all rows are called directly."""
        kinds = dict.fromkeys(
            f"{type(one).__name__}({getattr(one, 'model', '')!r})" for one in self._models
        )
        if len(kinds) > 1:
            raise InvalidArgument(
                f"`finish_by` plans for one model, and the chain has {', '.join(kinds)}: their prices and limits "
                "differ. Write one job for each: `run_job(prompt | model, rows, output=..., finish_by=...)`."
            )
        try:
            split = split_chain(self.job.work.chain, self.job.options["config"])
            if self.hour is None:  # Batches of an earlier run are collected, and none is submitted.
                return split
            api = batch_api_of(split.model, self.job.options["bucket"])
            provider = cast("Any", split.model).provider
            with BatchClient(split.model, split.model._wire().codec(provider)):
                self._most = min(api.max_rows, MOST_ROWS)
        except (InvalidArgument, MissingDependency) as exc:
            if self.job.options["bucket"] is not None:  # A user who names a bucket wants batches.
                raise
            self.notes.append(f"All rows go live. {exc}")
            return None
        return split

    def _measure(self) -> None:
        """Count the rows without an answer, estimate the USD of a direct call, and compute what
        `max_cost` reserves for one.
        """
        job, needs = self.job, list[Decimal]()
        tokens = measured = 0
        rows = job.input.anew()
        with closing(rows.source):
            for row in rows.unread:
                if not job.may_call(row) or self.assignments.has(row.number):
                    continue
                self._unassigned += 1
                if measured < MEASURED:
                    measured += 1
                    needs += [] if job.money is None else [job.money.needed(Question(row).row_json)]
                    with suppress(ModelwireError):
                        # The error belongs to the row, which will fail with it.
                        tokens += question_text(job.work, row)[1]
        self._least_needed = min(needs, default=Decimal(0))
        self._mean_needed = sum(needs, Decimal(0)) / max(len(needs), 1)
        model = next(iter(self._models), None)
        self._answer_tokens = min(
            getattr(model, "max_tokens", None) or ANSWER_TOKENS, ANSWER_TOKENS
        )
        if model is not None:
            price = price_of_counts(model, round(tokens / max(measured, 1)), self._answer_tokens)
            self._guess = None if price is None else float(price) * len(self._models)

    def _check(self, hour: datetime) -> None:
        """Raise if the deadline cannot be met, or not within the budget, as far as that is known."""
        state, money = self._state(), self.job.money
        if (short := shortage(state)) is not None:
            text = f"{shortage_text(short, state, hour)} "
            if short.late and not self._rate()[1]:
                self.notes.append(
                    f"{text}That rate is assumed: `rpm=` of the model says what it is."
                )
                return
            raise InvalidArgument(
                f"{text}No request was sent. Change `finish_by`, `max_cost` or `limit`."
            )
        if (
            money is not None
            and not self.assignments.open_batches
            and self._least_needed > money.left
        ):
            raise InvalidArgument(f"{money.shortage(self._least_needed)} No request was sent.")

    def plan(self) -> JobPlan:
        """Return the current forecast."""
        now = datetime.now(UTC)
        rate, is_known = self._rate()
        plan = expected(self._state())
        assumed = []
        if not is_known:
            assumed += [
                f"Live calls are taken to get {rate * 60:,.0f} rows a minute until they have shown more."
            ]
        if self._guess is not None and plan.rows:
            assumed += [self._assumed_answer(sum(plan.step.submit))]
        notes = [*self.notes, *([" ".join(assumed)] if assumed else []), *self.flex.notes(plan)]
        return JobPlan(plan, now, self.hour or now, tuple(notes))

    def _assumed_answer(self, in_batches: int) -> str:
        """Return sentences about the assumed length of answers, and what `max_cost` reserves for longer ones."""
        text, money = f"An answer is taken to have {self._answer_tokens:,} tokens.", self.job.money
        if money is None or not self._mean_needed or money.answer_tokens <= self._answer_tokens:
            return text
        at_once = int(money.left / (self._mean_needed * (BATCH_SHARE if in_batches else 1)))
        text += f" `max_cost` sets {money.answer_tokens:,} aside for each until it is there"
        if at_once >= self._unassigned:
            return f"{text}."
        return f"{text}: for {at_once:,} rows at a time{' in batches' if in_batches else ''}."

    def _rate(self) -> tuple[float, bool]:
        """Return the rows a second of direct calls, and whether they are more than an assumption."""
        advertised = None
        if self._models and hasattr(self._models[0], "limits"):
            with suppress(ModelwireError):
                # An error such as a missing key is raised by the calls.
                advertised = self._models[0].limits().requests_per_minute
        rows, seconds = (
            sum(rows for rows, _ in self._live),
            sum(seconds for _, seconds in self._live),
        )
        return rate_of(
            None if advertised is None else advertised / 60 / len(self._models), rows, seconds
        )

    def _seconds_left(self) -> float:
        return YEAR_S if self.hour is None else self.hour.timestamp() - time.time()

    def _total_s(self) -> float:
        return self._seconds_left() + time.time() - self._began_at

    def _poll_interval_s(self) -> float:
        youngest = min(
            (time.time() - batch.at for batch in self.assignments.open_batches.values()),
            default=0.0,
        )
        return max(SHORTEST_POLL_S, min(LONGEST_POLL_S, youngest / 4, self._total_s() / 50))

    def _state(self, *, may_submit: bool = True) -> State:
        money, s = self.job.money, self.job.standing
        left = None if money is None else float(money.most - money.spent)
        price = float(s.live_cost / s.live_rows) if s.live_rows else self._guess
        total_s = self._total_s()
        state = State(
            left_s=self._seconds_left(),
            rows=max(0, self._unassigned),
            rate=self._rate()[0],
            price=price,
            money=left,
            batches=tuple(batch.state() for batch in self.assignments.open_batches.values()),
            pace=Pace(self.assignments.seconds),
            has_batches=may_submit and self._may_submit(),
            chunk=self._most,
            cancel_s=min(CANCEL_S, total_s / 10),
            poll_s=min(LONGEST_POLL_S, total_s / 50),
            spare_s=total_s / 20,
        )
        return replace(state, tiers=self.flex.tiers(state))

    def _may_submit(self) -> bool:
        """Return whether rows may be submitted.

        During a run, at least one direct call must have succeeded before.
        """
        proved = not self._has_begun or self.job.results.count(ANSWERED) > 0
        return (
            proved
            and self.split is not None
            and self.takes_batches
            and self.hour is not None
            and not self.job.input.exhausted
        )

    def is_in_batch(self, question: Question) -> bool:
        """Return whether a row, or one with an equal request, is in a batch.

        A later pass has to look at it.
        """
        held = self.assignments.has(question.row.number)
        if not held and self.assignments.made and question.row.problem is None:
            held = self.assignments.has_equal(self.job.digest(question))
        self._left_behind = self._left_behind or held
        return held

    def has_row(self, number: int) -> bool:
        """Return whether the row with this number is in a batch."""
        return self.assignments.has(number)

    def count(self, about: Mapping[str, Any]) -> None:
        """Count the result of a row that was called directly."""
        self._unassigned -= 1
        self._called += 1
        self.flex.count(about)

    def on_shortage(self, question: Question) -> bool:
        """Called when the budget cannot cover a row.

        Put the row back and return True if finished batches may free budget.
        """
        self.quota, self._is_short = 0, bool(self.assignments.open_batches)
        if self._is_short:
            self.job.input.put_back(question)
        return self._is_short

    def waiting(self) -> str | None:
        """Return the rows and batches at the provider as text, or None."""
        rows = sum(batch.rows for batch in self.assignments.open_batches.values())
        return f"{rows:,} rows in {len(self.assignments.open_batches):,} batches" if rows else None

    def _begin_first_pass(self) -> None:
        """Start the first pass with a few direct calls, to learn the price and the rate, and
        whether the chain works at all.
        """
        if self.hour is not None:
            self.job.progress.say(str(self.plan()))
        self._has_begun = True
        missing = max(0, PILOT - self.job.results.count(ANSWERED))
        self._begin_pass(missing if self.split is not None and self.hour is not None else math.inf)

    async def next_pass(self) -> bool:
        """Wait until rows are to be called directly.

        Return False if none is left, or the job has been stopped.
        """
        if not self._has_begun:
            self._begin_first_pass()
            return True
        job = self.job
        seconds = time.monotonic() - self._pass_began
        if not self.flex.finish_pass(seconds):
            self._live.append((self._called, seconds))
        while True:
            await self._poll_once()
            if job.is_stopped:
                return False
            step = next_step(self._state())
            for count in step.submit:
                if not await self._submit_next(count):
                    break
            open_batches = self.assignments.open_batches
            if job.input.exhausted and not open_batches and not self._left_behind:
                return False
            is_live_next = (
                self._unassigned > 0
                and not self._is_short
                and (self._returned or not job.input.exhausted)
            )
            if is_live_next or not open_batches:
                if job.input.exhausted:
                    self._left_behind, self._returned = False, 0
                    job.input.begin_again()
                # The actual rate may be higher than the measured one.
                rate = 2 * self.flex.rate if step.tier == self.flex.NAME else self._rate()[0]
                most = (
                    max(PILOT, round(rate * LONGEST_POLL_S))
                    if open_batches or step.tier != LIVE
                    else math.inf
                )
                self._begin_pass(most, step.tier)
                return True
            await self._pause()

    def _begin_pass(self, quota: float, tier: str = LIVE) -> None:
        self.job.caller.tier_chain = self.flex.start_pass(tier)
        self.quota, self._called, self._pass_began = quota, 0, time.monotonic()

    async def watch(self) -> None:
        """Poll the batches while rows are called directly."""
        while not self.job.ending.is_set():
            await self._pause()
            await self._poll_once()

    async def close(self) -> None:
        """Wait for a poll in progress, which holds the lock of a batch's folder."""
        if self._task is not None:
            await asyncio.wait({self._task})

    async def _pause(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self.job.ending.wait(), self._poll_interval_s())

    async def _poll_once(self) -> None:
        """Poll all batches once.

        Concurrent callers share one poll, and cancelling a caller does not cancel it.
        """
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._poll_batches())
        await asyncio.shield(self._task)

    async def _poll_batches(self) -> None:
        try:
            for batch in list(self.assignments.open_batches.values()):
                is_back = await asyncio.to_thread(batch.poll)
                if batch.refusal:
                    self._call_directly(batch.refusal)
                    is_back = is_back or await asyncio.to_thread(batch.poll)
                if is_back:
                    await self._collect(batch)
            if self.hour is None or self.job.stopped is not None:
                return
            for number in next_step(self._state(may_submit=False)).cancel:
                batch = self.assignments.open_batches[number]
                batch.is_cancelling = True
                with suppress(ChatError):  # the next look asks for the cancellation again
                    await asyncio.to_thread(batch.job.cancel)
                self.job.progress.say(
                    f"Batch {number} is ended early: what it has not answered goes live."
                )
        except Exception as exc:  # noqa: BLE001 - it ends the job, and is raised where the job is awaited
            self.job.fail(exc)

    async def _submit_next(self, count: int) -> bool:
        """Submit the next `count` rows as a batch.

        Return False if there are fewer, or the budget does not cover them.
        """
        job, reserved = self.job, Decimal(0)
        questions: list[Question] = []
        while len(questions) < count and (question := self._eligible()) is not None:
            if job.money is not None:
                needed = job.money.needed(question.row_json) * BATCH_SHARE
                if not job.money.hold(needed):
                    job.input.put_back(question)
                    break
                reserved += needed
            questions.append(question)
            self.assignments.assign(question.row.number, job.digest(question))
        if not questions:
            return False
        batch, entries = self.assignments.new_batch(
            [(question, job.digest(question)) for question in questions]
        )
        batch.reserved = reserved
        self._unassigned -= len(questions)
        await job.on_disk(job.results.store.append, WAYS, entries)
        values = [question.row.values for question in questions]
        options: Any = {name: job.options[name] for name in ("config", "bucket")}
        options |= {"dir": batch.job.path, "dedupe": False, "max_rounds": 1}
        try:
            await asyncio.to_thread(submit, job.work.chain, values, options, searches=False)
        except ChatError as exc:
            # The next poll resumes the submission, and raises permanent errors.
            if not exc.retryable:
                return False
        except (
            CallerError
        ) as exc:  # No row can be submitted. The direct calls will raise the reason.
            self._call_directly(str(exc))
            await self._end(
                batch, [question.row.number for question in questions], left=len(questions)
            )
            return False
        return len(questions) == count

    def _call_directly(self, reason: str) -> None:
        """Submit no more batches: all rows are called directly."""
        if self.takes_batches:
            self.takes_batches = False
            self.job.progress.say(
                f"No more batches are submitted: rows are called directly. {reason}"
            )

    def _eligible(self) -> Question | None:
        """Take the next row that may be submitted.

        Rows that a later pass must look at are skipped and noted.
        """
        job = self.job
        while (question := job.input.take()) is not None:
            if question.row.problem is not None:
                self._left_behind = True
            elif self.assignments.state_of(question.row.number) == RETURNED:
                self._left_behind, self._returned = True, self._returned + 1
            elif job.has_result(question) or self.is_in_batch(question):
                continue
            elif (digest := job.digest(question)) is None or job.results.answers.find(
                digest
            ) is None:
                return question
            else:
                self._left_behind = True
        return None

    async def _collect(self, batch: OpenBatch) -> None:
        """Store the answers of an ended batch, and release the other rows for direct calls."""
        job, numbers, left = self.job, [], 0
        groups = groups_of(self.assignments.answers(batch), _size_bytes)
        while some := await asyncio.to_thread(next, groups, None):
            entries = []
            for number, record, digest in some:
                numbers.append(number)
                if record is None:
                    left += 1
                elif job.results.state(number) != ANSWERED:
                    # The row is answered already if an earlier run was killed at this point.
                    entries.append(job.place_from_batch(record))
                    if digest is not None and not record.failed:
                        job.results.answers.add(digest, number)
            await job.on_disk(job.results.write, entries)
        await self._end(batch, numbers, left=left)

    async def _end(self, batch: OpenBatch, numbers: list[int], *, left: int) -> None:
        """Record that a batch has returned, and release its rows."""
        job, seconds = self.job, time.time() - batch.at
        if not batch.is_cancelling:
            self.assignments.seconds.append(seconds)
        await job.on_disk(
            job.results.store.append, WAYS, [self.assignments.returned_entry(batch, seconds, left)]
        )
        self.assignments.release(
            batch, numbers, [number for number in numbers if job.results.state(number) == UNKNOWN]
        )
        self._unassigned += left
        self._returned += left
        self._left_behind = self._left_behind or left > 0
        self._is_short = False
        if job.money is not None:
            job.money.give_back(batch.reserved)
        job.freed.set()


def _size_bytes(answer: BatchAnswer) -> int:
    _, record, _ = answer
    return 0 if record is None else record.size_bytes
