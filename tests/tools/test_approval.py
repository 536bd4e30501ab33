"""Calls that a person approves, changes, declines or answers later, and loops that outlive their process."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelwire import (
    AIMessage,
    AIMessageChunk,
    HumanMessage,
    ToolMessage,
    arun_tools,
    astream_tools,
    run_tools,
    stream_tools,
)
from modelwire.errors import (
    CallLater,
    DiskError,
    InvalidArgument,
    InvalidType,
    JobBusy,
    StepLimitReached,
    ToolsPaused,
)
from modelwire.messages import messages_from_dict, messages_to_dict
from modelwire.sqlite_files import open_sqlite
from modelwire.testing import Answer, FakeMessagesListChatModel, ProviderServer
from modelwire.tools import (
    Changed,
    Declined,
    Later,
    RunAgain,
    ToolCallStarted,
    ToolRequest,
    tool,
)


async def _all(events: Any) -> list[Any]:
    return [event async for event in events]


def _whole(events: list[Any], history: Any) -> list[Any]:
    whole = [one for one in events if not isinstance(one, AIMessageChunk | ToolCallStarted)]
    return [HumanMessage(history), *whole] if isinstance(history, str) else [*history, *whole]


FORMS: dict[str, Callable[..., Any]] = {
    "sync": run_tools,
    "async": lambda *args, **kwargs: asyncio.run(arun_tools(*args, **kwargs)),
    "stream": lambda model, history, *args, **kwargs: _whole(
        list(stream_tools(model, history, *args, **kwargs)), history
    ),
    "astream": lambda model, history, *args, **kwargs: _whole(
        asyncio.run(_all(astream_tools(model, history, *args, **kwargs))), history
    ),
}


@pytest.fixture(params=FORMS)
def run(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """One of the four forms of the loop; each returns the whole conversation."""
    return FORMS[request.param]


def model_of(*answers: Any) -> FakeMessagesListChatModel:
    return FakeMessagesListChatModel(
        responses=[AIMessage(one) if isinstance(one, str) else one for one in answers]
    )


def calls(*named: tuple[str, dict[str, Any]]) -> AIMessage:
    return AIMessage(
        "",
        tool_calls=[
            {"name": name, "args": args, "id": str(place)}
            for place, (name, args) in enumerate(named, 1)
        ],
    )


class Mailbox:
    """A tool that has an effect, and a second tool that has none."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def tools(self, **options: Any) -> list[Any]:
        @tool(**options)
        def send(to: str) -> str:
            """Send a mail."""
            self.sent.append(to)
            return f"sent to {to}"

        @tool
        def read() -> str:
            """Read the mails."""
            return "no mails"

        return [send, read]


SEND = ("send", {"to": "ann"})
READ = ("read", {})


def results(messages: list[Any]) -> list[tuple[str, str]]:
    return [(one.text, one.status) for one in messages if isinstance(one, ToolMessage)]


def test_an_approved_call_runs_and_the_function_sees_name_arguments_id_and_tool(
    run: Callable[..., Any],
) -> None:
    box, seen = Mailbox(), []

    def approve(request: ToolRequest) -> bool:
        seen.append((request.name, request.args, request.id, request.tool.description))
        assert box.sent == []  # nothing of the answer has run yet
        return True

    messages = run(model_of(calls(READ, SEND), "ok"), "hi", box.tools(), approve=approve)
    assert seen == [
        ("read", {}, "1", "Read the mails."),
        ("send", {"to": "ann"}, "2", "Send a mail."),
    ]
    assert box.sent == ["ann"]
    assert messages[-1].text == "ok"


@pytest.mark.parametrize(
    ("decision", "text"),
    [
        (False, "The user declined this call."),
        ("Ann is on leave.", "The user declined this call. Ann is on leave."),
        (Declined("No."), "The user declined this call. No."),
    ],
)
def test_a_declined_call_does_not_run_and_the_model_reads_why(
    run: Callable[..., Any], decision: Any, text: str
) -> None:
    box = Mailbox()
    messages = run(
        model_of(calls(SEND, READ), "ok"),
        "hi",
        box.tools(),
        approve=lambda request: request.name == "read" or decision,
    )
    assert box.sent == []
    # A stream yields the results in the order in which the tools end.
    assert set(results(messages)) == {(text, "error"), ("no mails", "success")}


