"""The guard of `conftest.py`: no test leaves this machine, and no test depends on who runs it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

CONFTEST = Path(__file__).with_name("conftest.py").read_text(encoding="utf-8")

STRAYS = {
    "connect": "socket.socket().connect(('192.0.2.1', 80))",
    "connect_ex": "socket.socket().connect_ex(('192.0.2.1', 80))",
    "sendto": "socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 53))",
    "ipv6": "socket.socket(socket.AF_INET6).connect(('2001:db8::1', 80))",
    "mapped": "socket.socket(socket.AF_INET6).connect(('::ffff:192.0.2.1', 80))",
    "name": "socket.socket().connect(('example.com', 80))",
    "create_connection": "socket.create_connection(('example.com', 80))",
    "getaddrinfo": "socket.getaddrinfo('example.com', 443)",
    "gethostbyname": "socket.gethostbyname('example.com')",
    "thread": "t = threading.Thread(target=look_up); t.start(); t.join()",
    "asyncio": "asyncio.run(asyncio.open_connection('192.0.2.1', 80))",
    "asyncio by name": "asyncio.run(asyncio.open_connection('example.com', 80))",
    "httpx2": "httpx2.get('http://192.0.2.1/', trust_env=False)",
    "httpx2 async": "asyncio.run(fetch('http://192.0.2.1/'))",
}
FILE = """
import asyncio, contextlib, socket, threading
import httpx2

def look_up():
    with contextlib.suppress(Exception):
        socket.getaddrinfo('example.com', 443)

async def fetch(url):
    async with httpx2.AsyncClient(trust_env=False) as client:
        await client.get(url)
"""
TEST = """
def test_{index}():
    try:
        {line}
    except Exception:
        pass  # swallowed: the test fails all the same
"""


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeconftest(CONFTEST.replace('pytest_plugins = ["pytester"]', ""))
    pytester.makeini(f"[pytest]\nfilterwarnings = ignore\npythonpath = {Path(__file__).parent}")
    return pytester


def test_a_test_that_tries_to_leave_fails_though_it_swallowed_the_error(
    suite: pytest.Pytester,
) -> None:
    suite.makepyfile(
        FILE + "".join(TEST.format(index=i, line=line) for i, line in enumerate(STRAYS.values()))
    )
    result = suite.runpytest_subprocess("-q", "-p", "no:cacheprovider")
    result.assert_outcomes(failed=len(STRAYS))
    result.stdout.fnmatch_lines(["*tried to leave this machine*"])


def test_a_fixture_that_tries_to_leave_is_an_error(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        FILE
        + """
import pytest

@pytest.fixture
def early():
    look_up()

@pytest.fixture
def late():
    yield
    look_up()

def test_early(early): pass
def test_late(late): pass
def test_after(): pass
"""
    )
    suite.runpytest_subprocess("-q", "-p", "no:cacheprovider").assert_outcomes(passed=2, errors=2)


def test_loopback_and_unix_sockets_are_open(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        for host in ("127.0.0.1", "localhost"):
            socket.create_connection((host, server.getsockname()[1])).close()
        with socket.socket() as other:
            assert other.connect_ex(server.getsockname()) == 0
    if hasattr(socket, "AF_UNIX"):
        with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
            server.bind(str(tmp_path / "s"))
            server.listen()
            client.connect(str(tmp_path / "s"))


def test_literal_addresses_may_be_resolved() -> None:
    assert socket.getaddrinfo("192.0.2.1", 80)
    assert socket.getaddrinfo("localhost", 80)


def test_keys_models_and_proxies_of_the_developer_are_gone(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (
        "OPENAI_API_KEY",
        "ANTHROPIC_API_KEY",
        "MODELWIRE_MODEL",
        "HTTPS_PROXY",
        "all_proxy",
        "no_proxy",
    ):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("MODELWIRE_CACHE", "kept")
    suite.makepyfile(
        """
import os

def test_environment():
    foreign = ("OPENAI_", "ANTHROPIC_", "MODELWIRE_")
    left = [name for name in os.environ if name.startswith(foreign) or name.lower().endswith("_proxy")]
    assert left == ["MODELWIRE_CACHE"]
"""
    )
    suite.runpytest_subprocess("-q", "-p", "no:cacheprovider").assert_outcomes(passed=1)
    assert os.environ["MODELWIRE_CACHE"] == "kept"


def test_both_colours_run_one_test(colour: object, request: pytest.FixtureRequest) -> None:
    assert request.node.name.endswith(f"[{colour.name}]")  # type: ignore[attr-defined]
