"""How many rows are asked at a time where nobody says: more, for as long as that gets more of them done.

No I/O here, and no clock. A turn is as many finished rows as there are at a time: what was begun before is through.
"""

from __future__ import annotations

__all__ = ["START", "ConcurrencyTuner"]

START = 200
_STEP, _WORTH = 1.5, 1.1  # half as many more; a tenth more has to come of it
_LEAST_S = 2.0  # that are measured
_AGAIN_S = 60.0  # after a step that was not worth it


class ConcurrencyTuner:
    """`size` rows at a time, `most` in the end: what a pool of connections takes."""

    def __init__(self, start: int = START, most: int | None = None) -> None:
        if most is None:
            from modelwire.transport.connections.pools import affordable_in_flight

            most = affordable_in_flight()
        self.most = most
        self.size = min(start, self.most)
        self._before: tuple[int, float] | None = (
            None  # the size this one has to be worth more than, its rows a second
        )
        self._settled: float | None = (
            None  # how many rows will be done when a turn has passed at this size
        )
        self._measured: tuple[float, float] | None = (
            None  # since when, and how many rows were done then
        )
        self._not_before = 0.0

    def observe(self, now: float, done: int, *, full: bool) -> None:
        """Measure; change `size` where that is due. `full`: as many as may be are being asked."""
        if not full or now < self._not_before or (self.size >= self.most and self._before is None):
            self._settled = self._measured = None
        elif self._settled is None:
            self._settled = done + self.size
        elif self._measured is None:
            if done >= self._settled:
                self._measured = (now, done)
        else:
            since, count = self._measured
            if done - count >= self.size and now - since >= _LEAST_S:
                self._step(now, (done - count) / (now - since))

    def _step(self, now: float, rate: float) -> None:
        self._settled = self._measured = None
        if self._before is not None and rate < _WORTH * self._before[1]:
            self.size, self._not_before = self._before[0], now + _AGAIN_S
            self._before = None
        elif self.size < self.most:
            self._before = (self.size, rate)
            self.size = min(int(_STEP * self.size) + 1, self.most)
        else:
            self._before = None
