"""Budgets on Redis: parcels, what goes back, and a server that is away, slow, or empty."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.biller import Biller, billing, model_at
from support.redis_server import RedisServer, redis_server
from support.thinned import thinned

import modelwire
from modelwire import budget
from modelwire.budgets import Budget, Spending
from modelwire.errors import BudgetExceeded, BudgetUnavailable, InvalidArgument
from modelwire.fleet import Connection, Fleet
from modelwire.fleet import budgets as fleet_budgets
from modelwire.fleet.budgets import Account, Accounts, Amounts
from modelwire.fleet.connection import Away

pytest.importorskip("genai_prices")
pytestmark = pytest.mark.usefixtures("patient")

PER_USD = 10**12


@pytest.fixture
def biller() -> Iterator[Biller]:
    with billing() as server:
        yield server


@pytest.fixture
def fleet(redis: RedisServer) -> Fleet:
    return modelwire.shared(redis.url)


def until(holds: Callable[[], bool]) -> None:
    """Wait until it holds; a busy machine may take long."""
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def stored(redis: RedisServer, name: str = "team") -> Amounts:
    """Return the sum on the server."""
    with redis.client() as client:
        usd, tokens, calls = client.hmget(f"modelwire:budget:{{{name}}}", "usd", "tokens", "calls")
    return int(usd or 0), int(tokens or 0), int(calls or 0)


def exchanges(redis: RedisServer, name: str = "team") -> int:
    with redis.client() as client:
        return int(client.hget(f"modelwire:budget:{{{name}}}", "exchanges") or 0)


def account_of(b: Budget) -> Account:
    store: Any = b._store
    return store._account(store.period())


# Parcels


def test_many_calls_make_few_round_trips_and_none_is_forgotten(
    redis: RedisServer, fleet: Fleet
) -> None:
    store: Any = budget("team", usd=1000)._store
    amount = Spending(Decimal("0.001"), 100, 1)
    for _ in range(2000):
        exceeded, account = store.add_within(amount, (Decimal(1000), None, None))
        assert exceeded is None
        store.add(Spending(), account)
    assert exchanges(redis) < 400
    assert store.total() == Spending(Decimal(2), 200_000, 2000)
    until(lambda: stored(redis) == (2 * PER_USD, 200_000, 2000))


def test_a_call_of_a_pool_and_its_tries_at_several_deployments_are_one_call(
    colour: Any, redis: RedisServer, fleet: Fleet, biller: Biller
) -> None:
    with billing() as down, budget("team", calls=2) as b:
        down.status = 500
        model = modelwire.pool({"a": model_at(down), "b": model_at(biller)}, prefer="first")
        for _ in range(2):
            colour.invoke(model, "hi")
        with pytest.raises(BudgetExceeded):
            colour.invoke(model, "hi")
        assert (down.calls, biller.calls) == (2, 2)
    assert b.spent.calls == 2
    assert b.left.calls == 0
    until(lambda: stored(redis)[1:] == (biller.tokens, 2))


def test_a_parcel_is_at_most_a_hundredth_of_what_is_left(redis: RedisServer, fleet: Fleet) -> None:
    store: Any = budget("team", usd=10)._store
    limits = (Decimal(10), None, None)
    cost = Spending(Decimal("0.04"), 100, 1)
    spent = Decimal(0)
    while True:
        exceeded, account = store.add_within(cost, limits)
        if exceeded:
            break
        spent += cost.usd
        left = 10 * PER_USD - stored(redis)[0]
        # Several parcels may be taken, each of a hundredth of what was left then.
        assert account.parcel[0] <= (left + account.parcel[0]) * 0.2 + 1
    assert spent == 10


def test_what_is_left_does_not_lack_the_parcels_of_this_process(
    redis: RedisServer, fleet: Fleet, no_ticks: None
) -> None:
    store: Any = budget("team", usd=1000)._store
    for _ in range(2):
        _, account = store.add_within(Spending(Decimal(1), 10, 1), (Decimal(1000), None, None))
    assert account.parcel[0] > 0
    assert budget("team", usd=1000).left.usd == 998
    assert budget("team", usd=500).left.usd == 498


def test_an_idle_process_gives_its_parcel_back(redis: RedisServer, fleet: Fleet) -> None:
    store: Any = budget("team", usd=1000)._store
    for _ in range(100):
        _, account = store.add_within(
            Spending(Decimal("0.001"), 10, 1), (Decimal(1000), None, None)
        )
        store.add(Spending(), account)
    until(lambda: stored(redis) == (PER_USD // 10, 1000, 100))
    until(lambda: account.is_idle)


ENDS = """
import sys
from modelwire import ChatOpenAI, budget
model = ChatOpenAI(model="gpt-4o-mini", base_url=sys.argv[1], api_key="k", max_tokens=60, rate_limit=None)
with budget("team", usd=5):
    for _ in range(20):
        model.invoke("hi")
