"""The background event loop on which a sync `batch` runs its calls. The first use creates it."""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from modelwire import forks

# The interpreter's exit waits at most this long until cancelled calls have cleaned up.
_CLOSING_S = 5.0


class BackgroundLoop:
    """An event loop that runs in a daemon thread until the interpreter ends."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.loop = asyncio.new_event_loop()
        self._posted: deque[Callable[[], object]] = deque()
        self._woken = False
        self._ending = False
        self._stopped = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="modelwire-background", daemon=True)
        self._thread.start()

    def is_usable(self) -> bool:
        """Return whether the loop runs in this process: a fork copies the loop but not its thread."""
        return self.pid == os.getpid() and self._thread.is_alive() and not self._ending

    def is_here(self) -> bool:
        """Return whether the caller is on the loop's own thread, where waiting for the loop would block forever."""
        return threading.current_thread() is self._thread

    def post(self, act: Callable[[], object]) -> None:
        """Schedule `act` on the loop, after the functions posted before. Many posts in a row wake the loop once."""
        self._posted.append(act)
        if not self._woken:
            self._woken = True
            try:
                self.loop.call_soon_threadsafe(self._drain)
            except RuntimeError:
                # The loop is closed. The flag is reset, so that the next call fails as well.
                self._woken = False
                raise

    def _drain(self) -> None:
        # The flag is reset first, so that a `post` during the loop below wakes the event loop again.
        self._woken = False
        while self._posted:
            self._posted.popleft()()

    def _run(self) -> None:
        until_stopped = self.loop.create_task(self._until_stopped())
        try:
            while not until_stopped.done():
                # A SystemExit in a task ends `run_until_complete`, but not the loop. The task
                # stores it, and its awaiter gets it, so all other calls continue.
                with suppress(SystemExit, KeyboardInterrupt):
                    self.loop.run_until_complete(until_stopped)
        finally:
            self._ending = True
            self._close_loop()

    def _close_loop(self) -> None:
        """Cancel all tasks, close all async generators and then the loop.

        `asyncio.Runner` would also start a thread to shut down the default executor. Since 3.12.1 Python starts no
        thread once the interpreter ends, and none is needed: `concurrent.futures` has joined that executor's threads.
        """
        try:
            self.loop.run_until_complete(self._cancel_tasks())
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        finally:
            self.loop.close()

    async def _cancel_tasks(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for task in tasks:
            self._report(task)

    def _report(self, task: asyncio.Task[object]) -> None:
        """Pass the error of a cancelled task to the loop's handler, as `asyncio.run` does."""
        error = None if task.cancelled() else task.exception()
        if error is not None:
            message = "unhandled exception while the background loop was closed"
            context = {"message": message, "exception": error, "task": task}
            self.loop.call_exception_handler(context)

    async def _until_stopped(self) -> None:
        await self._stopped.wait()

    def close(self) -> None:
        """Cancel the running tasks, close the loop and end the thread."""
        if self._thread.is_alive() and not self.is_here():
            self.loop.call_soon_threadsafe(self._stopped.set)
            self._thread.join(_CLOSING_S)


_background: BackgroundLoop | None = None
_making = threading.Lock()


def background_loop() -> BackgroundLoop:
    """Return the process's background loop. A forked child creates its own."""
    global _background
    found = _background
    if found is not None and found.is_usable():
        return found
    with _making:
        if _background is None or not _background.is_usable():
            _background = BackgroundLoop()
            atexit.register(_background.close)
        return _background


@forks.in_child
def _after_fork() -> None:
    global _background, _making
    _background = None
    _making = threading.Lock()
