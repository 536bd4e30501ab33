"""MCP servers that are silent, crash, print noise or change their tools; and calls that are given up."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from modelwire import AIMessage, arun_tools, run_tools
from modelwire.errors import ConnectFailed, Timeout
from modelwire.testing import FakeMessagesListChatModel
from modelwire.tools import ToolException
from modelwire.tools.mcp import MCPTools

pytest.importorskip("mcp", reason="needs the extra `mcp`")

SUPPORT = Path(__file__).parents[1] / "support"
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
# No test waits as long as this; it only ends a test that has failed.
LONG_S = 60.0


@contextmanager
def asking(tmp_path: Path, **options: Any) -> Iterator[MCPTools]:
    command = [sys.executable, str(SUPPORT / "asking_mcp_server.py"), str(tmp_path / "heard")]
    with MCPTools(command, **options) as tools:
        yield tools


def named(tools: MCPTools, name: str) -> Any:
    return next(tool for tool in tools if tool.name == name)


def called(colour: Any, tools: MCPTools, name: str, **arguments: Any) -> Any:
    tool = named(tools, name)
    return colour.run(lambda: tool.invoke(arguments), lambda: tool.ainvoke(arguments))


def until(condition: Any) -> bool:
    end = time.monotonic() + LONG_S
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return bool(condition())


@pytest.mark.parametrize("fault", ["mute", "crash"])
def test_a_silent_or_crashed_server_is_an_error_of_its_call_and_the_others_go_on(
    tmp_path: Path, colour: Any, fault: str
) -> None:
    calls = [
        {"name": f"a_{fault}", "args": {}, "id": "1"},
        {"name": "b_hello", "args": {"to": "Bern"}, "id": "2"},
    ]
    model = FakeMessagesListChatModel(responses=[AIMessage("", tool_calls=calls), AIMessage("ok")])
    with (
        asking(tmp_path, prefix="a_", timeout_s=1.0) as broken,
        asking(tmp_path, prefix="b_", timeout_s=LONG_S) as well,
    ):
        both = [*broken, *well]
        messages = colour.run(
            lambda: run_tools(model, "go", both), lambda: arun_tools(model, "go", both)
        )
    failed, answered = messages[2:4]
    assert failed.status == "error"
    assert "did not answer" in failed.text
    assert answered.text == 'hello {"to": "Bern"}'


@pytest.mark.long
def test_a_call_is_over_in_time_although_the_server_does_not_even_read(
    tmp_path: Path, colour: Any
) -> None:
    with asking(tmp_path, timeout_s=0.5) as tools:
        with pytest.raises(ToolException, match=r"no answer in 0\.5 s"):
            called(colour, tools, "mute")
        for _ in range(3):  # more than a pipe holds
            with pytest.raises(ToolException, match=r"no answer in 0\.5 s"):
                called(colour, tools, "hello", text="x" * 200_000)


def test_calls_that_wait_when_the_connection_is_closed_end(tmp_path: Path) -> None:
    with asking(tmp_path) as tools:
        wait = named(tools, "wait")
        failed: list[BaseException] = []

        def call() -> None:
            with suppress(AssertionError):
                with pytest.raises(ToolException) as caught:
                    wait.invoke({})
                failed.append(caught.value)

        threads = [threading.Thread(target=call, daemon=True) for _ in range(3)]
        for thread in threads:
            thread.start()
        assert until(lambda: len(tools._connection._clocks) == 3)
        tools.close()
        for thread in threads:
            thread.join(LONG_S)
    assert len(failed) == 3


def heard(tmp_path: Path) -> list[dict[str, Any]]:
    lines = (tmp_path / "heard").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def is_cancelled(tmp_path: Path) -> bool:
    return any(message["method"] == "notifications/cancelled" for message in heard(tmp_path))


def test_a_cancelled_call_is_cancelled_at_the_server(tmp_path: Path) -> None:
    async def main() -> str:
        command = [sys.executable, str(SUPPORT / "asking_mcp_server.py"), str(tmp_path / "heard")]
        async with MCPTools(command) as tools:
            call = asyncio.create_task(named(tools, "wait").ainvoke({}))
            assert await asyncio.to_thread(until, lambda: (tmp_path / "heard.wait").exists())
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            answer: str = await named(tools, "hello").ainvoke({})
            return answer

    assert asyncio.run(main()) == "hello {}"
    assert is_cancelled(tmp_path)


def test_a_cancelled_call_of_a_connection_that_closes_logs_no_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with asking(tmp_path) as tools:
        connection = tools._connection
        call = connection.submit(lambda client: client.call_tool("wait", {}))
        assert until(lambda: (tmp_path / "heard.wait").exists())
        connection._is_closing = True  # as `close` does first, in another thread
        call.cancel()
    del call, connection, tools
    gc.collect()
    assert "never retrieved" not in caplog.text


def test_a_call_that_is_late_is_cancelled_at_the_server(tmp_path: Path, colour: Any) -> None:
    with asking(tmp_path) as tools:
        wait = named(tools, "wait")
        late = {"config": {"timeout": 1.0}}
        with pytest.raises(Timeout, match="`wait` did not finish within"):
            colour.run(lambda: wait.invoke({}, **late), lambda: wait.ainvoke({}, **late))
        assert called(colour, tools, "hello") == "hello {}"
    assert is_cancelled(tmp_path)


def test_the_list_of_tools_follows_the_server(tmp_path: Path, colour: Any) -> None:
    with asking(tmp_path) as tools:
        names = [tool.name for tool in tools]
        assert "hello" in names
        assert called(colour, tools, "grow") == "grown"
        new = f"tool{len(names)}_new"
        assert until(lambda: new in [tool.name for tool in tools])
        assert "hello" not in [tool.name for tool in tools]
        assert called(colour, tools, new) == "hello {}"


@pytest.mark.long
def test_a_server_of_the_newest_protocol_is_followed_too(colour: Any) -> None:
    command = [sys.executable, "-W", "ignore", str(SUPPORT / "mcp_server.py")]
    with MCPTools(command) as tools:
        assert called(colour, tools, "grow") == "grown"
        assert until(lambda: "grown_tool" in [tool.name for tool in tools])


NOISE = """
import json, sys
out = sys.stdout.buffer
for line in sys.stdin:
    message = json.loads(line)
    out.write(b"\\xff\\xfe loading\\nplain noise\\n\\n")
    method, result = message["method"], {}
    if method == "initialize":
        result = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
                  "serverInfo": {"name": "n", "version": "1"}}
    if method == "tools/list":
        result = {"tools": [{"name": "hello", "inputSchema": {"type": "object"}}]}
    if method == "tools/call":
        result = {"content": [{"type": "text", "text": "hello"}]}
    if "id" in message:
        out.write(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode() + b"\\n")
    out.flush()
