"""A pool of simulated deployments: the real scheduler, limiters and flows, with made-up sockets and clocks.

`run_pool` works off rows over several simulated providers; `ideal_pool_s` is what a client would take that knows all
limits and outages beforehand and meets latencies of the same kind. `VirtualLoop` is an event loop whose time passes at
once when nothing is left to do.
"""

import asyncio
import heapq
import math
import selectors
from collections.abc import Callable, Coroutine, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from support.simulated_provider import (
    ONE_WAY_S,
    OUTPUT_TOKENS,
    TOKENS_A_BYTE,
    WIRE,
    Job,
    Outcome,
    Provider,
    World,
    _fresh,
)
from support.word_exchange import word_exchange

from modelwire.errors import ChatError
from modelwire.pools.call import PoolCall
from modelwire.pools.deployment import Deployment
from modelwire.pools.scheduler import Scheduler
from modelwire.transport.call import call_flow
from modelwire.transport.ratelimit.limiter import AdaptiveRateLimiter
from modelwire.transport.retry import RetryPolicy
from modelwire.transport.steps import Exchange, Send, Wait

_POLICY = RetryPolicy(max_retries=0, max_wait_s=1.0, max_requests=1)  # what `pool` gives its models


class PoolJob(Job):
    """Rows worked off over a pool."""

    def __init__(
        self,
        world: World,
        providers: Sequence[Provider],
        rows: Iterator[int],
        outcome: Outcome,
        *,
        workers: int,
        seed: int,
        **options: Any,
    ) -> None:
        self.providers = providers
        self.position_of: dict[int, int] = {}  # the deployment of each row
        self.row_of: dict[Generator[Any, Any, Any], int] = {}
        self.limiters = [
            AdaptiveRateLimiter(world.now, Random(seed + n)) for n, _ in enumerate(providers)
        ]
        deployments = []
        for n, limiter in enumerate(self.limiters):
            deployment = Deployment(f"d{n}", None)
            deployment._limiter, deployment._limiter_until = limiter, math.inf
            deployments.append(deployment)
        self.scheduler = Scheduler(deployments, **options)
        super().__init__(
            world, providers[0], rows, outcome, workers=workers, seed=seed, call=_pool_call
        )

    def _next(self) -> None:
        row = next(self.rows, None)
        if row is not None:
            flow = self.call(self, row)
            self.row_of[flow] = row
            self._resume(flow, None, None)

    def _do(self, flow: Generator[Any, Any, Any], step: Any) -> None:
        if not isinstance(step, Send):
            super()._do(flow, step)
            return
        row, world = self.row_of[flow], self.world
        provider = self.providers[self.position_of[row]]

        def answer(outcome: Any) -> None:
            failed = isinstance(outcome, ChatError)
            self._resume(flow, None if failed else outcome, outcome if failed else None)

        world.at(world.now + ONE_WAY_S, lambda: provider.take(provider.cost(row), answer))


def _pool_call(job: Any, row: int) -> Generator[Any, Any, Any]:
    world, scheduler = job.world, job.scheduler
    cost = job.providers[0].cost(row)
    content = b"x" * round((cost - OUTPUT_TOKENS) / TOKENS_A_BYTE) if cost else b"{}"
    call = PoolCall(scheduler, world.now, chars=len(content), patient=True)
    while True:
        while (deployment := call.poll(world.now)) is None:
            assert call.waiter is not None
            yield Wait(call.waiter, call.wait_s)
        position = scheduler.deployments.index(deployment)
        job.position_of[row] = position
        exchange: Exchange[str, str] = word_exchange(
            content=content,
            max_output=OUTPUT_TOKENS,
            wire=WIRE,
            retry=_POLICY,
            clock=lambda: world.now,
            rng=job.rng,
            model="m",
            limiter=job.limiters[position],
            patient=True,
        )
        exchange.belong_to(call)
        try:
            answer = yield from call_flow(exchange)
        except ChatError as error:
            call.failed(world.now, error)
            continue
        call.answered(world.now)
        return answer


