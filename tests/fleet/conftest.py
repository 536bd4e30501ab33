"""A Redis of its own for each test file, emptied for each test, and no fleet that outlives its test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.redis_server import RedisServer, redis_server

from modelwire import sharing
from modelwire.fleet import connection, current


@pytest.fixture(scope="module")
def running_redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture
def redis(running_redis: RedisServer) -> RedisServer:
    with running_redis.client() as client:
        client.flushall()
    return running_redis


@pytest.fixture(autouse=True)
def no_reply_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait longer for a server than programs do, because the machine of the tests may be busy."""
    monkeypatch.setattr(connection, "_TIMEOUT_S", 20.0)


@pytest.fixture(autouse=True)
def no_fleet_is_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sharing, "_is_read", False)
    monkeypatch.delenv(sharing.VARIABLE, raising=False)
    yield
    if (fleet := current()) is not None:
        fleet.close()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for the server as long as a busy machine may need. A server that is stopped still fails at once."""
    monkeypatch.setattr("modelwire.fleet.connection._TIMEOUT_S", 60.0)
    monkeypatch.setattr("modelwire.fleet.loop_clients._WAIT_S", 60.0)
