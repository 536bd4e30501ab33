"""One daemon thread that does a process's background work for the fleet, while there is any."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from modelwire import forks

# Each task is called once in this time.
INTERVAL_S = 0.1


class _Ticker:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tasks: dict[Callable[[], bool], None] = {}
        self._is_running = False

    def add(self, task: Callable[[], bool]) -> None:
        with self._lock:
            self._tasks[task] = None
            if self._is_running:
                return
            self._is_running = True
        threading.Thread(target=self._run, name="modelwire-fleet", daemon=True).start()

    def _run(self) -> None:
        while True:
            time.sleep(INTERVAL_S)
            with self._lock:
                tasks = self._tasks
                self._tasks = {}
            # A task that is added while it runs stays, whatever it returns.
            unfinished = [task for task in tasks if task()]
            with self._lock:
                self._tasks.update(dict.fromkeys(unfinished))
                if not self._tasks:
                    self._is_running = False
                    return


_ticker = _Ticker()


def start_ticking(task: Callable[[], bool]) -> None:
    """Call `task` every tenth of a second, in a thread, until it returns False. It must not raise.

    A task that is there already is not added again.
    """
    _ticker.add(task)


@forks.in_child
def _start_after_fork() -> None:
    """Forget the tasks of the parent process, whose thread is not here."""
    global _ticker
    _ticker = _Ticker()