@dataclass
class PoolScore:
    """How a job over a pool went, against the ideal."""

    outcome: Outcome
    providers: list[Provider]
    ratio: float

    @property
    def refused(self) -> float:
        """The part of all answers that were refusals because of a limit."""
        answers = sum(sum(one.seen.values()) for one in self.providers)
        return sum(one.seen[429] for one in self.providers) / answers

    def __str__(self) -> str:
        seen = [dict(one.seen) for one in self.providers]
        return (
            f"{self.ratio:.3f}x {self.outcome.makespan_s:.0f} s, {self.refused:.2%} refused, "
            f"{self.outcome.lost} lost, {self.outcome.done} done, {seen} {dict(self.outcome.errors)}"
        )


def ideal_pool_s(
    deployments: Sequence[Mapping[str, Any]], *, rows: int, workers: int, seed: int = 1
) -> float:
    """Return how long the rows take a client that knows all limits, outages and latencies' medians."""
    providers = [
        Provider(World(), seed=seed + n, **_fresh(one)) for n, one in enumerate(deployments)
    ]
    busy: list[list[float]] = [[0.0] * (one.slots or 0) for one in providers]
    free = [0.0] * workers
    end = 0.0
    for row in range(rows):
        at = heapq.heappop(free) + ONE_WAY_S
        options = []
        for position, provider in enumerate(providers):
            start = _ready_at(provider, at, row)
            if busy[position]:
                start = max(start, busy[position][0])
            options.append((start + provider.latency_s, start, position))
        _, start, position = min(options)
        provider = providers[position]
        for bucket, c in ((provider.requests, 1.0), (provider.tokens, float(provider.cost(row)))):
            if bucket is not None:
                bucket.refill(start)
                bucket.take(c)
        done = start + provider.draw_latency() + ONE_WAY_S
        if busy[position]:
            heapq.heapreplace(busy[position], done)
        heapq.heappush(free, done)
        end = max(end, done)
    return end


def _ready_at(provider: Provider, at: float, row: int) -> float:
    start = at
    for bucket, c in ((provider.requests, 1.0), (provider.tokens, float(provider.cost(row)))):
        if bucket is not None:
            probe = bucket.fresh()
            probe.__dict__.update(bucket.__dict__)
            if hasattr(bucket, "_taken_at"):
                probe._taken_at = bucket._taken_at.copy()  # type: ignore[union-attr]
            start = probe.ready_at(max(start, bucket.at), c)
    for outage_start, outage_end, _status in provider.outages:
        if outage_start <= start < outage_end:
            start = outage_end
    return start


def run_pool(
    deployments: Sequence[Mapping[str, Any]],
    *,
    rows: int = 2000,
    workers: int = 200,
    seed: int = 1,
    until: float = 3000.0,
    **options: Any,
) -> PoolScore:
    """Work off the rows over deployments with these settings; `options` are the scheduler's."""
    world, outcome = World(), Outcome()
    providers = [Provider(world, seed=seed + n, **_fresh(one)) for n, one in enumerate(deployments)]
    PoolJob(
        world, providers, iter(range(rows)), outcome, workers=workers, seed=seed * 100, **options
    )
    world.run(until)
    ideal = ideal_pool_s(deployments, rows=rows, workers=workers, seed=seed)
    return PoolScore(outcome, providers, outcome.makespan_s / ideal)


class _JumpingSelector(selectors.DefaultSelector):
    """Waits no real time: it moves the loop's clock on instead."""

    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        if timeout:
            self.now += timeout
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time passes at once."""

    def __init__(self) -> None:
        self.jumping = _JumpingSelector()
        super().__init__(self.jumping)

    def time(self) -> float:
        return self.jumping.now


def run_virtually(main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run a coroutine on a virtual loop, whose time the pool reads, too."""
    from modelwire.pools import hedged, model

    loop = VirtualLoop()
    before = model.monotonic, hedged.monotonic
    model.monotonic = hedged.monotonic = loop.time  # type: ignore[assignment]
    try:
        return loop.run_until_complete(main())
    finally:
        model.monotonic, hedged.monotonic = before
        loop.close()


__all__ = ["PoolScore", "VirtualLoop", "ideal_pool_s", "run_pool", "run_virtually"]
