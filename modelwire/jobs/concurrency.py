"""Tunes how many rows run at a time if the user sets no limit: more, as long as throughput rises.

No I/O, no clock. A measurement begins when as many rows have finished as run at a time: all earlier
ones are done then.
"""

from __future__ import annotations

from modelwire import ext

START = 200
# Each step multiplies the size by `_STEP`, and is kept if throughput grows by the factor `_WORTH`.
_STEP, _WORTH = 1.5, 1.1
# A measurement takes at least this long.
_LEAST_S = 2.0
# After a step that was reverted, the next one waits this long.
_AGAIN_S = 60.0


class ConcurrencyTuner:
    """Sets how many rows run at a time: `size` now, and never more than `most`, which a pool of
    connections can serve.
    """

    def __init__(self, start: int = START, most: int | None = None) -> None:
        if most is None:
            most = ext.affordable_in_flight()
        self.most = most
        self.size = min(start, self.most)
        # This is the size before the last step, and its rows a second; throughput must exceed that.
        self._before: tuple[int, float] | None = None
        # A measurement begins when this many rows are done.
        self._settled: float | None = None
        # This is when the measurement began, and how many rows were done then.
        self._measured: tuple[float, float] | None = None
        self._not_before = 0.0

    def observe(self, now: float, done: int, *, full: bool) -> None:
        """Take a measurement and change `size` if it is time.

        `full` says whether as many rows run as may.
        """
        cannot_grow = self.size >= self.most and self._before is None
        if not full or now < self._not_before or cannot_grow:
            self._settled = self._measured = None
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
        self._settled = self._measured = None
        if self._before is not None and rate < _WORTH * self._before[1]:
            self.size = self._before[0]
            self._not_before = now + _AGAIN_S
            self._before = None
        elif self.size < self.most:
            self._before = (self.size, rate)
            self.size = min(int(_STEP * self.size) + 1, self.most)
        else:
            self._before = None
