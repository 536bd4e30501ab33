"""Every example runs as a user runs it, and shows what it says; so do the README's first lines."""

from __future__ import annotations

import ast
import asyncio
import importlib
import inspect
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from support.terminal import Terminal
from support.volume import node_count

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
# The most nodes of an example's syntax tree, by its name.
MOST_NODES = {"quickstart": 574, "stand_in": 432, "approval": 560}
MOST_NODES_OF_OTHERS = 360

# What each example prints against its stand-in, in this order.
SHOWS = {
    "agent_loop": [
        "-> in_stock({'thing': 'violin'})",
        "-> delivery_days({'city': 'Bern'})",
        "<- in_stock",
        "The violin comes in",
    ],
    "back_pressure": [
        "stream, read slowly",
        "25: taken 5, made 5",
        "astream, read slowly",
        "25: taken 5, made 5",
    ],
    "batch": [
        "France: The capital of France is Paris.",
        "China: The capital of China is Beijing.",
        "str: The capital of Japan is Tokyo.",
        "MissingVariable: ",
        "batch_as_completed",
        "The capital of Egypt is Cairo.",
    ],
    "budgeted_agent": [
        "stopped: The budget is used up: its 5 calls are made",
        "budget: ",
        "5 of 5 calls",
    ],
    "cancel": [
        "given up",
        "ended with CancelledError",
        "wait_for raised TimeoutError",
        "left after 5 pieces",
        "once",
        "upon",
        "ended after 5 words",
    ],
    "images": [
        "a picture of ",
        " bytes, image/png",
        "It is red on the left and blue on the right.",
    ],
    "many_streams": ["A violin is a thing", "streams in"],
    "progress": [
        "0/6 calls, 1 tokens",
        "████████████████████ 6/6 calls, ",
        "A harbour is a thing of many words.",
    ],
    "retrieval_events": [
        "on_chain_start         RunnableSequence",
        "on_retriever_start     search",
        "on_retriever_end       search",
        "on_prompt_start        ChatPromptTemplate",
        "on_prompt_end",
        "on_chat_model_start    StandIn",
        "on_chat_model_stream   StandIn",
        "on_parser_stream       StrOutputParser",
        "on_chat_model_end      StandIn",
        "on_parser_end          StrOutputParser",
        "on_chain_end           RunnableSequence",
    ],
    "server_sent_events": [
        "text/event-stream",
        'data: {"text": "You "}',
        'data: {"text": "violin?"}',
        "event: end",
    ],
    "stream_log": [
        "replace (all)",
        "add /logs/ChatPromptTemplate",
        "add /logs/StandIn/streamed_output/-",
        "add /streamed_output/-",
        "the parts that ran: ChatPromptTemplate, StandIn, StrOutputParser",
        "the answer: A compass shows where north is.",
    ],
    "structured": ["Review {", '"points": 88', "served too warm"],
    "timeout": [
        "what came in time",
        "Timeout: ",
        "within the 0.3 s",
        "harbour: Timeout",
        "lantern: str, ",
    ],
    "two_chains": [
        "Lisbon",
        "worth every minute of it.",
        "Worth Every Minute Of It.",
        "6 rows: ",
        "one by one",
    ],
}
# Those with a test of their own below, and the model they all share.
OTHERS = {
    "approval",
    "batch_timings",
    "chat",
    "mcp_tools",
    "notebook",
    "quickstart",
    "stand_in",
    "streamlit_page",
}
IN_TESTS_LANGCHAIN = {"langchain_rag", "langgraph_agent"}


def _run(*arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        cwd=ROOT,
        env=os.environ | {"PYTHONIOENCODING": "utf-8"} | environment,
    )


