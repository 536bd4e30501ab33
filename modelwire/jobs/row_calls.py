"""Determines the result of each row; rows with equal requests share one call."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from modelwire.jobs.cache_warmup import CacheWarmup, Outcome
from modelwire.jobs.failures import Failures
from modelwire.jobs.input_rows import Question
from modelwire.jobs.row_caller import RowCaller
from modelwire.jobs.row_records import Results, digest_of, identity_of
from modelwire.jobs.work import Work

if TYPE_CHECKING:
    from asyncio import Future


class RowCalls:
    """Calls the chain of `work` for rows through `caller`, once for rows with equal requests."""

    def __init__(
        self,
        work: Work,
        caller: RowCaller,
        results: Results,
        failures: Failures,
        *,
        dedupe: bool,
    ) -> None:
        self.work = work
        self.caller = caller
        self._results = results
        self._failures = failures
        self._dedupe = dedupe
        self._warmup = CacheWarmup(work)
        # The outcomes of the rows in flight, by deduplication key.
        self._asking: dict[bytes, Future[Outcome]] = {}

    def digest(self, question: Question) -> bytes | None:
        """Return the deduplication key of a row, or None if deduplication is off."""
        if question.asks is None and self._dedupe:
            part = self.work.question(question.row.values)
            question.asks = digest_of(identity_of(part))
        return question.asks

    def has_equal(self, question: Question) -> bool:
        """Return whether a row with an equal request has an answer."""

        digest = self.digest(question)
        if digest is None:
            return False
        return self._results.answers.find(digest) is not None

    async def resolve(self, question: Question) -> Outcome:
        """Return the outcome of a row: its own error, the answer of an equal row, or a new call."""
        row = question.row
        if row.problem is not None:
            return {"error": f"Line {row.line}: {row.problem}", "attempts": 0}, ""
        digest = self.digest(question)
        if digest is None:
            return await self.ask(row.values)
        same = self._results.answers.find(digest)
        flight = self._asking.get(digest)
        if same is None and flight is not None:
            import asyncio

            about, failure_scope = await asyncio.shield(flight)
            if "error" in about:
                return {"error": about["error"], "attempts": 0}, failure_scope
            same = self._results.answers.find(digest)
        if same is not None:
            return {"same": same, "attempts": 0}, ""
        return await self._ask_first(digest, row.number, row.values)

    async def _ask_first(self, digest: bytes, number: int, values: Any) -> Outcome:
        """Call the chain for the first of several equal rows."""
        import asyncio

        flight = self._asking[digest] = asyncio.get_running_loop().create_future()
        try:
            about, failure_scope = await self.ask(values)
            if "error" not in about:
                about["ask"] = digest.hex()
                self._results.answers.add(digest, number)
            flight.set_result((about, failure_scope))
        finally:
            del self._asking[digest]
            flight.cancel()
        return about, failure_scope

    async def ask(self, values: Any) -> Outcome:
        """Call the chain for the values of a row, whether or not an equal row has an answer."""
        filled = self.work.filled(values)
        ask = partial(self.caller.ask, filled)
        about, failure_scope = await self._warmup.call(values, ask)
        self._failures.note(about, failure_scope)
        return about, failure_scope