"""


def test_a_process_that_ends_gives_its_parcel_back(redis: RedisServer, biller: Biller) -> None:
    environment = {**os.environ, "MODELWIRE_SHARED": redis.patient_url}
    words = [sys.executable, "-c", ENDS, biller.url]
    subprocess.run(words, env=environment, check=True, timeout=120)
    assert stored(redis) == (int(biller.usd * PER_USD), biller.tokens, 20)


ENDS_AS_CHILD = f"""
import multiprocessing
import sys

import modelwire


def work():
    exec({ENDS!r})


if __name__ == "__main__":
    if sys.argv[3] == "parent":
        modelwire.shared()
    child = multiprocessing.get_context(sys.argv[2]).Process(target=work)
    child.start()
    child.join()
    sys.exit(child.exitcode)
"""


@thinned(one_in=2, method=multiprocessing.get_all_start_methods(), shares_first=["parent", "child"])
def test_a_child_of_multiprocessing_gives_its_parcel_back(
    redis: RedisServer, biller: Biller, tmp_path: Path, method: str, shares_first: str
) -> None:
    program = tmp_path / "program.py"
    program.write_text(ENDS_AS_CHILD, encoding="utf-8")
    environment = {**os.environ, "MODELWIRE_SHARED": redis.url}
    words = [sys.executable, str(program), biller.url, method, shares_first]
    subprocess.run(words, env=environment, check=True, timeout=120)
    assert stored(redis) == (int(biller.usd * PER_USD), biller.tokens, 20)


def test_what_a_call_costs_beyond_its_reservation_is_added(
    redis: RedisServer, fleet: Fleet, biller: Biller
) -> None:
    biller.output = lambda body: 5000
    with budget("team", tokens=10_000) as b:
        model_at(biller).invoke("hi")
    assert b.left.tokens == 10_000 - 5008
    until(lambda: stored(redis)[1] == 5008)


@pytest.mark.parametrize(
    ("per", "least_s", "most_s"),
    [("hour", 3600, 3 * 86_400), ("day", 86_400, 4 * 86_400), ("month", 31 * 86_400, 41 * 86_400)],
)
def test_a_sum_stays_on_the_server_beyond_its_period(
    redis: RedisServer, fleet: Fleet, per: Any, least_s: int, most_s: int
) -> None:
    budget("team", calls=5, per=per)._store.add_within(Spending(calls=1), (None, None, 5))  # type: ignore[union-attr]
    with redis.client() as client:
        (key,) = client.keys("modelwire:budget:{team:*}")
        assert least_s < client.ttl(key) <= most_s
        assert all(client.ttl(other) > 0 for other in client.keys("modelwire:budget:{team:*}:*"))


def test_without_a_period_a_sum_stays_for_good(redis: RedisServer, fleet: Fleet) -> None:
    budget("team", calls=5)._store.add_within(Spending(calls=1), (None, None, 5))  # type: ignore[union-attr]
    with redis.client() as client:
        assert client.ttl("modelwire:budget:{team}") == -1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_does_not_spend_the_parcel_of_its_parent(
    redis: RedisServer, fleet: Fleet
) -> None:
    limits = (Decimal(1000), None, None)
    cost = Spending(Decimal("0.001"), 10, 1)
    store: Any = budget("team", usd=1000)._store
    _, account = store.add_within(cost, limits)
    _, account = store.add_within(cost, limits)
    assert account.parcel[2] >= 1
    child = os.fork()
    if child == 0:
        exceeded, other = store.add_within(cost, limits)
        is_its_own = exceeded is None and other is not account
        fleet.close()
        os._exit(0 if is_its_own else 1)
    assert os.waitpid(child, 0)[1] == 0
    fleet.close()
    assert stored(redis) == (3 * PER_USD // 1000, 30, 3)


# The server is away


def test_while_the_server_is_away_a_call_is_refused(
    colour: Any, redis: RedisServer, biller: Biller, caplog: pytest.LogCaptureFixture
) -> None:
    model = model_at(biller)
    with redis_server() as server:
        modelwire.shared(server.url)
        with budget("team", calls=100, usd=1) as b:
            colour.invoke(model, "hi")
            server.stop()
            with pytest.raises(BudgetUnavailable, match=r"`team` has left is unknown") as caught:
                for _ in range(20):  # What a parcel holds may be spent.
                    colour.invoke(model, "hi")
            sent = biller.calls
            assert isinstance(caught.value, BudgetExceeded)
            assert caught.value.budget is b
            assert caught.value.spent.calls == sent
            assert "not sent" in str(caught.value)
            assert 'when_away="local"' in str(caught.value)
            assert str(server.port) in str(caught.value)
            with pytest.raises(BudgetUnavailable):
                colour.invoke(model, "hi")
            assert biller.calls == sent
            server.start()

            def is_back() -> bool:
                try:
                    colour.invoke(model, "hi")
                except BudgetUnavailable:
                    return False
                return True

            until(is_back)
        # It came back empty: what this process has spent was written again.
        assert b.left.calls == 100 - biller.calls
        assert b.left.usd == 1 - biller.usd
    warnings = [one.getMessage() for one in caplog.records if one.name == "modelwire.fleet"]
    assert len(warnings) == 2
    assert "is back" in warnings[1]


def test_a_server_that_hangs_does_not_stop_the_calls_for_long(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelwire.fleet.connection._TIMEOUT_S", 0.5)
    fleet = modelwire.shared(redis.url)
    with budget("team", calls=100) as b:
        until(lambda: not refused(b))
        redis.send_signal(signal.SIGSTOP)
        try:
            until(lambda: refused(b))
            assert fleet.is_away
            # From here on a call does not wait for the server; its background thread tries it.
            runs: list[Any] = []
            run = fleet.connection.run
            fleet.connection.run = lambda *args: runs.append(1) or run(*args)  # type: ignore[method-assign, func-returns-value]
            account = account_of(b)
            account._tick = lambda: False  # type: ignore[method-assign]
            for _ in range(20):
                assert refused(b)
            del fleet.connection.run  # type: ignore[method-assign]
            del account._tick  # type: ignore[method-assign]
        finally:
            redis.send_signal(signal.SIGCONT)
        until(lambda: not refused(b))


def refused(b: Budget) -> bool:
    store: Any = b._store
    try:
        _, account = store.add_within(Spending(calls=1), (None, None, 100))
    except BudgetUnavailable:
        return True
    store.add(Spending(calls=-1), account)
    return False


def test_with_local_a_process_spends_its_part_and_reconciles(
    redis: RedisServer, biller: Biller
) -> None:
    model = model_at(biller)
    with redis_server("--appendonly", "yes") as server:
        modelwire.shared(server.url)
        other = Accounts(Connection(server.url)).of("team", "", (None, None, 50), 0)
        with budget("team", calls=50, when_away="local") as b:
            model.invoke("hi")
            other.reserve((0, 0, 9), goes_on_alone=False)
            assert b.left.calls == 40
            server.stop()
            with pytest.raises(BudgetUnavailable, match="has spent its part of the rest") as caught:
                for _ in range(50):
                    model.invoke("hi")
            assert "when_away" not in str(caught.value)
            # Of the 40 that were left, the two members have 20 each.
            assert biller.calls == b.spent.calls == 21
            assert b.left.calls == 20
            server.start()
            until(lambda: stored_in(server) == 9 + 21)

            def is_spent() -> bool:
                try:
                    model.invoke("hi")
                except BudgetUnavailable:  # the server's reply is on its way
                    return False
                except BudgetExceeded as error:
                    return "its 50 calls" in str(error)
                return False

            until(is_spent)
        assert biller.calls + 9 == 50


def stored_in(server: RedisServer) -> int:
    try:
        return stored(server)[2]
    except OSError:
        return -1


def test_with_local_a_process_that_knows_nothing_of_the_budget_is_refused(biller: Biller) -> None:
    with redis_server() as server:
        server.stop()
        modelwire.shared(server.url)
        with budget("team", calls=50, when_away="local") as b:
            with pytest.raises(BudgetUnavailable, match="has not since this process began"):
                model_at(biller).invoke("hi")
            with pytest.raises(BudgetUnavailable):
                _ = b.left
    assert biller.calls == 0


def test_an_empty_server_gets_the_highest_sum_that_a_process_knows(
    redis: RedisServer, no_ticks: None
) -> None:
    limits = None, None, 1000
    one, two, three = (Accounts(Connection(redis.url)).of("team", "", limits, 0) for _ in range(3))
    one.reserve((0, 10, 5), goes_on_alone=False)
    two.reserve((0, 10, 7), goes_on_alone=False)
    one.reserve((0, 10, 1), goes_on_alone=False)
    with redis.client() as client:
        client.flushall()
    three.reserve((0, 0, 100), goes_on_alone=False)  # It knows of nothing.
    assert stored(redis)[2] >= 100
    two.reserve((0, 0, 1), goes_on_alone=False)
    one.reserve((0, 0, 1), goes_on_alone=False)
    for account in (one, two, three):
        account.close()
    assert stored(redis) == (0, 30, 5 + 7 + 1 + 100 + 1 + 1)


def test_a_server_that_has_lost_the_last_seconds_gets_them_again(
    redis: RedisServer, no_ticks: None
) -> None:
    limits = None, None, 1000
    one, two = (Accounts(Connection(redis.url)).of("team", "", limits, 0) for _ in range(2))
    one.reserve((0, 0, 5), goes_on_alone=False)
    with redis.client() as client:
        snapshot = client.dump("modelwire:budget:{team}")
        two.reserve((0, 0, 20), goes_on_alone=False)
        one.reserve((0, 0, 3), goes_on_alone=False)
        client.restore("modelwire:budget:{team}", 0, snapshot, replace=True)
    two.reserve((0, 0, 1), goes_on_alone=False)
    one.reserve((0, 0, 1), goes_on_alone=False)
    for account in (one, two):
        account.close()
    assert stored(redis)[2] == 5 + 20 + 3 + 1 + 1


@pytest.fixture
def no_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_budgets, "start_ticking", lambda task: None)


# What is done to the accounts, in any order: by which of two, and how much.
ACCOUNTS = st.integers(0, 1)
AMOUNTS = st.tuples(st.integers(0, 300), st.integers(0, 30), st.just(1))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("reserve"), ACCOUNTS, AMOUNTS),
        st.tuples(
            st.just("settle"),
            ACCOUNTS,
            st.tuples(st.integers(0, 400), st.integers(0, 40), st.just(1)),
        ),
        st.tuples(st.just("tick"), ACCOUNTS, st.just((0, 0, 0))),
        st.tuples(st.just("lose the next reply"), ACCOUNTS, st.just((0, 0, 0))),
        st.tuples(st.just("lose the next request"), ACCOUNTS, st.just((0, 0, 0))),
    ),
    max_size=40,
)


class Unreliable:
    """A connection to a real server that loses a request or a reply when a test wants it."""

    def __init__(self, url: str) -> None:
        self._connection = Connection(url)
        self.key, self.shown, self.is_away = self._connection.key, "it", False
        self.loses = ""
        # What was owed in an exchange whose reply was lost, until the next exchange.
        self.owed: tuple[int, ...] = (0, 0, 0)

    def run(self, script: Any, keys: Any, args: Any) -> Any:
        loses, self.loses = self.loses, ""
        if loses == "request":
            raise Away
        reply = self._connection.run(script, keys, args)
        self.owed = (0, 0, 0)
        if loses == "reply":
            self.owed = tuple(args[9:12])
            raise Away
        return reply


@pytest.mark.parametrize("loses", ["request", "reply"])
def test_one_lost_exchange_does_not_refuse_a_call(
    redis: RedisServer, no_ticks: None, loses: str
) -> None:
    connection: Any = Unreliable(redis.url)
    account = Accounts(connection).of("team", "", (None, None, 10), 0)
    connection.loses = loses
    assert account.reserve((0, 0, 3), goes_on_alone=False) is None
    account.close()
    assert stored(redis)[2] == 3


@example(
    steps=[
        ("tick", 0, (0, 0, 0)),
        ("tick", 0, (0, 0, 0)),
        ("reserve", 0, (280, 0, 1)),
        ("tick", 0, (0, 0, 0)),
        ("reserve", 0, (0, 0, 1)),
        ("lose the next reply", 0, (0, 0, 0)),
        ("tick", 0, (0, 0, 0)),
        ("settle", 0, (53, 0, 1)),
    ]
)
@given(steps=STEPS)
def test_whatever_happens_the_sum_is_what_was_spent_and_reserved(
    running_redis: RedisServer, steps: list[tuple[str, int, Amounts]]
) -> None:
    with running_redis.client() as client:
        client.flushall()
    limits = 3000, 300, None
    connections = [Unreliable(running_redis.url) for _ in range(2)]
    accounts = [Accounts(each).of("team", "", limits, 0) for each in connections]  # type: ignore[arg-type]
    in_flight: list[list[Amounts]] = [[], []]
    spent: Amounts = (0, 0, 0)
    start, fleet_budgets.start_ticking = fleet_budgets.start_ticking, lambda task: None
    try:
        for step, at, amounts in steps:
            if step == "reserve":
                try:
                    exceeded = accounts[at].reserve(amounts, goes_on_alone=False)
                except Away:
                    continue
                held = [sum(each) for each in zip(spent, *in_flight[0], *in_flight[1], strict=True)]
                if exceeded is None:
                    in_flight[at].append(amounts)
                    if all(
                        used <= limit for used, limit in zip(held, limits, strict=True) if limit
                    ):
                        pairs = zip(held, amounts, limits, strict=True)
                        assert all(used + more <= limit for used, more, limit in pairs if limit)
            elif step == "settle" and in_flight[at]:
                reserved = in_flight[at].pop()
                accounts[at].settle(fleet_budgets._minus(amounts, reserved))
                spent = fleet_budgets._plus(spent, amounts)
            elif step == "tick":
                accounts[at]._tick()
            elif step.startswith("lose"):
                connections[at].loses = step.split()[-1]
            # An exchange whose reply was lost has counted what was owed then; the next one corrects that.
            owed = [
                [
                    max(0, now, now - before)
                    for now, before in zip(one._owed, done.owed, strict=True)
                ]
                for one, done in zip(accounts, connections, strict=True)
            ]
            parcels = [one.parcel for one in accounts]
            held_by_processes = [spent, *in_flight[0], *in_flight[1], *parcels]
            totals = zip(
                map(sum, zip(stored(running_redis), *owed, strict=True)),
                map(sum, zip(*held_by_processes, strict=True)),
                strict=True,
            )
            assert all(on_server >= held for on_server, held in totals)
    finally:
        fleet_budgets.start_ticking = start
    for connection, account in zip(connections, accounts, strict=True):
        connection.loses = ""
        account.close()
        account._exchange((0, 0, 0), is_call=False)  # This undoes what has been lost.
    committed = [sum(each) for each in zip(spent, *in_flight[0], *in_flight[1], strict=True)]
    assert list(stored(running_redis)) == committed


# Settings


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"name": "team", "when_away": "maybe"}, '`when_away` is "refuse" or "local"'),
        ({"when_away": "local"}, '`when_away="local"` needs a name'),
    ],
)
def test_a_wrong_when_away_is_refused(settings: Any, match: str) -> None:
    with pytest.raises(InvalidArgument, match=match):
        budget(calls=1, **settings)


def test_when_away_can_be_in_the_file(tmp_path: Any, redis: RedisServer, fleet: Fleet) -> None:
    path = tmp_path / "modelwire.toml"
    path.write_text('[budgets.team]\ncalls = 1\nwhen_away = "local"\n')
    store: Any = budget("team", config_file=str(path))._store
    assert store._goes_on_alone
