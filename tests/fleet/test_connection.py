"""The connection: both colours, scripts that a server has forgotten, a server that stops and comes back, forks."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from support.redis_server import RedisServer, redis_server

from modelwire.fleet import Away, Connection, Script

ADD = Script("return redis.call('INCRBY', KEYS[1], ARGV[1])")


@pytest.fixture
def connection(redis: RedisServer) -> Iterator[Connection]:
    connection = Connection(redis.url)
    yield connection
    connection.close()


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


def add(connection: Connection, colour: Any) -> Any:
    async def arun() -> Any:
        return await connection.arun(ADD, ["k"], [1])

    return colour.run(lambda: connection.run(ADD, ["k"], [1]), arun)


def add_until_it_answers(connection: Connection, colour: Any) -> Any:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            return add(connection, colour)
        except Away:
            time.sleep(0.02)
    raise TimeoutError


def test_a_script_that_the_server_has_forgotten_is_sent_again(
    connection: Connection, redis: RedisServer, colour: Any
) -> None:
    assert add(connection, colour) == 1
    with redis.client() as client:
        client.script_flush()
    assert add(connection, colour) == 2
    assert add(connection, colour) == 3


def test_commands_in_both_colours(connection: Connection, colour: Any) -> None:
    async def aset() -> Any:
        return await connection.acommand("SET", "a", b"\xff")

    assert colour.run(lambda: connection.command("SET", "a", b"\xff"), aset) in (True, b"OK", "OK")
    assert connection.command("GET", "a") == b"\xff"


def test_what_fails_raises_away_and_nothing_else(connection: Connection, colour: Any) -> None:
    wrong = Script("this is not Lua")

    async def arun() -> Any:
        return await connection.arun(wrong, [])

    with pytest.raises(Away):
        colour.run(lambda: connection.run(wrong, []), arun)


def test_a_server_that_stops_and_starts_is_warned_of_twice(
    own_redis: RedisServer, colour: Any, caplog: pytest.LogCaptureFixture
) -> None:
    connection = Connection(own_redis.url)
    assert add(connection, colour) == 1
    own_redis.stop()
    end = time.monotonic() + 1
    while time.monotonic() < end:
        with pytest.raises(Away):
            add(connection, colour)
        time.sleep(0.01)
    assert connection.is_away
    own_redis.start()
    assert add_until_it_answers(connection, colour) == 1
    assert not connection.is_away
    assert add(connection, colour) == 2
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    assert "Traceback" not in caplog.text
    connection.close()


def test_a_restarted_server_is_found_without_a_failure(own_redis: RedisServer, colour: Any) -> None:
    connection = Connection(own_redis.url)
    add(connection, colour)
    own_redis.restart()
    assert add(connection, colour) == 1
    connection.close()


def test_a_server_that_hangs_is_away_and_calls_then_fail_at_once(
    own_redis: RedisServer, colour: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from modelwire.fleet import connection as module

    connection = Connection(own_redis.url)
    add(connection, colour)
    connection.close()
    monkeypatch.setattr(module, "_TIMEOUT_S", 0.2)
    connection = Connection(own_redis.url)
    own_redis.send_signal(signal.SIGSTOP)
    for _ in range(2):
        with pytest.raises(Away):
            add(connection, colour)
    assert connection.is_away
    monkeypatch.setattr(connection, "_retry_at", time.monotonic() + 60)
    monkeypatch.setattr(module.redis.Redis, "evalsha", None)
    monkeypatch.setattr(module.redis.asyncio.Redis, "evalsha", None)
    with pytest.raises(Away):
        add(connection, colour)
    connection.close()


def test_one_call_at_a_time_tries_a_server_that_is_away(
    own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = Connection(own_redis.url)
    connection._is_away, connection._retry_at = True, 0.0
    tried = []

    def evalsha(*words: Any) -> Any:
        tried.append(words)
        time.sleep(0.2)
        raise OSError("no")

    monkeypatch.setattr(connection._client, "evalsha", evalsha)

    def run() -> None:
        with pytest.raises(Away):
            connection.run(ADD, ["k"], [1])

    threads = [threading.Thread(target=run) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(tried) == 1
    connection.close()


def test_successive_event_loops_each_have_their_own_client(connection: Connection) -> None:
    async def run() -> Any:
        await asyncio.gather(*[connection.arun(ADD, ["k"], [1]) for _ in range(20)])

    for _ in range(3):
        asyncio.run(run())
    assert connection.run(ADD, ["k"], [0]) == 60


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_process_has_its_own_connection(redis: RedisServer) -> None:
    program = """
import os, sys, modelwire
fleet = modelwire.shared(sys.argv[1])
def add(): return fleet.connection.command("INCR", "k")
assert add() == 1
child = os.fork()
if not child:
    fleet.connection.command("INCR", "k")
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
assert add() == 3
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, redis.url], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_program_that_ends_leaves_no_warning(redis: RedisServer) -> None:
    program = """
import asyncio, sys, modelwire
from modelwire.fleet import Script
fleet = modelwire.shared(sys.argv[1])
script = Script("return 1")
fleet.connection.run(script, [])
asyncio.run(fleet.connection.arun(script, []))
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, redis.url],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
