"""What the environment says of proxies and trust is read for each call, and means the same for every engine."""

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.certificates import a_certificate
from support.raw_server import RawServer, answer
from support.word_exchange import word_exchange

from modelwire.errors import InvalidConfig, TLSFailed
from modelwire.transport.call import call_flow
from modelwire.transport.connections.address import address_of
from modelwire.transport.connections.proxies import proxy_of
from modelwire.transport.connections.select import async_connection, sync_connection
from modelwire.transport.drivers import adrive, drive
from modelwire.transport.steps import Exchange

PROXY = "http://127.0.0.1:9"
resolve = socket.getaddrinfo


def exchange(url: str) -> Exchange:
    return word_exchange(url, headers={"content-type": "application/json"})


def over(engine: str) -> Callable[[Exchange], Any]:
    """Return what makes calls over an engine, the async ones on one event loop for all."""
    if engine == "sync":
        return lambda ex: drive(call_flow(ex), sync_connection(ex))
    if engine == "aiohttp":
        pytest.importorskip("aiohttp")
    loop = asyncio.new_event_loop()

    def call(ex: Exchange) -> Any:
        return loop.run_until_complete(adrive(call_flow(ex), async_connection(ex, engine=engine)))

    call.loop = loop  # type: ignore[attr-defined]
    return call


@pytest.fixture(params=["sync", "httpx2", "aiohttp"])
def call(request: pytest.FixtureRequest) -> Any:
    made = over(request.param)
    yield made
    if (loop := getattr(made, "loop", None)) is not None:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


@pytest.mark.parametrize(
    ("no_proxy", "url", "goes_straight"),
    [
        ("*", "https://a.b.test/v1", True),
        ("b.test", "https://a.b.test/v1", True),
        ("b.test", "https://b.test/v1", True),
        ("b.test", "https://ab.test/v1", False),
        ("*.b.test", "https://a.b.test/v1", True),
        ("*.b.test", "https://b.test/v1", False),
        (".b.test", "https://a.b.test/v1", True),
        (".b.test", "https://b.test/v1", False),
        (" other , B.Test ,", "https://A.b.test/v1", True),
        ("b.test:8443", "https://b.test:8443/v1", True),
        ("b.test:8443", "https://b.test/v1", False),
        ("b.test:443", "https://b.test/v1", True),
        ("10.0.0.0/8", "http://10.1.2.3/v1", True),
        ("10.0.0.0/8", "http://11.1.2.3/v1", False),
        ("10.0.0.0/8", "http://b.test/v1", False),
        ("10.1.2.3", "http://10.1.2.3:80/v1", True),
        ("fd00::1", "http://[fd00::1]/v1", True),
        ("[fd00::1]:80", "http://[fd00::1]/v1", True),
        ("fd00::/8", "http://[fd00::1]/v1", True),
        ("https://b.test", "https://b.test/v1", True),
        ("http://b.test", "https://b.test/v1", False),
        ("not/a/network", "http://10.1.2.3/v1", False),
        ("", "https://b.test/v1", False),
    ],
)
def test_no_proxy_means_the_same_for_every_engine(
    no_proxy: str, url: str, goes_straight: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", PROXY)
    monkeypatch.setenv("NO_PROXY", no_proxy)
    expected = None if goes_straight else PROXY
    assert proxy_of(address_of(url)) == expected
    assert sync_connection(exchange(url))._settings.proxy == expected
    assert async_connection(exchange(url))._settings.proxy == expected
    pytest.importorskip("aiohttp")
    line: Any = async_connection(exchange(url), engine="aiohttp")
    assert line._proxy_of_call() == expected


def test_the_environment_of_the_moment_decides_where_a_call_goes(
    call: Any, raw_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def local(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        return resolve(
            "127.0.0.1" if host in ("a.test", b"a.test") else host, port, *args, **kwargs
        )

    monkeypatch.setattr(socket, "getaddrinfo", local)
    server: RawServer = raw_server([[answer(b"straight")]], repeat=True)
    first, second = (raw_server([[answer(body)]], repeat=True) for body in (b"first", b"second"))
    url = f"http://a.test:{server.port}/v1"
    answers = [call(exchange(url))]
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{first.port}")
    answers.append(call(exchange(url)))
    monkeypatch.setenv("HTTP_PROXY", f"http://me:pw@127.0.0.1:{second.port}")
    answers.append(call(exchange(url)))
    monkeypatch.setenv("NO_PROXY", "a.test")
    answers.append(call(exchange(url)))
    monkeypatch.delenv("NO_PROXY")
    answers.append(call(exchange(url)))
    monkeypatch.delenv("HTTP_PROXY")
    answers.append(call(exchange(url)))
    assert answers == ["straight", "first", "second", "straight", "second", "straight"]


def test_a_trust_store_is_read_when_it_is_named(
    call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, tls = a_certificate(tmp_path)
    server = RawServer([[answer(b"hello")]], repeat=True, tls=tls)
    url = server.url.replace("http:", "https:")
    try:
        with pytest.raises(TLSFailed, match="SSL_CERT_FILE"):
            call(exchange(url))
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert call(exchange(url)) == "hello"
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "gone.pem"))
        with pytest.raises(InvalidConfig, match=r"`SSL_CERT_FILE` names .*gone\.pem"):
            call(exchange(url))
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert call(exchange(url)) == "hello"
    finally:
        server.close()


@pytest.mark.parametrize("content", [None, b"", b"no certificate\n", "folder"])
def test_a_wrong_trust_store_is_an_error_of_the_configuration_and_not_retried(
    call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | str | None
) -> None:
    path = tmp_path / "trust.pem"
    if content == "folder":
        path.mkdir()
    elif isinstance(content, bytes):
        path.write_bytes(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    ex = exchange("https://127.0.0.1:9/v1")
    with pytest.raises(InvalidConfig, match=r"`SSL_CERT_FILE` names .*trust\.pem") as caught:
        call(ex)
    assert caught.value.path == str(path)
    assert ex.history.attempts == []


def test_a_folder_of_certificates_that_is_not_there_is_an_error_of_the_configuration(
    call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "gone"))
    with pytest.raises(InvalidConfig, match=r"`SSL_CERT_DIR` names .*gone"):
        call(exchange("https://127.0.0.1:9/v1"))
