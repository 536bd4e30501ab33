"""Holds back the failures of a job until it is known whether they have a common cause."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelwire.aliases import Fields
from modelwire.jobs.failure_streak import LOOK_AHEAD, FailureStreak, probe_rows, record_of_probe
from modelwire.jobs.input_rows import Question
from modelwire.jobs.row_caller import stopped
from modelwire.jobs.row_records import UNKNOWN
from modelwire.jobs.rows import Row

if TYPE_CHECKING:
    from modelwire.jobs.row_store import RowStore
    from modelwire.jobs.runner import Job


class Failures:
    """Holds back the records of the failures since the last answer, and stores them after the next answer."""

    def __init__(self, store: RowStore) -> None:
        self._store = store
        self.streak = FailureStreak()
        self._answers = 0
        # Once the job is stopped, failures are not stored any more, and a later run retries them.
        self.is_stopped = False

    def note(self, about: Fields, failure_scope: str) -> None:
        """Count the outcome of a call: an answer, or a failure with a `failure_scope` (see `RowCaller.ask`)."""
        if failure_scope:
            self.streak.add(failure_scope, about["error"])
        elif "answer" in about:
            self._answers += 1
            self.release()

    def release(self) -> None:
        """Store the failures that were held back, after an answer has shown that they have no common cause."""
        if not self.is_stopped:
            for record in self.streak.end():
                self._store.place(record)

    def counts(self) -> tuple[int, int]:
        """Return two counts of the failures held back: those of rows that have no record yet, and refused answers."""
        state = self._store.results.state
        failed = 0
        refused = 0
        for record in self.streak.held:
            failed += state(record.number) == UNKNOWN
            refused += record.refused
        return failed, refused

    async def check(self, job: Job) -> None:
        """Raise `JobStopped` if every row now fails, checked with probe rows."""
        from asyncio import gather

        streak = self.streak
        failed = streak.count
        async with job.turn:
            # No other row is started meanwhile.
            if self.is_stopped or streak.count < failed:
                return  # An answer has arrived in the meantime.
            answers = self._answers
            questions = []
            for row in probe_rows(job.input.look_ahead(LOOK_AHEAD), job.may_call):
                question = Question(row)
                if question.row.problem is None and job.ledger.reserve(question):
                    questions.append(question)
                    job.input.take_early(row)
            await gather(*(job.run_row(question) for question in questions))
            if self._answers == answers:
                await self._probe_answered_row(job)
            if self._answers == answers and not self.is_stopped:
                raise stopped(
                    f"The last {streak.count} rows that were asked have all failed: {streak.last_error}",
                    "run the same command again, which asks those anew,",
                )

    async def _probe_answered_row(self, job: Job) -> None:
        """Call the chain for a row that was answered before, to check whether any row is answered now."""
        # The record of a row can be read once it is committed.
        await self._store.committed()
        record = self._store.results.last_asked()
        if record is None or self.is_stopped:
            return
        row = Row(record["n"], record["line"], record["row"])
        question = Question(row)
        if job.ledger.reserve(question):
            try:
                about, _ = await job.calls.ask(row.values)
                again = record_of_probe(record, about)
                job.ledger.count(again.about, question.reserved)
                self._store.place(again)
            finally:
                job.ledger.settle(question)
