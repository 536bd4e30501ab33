"""Real processes of a fleet, and calls of real models in one."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from support.fleet_scene import run_fleet
from support.limited_provider import LimitedProvider
from support.redis_server import RedisServer

import modelwire
from modelwire import ext, sharing
from modelwire.adapters import ChatOpenAI
from modelwire.errors import AuthenticationError
from modelwire.runnables import RunnableLambda
from modelwire.transport.ratelimit import registry


def model_at(provider: LimitedProvider, key: str = "k") -> ChatOpenAI:
    return ChatOpenAI(model="m", base_url=provider.base_url, api_key=key)


def test_calls_of_both_colours_share_their_limits(redis: RedisServer, colour: Any) -> None:
    modelwire.shared(redis.url)
    with LimitedProvider(1000, latency_s=0.0) as provider:
        model = model_at(provider)
        for _ in range(3):
            assert colour.invoke(model, "hi").content == "yes"
        assert len(colour.batch(model, ["hi"] * 20)) == 20
    (limiter,) = registry._limiters.values()
    assert limiter.lease is not None
    assert limiter.lease.version >= 1
    with redis.client() as client:
        names = client.keys("*")
        stored = b"".join(names) + b"".join(
            b"".join(client.hgetall(name)) + b"".join(client.hvals(name)) for name in names
        )
    assert names
    assert b"Bearer" not in stored
    assert b"127.0.0.1" not in stored


def test_the_limits_of_another_key_are_others(redis: RedisServer) -> None:
    modelwire.shared(redis.url)
    with LimitedProvider(1000, latency_s=0.0) as provider:
        model_at(provider, "k").invoke("hi")
        model_at(provider, "l").invoke("hi")
    with redis.client() as client:
        assert len(client.keys("*limits:state*")) == 2


def test_without_sharing_a_limiter_has_no_lease() -> None:
    with LimitedProvider(1000, latency_s=0.0) as provider:
        model_at(provider).invoke("hi")
    (limiter,) = registry._limiters.values()
    assert limiter.lease is None


def test_limiters_of_before_and_after_share_nothing(redis: RedisServer) -> None:
    with LimitedProvider(1000, latency_s=0.0) as provider:
        model = model_at(provider)
        model.invoke("hi")
        (before,) = registry._limiters.values()
        fleet = modelwire.shared(redis.url)
        model.invoke("hi")
        (shared,) = registry._limiters.values()
        fleet.close()
        model.invoke("hi")
        (after,) = registry._limiters.values()
    assert (before.lease, after.lease) == (None, None)
    assert shared.lease is not None


def test_a_credential_without_a_name_is_not_shared(redis: RedisServer) -> None:
    modelwire.shared(redis.url)

    def limiter_of(credential: Any) -> Any:
        return registry.limiter_of(
            "https://a.test", {}, "m", now=time.monotonic(), rng=Any, who=[credential]
        )

    class Static:
        access_key = "AKIA"

    assert limiter_of(object()).lease is None
    assert limiter_of(Static()).lease is not None
    assert limiter_of("token").lease is not None


def test_a_fleet_divides_the_limits_itself(redis: RedisServer) -> None:
    modelwire.shared(redis.url)
    with LimitedProvider(1000, latency_s=0.0) as provider:
        model_at(provider).invoke("hi")
        ext.divide_limits(4, time.monotonic())
    (limiter,) = registry._limiters.values()
    assert limiter.share == 1.0


def test_a_worker_of_ray_joins_the_fleet_of_the_job(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from modelwire.jobs import ray_engine

    monkeypatch.setattr(ray_engine._Worker, "_beat", lambda _: None)
    monkeypatch.setattr(ray_engine._Worker, "_beat_for_ever", lambda _: None)
    chain = RunnableLambda(str)
    ray_engine._Worker(chain, {}, None, None)
    assert sharing.shared_state() is None
    ray_engine._Worker(chain, {}, None, (redis.url, "team"))
    fleet = sharing.shared_state()
    assert fleet is not None
    assert fleet.settings == (redis.url, "team")


def test_a_wrong_key_fails_as_ever(redis: RedisServer) -> None:
    modelwire.shared(redis.url)
    with LimitedProvider(1000, latency_s=0.0) as provider:
        provider.status = 401
        for _ in range(2):
            with pytest.raises(AuthenticationError):
                model_at(provider).invoke("hi")


def test_successive_event_loops_share_their_limits(redis: RedisServer) -> None:
    modelwire.shared(redis.url)
    with LimitedProvider(1000, latency_s=0.0) as provider:
        model = model_at(provider)
        for _ in range(3):
            assert len(asyncio.run(model.abatch(["hi"] * 5))) == 5


def test_two_processes_find_a_hidden_limit_together(redis: RedisServer) -> None:
    score, _ = run_fleet(redis, members=2, per_s=40, seconds=4, at_once=10)
    # Alone, two processes would each have refused dozens; how many exactly, the machine's load decides.
    assert score.refused <= 0.5
    assert score.lost == 0


@pytest.mark.long
def test_eight_processes_keep_to_one_hidden_limit(redis: RedisServer) -> None:
    score, _ = run_fleet(
        redis,
        seconds=60,
        acts={
            15: lambda scene: scene.kill(3),
            20: lambda scene: scene.start(3),
            30: lambda _: redis.stop(),
            35: lambda _: redis.start(),
        },
    )
    assert score.lost == 0
    assert score.throughput >= 0.9
    assert score.refused <= 0.05
