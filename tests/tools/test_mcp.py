"""The tools of a real MCP server, over stdio and over HTTP, through `bind_tools` and `run_tools`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from modelwire import AIMessage, arun_tools, run_tools
from modelwire.errors import ConnectFailed, InvalidArgument, MissingDependency, Timeout
from modelwire.testing import Answer, FakeMessagesListChatModel, ProviderServer
from modelwire.tools import ToolException, mcp

pytest.importorskip("mcp", reason="needs the extra `mcp`")

PROGRAM = Path(__file__).parents[1] / "support" / "mcp_server.py"
COMMAND = [sys.executable, "-W", "ignore", str(PROGRAM)]
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")


@contextlib.contextmanager
def _http_server() -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = subprocess.Popen(
        [*COMMAND, str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(600):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        program.kill()
        program.wait()


@pytest.fixture(scope="module")
def connected() -> Iterator[Callable[[str], mcp.MCPTools]]:
    """Give the tools of one server on each transport, which starts when it is first asked for."""
    with contextlib.ExitStack() as stack:

        @cache
        def start(transport: str) -> mcp.MCPTools:
            target: Any = COMMAND if transport == "stdio" else stack.enter_context(_http_server())
            return stack.enter_context(mcp.MCPTools(target, prefix="sky_"))

        yield start


@pytest.fixture(params=["stdio", "http"])
def tools(request: pytest.FixtureRequest, connected: Callable[[str], mcp.MCPTools]) -> mcp.MCPTools:
    return connected(request.param)


def _named(tools: Any, name: str) -> Any:
    return next(tool for tool in tools if tool.name == f"sky_{name}")


def test_the_model_reads_what_the_server_answered(tools: mcp.MCPTools, colour: Any) -> None:
    script = [
        Answer(tool_calls=[{"name": "sky_weather", "args": {"city": "Bern", "days": 2}}]),
        "It rains.",
    ]
    with ProviderServer(script) as server:
        model = server.model("anthropic")
        messages = colour.run(
            lambda: run_tools(model, "How is Bern?", tools),
            lambda: arun_tools(model, "How is Bern?", tools),
        )
        first, second = server.requests
    (listed,) = [tool for tool in first.body["tools"] if tool["name"] == "sky_weather"]
    assert listed["description"] == "Tell the weather of a city."
    assert listed["input_schema"]["properties"]["city"]["type"] == "string"
    assert listed["input_schema"]["required"] == ["city"]
    assert "Rain in Bern for 2 days" in str(second.body)
    assert messages[2].text == "Rain in Bern for 2 days"


def test_calls_of_one_answer_and_structured_results(tools: mcp.MCPTools, colour: Any) -> None:
    calls = [
        {"name": "sky_totals", "args": {"numbers": [1, 2]}, "id": "1"},
        {"name": "sky_photo", "args": {}, "id": "2"},
        {"name": "sky_fail", "args": {}, "id": "3"},
    ]
    model = FakeMessagesListChatModel(responses=[AIMessage("", tool_calls=calls), AIMessage("ok")])
    messages = colour.run(
        lambda: run_tools(model, "go", tools), lambda: arun_tools(model, "go", tools)
    )
    totals, photo, failed = messages[2:5]
    assert totals.artifact["structuredContent"] == {"sum": 3}
    assert photo.content[0]["type"] == "image"
    assert photo.content[0]["mime_type"] == "image/png"
    assert failed.status == "error"
    assert "the station is closed" in failed.text


def test_one_connection_serves_threads_and_loops(tools: mcp.MCPTools) -> None:
    found: list[Any] = []
    tool = _named(tools, "weather")
    threads = [
        threading.Thread(target=lambda: found.append(tool.invoke({"city": "A"}))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found += [asyncio.run(tool.ainvoke({"city": "A"})) for _ in range(2)]
    assert found == ["Rain in A for 1 days"] * 6


def test_what_the_server_lists_is_bound_as_it_is() -> None:
    import mcp as package

    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    listed = package.Tool(name="weather", description="Tell it.", input_schema=schema)
    with ProviderServer(["x"]) as server:
        bound: Any = server.model("openai").bind_tools([listed])
    assert bound.kwargs["tools"][0]["function"] == {
        "name": "weather",
        "description": "Tell it.",
        "parameters": schema,
    }
    with pytest.raises(InvalidArgument, match="MCPTools"):
        run_tools(FakeMessagesListChatModel(responses=[AIMessage("x")]), "go", [listed])


@pytest.mark.long
def test_the_command_gets_its_folder_and_variables_and_no_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    with mcp.MCPTools(COMMAND, cwd=tmp_path, env={"STATION": "north"}) as tools:
        place = next(tool for tool in tools if tool.name == "place")
        assert place.invoke({}) == f"{os.path.realpath(tmp_path)} north None"


@pytest.mark.long
def test_the_time_of_a_call_is_bounded() -> None:
    with mcp.MCPTools(COMMAND, timeout_s=0.2) as tools:
        slow = next(tool for tool in tools if tool.name == "slow")
        with pytest.raises(ToolException, match="did not answer"):
            slow.invoke({})


@pytest.mark.long
def test_a_server_that_goes_is_an_error_of_the_tool_and_close_still_ends(colour: Any) -> None:
    tools = mcp.MCPTools(COMMAND)
    leave, weather = (
        next(tool for tool in tools if tool.name == name) for name in ("leave", "weather")
    )
    for tool, arguments in ((leave, {}), (weather, {"city": "A"})):
        with pytest.raises(ToolException):
            colour.invoke(tool, arguments)
    tools.close()
    with pytest.raises(ToolException, match="closed"):
        weather.invoke({"city": "A"})


@pytest.mark.long
def test_close_ends_the_server_and_may_be_called_again() -> None:
    before = {thread.name for thread in threading.enumerate()}
    tools = mcp.MCPTools(COMMAND)
    tools.close()
    tools.close()
    assert {thread.name for thread in threading.enumerate()} <= before


@pytest.mark.parametrize(
    "server",
    [["/no/such/program"], [sys.executable, "-c", "raise SystemExit(3)"], "http://127.0.0.1:9/mcp"],
)
def test_a_server_that_does_not_answer_is_one_error(server: Any) -> None:
    with pytest.raises(ConnectFailed, match=r"The MCP server `.*` cannot be used: "):
        mcp.MCPTools(server)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"server": "python server.py"}, r"MCPTools\(\['python', 'server.py'\]\)"),
        ({"server": []}, "empty"),
        ({"server": ["x"], "headers": {"a": "b"}}, "`headers` are for"),
        ({"server": "http://x", "env": {"a": "b"}}, "`env` and `cwd` are for"),
        ({"server": 3}, "not a `int`"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidArgument, match=text):
        mcp.MCPTools(**arguments)


def test_without_the_extra_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mcp", None)
    with pytest.raises(MissingDependency, match=r"modelwire\[mcp\]"):
        mcp.MCPTools(["x"])


@contextlib.contextmanager
def refusing_server() -> Iterator[tuple[str, list[str]]]:
    """Give the URL of a server that refuses every request, and the list of those it got."""
    seen: list[str] = []

    class Refusing(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            seen.append(self.headers.get("authorization", ""))
            self.send_response(401)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/mcp", seen
        server.shutdown()


def test_headers_go_with_every_request() -> None:
    with refusing_server() as (url, seen), pytest.raises(ConnectFailed):
        mcp.MCPTools(url, headers={"authorization": "Bearer abc"})
    assert seen
    assert set(seen) == {"Bearer abc"}


def test_a_server_that_does_not_answer_is_given_up_at_once_when_its_time_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("modelwire.tools.mcp.connection.CONNECT_S", 0.2)
    threads = threading.active_count()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with pytest.raises(ConnectFailed, match=r"no answer in 0\.2 s"):
            mcp.MCPTools(f"http://127.0.0.1:{silent.getsockname()[1]}/mcp")
        assert threading.active_count() == threads


RAW = [sys.executable, str(Path(__file__).parents[1] / "support" / "raw_mcp_server.py")]


@pytest.fixture(scope="module")
def raw_tools() -> Iterator[mcp.MCPTools]:
    with mcp.MCPTools(RAW) as tools:
        yield tools


def tool_of(tools: mcp.MCPTools, name: str) -> Any:
    return next(tool for tool in tools if tool.name == name)


def call_tool(colour: Any, tool: Any, args: dict[str, Any] | None = None, **options: Any) -> Any:
    call = {"type": "tool_call", "name": tool.name, "args": args or {}, "id": "1"}
    return colour.run(lambda: tool.invoke(call, **options), lambda: tool.ainvoke(call, **options))


def test_names_are_those_that_every_provider_takes_and_each_is_there_once(
    raw_tools: mcp.MCPTools, colour: Any
) -> None:
    names = [tool.name for tool in raw_tools]
    assert names[:4] == ["files_read", "files_read_2", "files_read_3", "x" * 64]
    assert call_tool(colour, raw_tools[0]).text == "files.read {}"
    assert call_tool(colour, raw_tools[1]).text == "files/read {}"
    assert call_tool(colour, raw_tools[2]).text == "files_read {}"


def test_an_argument_may_be_called_self_or_config(raw_tools: mcp.MCPTools, colour: Any) -> None:
    args = {"self": "a", "config": "b", "run_manager": "c"}
    answer = call_tool(colour, tool_of(raw_tools, "echo"), args)
    assert answer.text == 'echo {"config": "b", "run_manager": "c", "self": "a"}'


def test_structured_content_alone_is_the_answer(raw_tools: mcp.MCPTools, colour: Any) -> None:
    assert call_tool(colour, tool_of(raw_tools, "structured")).text == '{"sum":3}'


@pytest.mark.long
@pytest.mark.parametrize("stderr", ["io.StringIO()", "None"])
def test_a_program_without_a_stderr_of_its_own_starts_servers_all_the_same(stderr: str) -> None:
    """As a notebook is. The package binds `sys.stderr` when it is imported, hence a process of its own."""
    program = (
        f"import io, sys; sys.stderr = {stderr}; sys.__stderr__ = None\n"
        "from modelwire.tools.mcp import MCPTools\n"
        f"with MCPTools({RAW!r}) as tools: print(tools[4].invoke({{}}))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "echo {}\n"


def test_a_link_to_a_resource_says_what_it_is(raw_tools: mcp.MCPTools, colour: Any) -> None:
    text = call_tool(colour, tool_of(raw_tools, "linked")).text
    assert text == "Resource: notes, file:///notes.md, text/markdown, What was said."


def test_bytes_on_stdout_do_not_end_the_connection(raw_tools: mcp.MCPTools, colour: Any) -> None:
    for _ in range(2):
        assert call_tool(colour, tool_of(raw_tools, "noisy")).text == "noisy {}"


def test_the_timeout_of_a_config_ends_a_call(colour: Any) -> None:
    with mcp.MCPTools(RAW) as tools:
        began = time.monotonic()
        with pytest.raises(Timeout, match="`slow` did not finish within"):
            call_tool(colour, tool_of(tools, "slow"), config={"timeout": 0.3})
        assert time.monotonic() - began < 10


def test_async_with_waits_for_the_server_without_blocking_the_loop() -> None:
    async def main() -> int:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.01)
                ticks += 1

        ticking = asyncio.create_task(tick())
        async with mcp.MCPTools([*RAW, "1"]) as tools:
            assert len(tools) == 9
            ticking.cancel()
        return ticks

    assert asyncio.run(main()) > 20


def test_a_server_that_does_not_start_is_told_where_it_is_entered() -> None:
    async def main() -> None:
        async with mcp.MCPTools([sys.executable, "-c", "raise SystemExit(1)"]):
            pass

    with pytest.raises(ConnectFailed):
        asyncio.run(main())


@pytest.mark.parametrize(
    ("server", "shown"),
    [
        ([sys.executable, "-c", "1/0", "--token", "sk-secret"], f"`{sys.executable} ...`"),
        (["no-such-server", "--token=sk-secret"], "`no-such-server ...`"),
        (["no-such-server", "-y", "a/server", "KEY=sk-secret"], "`no-such-server -y a/server ...`"),
        ("http://me:sk-secret@127.0.0.1:9/mcp?key=sk-secret", "`http://127.0.0.1:9/mcp`"),
    ],
)
def test_an_error_shows_no_secret_of_a_server(server: Any, shown: str) -> None:
    with pytest.raises(ConnectFailed) as caught:
        mcp.MCPTools(server)
    assert shown in str(caught.value)
    assert "sk-secret" not in str(caught.value)


def _spans_of(work: Any) -> list[Any]:
    """Return the spans of `work`, and check them by the conventions of OpenTelemetry."""
    exporting = pytest.importorskip("opentelemetry.sdk.trace.export")
    memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")
    from opentelemetry.sdk.trace import TracerProvider

    from modelwire import otel
    from tests.support import genai_conventions as conventions

    exporter, provider = memory.InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(exporting.SimpleSpanProcessor(exporter))
    otel.instrument(tracer_provider=provider)
    try:
        work()
    finally:
        otel.uninstrument()
    spans = list(exporter.get_finished_spans())
    assert [one for span in spans for one in conventions.violations(span, with_earlier=True)] == []
    return spans


def test_a_span_of_a_tool_has_the_attributes_of_its_server(
    tools: mcp.MCPTools, colour: Any
) -> None:
    weather = _named(tools, "weather")
    call = {"city": "Bern", "days": 2}
    first, second = _spans_of(lambda: [colour.invoke(weather, call) for _ in range(2)])
    facts, later = dict(first.attributes), dict(second.attributes)
    assert facts["mcp.method.name"] == "tools/call"
    assert facts["mcp.protocol.version"] >= "2025-06-18"
    assert int(facts["jsonrpc.request.id"]) < int(later["jsonrpc.request.id"])
    if facts["network.transport"] == "tcp":
        assert facts["server.address"] == "127.0.0.1"
        assert isinstance(facts["server.port"], int)
    else:
        assert facts["network.transport"] == "pipe"
        assert "mcp.session.id" not in facts


def test_calls_side_by_side_have_their_own_request_ids(tools: mcp.MCPTools, colour: Any) -> None:
    calls = [{"city": "Bern", "days": days} for days in range(1, 6)]
    spans = _spans_of(lambda: colour.batch(_named(tools, "weather"), calls))
    assert len({span.attributes["jsonrpc.request.id"] for span in spans}) == 5


def test_the_session_of_a_server_is_in_the_span(colour: Any) -> None:
    with _session_server() as url, mcp.MCPTools(url) as tools:
        [span] = _spans_of(lambda: colour.invoke(tools[0], {}))
    assert span.attributes["mcp.session.id"] == "session-1"
    assert span.attributes["jsonrpc.request.id"]


@contextlib.contextmanager
def _session_server() -> Iterator[str]:
    """Serve one tool over HTTP, with a session, as protocol 2025-06-18 has it."""

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            message = json.loads(self.rfile.read(int(self.headers["content-length"])))
            results = {
                "initialize": {
                    "protocolVersion": "2025-06-18",
                    "capabilities": {"tools": {}},
                    "serverInfo": {"name": "s", "version": "1"},
                },
                "tools/list": {"tools": [{"name": "t", "inputSchema": {"type": "object"}}]},
                "tools/call": {"content": [{"type": "text", "text": "done"}]},
            }
            answer: dict[str, Any] = {"jsonrpc": "2.0", "id": message.get("id")}
            if message["method"] in results:
                answer["result"] = results[message["method"]]
            else:
                answer["error"] = {"code": -32601, "message": "no such method"}
            body = json.dumps(answer).encode() if "id" in message else b""
            self.send_response(200 if body else 202)
            self.send_header("content-type", "application/json")
            if message["method"] == "initialize":
                self.send_header("mcp-session-id", "session-1")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            self.send_error(405)

        def do_DELETE(self) -> None:
            self.send_error(405)

        def log_message(self, *about: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/mcp"
        server.shutdown()
