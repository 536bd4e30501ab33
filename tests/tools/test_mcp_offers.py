"""Resources and prompts of MCP servers, and the progress of their tools."""

from __future__ import annotations

import asyncio
import base64
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelwire import AIMessage, HumanMessage, run_tools
from modelwire.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from modelwire.errors import InvalidArgument, Timeout
from modelwire.testing import FakeMessagesListChatModel, ProviderServer
from modelwire.tools import ToolException, tool
from modelwire.tools.mcp import MCPTools

pytest.importorskip("mcp", reason="needs the extra `mcp`")

SUPPORT = Path(__file__).parents[1] / "support"
RAW = [sys.executable, str(SUPPORT / "raw_mcp_server.py")]
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MCPTools]:
    heard = tmp_path_factory.mktemp("asking") / "heard"
    with MCPTools([sys.executable, str(SUPPORT / "asking_mcp_server.py"), str(heard)]) as tools:
        yield tools


def test_resources_are_listed_over_all_pages_and_read_as_blocks(
    server: MCPTools, colour: Any
) -> None:
    found = colour.run(server.resources, server.aresources)
    assert [one.uri for one in found] == [
        "note://today",
        "image://sky",
        "sound://sea",
        "file://report",
    ]
    assert found[0].name == "today"
    blocks = [block for one in found for block in colour.run(one.read, one.aread)]
    assert blocks == [
        {"type": "text", "text": "Rain."},
        {"type": "image", "base64": encoded(b"png"), "mime_type": "image/png"},
        {"type": "audio", "base64": encoded(b"wav"), "mime_type": "audio/wav"},
        {"type": "file", "base64": encoded(b"pdf"), "mime_type": "application/pdf"},
    ]


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def test_a_block_of_a_resource_is_content_of_a_message(server: MCPTools) -> None:
    with ProviderServer(["x"]) as provider:
        content = [{"type": "text", "text": "What is it?"}, *server.read_resource("image://sky")]
        provider.model("anthropic").invoke([HumanMessage(content)])
        (request,) = provider.requests
    image = request.body["messages"][0]["content"][1]
    assert image["source"] == {"type": "base64", "media_type": "image/png", "data": encoded(b"png")}


def test_the_parameters_of_a_template_are_quoted(server: MCPTools, colour: Any) -> None:
    (template,) = colour.run(server.resource_templates, server.aresource_templates)
    assert template.parameters == ["city", "day"]
    assert template.uri(city="Bern/Biel", day="1 May") == "note://Bern%2FBiel/1%20May"
    values = {"city": "Bern", "day": "today"}
    blocks = colour.run(lambda: template.read(**values), lambda: template.aread(**values))
    assert blocks == [{"type": "text", "text": "Read note://Bern/today."}]


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"city": "Bern"}, "needs `day`"),
        ({"city": "Bern", "day": "1", "cty": "x"}, r"has no `cty`\. Did you mean `city`"),
        ({"city": 3, "day": "1"}, "`city` is a `int`"),
    ],
)
def test_values_that_do_not_fit_a_template_are_refused(
    server: MCPTools, values: dict[str, Any], text: str
) -> None:
    (template,) = server.resource_templates()
    with pytest.raises(InvalidArgument, match=text):
        template.read(**values)


def test_prompts_are_messages_for_a_model(server: MCPTools, colour: Any) -> None:
    (prompt,) = colour.run(server.prompts, server.aprompts)
    assert prompt.arguments == [
        {"name": "code", "description": None, "required": True},
        {"name": "style", "description": None, "required": False},
    ]
    messages = colour.run(lambda: prompt.messages(code="x=1"), lambda: prompt.amessages(code="x=1"))
    assert messages == [
        HumanMessage("Review x=1"),
        AIMessage("Gladly."),
        HumanMessage("Rain."),
        HumanMessage([{"type": "image", "base64": "cG5n", "mime_type": "image/png"}]),
    ]


@pytest.mark.parametrize(
    ("arguments", "text"), [({}, "needs `code`"), ({"code": "x", "stile": "y"}, "has no `stile`")]
)
def test_arguments_that_do_not_fit_a_prompt_are_refused(
    server: MCPTools, arguments: dict[str, str], text: str
) -> None:
    (prompt,) = server.prompts()
    with pytest.raises(InvalidArgument, match=text):
        prompt.messages(**arguments)


