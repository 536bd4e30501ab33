"""What the commands share and `llm`'s users know: `-c`, `-t`, `-f`, `-x`, short schemas, usage, words of the shell."""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelwire import cli
from modelwire.command import model_options
from modelwire.command.shell_errors import shell_text
from modelwire.errors import InvalidArgument, StepLimitReached
from modelwire.testing import Answer, ProviderServer, faults
from modelwire.user_paths import user_folder

ROOT = str(Path(__file__).parents[2])


def sent(provider: ProviderServer, at: int = -1) -> list[tuple[str, Any]]:
    return [(one["role"], one["content"]) for one in provider.requests[at].body["messages"]]


def test_c_continues_the_last_conversation_with_its_model_and_cid_another_one(
    run: Callable[..., Any], provider: ProviderServer
) -> None:
    provider.say("one", "two", "three", "four")
    run("ask", "first", "-m", "openai:m", "-s", "Be short.")
    run("ask", "other", "-m", "openai:n")
    assert run("ask", "-c", "and then").out == "three\n"
    assert sent(provider) == [("user", "other"), ("assistant", "two"), ("user", "and then")]
    assert provider.requests[-1].body["model"] == "n"
    assert run("ask", "--cid", "1", "go on", "-s", "Be long.").code == 0
    assert sent(provider)[0] == ("system", "Be long.")
    assert [text for _, text in sent(provider)[1:]] == ["first", "one", "go on"]
    assert provider.requests[-1].body["model"] == "m"
    assert len(run("log", "--json").out.splitlines()) == 2
    assert "four" in run("log", "1").out


def test_chat_continues_a_conversation_too(
    run: Callable[..., Any], provider: ProviderServer
) -> None:
    provider.say("one", "two")
    run("ask", "first", "-m", "openai:m", "-s", "Be short.")
    assert run("chat", "-c", stdin=b"and then\n").out == "two\n"
    assert [text for _, text in sent(provider)] == ["Be short.", "first", "one", "and then"]


def test_there_is_nothing_to_continue(run: Callable[..., Any], provider: ProviderServer) -> None:
    assert "the log is empty" in run("ask", "-c", "hi").err
    run("ask", "first", "-m", "openai:m")
    done = run("ask", "--cid", "7", "hi")
    assert (done.code, "There is no conversation 7" in done.err) == (2, True)


def test_fragments_come_before_the_question(
    run: Callable[..., Any], provider: ProviderServer, own_home: Path
) -> None:
    (own_home / "notes.txt").write_text("from a file\n")
    run("ask", "sum up", "-m", "openai:m", "-f", "notes.txt", "-f", "-", stdin=b"from a pipe\n")
    assert sent(provider) == [("user", "from a file\n\nfrom a pipe\n\nsum up")]
    done = run("ask", "sum up", "-m", "openai:m", "-f", f"{provider.base_url_for('openai')}/models")
    assert done.code == 0
    assert '"object"' in sent(provider)[0][1]
    asked = len([one for one in provider.requests if one.method == "POST"])
    for arguments, text in (
        (["-f", "none.txt"], "`none.txt` cannot be read"),
        (["-f", "http://127.0.0.1:9/x"], "`http://127.0.0.1:9/x` cannot be read: ConnectError"),
        (["-f", "-", "-a", "-"], "Standard input can be read once"),
    ):
        done = run("ask", "sum up", "-m", "openai:m", *arguments)
        assert (done.code, done.out, text in done.err) == (2, "", True), done
    assert len([one for one in provider.requests if one.method == "POST"]) == asked


def test_what_is_piped_in_can_be_attached(
    run: Callable[..., Any], provider: ProviderServer
) -> None:
    png = bytes.fromhex("89504e470d0a1a0a") + b"rest"
    run("ask", "what is it", "-m", "openai:gpt-4o", "-a", "-", stdin=png)
    (_, content) = sent(provider)[0]
    assert [part["type"] for part in content] == ["text", "image_url"]
    run("ask", "what is it", "-m", "openai:gpt-4o", "-a", "-", stdin=b"plain text")
    assert "plain text" in json.dumps(sent(provider)[0][1])


