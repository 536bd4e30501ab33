"""Limits that members of a fleet share over a real server. Each member is a limiter with its own renewing thread."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from math import inf
from random import Random
from typing import Any

import pytest
from support.redis_server import RedisServer, redis_server

from modelwire.errors import (
    AuthenticationError,
    ChatError,
    Overloaded,
    RateLimited,
    ServerError,
)
from modelwire.fleet import Connection
from modelwire.fleet.limits import LimitSharing, limiter_digest
from modelwire.transport.ratelimit.admission import Admission
from modelwire.transport.ratelimit.forecast import start_forecast
from modelwire.transport.ratelimit.lease import Lease
from modelwire.transport.ratelimit.limiter import AdaptiveRateLimiter
from modelwire.transport.ratelimit.shared_congestion import SharedCongestion

IDENTITY = ["https://a.test/v1", "m", "key"]
WITHIN_S = 60.0


class Member:
    """One process of a fleet, as far as its limits are concerned."""

    def __init__(self, url: str) -> None:
        self.connection = Connection(url)
        self.sharing = LimitSharing(self.connection)
        self.limiter = AdaptiveRateLimiter(time.monotonic(), Random(1), name="a")
        self.lease = Lease(self.limiter, time.monotonic(), Random(1))
        self.sharing.add(self.lease, IDENTITY)
        self.waiting: list[Admission] = []
        self.running: list[Admission] = []
        self.granted_at: list[float] = []

    def ask(self, count: int = 1) -> Member:
        """Queue calls."""
        for _ in range(count):
            one = Admission(time.monotonic(), again=False, patient=True, size=1, max_output=1)
            self.waiting.append(one)
            self.limiter.admit(one)
        return self.look()

    def look(self) -> Member:
        """Note which calls are granted by now."""
        for one in list(self.waiting):
            if one.rejection is None and self.limiter.poll(one, time.monotonic()) is None:
                self.waiting.remove(one)
                self.running.append(one)
                self.granted_at.append(time.monotonic())
        return self

    def answer(self) -> Member:
        """Let every running call be answered."""
        while self.running:
            one = self.running.pop()
            self.limiter.answered(one, time.monotonic())
            self.limiter.leave(one, time.monotonic())
        return self

    def fail(self, error: ChatError) -> Member:
        """Let one running call fail."""
        one = self.running.pop()
        self.limiter.failed(one, time.monotonic(), error)
        self.limiter.leave(one, time.monotonic())
        return self

    def is_led(self) -> bool:
        return self.lease.holds(time.monotonic())

    def close(self) -> None:
        self.sharing.close()
        self.connection.close()


@pytest.fixture
def fleet(redis: RedisServer) -> Iterator[Callable[[int], list[Member]]]:
    members: list[Member] = []

    def start(count: int, url: str = redis.url) -> list[Member]:
        new = [Member(url) for _ in range(count)]
        members.extend(new)
        return new

    yield start
    for member in members:
        member.close()


def eventually(is_so: Callable[[], Any], each: Callable[[], object] = lambda: None) -> None:
    end = time.monotonic() + WITHIN_S
    while not is_so():
        assert time.monotonic() < end, "It has not happened."
        each()
        time.sleep(0.01)


def joined(members: list[Member]) -> list[Member]:
    """Let each member make a call that is answered, so that all know of each other."""
    for member in members:
        member.ask()
    eventually(
        lambda: all(len(member.granted_at) >= 1 for member in members),
        lambda: [member.look().answer() for member in members],
    )
    eventually(lambda: all(member.lease.members == len(members) for member in members))
    for member in members:
        member.answer()
        member.granted_at.clear()
    return members


def preset(redis: RedisServer, rate: float = inf, most: float = inf) -> None:
    """Store what a fleet has learned before."""
    state = SharedCongestion(time.time())
    congestion = state.congestion
    congestion.proven = True
    congestion.rate.rate = congestion.rate.rate_after_cut = rate
    congestion.rate.cuts, congestion.rate.ramp = 5, inf
    congestion.rate.cut_at = time.time()
    congestion.concurrency.most = most
    congestion.accepted.refusals = 1
    congestion.accepted._started = time.time()
    pub = state.published()._asdict()
    pub |= {name: -1 for name in ("pace", "most") if pub[name] == inf}
    key = Connection(redis.url).key("limits", "state", limiter_digest(IDENTITY, "modelwire"))
    fields = {
        "version": 1,
        "text": state.dump(),
        "pub": json.dumps(pub),
        "published_at": time.time(),
    }
    with redis.client() as client:
        client.hset(key, mapping=fields)


def run(members: list[Member], seconds: float) -> float:
    """Let all members call as much as they may for so long; return how long it was."""
    for member in members:
        member.ask(200)
        member.granted_at.clear()
    start = time.monotonic()
    while time.monotonic() < start + seconds:
        for member in members:
            member.look().answer()
        time.sleep(0.01)
    return time.monotonic() - start


def total(members: list[Member]) -> int:
    return sum(len(member.granted_at) for member in members)


def test_members_together_keep_to_the_pace_that_the_fleet_knows(
    redis: RedisServer, fleet: Any
) -> None:
    preset(redis, rate=50)
    members = joined(fleet(4))
    elapsed_s = run(members, 3.0)
    # The slots of the next quarter of a second are given ahead.
    assert total(members) <= 50 * (elapsed_s + 0.5) + 4
    assert all(member.granted_at for member in members)


def begun(members: list[Member]) -> tuple[int, float]:
    """Let new members send what they may at once. Return how many requests they sent, and in how many seconds."""
    start = time.monotonic()
    for member in members:
        member.ask(20)
    eventually(
        lambda: all(member.is_led() for member in members),
        lambda: [member.look() for member in members],
    )
    run_until = time.monotonic() + 0.5
    while time.monotonic() < run_until:
        for member in members:
            member.look().answer()
        time.sleep(0.01)
    return total(members), time.monotonic() - start


def test_new_members_begin_at_the_pace_that_the_fleet_knows(redis: RedisServer, fleet: Any) -> None:
    preset(redis, rate=2)
    sent, seconds = begun(fleet(4))
    assert sent <= 2 * (seconds + 0.5) + 1


def test_members_with_a_stated_limit_begin_at_its_pace(fleet: Any) -> None:
    members = fleet(4)
    for member in members:
        member.limiter.state(120.0, None, time.monotonic())
    sent, seconds = begun(members)
    assert sent <= 2 * (seconds + 0.5) + 1


def test_a_refusal_of_one_member_slows_all_and_only_one_of_an_epoch_cuts(
    redis: RedisServer, fleet: Any
) -> None:
    preset(redis, rate=100)
    members = joined(fleet(3))
    run(members, 1.5)
    eventually(
        lambda: all(member.running for member in members),
        lambda: [member.look() for member in members],
    )
    epochs = {member.lease.epoch for member in members}
    for member in members:
        member.fail(RateLimited("Slow down.", retry_after=0.2))
    eventually(lambda: all(member.lease.epoch == max(epochs) + 1 for member in members))
    texts = {member.lease.text for member in members}
    rates = {SharedCongestion.load(text, 0.0).congestion.rate.rate for text in texts}
    assert all(rate < 100 for rate in rates)


def test_a_wrong_key_of_one_member_rejects_the_queued_calls_of_all(fleet: Any) -> None:
    first, second = fleet(2)
    first.ask()
    eventually(lambda: first.running, first.look)
    second.ask(30)
    first.fail(AuthenticationError("No.", status=401))
    eventually(lambda: all(one.rejection for one in second.waiting), second.look)
    rejection = second.waiting[0].rejection
    assert isinstance(rejection, AuthenticationError)
    assert "another process" in str(rejection)


def test_one_member_of_all_probes_a_provider_that_is_down(fleet: Any) -> None:
    members = joined(fleet(3))
    first = members[0].ask()
    eventually(lambda: first.running, first.look)
    first.limiter.congestion.start_probing(time.monotonic(), ServerError("Down."))
    eventually(lambda: all(member.gate.probing for member in map(_limiter, members)))
    for member in members:
        member.ask(3)
        member.granted_at.clear()
    eventually(lambda: total(members), lambda: [member.look() for member in members])
    end = time.monotonic() + 1.0
    while time.monotonic() < end:
        for member in members:
            member.look()
        time.sleep(0.01)
    assert total(members) == 1
    prober = next(member for member in members if member.granted_at)
    prober.answer()
    eventually(lambda: not any(member.gate.probing for member in map(_limiter, members)))
    eventually(
        lambda: all(not member.waiting for member in members),
        lambda: [member.look().answer() for member in members],
    )


def _limiter(member: Member) -> AdaptiveRateLimiter:
    return member.limiter


def test_members_together_have_no_more_calls_in_flight_than_the_fleet_allows(
    redis: RedisServer, fleet: Any
) -> None:
    preset(redis, most=5)
    members = joined(fleet(3))
    for member in members:
        member.ask(10)
    most = 0
    end = time.monotonic() + 2.0
    while time.monotonic() < end:
        for member in members:
            member.look()
        most = max(most, sum(len(member.running) for member in members))
        time.sleep(0.01)
    assert 1 <= most <= 5
    eventually(
        lambda: all(not member.waiting for member in members),
        lambda: [member.look().answer() for member in members],
    )


def test_with_fewer_places_than_members_each_has_its_turn(redis: RedisServer, fleet: Any) -> None:
    preset(redis, most=1)
    members = joined(fleet(3))
    for member in members:
        member.ask(2)
    eventually(
        lambda: all(not member.waiting for member in members),
        lambda: [member.look().answer() for member in members],
    )


def test_an_overload_of_one_member_narrows_all(fleet: Any) -> None:
    members = joined(fleet(2))
    for member in members:
        member.ask(20)
        eventually(lambda member=member: len(member.running) == 20, member.look)
    for _ in range(10):  # One alone may be chance.
        members[0].fail(Overloaded("Overloaded.", status=529))
    eventually(lambda: all(one.limiter.concurrency.whole < 40 for one in members))


def test_a_server_that_forgets_everything_gets_it_back(redis: RedisServer, fleet: Any) -> None:
    preset(redis, rate=50)
    members = joined(fleet(2))
    with redis.client() as client:
        client.flushall()
        eventually(
            lambda: client.keys("*limits:state*"),
            lambda: [member.ask().look().answer() for member in members],
        )
        (key,) = client.keys("*limits:state*")
        eventually(lambda: client.hget(key, "text"), lambda: members[0].ask().look().answer())
        text = client.hget(key, "text")
    assert SharedCongestion.load(text, 0.0).congestion.rate.rate == pytest.approx(50, rel=0.1)
    assert all(member.lease.version >= 1 for member in members)


def test_without_the_server_each_member_has_its_part_and_joins_again() -> None:
    with redis_server() as server:
        preset(server, rate=40)
        members = joined([Member(server.url) for _ in range(4)])
        try:
            server.stop()
            for member in members:
                member.ask(100)
            eventually(
                lambda: all(member.lease.alone_since for member in members),
                lambda: [member.look().answer() for member in members],
            )
            rates = [member.limiter.rate.rate for member in members]
            # On a busy machine one may be missed as the server stops.
            assert sum(rates) <= 40 * 1.4
            assert max(rates) <= 40 / 2
            elapsed_s = run(members, 2.0)
            assert total(members) <= sum(rates) * elapsed_s + 4 * 2
            assert all(member.connection.is_away for member in members)
            server.start()
            eventually(
                lambda: all(member.is_led() for member in members),
                lambda: [member.look().answer() for member in members],
            )
            elapsed_s = run(members, 1.0)
            assert total(members) <= 40 * (elapsed_s + 0.5) + 4
        finally:
            for member in members:
                member.close()


def test_a_member_that_does_not_renew_leaves_its_part_to_the_others(
    redis: RedisServer, fleet: Any
) -> None:
    preset(redis, rate=30)
    first, second = joined(fleet(2))
    for member in (first, second):
        member.ask(100)
    first.sharing._closed.set()  # as a process that was killed
    eventually(lambda: second.lease.members == 1, lambda: second.look().answer())
    assert second.limiter.rate.rate == pytest.approx(30, rel=0.2)


def test_a_member_that_was_stopped_does_not_use_its_old_slots(
    redis: RedisServer, fleet: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    preset(redis, rate=20)
    (member,) = joined(fleet(1))
    member.ask(50)
    eventually(member.is_led, member.look)
    later = time.monotonic() + 3600
    at = member.limiter.rate.ready_at(later, waiting=True, mirrored=False)
    assert at >= later
    assert not member.limiter.rate.slots


def test_the_least_limit_that_a_member_states_counts_for_all(fleet: Any) -> None:
    members = joined(fleet(2))
    members[0].limiter.state(600.0, None, time.monotonic())
    eventually(
        lambda: (
            all(one.limiter.rate.rate + one.limiter.rate.ramp > 0 for one in members)
            and all(_whole_pace(one) <= 10 for one in members)
        ),
        lambda: [member.ask().look().answer() for member in members],
    )


def _whole_pace(member: Member) -> float:
    if not member.lease.text:
        return inf
    return SharedCongestion.load(member.lease.text, 0.0).published().pace


def test_the_first_call_waits_for_a_server_that_is_away_only_a_moment(fleet: Any) -> None:
    (member,) = fleet(1, "redis://127.0.0.1:1")
    member.ask(3)
    eventually(lambda: not member.waiting, lambda: member.look().answer())
    assert member.lease.alone_since is not None


def test_the_forecast_of_a_member_is_that_of_its_part(redis: RedisServer, fleet: Any) -> None:
    preset(redis, rate=20)
    members = joined(fleet(2))
    for member in members:
        member.ask(60)

    def is_right(member: Member) -> bool:
        forecast = start_forecast(member.limiter, time.monotonic())
        # It is behind the queue, which has 10 slots a second.
        is_wait_right = forecast.wait_s == pytest.approx(forecast.queued / 10, rel=0.4)
        return is_wait_right and forecast.per_s == pytest.approx(10, rel=0.2)

    eventually(
        lambda: all(member.is_led() and is_right(member) for member in members),
        lambda: [member.look() for member in members],
    )


def test_a_limiter_without_calls_is_no_longer_renewed(
    fleet: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from modelwire.transport.ratelimit import lease

    monkeypatch.setattr(lease, "_DORMANT_S", 0.3)
    (member,) = joined(fleet(1))
    eventually(lambda: member.lease.is_dormant)
    assert not member.sharing._due
    member.ask()
    eventually(lambda: member.granted_at, member.look)


def test_the_digest_is_the_same_in_every_process_and_shows_no_key() -> None:
    digest = limiter_digest(IDENTITY, "modelwire")
    assert len(digest) == 32
    assert digest == limiter_digest(list(IDENTITY), "modelwire")
    others = {
        limiter_digest(identity, prefix)
        for identity, prefix in [
            (["https://b.test/v1", "m", "key"], "modelwire"),
            (["https://a.test/v1", "n", "key"], "modelwire"),
            (["https://a.test/v1", "m", "kez"], "modelwire"),
            (["https://a.test/v1", "m", None, "key"], "modelwire"),
            (IDENTITY, "other"),
        ]
    }
    assert len(others - {digest}) == 5