def test_changed_arguments_run_and_the_model_is_told(run: Callable[..., Any]) -> None:
    box = Mailbox()
    messages = run(
        model_of(calls(SEND), "ok"),
        "hi",
        box.tools(),
        approve=lambda request: Changed({"to": "bob"}),
    )
    assert box.sent == ["bob"]
    (result,) = results(messages)
    assert result == (
        'The user changed the arguments of this call to {"to": "bob"}. Its result: sent to bob',
        "success",
    )
    assert messages[1].tool_calls[0]["args"] == {"to": "ann"}  # the model's words stay


def test_changed_arguments_that_do_not_fit_are_an_error_before_any_call_runs(
    run: Callable[..., Any],
) -> None:
    box = Mailbox()
    with pytest.raises(InvalidArgument, match="changed the arguments of `send`"):
        run(
            model_of(calls(SEND, SEND), "ok"),
            "hi",
            box.tools(),
            approve=lambda request: request.id == "1" or Changed({"to": 3}),
        )
    assert box.sent == []


def test_later_lets_the_others_run_and_the_conversation_goes_on_elsewhere(
    run: Callable[..., Any],
) -> None:
    box = Mailbox()
    with pytest.raises(ToolsPaused) as caught:
        run(
            model_of(calls(SEND, READ)),
            "hi",
            box.tools(),
            approve=lambda request: request.name == "read" or Later,
        )
    paused = caught.value
    assert [(call["name"], call["id"]) for call in paused.calls] == [("send", "1")]
    assert "`send` (1): it waits for a decision" in str(paused)
    assert (box.sent, results(paused.messages)) == ([], [("no mails", "success")])
    stored = json.dumps(messages_to_dict(paused.messages))

    history = messages_from_dict(json.loads(stored))
    messages = run(model_of("ok"), history, box.tools(), results={"1": "sent by hand"})
    assert results(messages) == [("no mails", "success"), ("sent by hand", "success")]
    assert messages[-1].text == "ok"
    assert box.sent == []


def test_a_tool_may_leave_its_call_open_and_a_pause_may_repeat(run: Callable[..., Any]) -> None:
    @tool
    def order(item: str) -> str:
        """Order something."""
        raise CallLater(f"the shop answers about {item}")

    first = calls(("order", {"item": "tea"}), ("order", {"item": "milk"}))
    with pytest.raises(ToolsPaused) as caught:
        run(model_of(first), "hi", [order])
    assert [call["args"]["item"] for call in caught.value.calls] == ["tea", "milk"]
    assert "the shop answers about tea" in str(caught.value)

    history = caught.value.messages
    with pytest.raises(ToolsPaused) as caught:
        run(model_of("never"), history, [order], results={"2": "milk comes"})
    assert [call["id"] for call in caught.value.calls] == ["1"]

    messages = run(
        model_of("ok"), caught.value.messages, [order], results={"1": Declined("Sold out.")}
    )
    assert results(messages) == [
        ("milk comes", "success"),
        ("The user declined this call. Sold out.", "error"),
    ]


def test_an_open_call_without_a_result_is_put_to_approve_again(run: Callable[..., Any]) -> None:
    box = Mailbox()
    with pytest.raises(ToolsPaused) as caught:
        run(model_of(calls(SEND)), "hi", box.tools(), approve=lambda _: Later())
    messages = run(model_of("ok"), caught.value.messages, box.tools(), approve=lambda _: True)
    assert (box.sent, messages[-1].text) == (["ann"], "ok")