@pytest.mark.parametrize(
    ("answer", "printed"),
    [
        ("Here:\n```python\nx = 1\n```\nor\n```python\nx = 2\n\ny\n```\nDone.", "x = 2\n\ny\n"),
        ("~~~\na `b`\n~~~", "a `b`\n"),
        ("cut:\n```sh\nls\n", "ls\n"),
        ("no code", "no code\n"),
    ],
)
def test_x_prints_the_last_block_of_code(
    run: Callable[..., Any], provider: ProviderServer, answer: str, printed: str
) -> None:
    provider.say(answer)
    assert run("ask", "code?", "-m", "openai:m", "-x").out == printed


def test_a_short_schema_names_fields_types_and_meanings(
    run: Callable[..., Any], provider: ProviderServer
) -> None:
    schema = model_options.schema_of("name, age int, mood: how they feel, ok bool")
    assert schema["properties"] == {
        "name": {"type": "string"},
        "age": {"type": "integer"},
        "mood": {"type": "string", "description": "how they feel"},
        "ok": {"type": "boolean"},
    }
    assert schema["required"] == ["name", "age", "mood", "ok"]
    provider.say('{"name": "Ada", "age": 36}')
    done = run("ask", "who", "-m", "openai:gpt-4o", "--schema", "name, age int")
    assert json.loads(done.out) == {"name": "Ada", "age": 36}


def test_usage_has_three_names(run: Callable[..., Any], provider: ProviderServer) -> None:
    for option in ("-u", "--usage", "--cost"):
        assert "tokens in" in run("ask", "hi", "-m", "openai:m", option).err


def test_a_template_fills_what_the_options_leave_out(
    run: Callable[..., Any], provider: ProviderServer, own_home: Path
) -> None:
    pytest.importorskip("tomlkit")
    saved = run(
        "ask", "-m", "openai:m", "-s", "Be short.", "-p", "temperature=0", "--save", "short"
    )
    assert (saved.code, provider.requests) == (0, [])
    own = user_folder("config") / "modelwire.toml"
    assert own.stat().st_mode & 0o077 == 0
    assert run("ask", "hi", "-t", "short").code == 0
    assert sent(provider)[0] == ("system", "Be short.")
    body = provider.requests[-1].body
    assert (body["model"], body["temperature"]) == ("m", 0)
    run("ask", "hi", "-t", "short", "-s", "Be long.", "-p", "temperature=1", "-m", "openai:n")
    body = provider.requests[-1].body
    assert sent(provider)[0] == ("system", "Be long.")
    assert (body["model"], body["temperature"]) == ("n", 1)
    assert run("chat", "-t", "short", stdin=b"hi\n").code == 0
    assert sent(provider)[0] == ("system", "Be short.")
    (own_home / "in.csv").write_text("text\nhi\n")
    done = run("batch", "in.csv", "--prompt", "{text}", "-t", "short", "-o", "out.csv", "-q")
    assert done.code == 0, done
    assert sent(provider)[0] == ("system", "Be short.")
    assert "template short: system, model, params" in run("config", "show").out
    done = run("ask", "hi", "-t", "shrt")
    assert (done.code, "Did you mean `short`" in done.err) == (2, True)


def test_a_template_of_a_folder_runs_its_tools_only_once_it_is_trusted(
    run: Callable[..., Any], provider: ProviderServer, own_home: Path
) -> None:
    (own_home / "evil.py").write_text(
        "__import__('pathlib').Path('ran').touch()\ndef f() -> str:\n    'F.'\n    return ''\n"
    )
    (own_home / "modelwire.toml").write_text('[templates.t]\ntools = "evil.py"\n')
    done = run("ask", "hi", "-m", "openai:m", "-t", "t")
    assert (done.code, (own_home / "ran").exists()) == (2, False)
    assert "config trust" in done.err
    run("config", "trust")
    assert run("ask", "hi", "-m", "openai:m", "-t", "t").code == 0
    assert (own_home / "ran").exists()


@pytest.mark.parametrize("command", ["ask", "chat", "batch"])
def test_the_same_options_are_everywhere(command: str) -> None:
    parser: Any = cli._parser()
    commands = next(
        one for one in parser._actions if isinstance(one, argparse._SubParsersAction)
    ).choices
    options = commands[command]._option_string_actions
    assert {"-m", "-s", "-p", "-t"} <= set(options)
    assert "-a" in options or command == "batch"
    assert options["-p"].dest == "param"


