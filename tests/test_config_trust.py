"""A `modelwire.toml` that somebody else wrote into the working directory sends no key anywhere until it is trusted."""

from __future__ import annotations

import io
import json
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.provider_bodies import openai_answer
from support.raw_server import answer

from modelwire import cli, init_chat_model
from modelwire.errors import InvalidConfig, ModelwireError
from modelwire.user_paths import user_folder

OPENAI = 'provider = "openai"\nmodel = "m"\n'


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("OPENAI_API_KEY", "of-the-user")
    monkeypatch.setenv("AWS_SECRET", "another-secret")
    folder = tmp_path / "cloned"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def thief(raw_server: Any) -> Any:
    return raw_server([[answer(json.dumps(openai_answer("ok")).encode())]], repeat=True)


def write(folder: Path, *lines: str, name: str = "quick") -> Path:
    file = folder / "modelwire.toml"
    file.write_text(f'[models."{name}"]\n{OPENAI}' + "\n".join(lines) + "\n")
    return file


WAYS: dict[str, Callable[[str], list[str]]] = {
    "an address": lambda url: [f'base_url = "{url}"'],
    "another name of it": lambda url: [f'openai_api_base = "{url}"'],
    "a proxy": lambda url: [
        f'proxy = "{url.removesuffix("/v1")}"',
        'base_url = "http://api.openai.com/v1"',
    ],
    "another variable": lambda _: ['api_key_env = "AWS_SECRET"'],
    "both": lambda url: [f'base_url = "{url}"', 'api_key_env = "AWS_SECRET"'],
    "the provider's own variable": lambda url: [
        f'base_url = "{url}"',
        'api_key_env = "OPENAI_API_KEY"',
    ],
}


@pytest.mark.parametrize("way", WAYS)
def test_it_is_refused_in_one_line_before_any_request(
    way: str, here: Path, thief: Any, colour: Any
) -> None:
    write(here, *WAYS[way](thief.url))
    with pytest.raises(InvalidConfig, match="modelwire config trust") as refused:
        colour.invoke(init_chat_model("quick"), "hi")
    assert "\n" not in str(refused.value)
    assert "`modelwire.toml`, line " in str(refused.value)
    with pytest.raises(InvalidConfig):
        configurable: Any = init_chat_model("quick", configurable_fields=("temperature",))
        colour.invoke(configurable, "hi")
    assert thief.requests == []


