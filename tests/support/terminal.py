"""The command at a terminal of its own."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import modelwire

ROOT = str(Path(modelwire.__file__).parents[1])


class Terminal:
    """A program at a real terminal of its own: the command, unless `program` names another."""

    def __init__(
        self,
        *arguments: str,
        columns: int = 80,
        program: Sequence[str] = (sys.executable, "-m", "modelwire.cli"),
        cwd: str | None = None,
        **environment: str,
    ) -> None:
        self._own, other = pty.openpty()
        import fcntl
        import struct
        import termios

        fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.program = subprocess.Popen(
            [*program, *arguments],
            cwd=cwd,
            stdin=other,
            stdout=other,
            stderr=other,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": ROOT, "TERM": "xterm", **environment},
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(other)
        self.shown = self.everything = ""

    def until(self, text: str, seconds: float = 60) -> str:
        end = time.monotonic() + seconds
        while text not in self.shown and time.monotonic() < end:
            if select.select([self._own], [], [], 0.2)[0]:
                try:
                    data = os.read(self._own, 65536).decode("utf-8", "replace")
                    self.shown += data
                    self.everything += data
                except OSError:
                    break
        assert text in self.shown, self.shown
        before, _, self.shown = self.shown.partition(text)
        return before + text

    def rest(self) -> str:
        """Return what the program has shown until it ended."""
        with contextlib.suppress(OSError):  # EIO: the other side is closed
            while data := os.read(self._own, 65536):
                self.shown += data.decode("utf-8", "replace")
                self.everything += data.decode("utf-8", "replace")
        return self.shown

    def type(self, text: str) -> None:
        os.write(self._own, text.encode())

    def close(self) -> None:
        self.program.kill()
        self.program.wait()
        os.close(self._own)
