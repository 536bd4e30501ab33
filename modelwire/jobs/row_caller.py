"""Calls a chain for one row, in this process or in a worker of Ray, and returns the facts for the row's record."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any, cast

from modelwire.aliases import JSON
from modelwire.errors import (
    AuthenticationError,
    BadRequest,
    BudgetExceeded,
    ChatError,
    JobStopped,
    MissingDependency,
    MissingKey,
    NotFound,
    PermissionDenied,
    QuotaExhausted,
    Refused,
    RetryClass,
    and_said,
    message_of,
)
from modelwire.ext import CallObserver, row_context
from modelwire.jobs.backoff import Backoff
from modelwire.jobs.progress import clock
from modelwire.jobs.work import Tally, answer_value, failure_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelwire.errors import Attempt
    from modelwire.messages import AIMessage
    from modelwire.outputs import ChatResult
    from modelwire.runnables import Runnable, RunnableConfig
    from modelwire.transport.steps import Sleep, Wait

# A row that was throttled for as long as its model retries is retried after 2 s. The job stops if
# Retry-After is longer than an hour.
BACKOFF = Backoff(first_s=2.0, longest_s=2.0, patience_s=3600.0)

# These errors fail every row in the same way, so the job stops.
_HOPELESS = (AuthenticationError, QuotaExhausted, MissingKey, MissingDependency)

# These errors usually fail every row, but a gateway may return them for the content of a single
# row.
_OF_KEY = (PermissionDenied, NotFound)

# These errors are transient, so a row waits and is retried.
_PASSING = (RetryClass.THROTTLE, RetryClass.OVERLOAD, RetryClass.TRANSIENT)


class _RowObserver(CallObserver):
    """Observes the calls of one row: their cost, and whether all of them wait without a request in flight."""

    __slots__ = ("caller", "loop", "tally", "task", "waits")

    def __init__(self, caller: RowCaller) -> None:
        import asyncio

        self.caller = caller
        self.loop = asyncio.get_running_loop()
        self.task = asyncio.current_task()
        self.tally = Tally()
        self.waits = 0

    def waiting(self, step: Sleep | Wait | None) -> None:
        change = 1
        if step is None:
            change = -1
        self.waits += change
        self.check()

    def check(self) -> None:
        """Cancel the row if the job is to end, since no request is in flight."""
        if self.caller.is_over:
            import asyncio

            raise asyncio.CancelledError("The job is to end.")

    def answered(self, result: ChatResult) -> None:
        self.tally.messages += [
            cast("AIMessage", generation.message) for generation in result.generations[:1]
        ]
        self.caller.last_failure = None

    def failed(
        self,
        error: BaseException,
        attempt: Attempt | None,
        partial: ChatResult | None = None,
    ) -> None:
        if attempt is None:
            if partial is not None and partial.generations:  # The partial answer was billed.
                self.answered(partial)
            return
        self.tally.failed_attempts.append(attempt)
        if attempt.retry_class in _PASSING:
            since, _ = self.caller.last_failure or (monotonic(), None)
            self.caller.last_failure = since, attempt

    def is_cancelled(self) -> bool:
        """Return whether the row's task was cancelled."""
        return self.task is not None and self.task.cancelling() > 0

    def leave(self) -> None:
        """Cancel the row's task; callable from any thread."""
        if self.task is not None:
            self.loop.call_soon_threadsafe(self.task.cancel)


