"""`modelwire mcp`: list, call, login, logout, and the questions of a server on a terminal."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from support.oauth_mcp_server import OAuthMCPServer

pytest.importorskip("mcp", reason="needs the extra `mcp`")

SUPPORT = Path(__file__).parents[1] / "support"
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")


@pytest.fixture
def server(tmp_path: Path) -> str:
    """The command of a server, as a user types it."""
    program = SUPPORT / "asking_mcp_server.py"
    return shlex.join([sys.executable, str(program), str(tmp_path / "heard")])


def test_list_prints_tools_resources_and_prompts(run: Callable[..., Any], server: str) -> None:
    done = run("mcp", "list", server)
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[:2] == ["Tools", "  ask()"]
    assert "  note://{city}/{day}  Notes of a day." in lines
    assert lines[-2:] == ["Prompts", "  review(code, style?)  Review code."]


def test_list_prints_json(run: Callable[..., Any], server: str) -> None:
    found = json.loads(run("mcp", "list", server, "--json").out)
    assert found["tools"][0]["name"] == "ask"
    assert found["resources"][0]["uri"] == "note://today"
    assert found["prompts"][0]["arguments"][0] == {
        "name": "code",
        "description": None,
        "required": True,
    }


def test_call_prints_the_answer_and_the_progress(run: Callable[..., Any], server: str) -> None:
    done = run("mcp", "call", server, "steps")
    assert (done.code, done.out) == (0, "stepped\n")
    assert "2 of 3: step 2" in done.err


def test_call_takes_arguments_and_a_name_with_dots(run: Callable[..., Any]) -> None:
    raw = shlex.join([sys.executable, str(SUPPORT / "raw_mcp_server.py")])
    assert run("mcp", "call", raw, "echo", '{"self": "a"}').out == 'echo {"self": "a"}\n'
    assert run("mcp", "call", raw, "files.read").out == "files.read {}\n"
    whole = json.loads(run("mcp", "call", raw, "structured", "--json").out)
    assert whole["structuredContent"] == {"sum": 3}


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["call", "SERVER", "stepz"], 2, "did you mean `steps`"),
        (["call", "SERVER", "steps", "[1]"], 2, "must be a JSON object"),
        (["call", "SERVER", "steps", "{"], 2, "not valid JSON"),
        (["call", "SERVER", "mute", "--timeout", "0.3"], 1, "no answer in 0.3 s"),
        (["list", "'"], 2, "cannot be read"),
        (["list", "http://127.0.0.1:9/mcp", "--header", "x"], 2, "NAME:VALUE"),
        (["login", "example.org"], 2, "is not a URL"),
    ],
)
def test_wrong_usage_and_a_failed_call_are_one_line(
    run: Callable[..., Any], server: str, words: Sequence[str], code: int, text: str
) -> None:
    done = run("mcp", *[server if word == "SERVER" else word for word in words])
    assert done.code == code
    assert text.lower() in done.err.lower()
    assert done.err.startswith("modelwire: ")
    assert len(done.err.splitlines()) == 1


def test_a_server_with_a_login(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def visit(url: str) -> bool:
        with urllib.request.urlopen(url, timeout=20) as page:
            page.read()
        return True

    monkeypatch.setattr("webbrowser.open", visit)
    with OAuthMCPServer() as server:
        refused = run("mcp", "list", server.url)
        assert refused.code == 1
        assert f"modelwire mcp login {server.url}" in refused.err
        done = run("mcp", "login", server.url)
        assert done.code == 0, done.err
        assert f"{server.origin}/authorize?" in done.err
        assert run("mcp", "call", server.url, "hello").out == "hello\n"
        again = run("mcp", "login", server.url)
        assert again.code == 0, again.err
        assert server.count("/authorize") == 2
        assert run("mcp", "logout", server.url).code == 0
        assert run("mcp", "call", server.url, "hello").code == 1
        assert "No tokens" in run("mcp", "logout", server.url).err
        assert "sk-" not in done.out + done.err


def test_a_question_without_a_terminal_is_declined(run: Callable[..., Any], server: str) -> None:
    done = run("mcp", "call", server, "ask")
    assert done.out == '{"action": "decline"}\n'
    assert "Who travels?" in done.err


def on_terminal(server: str, tool: str, typed: Sequence[str], home: Path) -> tuple[str, str]:
    """Run a call with a terminal as standard input and error; return its output and what the terminal shows."""
    pty = pytest.importorskip("pty", reason="the system has no pseudo-terminals")
    ours, theirs = pty.openpty()
    os.write(ours, "".join(f"{line}\n" for line in typed).encode())
    browser = f"{sys.executable} {SUPPORT / 'no_browser.py'} %s"
    program = subprocess.Popen(
        [sys.executable, "-m", "modelwire", "mcp", "call", server, tool],
        stdin=theirs,
        stderr=theirs,
        stdout=subprocess.PIPE,
        text=True,
        cwd=home,
        env={**os.environ, "BROWSER": browser},
    )
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 65_536):
            shown += piece
    except OSError:  # the program has ended
        pass
    out, _ = program.communicate(timeout=60)
    os.close(ours)
    return out, shown.decode()


@pytest.mark.long
def test_a_form_is_questions_on_a_terminal(server: str, tmp_path: Path) -> None:
    lines = ["y", "", "Ada", "three", "", "third", "second", "yes", "y"]
    out, shown = on_terminal(server, "ask", lines, tmp_path)
    answer = json.loads(out)
    assert answer["action"] == "accept"
    assert answer["content"] == {"name": "Ada", "days": 3, "class": "second", "window": True}
    assert "Who travels?" in shown
    assert "name (text): " in shown
    assert "days (a whole number, may be empty) [3]: " in shown
    assert "`class` must be one of first, second" in shown


@pytest.mark.long
@pytest.mark.parametrize(
    ("typed", "action"),
    [(["n"], "decline"), (["y", "Ada", "", "", "", "n"], "cancel"), (["y", "\x04"], "cancel")],
    ids=["no", "not sent", "Ctrl-D"],
)
def test_a_user_at_a_terminal_may_say_no(
    server: str, tmp_path: Path, typed: Sequence[str], action: str
) -> None:
    out, _ = on_terminal(server, "ask", typed, tmp_path)
    assert json.loads(out) == {"action": action}


def test_a_page_is_shown_whole_and_opened_where_the_user_agrees(
    server: str, tmp_path: Path
) -> None:
    out, shown = on_terminal(server, "ask_url", ["y", ""], tmp_path)
    assert json.loads(out) == {"action": "accept"}
    assert "https://pay.example/order/7" in shown
    assert (tmp_path / "opened").read_text(encoding="utf-8") == "https://pay.example/order/7"


@pytest.mark.long
def test_a_page_is_not_opened_where_the_user_does_not_agree(server: str, tmp_path: Path) -> None:
    out, _ = on_terminal(server, "ask_url", ["n"], tmp_path)
    assert json.loads(out) == {"action": "decline"}
    assert not (tmp_path / "opened").exists()
