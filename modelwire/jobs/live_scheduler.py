"""Schedules a job without a deadline: every row is called directly, in one pass over the input."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from modelwire.aliases import Fields

if TYPE_CHECKING:
    from asyncio import Task

    from modelwire.jobs.input_rows import Question


class LiveScheduler:
    """Decides which rows of a job are called directly, and when. `HybridScheduler` is the other strategy."""

    def __init__(self) -> None:
        self._has_begun = False

    async def next_pass(self) -> bool:
        """Wait until rows are to be called directly, and set the quota of the window.

        Return False if none is left, or the job has been stopped.
        """
        is_first = not self._has_begun
        self._has_begun = True
        return is_first

    async def close(self) -> None:
        """Wait for what the scheduler has started; called once, when the job ends."""

    def holds(self, number: int, question: Question | None = None) -> bool:
        """Return whether the row with this number is in a batch, or a row with the same request as `question`."""
        return False

    def count(self, about: Fields) -> None:
        """Count the result of a row that was called directly."""

    def on_shortage(self, question: Question) -> bool:
        """Called when the budget cannot cover a row. Return whether a later pass will call it."""
        return False

    def waiting(self) -> str | None:
        """Return the rows and batches at the provider as text, or None."""
        return None


async def cancelled(tasks: Iterable[Task[Any]]) -> None:
    """Cancel tasks, and wait until they have ended."""
    from asyncio import gather

    for task in tasks:
        task.cancel()
    await gather(*tasks, return_exceptions=True)
