"""The contenders of one run: who takes part, in which interpreter, and measuring them in turn."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from benchmarks.contenders import CONTENDERS
from benchmarks.servers import Servers, pinned
from benchmarks.worker import Failed, Worker

__all__ = ["Lineup", "Outcome", "failures"]

_PEERS = ("SDK", "langchain")


@dataclass
class Outcome:
    """What the rounds of one contender gave: results, or the reason why there are none."""

    results: list[Any] = field(default_factory=list)
    failure: str = ""

    @property
    def excuse(self) -> str:
        """Say in one cell why there is no number: "not installed", "-" (has no such way of calling) or "failed"."""
        return "-" if self.failure.startswith("n/a") else self.failure.partition(":")[0]

    def least(self, key: str | None = None) -> float | None:
        """Give the smallest result: noise only ever adds to CPU time."""
        return min(self._values(key), default=None)

    def middle(self, key: str | None = None) -> float | None:
        """Give the median."""
        values = sorted(self._values(key))
        return (values[len(values) // 2] + values[~(len(values) // 2)]) / 2 if values else None

    def _values(self, key: str | None) -> list[float]:
        return [result if key is None else result[key] for result in self.results]


def failures(groups: Iterable[dict[str, Outcome]]) -> list[str]:
    """Say who failed and how: a line each, for below the table."""
    return [
        f"{name} {each.failure}"
        for group in groups
        for name, each in group.items()
        if each.excuse == "failed"
    ]


class Lineup:
    """Starts each contender's process when first asked and keeps it; all share one core, the servers have another."""

    def __init__(
        self,
        servers: Servers,
        *,
        core: int | None,
        peer_python: str | None,
        only: Iterable[str],
        quick: bool,
    ) -> None:
        self.servers = servers
        self.quick = quick
        self.core = core
        self.names = [name for name in CONTENDERS if name in set(only)]
        self._peer_python = peer_python
        self._workers: dict[str, Worker] = {}

    def is_present(self, name: str) -> bool:
        return not self.worker(name).absence

    def python_of(self, name: str) -> str:
        return self._peer_python if self._peer_python and name in _PEERS else sys.executable

    def worker(self, name: str) -> Worker:
        if name not in self._workers:
            self._workers[name] = self._start(name)
        return self._workers[name]

    @contextlib.contextmanager
    def fresh_worker(self, name: str) -> Iterator[Worker]:
        """Start a process of its own, for measurements of memory."""
        worker = self._start(name)
        try:
            yield worker
        finally:
            worker.close()

    def in_turn(
        self,
        task: str,
        *,
        rounds: int,
        names: Iterable[str] | None = None,
        warm_up: bool = True,
        **arguments: Any,
    ) -> dict[str, Outcome]:
        """Measure A B C A B C ..., as a rule after one round that only warms up; who fails once sits out the rest."""
        outcomes = {name: Outcome() for name in (self.names if names is None else names)}
        for turn in range(0 if warm_up else 1, rounds + 1):
            for name, outcome in outcomes.items():
                if outcome.failure:
                    continue
                try:
                    result = self.worker(name).measure(task, **arguments)
                except Failed as failure:
                    outcome.failure, outcome.results = str(failure), []
                else:
                    if turn > 0:
                        outcome.results.append(result)
        return outcomes

    def close(self) -> None:
        """End every process; the next bench starts new ones, without the idle connections of the last."""
        for worker in self._workers.values():
            worker.close()
        self._workers.clear()

    def _start(self, name: str) -> Worker:
        with pinned(self.core):
            return Worker(name, self.python_of(name))
