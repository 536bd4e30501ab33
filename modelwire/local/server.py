"""llama.cpp's HTTP server on a loopback port, in a child process that ends when this one does.

A pipe ties the child to this process: whatever ends this program (an exception, Ctrl-C, `kill -9`)
closes the pipe, and the child exits. Linux's PR_SET_PDEATHSIG cannot be used: it fires when the
*thread* that started the child ends.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal

from modelwire import forks
from modelwire.aliases import StrPath
from modelwire.errors import ConnectFailed, InvalidArgument, MissingDependency
from modelwire.local.weights import KNOWN, find_weights, last_lines

if TYPE_CHECKING:
    import subprocess
    from typing import TypeAlias

    _Child: TypeAlias = subprocess.Popen[bytes]

# All slots together have this many tokens of context; a slot of SmolLM2 has at most 8,192.
N_CTX = 16_384
N_PARALLEL = 4
# The child prints this before its address; see llama_process.py.
_READY = "listening "


class LocalServer:
    """A local model's server, which has answered once when the constructor returns.

    `n_ctx` is the number of tokens of all `n_parallel` slots together: one conversation has `n_ctx
    / n_parallel`. With `embeddings` it turns texts into vectors, and answers no chats. `port=0`
    lets the system choose a free port. `n_threads=None` uses half the cores.

    Raises: `ConnectFailed`, with the last lines of the server's log, if it does not answer within
    `start_timeout_s` seconds.

        with LocalServer("smollm2") as server:
            model = ChatOpenAI(model="smollm2", base_url=server.base_url_for("openai"), api_key="none")
    """

    def __init__(
        self,
        model: StrPath = "smollm2",
        *,
        n_ctx: int = N_CTX,
        n_parallel: int = N_PARALLEL,
        port: int = 0,
        n_threads: int | None = None,
        start_timeout_s: float = 120.0,
        embeddings: bool = False,
    ) -> None:
        import tempfile
        import weakref

        packages = require_runtime()
        # The tokens of one conversation.
        self.context_tokens = _positive("n_ctx", n_ctx) // _positive("n_parallel", n_parallel)
        self.model_path: Path = find_weights(model)
        self.model_name: str = self.model_path.stem
        chat_template = ""
        if model in KNOWN:
            self.model_name = str(model)
            chat_template = KNOWN[self.model_name].chat_template
        if n_threads is None:
            n_threads = _half_the_cores()
        options: dict[str, str | int] = {
            "packages": packages,
            "model": str(self.model_path),
            "alias": self.model_name,
            "chat_template": chat_template,
            "n_ctx": n_ctx,
            "n_parallel": n_parallel,
            "embeddings": embeddings,
            "n_threads": _positive("n_threads", n_threads),
            "port": _port(port),
        }
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the child, closed by `_end`
        self._process = _spawn(options, self._log)
        # This runs at `stop`, when the object is garbage-collected, or at the end of the program,
        # whichever is first.
        self._end = weakref.finalize(self, _end, self._process, self._log)
        try:
            self.base_url: str = _await_ready(self._process, self._log, start_timeout_s)
        except BaseException:
            # On Ctrl-C, too: no child process may be left behind.
            self.stop()
            raise

    def base_url_for(self, wire: Literal["openai", "anthropic"]) -> str:
        """Return the `base_url` for chat models of a provider: OpenAI's ends in `/v1`, Anthropic's does not."""
        return self.base_url + {"openai": "/v1", "anthropic": ""}[wire]

    @property
    def running(self) -> bool:
        """Whether the child process runs."""
        return self._end.alive and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    def stop(self) -> None:
        """End the child process. A second call does nothing."""
        self._end()

    def __enter__(self) -> LocalServer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"LocalServer({self.model_name!r}, {self.base_url if self.running else 'stopped'})"


_shared: dict[tuple[Path, int, int, bool], LocalServer] = {}
_lock = threading.Lock()


def ensure_server(
    model: StrPath = "smollm2",
    *,
    n_ctx: int = N_CTX,
    n_parallel: int = N_PARALLEL,
    embeddings: bool = False,
) -> LocalServer:
    """Return the server of `model` that all callers in this process share. The first call starts it.

    It is started again if it has died. A call with different numbers starts another server, which needs another half
    a gigabyte of memory.
    """
    key = find_weights(model), n_ctx, n_parallel, embeddings
    with _lock:
        server = _shared.get(key)
        if server is None or not server.running:
            server = _shared[key] = LocalServer(
                model, n_ctx=n_ctx, n_parallel=n_parallel, embeddings=embeddings
            )
        return server


def context_tokens_at(base_url: str | None) -> int | None:
    """Return the size of one conversation's context, in tokens, on the shared server at an address.

    Return None if there is no such server.
    """
    for server in _shared.values():
        if base_url and base_url.startswith(server.base_url):
            return server.context_tokens
    return None


@forks.in_child
def _forget_shared() -> None:
    # A forked child is not the server's parent. Its copy of the lock may be held by a thread that
    # does not exist in the child.
    global _lock
    _lock = threading.Lock()
    _shared.clear()


def require_runtime() -> str:
    """Return the folder that contains the package `xllamacpp`, without importing it.

    Raises: `MissingDependency` if it is not installed.
    """
    from importlib.util import find_spec

    # Only the child process imports the package, which takes 100 MB of memory.
    spec = find_spec("xllamacpp")
    if spec is None or spec.origin is None:
        raise MissingDependency(
            "A local model needs llama.cpp. Run `pip install 'modelwire[local]'`."
        )
    return str(Path(spec.origin).parent.parent)


def _spawn(options: dict[str, str | int], log: IO[bytes]) -> _Child:
    import json
    import subprocess

    script = Path(__file__).with_name("llama_process.py")
    return subprocess.Popen(
        [sys.executable, "-P", str(script), json.dumps(options)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        # The child has its own process group, so that a Ctrl-C reaches only this process. The pipe
        # ends the child.
        start_new_session=True,
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
    )


def _await_ready(process: _Child, log: IO[bytes], timeout_s: float) -> str:
    """Return the address in the child's output, once `/health` at that address has answered."""
    import time

    deadline = time.monotonic() + timeout_s
    announced: list[str] = []
    reader = threading.Thread(target=lambda: announced.append(_announced(process)), daemon=True)
    reader.start()
    reader.join(timeout_s)
    address = announced[0] if announced else ""
    while address and time.monotonic() < deadline and process.poll() is None:
        if _is_healthy(address):
            return address
        time.sleep(0.02)
    # The child's output ends a moment before its exit code is available.
    ended = _exit_code(process, wait_s=5.0 if announced else 0.0)
    if ended is None:
        how = f"did not answer within {timeout_s:g} s"
    else:
        how = f"ended with exit code {ended}"
    raise ConnectFailed(f"The local model's server {how}. Its last lines: {last_lines(log)}")