@pytest.mark.parametrize("wire", ["openai", "responses", "anthropic", "gemini", "bedrock"])
def test_a_pause_survives_json_on_every_wire_with_the_models_reasoning(
    run: Callable[..., Any], wire: str
) -> None:
    box = Mailbox()
    call = {"name": "send", "args": {"to": "ann"}}
    with ProviderServer([Answer(tool_calls=[call], reasoning="Ann first."), "Done."]) as server:
        model = server.model(wire)
        with pytest.raises(ToolsPaused) as caught:
            run(model, "Send it.", box.tools(), approve=lambda _: Later)
        stored = json.dumps(messages_to_dict(caught.value.messages))
        (waiting,) = caught.value.calls
        history = messages_from_dict(json.loads(stored))
        messages = run(model, history, box.tools(), results={waiting["id"]: "sent by hand"})
        unpaused = server.requests[-1].body
        # The same conversation without a pause, as the provider reads it.
        bound = model.bind_tools(box.tools())
        expected = model.build_request(messages[:-1], **bound.kwargs).body
    assert messages[-1].text == "Done."
    names = ("messages", "input", "contents")
    (name,) = [one for one in names if one in unpaused]
    assert unpaused[name] == json.loads(json.dumps(expected[name]))
    if wire in ("anthropic", "bedrock"):
        assert "Ann first." in json.dumps(unpaused[name])


def test_a_tool_that_must_be_approved_needs_a_function_before_any_request(
    run: Callable[..., Any],
) -> None:
    box = Mailbox()
    with ProviderServer() as server:
        with pytest.raises(InvalidArgument, match="`send` runs only if it is approved"):
            run(server.model("openai"), "hi", box.tools(approve=True))
        assert server.requests == []


def test_a_tool_may_never_be_asked_about(run: Callable[..., Any]) -> None:
    box, asked = Mailbox(), []
    run(
        model_of(calls(SEND, READ), "ok"),
        "hi",
        box.tools(approve=False),
        approve=lambda request: asked.append(request.name) or True,
    )
    assert (asked, box.sent) == (["read"], ["ann"])


def test_an_async_function_decides_in_the_async_loops_and_is_refused_in_the_sync_ones() -> None:
    box = Mailbox()

    async def approve(request: ToolRequest) -> Any:
        await asyncio.sleep(0)
        return request.name == "read" or "No."

    for form in ("async", "astream"):
        messages = FORMS[form](
            model_of(calls(SEND, READ), "ok"), "hi", box.tools(), approve=approve
        )
        assert [status for _, status in results(messages)] == ["error", "success"]
    for form in ("sync", "stream"):
        with pytest.raises(InvalidArgument, match="`approve` is an async function"):
            FORMS[form](model_of(calls(SEND), "ok"), "hi", box.tools(), approve=approve)
    assert box.sent == []


@pytest.mark.parametrize("wrong", [None, 1, Changed, object()])
def test_another_decision_is_an_error_and_nothing_runs(run: Callable[..., Any], wrong: Any) -> None:
    box = Mailbox()
    with pytest.raises(InvalidType, match="`approve` must return"):
        run(model_of(calls(SEND), "ok"), "hi", box.tools(), approve=lambda _: wrong)
    assert box.sent == []


def test_a_result_for_no_open_call_is_an_error_that_names_the_open_ones(
    run: Callable[..., Any],
) -> None:
    box = Mailbox()
    history = [HumanMessage("hi"), calls(SEND)]
    with pytest.raises(InvalidArgument, match=r"`2`, which is not an open call.*Open calls: `1`"):
        run(model_of("ok"), history, box.tools(), results={"2": "x"})
    with pytest.raises(InvalidType, match="has no answer to its call"):
        run(model_of("ok"), history, box.tools(), results={"1": ToolMessage("x", tool_call_id="7")})
    assert box.sent == []


def test_calls_that_cannot_be_read_and_unknown_tools_are_not_put_to_approve(
    run: Callable[..., Any],
) -> None:
    asked: list[str] = []
    answer = AIMessage(
        "",
        tool_calls=[{"name": "fly", "args": {}, "id": "1"}],
        invalid_tool_calls=[
            {"name": "send", "args": "{", "id": "2", "error": "x", "type": "invalid_tool_call"}
        ],
    )
    messages = run(
        model_of(answer, "ok"),
        "hi",
        Mailbox().tools(),
        approve=lambda request: asked.append(request.name) or True,
    )
    assert asked == []
    assert [status for _, status in results(messages)] == ["error", "error"]


