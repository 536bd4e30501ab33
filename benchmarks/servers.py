"""Starts and stops the loopback servers, each in its own process and, if there are two cores, not on the client's."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.answers import streamed_answer, whole_answer

__all__ = ["STREAM_CHUNKS", "Servers", "pinned", "running_servers"]

STREAM_CHUNKS = 2_000
_CHECKOUT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Servers:
    """Where to ask. Roots end before `/v1`."""

    plain: str  # one whole answer at once
    sse: str  # `STREAM_CHUNKS` chunks in one body at once
    loopback: str  # the small asyncio server: append `/wait-MS` or `/pace`
    note: str


@contextlib.contextmanager
def running_servers(core: int | None) -> Iterator[Servers]:
    """Run nginx for the fixed answers and the asyncio server for the timed ones; without nginx the latter for all."""
    _raise_file_limit()
    with contextlib.ExitStack() as stack, pinned(core):
        loopback = stack.enter_context(_loopback_server())
        if (
            nginx := shutil.which(
                "nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
            )
        ) is None:
            note = "nginx is not installed: a small asyncio server gives the fixed answers, so calls/s may be its limit"
            yield Servers(f"{loopback}/plain", f"{loopback}/sse-{STREAM_CHUNKS}", loopback, note)
        else:
            fixed = stack.enter_context(_nginx_server(nginx))
            yield Servers(
                f"{fixed}/plain",
                f"{fixed}/sse",
                loopback,
                "fixed answers by nginx, timed ones by asyncio",
            )


@contextlib.contextmanager
def pinned(core: int | None) -> Iterator[None]:
    """Let child processes that start inside inherit this one core; None, or a system without the call: no change."""
    if core is None or not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def _loopback_server() -> Iterator[str]:
    command = [sys.executable, "-m", "benchmarks.loopback"]
    process = subprocess.Popen(
        command, cwd=_CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with _ended_by_closing_stdin(process):
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"


_NGINX_CONF = """
daemon off; master_process off; worker_rlimit_nofile {files}; error_log stderr error; pid nginx.pid;
events {{ worker_connections {connections}; }}
http {{
  access_log off; sendfile on; tcp_nopush off; keepalive_timeout 600s; keepalive_requests 1000000000;
  client_body_temp_path temp; proxy_temp_path temp; fastcgi_temp_path temp; uwsgi_temp_path temp; scgi_temp_path temp;
  server {{
    listen 127.0.0.1:{port} backlog=4096; root .;
    location = /plain/v1/chat/completions {{ default_type application/json; return 200 '{openai}'; }}
    location = /plain/v1/messages {{ default_type application/json; return 200 '{anthropic}'; }}
    # nginx gives no file in answer to a POST, but as an error page it does.
    location = /sse/v1/chat/completions {{ error_page 405 =200 /openai.sse; return 405; }}
    location = /sse/v1/messages {{ error_page 405 =200 /anthropic.sse; return 405; }}
    location ~ [.]sse$ {{ types {{ text/event-stream sse; }} charset utf-8; charset_types text/event-stream; }}
  }}
}}
"""


@contextlib.contextmanager
def _nginx_server(nginx: str) -> Iterator[str]:
    port = _free_port()
    with TemporaryDirectory(prefix="bench-nginx-") as folder:
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        answers = {wire: whole_answer(wire).decode() for wire in ("openai", "anthropic")}
        for wire in answers:
            Path(folder, f"{wire}.sse").write_bytes(streamed_answer(wire, STREAM_CHUNKS))
        conf = _NGINX_CONF.format(port=port, files=files, connections=min(files, 8192), **answers)
        Path(folder, "nginx.conf").write_text(conf)
        # The shell waits for our end of its stdin to close, which also a killed parent does, and takes nginx with it.
        guard = '"$0" -p "$1" -c nginx.conf & server=$!; cat >/dev/null; kill $server; wait $server'
        process = subprocess.Popen(["sh", "-c", guard, nginx, folder], stdin=subprocess.PIPE)
        with _ended_by_closing_stdin(process):
            _wait_until_listening(port, process)
            yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def _ended_by_closing_stdin(
    process: subprocess.Popen[str] | subprocess.Popen[bytes],
) -> Iterator[None]:
    try:
        yield
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _wait_until_listening(
    port: int, process: subprocess.Popen[bytes], patience_s: float = 10.0
) -> None:
    deadline_s = time.monotonic() + patience_s
    while time.monotonic() < deadline_s and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise RuntimeError(f"nginx did not listen on port {port} within {patience_s:.0f} s")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _raise_file_limit() -> None:
    """Allow thousands of sockets here and in child processes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 16_384 if hard == resource.RLIM_INFINITY else min(16_384, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