"""


def test_what_is_not_a_message_is_skipped_with_one_warning(
    colour: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with MCPTools([sys.executable, "-c", NOISE]) as tools:
        for _ in range(3):
            assert called(colour, tools, "hello") == "hello"
    warnings = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert [one.name for one in warnings] == ["modelwire.tools"]
    assert "not a message of the protocol" in warnings[0].getMessage()


@contextmanager
def http_server(*, dies_in: str | None) -> Iterator[str]:
    """Yield the URL of a server that breaks the connection in calls of the tool `dies_in`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            message = json.loads(self.rfile.read(int(self.headers["content-length"])))
            method, result = message["method"], {}
            if method == "initialize":
                result = {
                    "protocolVersion": "2025-11-25",
                    "capabilities": {"tools": {}},
                    "serverInfo": {"name": "h", "version": "1"},
                }
            if method == "tools/list":
                schema = {"type": "object"}
                result = {"tools": [{"name": n, "inputSchema": schema} for n in ("well", "broken")]}
            if method == "tools/call":
                if message["params"]["name"] == dies_in:
                    self.close_connection = True
                    self.connection.close()
                    return
                result = {"content": [{"type": "text", "text": "hello"}]}
            body = json.dumps(
                {"jsonrpc": "2.0", "id": message.get("id"), "result": result}
            ).encode()
            self.send_response(200 if "id" in message else 202)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body) if "id" in message else 0))
            self.end_headers()
            self.wfile.write(body if "id" in message else b"")

        def do_GET(self) -> None:
            self.send_response(405)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *args: Any) -> None:
            pass

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/mcp"
        server.shutdown()


def test_a_broken_http_connection_is_an_error_of_that_call_only(colour: Any) -> None:
    with http_server(dies_in="broken") as url, MCPTools(url, timeout_s=20) as tools:
        began = time.monotonic()
        with pytest.raises(ToolException, match="did not answer"):
            called(colour, tools, "broken")
        assert time.monotonic() - began < 15
        assert called(colour, tools, "well") == "hello"


def test_the_log_of_another_package_shows_no_secret_of_a_url(
    colour: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with http_server(dies_in=None) as url:
        secret = f"{url.replace('//', '//me:sk-secret@')}?key=sk-secret"
        with MCPTools(secret) as tools:
            assert called(colour, tools, "well") == "hello"
    text = caplog.text + "".join(map(repr, (record.args for record in caplog.records)))
    assert url in text
    assert "sk-secret" not in text


def test_a_page_that_is_no_mcp_server_is_an_error_with_its_status() -> None:
    class Page(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_error(503)

        def log_message(self, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(ConnectFailed, match="the server answered 503 Service Unavailable"):
            MCPTools(f"http://127.0.0.1:{server.server_port}/mcp")
        server.shutdown()
