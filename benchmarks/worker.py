"""One contender in its own process, asked over a pipe, so that contenders can be measured in turn: A B A B.

`Worker` is the parent's end. `python -m benchmarks.worker NAME` is the child's: JSON lines on stdin, JSON lines on
what was stdout, and it ends when stdin closes.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import json
import os
import select
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

from benchmarks.contenders import CONTENDERS, Contender, NotInstalled

__all__ = ["Failed", "Session", "Worker", "environment"]

_CHECKOUT = Path(__file__).resolve().parent.parent


class Failed(Exception):
    """The contender could not do this; the text is short enough for a table."""


class Worker:
    """The parent's end of one contender's process."""

    def __init__(self, name: str, python: str = sys.executable) -> None:
        self.name = name
        command = [python, "-W", "ignore", "-m", "benchmarks.worker", name]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment(), bufsize=0
        )
        self._unread = b""
        self.versions = ""
        self.absence = ""
        try:
            self.versions = self._read_reply(60.0)
        except Failed as absent:
            self.absence = str(absent)

    def measure(self, task: str, *, patience_s: float = 120.0, **arguments: Any) -> Any:
        """Run `module.function(session, **arguments)` of this package in the child. Raises `Failed`."""
        if self.absence:
            raise Failed(self.absence)
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps([task, arguments]).encode() + b"\n")
        except BrokenPipeError:
            raise Failed("its process ended") from None
        return self._read_reply(patience_s)

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._kill()
        self._process.stdout.close()

    def _read_reply(self, patience_s: float) -> Any:
        assert self._process.stdout is not None
        deadline_s = time.monotonic() + patience_s
        while b"\n" not in self._unread:
            ready, _, _ = select.select(
                [self._process.stdout], [], [], max(0.0, deadline_s - time.monotonic())
            )
            if not ready:
                self._kill()
                self.absence = f"no result in {patience_s:.0f} s"
                raise Failed(self.absence)
            if not (data := self._process.stdout.read(65_536)):
                self.absence = "its process ended"
                raise Failed(self.absence)
            self._unread += data
        line, _, self._unread = self._unread.partition(b"\n")
        kind, value = json.loads(line)
        if kind != "result":
            raise Failed(value)
        return value

    def _kill(self) -> None:
        self._process.kill()
        self._process.wait()


class Session:
    """What a task is given in the child: the contender's class, its instances by URL and wire, and one event loop."""

    def __init__(self, kind: type[Contender]) -> None:
        self.kind = kind
        self.runner = asyncio.Runner()
        self._open: dict[tuple[str, str], Contender] = {}

    def contender(self, root: str, wire: str = "openai") -> Contender:
        """Give the contender aimed at this root; the same one again, with its warm connections."""
        key = (root, wire)
        if key not in self._open:
            self._open[key] = self.kind(root, wire)
        return self._open[key]


def environment() -> dict[str, str]:
    """Give the environment of a measured process: this checkout importable, byte code cached as after an install."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONPATH": str(_CHECKOUT)}


def _serve(name: str) -> None:
    replies = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what a library prints is no reply

    def reply(kind: str, value: Any) -> None:
        with contextlib.suppress(BrokenPipeError):  # the run was ended; so is our stdin
            replies.write(json.dumps([kind, value]).encode() + b"\n")

    kind = CONTENDERS[name]
    try:
        reply("result", kind.versions())
    except NotInstalled:
        reply("absent", "not installed")
        return
    session = Session(kind)
    warnings.simplefilter("ignore")
    for line in sys.stdin:
        task, arguments = json.loads(line)
        module, function = task.split(".")
        gc.collect()
        try:
            reply(
                "result",
                getattr(importlib.import_module(f"benchmarks.{module}"), function)(
                    session, **arguments
                ),
            )
        except NotInstalled as absent:
            reply("absent", f"n/a ({absent})")
        except (
            Exception
        ) as failure:  # any library may fail in any way; the run goes on and the table says so
            reply("failed", f"failed: {type(failure).__name__}: {str(failure)[:100]}")
            if os.environ.get("BENCH_DEBUG"):
                import traceback

                traceback.print_exc()
    os._exit(0)  # open connections of every library: nothing of their tear-down is measured here


if __name__ == "__main__":
    _serve(sys.argv[1])