def test_a_server_without_resources_and_prompts_has_none(colour: Any) -> None:
    with MCPTools(RAW) as tools:
        assert colour.run(tools.resources, tools.aresources) == []
        assert colour.run(tools.resource_templates, tools.aresource_templates) == []
        assert colour.run(tools.prompts, tools.aprompts) == []
    with pytest.raises(ToolException, match="closed"):
        colour.run(tools.resources, tools.aresources)


def called(colour: Any, one: Any, **config: Any) -> Any:
    return colour.run(lambda: one.invoke({}, config=config), lambda: one.ainvoke({}, config=config))


def named(server: MCPTools, name: str) -> Any:
    return next(one for one in server if one.name == name)


def test_progress_reaches_the_handlers_of_the_call_with_its_run(
    server: MCPTools, colour: Any
) -> None:
    events: list[Any] = []

    class Handler(BaseCallbackHandler):
        def on_tool_start(self, *args: Any, **kwargs: Any) -> None:
            events.append(("start", kwargs["run_id"]))

        def on_tool_progress(self, progress: float, **kwargs: Any) -> None:
            about = kwargs["run_id"], kwargs["total"], kwargs["message"]
            events.append((progress, *about, threading.current_thread().name))

        def on_tool_end(self, *args: Any, **kwargs: Any) -> None:
            events.append("end")

    assert called(colour, named(server, "steps"), callbacks=[Handler()]) == "stepped"
    run_id = events[0][1]
    reports = [
        (1.0, run_id, 3.0, "step 1"),
        (2.0, run_id, 3.0, "step 2"),
        (3.0, run_id, 3.0, "step 3"),
    ]
    assert [event[:4] for event in events[1:-1]] == reports
    assert events[-1] == "end"
    assert not any("modelwire-mcp" in event[4] for event in events[1:-1])


def test_an_async_handler_runs_on_the_loop_of_the_call(server: MCPTools) -> None:
    loops: list[Any] = []

    class Handler(AsyncCallbackHandler):
        async def on_tool_progress(self, progress: float, **kwargs: Any) -> None:
            loops.append(asyncio.get_running_loop())

    async def main() -> Any:
        await named(server, "steps").ainvoke({}, config={"callbacks": [Handler()]})
        return asyncio.get_running_loop()

    assert loops == [] and asyncio.run(main()) in loops
    assert len(loops) == 3
    assert len(set(loops)) == 1


def test_without_a_handler_for_it_the_server_is_not_asked_to_report(
    server: MCPTools, colour: Any
) -> None:
    class Handler(BaseCallbackHandler):
        pass

    assert called(colour, named(server, "steps"), callbacks=[Handler()]) == "no token"
    assert called(colour, named(server, "steps")) == "no token"


def test_a_tools_own_handler_hears_of_progress_too(server: MCPTools, colour: Any) -> None:
    heard: list[float] = []

    class Handler(BaseCallbackHandler):
        def on_tool_progress(self, progress: float, **kwargs: Any) -> None:
            heard.append(progress)

    steps = named(server, "steps").model_copy(update={"callbacks": [Handler()]})
    called(colour, steps)
    assert heard == [1.0, 2.0, 3.0]


def test_a_call_that_reports_is_late_all_the_same(tmp_path: Path, colour: Any) -> None:
    class Handler(BaseCallbackHandler):
        def on_tool_progress(self, progress: float, **kwargs: Any) -> None: ...

    command = [sys.executable, str(SUPPORT / "asking_mcp_server.py"), str(tmp_path / "heard")]
    with MCPTools(command) as tools, pytest.raises(Timeout, match="`wait` did not finish"):
        called(colour, named(tools, "wait"), callbacks=[Handler()], timeout=0.3)


def test_a_tool_of_ones_own_reports_progress_too(colour: Any) -> None:
    heard: list[Any] = []

    class Handler(BaseCallbackHandler):
        def on_tool_progress(self, progress: float, **kwargs: Any) -> None:
            heard.append((progress, kwargs["total"], kwargs["message"]))

    @tool
    def copy(run_manager: Any) -> str:
        """Copy the files."""
        run_manager.on_tool_progress(1, total=2, message="half")
        return "copied"

    calls = [{"name": "copy", "args": {}, "id": "1"}]
    model = FakeMessagesListChatModel(responses=[AIMessage("", tool_calls=calls), AIMessage("ok")])
    run_tools(model, "go", [copy], config={"callbacks": [Handler()]})
    assert heard == [(1, 2, "half")]
