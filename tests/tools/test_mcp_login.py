"""Logins to MCP servers: a loopback authorization server, tokens in the user's folder, and no token anywhere else."""

from __future__ import annotations

import json
import logging
import re
import socket
import stat
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from support.oauth_mcp_server import OAuthMCPServer

from modelwire.errors import ConnectFailed, InvalidArgument
from modelwire.tools import ToolException
from modelwire.tools.mcp import MCPTools, OAuthLogin, login, logout

pytest.importorskip("mcp", reason="needs the extra `mcp`")

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    return tmp_path / "modelwire" / "mcp"


@pytest.fixture
def server() -> Iterator[OAuthMCPServer]:
    with OAuthMCPServer() as running:
        yield running


def visit(url: str) -> None:
    """Be the browser of a user who logs in."""
    with urllib.request.urlopen(url, timeout=20) as page:
        page.read()


VISIT = OAuthLogin(open_url=visit)


def stored(folder: Path) -> dict[str, Any]:
    (file,) = folder.iterdir()
    record: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return record


def change(folder: Path, **values: Any) -> None:
    (file,) = folder.iterdir()
    file.write_text(json.dumps({**stored(folder), **values}), encoding="utf-8")


def hello(tools: MCPTools) -> Any:
    return tools[0].invoke({})


def test_a_login_is_stored_and_later_programs_use_it(
    server: OAuthMCPServer, folder: Path, colour: Any
) -> None:
    assert login(server.url, auth=VISIT) is True
    assert server.count("/authorize") == 1
    with MCPTools(server.url) as tools:
        assert colour.run(lambda: tools[0].invoke({}), lambda: tools[0].ainvoke({})) == "hello"
    assert server.count("/authorize") == 1
    assert server.count("/oauth/token") == 1
    assert stored(folder)["tokens"]["access_token"] in server.tokens


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_only_the_user_can_read_the_tokens(server: OAuthMCPServer, folder: Path) -> None:
    folder.mkdir(parents=True, mode=0o755)
    login(server.url, auth=VISIT)
    (file,) = folder.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_an_expired_token_is_refreshed_without_a_login(
    server: OAuthMCPServer, folder: Path
) -> None:
    login(server.url, auth=VISIT)
    before = stored(folder)["tokens"]
    server.tokens.clear()
    change(folder, expires_at=time.time() - 5)
    with MCPTools(server.url) as tools:
        assert hello(tools) == "hello"
    after = stored(folder)["tokens"]
    assert after["access_token"] != before["access_token"]
    assert after["refresh_token"] in server.refresh_tokens
    assert server.count("/authorize") == 1