@pytest.mark.parametrize("way", ["an address", "another variable", "both"])
def test_trust_lasts_until_the_file_changes_or_lies_elsewhere(
    way: str, here: Path, thief: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = write(here, *WAYS[way](thief.url))
    assert cli.main(["config", "trust"]) == 0
    assert str(file) in capsys.readouterr().out
    init_chat_model("quick")
    file.write_text(file.read_text() + "# changed\n")
    with pytest.raises(InvalidConfig, match="config trust"):
        init_chat_model("quick")
    file.write_text(file.read_text().removesuffix("# changed\n"))
    init_chat_model("quick")


def test_the_same_text_in_another_folder_is_another_file(
    here: Path, thief: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = write(here, *WAYS["an address"](thief.url))
    assert cli.main(["config", "trust", str(file)]) == 0
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    (tmp_path / "other" / "modelwire.toml").write_text(file.read_text())
    with pytest.raises(InvalidConfig, match="config trust"):
        init_chat_model("quick")


def test_a_file_that_is_named_and_the_users_own_need_no_trust(
    here: Path, thief: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(here, *WAYS["both"](thief.url))
    assert init_chat_model("quick", config_file=file).invoke("hi").text == "ok"
    assert init_chat_model("quick", config_file="modelwire.toml").invoke("hi").text == "ok"
    with monkeypatch.context() as patch:
        patch.setenv("MODELWIRE_CONFIG", str(file))
        assert init_chat_model("quick").invoke("hi").text == "ok"
    own = user_folder("config") / "modelwire.toml"
    own.parent.mkdir(parents=True)
    file.rename(own)
    assert init_chat_model("quick").invoke("hi").text == "ok"
    monkeypatch.chdir(own.parent)
    assert init_chat_model("quick").invoke("hi").text == "ok"
    assert b"another-secret" in thief.requests[-1]


def test_what_sends_no_key_elsewhere_needs_no_trust(
    here: Path, thief: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(here, 'api_key_env = "OPENAI_API_KEY"', "temperature = 0")
    assert init_chat_model("quick").build_request("hi").url.startswith("https://api.openai.com")
    write(here, 'base_url = "https://api.openai.com/v1"')
    init_chat_model("quick")
    write(here, f'base_url = "{thief.url}"')
    init_chat_model("quick", base_url="https://house.example/v1")  # the program's own wins
    monkeypatch.delenv("OPENAI_API_KEY")
    assert init_chat_model("quick").invoke("hi").text == "ok"  # nothing to send along
    assert b"authorization" not in thief.requests[0].lower()


def test_a_key_of_the_program_goes_to_no_address_of_the_file_either(
    here: Path, thief: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    write(here, f'base_url = "{thief.url}"')
    with pytest.raises(InvalidConfig, match="config trust"):
        init_chat_model("quick", api_key="of-the-program")


@pytest.mark.parametrize(
    ("provider", "more"),
    [
        ("anthropic", 'base_url = "http://127.0.0.1:9"'),
        ("groq", 'base_url = "http://127.0.0.1:9"'),
        ("azure", 'azure_endpoint = "http://127.0.0.1:9"'),
        ("gemini", 'base_url = "http://127.0.0.1:9"'),
        ("google_vertexai", 'base_url = "http://127.0.0.1:9"'),
        ("bedrock_converse", 'endpoint_url = "http://127.0.0.1:9"'),
        ("groq", 'api_key_env = "OPENAI_API_KEY"'),
        ("gemini", 'api_key_env = "OPENAI_API_KEY"'),
    ],
)
def test_every_provider_is_covered(
    provider: str, more: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ANTHROPIC_API_KEY", "GROQ_API_KEY", "AZURE_OPENAI_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.setenv(name, "of-the-user")
    (here / "modelwire.toml").write_text(
        f'[models.quick]\nprovider = "{provider}"\nmodel = "m"\n{more}\n'
    )
    with pytest.raises(InvalidConfig, match="config trust"):
        init_chat_model("quick")


@pytest.mark.parametrize("name", ["openai:gpt-4o-mini", "groq:m", "local:smollm2"])
@pytest.mark.parametrize("is_named", [False, True])
def test_no_row_hides_a_model_of_a_provider(
    name: str, is_named: bool, here: Path, thief: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(here, f'base_url = "{thief.url}"', name=name)
    if name.startswith("local"):
        monkeypatch.setattr(
            "modelwire.local.ensure_server", lambda *_, **__: pytest.skip("it is the local one")
        )
    monkeypatch.setenv("GROQ_API_KEY", "k")
    made: Any = init_chat_model(name, config_file=file if is_named else None)
    assert "127.0.0.1" not in made.build_request("hi").url
    assert made.model == name.partition(":")[2]


def test_the_command_asks_nothing_before_the_file_is_trusted(
    here: Path, thief: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    write(here, f'base_url = "{thief.url}"')
    (here / "in.csv").write_text("text\nhi\n")
    for line in (
        ["ask", "-n", "-m", "quick", "hi"],
        ["batch", "in.csv", "--prompt", "{text}", "--model", "quick", "-o", "out.csv", "-q"],
    ):
        assert cli.main(line) != 0
        assert "modelwire config trust" in capsys.readouterr().err
    assert cli.main(["config", "check"]) == 1
    assert cli.main(["config", "show"]) == 0
    assert "not trusted" in capsys.readouterr().err
    assert thief.requests == []
    assert cli.main(["config", "trust"]) == 0
    assert cli.main(["config", "set", "default", "quick"]) == 0  # the user's own change
    assert cli.main(["ask", "-n", "-m", "quick", "hi"]) == 0
    assert len(thief.requests) == 1


def test_trust_of_no_file_is_an_error(here: Path) -> None:
    assert cli.main(["config", "trust"]) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX")
def test_what_is_trusted_is_the_owners_to_read(here: Path) -> None:
    write(here, 'base_url = "https://house.example/v1"')
    assert cli.main(["config", "trust"]) == 0
    (record,) = (user_folder("data") / "trusted").iterdir()
    assert stat.S_IMODE(record.stat().st_mode) == 0o600
    assert stat.S_IMODE(record.parent.stat().st_mode) == 0o700


def test_a_row_without_a_provider_that_is_known_is_refused_as_before(here: Path) -> None:
    (here / "modelwire.toml").write_text('[models.quick]\nprovider = "nosuch"\nmodel = "m"\n')
    with pytest.raises(ModelwireError, match="No provider is called `nosuch`"):
        init_chat_model("quick")
