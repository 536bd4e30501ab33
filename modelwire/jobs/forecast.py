"""Estimates the rows, the rate and the price of a job with a deadline, as the input of its plan."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from modelwire.errors import InvalidArgument, ModelwireError
from modelwire.jobs.batch_assignments import Assignments
from modelwire.jobs.cache_warmup import COMPARED_ROWS, saving_note
from modelwire.jobs.finish_by import JobPlan, shortage_text
from modelwire.jobs.flex import FlexTier
from modelwire.jobs.input_rows import Question
from modelwire.jobs.plan import LIVE, PILOT, Pace, State, expected, rate_of, shortage
from modelwire.jobs.preview import ANSWER_TOKENS, question_text
from modelwire.jobs.work import models_of, price_of_counts
from modelwire.usage import BATCH_SHARE

if TYPE_CHECKING:
    from modelwire.jobs.runner import Job

# The mean length of a prompt is estimated from this many rows.
_MEASURED = 1_000
# Batches are polled at these intervals.
SHORTEST_POLL_S, LONGEST_POLL_S = 0.2, 60.0
# Providers end a cancelled batch within ten minutes.
_CANCEL_S = 600.0
_YEAR_S = 365 * 86_400.0


class Forecast:
    """Estimates about the rows that still need a call. `hour` is the deadline; a batch has at most `chunk` rows."""

    def __init__(
        self,
        job: Job,
        hour: datetime | None,
        flex: FlexTier,
        assignments: Assignments,
        chunk: int,
    ) -> None:
        self._job = job
        self._hour = hour
        self._chunk = chunk
        self._flex = flex
        self._assignments = assignments
        self._models = list(models_of(job.calls.work.chain))
        self._began_at = time.time()
        # Rows and seconds of each pass.
        self._passes: deque[tuple[int, float]] = deque(maxlen=20)
        # Rows that are neither answered nor in a batch.
        self.unassigned = 0
        # USD that `max_cost` reserves for a direct call of each measured row.
        self._needs: list[Decimal] = []
        # The values of the first rows, from which the saving of the prompt cache is estimated.
        self._first_values: list[Any] = []
        model = next(iter(self._models), None)
        limit = getattr(model, "max_tokens", None) or ANSWER_TOKENS
        self._answer_tokens = min(limit, ANSWER_TOKENS)
        # The estimated USD of a direct call for a row.
        self._guess: float | None = None
        tokens = self._prompt_tokens()
        if model is not None:
            price = price_of_counts(model, tokens, self._answer_tokens)
            if price is not None:
                self._guess = float(price) * len(self._models)

    def _prompt_tokens(self) -> int:
        """Count the rows without an answer, and return the mean tokens of their prompts."""
        job = self._job
        money = job.ledger.money
        tokens = 0
        measured = 0
        rows = job.input.anew()
        with closing(rows):
            for row in rows.unread:
                if not job.may_call(row) or self._assignments.has(row.number):
                    continue
                self.unassigned += 1
                if measured == _MEASURED:
                    continue
                measured += 1
                if measured <= COMPARED_ROWS:
                    self._first_values.append(row.values)
                if money is not None:
                    self._needs.append(money.needed(Question(row).row_json))
                with suppress(ModelwireError):
                    # The error belongs to the row, which will fail with it.
                    tokens += question_text(job.calls.work, row)[1]
        return round(tokens / max(measured, 1))

    def add_pass(self, rows: int, seconds: float) -> None:
        """Record that `rows` were called directly in a pass of `seconds`."""
        self._passes.append((rows, seconds))

    def rate(self) -> tuple[float, bool]:
        """Return the rate of direct calls in rows a second, and whether it is known or measured, not assumed."""
        advertised = None
        models = self._models
        if models and hasattr(models[0], "limits"):
            with suppress(ModelwireError):
                # An error such as a missing key is raised by the calls.
                advertised = models[0].limits().requests_per_minute
        if advertised is not None:
            advertised /= 60 * len(models)
        rows = 0
        seconds = 0.0
        for rows_of_pass, seconds_of_pass in self._passes:
            rows += rows_of_pass
            seconds += seconds_of_pass
        return rate_of(advertised, rows, seconds)

    def _seconds_left(self) -> float:
        if self._hour is None:
            return _YEAR_S
        return self._hour.timestamp() - time.time()

    def _total_s(self) -> float:
        """Return the seconds from the start of the run to the deadline."""
        return self._seconds_left() + time.time() - self._began_at

    def poll_interval_s(self) -> float:
        """Return the seconds until the batches are polled again."""
        now = time.time()
        latest = max((batch.at for batch in self._assignments.open_batches.values()), default=now)
        youngest_s = now - latest
        longest_s = min(LONGEST_POLL_S, youngest_s / 4, self._total_s() / 50)
        return max(SHORTEST_POLL_S, longest_s)

    def quota(self, rate: float) -> int:
        """Return how many rows to call directly, at `rate` rows a second, before the plan is made again."""
        rows = round(rate * LONGEST_POLL_S)
        return max(PILOT, rows)

    def state(self, *, has_batches: bool) -> State:
        """Return the state of the job, from which its plan is computed.

        `has_batches` says whether rows may be submitted as batches now.
        """
        ledger = self._job.ledger
        total_s = self._total_s()
        money = ledger.money
        s = ledger.standing
        price = self._guess
        if s.live_rows:
            price = float(s.live_cost / s.live_rows)
        money_left = None
        if money is not None:
            money_left = float(money.most - money.spent)
        batches = [batch.state() for batch in self._assignments.open_batches.values()]
        state = State(
            left_s=self._seconds_left(),
            rows=max(0, self.unassigned),
            rate=self.rate()[0],
            price=price,
            money=money_left,
            batches=tuple(batches),
            pace=Pace(self._assignments.seconds),
            has_batches=has_batches,
            chunk=self._chunk,
            cancel_s=min(_CANCEL_S, total_s / 10),
            poll_s=min(LONGEST_POLL_S, total_s / 50),
            spare_s=total_s / 20,
        )
        return replace(state, tiers=self._flex.tiers(state))

    def checked(self, *, has_batches: bool) -> list[str]:
        """Return notes for the plan: a warning if the deadline cannot be met at an assumed rate.

        Raises: `InvalidArgument` if the deadline cannot be met at a known rate, or not within the
        budget.
        """
        state = self.state(has_batches=has_batches)
        money = self._job.ledger.money
        short = shortage(state)
        if short is not None and self._hour is not None:
            text = f"{shortage_text(short, state, self._hour)} "
            if short.late and not self.rate()[1]:
                return [f"{text}That rate is assumed: set `rpm=` of the model to the real one."]
            raise InvalidArgument(
                f"{text}No request was sent. Change `finish_by`, `max_cost` or `limit`."
            )
        if money is None or self._assignments.open_batches:
            return []
        least = min(self._needs, default=Decimal(0))
        if least > money.left:
            raise InvalidArgument(f"{money.shortage(least)} No request was sent.")
        return []

    def plan(self, notes: Sequence[str], *, has_batches: bool) -> JobPlan:
        """Return the plan, with `notes` and the assumptions that it makes."""
        now = datetime.now(UTC)
        rate, is_known = self.rate()
        plan = expected(self.state(has_batches=has_batches))
        assumed = []
        if not is_known:
            per_minute = rate * 60
            assumed.append(
                f"Live calls are assumed to answer {per_minute:,.0f} rows a minute until their rate is measured."
            )
        if self._guess is not None and plan.rows:
            assumed.append(self._assumed_answer(in_batches=bool(plan.step.submit)))
        live = 0
        for line in plan.lines:
            if line.way == LIVE:
                live += line.rows
        cache = saving_note(self._job.calls.work, self._first_values, live)
        notes = [*notes, " ".join(assumed), cache, *self._flex.notes(plan)]
        return JobPlan(plan, now, self._hour or now, tuple(filter(None, notes)))

    def _assumed_answer(self, *, in_batches: bool) -> str:
        """Return a sentence about the assumed length of answers, and how many rows `max_cost` admits at a time."""
        text = f"An answer is taken to have {self._answer_tokens:,} tokens."
        money = self._job.ledger.money
        mean = Decimal(0)
        if self._needs:
            mean = sum(self._needs, Decimal(0)) / len(self._needs)
        if money is None or not mean or money.answer_tokens <= self._answer_tokens:
            return text
        text += f" `max_cost` sets {money.answer_tokens:,} aside for each until it is there"
        where = ""
        if in_batches:
            mean = mean * BATCH_SHARE
            where = " in batches"
        at_once = int(money.left / mean)
        if at_once >= self.unassigned:
            return f"{text}."
        return f"{text}: for {at_once:,} rows at a time{where}."
