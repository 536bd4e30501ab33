"""One daemon thread for the background tasks of this process's part in the fleet. It ends when no task is left."""

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
            # A task that is added again while it runs is called again, whatever it returns.
            unfinished = [task for task in tasks if task()]
            with self._lock:
                self._tasks.update(dict.fromkeys(unfinished))
                if not self._tasks:
                    self._is_running = False
                    return


_ticker = _Ticker()


def start_ticking(task: Callable[[], bool]) -> None:
    """Call `task` every tenth of a second, in a thread, until it returns False. It must not raise.

    A task that is called already is not added a second time.
    """
    _ticker.add(task)


@forks.in_child
def _start_after_fork() -> None:
    """Forget the tasks of the parent process, whose thread does not exist in a forked child."""
    global _ticker
    _ticker = _Ticker()