@pytest.mark.parametrize("command", [["ask", "hi"], ["batch", "in.csv", "--prompt", "{text}"]])
@pytest.mark.parametrize("param", ["temperature", "model=x", "api_key=x"])
def test_a_wrong_param_is_the_same_error_everywhere(
    run: Callable[..., Any], own_home: Path, command: list[str], param: str
) -> None:
    (own_home / "in.csv").write_text("text\nhi\n")
    output = ["-o", "out.csv"] if command[0] == "batch" else []
    done = run(*command, *output, "-m", "openai:m", "-p", param)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("modelwire: `--param ")


def test_a_dry_run_needs_no_key(
    run: Callable[..., Any], own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    (own_home / "in.csv").write_text("text\nhello\n")
    line = ["batch", "in.csv", "--prompt", "{text}", "-m", "openai:gpt-4o-mini", "-o", "out.csv"]
    assert run(*line).code == 2
    done = run(*line, "--dry-run")
    assert (done.code, "hello" in done.out) == (0, True)


def test_trust_is_spoken_of_before_keys_and_by_models_and_doctor(
    run: Callable[..., Any], own_home: Path
) -> None:
    (own_home / "modelwire.toml").write_text(
        '[models.q]\nmodel = "openai:m"\nbase_url = "https://x.example/v1"\napi_key_env = "NO_KEY"\n'
    )
    done = run("ask", "hi", "-m", "q")
    assert (done.code, "config trust" in done.err, "NO_KEY` is not set" in done.err) == (
        2,
        True,
        False,
    )
    assert "is not trusted" in run("models").err
    assert "is not trusted" in run("doctor").out
    run("config", "trust")
    assert "`NO_KEY` is not set" in run("ask", "hi", "-m", "q").err
    assert "is not trusted" not in run("models").err + run("doctor").out


def test_a_cut_stream_is_told_in_words_of_the_shell(
    run: Callable[..., Any], provider: ProviderServer
) -> None:
    provider.say(faults.no_terminal_mark())
    done = run("ask", "one two three", "-m", "openai:m", "-p", "max_retries=0")
    assert (done.code, ".partial" in done.err) == (1, False)


def test_a_loop_of_tools_without_an_end_can_be_continued(
    run: Callable[..., Any], provider: ProviderServer, own_home: Path
) -> None:
    (own_home / "t.py").write_text('def look() -> str:\n    "Look."\n    return "nothing"\n')
    call = Answer(tool_calls=[{"name": "look", "args": {}, "id": "c"}])
    provider.say(*[call] * 60)
    done = run("ask", "find it", "-m", "openai:m", "--tools", "t.py", "-n", "-y")
    assert done.code == 1
    assert "max_steps" not in done.err
    assert "ask -c" in done.err
    assert "find it" in run("log").out


def test_arguments_of_python_become_options() -> None:
    options = argparse.Namespace(param=[], model=None)
    for python, shell in {
        "Set `use_responses_api=True`.": "Set `-p use_responses_api=true`.",
        "write `model_kwargs={'a': ...}`.": """write `-p 'model_kwargs={"a": ...}'`.""",
        'pass `init_chat_model("openai:m")`': "pass `-m openai:m`",
        "set `K`, or pass `api_key=`.": "set `K`, or store it with `modelwire keys set PROVIDER`.",
    }.items():
        assert shell_text(InvalidArgument(python), options) == shell
    assert shell_text(InvalidArgument("`a=True`"), argparse.Namespace()) == "`a=True`"
    assert StepLimitReached.__mro__  # it is a class of ours with a text of its own


@pytest.mark.long
def test_a_long_silence_says_what_it_waits_for(refusing_port: int) -> None:
    place = f"http://127.0.0.1:{refusing_port}/v1"
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "modelwire.cli",
            "ask",
            "hi",
            "-m",
            "openai:m",
            "-p",
            "max_retries=5",
        ],
        env={**os.environ, "PYTHONPATH": ROOT, "OPENAI_API_KEY": "k", "OPENAI_BASE_URL": place},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 1
    first, last = done.stderr.splitlines()
    assert first.startswith("Still waiting for openai:m: the request failed ")
    assert last.startswith("modelwire: ")


@pytest.mark.parametrize("command", ["jobs", "keys", "config", "local"])
def test_a_command_without_its_second_word_names_what_there_is(
    run: Callable[..., Any], command: str
) -> None:
    done = run(command)
    assert done.code == 2
    assert re.search(r"required: COMMAND, one of [a-z]+, [a-z]+", done.err)
