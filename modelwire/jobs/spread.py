"""A job's rows on two ways: some in batches at the provider's, the others live, so that all are done by an hour.

The table `ways` of the job's store says of each row that was handed in which batch has it, in the same transaction for
all rows of a batch and before the provider hears of it. Each batch is a `BatchJob` in `batches/NNN` of the job's
folder. A row that has a batch goes live only when that batch has ended and its answers are in the store.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from itertools import islice
from shutil import rmtree
from typing import TYPE_CHECKING, Any, cast

from pydantic_core import from_json

from modelwire.errors import (
    CallerError,
    ChatError,
    DiskError,
    InvalidArgument,
    JobChanged,
    MissingDependency,
    ModelwireError,
    Timeout,
)
from modelwire.jobs.batch_api.batch_table import record_of
from modelwire.jobs.batch_api.chain import Split, split_chain
from modelwire.jobs.batch_api.client import BatchClient
from modelwire.jobs.batch_api.job import BatchJob
from modelwire.jobs.batch_api.part_events import PartEvents
from modelwire.jobs.batch_api.submission import batch_api_of, submit_batch
from modelwire.jobs.cost import BATCH_SHARE
from modelwire.jobs.finish_by import JobPlan, shortage_text
from modelwire.jobs.flex import FlexTier
from modelwire.jobs.plan import LIVE, PILOT, OpenBatch, Pace, State, expected, next_step, rate_of, shortage
from modelwire.jobs.preview import ANSWER_TOKENS, question_text
from modelwire.jobs.questions import Question
from modelwire.jobs.row_records import ANSWERED, UNKNOWN, Digests, Record, digest_of, exact_json, identity_of
from modelwire.jobs.rows import chosen
from modelwire.jobs.sources import open_source
from modelwire.jobs.store import WAYS, Entry, JobStore
from modelwire.jobs.work import models_of, price_of_counts

if TYPE_CHECKING:
    from pathlib import Path

    from modelwire.jobs.batch_api.results import BatchResult
    from modelwire.jobs.runner import FileJob

__all__ = ["Spread"]

IN_BATCH, RETURNED = 1, 2  # of a row: it came back without an answer, and goes live
HANDED_IN, BACK = "handed in", "back"  # of a batch; the entries of rows are of the kind "row"
MEASURED = 1_000  # rows that tell the length of a prompt
MOST_ROWS = 10_000  # of one batch: they are in memory while it is handed in
SHORTEST_LOOK_S, LONGEST_LOOK_S = 0.2, 60.0
CANCEL_S = 600.0  # providers end a batch within ten minutes
WRITTEN = 500  # answers of a batch between two syncs


class _Away:
    """A batch that is at the provider's; `at` are epoch seconds, `first` the entry of its first row."""

    def __init__(self, number: int, rows: int, at: float, job: BatchJob) -> None:
        self.number, self.rows, self.at, self.job = number, rows, at, job
        self.done = self.first = 0
        self.reserved = Decimal(0)
        self.is_cancelling = False

    def state(self) -> OpenBatch:
        return OpenBatch(self.number, self.rows, min(self.done, self.rows), time.time() - self.at, self.is_cancelling)

    def look(self) -> bool:
        """Do what can be done for it now; tell whether it is back."""
        self.job.on_progress = self._hear
        try:
            self.job.wait(timeout=0)
        except Timeout:
            return False
        return True

    def _hear(self, progress: dict[str, Any]) -> None:
        self.done = progress["done"]


def _is_final(result: BatchResult) -> bool:
    """Tell whether a row has got what it will ever get; what is wrong with its whole batch is not the row's."""
    refused = result.retryable or getattr(result.error, "code", None) == "batch_validation_failed"
    return result.status == "succeeded" or (result.status == "errored" and not refused)


