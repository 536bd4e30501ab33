"""`RedisCache`: its entries, equal calls of several processes, and a server that is away. The server is a real one."""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from support.biller import Biller, billing, model_at
from support.cached_answers import check_in_a_fork, texts
from support.redis_server import RedisServer, redis_server

import modelwire
from modelwire import caches, pool
from modelwire.caches import RedisCache
from modelwire.errors import BadRequest, CallerError, InvalidArgument, Timeout
from modelwire.fleet import cache as fleet_cache
from modelwire.messages import AIMessage
from modelwire.outputs import ChatGeneration

pytestmark = pytest.mark.usefixtures("patient")


@pytest.fixture
def biller() -> Iterator[Biller]:
    with billing() as server:
        yield server


def until(holds: Callable[[], Any]) -> None:
    """Wait until it holds; a busy machine may take long."""
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def keys(redis: RedisServer, pattern: str = "modelwire:answer:*") -> list[str]:
    with redis.client() as client:
        return sorted(key.decode() for key in client.keys(pattern))


def locks(redis: RedisServer) -> list[str]:
    return keys(redis, "modelwire:answer:*:lock")


# Entries


def test_it_is_found_where_the_other_caches_are() -> None:
    from modelwire import fleet

    assert caches.RedisCache is fleet.RedisCache
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = caches.Nothing  # type: ignore[attr-defined]


def test_it_returns_what_it_was_given(colour: Any, redis: RedisServer) -> None:
    cache = RedisCache(redis.url)
    look = lambda *key: colour.run(lambda: cache.lookup(*key), lambda: cache.alookup(*key))  # noqa: E731
    kept = [ChatGeneration(message=AIMessage("Füße \ud800", id="m"), generation_info={"a": 1})]
    assert look("p", "m") is None
    colour.run(lambda: cache.update("p", "m", kept), lambda: cache.aupdate("p", "m", kept))
    assert look("p", "m") == kept
    assert look("p", "other") is None
    assert look("pm", "") is None
    colour.run(
        lambda: cache.update("p", "m", texts("two")), lambda: cache.aupdate("p", "m", texts("two"))
    )
    assert look("p", "m") == RedisCache(redis.url).lookup("p", "m") == texts("two")
    colour.run(cache.clear, cache.aclear)
    assert look("p", "m") is None


def test_entries_live_as_long_as_the_ttl(colour: Any, redis: RedisServer) -> None:
    for ttl in (None, 100, 0.05):
        cache = RedisCache(redis.url, ttl=ttl)
        name = f"ttl {ttl}"
        update = cache.update, cache.aupdate
        colour.run(
            lambda: update[0](name, "m", texts("x")),  # noqa: B023
            lambda: update[1](name, "m", texts("x")),  # noqa: B023
        )
    with redis.client() as client:
        lives_ms = sorted(client.pttl(key) for key in keys(redis))
    assert -1 in lives_ms
    assert 90_000 < lives_ms[-1] <= 100_000
    until(lambda: cache.lookup("ttl 0.05", "m") is None)
    assert len(keys(redis)) == 2


@pytest.mark.parametrize("prefix", ["modelwire", "a*[b]?\\"])
def test_clear_removes_what_has_its_prefix_and_no_more(
    colour: Any, redis: RedisServer, prefix: str
) -> None:
    own, other = RedisCache(redis.url, prefix=prefix), RedisCache(redis.url, prefix="aXb")
    for number in range(2500):
        own.update(f"p{number}", "m", texts("x"))
    other.update("p", "m", texts("y"))
    with redis.client() as client:
        client.set("another program's", "z")
        colour.run(own.clear, own.aclear)
        assert client.dbsize() == 2
    assert other.lookup("p", "m") == texts("y")


