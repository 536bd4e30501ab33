"""Processes spend one budget together, and some of them are killed: the provider never bills more than it allows."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from support.biller import INPUT, OUTPUT, Biller, billing
from support.redis_server import RedisServer

from modelwire.budgets import Spending

pytest.importorskip("genai_prices")

# A process makes this many calls at a time, until the budget is used up or it has made its calls. It prints, as JSON,
# what it has spent by its own count.
SPENDS = """
import asyncio, json, sys
from modelwire import ChatOpenAI, budget
from modelwire.errors import BudgetExceeded
url, usd, calls, at_a_time = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
model = ChatOpenAI(model="gpt-4o-mini", base_url=url, api_key="k", max_tokens=60, rate_limit=None, max_retries=0)

async def spend():
    left = calls
    async def one():
        nonlocal left
        while left > 0:
            left -= 1
            try:
                await model.ainvoke("hi")
            except BudgetExceeded:
                left = 0
    with budget("crowd", usd=usd, per="month") as b:
        await asyncio.gather(*(one() for _ in range(at_a_time)))
    return b

b = asyncio.run(spend())
print(json.dumps([str(b.spent.usd), b.spent.calls]))
"""
AT_A_TIME = 10


@pytest.fixture
def biller() -> Iterator[Biller]:
    with billing() as server:
        # An answer may cost nearly what was reserved, or little.
        server.output = lambda body: random.randint(1, 60)
        yield server


def start(biller: Biller, redis: RedisServer, usd: Decimal, calls: int) -> subprocess.Popen[str]:
    words = [biller.url, str(usd), str(calls), str(AT_A_TIME)]
    environment = {**os.environ, "MODELWIRE_SHARED": redis.patient_url}
    return subprocess.Popen(
        [sys.executable, "-c", SPENDS, *words], stdout=subprocess.PIPE, env=environment, text=True
    )


def on_server(redis: RedisServer) -> Spending:
    with redis.client() as client:
        (key,) = [key for key in client.keys("modelwire:budget:*") if key.endswith(b"}")]
        usd, tokens, calls = client.hmget(key, "usd", "tokens", "calls")
    return Spending.from_units(int(usd), int(tokens), int(calls))


# The largest cost that one call reserves: its input, rounded up, and 60 tokens of output, rounded up.
RESERVED = 64 * INPUT + 64 * OUTPUT


@pytest.mark.parametrize(
    ("processes", "calls", "killed"),
    [(3, 600, 1), (8, 10_000, 3)],
)
@pytest.mark.long
def test_together_they_never_spend_more_than_the_budget(
    biller: Biller, redis: RedisServer, processes: int, calls: int, killed: int
) -> None:
    # An answer costs this on average, so the budget ends about when the calls do.
    usd = Decimal("0.00002") * calls
    mostly = usd * Decimal("0.9")
    children = [start(biller, redis, usd, calls) for _ in range(processes)]
    for number, child in enumerate(children[:killed]):
        while biller.usd < mostly * (number + 1) / (killed + 1):
            assert biller.usd <= usd
            time.sleep(0.01)
        child.kill()
    results: list[Any] = []
    for child in children:
        said, _ = child.communicate(timeout=570)
        if said:
            results.append(json.loads(said))
    assert [child.returncode for child in children[killed:]] == [0] * (processes - killed)
    assert len(results) == processes - killed
    total = on_server(redis)
    # What is in flight has reserved its cost, so that not even that exceeds the budget.
    assert biller.usd <= usd
    assert biller.usd <= total.usd <= usd
    # The sum is exact but for what the killed ones had reserved, and their parcels of at most a hundredth.
    lost = total.usd - biller.usd
    assert lost <= killed * (AT_A_TIME * RESERVED + usd / 100)
    # A process stops when a call is refused. Then nearly all is spent, or reserved by calls that end cheaper.
    assert usd - total.usd <= (processes - killed) * (AT_A_TIME * RESERVED + usd / 100)
    spent = sum((Decimal(one) for one, _ in results), Decimal(0))
    assert spent <= biller.usd
    print(
        f"{biller.calls} calls of {processes} processes, {killed} killed: ${biller.usd} billed of ${usd}, "
        f"${total.usd} on the server"
    )


def test_without_a_kill_the_sum_is_what_the_provider_bills(
    biller: Biller, redis: RedisServer
) -> None:
    children = [start(biller, redis, Decimal(1), 100) for _ in range(2)]
    for child in children:
        child.communicate(timeout=120)
    assert biller.calls == 200
    assert on_server(redis) == Spending(biller.usd, biller.tokens, 200)