def _in_order(expected: list[str], text: str) -> None:
    at = 0
    for piece in expected:
        found = text.find(piece, at)
        assert found >= 0, f"{piece!r} is not in what follows {text[:at][-80:]!r}:\n{text[at:]}"
        at = found + len(piece)


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Import an example by its name, with the examples' folder on the path as when it is run."""
    before = {*sys.modules}
    monkeypatch.syspath_prepend(str(EXAMPLES))
    yield importlib.import_module
    for name in {path.stem for path in EXAMPLES.glob("*.py")} - before:
        sys.modules.pop(name, None)


def test_every_example_is_run_by_a_test() -> None:
    found = {path.stem for path in EXAMPLES.iterdir() if path.suffix in (".py", ".ipynb")}
    assert found == SHOWS.keys() | OTHERS | IN_TESTS_LANGCHAIN


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_an_example_says_what_it_shows_and_is_short(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(source))
    assert node_count(ast.parse(source)) <= MOST_NODES.get(path.stem, MOST_NODES_OF_OTHERS)


@pytest.mark.parametrize("name", sorted(SHOWS))
def test_an_example_runs_against_its_stand_in(name: str) -> None:
    done = _run(f"examples/{name}.py")
    assert done.returncode == 0, done.stderr
    _in_order(SHOWS[name], done.stdout)
    assert done.stderr == ""


def test_the_timings_are_a_table_of_four_rows() -> None:
    done = _run("examples/batch_timings.py")
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()[2:]]
    assert [row[0] for row in rows] == ["1", "5", "10", "20"]
    # Twenty answers one by one, each after a pause of 0.04 s, cannot take less than that, however fast the machine.
    assert min(float(rows[0][1]), float(rows[0][3])) >= 0.8


