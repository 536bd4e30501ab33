"""Connecting counts: neither dead addresses nor a slow name server outlast the limits of a call."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.raw_server import RawServer, answer

from modelwire.adapters import ChatOpenAI
from modelwire.errors import ConnectFailed, Timeout
from modelwire.transport.connections.deadline_backend import DeadlineBackend, Limit

ANSWER = answer(
    b'{"choices":[{"message":{"role":"assistant","content":"here"},"finish_reason":"stop"}]}'
)
resolve = socket.getaddrinfo


def a_model(port: int, host: str = "many.localhost") -> Any:
    return ChatOpenAI(model="m", base_url=f"http://{host}:{port}/v1", api_key="k", max_retries=0)


@contextlib.contextmanager
def black_hole(port: int, address: str) -> Iterator[None]:
    """Listen and accept nobody: once the queue is full, a connection is never made and never refused."""
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(socket.create_server((address, port), backlog=0))
        except OSError:
            pytest.skip(f"{address} is no address of this machine")
        for _ in range(4):
            filler = held.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex((address, port))
        yield


@pytest.fixture
def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def name_resolves_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    def getaddrinfo(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        if host not in ("many.localhost", b"many.localhost"):
            return resolve(host, port, *args, **kwargs)
        return [
            (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, int(port)))
            for address in addresses
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def test_dead_addresses_do_not_outlast_the_timeout(
    colour: Any, monkeypatch: pytest.MonkeyPatch, free_port: int
) -> None:
    dead = [f"127.0.0.{n}" for n in range(2, 22)]
    name_resolves_to(monkeypatch, *dead)
    with contextlib.ExitStack() as held:
        for address in dead:
            held.enter_context(black_hole(free_port, address))
        began = time.monotonic()
        with pytest.raises(Timeout, match=r"`timeout` of 0\.8 s"):
            colour.invoke(a_model(free_port), "hi", {"timeout": 0.8})
        assert time.monotonic() - began < 10  # each its own limit: 16 s


def test_a_live_address_after_a_dead_one_is_reached(
    colour: Any, monkeypatch: pytest.MonkeyPatch, raw_server: Callable[..., RawServer]
) -> None:
    server = raw_server([[ANSWER]])
    name_resolves_to(monkeypatch, "127.0.0.2", "127.0.0.1")
    with black_hole(server.port, "127.0.0.2"):
        assert colour.invoke(a_model(server.port), "hi", {"timeout": 4}).text == "here"


def test_a_slow_name_server_does_not_outlast_the_timeout(
    monkeypatch: pytest.MonkeyPatch, free_port: int
) -> None:
    """Sync only: an event loop looks names up in a thread of its own, for which it waits when it ends."""
    answered = threading.Event()

    def getaddrinfo(*args: Any, **kwargs: Any) -> Any:
        answered.wait(20)
        answered.set()
        return resolve(*args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with pytest.raises(Timeout, match=r"`timeout` of 0\.3 s"):
        a_model(free_port).invoke("hi", {"timeout": 0.3})
    assert not answered.is_set()
    answered.set()


def test_a_name_that_is_not_there_is_said_as_before(
    colour: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def getaddrinfo(*args: Any, **kwargs: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with pytest.raises(ConnectFailed, match=r"many\.localhost:1 .*Name or service not known"):
        colour.invoke(a_model(1), "hi")


class Unreachable:
    """A backend all of whose addresses use up the time they get."""

    def __init__(self) -> None:
        self.granted_s: list[float] = []

    def connect_tcp(self, host: str, port: int, timeout: float, **kwargs: Any) -> Any:
        import httpcore2

        self.granted_s.append(timeout)
        time.sleep(timeout)
        raise httpcore2.ConnectTimeout


@pytest.mark.parametrize("limit", [0.2, Limit.of(5, lambda: 0.2)], ids=["of a try", "of the call"])
def test_all_addresses_together_get_the_limit(
    monkeypatch: pytest.MonkeyPatch, limit: float
) -> None:
    import httpcore2

    name_resolves_to(monkeypatch, "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5")
    backend: Any = DeadlineBackend()
    backend._backend = Unreachable()
    with pytest.raises(httpcore2.ConnectTimeout):
        backend.connect_tcp("many.localhost", 80, timeout=limit)
    assert len(backend._backend.granted_s) == 4
    assert 0.01 < backend._backend.granted_s[0] <= 0.05
    assert sum(backend._backend.granted_s) <= 0.21
