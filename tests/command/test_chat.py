"""`modelwire chat`: its commands, and what a person sees at a real terminal."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.terminal import Terminal

import modelwire
from modelwire.testing import Answer, ProviderServer, faults

ROOT = str(Path(modelwire.__file__).parents[1])


def _lines(*lines: str) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _texts(provider: ProviderServer, number: int = -1) -> list[tuple[str, Any]]:
    return [
        (message["role"], message["content"])
        for message in provider.requests[number].body["messages"]
    ]


def test_the_model_sees_the_whole_conversation(
    run: Callable[..., Any], provider: ProviderServer
) -> None:
    done = run("chat", "-m", "openai:m", "-s", "Be short.", stdin=_lines("one", "", "two é"))
    assert (done.code, done.out, done.err) == (0, "one\ntwo é\n", "")
    assert _texts(provider) == [
        ("system", "Be short."),
        ("user", "one"),
        ("assistant", "one"),
        ("user", "two é"),
    ]
    assert (
        run("log", "1").out == "system: Be short.\nhuman: one\nai: one\nhuman: two é\nai: two é\n"
    )


def test_the_model_may_be_changed_in_the_middle(
    run: Callable[..., Any], provider: ProviderServer
) -> None:
    done = run(
        "chat",
        "-m",
        "openai:a",
        stdin=_lines("one", "/model openai:b", "two", "/model nobody:x", "three"),
    )
    assert [request.body["model"] for request in provider.requests] == ["a", "b", "b"]
    assert _texts(provider)[:2] == [("user", "one"), ("assistant", "one")]
    assert "nobody" in done.err
    assert done.code == 0


def test_undo_takes_question_and_answer_back(
    run: Callable[..., Any], provider: ProviderServer
) -> None:
    done = run("chat", "-m", "openai:m", stdin=_lines("/undo", "one", "two", "/undo", "three"))
    assert _texts(provider) == [("user", "one"), ("assistant", "one"), ("user", "three")]
    assert "nothing to undo" in done.err


def test_a_saved_conversation_goes_on(
    run: Callable[..., Any], provider: ProviderServer, own_home: Path
) -> None:
    run(
        "chat",
        "-m",
        "openai:m",
        stdin=_lines("/system Be kind.", "one", "/save talk.json", "/save talk.md"),
    )
    assert (
        own_home / "talk.md"
    ).read_text() == "## system\n\nBe kind.\n\n## human\n\none\n\n## ai\n\none\n"
    assert len(json.loads((own_home / "talk.json").read_text())) == 3
    run("chat", "-m", "openai:m", stdin=_lines("/load talk.json", "two"))
    assert _texts(provider) == [
        ("system", "Be kind."),
        ("user", "one"),
        ("assistant", "one"),
        ("user", "two"),
    ]


def test_a_file_may_be_in_the_home_folder(
    run: Callable[..., Any],
    provider: ProviderServer,
    own_home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", str(own_home / "me"))
    (own_home / "me").mkdir()
    (own_home / "me" / "note.txt").write_text("a note")
    done = run(
        "chat",
        "-m",
        "openai:m",
        stdin=_lines("/image ~/note.txt", "what?", "/save ~/talk.json", "/system ~"),
    )
    assert done.err.splitlines()[-1] == "~"
    assert "a note" in str(_texts(provider)[0])
    assert (own_home / "me" / "talk.json").exists()


def test_a_file_goes_with_the_next_question_only(
    run: Callable[..., Any], provider: ProviderServer, own_home: Path
) -> None:
    (own_home / "note.txt").write_text("a note")
    run("chat", "-m", "openai:m", stdin=_lines("/image note.txt", "what?", "and?"))
    first, _, last = _texts(provider)
    assert "a note" in str(first)
    assert last == ("user", "and?")


def test_tools_and_cost(run: Callable[..., Any], provider: ProviderServer, own_home: Path) -> None:
    (own_home / "t.py").write_text('def twice(a: int) -> int:\n    "Double."\n    return 2 * a\n')
    provider.say(Answer(tool_calls=[{"name": "twice", "args": {"a": 3}}]), "6")
    done = run("chat", "-m", "openai:m", "-y", stdin=_lines("/tools", "/tools t.py", "3?", "/cost"))
    assert done.out == "6\n"
    assert done.err.splitlines()[:4] == ["(no tools)", "twice", "-> twice(a=3)", "<- twice: 6"]
    assert "tokens in" in done.err


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("/modle x", "There is no `/modle`. Did you mean `/model`"),
        ("/save", "Name the file"),
        ("/save /no/folder/x.json", "cannot be written"),
        ("/load none.json", "cannot be read"),
        ("/load", "Name the file"),
        ("/load bad.json", "not a saved conversation"),
        ("/image none.png", "cannot be read"),
        ("/image", "Name the file"),
        ("/tools none.py", "cannot be read as a Python file"),
    ],
)
def test_what_goes_wrong_is_one_line_and_the_chat_goes_on(
    run: Callable[..., Any], provider: ProviderServer, own_home: Path, line: str, text: str
) -> None:
    (own_home / "bad.json").write_text('{"a": 1}')
    done = run("chat", "-m", "openai:m", stdin=_lines(line, "still here"))
    assert text in done.err
    assert done.err.count("\n") == 1
    assert (done.code, done.out) == (0, "still here\n")


def test_a_failed_answer_leaves_the_conversation_as_it_was(
    run: Callable[..., Any], provider: ProviderServer
) -> None:
    from modelwire.testing import faults

    provider.say("first", faults.billing(), "third")
    done = run("chat", "-m", "openai:m", stdin=_lines("one", "two", "three"))
    assert done.out == "first\nthird\n"
    assert done.err.startswith("modelwire: ")
    assert done.code == 1
    assert _texts(provider) == [("user", "one"), ("assistant", "first"), ("user", "three")]


def test_help_lists_every_command_and_quit_ends(
    run: Callable[..., Any], provider: ProviderServer
) -> None:
    done = run("chat", "-m", "openai:m", stdin=_lines("/help", "/quit", "never"))
    assert [line.split()[0] for line in done.err.splitlines()] == [
        "/model",
        "/system",
        "/save",
        "/load",
        "/tools",
        "/cost",
        "/image",
        "/undo",
        "/help",
        "/quit",
    ]
    assert provider.requests == []


def test_what_is_piped_in_and_no_text_ends_the_chat_before_it_is_sent(
    run: Callable[..., Any], provider: ProviderServer
) -> None:
    done = run("chat", "-m", "openai:m", stdin=b"one\n\x7fELF\xff\xfe\nthree\n")
    assert (done.code, done.out) == (2, "one\n")
    assert "not UTF-8" in done.err
    assert len(done.err.splitlines()) == 1
    assert len(provider.requests) == 1
    done = run("chat", "-m", "openai:m", stdin="Zürich é".encode()[:-1])
    assert (done.code, done.out) == (0, "Zürich \n")
    assert "ends within a character" in done.err


def test_without_a_standard_input_the_chat_ends(provider: ProviderServer) -> None:
    done = subprocess.run(
        ["sh", "-c", f"exec '{sys.executable}' -m modelwire.cli chat -m openai:m <&-"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": ROOT},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_ctrl_c_ends_a_chat_that_is_piped_in(provider: ProviderServer) -> None:
    provider.say(Answer("begun " + "and on " * 500, chunk_gap_s=0.05))
    with subprocess.Popen(
        [sys.executable, "-m", "modelwire.cli", "chat", "-m", "openai:m"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": ROOT},
    ) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        assert program.stderr is not None
        program.stdin.write(_lines("one", "two"))
        program.stdin.flush()
        assert program.stdout.read(5) == b"begun"
        program.send_signal(signal.SIGINT)
        assert program.wait(30) == 130
        assert program.stderr.read() == b"\n"
    assert len(provider.requests) == 1


@pytest.mark.parametrize("plain", [pytest.param(True, marks=pytest.mark.long), False])
def test_ctrl_c_stops_an_answer_and_keeps_the_chat(
    terminal: Callable[..., Terminal], provider: ProviderServer, *, plain: bool
) -> None:
    provider.say(Answer("begun " + "and on " * 500, chunk_gap_s=0.05), "second answer")
    screen = terminal("chat", "-m", "openai:m", **({"NO_COLOR": "1"} if plain else {}))
    screen.until(">")
    screen.type("tell me\r")
    screen.until("begun")
    screen.until("and on")
    screen.program.send_signal(signal.SIGINT)
    screen.until("(stopped)")
    screen.type("go on\r")
    shown = screen.until("second answer")
    if plain:
        assert "\x1b[1m" not in shown
    assert _texts(provider)[0] == ("user", "tell me")
    role, text = _texts(provider)[1]
    assert role == "assistant"
    assert text.startswith("begun and on")
    screen.type("/quit\r")
    assert screen.program.wait(30) == 0


@pytest.mark.long
def test_text_that_is_typed_while_an_answer_streams_waits_for_the_prompt_also_after_ctrl_c(
    terminal: Callable[..., Terminal], provider: ProviderServer
) -> None:
    provider.say(Answer("begun " + "and on " * 500, chunk_gap_s=0.05), "second answer")
    screen = terminal("chat", "-m", "openai:m")
    screen.until(">")
    screen.type("tell me\r")
    screen.until("begun")
    screen.until("and on")
    screen.type("typed ahead")
    screen.until("and on and on")
    screen.type("\x03")
    screen.until("(stopped)")
    assert "typed" not in screen.everything
    screen.until("typed ahead")
    screen.type("\r")
    screen.until("second answer")
    assert _texts(provider)[-1] == ("user", "typed ahead")
    screen.type("/quit\r")
    assert screen.program.wait(30) == 0


def test_a_chat_that_continues_names_its_conversation(
    terminal: Callable[..., Terminal], provider: ProviderServer, run: Callable[..., Any]
) -> None:
    run("ask", "How do tides work?", "-m", "openai:m")
    screen = terminal("chat", "-c")
    screen.until("Conversation 1 continues after 2 messages. Its last question: How do tides")
    screen.until(">")
    screen.type("/quit\r")


def test_a_failed_question_leaves_what_is_attached_to_the_next_one(
    terminal: Callable[..., Terminal], provider: ProviderServer, own_home: Path
) -> None:
    (own_home / "note.txt").write_text("a note")
    provider.say(faults.billing(), "second answer", faults.billing(), "fourth answer")
    screen = terminal("chat", "-m", "openai:m", NO_COLOR="1")
    screen.until(">")
    for line, shown in [
        ("/image note.txt", "1 attached to the next question"),
        ("what is it?", "1 attached to the next question; /undo drops them"),
        ("what is it?", "second answer"),
        ("/image note.txt", "1 attached to the next question"),
        ("and this?", "/undo drops them"),
        ("/undo", "nothing is attached"),
        ("and now?", "fourth answer"),
    ]:
        screen.type(f"{line}\r")
        screen.until(shown)
    second, fourth = _texts(provider, 1), _texts(provider, 3)
    assert "a note" in str(second)
    assert [role for role, _ in fourth] == ["user", "assistant", "user"]
    assert fourth[-1] == ("user", "and now?")
    screen.type("/quit\r")
    assert screen.program.wait(30) == 0


ODD = "Put a <div> inside <body>, List<String>, a*b*c, __init__, [docs](https://x.test)"


def test_a_terminal_shows_the_whole_answer_with_colours(
    terminal: Callable[..., Terminal], provider: ProviderServer
) -> None:
    provider.say(f"# Title\n\nSome **bold** words.\n{ODD}\nthe end")
    screen = terminal("ask", "show me", "-m", "openai:m")
    shown = screen.until("the end")
    assert "\x1b[1m" in shown
    whole = re.sub("\x1b\\[[0-9;]*m", "", shown).replace("\r\n", "\n")
    assert whole == f"# Title\n\nSome **bold** words.\n{ODD}\nthe end"
    assert screen.program.wait(30) == 0


def test_plain_shows_no_colours(
    terminal: Callable[..., Terminal], provider: ProviderServer
) -> None:
    provider.say("Some **bold** words, the end")
    screen = terminal("ask", "show me", "-m", "openai:m", "--plain")
    assert screen.until("the end") == "Some **bold** words, the end"


def test_typing_and_ctrl_c_print_no_line_of_the_answer_twice(
    terminal: Callable[..., Terminal], provider: ProviderServer
) -> None:
    lines = "".join(f"line {number}\n" for number in range(200))
    provider.say(Answer(lines, chunk_gap_s=0.02))
    screen = terminal("ask", "show me", "-m", "openai:m")
    shown = screen.until("line 3\r\n")
    screen.type("typed while it streams")
    shown += screen.until("line 9\r\n")
    screen.program.send_signal(signal.SIGINT)
    assert screen.program.wait(30) == 130
    shown += screen.rest()
    shown = shown.replace("typed while it streams", "")  # the terminal echoes it amid a line
    found = [int(number) for number in re.findall("line ([0-9]+)", shown)]
    assert found == list(range(len(found)))


@pytest.mark.parametrize("word", ["quit", "exit", "/quit"])
def test_these_words_end_a_chat(
    run: Callable[..., Any], provider: ProviderServer, word: str
) -> None:
    done = run("chat", "-m", "openai:m", stdin=_lines(word, "not asked"))
    assert (done.code, provider.requests) == (0, [])


def test_a_key_typed_in_a_chat_is_neither_sent_nor_stored(
    run: Callable[..., Any], provider: ProviderServer
) -> None:
    done = run("chat", "-m", "openai:m", stdin=_lines("sk-proj-abcDEF0123456789abcDEF"))
    assert "looks like an API key" in done.err
    assert provider.requests == []
    assert run("log").err == "The log is empty.\n"


@pytest.mark.long
@pytest.mark.parametrize("is_logged", [True, False])
def test_the_history_of_the_prompt_is_for_the_user_alone_and_only_with_the_log(
    run: Callable[..., Any],
    terminal: Callable[..., Terminal],
    provider: ProviderServer,
    own_home: Path,
    *,
    is_logged: bool,
) -> None:
    pytest.importorskip("prompt_toolkit")
    screen = terminal("chat", "-m", "openai:m", *([] if is_logged else ["--no-log"]))
    screen.until(">")
    screen.type("my secret\r")
    screen.until("my secret")
    screen.type("/quit\r")
    assert screen.program.wait(30) == 0
    typed = own_home.parent / "data" / "modelwire" / "typed"
    assert typed.exists() == is_logged
    if is_logged:
        assert "my secret" in typed.read_text()
        assert oct(typed.stat().st_mode & 0o777) == "0o600"
    run("log", "--clear", "--yes")
    assert not typed.exists()


def test_clearing_the_log_asks_first(
    run: Callable[..., Any], terminal: Callable[..., Terminal], provider: ProviderServer
) -> None:
    run("ask", "hello", "-m", "openai:m")
    for answer, left in (("n", 1), ("y", 0)):
        screen = terminal("log", "--clear")
        screen.until("Delete 1 conversations and your input history? [y/N]")
        screen.type(f"{answer}\r")
        screen.program.wait(30)
        assert len(run("log").out.splitlines()) == left


TITLE = "\x1b]0;owned\x07"  # the escape sequence that changes a terminal's title


@pytest.mark.long
def test_escape_sequences_reach_no_terminal(
    run: Callable[..., Any],
    terminal: Callable[..., Terminal],
    provider: ProviderServer,
    own_home: Path,
) -> None:
    (own_home / "mine.py").write_text(
        f'def look(place: str) -> str:\n    """Look."""\n    return "seen {TITLE}" + place\n'
    )
    call = {"name": "look", "args": {"place": f"here {TITLE}"}}
    unknown = {"name": f"lock{TITLE}", "args": {}}
    script = [Answer(tool_calls=[call, unknown]), f"a{TITLE}b the end"]
    provider.say(*script, *script, *script)
    ask = ("ask", f"show {TITLE}me", "-m", "openai:m", "--tools", "mine.py", "--yes")
    for arguments in (ask, (*ask, "-n"), (*ask, "--plain")):
        screen = terminal(*arguments)
        screen.until("b the end")
        assert screen.program.wait(30) == 0
        assert "\x1b]" not in screen.everything
        assert "\x07" not in screen.everything
    for arguments in (("log", "1"), ("log",), ("log", "--find", "owned")):
        screen = terminal(*arguments)
        screen.until("show ")
        assert screen.program.wait(30) == 0
        screen.rest()
        assert "\x1b" not in screen.everything
        assert "\x07" not in screen.everything
    assert TITLE in run("log", "1").out  # what is piped stays as it is


def test_escape_sequences_of_an_error_reach_no_terminal(
    terminal: Callable[..., Terminal], provider: ProviderServer
) -> None:
    provider.say(faults.status(400, message=f"no {TITLE}such"))
    screen = terminal("ask", "show me", "-m", "openai:m")
    screen.until("such")
    assert "\x1b]" not in screen.everything


def test_ctrl_c_in_ask_ends_with_130(
    terminal: Callable[..., Terminal], provider: ProviderServer
) -> None:
    provider.say(Answer("begun " + "and on " * 500, chunk_gap_s=0.05))
    screen = terminal("ask", "tell me", "-m", "openai:m")
    screen.until("begun")
    screen.program.send_signal(signal.SIGINT)
    assert screen.program.wait(30) == 130


def test_a_refusal_and_a_cut_answer_are_said_on_standard_error(
    run: Callable[..., Any], provider: ProviderServer
) -> None:
    provider.say(Answer(refusal="I cannot."), Answer("Once upon", stop="length"))
    done = run("chat", "-m", "openai:m", stdin=_lines("do it", "tell"))
    assert (done.code, done.out) == (1, "Once upon\n")
    first, second = done.err.splitlines()
    assert first.startswith("modelwire: ")
    assert "I cannot." in first
    assert second.startswith("The answer is cut")
