"""`--tools` at the shell: which calls are put to the user, and what each answer does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelwire.testing import Answer, ProviderServer

TOOLS = '''
from pathlib import Path
from modelwire.tools import tool

def note(text: str) -> str:
    """Write a note."""
    with open("notes.txt", "a") as file:
        file.write(text + "\\n")
    return "noted"

@tool(approve=False)
def look() -> str:
    """Look around."""
    return "nothing"

tools = [note, look]
'''
NOTE = {"name": "note", "args": {"text": "buy tea"}}
LOOK: dict[str, Any] = {"name": "look", "args": {}}


@pytest.fixture
def notes(own_home: Path) -> Callable[[], str]:
    """The notes that the tool has written."""
    (own_home / "t.py").write_text(TOOLS)
    path = own_home / "notes.txt"
    return lambda: path.read_text() if path.exists() else ""


def tool_results(provider: ProviderServer) -> list[str]:
    return [
        one["content"] for one in provider.requests[-1].body["messages"] if one["role"] == "tool"
    ]


@pytest.mark.parametrize("how", [[], ["-n"]])
def test_without_a_terminal_a_call_is_declined_unless_yes_is_there(
    run: Callable[..., Any], provider: ProviderServer, notes: Callable[[], str], how: list[str]
) -> None:
    provider.say(Answer(tool_calls=[NOTE, LOOK]), "done", Answer(tool_calls=[NOTE]), "done")
    done = run("ask", "note it", "-m", "openai:m", "--tools", "t.py", *how)
    assert (done.code, done.out, notes()) == (0, "done\n", "")
    assert 'note(text="buy tea") was declined: There is no terminal' in done.err
    assert "`--yes` runs tools without a question" in done.err
    declined, looked = tool_results(provider)
    assert declined.startswith("The user declined this call. There is no terminal")
    assert looked == "nothing"  # a tool with `approve=False` is never put to the user
    run("ask", "note it", "-m", "openai:m", "--tools", "t.py", "--yes", *how)
    assert notes() == "buy tea\n"


@pytest.mark.parametrize(
    ("typed", "result", "written"),
    [
        ("y", "noted", "buy tea\n"),
        pytest.param("n", "The user declined this call.", "", marks=pytest.mark.long),
        pytest.param("", "The user declined this call.", "", marks=pytest.mark.long),
        ("I have tea", "The user declined this call. I have tea", ""),
    ],
)
def test_the_user_answers_at_a_terminal(
    terminal: Callable[..., Any],
    provider: ProviderServer,
    notes: Callable[[], str],
    typed: str,
    result: str,
    written: str,
) -> None:
    provider.say(Answer("I will note it.", tool_calls=[NOTE]), "done")
    screen = terminal("ask", "note it", "-m", "openai:m", "--tools", "t.py")
    screen.until('I will note it.\r\nnote(text="buy tea")\r\nRun it? y, n, a (always run note')
    screen.type(f"{typed}\r")
    if typed:
        screen.until(typed)  # the terminal shows what is typed
    screen.until("done")
    assert screen.program.wait(30) == 0
    assert (tool_results(provider), notes()) == ([result], written)


@pytest.mark.long
def test_always_holds_for_the_tool_in_this_chat(
    terminal: Callable[..., Any], provider: ProviderServer, notes: Callable[[], str]
) -> None:
    provider.say(Answer(tool_calls=[NOTE]), "first", Answer(tool_calls=[NOTE, NOTE]), "second")
    screen = terminal("chat", "-m", "openai:m", "--tools", "t.py")
    screen.until(">")
    screen.type("note it\r")
    screen.until("or the reason why not: ")
    screen.type("a\r")
    screen.until("first")
    screen.type("twice more\r")
    shown = screen.until("second")
    assert "Run it?" not in shown
    assert notes() == "buy tea\n" * 3
    screen.type("/quit\r")
    assert screen.program.wait(30) == 0
