"""Asks a chain about one row, in this process or in a worker of Ray, and says what came of it as a record has it."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

from modelwire.adapters.model_run import on_answer
from modelwire.errors import (
    AuthenticationError,
    ChatError,
    JobStopped,
    MissingDependency,
    MissingKey,
    NotFound,
    PermissionDenied,
    QuotaExhausted,
    RetryClass,
)
from modelwire.jobs.work import Tally, answer_value, failure_text
from modelwire.runnables.config import in_batch, started
from modelwire.transport.retry import on_failed_attempt

if TYPE_CHECKING:
    from modelwire.runnables import Runnable, RunnableConfig

__all__ = ["Asker", "stopped"]

PAUSE_S = 2.0  # before a row is asked again that was throttled for as long as its model waits
LONGEST_PAUSE_S = 3600.0  # told to come back later than that, a job stops

# What fails every row the same way, so that going on would only fail them all.
_HOPELESS = (
    AuthenticationError, PermissionDenied, NotFound, QuotaExhausted, MissingKey, MissingDependency,
)  # fmt: skip


class Asker:
    """Asks `chain`, here."""

    def __init__(self, chain: Runnable[Any, Any], config: RunnableConfig) -> None:
        self.chain = chain
        self.config = config
        self.is_over = False

    async def ask(self, values: Any) -> tuple[dict[str, Any], bool]:
        """Return what is to be recorded, and whether a model or its provider has failed the row.

        Raises `JobStopped` for what would fail every other row too.
        """
        tally = Tally()
        in_batch.set(True)  # so that a call waits for its turn as long as it takes
        on_answer.set(tally.messages.append)
        on_failed_attempt.set(tally.failed_attempts.append)
        began = monotonic()
        blamed = False
        try:
            answer = await self._patiently(values)
            about = {"answer": answer_value(answer)}
        except _HOPELESS as exc:
            raise stopped(str(exc)) from exc
        except JobStopped:
            raise
        except Exception as exc:  # noqa: BLE001 - whatever a chain raises fails its row
            about = {"error": failure_text(exc)}
            blamed = isinstance(exc, ChatError)
        return {**about, **tally.about(), "latency_s": round(monotonic() - began, 3)}, blamed

    async def _patiently(self, values: Any) -> Any:
        """Ask; a row that is throttled for as long as its model waits is asked again, as often as it takes."""
        from asyncio import sleep

        while True:
            try:
                return await self.chain.ainvoke(values, started(self.config))
            except ChatError as exc:
                if exc.retry_class not in (RetryClass.THROTTLE, RetryClass.OVERLOAD) or self.is_over:
                    raise
                pause_s = max(exc.retry_after or 0.0, PAUSE_S)
                if pause_s > LONGEST_PAUSE_S:
                    raise stopped(f"{exc} The provider asks to come back in {pause_s:,.0f} s.") from exc
            await sleep(pause_s)

    def wind_up(self) -> None:
        """Wait no longer for rows that are throttled: the job is to end soon."""
        self.is_over = True

    def close(self) -> None:
        """End what was begun for the job."""


def stopped(why: str, to_go_on: str = "run the same command again") -> JobStopped:
    """Return the error that ends a job, with what to do."""
    return JobStopped(f"{why.rstrip('. ')}. The job has stopped and its finished rows are kept: {to_go_on} to go on.")
