from __future__ import annotations

import gc
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from modelwire.errors import ConnectFailed, InvalidArgument, MissingDependency
from modelwire.local import LocalServer, ensure_server, server

pytestmark = pytest.mark.local

SMALL = {"n_ctx": 512, "n_parallel": 1}
posix_only = pytest.mark.skipif(os.name != "posix", reason="signals and forks are POSIX's")


def _post(base_url: str, path: str, body: dict[str, Any]) -> tuple[int, bytes]:
    parts = urlsplit(base_url)
    connection = HTTPConnection(parts.hostname, parts.port, timeout=60)
    try:
        connection.request(
            "POST", parts.path + path, json.dumps(body), {"content-type": "application/json"}
        )
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def _listens(base_url: str) -> bool:
    parts = urlsplit(base_url)
    with socket.socket() as probe:
        return probe.connect_ex((parts.hostname, parts.port)) == 0


def _goes_away(base_url: str) -> bool:
    for _ in range(600):
        if not _listens(base_url):
            return True
        time.sleep(0.05)
    return False


# ---------------------------------------------------------------- it answers


BODY = {
    "model": "smollm2",
    "messages": [{"role": "user", "content": "Say hello."}],
    "max_tokens": 8,
    "temperature": 0,
}


def test_the_openai_wire_answers(local_server: str) -> None:
    status, body = _post(f"{local_server}/v1", "/chat/completions", BODY)
    answer = json.loads(body)
    assert status == 200
    assert answer["model"] == "smollm2"
    assert answer["choices"][0]["message"]["content"]
    assert answer["usage"]["completion_tokens"] > 0


def test_the_anthropic_wire_answers(local_server: str) -> None:
    status, body = _post(local_server, "/v1/messages", BODY)
    answer = json.loads(body)
    assert status == 200
    assert answer["type"] == "message"
    assert answer["content"][0]["text"]
    assert answer["usage"]["output_tokens"] > 0


def test_both_wires_stream_to_their_terminal_mark(local_server: str) -> None:
    _, openai = _post(f"{local_server}/v1", "/chat/completions", BODY | {"stream": True})
    _, anthropic = _post(local_server, "/v1/messages", BODY | {"stream": True})
    assert openai.rstrip().endswith(b"data: [DONE]")
    assert b'"type":"message_stop"' in anthropic


# ---------------------------------------------------------------- it starts and stops


def test_a_server_stops_at_the_end_of_its_block(local_model: Path) -> None:
    with LocalServer(local_model, **SMALL) as running:
        assert running.running
        assert _listens(running.base_url)
        assert running.base_url_for("openai") == f"{running.base_url}/v1"
        assert running.base_url_for("anthropic") == running.base_url
        assert running.base_url in repr(running)
        assert running.model_name == local_model.stem
    assert not running.running
    assert not _listens(running.base_url)
    assert "stopped" in repr(running)
    running.stop()


@pytest.mark.long
def test_a_server_nobody_holds_is_stopped(local_model: Path) -> None:
    running = LocalServer(local_model, **SMALL)
    base_url = running.base_url
    del running
    gc.collect()
    assert not _listens(base_url)


def test_a_port_that_is_taken_is_reported(local_model: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConnectFailed, match="exit code"):
            LocalServer(local_model, port=taken.getsockname()[1], **SMALL)


def test_a_torn_model_file_is_reported_with_the_servers_words(
    local_model: Path, tmp_path: Path
) -> None:
    torn = tmp_path / "torn.gguf"
    with local_model.open("rb") as whole:
        torn.write_bytes(whole.read(3_000_000))
    with pytest.raises(ConnectFailed, match="corrupted or incomplete"):
        LocalServer(torn, **SMALL)


def test_a_start_that_takes_too_long_is_given_up(local_model: Path) -> None:
    with pytest.raises(ConnectFailed, match=r"did not answer within 0\.001 s"):
        LocalServer(local_model, start_timeout_s=0.001, **SMALL)