def _exit_code(process: _Child, *, wait_s: float) -> int | None:
    import subprocess

    try:
        return process.wait(wait_s)
    except subprocess.TimeoutExpired:
        return None


def _announced(process: _Child) -> str:
    """Return the address in the child's output; "" if the child ends before it prints one."""
    assert process.stdout is not None  # noqa: S101 - for the type checker
    for line in process.stdout:
        text = line.decode(errors="replace").strip()
        if text.startswith(_READY):
            return text.removeprefix(_READY)
    return ""


def _is_healthy(address: str) -> bool:
    # `http.client` uses no proxy, unlike the pooled client.
    from http.client import HTTPConnection, HTTPException
    from urllib.parse import urlsplit

    parts = urlsplit(address)
    connection = HTTPConnection(parts.hostname or "127.0.0.1", parts.port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _end(process: _Child, log: IO[bytes]) -> None:
    """Close the pipe that the child watches, and kill the child if it still runs after 5 s."""
    assert process.stdin is not None  # noqa: S101 - for the type checker
    assert process.stdout is not None  # noqa: S101
    process.stdin.close()
    if _exit_code(process, wait_s=5.0) is None:
        process.kill()
        process.wait()
    process.stdout.close()
    log.close()


def _half_the_cores() -> int:
    # llama.cpp's threads spin while they wait for each other. With a thread for every core, a
    # single busy process makes it 20 times slower (measured 2026-11 on 2 cores: 4 tokens a second
    # instead of 73), and this program is such a process.
    if hasattr(os, "sched_getaffinity"):
        usable = len(os.sched_getaffinity(0))
    else:
        usable = os.cpu_count() or 1
    return max(1, usable // 2)


def _positive(name: str, value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    raise InvalidArgument(f"`{name}` must be a whole number of at least 1, not {value!r}.")


def _port(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 65_535:
        return value
    raise InvalidArgument(f"`port` must be between 0 (any free one) and 65535, not {value!r}.")
