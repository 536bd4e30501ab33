"""How long a job waits before it repeats what a provider has refused for now: rows, batches, full queues."""

from __future__ import annotations

from typing import NamedTuple


class Backoff(NamedTuple):
    """The first pause and the longest one, to which the pauses double; and the longest `Retry-After` that is obeyed."""

    first_s: float
    longest_s: float
    patience_s: float

    def pause_s(self, failures: int, retry_after_s: float | None = None) -> float | None:
        """Return the pause after `failures` >= 1 in a row; None if the provider asks for more than `patience_s`.

        `Retry-After` is the least pause (R4).
        """
        if retry_after_s is not None and retry_after_s > self.patience_s:
            return None
        doubled_s = self.first_s * 2.0 ** min(failures - 1, 16)
        return max(retry_after_s or 0.0, min(self.longest_s, doubled_s))