def test_the_table_needs_no_pandas(tmp_path: Path) -> None:
    (tmp_path / "pandas.py").write_text("raise ImportError('not here')", encoding="utf-8")
    done = _run("examples/two_chains.py", PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
    _in_order(
        ["Lisbon  worth every minute of it.", "Worth Every Minute Of It.", "Perth", "6 rows: "],
        done.stdout,
    )


def test_the_chat_keeps_the_conversation() -> None:
    done = _run("examples/chat.py", stdin="hello\n\nand again\n")
    assert done.returncode == 0, done.stderr
    _in_order(
        [
            "you> hello",
            "You said: hello",
            "you> and again",
            "You said: and again",
            "5 messages in all",
        ],
        done.stdout,
    )


@pytest.mark.long
def test_the_tools_of_an_mcp_server_are_called() -> None:
    pytest.importorskip("mcp", reason="needs the extra `mcp`")
    done = _run("-W", "default", "examples/mcp_tools.py")
    assert done.returncode == 0, done.stderr
    _in_order(
        ["The server has: ships", "human: Which", "ai: ships", "Sagres", "ai: Two: Santa Maria"],
        done.stdout,
    )


def test_an_agent_asks_before_it_pays_and_pays_nothing_twice(tmp_path: Path) -> None:
    journal = tmp_path / "bills.journal"
    arguments = ("examples/approval.py", "--journal", str(journal))
    done = _run(*arguments)
    assert done.stdout == "I have done what you allowed.\n", done.stderr  # nobody was there
    journal.unlink()

    def at_a_terminal(*typed: tuple[str, str]) -> str:
        screen = Terminal(*arguments, program=[sys.executable], cwd=str(ROOT))
        for question, answer in typed:
            screen.until(question)
            screen.type(f"{answer}\r")
        try:
            return screen.rest()
        finally:
            screen.close()

    shown = at_a_terminal(
        ("water'})? yes, later, or why not:", "later"),
        ("power'})? yes, later, or why not:", "yes"),
        ("is open: again, paid, or leave it?", ""),
    )
    assert "Start the program again" in shown
    shown = at_a_terminal(("water'})? yes, later, or why not:", "yes"))
    assert "*** 48 euros are paid for water ***" in shown
    assert "power ***" not in shown
    assert "I have done what you allowed." in shown
    assert "***" not in at_a_terminal()


def test_the_model_may_be_named_on_the_line_or_in_the_environment() -> None:
    for done in (
        _run("examples/batch.py", "nobody:x"),
        _run("examples/batch.py", MODEL="nobody:x"),
    ):
        assert done.returncode == 1
        assert "errors.UnknownModel: `nobody:x`" in done.stderr


def test_the_notebooks_cells_await_in_the_running_loop(
    example: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = json.loads((EXAMPLES / "notebook.ipynb").read_text(encoding="utf-8"))["cells"]

    async def run_all() -> None:
        names: dict[str, Any] = {"__name__": "__main__"}
        for number, cell in enumerate(cells):
            if cell["cell_type"] != "code":
                continue
            assert not cell["outputs"], "a notebook is kept without what it printed"
            source = "".join(cell["source"])
            code = compile(source, f"cell {number}", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            waiting = eval(code, names)
            if inspect.isawaitable(waiting):
                await waiting

    asyncio.run(run_all())
    _in_order(
        [
            f"A {thing} is a thing of many words."
            for thing in ("violin", "volcano", "compass", "glacier", "lantern")
        ],
        capsys.readouterr().out,
    )


@pytest.mark.long  # starts a kernel
def test_the_notebook_runs_in_jupyter_and_shows_what_it_says() -> None:
    pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    # In a process of its own: the kernel's client brings an event loop, sockets and warnings.
    script = """
import json, sys
import nbformat
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec
from nbclient import NotebookClient
notebook = nbformat.read("examples/notebook.ipynb", 4)
manager = AsyncKernelManager()
manager._kernel_spec = KernelSpec(argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"])
NotebookClient(notebook, km=manager, timeout=300, resources={"metadata": {"path": "examples"}}).execute()
print(json.dumps([output for cell in notebook.cells for output in cell.get("outputs", ())]))
"""
    done = _run("-W", "default", "-c", script)
    assert done.returncode == 0, done.stderr
    outputs = json.loads(done.stdout.splitlines()[-1])
    pages = ["".join(output.get("data", {}).get("text/html", "")) for output in outputs]
    _in_order(
        [
            "<summary>Reasoning</summary>",
            "<strong>up</strong>",
            "&lt;script&gt;",
            "<img ",
            '<progress max="1" value="1.0000"',
            "All numbers",
            "7 calls, 0 errors",
            "<th>thing</th>",
            "garden",
        ],
        "\n".join(pages),
    )
    assert [
        "".join(output["data"]["text/markdown"]).startswith("```mermaid")
        for output in outputs
        if "text/markdown" in output.get("data", {})
    ] == [True]


@pytest.mark.long
def test_the_page_writes_answers_and_keeps_the_conversation(example: Any) -> None:
    # In a process of its own: streamlit starts threads, and warns of what is deprecated in its own libraries.
    script = """
from streamlit.testing.v1 import AppTest
page = AppTest.from_file("examples/streamlit_page.py", default_timeout=60).run()
for question in ("hello", "and again"):
    page.chat_input[0].set_value(question).run()
    assert not page.exception, page.exception
    print([(message.name, *(text.value for text in message.markdown)) for message in page.chat_message])
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        cwd=ROOT,
        env=os.environ | {"PYTHONIOENCODING": "utf-8"},
    )
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert ast.literal_eval(first) == [("human", "hello"), ("ai", "You said: hello")]
    assert ast.literal_eval(second) == [
        ("human", "hello"),
        ("ai", "You said: hello"),
        ("human", "and again"),
        ("ai", "You said: and again"),
    ]


# ---------------------------------------------------------------- server-sent events


def _service(example: Any) -> ModuleType:
    return example("server_sent_events")


def test_the_service_sends_events_that_add_up_to_the_answer(example: Any) -> None:
    from starlette.testclient import TestClient

    with (
        TestClient(_service(example).app) as client,
        client.stream("GET", "/answer?question=why+not") as response,
    ):
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in response.iter_lines() if line]
    assert lines[-2:] == ["event: end", "data: {}"]
    texts = [json.loads(line.removeprefix("data: "))["text"] for line in lines[:-2]]
    assert "".join(texts) == "You asked: why not"
    assert len(texts) > 3


def test_the_service_says_in_an_event_what_failed(example: Any) -> None:
    from starlette.testclient import TestClient

    from modelwire.errors import Overloaded
    from modelwire.runnables import RunnableLambda

    def fail(_: Any) -> str:
        raise Overloaded("too many")

    service = _service(example)
    service.chain = RunnableLambda(fail)
    with TestClient(service.app) as client:
        text = client.get("/answer?question=why").text
    assert text == 'event: error\ndata: {"error": "Overloaded"}\n\n'


def test_a_reader_who_leaves_stops_the_model(example: Any) -> None:
    from modelwire.runnables import RunnableGenerator

    service = _service(example)
    ended: list[str] = []

    async def endless(_: Any) -> Any:
        try:
            while True:
                await asyncio.sleep(0)
                yield "piece"
        finally:
            ended.append("ended")

    service.chain = RunnableGenerator(endless)

    async def main() -> None:
        first_piece = asyncio.Event()
        incoming = iter([{"type": "http.request", "body": b"", "more_body": False}])

        async def receive() -> dict[str, Any]:
            for message in incoming:
                return message
            await first_piece.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            if message.get("body"):
                first_piece.set()

        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "GET",
            "path": "/answer",
            "raw_path": b"/answer",
            "root_path": "",
            "scheme": "http",
            "headers": [],
            "query_string": b"question=why",
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
        }
        await asyncio.wait_for(service.app(scope, receive, send), 60)
        assert ended == ["ended"]

    asyncio.run(main())


# ---------------------------------------------------------------- the real model


@pytest.mark.long  # the quickstart below asks it over both wires, and the stand-in answers these examples above
@pytest.mark.local
@pytest.mark.parametrize("wire", ["openai", "anthropic"])
def test_chat_and_batch_run_on_the_real_model_over_both_wires(local_server: str, wire: str) -> None:
    at = {"OPENAI_BASE_URL": f"{local_server}/v1", "ANTHROPIC_BASE_URL": local_server}
    done = _run("examples/batch.py", f"{wire}:smollm2", **at)
    assert done.returncode == 0, done.stderr
    _in_order(["Japan: ", "Tokyo", "MissingVariable: "], done.stdout)
    done = _run("examples/chat.py", f"{wire}:smollm2", stdin="What is a violin?\n", **at)
    assert done.returncode == 0, done.stderr
    # The model is small, and calls a violin a viola at times.
    _in_order(["you> What is a violin?", "viol", "3 messages in all"], done.stdout)


@pytest.mark.local
@pytest.mark.long  # 10 s of CPU; tests/local asks the same model, and the example above runs against a stand-in
def test_quickstart_answers_over_both_wires(local_model: Path) -> None:
    done = _run("examples/quickstart.py")
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.split("━━ local:smollm2 over the Anthropic wire")
    for half in (first, second):
        assert "The capital of Japan is Tokyo." in half
        assert half.count("tokens a second") == 4
        assert " 0 out" not in half


@pytest.mark.long
@pytest.mark.parametrize(
    "name", ["openai:gpt-4o-mini", "anthropic:claude-haiku-4-5", "local:smolm2", "nobody:x"]
)
def test_quickstart_says_in_one_line_what_is_missing(name: str) -> None:
    done = _run("examples/quickstart.py", name)
    assert done.returncode == 1
    assert done.stderr.startswith("quickstart: ")
    assert "Traceback" not in done.stderr


@pytest.mark.local
def test_the_readmes_first_lines_run(local_model: Path) -> None:
    blocks = (ROOT / "README.md").read_text(encoding="utf-8").split("```python\n")
    done = _run("-c", blocks[1].partition("```")[0])
    assert done.returncode == 0, done.stderr
    assert "volcano" in done.stdout
