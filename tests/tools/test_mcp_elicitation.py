"""Questions of MCP servers to the user: forms and pages, over both generations of the protocol."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from modelwire.errors import InvalidArgument
from modelwire.tools import ToolException
from modelwire.tools.mcp import Elicitation, MCPTools

pytest.importorskip("mcp", reason="needs the extra `mcp`")

SUPPORT = Path(__file__).parents[1] / "support"
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
PAGE = "https://pay.example/order/7"


@contextmanager
def asking(tmp_path: Path, **options: Any) -> Iterator[MCPTools]:
    command = [sys.executable, str(SUPPORT / "asking_mcp_server.py"), str(tmp_path / "heard")]
    with MCPTools(command, **options) as tools:
        yield tools


def called(colour: Any, tools: MCPTools, name: str, **arguments: Any) -> Any:
    tool = next(tool for tool in tools if tool.name == name)
    return colour.run(lambda: tool.invoke(arguments), lambda: tool.ainvoke(arguments))


def test_a_form_is_answered_with_typed_values_and_the_defaults(tmp_path: Path, colour: Any) -> None:
    seen: list[Elicitation] = []

    def elicit(question: Elicitation) -> Any:
        seen.append(question)
        return question.accept({"name": "Ada", "window": True})

    with asking(tmp_path, elicit=elicit) as tools:
        answer = json.loads(called(colour, tools, "ask"))
    assert answer == {"action": "accept", "content": {"days": 3, "name": "Ada", "window": True}}
    (question,) = seen
    assert question.message == "Who travels?"
    assert question.url is None
    assert question.schema is not None
    assert question.schema["properties"]["days"] == {"type": "integer", "default": 3}
    assert "asking_mcp_server.py" in question.server


@pytest.mark.parametrize("action", ["decline", "cancel"])
def test_a_user_may_say_no_or_close_the_question(tmp_path: Path, colour: Any, action: str) -> None:
    with asking(tmp_path, elicit=lambda question: getattr(question, action)()) as tools:
        assert json.loads(called(colour, tools, "ask")) == {"action": action}


def test_a_page_is_answered_without_values(tmp_path: Path, colour: Any) -> None:
    seen: list[Elicitation] = []

    def elicit(question: Elicitation) -> Any:
        seen.append(question)
        return question.accept()

    with asking(tmp_path, elicit=elicit) as tools:
        assert json.loads(called(colour, tools, "ask_url")) == {"action": "accept"}
    assert [(one.url, one.schema) for one in seen] == [(PAGE, None)]


def test_a_call_that_needs_a_page_first_is_called_again_when_the_user_agrees(
    tmp_path: Path, colour: Any
) -> None:
    with asking(tmp_path, elicit=lambda question: question.accept()) as tools:
        assert called(colour, tools, "need_url") == "hello {}"


def test_a_page_that_the_user_does_not_visit_is_an_error_that_names_it(
    tmp_path: Path, colour: Any
) -> None:
    with (
        asking(tmp_path, elicit=lambda question: question.decline()) as tools,
        pytest.raises(ToolException, match=r"pay\.example/order/7"),
    ):
        called(colour, tools, "need_url")


def test_without_a_function_the_server_learns_that_it_cannot_ask(
    tmp_path: Path, colour: Any
) -> None:
    with asking(tmp_path) as tools:
        assert "not supported" in called(colour, tools, "ask")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({}, "'name' is a required property"),
        ({"name": "Ada", "days": "three"}, "`days`: 'three' is not of type 'integer'"),
        ({"name": "Ada", "class": "third"}, "`class`: 'third' is not one of"),
    ],
)
def test_values_that_do_not_match_the_schema_are_refused_before_they_go_out(
    tmp_path: Path, content: dict[str, Any], text: str
) -> None:
    refused: list[str] = []

    def elicit(question: Elicitation) -> Any:
        try:
            return question.accept(content)
        except InvalidArgument as exc:
            refused.append(str(exc))
            return question.cancel()

    with asking(tmp_path, elicit=elicit) as tools:
        tool = next(tool for tool in tools if tool.name == "ask")
        assert json.loads(tool.invoke({})) == {"action": "cancel"}
    assert text in refused[0]


@pytest.mark.parametrize(
    "elicit", [lambda question: "yes", lambda question: 1 / 0], ids=["a text", "an error"]
)
def test_a_function_that_fails_is_an_error_for_the_server_and_a_line_in_the_log(
    tmp_path: Path, elicit: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with asking(tmp_path, elicit=elicit) as tools:
        tool = next(tool for tool in tools if tool.name == "ask")
        assert "cannot ask the user" in tool.invoke({})
    assert "The `elicit` function of" in caplog.text


def test_an_async_function_runs_on_the_loop_of_the_program(tmp_path: Path) -> None:
    loops: list[Any] = []

    async def elicit(question: Elicitation) -> Any:
        loops.append(asyncio.get_running_loop())
        return question.accept({"name": "Ada"})

    async def main() -> str:
        loops.append(asyncio.get_running_loop())
        command = [sys.executable, str(SUPPORT / "asking_mcp_server.py"), str(tmp_path / "heard")]
        async with MCPTools(command, elicit=elicit) as tools:
            tool = next(tool for tool in tools if tool.name == "ask")
            return str(await tool.ainvoke({}))

    assert json.loads(asyncio.run(main()))["content"]["name"] == "Ada"
    assert loops[0] is loops[1]


@pytest.mark.long
def test_the_time_of_a_call_stops_while_the_user_thinks(tmp_path: Path, colour: Any) -> None:
    def elicit(question: Elicitation) -> Any:
        time.sleep(3.5)
        return question.accept({"name": "Ada"})

    with asking(tmp_path, elicit=elicit, timeout_s=3.0) as tools:
        assert json.loads(called(colour, tools, "ask"))["action"] == "accept"


def test_a_question_that_the_server_withdraws_is_cancelled(tmp_path: Path) -> None:
    cancelled = threading.Event()

    async def elicit(question: Elicitation) -> Any:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    with asking(tmp_path, elicit=elicit) as tools:
        tool = next(tool for tool in tools if tool.name == "withdraw")
        assert tool.invoke({}) == "withdrawn"
        assert cancelled.wait(30)
        hello = next(tool for tool in tools if tool.name == "hello")
        assert hello.invoke({}) == "hello {}"


def test_a_user_who_never_answers_does_not_keep_the_connection_open(tmp_path: Path) -> None:
    asked, forever = threading.Event(), threading.Event()

    def elicit(question: Elicitation) -> Any:
        asked.set()
        forever.wait(120)
        return question.decline()

    with asking(tmp_path, elicit=elicit) as tools:
        tool = next(tool for tool in tools if tool.name == "ask")
        failed: list[BaseException] = []

        def call() -> None:
            try:
                tool.invoke({})
            except ToolException as exc:
                failed.append(exc)

        thread = threading.Thread(target=call, daemon=True)
        thread.start()
        assert asked.wait(30)
        tools.close()
        thread.join(30)
        assert not thread.is_alive()
    forever.set()
    assert len(failed) == 1


@pytest.mark.long
def test_a_server_of_the_newest_protocol_asks_too(colour: Any) -> None:
    """Since 2026-07-28 a question comes as the answer to a call, which is repeated with the user's answer."""
    command = [sys.executable, "-W", "ignore", str(SUPPORT / "mcp_server.py")]
    with MCPTools(command, elicit=lambda question: question.accept({"city": "Bern"})) as tools:
        assert called(colour, tools, "ask_city") == "accept Bern"
