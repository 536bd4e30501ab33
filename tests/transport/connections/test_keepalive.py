"""Connections that probe a silent peer: the options of live sockets, on every road of a call that is ours."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest
from support.raw_server import RawServer, answer

from modelwire.adapters import ChatOpenAI
from modelwire.errors import ConnectionLost, InvalidArgument, Timeout
from modelwire.transport.failures import error_of

BODY = json.dumps(
    {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
        ],
    }
).encode()

ROADS = ["sync", "async", "aiohttp", "sync by proxy", "async by proxy", "aiohttp by proxy"]


class Road:
    """Makes calls in one colour over one engine, straight or through a proxy, the async ones on one event loop."""

    def __init__(self, name: str) -> None:
        if name.startswith("aiohttp"):
            pytest.importorskip("aiohttp")
        self.colour, _, self.by_proxy = name.partition(" by ")
        self.loop = asyncio.new_event_loop()

    def model(self, server: RawServer, **settings: Any) -> ChatOpenAI:
        if self.by_proxy:
            to = {"base_url": "http://a.test/v1", "proxy": server.url.removesuffix("/v1")}
        else:
            to = {"base_url": server.url}
        engine = {"engine": "aiohttp"} if self.colour == "aiohttp" else {}
        return ChatOpenAI(
            **{"model": "m", "api_key": "k", "max_retries": 0, **to, **engine, **settings}
        )

    def invoke(self, model: ChatOpenAI) -> Any:
        if self.colour == "sync":
            return model.invoke("hi")
        return self.loop.run_until_complete(model.ainvoke("hi"))

    def close(self) -> None:
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()


@pytest.fixture(params=ROADS)
def road(request: pytest.FixtureRequest) -> Iterator[Road]:
    made = Road(request.param)
    yield made
    made.close()


def options_to(server: RawServer) -> list[tuple[bool, int, int, int, int]]:
    """Return the options of the open sockets of this process whose peer is `server`."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # It is closed by now, or not connected.
            descriptor = int(name)
            if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                continue
            with socket.socket(fileno=os.dup(descriptor)) as each:
                if each.getpeername()[1:2] == (server.port,):
                    found.append(options_of(each))
    return found


def options_of(each: socket.socket) -> tuple[bool, int, int, int, int]:
    numbers = [
        each.getsockopt(socket.IPPROTO_TCP, name)
        for name in (
            socket.TCP_KEEPIDLE,
            socket.TCP_KEEPINTVL,
            socket.TCP_KEEPCNT,
            socket.TCP_USER_TIMEOUT,
        )
    ]
    return bool(each.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)), *numbers  # type: ignore[return-value]


linux = pytest.mark.skipif(
    not hasattr(socket, "TCP_USER_TIMEOUT"), reason="other platforms have other options"
)


@linux
@pytest.mark.parametrize(
    ("settings", "options"),
    [
        ({}, (True, 60, 15, 3, 120_000)),
        pytest.param({"tcp_keepalive": True}, (True, 60, 15, 3, 120_000), marks=pytest.mark.long),
        ({"tcp_keepalive": (30, 5, 2)}, (True, 30, 5, 2, 45_000)),
    ],
)
def test_a_silent_connection_is_probed(
    road: Road, raw_server: Any, settings: dict[str, Any], options: tuple[Any, ...]
) -> None:
    server = raw_server([[answer(BODY)]], repeat=True)
    assert road.invoke(road.model(server, **settings)).text == "hi"
    assert options_to(server) == [options]


@linux
def test_keepalive_can_be_switched_off_and_another_value_is_another_pool(
    road: Road, raw_server: Any
) -> None:
    server = raw_server([[answer(BODY)]], repeat=True)
    for value in (False, True, False, (30, 5, 2), True):
        road.invoke(road.model(server, tcp_keepalive=value))
    found = sorted(each[:2] for each in options_to(server))
    assert [alive for alive, _ in found] == [False, True, True]
    assert {idle_s for alive, idle_s in found if alive} == {60, 30}
    assert server.connections == 3


@linux
def test_a_client_of_ones_own_stays_as_it_is(raw_server: Any) -> None:
    server = raw_server([[answer(BODY)]], repeat=True)
    with httpx2.Client() as client:
        ChatOpenAI(model="m", api_key="k", base_url=server.url, http_client=client).invoke("hi")
        assert [is_alive for is_alive, *_ in options_to(server)] == [False]


@pytest.mark.parametrize(
    "value",
    [
        "often",
        60,
        ("a", 1, 1),
        (60, 15),
        (0, 15, 3),
        (60, 0, 3),
        (60, 15, 0),
        (60, 15, 128),
        (40000, 1, 1),
    ],
)
def test_a_keepalive_that_no_kernel_takes_is_refused_when_the_model_is_made(value: Any) -> None:
    with pytest.raises(InvalidArgument, match="tcp_keepalive"):
        ChatOpenAI(model="m", api_key="k", tcp_keepalive=value)


@pytest.mark.long
@linux
@pytest.mark.parametrize("road", ["sync", "async", "aiohttp"], indirect=False)
def test_a_server_that_vanishes_is_noticed_and_is_a_lost_connection(road: str) -> None:
    if road == "aiohttp":
        pytest.importorskip("aiohttp")
    alone = ["unshare", "--net"]
    if shutil.which("unshare") is None or subprocess.run([*alone, "true"], check=False).returncode:
        pytest.skip("no network namespace can be made here")
    if shutil.which("ip") is None:
        pytest.skip("no `ip` to take an interface down with")
    tests = Path(__file__).parents[2]
    ran = subprocess.run(
        [*alone, sys.executable, str(tests / "support" / "vanished_peer_program.py"), road],
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
        env={**os.environ, "PYTHONPATH": str(tests)},
    )
    assert ran.stdout.split()[:2] == ["StreamInterrupted", "ConnectionLost"], ran.stderr


@pytest.mark.parametrize("before", ["connecting", "reading"])
def test_what_the_kernel_reports_of_a_dead_server_is_no_limit_of_ours(before: str) -> None:
    name = {"connecting": "ConnectTimeout", "reading": "ReadTimeout"}[before]
    timed_out = type(name, (Exception,), {})("timed out")
    timed_out.__cause__ = OSError(errno.ETIMEDOUT, "Connection timed out")
    found = error_of(timed_out, origin="a.test")
    assert type(found) is {"connecting": Timeout, "reading": ConnectionLost}[before]
    assert found.retryable
    assert ("no longer answers" in found.message) is (before == "reading")