@pytest.mark.parametrize("answer", [b"", b"[1]", b"{}x", b"\xff\xfe", b'[{"info": 1}]'])
def test_an_entry_that_cannot_be_read_is_a_miss(
    redis: RedisServer, answer: bytes, caplog: pytest.LogCaptureFixture, biller: Biller
) -> None:
    model = model_at(biller, cache=RedisCache(redis.url))
    model.invoke("hi")
    (key,) = keys(redis)
    with redis.client() as client:
        client.set(key, answer)
    assert [model.invoke("hi").text for _ in range(2)] == ["ok", "ok"]
    assert biller.calls == 2
    assert caplog.text.count("an answer in it cannot be read") == 1


def test_what_json_cannot_say_is_not_stored(
    redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    message = AIMessage("x", additional_kwargs={"parsed": object()})
    RedisCache(redis.url).update("p", "m", [ChatGeneration(message=message)])
    assert keys(redis) == []
    assert "not JSON" in caplog.text


def test_it_takes_the_server_of_the_fleet(redis: RedisServer) -> None:
    with pytest.raises(InvalidArgument, match=r"RedisCache\(\"redis://HOST\"\)"):
        RedisCache()
    fleet = modelwire.shared(redis.url)
    cache = RedisCache()
    cache.update("p", "m", texts("one"))
    assert cache._connection is fleet.connection
    assert RedisCache(redis.url).lookup("p", "m") == texts("one")


@pytest.mark.parametrize(
    "settings", [{"url": "http://x"}, {"url": object()}, {"ttl": 0}, {"ttl": "1"}, {"prefix": 3}]
)
def test_wrong_settings_are_refused(redis: RedisServer, settings: Any) -> None:
    with pytest.raises(InvalidArgument):
        RedisCache(**{"url": redis.url, **settings})


def test_the_url_may_have_the_name_that_langchain_has_for_it(redis: RedisServer) -> None:
    assert repr(RedisCache(redis_url=redis.url)) == repr(RedisCache(redis.url))


def test_it_is_pickled_without_a_connection_and_without_a_password(redis: RedisServer) -> None:
    cache = RedisCache(redis.url, ttl=100, prefix="other")
    cache.update("p", "m", texts("one"))
    data = pickle.dumps(cache)
    copy = pickle.loads(data)
    assert copy._connection is None
    assert copy.lookup("p", "m") == texts("one")
    copy.update("q", "m", texts("two"))
    (_, key) = keys(redis, "other:*")
    with redis.client() as client:
        assert client.ttl(key) > 90
    assert repr(copy) == repr(cache)


def test_with_a_password_the_copy_takes_that_of_the_fleet(caplog: pytest.LogCaptureFixture) -> None:
    with redis_server("--requirepass", "hunter2") as server:
        url = server.url.replace("//", "//:hunter2@")
        cache = RedisCache(url)
        cache.update("p", "m", texts("one"))
        assert "hunter2" not in repr(cache)
        data = pickle.dumps(pickle.loads(pickle.dumps(cache)))
        assert b"hunter2" not in data
        assert pickle.loads(data).lookup("p", "m") is None
        modelwire.shared(url)
        assert pickle.loads(data).lookup("p", "m") == texts("one")
    assert "hunter2" not in caplog.text


def test_a_copy_where_nothing_is_shared_misses(
    redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    fleet = modelwire.shared(redis.url)
    data = pickle.dumps(RedisCache())
    fleet.close()
    copy = pickle.loads(data)
    assert [copy.lookup("p", "m") for _ in range(2)] == [None, None]
    assert copy.lookup_or_claim("p", "m") == (None, None)
    copy.update("p", "m", texts("x"))
    assert caplog.text.count("this process shares nothing") == 1
    with pytest.raises(CallerError):
        copy.clear()
    modelwire.shared(redis.url)
    assert pickle.loads(data).lookup("p", "m") is None


# Calls


def test_the_second_call_is_a_hit_and_so_is_a_stream(
    colour: Any, redis: RedisServer, biller: Biller
) -> None:
    def ask(way: str) -> str:
        # A process of its own would have another object.
        model = model_at(biller, cache=RedisCache(redis.url))
        if way == "invoke":
            return str(colour.invoke(model, "hi").text)
        return "".join(chunk.text for chunk in colour.stream(model, "hi"))

    assert [ask("invoke"), ask("stream"), ask("invoke")] == ["ok"] * 3
    assert biller.calls == 1
    until(lambda: locks(redis) == [])
    RedisCache(redis.url).clear()
    streamed = ask("stream")
    assert streamed == "word " * 20
    assert ask("invoke") == ask("stream") == streamed
    assert biller.calls == 2


@pytest.fixture
def foreign(redis: RedisServer, biller: Biller) -> Foreign:
    return Foreign(redis, biller)


class Foreign:
    """Another process that makes the call which the model of a test makes, as the server sees it."""

    def __init__(self, redis: RedisServer, biller: Biller) -> None:
        self.redis, self.biller = redis, biller
        self.model = model_at(biller, cache=RedisCache(redis.url))
        self.model.invoke("hi")
        (self.key,) = keys(redis)
        with redis.client() as client:
            self.answer = client.getdel(self.key)
            client.set(f"{self.key}:lock", "another:1", px=60_000)
        self.looks = 0

    def when_looked_at(self, act: Callable[[Any], Any]) -> None:
        """Do `act` in a thread when the lock was looked at."""
        before = self._calls_of_scripts()

        def wait() -> None:
            until(lambda: self._calls_of_scripts() > before + 1)
            with self.redis.client() as client:
                act(client)

        threading.Thread(target=wait, daemon=True).start()

    def _calls_of_scripts(self) -> int:
        with self.redis.client() as client:
            return int(client.info("commandstats").get("cmdstat_evalsha", {"calls": 0})["calls"])

    def answers(self, client: Any) -> None:
        client.set(self.key, self.answer)
        client.delete(f"{self.key}:lock")

    def ends_without_an_answer(self, client: Any) -> None:
        client.delete(f"{self.key}:lock")

    def is_killed(self, client: Any) -> None:
        client.pexpire(f"{self.key}:lock", 50)


@pytest.mark.parametrize("way", ["invoke", "stream"])
def test_a_call_waits_for_the_same_call_of_another_process(
    colour: Any, foreign: Foreign, biller: Biller, way: str
) -> None:
    foreign.when_looked_at(foreign.answers)
    if way == "invoke":
        assert colour.invoke(foreign.model, "hi").text == "ok"
    else:
        assert next(iter(colour.stream(foreign.model, "hi"))).text == "ok"
    assert biller.calls == 1


@pytest.mark.parametrize("way", ["invoke", "stream"])
@pytest.mark.parametrize("end", ["ends_without_an_answer", "is_killed"])
def test_if_the_other_process_gives_no_answer_the_call_is_made(
    colour: Any, foreign: Foreign, biller: Biller, way: str, end: str
) -> None:
    foreign.when_looked_at(getattr(foreign, end))
    getattr(colour, way)(foreign.model, "hi")
    assert biller.calls == 2
    assert foreign.model.invoke("hi").text
    assert biller.calls == 2
    until(lambda: locks(foreign.redis) == [])


def test_a_call_that_waits_ends_with_its_timeout(colour: Any, foreign: Foreign) -> None:
    with pytest.raises(Timeout):
        colour.invoke(foreign.model, "hi", {"timeout": 0.3})
    assert foreign.biller.calls == 1


@pytest.mark.parametrize("way", ["invoke", "stream"])
def test_a_call_that_fails_lets_the_others_go_on(
    colour: Any, redis: RedisServer, biller: Biller, way: str
) -> None:
    biller.status = 400
    model = model_at(biller, cache=RedisCache(redis.url))
    seen: list[list[str]] = []
    biller.meanwhile = lambda: seen.append(locks(redis))
    with pytest.raises(BadRequest):
        getattr(colour, way)(model, "hi")
    assert len(seen[0]) == 1
    until(lambda: locks(redis) == [])


@pytest.fixture
def short_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_cache, "_LOCK_S", 1.0)
    monkeypatch.setattr(fleet_cache, "_RENEW_AFTER_S", 0.15)


def test_the_lock_of_a_long_call_is_renewed(
    redis: RedisServer, biller: Biller, short_locks: None
) -> None:
    lives_ms: list[int] = []

    def look() -> None:
        with redis.client() as client:
            (lock,) = locks(redis)
            client.pexpire(lock, 30_000)  # No pause of this machine ends it.
            until(lambda: client.pttl(lock) <= 1000)  # It was renewed,
            client.pexpire(lock, 30_000)
            until(lambda: client.pttl(lock) <= 1000)  # and again.
            lives_ms.append(client.pttl(lock))

    biller.meanwhile = look
    model_at(biller, cache=RedisCache(redis.url)).invoke("hi")
    assert lives_ms[0] > 0
    assert biller.calls == 1


def test_a_stream_whose_reader_pauses_holds_nobody_up(
    colour: Any, redis: RedisServer, biller: Biller, short_locks: None
) -> None:
    model = model_at(biller, cache=RedisCache(redis.url))

    def read() -> None:
        stream = model.stream("hi")
        next(stream)
        assert len(locks(redis)) == 1
        until(lambda: locks(redis) == [])
        assert len(list(stream)) > 10

    async def aread() -> None:
        stream = model.astream("hi")
        await anext(stream)
        assert len(locks(redis)) == 1
        until(lambda: locks(redis) == [])
        assert len([chunk async for chunk in stream]) > 10

    colour.run(read, aread)
    assert model.invoke("hi").text == "word " * 20
    assert biller.calls == 1


def test_a_stream_that_is_left_gives_up_its_lock(redis: RedisServer, biller: Biller) -> None:
    stream = model_at(biller, cache=RedisCache(redis.url)).stream("hi")
    next(stream)
    stream.close()
    until(lambda: locks(redis) == [])


def test_two_equal_streams_in_one_thread_do_not_wait_for_each_other(
    redis: RedisServer, biller: Biller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet_cache, "_LOCK_S", 3600.0)
    model = model_at(biller, cache=RedisCache(redis.url))
    streams = [model.stream("hi", {"timeout": 30}) for _ in range(2)]
    assert len(list(zip(*streams, strict=False))) > 10
    assert biller.calls == 2


def test_a_pool_finds_the_answers_of_all_its_models(colour: Any, redis: RedisServer) -> None:
    cache = RedisCache(redis.url)
    with billing() as first, billing() as second:
        model = pool([model_at(one, cache=cache) for one in (first, second)])

        async def ask() -> list[Any]:
            return await asyncio.gather(*(model.ainvoke(f"question {i % 10}") for i in range(100)))

        asyncio.run(ask())
        assert first.calls + second.calls == 10
        assert first.calls
        assert second.calls
        for i in range(10):
            assert colour.invoke(model, f"question {i}").text == "ok"
        assert first.calls + second.calls == 10


def test_many_calls_at_a_time_open_few_connections(redis: RedisServer) -> None:
    cache = RedisCache(redis.url)

    async def ask() -> list[Any]:
        return await asyncio.gather(*(cache.alookup_or_claim(f"p{i}", "m") for i in range(500)))

    def opened() -> int:
        with redis.client() as client:
            return int(client.info("stats")["total_connections_received"])

    before = opened()
    found = asyncio.run(ask())
    assert all(claim is not None for _, claim in found)
    assert opened() - before < 40
    for _, claim in found:
        claim.release()


def test_two_caches_of_one_server_in_one_process_make_one_call(
    redis: RedisServer, biller: Biller
) -> None:
    biller.delay_s = 0.3
    models = [model_at(biller, cache=RedisCache(redis.url)) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        assert [each.text for each in pool.map(lambda model: model.invoke("hi"), models)] == [
            "ok"
        ] * 4
    assert biller.calls == 1


ASKS = """
import asyncio, sys
from modelwire import ChatOpenAI
from modelwire.caches import RedisCache
from modelwire.fleet import cache as fleet_cache
fleet_cache._LOCK_S = float(sys.argv[4])
cache = RedisCache(sys.argv[2])
model = ChatOpenAI(model="gpt-4o-mini", base_url=sys.argv[1], api_key="k", rate_limit=None, cache=cache)
print("ready", flush=True)
sys.stdin.readline()
if sys.argv[3] == "invoke":
    print(model.invoke("hi").text)
elif sys.argv[3] == "ainvoke":
    print(asyncio.run(model.ainvoke("hi")).text)
elif sys.argv[3] == "stream":
    print("".join(chunk.text for chunk in model.stream("hi")))
"""


def asking(
    biller: Biller, redis: RedisServer, ways: list[str], lock_s: float = fleet_cache._LOCK_S
) -> list[subprocess.Popen[str]]:
    """Start a process for each way to call, and let them call when all are ready."""
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    words = [sys.executable, "-c", ASKS, biller.url, redis.patient_url]
    children = [subprocess.Popen([*words, way, str(lock_s)], **pipes) for way in ways]
    for child in children:
        child.stdout.readline()  # type: ignore[union-attr]
    for child in children:
        child.stdin.write("\n")  # type: ignore[union-attr]
        child.stdin.flush()  # type: ignore[union-attr]
    return children


def test_equal_calls_of_several_processes_are_one_request(
    redis: RedisServer, biller: Biller
) -> None:
    biller.delay_s = 1.0
    children = asking(biller, redis, ["invoke", "ainvoke", "stream", "invoke"], lock_s=600)
    said = {child.communicate(timeout=120)[0].strip() for child in children}
    assert len(said) == 1
    assert biller.calls == 1


@pytest.mark.long
def test_a_killed_process_holds_the_others_up_for_the_life_of_its_lock_at_most(
    redis: RedisServer, biller: Biller
) -> None:
    release = threading.Event()
    biller.meanwhile = lambda: release.wait(60)
    (first,) = asking(biller, redis, ["invoke"])
    until(lambda: len(locks(redis)) == 1)
    others = asking(biller, redis, ["invoke", "stream"])
    first.send_signal(signal.SIGKILL)
    first.communicate()
    with redis.client() as client:
        (lock,) = locks(redis)
        assert client.pttl(lock) <= fleet_cache._LOCK_S * 1000
    release.set()
    assert len({child.communicate(timeout=120)[0].strip() for child in others}) == 1
    assert biller.calls == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_has_a_connection_of_its_own(redis: RedisServer) -> None:
    check_in_a_fork(RedisCache(redis.url))


# The server is away


def test_while_the_server_is_away_each_call_is_made(
    colour: Any, biller: Biller, caplog: pytest.LogCaptureFixture
) -> None:
    with redis_server() as server:
        cache = RedisCache(server.url)
        model = model_at(biller, cache=cache)
        colour.invoke(model, "hi")
        server.stop()
        with caplog.at_level(logging.WARNING):
            for _ in range(5):
                colour.invoke(model, "hi")
                colour.stream(model, "hi")
        assert biller.calls == 11
        with pytest.raises(CallerError, match=r"could not be cleared: the server does not answer"):
            colour.run(cache.clear, cache.aclear)
        warnings = [one for one in caplog.records if one.name == "modelwire.fleet"]
        assert len(warnings) == 1
        server.start()

        def is_a_hit() -> bool:
            colour.invoke(model, "hi")
            before = biller.calls
            colour.invoke(model, "hi")
            return biller.calls == before

        until(is_a_hit)
