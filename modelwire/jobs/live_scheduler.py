"""The strategy of a job without a deadline: every row is called directly, in one pass over the input."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelwire.jobs.input_rows import Question

__all__ = ["LiveScheduler"]


class LiveScheduler:
    """Decides which rows of a job are called directly, and when. `HybridScheduler` is the other strategy.

    `quota` is the number of rows that may still start in this pass over the input.
    """

    def __init__(self) -> None:
        self.quota: float = math.inf
        self._has_begun = False

    async def next_pass(self) -> bool:
        """Wait until rows are to be called directly.

        Return False if none is left, or the job has been stopped.
        """
        is_first, self._has_begun = not self._has_begun, True
        return is_first

    async def watch(self) -> None:
        """Run beside the workers of a pass. It is cancelled when the pass ends."""

    async def close(self) -> None:
        """Release what the passes have left."""

    def is_in_batch(self, question: Question) -> bool:
        """Return whether a row, or one with an equal request, is in a batch."""
        return False

    def has_row(self, number: int) -> bool:
        """Return whether the row with this number is in a batch."""
        return False

    def count(self, about: Mapping[str, Any]) -> None:
        """Count the result of a row that was called directly."""

    def on_shortage(self, question: Question) -> bool:
        """Called when the budget cannot cover a row. Return whether a later pass will call it."""
        return False

    def waiting(self) -> str | None:
        """Return the rows and batches at the provider as text, or None."""
        return None