class RowCaller:
    """Calls `chain` for rows in this process.

    `last_failure` has the time of the first failed attempt since the last answer, and the latest
    failed attempt. `tier_chain` is the chain on another service tier, or None: rows are called by it
    first, and by `chain` if the tier has no room.
    """

    def __init__(self, chain: Runnable, config: RunnableConfig) -> None:
        self.chain = chain
        self.config = config
        self.is_over = False
        self.tier_chain: Runnable | None = None
        self.last_failure: tuple[float, Attempt] | None = None
        self._rows: set[_RowObserver] = set()

    async def ask(self, values: Any) -> tuple[JSON, str]:
        """Return the facts for a row's record, and the scope of its failure.

        The scope is "row" for an error of a model or its provider, "key" for one that may be about
        the key, and "" for success and any other error. Raises: `JobStopped` for an error that
        would fail every other row too.
        """
        import asyncio

        row = _RowObserver(self)
        row.check()
        began = monotonic()
        failure_scope = ""
        self._rows.add(row)
        try:
            with row_context(self.config, row) as start_config:
                answer = await self._patiently(values, row, start_config)
            about = {"answer": answer_value(answer)}
        except JobStopped:
            raise
        except asyncio.CancelledError as exc:
            if self.is_over or row.is_cancelled():
                raise
            # A step of the chain was cancelled, not the row.
            about = {"error": failure_text(exc)}
        except Exception as exc:
            if _fails_every_row(exc):
                raise stopped(message_of(exc)) from exc
            about = {"error": failure_text(exc)}
            if isinstance(exc, _OF_KEY):
                failure_scope = "key"
            elif isinstance(exc, ChatError) and not isinstance(exc, Refused):
                failure_scope = "row"  # a refusal is an answer: the provider works
        finally:
            self._rows.discard(row)
        about |= row.tally.about()
        about["latency_s"] = round(monotonic() - began, 3)
        return about, failure_scope

    async def _patiently(
        self,
        values: Any,
        row: _RowObserver,
        start_config: Callable[[], RunnableConfig],
    ) -> Any:
        """Call the chain for a row, and return its answer.

        If the provider still throttles the row after all retries of its model, it is retried
        without limit. Raises: `JobStopped` if the provider asks for too long a pause.
        """
        chain = self.tier_chain or self.chain
        while True:
            try:
                return await chain.ainvoke(values, start_config())
            except ChatError as exc:
                if self.is_over:
                    raise
                if chain is not self.chain and _is_of_tier(exc):
                    chain = self.chain
                    continue
                if exc.retry_class not in (RetryClass.THROTTLE, RetryClass.OVERLOAD):
                    raise
                pause_s = BACKOFF.pause_s(1, exc.retry_after)
                if pause_s is None:
                    raise stopped(
                        str(exc), f"run the same command again in {exc.retry_after:,.0f} s"
                    ) from exc
            row.waits += 1
            row.check()
            import asyncio

            await asyncio.sleep(pause_s)
            row.waits -= 1

    def wind_up(self) -> int:
        """Cancel the rows that wait, because the job is to end soon; return how many have a request in flight."""
        self.is_over = True
        for row in list(self._rows):
            if row.waits:
                row.leave()
        return self.wire_count()[0]

    def wire_count(self) -> tuple[int, int]:
        """Return two counts: the rows with a request in flight, and the rows that wait for a limit or a retry."""
        waiting = sum(row.waits > 0 for row in self._rows)
        return len(self._rows) - waiting, waiting

    def why_waiting(self) -> str | None:
        """Return the reason why rows wait; None if most rows have a request in flight, or answers arrive."""
        on_wire, waiting = self.wire_count()
        if self.last_failure is None or waiting <= on_wire:
            return None
        since, attempt = self.last_failure
        if attempt.status is None:
            reason = attempt.error
        else:
            reason = f"the provider says {attempt.status}"
        return f"waiting: {reason}, since {clock(monotonic() - since)}"

    def close(self) -> None:
        """Release what the caller has started for the job; nothing in this class."""


def _fails_every_row(error: Exception) -> bool:
    """Return whether another row would fail in the same way.

    A budget that a step of the chain enters itself is per row.
    """
    if isinstance(error, BudgetExceeded):
        return bool(getattr(error.budget, "is_entered", True))
    return isinstance(error, _HOPELESS)


def _is_of_tier(error: ChatError) -> bool:
    """Return whether the default tier may answer a call that another tier has rejected with this error.

    It cannot if the rate limit of the key is reached, because both tiers share the limit.
    """
    if type(error) is BadRequest:
        return True
    return error.retryable and error.code != "rate_limit_exceeded"


def stopped(why: str, to_go_on: str = "run the same command again") -> JobStopped:
    """Return the error that ends a job: the reason, and what the user does to resume the job."""
    advice = f"The job has stopped and its finished rows are kept: {to_go_on} to go on."
    return JobStopped(and_said(why, advice))