class Spread:
    """Carries out the plan of a job. `quota`: rows that may be begun live in this pass over the input."""

    def __init__(self, job: FileJob, rows: Any, hour: datetime | None) -> None:
        self.job, self._input, self.hour = job, rows, hour
        self.quota: float = 0
        self.notes: list[str] = []
        self._away: dict[int, _Away] = {}
        self._held = bytearray()  # IN_BATCH or RETURNED for a row
        self._questions = Digests()  # what was handed in, to the row that asks it
        self._next = 1
        self._gone, self._pass_began = 0, 0.0  # rows of this pass
        self._left_behind = False  # rows that this pass has read, and another one has to look at
        self._returned = 0  # rows without an answer that batches have brought back since the last pass
        self._seconds: list[float] = []  # that batches took
        self._live: deque[tuple[int, float]] = deque(maxlen=20)  # rows and seconds of each pass
        self._task: asyncio.Task[None] | None = None
        self._began_at = time.time()
        self._is_short = False  # of money, until a batch is back
        self._has_begun = False
        if isinstance(rows, Iterator):
            raise InvalidArgument("`finish_by` counts the rows first, and reads them again: give a list, or a file.")
        self.split = self._split()
        self.flex = FlexTier(self.split if hour is not None else None)
        self._read_ways()
        self._fresh, self._guess = 0, cast("float | None", None)
        self._measure()
        if hour is not None:
            self._check(hour)

    def _split(self) -> Split | None:
        """Return the chain as a batch needs it; None where all rows go live."""
        models = list(models_of(self.job.work.chain))
        kinds = dict.fromkeys(f"{type(one).__name__}({getattr(one, 'model', '')!r})" for one in models)
        if len(kinds) > 1:
            raise InvalidArgument(
                f"`finish_by` plans for one model, and the chain has {', '.join(kinds)}: their prices and limits "
                "differ. Write one job for each: `run_job(prompt | model, rows, output=..., finish_by=...)`."
            )
        try:
            split = split_chain(self.job.work.chain, self.job.options["config"])
            api = batch_api_of(split.model, self.job.options["bucket"])
            provider = cast("Any", split.model).provider
            with BatchClient(split.model, split.model._wire().codec(provider)):
                self._most = min(api.max_rows, MOST_ROWS)
        except (InvalidArgument, MissingDependency) as exc:
            if self.job.options["bucket"] is not None:  # somebody who names one wants batches
                raise
            self.notes.append(f"All rows go live. {exc}")
            return None
        return split

    def _measure(self) -> None:
        """Count the rows without an answer, guess what one costs live in USD, and see what `max_cost` sets aside."""
        job, needs = self.job, list[Decimal]()
        choice = {name: job.options[name] for name in ("limit", "sample", "seed")}
        source = open_source(self._input, encoding=job.options["encoding"])
        tokens = measured = 0
        with closing(source):
            rows, _ = chosen(iter(source), **choice)
            for row in rows:
                if not job._can_be_asked(row) or self.has(row.number):
                    continue
                self._fresh += 1
                if measured < MEASURED:
                    measured += 1
                    needs += [] if job.money is None else [job.money.needed(Question(row).row_json)]
                    try:
                        tokens += question_text(job.work, row)[1]
                    except ModelwireError:
                        continue  # the row itself will fail
        model = next(iter(models_of(job.work.chain)), None)
        self._answer_tokens = min(getattr(model, "max_tokens", None) or ANSWER_TOKENS, ANSWER_TOKENS)
        if model is not None:
            price = price_of_counts(model, round(tokens / max(measured, 1)), self._answer_tokens)
            self._guess = None if price is None else float(price)
        self._least_needed = min(needs, default=Decimal(0))
        self._mean_needed = sum(needs, Decimal(0)) / max(len(needs), 1)

    def _check(self, hour: datetime) -> None:
        """Raise where the hour cannot be met, or not for the money, as far as that is known."""
        state = self._state()
        if (short := shortage(state)) is None:
            money = self.job.money
            if money is not None and not self._away and self._least_needed > money.left:
                raise InvalidArgument(f"{money.shortage(self._least_needed)} No request was sent.")
            return
        text = shortage_text(short, state, hour)
        if short.late and not self._rate()[1]:
            self.notes.append(f"{text} That rate is assumed: `rpm=` of the model says what it is.")
            return
        raise InvalidArgument(f"{text} No request was sent. Change `finish_by`, `max_cost` or `limit`.")

    def plan(self) -> JobPlan:
        """Return what is expected now."""
        now = datetime.now(UTC)
        rate, is_known = self._rate()
        plan = expected(self._state())
        assumed = [] if is_known else [f"Live calls are taken to get {rate * 60:,.0f} rows a minute until they have "
                                       "shown more."]  # fmt: skip
        if self._guess is not None and plan.rows:
            assumed.append(self._assumed_answer(sum(plan.step.submit)))
        notes = [*self.notes, *([" ".join(assumed)] if assumed else []), *self.flex.notes(plan)]
        return JobPlan(plan, now, self.hour or now, tuple(notes))

    def _assumed_answer(self, in_batches: int) -> str:
        """Say how long answers are taken to be, and what `max_cost` sets aside for those that may be longer."""
        text, money = f"An answer is taken to have {self._answer_tokens:,} tokens.", self.job.money
        if money is None or not self._mean_needed or money.answer_tokens <= self._answer_tokens:
            return text
        at_once = int(money.left / (self._mean_needed * (BATCH_SHARE if in_batches else 1)))
        text += f" `max_cost` sets {money.answer_tokens:,} aside for each until it is there"
        if at_once >= self._fresh:
            return f"{text}."
        return f"{text}: for {at_once:,} rows at a time{' in batches' if in_batches else ''}."

    def _rate(self) -> tuple[float, bool]:
        advertised = None
        models = list(models_of(self.job.work.chain))
        if models and hasattr(models[0], "limits"):
            try:
                advertised = models[0].limits().requests_per_minute
            except ModelwireError:  # a key that is missing, say: the calls will tell
                advertised = None
        calls = max(1, len(models))
        rows, seconds = sum(rows for rows, _ in self._live), sum(seconds for _, seconds in self._live)
        return rate_of(None if advertised is None else advertised / 60 / calls, rows, seconds)

    def _left_s(self) -> float:
        return 86_400.0 * 365 if self.hour is None else self.hour.timestamp() - time.time()

    def _look_s(self) -> float:
        youngest = min((time.time() - away.at for away in self._away.values()), default=0.0)
        return max(SHORTEST_LOOK_S, min(LONGEST_LOOK_S, youngest / 4, self._whole_s() / 50))

    def _whole_s(self) -> float:
        return self._left_s() + time.time() - self._began_at

    def _state(self, *, may_hand_in: bool = True) -> State:
        money, s = self.job.money, self.job.standing
        left = None if money is None else float((money.budget.usd or 0) - money.budget.spent.usd)
        price = float(s.live_cost / s.live_rows) if s.live_rows else self._guess
        whole_s = self._whole_s()
        state = State(
            left_s=self._left_s(), rows=max(0, self._fresh), rate=self._rate()[0], price=price, money=left,
            batches=tuple(away.state() for away in self._away.values()), pace=Pace(self._seconds),
            has_batches=may_hand_in and self._may_hand_in(),
            chunk=self._most if self.split is not None else MOST_ROWS, cancel_s=min(CANCEL_S, whole_s / 10),
            look_s=min(LONGEST_LOOK_S, whole_s / 50), spare_s=whole_s / 20,
        )  # fmt: skip
        return replace(state, tiers=self.flex.tiers(state))

    def _may_hand_in(self) -> bool:
        """Tell whether rows may be handed in; once it runs, only after the chain has answered one."""
        proved = not self._has_begun or self.job.results.count(ANSWERED) > 0
        return proved and self.split is not None and self.hour is not None and not self.job._exhausted

    def holds(self, question: Question) -> bool:
        """Tell whether a row is in a batch, or one that asks the same: another pass has to look at it."""
        held = self.has(question.row.number)
        if not held and question.row.problem is None and (digest := self._digest(question)) is not None:
            first = self._questions.find(digest)
            held = first is not None and self.has(first)
        self._left_behind = self._left_behind or held
        return held

    def has(self, number: int) -> bool:
        """Tell whether a row is in a batch."""
        return self._way(number) == IN_BATCH

    def _way(self, number: int) -> int:
        return self._held[number] if number < len(self._held) else 0

    def _hold(self, number: int, digest: bytes | None) -> None:
        self._held += bytes(max(0, number + 1 - len(self._held)))
        self._held[number] = IN_BATCH
        if digest is not None:
            self._questions.add(digest, number)

    def _digest(self, question: Question) -> bytes | None:
        """Return what a row asks, where equal rows go once."""
        job = self.job
        return digest_of(identity_of(job.work.question(question.row.values))) if job.options["dedupe"] else None

    def count(self, about: dict[str, Any]) -> None:
        """Take what came of a row that went live."""
        self._fresh -= 1
        self._gone += 1
        self.flex.count(about)

    def runs_short(self, question: Question) -> bool:
        """Hear that there is no money for a row; tell whether batches may bring some back, and take it back then."""
        self.quota, self._is_short = 0, bool(self._away)
        if self._is_short:
            self._put_back(question)
        return self._is_short

    def _put_back(self, question: Question) -> None:
        self.job._ahead.appendleft(question.row)
        self.job._read -= 1

    @property
    def has_batches(self) -> bool:
        """Whether any batch was ever made for the job."""
        return self._next > 1

    def waiting(self) -> str | None:
        """Say what is at the provider's."""
        rows = sum(away.rows for away in self._away.values())
        return f"{rows:,} rows in {len(self._away):,} batches" if rows else None

    async def first_pass(self) -> None:
        """Have some rows go live first: they tell the price, the rate, and whether the chain works at all."""
        if self.hour is not None:
            self.job.progress.say(str(self.plan()))
        self._has_begun = True
        missing = max(0, PILOT - self.job.results.count(ANSWERED))
        self._begin_pass(missing if self.split is not None and self.hour is not None else math.inf)

    async def next_pass(self) -> bool:
        """Wait until rows are to go live; False when none is left, or the job has been stopped."""
        job = self.job
        seconds = time.monotonic() - self._pass_began
        if not self.flex.ended(seconds):
            self._live.append((self._gone, seconds))
        while True:
            await self._looked()
            if job.stopped is not None or job._error is not None:
                return False
            step = next_step(self._state())
            for count in step.submit:
                if not await self._hand_in(count):
                    break
            if job._exhausted and not self._away and not self._left_behind:
                return False
            if not self._away or (
                self._fresh > 0 and not self._is_short and not (job._exhausted and not self._returned)
            ):
                if job._exhausted:
                    self._left_behind, self._returned = False, 0
                    job._read_again()
                rate = 2 * self.flex.rate if step.tier == self.flex.NAME else self._rate()[0]  # it may have more
                most = max(PILOT, round(rate * LONGEST_LOOK_S)) if self._away or step.tier != LIVE else math.inf
                self._begin_pass(most, step.tier)
                return True
            await self._pause()

    def _begin_pass(self, quota: float, tier: str = LIVE) -> None:
        self.job.asker.on_tier = self.flex.begun(tier)
        self.quota, self._gone, self._pass_began = quota, 0, time.monotonic()

    async def watch(self) -> None:
        """Look after the batches while rows go live."""
        while not self.job._over.is_set():
            await self._pause()
            await self._looked()

    async def close(self) -> None:
        """Let a look that is under way end: it has a folder of a batch."""
        if self._task is not None:
            await asyncio.wait({self._task})

    async def _pause(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self.job._over.wait(), self._look_s())

    async def _looked(self) -> None:
        """Look at all batches, once at a time, whoever else is cancelled meanwhile."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._look())
        await asyncio.shield(self._task)

    async def _look(self) -> None:
        try:
            for away in list(self._away.values()):
                if await asyncio.to_thread(away.look):
                    await self._take(away)
            if self.hour is None or self.job.stopped is not None:
                return
            for number in next_step(self._state(may_hand_in=False)).cancel:
                away = self._away[number]
                away.is_cancelling = True
                await asyncio.to_thread(away.job.cancel)
                self.job.progress.say(f"Batch {number} is ended early: what it has not answered goes live.")
        except Exception as exc:  # noqa: BLE001 - it ends the job, and is raised where the job is awaited
            self.job._fail(exc)

    async def _hand_in(self, count: int) -> bool:
        """Hand so many of the next rows in; False when there are no more, or no more money."""
        job, reserved = self.job, Decimal(0)
        questions: list[Question] = []
        while len(questions) < count and (question := self._eligible()) is not None:
            if job.money is not None:
                needed = job.money.needed(question.row_json) * BATCH_SHARE
                if not job.money.hold(needed):
                    self._put_back(question)
                    break
                reserved += needed
            questions.append(question)
            self._hold(question.row.number, self._digest(question))
        if not questions:
            return False
        away = _Away(self._next, len(questions), time.time(), BatchJob(self._path(self._next), self.split))
        away.reserved, away.first = reserved, job.results.store.next_id(WAYS)
        self._next += 1
        self._fresh -= len(questions)
        await self._on_disk(job.results.store.append, WAYS, self._entries(away, questions))
        self._away[away.number] = away
        try:
            await asyncio.to_thread(self._submit, away, [question.row.values for question in questions])
        except ChatError as exc:
            if not exc.retryable:
                raise
        except CallerError as exc:  # no row can be handed in: what is wrong is told when they go live
            job.progress.say(f"Nothing is handed in. {exc}")
            self.split = None
            await self._end(away, [question.row.number for question in questions], left=len(questions))
            return False
        return len(questions) == count

    def _submit(self, away: _Away, values: list[Any]) -> None:
        chain, config, bucket = self.job.work.chain, self.job.options["config"], self.job.options["bucket"]
        submit_batch(chain, values, dir=away.job.path, config=config, bucket=bucket, dedupe=False, max_rounds=1)

    def _eligible(self) -> Question | None:
        """Take the next row that may be handed in; those that a pass has to see again are left behind."""
        job = self.job
        while True:
            job._look_ahead(1)
            if not job._ahead:
                job._exhausted = True
                return None
            job._read += 1
            question = Question(job._ahead.popleft())
            if question.row.problem is not None:
                self._left_behind = True
            elif self._way(question.row.number) == RETURNED:
                self._left_behind, self._returned = True, self._returned + 1
            elif job._has_result(question) or self.holds(question):
                continue
            else:
                digest = self._digest(question)
                if digest is None or job.results.answers.find(digest) is None:
                    return question
                self._left_behind = True

    def _entries(self, away: _Away, questions: list[Question]) -> list[Entry]:
        entries = []
        for place, question in enumerate(questions):
            row = question.row
            facts = {"batch": away.number, "n": row.number, "line": row.line, "check": question.check.hex()}
            facts["ask"] = None if (digest := self._digest(question)) is None else digest.hex()
            record = b'{"row":%b,%b' % (question.row_json, exact_json(facts)[1:])
            entries.append(Entry.of("row", record, row.number, away.first + place))
        facts = {"batch": away.number, "rows": away.rows, "first": away.first, "at": away.at}
        return [*entries, Entry.of(HANDED_IN, exact_json(facts), away.number)]

    async def _take(self, away: _Away) -> None:
        """Take what a batch that has ended has answered, and let the other rows go live."""
        job, numbers, left = self.job, [], 0
        found = self._found(away)
        while some := await asyncio.to_thread(lambda: list(islice(found, WRITTEN))):
            entries = []
            for number, record, digest in some:
                numbers.append(number)
                if record is None:
                    left += 1
                elif job.results.state(number) != ANSWERED:  # as it is when a run before this one was killed here
                    entries.append(job._placed(record))
                    if digest is not None and not record.failed:
                        job.results.answers.add(digest, number)
            await self._on_disk(job.results.write, entries)
        await self._end(away, numbers, left=left)

    def _found(self, away: _Away) -> Iterator[tuple[int, Record | None, bytes | None]]:
        """Yield each row: its number, its record (None for one without an answer), and the digest of its question."""
        with closing(JobStore(self.job.folder.path, read_only=True)) as store:
            for place, (result, record) in enumerate(away.job._recorded(by_arrival=False)):
                row = from_json(store.read(WAYS, away.first + place))
                digest = bytes.fromhex(row["ask"]) if row["ask"] else None
                if not _is_final(result):
                    yield row["n"], None, digest
                    continue
                away.job._finish(result, record)
                about = {**record_of(result, record).about, "way": "batch"}
                if "error" not in about and digest is not None:
                    about["ask"] = row["ask"]
                check = bytes.fromhex(row["check"])
                yield row["n"], Record(row["n"], row["line"], exact_json(row["row"]), check, about), digest

    async def _end(self, away: _Away, numbers: list[int], *, left: int) -> None:
        """Write down that a batch is back, and free its rows."""
        record = exact_json({"batch": away.number, "seconds": time.time() - away.at, "left": left})
        await self._on_disk(self.job.results.store.append, WAYS, [Entry.of(BACK, record, away.number)])
        if not away.is_cancelling:
            self._seconds.append(time.time() - away.at)
        for number in numbers:
            self._held[number] = RETURNED if self.job.results.state(number) == UNKNOWN else 0
        self._fresh += left
        self._returned += left
        self._left_behind = self._left_behind or left > 0
        self._is_short = False
        if self.job.money is not None:
            self.job.money.give_back(away.reserved)
        self.job._freed.set()
        del self._away[away.number]

    async def _on_disk(self, act: Any, *args: Any) -> None:
        await asyncio.shield(self.job._loop.run_in_executor(self.job._disk, act, *args))

    def _path(self, number: int) -> Path:
        return self.job.folder.path / "batches" / f"{number:03}"

    def _read_ways(self) -> None:
        """Take up the batches that are not back. One of which the provider has heard nothing is as never made."""
        store = self.job.results.store
        for entry in store.entries(WAYS):
            if entry.is_damaged:
                raise DiskError(
                    f"The table `{WAYS}` of `{store.path}` is damaged: put a copy back.", path=str(store.path)
                )
            if entry.kind == "row":
                continue
            facts = from_json(entry.record)
            number = facts["batch"]
            if entry.kind == BACK:
                away = self._away.pop(number)
                self._seconds += [facts["seconds"]] if not facts["left"] else []
                continue
            away = _Away(number, facts["rows"], facts["at"], BatchJob(self._path(number), self.split))
            away.first, self._next = facts["first"], number + 1
            self._away[number] = away
        for away in list(self._away.values()):
            self._take_up(away)

    def _take_up(self, away: _Away) -> None:
        store, money = self.job.results.store, self.job.money
        path = self._path(away.number)
        if not path.is_dir() or not (events := PartEvents(path).read()).planned:
            rmtree(path, ignore_errors=True)
            record = exact_json({"batch": away.number, "seconds": 0.0, "left": away.rows})
            store.append(WAYS, [Entry.of(BACK, record, away.number)])
            del self._away[away.number]
            return
        if self.split is None:
            raise JobChanged(f"`{path}` is a batch that this chain cannot take back: run the job as it began.")
        away.is_cancelling = events.cancelled
        for place in range(away.rows):
            row = from_json(store.read(WAYS, away.first + place))
            self._hold(row["n"], bytes.fromhex(row["ask"]) if row["ask"] else None)
            if money is not None:
                away.reserved += money.needed(exact_json(row["row"])) * BATCH_SHARE
        if money is not None:
            money.owe(away.reserved)
