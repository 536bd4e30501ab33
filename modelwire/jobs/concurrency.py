"""Tunes how many rows run at a time if the user sets no limit: more, as long as throughput rises.

No I/O, no clock. After a change, a measurement starts once as many rows have finished as may run at
a time, because all rows that started before the change are done then.
"""

from __future__ import annotations

from modelwire import ext

# At first this many rows run at a time.
START = 200
# Each step multiplies the size by `_STEP`, and is kept if throughput grows by the factor `_WORTH`.
_STEP, _WORTH = 1.5, 1.1
# A measurement takes at least this long.
_LEAST_S = 2.0
# After a step that was reverted, the next one waits this long.
_AGAIN_S = 60.0


class ConcurrencyTuner:
    """Decides how many rows run at a time: `size` now, and never more than `most`.

    By default, `most` is what the connection pool can serve.
    """

    def __init__(self, start: int = START, most: int | None = None) -> None:
        if most is None:
            most = ext.affordable_in_flight()
        self.most = most
        self.size = min(start, self.most)
        # The size before the last step, and the rows a second that were measured with it.
        self._before: tuple[int, float] | None = None
        # A measurement starts when this many rows are done.
        self._settled: float | None = None
        # When the measurement started (in seconds), and how many rows were done then.
        self._measured: tuple[float, float] | None = None
        self._not_before = 0.0

    def observe(self, now: float, done: int, *, full: bool) -> None:
        """Measure the throughput, and change `size` once a measurement is complete.

        `now` is in seconds, `done` counts all finished rows, and `full` is True if about `size`
        rows are running.
        """
        is_largest = self.size >= self.most and self._before is None
        is_pausing = now < self._not_before
        if not full or is_pausing or is_largest:
            self._settled = None
            self._measured = None
        elif self._settled is None:
            self._settled = done + self.size
        elif self._measured is None:
            if done >= self._settled:
                self._measured = (now, done)
        else:
            since, count = self._measured
            rows = done - count
            elapsed_s = now - since
            if rows >= self.size and elapsed_s >= _LEAST_S:
                self._step(now, rows / elapsed_s)

    def _step(self, now: float, rate: float) -> None:
        """Keep or revert the last step, and take the next one. `rate` is the measured throughput in rows a second."""
        self._settled = None
        self._measured = None
        before = self._before
        self._before = None
        if before is not None:
            size, earlier_rate = before
            if rate < _WORTH * earlier_rate:
                self.size = size
                self._not_before = now + _AGAIN_S
                return
        if self.size < self.most:
            self._before = (self.size, rate)
            larger = int(_STEP * self.size) + 1
            self.size = min(larger, self.most)
