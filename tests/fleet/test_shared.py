"""`modelwire.shared`: what turns it on, and the errors of what cannot be used."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest
from support.redis_server import RedisServer, redis_server

import modelwire
from modelwire import config, config_trust, sharing
from modelwire.errors import InvalidArgument, InvalidConfig


def test_the_same_server_is_the_same_fleet_and_another_is_an_error(redis: RedisServer) -> None:
    fleet = modelwire.shared(redis.url)
    assert modelwire.shared(redis.url) is fleet is sharing.shared_state()
    assert not fleet.is_away
    with pytest.raises(InvalidArgument, match="Close what `shared` has returned"):
        modelwire.shared("redis://127.0.0.1:1")
    with pytest.raises(InvalidArgument, match="Close what `shared` has returned"):
        modelwire.shared(redis.url, prefix="other")
    fleet.close()
    assert sharing.shared_state() is None
    assert modelwire.shared(redis.url) is not fleet


def test_the_environment_names_the_server(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELWIRE_SHARED", redis.url)
    assert sharing.shared_state() is modelwire.shared()


def test_without_a_name_nothing_is_shared_and_asking_for_it_is_an_error() -> None:
    assert sharing.shared_state() is None
    with pytest.raises(InvalidArgument, match="MODELWIRE_SHARED"):
        modelwire.shared()


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "modelwire.toml"


def test_a_trusted_file_names_the_server(redis: RedisServer, file: Path) -> None:
    file.write_text(f'[shared]\nurl = "{redis.url}"\nprefix = "tests"\n')
    config_trust.trust(config.read_model_file(file))
    fleet = sharing.shared_state()
    assert fleet is not None
    assert fleet.connection.key("limits", "a") == "tests:limits:{a}"


def test_an_untrusted_file_is_not_followed(
    redis: RedisServer, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file.write_text(f'[shared]\nurl = "{redis.url}"\n')
    assert sharing.shared_state() is None
    assert "modelwire config trust" in caplog.text
    with pytest.raises(InvalidConfig, match="modelwire config trust"):
        modelwire.shared()


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("[shared]\nurll = 'a'\n", "`urll`.*Did you mean `url`"),
        ("[shared]\nurl = 7\n", "must be a string"),
        ("[shared]\nprefix = 'a'\n", "no `url`"),
        ("shared = 7\n", "must be a table"),
    ],
)
def test_a_wrong_table_is_an_error_with_its_line(file: Path, text: str, error: str) -> None:
    file.write_text(text)
    with pytest.raises(InvalidConfig, match=error):
        modelwire.shared()


@pytest.mark.parametrize(
    "url",
    [
        "http://:secret@a",
        "redis://",
        "redis://:secret@a:x",
        "secret",
        "redis://h?db=secret",
        "redis://:secret@h?odd=1",
    ],
)
def test_a_url_that_cannot_be_used_is_an_error_without_its_secret(url: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        modelwire.shared(url)
    assert "secret" not in str(caught.value)
    assert sharing.shared_state() is None


def test_a_password_is_used_and_never_shown(caplog: pytest.LogCaptureFixture) -> None:
    with redis_server("--requirepass", "open-sesame") as server:
        wrong = server.url.replace("//", "//:secret@")
        with pytest.raises(InvalidArgument, match="rejects the user or the password") as caught:
            modelwire.shared(wrong)
        assert "secret" not in str(caught.value)
        fleet = modelwire.shared(server.url.replace("//", "//:open-sesame@"))
        assert "open-sesame" not in repr(fleet)
        assert str(server.port) in repr(fleet)
        assert fleet.connection.command("PING")
    assert "sesame" not in caplog.text


def test_a_server_that_is_not_there_is_away_with_one_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    fleet = modelwire.shared("redis://127.0.0.1:1")
    assert fleet.is_away
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_nothing_is_imported_for_it_before_it_is_used() -> None:
    program = (
        "import sys, modelwire, modelwire.sharing; modelwire.sharing.shared_state();"
        "print([n for n in sys.modules if 'redis' in n or 'fleet' in n])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_without_redis_py_the_error_names_the_extra() -> None:
    program = (
        "import sys; sys.modules['redis'] = None\n"
        "import modelwire\n"
        "from modelwire.errors import MissingDependency\n"
        "try: modelwire.shared('redis://h')\n"
        "except MissingDependency as exc: print(exc)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert 'pip install "modelwire[redis]"' in done.stdout, done.stderr