def test_a_login_that_the_server_has_ended_names_the_command_and_opens_no_browser(
    server: OAuthMCPServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    login(server.url, auth=VISIT)
    server.tokens.clear()
    monkeypatch.setattr("webbrowser.open", lambda url: pytest.fail("a browser was opened"))
    with pytest.raises(ConnectFailed, match=f"modelwire mcp login {re.escape(server.url)}"):
        MCPTools(server.url)


def test_without_a_login_the_error_names_the_command(server: OAuthMCPServer) -> None:
    with pytest.raises(ConnectFailed, match=f"modelwire mcp login {re.escape(server.url)}"):
        MCPTools(server.url)
    assert server.count("/register") == 0


def test_a_login_that_ends_in_between_is_an_error_of_the_call_alone(
    server: OAuthMCPServer, folder: Path, colour: Any
) -> None:
    login(server.url, auth=VISIT)
    with MCPTools(server.url) as tools:
        valid = set(server.tokens)
        server.tokens.clear()
        with pytest.raises(ToolException, match="modelwire mcp login"):
            colour.invoke(tools[0], {})
        server.tokens |= valid
        assert colour.invoke(tools[0], {}) == "hello"


def test_a_header_of_the_program_is_used_in_place_of_the_stored_login(
    server: OAuthMCPServer,
) -> None:
    login(server.url, auth=VISIT)
    server.tokens = {"mine"}
    with MCPTools(server.url, headers={"Authorization": "Bearer mine"}) as tools:
        assert hello(tools) == "hello"


def test_a_second_login_is_a_new_one_and_the_client_is_registered_once(
    server: OAuthMCPServer, folder: Path
) -> None:
    fresh = OAuthLogin(open_url=visit, is_fresh=True)
    login(server.url, auth=fresh)
    first = stored(folder)
    login(server.url, auth=fresh)
    second = stored(folder)
    assert server.count("/authorize") == 2
    assert server.count("/register") == 1
    assert first["client"] == second["client"]
    assert first["tokens"] != second["tokens"]


def test_a_client_whose_port_is_taken_is_registered_anew(
    server: OAuthMCPServer, folder: Path
) -> None:
    fresh = OAuthLogin(open_url=visit, is_fresh=True)
    login(server.url, auth=fresh)
    port = urlsplit(stored(folder)["client"]["redirect_uris"][0]).port
    with socket.create_server(("127.0.0.1", port or 0)):
        login(server.url, auth=fresh)
    assert server.count("/register") == 2


def test_logout_deletes_the_tokens(server: OAuthMCPServer, folder: Path) -> None:
    login(server.url, auth=VISIT)
    assert logout(server.url) is True
    assert [*folder.iterdir()] == []
    assert logout(server.url) is False


def test_a_file_that_is_damaged_is_no_login(server: OAuthMCPServer, folder: Path) -> None:
    login(server.url, auth=VISIT)
    (file,) = folder.iterdir()
    file.write_text("{", encoding="utf-8")
    with pytest.raises(ConnectFailed, match="modelwire mcp login"):
        MCPTools(server.url)
    assert login(server.url, auth=VISIT) is True


def test_a_server_that_wants_no_login_stores_nothing(server: OAuthMCPServer, folder: Path) -> None:
    server.tokens.add("")
    assert login(server.url, auth=VISIT) is False
    assert not folder.exists()


def test_a_user_who_refuses_is_an_error_with_the_servers_words(server: OAuthMCPServer) -> None:
    server.refuses_user = True
    with pytest.raises(ConnectFailed, match=r"refused the login: The user said no"):
        login(server.url, auth=VISIT)


def test_a_user_who_does_not_come_back_is_an_error_in_time(server: OAuthMCPServer) -> None:
    with pytest.raises(ConnectFailed, match=r"not finished within 0\.2 s"):
        login(server.url, auth=OAuthLogin(open_url=lambda url: None, login_s=0.2))


def test_an_answer_that_belongs_to_another_login_is_refused(server: OAuthMCPServer) -> None:
    refused: list[int] = []

    def visit_with_a_guest(url: str) -> None:
        page = parse_qs(urlsplit(url).query)["redirect_uri"][0]
        for target in (
            f"{page}?code=stolen&state=guessed",
            page.replace("callback", "favicon.ico"),
        ):
            with pytest.raises(urllib.error.HTTPError) as caught:
                visit(target)
            refused.append(caught.value.code)
            caught.value.close()
        visit(url)

    assert login(server.url, auth=OAuthLogin(open_url=visit_with_a_guest)) is True
    assert refused == [404, 404]


@pytest.mark.long
def test_the_time_of_a_call_stops_while_the_user_logs_in(server: OAuthMCPServer) -> None:
    def slowly(url: str) -> None:
        time.sleep(3.5)
        visit(url)

    with MCPTools(server.url, auth=OAuthLogin(open_url=slowly), timeout_s=3.0) as tools:
        server.tokens.clear()
        assert hello(tools) == "hello"


def test_a_command_takes_no_auth() -> None:
    with pytest.raises(InvalidArgument, match="`auth` is for a server with a URL"):
        MCPTools(["x"], auth=VISIT)


@pytest.mark.parametrize("answers_nonsense", [False, True])
def test_no_log_no_repr_and_no_error_has_a_token(
    server: OAuthMCPServer,
    folder: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    answers_nonsense: bool,
) -> None:
    caplog.set_level(logging.DEBUG)
    server.answers_nonsense = answers_nonsense
    shown: list[str] = []
    try:
        login(server.url, auth=VISIT)
        with MCPTools(server.url) as tools:
            hello(tools)
            shown += [repr(tools), repr(tools[0]), repr(tools._connection)]
            server.tokens.clear()
            server.refresh_tokens.clear()
            hello(tools)
    except (ConnectFailed, ToolException) as exc:
        error: BaseException | None = exc
        while error is not None:
            shown.append(repr(error))
            error = error.__cause__
    out, err = capfd.readouterr()
    everything = "\n".join([caplog.text, *map(repr, caplog.records), out, err, *shown])
    assert shown
    assert "sk-access" not in everything
    assert "sk-refresh" not in everything
    assert "sk-secret" not in repr(OAuthLogin(client_id="me", client_secret="sk-secret"))