@pytest.mark.parametrize(
    "bad",
    [{"n_ctx": 0}, {"n_parallel": 0}, {"n_parallel": True}, {"port": 70_000}, {"n_threads": -2}],
)
def test_a_bad_number_is_refused_before_anything_starts(
    local_model: Path, bad: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_spawn", lambda *_: pytest.fail("a process was started"))
    with pytest.raises(InvalidArgument, match=next(iter(bad))):
        LocalServer(local_model, **bad)


def test_a_missing_extra_says_what_to_install(
    local_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependency, match=r"pip install 'modelwire\[local\]'"):
        LocalServer(local_model)


# ---------------------------------------------------------------- one for all models of the program


@pytest.mark.long
def test_all_threads_share_one_server(local_model: Path) -> None:
    found: list[LocalServer] = []
    threads = [
        threading.Thread(target=lambda: found.append(ensure_server(local_model))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first = found[0]
    try:
        assert len(found) == 8
        assert all(other is first for other in found)
        assert ensure_server("smollm2") is first
        with ensure_server("smollm2", n_ctx=512, n_parallel=1) as small:
            assert small is not first
        first.stop()
        again = ensure_server(local_model)
        assert again is not first
        assert again.running
    finally:
        ensure_server(local_model).stop()


# ---------------------------------------------------------------- it ends with the program

PROGRAM = """
import os, sys, threading, time
from modelwire.local import ensure_server, LocalServer
made = []
maker = threading.Thread(target=lambda: made.append(LocalServer(sys.argv[1], n_ctx=512, n_parallel=1)))
maker.start(); maker.join()          # the thread that started it is gone: the server must not care
print(made[0].base_url, flush=True)
{ending}
"""

ENDINGS = {
    "at its end": "",
    "by an exception": "raise ValueError('boom')",
    "by os._exit": "os._exit(3)",
    "by Ctrl-C": "time.sleep(60)",
    "by kill": "time.sleep(60)",
    "by kill -9": "time.sleep(60)",
    "by kill -9 with a fork left behind": "os.fork() or os.setsid() or time.sleep(8)\ntime.sleep(60)",
}
SIGNALS = {
    "by Ctrl-C": signal.SIGINT,
    "by kill": signal.SIGTERM,
    "by kill -9": getattr(signal, "SIGKILL", signal.SIGTERM),
}
SIGNALS["by kill -9 with a fork left behind"] = SIGNALS["by kill -9"]


def _program(code: str, model: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, str(model)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=Path(server.__file__).parents[2],
    )


@pytest.mark.long
@posix_only
@pytest.mark.parametrize("ending", ENDINGS)
def test_the_server_ends_with_the_program_that_started_it(local_model: Path, ending: str) -> None:
    program = _program(PROGRAM.format(ending=ENDINGS[ending]), local_model)
    assert program.stdout is not None
    with program.stdout:
        base_url = program.stdout.readline().strip()
        assert base_url.startswith("http://127.0.0.1:")
        if ending in SIGNALS:
            assert _listens(base_url)
            program.send_signal(SIGNALS[ending])
        program.wait(30)
        assert _goes_away(base_url)


FORKS = """
import os, sys
from modelwire.local import server
running = server.LocalServer(sys.argv[1], n_ctx=512, n_parallel=1)
server._shared[running.model_path, 512, 1] = running
if os.fork() == 0:
    assert server._shared == {}
    sys.exit(7)                      # runs the fork's own exit handlers
_, status = os.wait()
print(os.waitstatus_to_exitcode(status), running.running, server._is_healthy(running.base_url), flush=True)
"""


@posix_only
def test_a_fork_that_ends_leaves_its_parents_server_running(local_model: Path) -> None:
    program = _program(FORKS, local_model)
    assert program.stdout is not None
    with program.stdout:
        assert program.stdout.read().split() == ["7", "True", "True"]
    assert program.wait(30) == 0


# ---------------------------------------------------------------- who may ask it


@pytest.mark.parametrize("method", ["OPTIONS", "POST"])
def test_a_web_page_of_another_origin_may_not_read_an_answer(
    local_server: str, method: str
) -> None:
    parts = urlsplit(local_server)
    connection = HTTPConnection(parts.hostname, parts.port, timeout=60)
    headers = {"content-type": "application/json", "origin": "https://evil.example"}
    try:
        connection.request(method, "/v1/chat/completions", json.dumps(BODY), headers)
        answer = connection.getresponse()
        answer.read()
    finally:
        connection.close()
    assert answer.getheader("access-control-allow-origin") not in ("*", "https://evil.example")


HOSTS = {
    "evil.example": 403,
    "evil.example:80": 403,
    "127.0.0.1.evil.example": 403,
    "localhost.evil.example:1": 403,
    "localhost": 200,
    "LOCALHOST:1234": 200,
    "127.0.0.1:80": 200,
    "[::1]:80": 200,
    "model.localhost": 200,
}


@pytest.mark.parametrize("host", HOSTS)
def test_a_page_whose_name_leads_here_is_refused(local_server: str, host: str) -> None:
    parts = urlsplit(local_server)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    try:
        connection.request("GET", "/v1/models", headers={"host": host})
        assert connection.getresponse().status == HOSTS[host]
    finally:
        connection.close()


def test_a_server_leaves_no_folder_behind(
    local_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with LocalServer(local_model, **SMALL):
        assert len(list(tmp_path.glob("modelwire-*"))) == 1
    assert list(tmp_path.glob("modelwire-*")) == []


def test_it_listens_on_this_machine_only(local_server: str) -> None:
    assert urlsplit(local_server).hostname == "127.0.0.1"


@pytest.mark.skipif(
    not os.path.isdir("/proc/self"), reason="the list of processes is read from /proc"
)
def test_the_list_of_processes_shows_no_key(
    local_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "canary")
    with LocalServer(local_model, **SMALL) as running:
        assert b"canary" not in Path(f"/proc/{running.pid}/cmdline").read_bytes()