def test_a_declined_call_is_not_announced_as_started() -> None:
    box = Mailbox()
    events = list(
        stream_tools(
            model_of(calls(SEND, READ), "ok"),
            "hi",
            box.tools(),
            approve=lambda request: {"send": "No.", "read": True}[request.name],
        )
    )
    started = [one.tool_call["name"] for one in events if isinstance(one, ToolCallStarted)]
    assert started == ["read"]


# ---------------------------------------------------------------- the journal


def test_the_same_call_with_its_journal_returns_the_finished_conversation(
    run: Callable[..., Any], tmp_path: Path
) -> None:
    box, path = Mailbox(), tmp_path / "talk.journal"
    first = run(model_of(calls(SEND), "ok"), "hi", box.tools(), journal=path)
    again = run_tools(model_of("another answer"), "hi", box.tools(), journal=path)
    assert messages_to_dict(again) == messages_to_dict(first)
    assert box.sent == ["ann"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_journal_continues_after_a_pause(run: Callable[..., Any], tmp_path: Path) -> None:
    box, path = Mailbox(), tmp_path / "talk.journal"
    both: Any = {"approve": lambda request: request.name == "read" or Later, "journal": path}
    with pytest.raises(ToolsPaused) as caught:
        run(model_of(calls(SEND, READ)), "hi", box.tools(), **both)
    with pytest.raises(ToolsPaused):  # the history may be the paused one, too
        run(model_of("never"), caught.value.messages, box.tools(), **both)
    messages = run_tools(model_of("ok"), "hi", box.tools(), results={"1": "by hand"}, **both)
    assert results(messages) == [("no mails", "success"), ("by hand", "success")]
    assert box.sent == []


def test_a_journal_of_another_conversation_is_refused(
    run: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / "talk.journal"
    run(model_of("ok"), "hi", [], journal=path)
    with pytest.raises(InvalidArgument, match="belongs to another conversation"):
        run(model_of("ok"), "ho", [], journal=path)


def test_a_file_that_is_no_journal_is_a_clear_error_and_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "talk.journal"
    path.write_text("not a database, and long enough to be read as one" * 100)
    opened: list[sqlite3.Connection] = []

    def recording(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        opened.append(open_sqlite(*args, **kwargs))
        return opened[-1]

    monkeypatch.setattr("modelwire.tools.journal.open_sqlite", recording)
    with pytest.raises(DiskError, match="cannot be used"):
        run_tools(model_of("ok"), "hi", [], journal=path)
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        opened[0].execute("SELECT 1")
    assert path.read_text().startswith("not a database")


def test_two_loops_do_not_share_a_journal(tmp_path: Path) -> None:
    path = tmp_path / "talk.journal"

    @tool
    def nested() -> str:
        """Run the same conversation inside of itself."""
        with pytest.raises(JobBusy, match="in use by another loop"):
            run_tools(model_of("ok"), "hi", [], journal=path)
        return "busy"

    messages = run_tools(model_of(calls(("nested", {})), "ok"), "hi", [nested], journal=path)
    assert results(messages) == [("busy", "success")]


def test_the_steps_of_earlier_runs_count(tmp_path: Path) -> None:
    box, path = Mailbox(), tmp_path / "talk.journal"
    with pytest.raises(StepLimitReached):
        run_tools(model_of(*[calls(READ)] * 5), "hi", box.tools(), journal=path, max_steps=2)
    with pytest.raises(StepLimitReached):
        run_tools(model_of("never"), "hi", box.tools(), journal=path, max_steps=2)
    messages = run_tools(model_of("ok"), "hi", box.tools(), journal=path, max_steps=3)
    assert len(results(messages)) == 2


PROGRAM = '''
import os, signal, sys
from pathlib import Path
from modelwire import run_tools
from modelwire.errors import ToolsPaused
from modelwire.messages import AIMessage, ToolMessage
from modelwire.runnables import Runnable
from modelwire.tools import RunAgain, tool
from modelwire.tools.journal import Journal

folder, deadly = Path(sys.argv[1]), int(sys.argv[2])
steps = 0

def step(*_):
    """Die at the step whose number the first argument is."""
    global steps
    steps += 1
    if steps == deadly:
        os.kill(os.getpid(), signal.SIGKILL)

@tool
def count(n: int) -> str:
    """Count."""
    step()
    with open(folder / f"count{n}", "a") as file:
        file.write("x")
        file.flush()
        os.fsync(file.fileno())
    step()
    return f"counted {n}"

class Model(Runnable):
    def bind_tools(self, tools, **kwargs):
        return self
    def invoke(self, messages, config=None, **kwargs):
        step()
        done = sum(isinstance(one, ToolMessage) for one in messages)
        if done == 4:
            return AIMessage("all is counted")
        return AIMessage("", tool_calls=[
            {"name": "count", "args": {"n": done + place}, "id": str(done + place)} for place in (0, 1)])

for name in ("restore", "answer", "begin", "result"):
    def watched(self, *args, real=getattr(Journal, name)):
        step()
        found = real(self, *args)
        step()
        return found
    setattr(Journal, name, watched)

answers = {}
while True:
    try:
        messages = run_tools(Model(), "count", [count], journal=folder / "journal", results=answers,
                             config={"max_concurrency": 1})
        break
    except ToolsPaused as paused:
        # A person looks whether the interrupted call has had its effect.
        for call in paused.calls:
            done = (folder / f"count{call['args']['n']}").exists()
            answers[call["id"]] = "it had counted" if done else RunAgain
print(steps, messages[-1].text)
'''


@pytest.mark.long
def test_a_loop_that_is_killed_at_any_step_runs_each_tool_once(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)

    def start(folder: Path, deadly: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(program), str(folder), str(deadly)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120)

    whole = tmp_path / "whole"
    whole.mkdir()
    steps, text = start(whole, 0).stdout.split(" ", 1)
    assert text == "all is counted\n"
    for deadly in range(1, int(steps) + 1):
        folder = tmp_path / str(deadly)
        folder.mkdir()
        killed = start(folder, deadly)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        rest = start(folder, 0)
        assert rest.stdout.endswith("all is counted\n"), rest.stderr
        counted = {path.name: path.read_text() for path in folder.glob("count*")}
        assert counted == {f"count{n}": "x" for n in range(4)}, deadly


def test_an_interrupted_call_is_open_and_runs_again_only_if_the_caller_says_so(
    tmp_path: Path,
) -> None:
    path, runs = tmp_path / "talk.journal", []

    class Killed(BaseException):
        """Ends the program, as a signal would."""

    @tool
    def pay() -> str:
        """Pay."""
        runs.append("pay")
        if len(runs) == 1:
            raise Killed
        return "paid"

    with pytest.raises(Killed):
        run_tools(model_of(calls(("pay", {}))), "hi", [pay], journal=path)
    with pytest.raises(ToolsPaused, match="ended while it ran, so it may have had its effect"):
        run_tools(model_of("never"), "hi", [pay], journal=path)
    assert runs == ["pay"]
    messages = run_tools(model_of("ok"), "hi", [pay], journal=path, results={"1": RunAgain})
    assert (runs, results(messages)) == (["pay", "pay"], [("paid", "success")])


def test_results_that_have_no_json_form_are_stored_as_text(tmp_path: Path) -> None:
    path = tmp_path / "talk.journal"

    @tool(response_format="content_and_artifact")
    def draw() -> tuple[str, object]:
        """Draw."""
        return "drawn", Path("x.png")

    for _ in range(2):
        messages = run_tools(model_of(calls(("draw", {})), "ok"), "hi", [draw], journal=path)
        assert results(messages) == [("drawn", "success")]
    assert os.path.exists(path)
