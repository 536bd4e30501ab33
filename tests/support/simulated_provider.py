"""A provider, its clients and their clock, all simulated: an hour of rate limits passes in a second.

The calls are real flows with a real limiter; only the socket and the clock are made up. `ideal_s` is what an
omniscient client would take with the same latencies.
"""

import heapq
import math
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Any

from support.word_exchange import word_exchange
from support.word_wire import WordWire

from modelwire.errors import ChatError, ConnectFailed
from modelwire.transport.call import call_flow
from modelwire.transport.ratelimit.admission import Admission
from modelwire.transport.ratelimit.congestion import Congestion
from modelwire.transport.ratelimit.limiter import AdaptiveRateLimiter
from modelwire.transport.retry import RetryPolicy
from modelwire.transport.steps import Exchange, Send, Sleep, Wait
from modelwire.transport.wire import Reply

ONE_WAY_S = 0.025
OUTPUT_TOKENS = 50
TOKENS_A_BYTE = 0.2  # not what the limiter starts from
REFUSED_S = 0.005  # what a refusal takes at the server


class World:
    """A clock, and what happens when."""

    def __init__(self) -> None:
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()

    def at(self, time: float, do: Callable[[], None]) -> None:
        heapq.heappush(self._events, (max(time, self.now), next(self._order), do))

    def run(self, until: float = math.inf) -> None:
        while self._events and self._events[0][0] <= until:
            self.now, _, do = heapq.heappop(self._events)
            do()


class TokenBucket:
    """Filled at a rate that may change: `steps` are pairs of a time and the requests (or tokens) a second from then."""

    def __init__(self, steps: Sequence[tuple[float, float]], burst_s: float) -> None:
        self.steps = steps
        self.burst_s = burst_s
        self.at = 0.0
        self.level = self.capacity(0.0)

    def rate(self, now: float) -> float:
        return [rate for start, rate in self.steps if start <= now][-1]

    def capacity(self, now: float) -> float:
        return max(1.0, self.rate(now) * self.burst_s)

    def refill(self, now: float) -> None:
        changes = [start for start, _ in self.steps if self.at < start < now]
        for time in [*changes, now]:
            self.level = min(
                self.level + max(time - self.at, 0.0) * self.rate(self.at), self.capacity(time)
            )
            self.at = max(time, self.at)

    def fresh(self) -> "TokenBucket":
        return TokenBucket(self.steps, self.burst_s)

    def take(self, cost: float) -> None:
        self.level -= cost

    def ready_at(self, now: float, cost: float = 1.0) -> float:
        """Return when `cost` can be had; for the ideal client."""
        self.refill(now)
        time = now
        while self.level + (gained := 0.0) < cost - 1e-9:
            changes = [start for start, _ in self.steps if start > time]
            until = min(changes, default=math.inf)
            needed = time + (cost - self.level - gained) / self.rate(time)
            if needed <= until:
                return needed
            self.refill(until)
            time = until
        return time


class SlidingWindow:
    """Takes `most` requests in any time of `seconds`: nothing is saved up, and none is filled in between."""

    def __init__(self, most: int, seconds: float) -> None:
        self.most = most
        self.seconds = seconds
        self.at = 0.0
        self._taken_at: deque[float] = deque()

    @property
    def level(self) -> float:
        return float(self.most - len(self._taken_at))

    def fresh(self) -> "SlidingWindow":
        return SlidingWindow(self.most, self.seconds)

    def rate(self, now: float) -> float:
        return self.most / self.seconds

    def capacity(self, now: float) -> float:
        return float(self.most)

    def refill(self, now: float) -> None:
        self.at = max(self.at, now)
        while self._taken_at and self._taken_at[0] + self.seconds <= self.at:
            self._taken_at.popleft()

    def take(self, cost: float) -> None:
        if cost > 0:
            self._taken_at.append(self.at)

    def ready_at(self, now: float, cost: float = 1.0) -> float:
        self.refill(now)
        return now if self.level >= cost else self._taken_at[0] + self.seconds


@dataclass
class Provider:
    """`headers`: "none", "retry-after" or "full". `outages`: start, end and status (0: no connection) of each."""

    world: World
    requests: TokenBucket | SlidingWindow | None = None
    tokens: TokenBucket | None = None
    headers: str = "none"
    lies: bool = False  # says that there is plenty, always
    refusals_cost: bool = False
    slots: int | None = None
    outages: Sequence[tuple[float, float, int]] = ()
    latency_s: float = 1.8  # the median
    flaky: float = 0.0  # how many calls end in a 500
    refuses: tuple[int, float] = (429, 0.0)  # a status, and how many calls end in it at random
    asks_at: int | None = None  # the request, by its number, that is to come again in an hour
    says_always: Mapping[str, str] = field(default_factory=dict)  # headers of all that is answered
    billing: bool = False
    input_tokens: Callable[[Random], int] | None = None  # of a row; each costs `OUTPUT_TOKENS` more
    jitter_s: float = 0.0  # by how much a request comes later than it might, on average
    seed: int = 1
    in_use: int = 0
    seen: Counter[int] = field(default_factory=Counter)
    arrivals: list[tuple[float, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = Random(self.seed)

    def cost(self, row: int) -> int:
        return self.input_tokens(Random(row)) + OUTPUT_TOKENS if self.input_tokens else 0

    def draw_latency(self) -> float:
        return self.latency_s * math.exp(self.rng.gauss(0, 0.4))

    def draw_jitter(self) -> float:
        return self.rng.expovariate(1 / self.jitter_s) if self.jitter_s else 0.0

    def take(self, cost: int, answer: Callable[[Reply | ChatError], None]) -> None:
        """A request arrives; `answer` is called when its answer has arrived back."""
        world = self.world
        status, seconds = self._status(world.now, cost)
        self.seen[status] += 1
        self.arrivals.append((world.now, status))
        head = self._head(world.now, status)
        body = b"%d" % cost if status == 200 else self._body(status)
        outcome: Reply | ChatError = Reply(status, head, body)
        if status == 0:
            outcome = ConnectFailed("No connection could be made: simulated.")
        if status == 200:
            self.in_use += 1

        def done() -> None:
            if status == 200:
                self.in_use -= 1
            world.at(world.now + ONE_WAY_S, lambda: answer(outcome))

        world.at(world.now + seconds, done)

    def _body(self, status: int) -> bytes:
        return b"credit" if self.billing else b"no"

    def _status(self, now: float, cost: int) -> tuple[int, float]:
        for start, end, status in self.outages:
            if start <= now < end:
                return status, REFUSED_S
        if self.billing:
            return 429, REFUSED_S
        if len(self.arrivals) + 1 == self.asks_at:
            return 429, REFUSED_S
        if self.refuses[1] and self.rng.random() < self.refuses[1]:
            return self.refuses[0], REFUSED_S
        if self.slots is not None and self.in_use >= self.slots:
            return 503, REFUSED_S
        buckets = [
            (b, c) for b, c in ((self.requests, 1.0), (self.tokens, float(cost))) if b is not None
        ]
        for bucket, _ in buckets:
            bucket.refill(now)
        if any(bucket.level < c for bucket, c in buckets):
            if self.refusals_cost and self.requests is not None:
                self.requests.take(min(max(self.requests.level, 0.0), 1.0))
            return 429, REFUSED_S
        for bucket, c in buckets:
            bucket.take(c)
        if self.flaky and self.rng.random() < self.flaky:
            return 500, self.draw_latency() / 2
        return 200, self.draw_latency()

    def _head(self, now: float, status: int) -> dict[str, str]:
        head = dict(self.says_always) if status == 200 else {}
        if len(self.arrivals) == self.asks_at:
            head["retry-after"] = "3600"
        if self.headers == "none":
            return head
        bucket = self.requests or self.tokens
        assert bucket is not None
        if status == 429:
            wait_s = max((1 - bucket.level) / bucket.rate(now), 0.0)
            head["retry-after"] = str(max(math.ceil(wait_s), 1))
        if self.headers == "full":
            for kind, each in (("requests", self.requests), ("tokens", self.tokens)):
                if each is not None:
                    limit = each.capacity(now)
                    level = limit - 1 if self.lies else max(each.level, 0.0)
                    head[f"x-ratelimit-limit-{kind}"] = f"{limit:.0f}"
                    head[f"x-ratelimit-remaining-{kind}"] = f"{math.floor(level)}"
                    head[f"x-ratelimit-reset-{kind}"] = f"{(limit - level) / each.rate(now):.3f}s"
        return head


class Answer(str):
    """An answer that says what it took."""

    usage_metadata: Mapping[str, int]


class SimulatedWire(WordWire):
    """Answers say what they took, billing errors have their code."""

    def decode(self, reply: Reply) -> str:
        answer = Answer("ok")
        answer.usage_metadata = {
            "input_tokens": int(reply.body) - OUTPUT_TOKENS,
            "output_tokens": OUTPUT_TOKENS,
        }
        return answer

    def error(self, reply: Reply) -> ChatError:
        if reply.body == b"credit":
            from modelwire.transport.classify import provider_error

            return provider_error(
                "no credit", provider="words", status=429, code="insufficient_quota"
            )
        return super().error(reply)


WIRE = SimulatedWire()


class WatchedCongestion(Congestion):
    """Knows when its pause began: what left in the same instant, before the refusal was read, is no breach of it."""

    pause_began = -math.inf

    def pause(self, now: float, seconds: float) -> None:
        self._begin(now)
        super().pause(now, seconds)

    def _pause_as_asked(
        self, now: float, admission: Admission, least_s: float, asked_s: float
    ) -> None:
        self._begin(now)
        super()._pause_as_asked(now, admission, least_s, asked_s)

    def _begin(self, now: float) -> None:
        if now >= self.gate.paused_until:
            self.pause_began = now


class WatchedGovernor(AdaptiveRateLimiter):
    """A limiter with a `WatchedCongestion`."""

    def __init__(self, now: float, rng: Random, *, name: str = "") -> None:
        super().__init__(now, rng, name=name)
        self.congestion.__class__ = WatchedCongestion


@dataclass
class Outcome:
    """What became of a job: rows answered and lost, requests, and the seconds until the last row was done."""

    done: int = 0
    lost: int = 0
    makespan_s: float = 0.0
    sent_while_paused: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    waits_s: list[tuple[int, float]] = field(
        default_factory=list
    )  # attempts that failed, and seconds, for each row


class Job:
    """Rows worked off by so many workers of one process."""

    def __init__(
        self,
        world: World,
        provider: Provider,
        rows: Iterator[int],
        outcome: Outcome,
        *,
        workers: int = 200,
        seed: int = 1,
        limiter: AdaptiveRateLimiter | None = None,
        patient: bool = True,
        timeout_s: float | None = None,
        call: Callable[["Job", int], Generator[Any, Any, Any]] | None = None,
    ) -> None:
        self.world = world
        self.provider = provider
        self.rows = rows
        self.outcome = outcome
        self.rng = Random(seed)
        self.limiter = limiter or WatchedGovernor(world.now, self.rng)
        self.patient = patient
        self.timeout_s = timeout_s
        self.call = call or _modelwire_call
        self.policy = RetryPolicy(max_wait_s=math.inf if patient else 60.0)
        self._costs: dict[Generator[Any, Any, Any], int] = {}
        for _ in range(workers):
            world.at(world.now, self._next)

    def _next(self) -> None:
        row = next(self.rows, None)
        if row is not None:
            flow = self.call(self, row)
            self._costs[flow] = self.provider.cost(row)
            self._resume(flow, None, None)

    def _resume(
        self, flow: Generator[Any, Any, Any], reply: object, failure: BaseException | None
    ) -> None:
        world = self.world
        try:
            step = flow.throw(failure) if failure is not None else flow.send(reply)
        except StopIteration:
            self.outcome.done += 1
        except ChatError as error:
            self.outcome.lost += 1
            self.outcome.errors[type(error).__name__] += 1
        else:
            self._do(flow, step)
            return
        self.outcome.makespan_s = world.now
        world.at(world.now, self._next)

    def _do(self, flow: Generator[Any, Any, Any], step: Any) -> None:
        world = self.world
        if isinstance(step, Send):
            began = getattr(self.limiter.congestion, "pause_began", -math.inf)
            self.outcome.sent_while_paused += began < world.now < self.limiter.gate.paused_until

            def answer(outcome: Reply | ChatError) -> None:
                failed = isinstance(outcome, ChatError)
                self._resume(flow, None if failed else outcome, outcome if failed else None)  # type: ignore[arg-type]

            cost, late_s = self._costs[flow], self.provider.draw_jitter()
            world.at(world.now + ONE_WAY_S + late_s, lambda: self.provider.take(cost, answer))
        elif isinstance(step, Wait):
            self._wait(flow, step)
        else:
            assert isinstance(step, Sleep)
            world.at(world.now + step.seconds, lambda: self._resume(flow, None, None))

    def _wait(self, flow: Generator[Any, Any, Any], step: Wait) -> None:
        over = False

        def resume() -> None:
            nonlocal over
            if not over:
                over, step.admission.on_wake = True, None
                self._resume(flow, None, None)

        step.admission.on_wake = lambda: self.world.at(self.world.now, resume)
        self.world.at(self.world.now + (0.0 if step.admission.signalled else step.seconds), resume)


def _modelwire_call(job: Job, row: int) -> Generator[Any, Any, Any]:
    world = job.world
    asked_at = world.now
    cost = job.provider.cost(row)
    content = b"x" * round((cost - OUTPUT_TOKENS) / TOKENS_A_BYTE) if cost else b"{}"
    exchange: Exchange[str, str] = word_exchange(
        content=content,
        max_output=OUTPUT_TOKENS,
        wire=WIRE,
        retry=job.policy,
        clock=lambda: world.now,
        rng=job.rng,
        model="m",
        limiter=job.limiter,
        patient=job.patient,
        deadline=None if job.timeout_s is None else world.now + job.timeout_s,
        timeout_s=job.timeout_s,
    )
    answer = yield from call_flow(exchange)
    job.outcome.waits_s.append((len(exchange.history.attempts), world.now - asked_at))
    return answer


def ideal_s(
    settings: Mapping[str, Any],
    *,
    rows: int,
    workers: int,
    seed: int = 1,
    kind: type[Provider] = Provider,
) -> float:
    """Return how long the rows take a client that knows the buckets, and meets the same latencies."""
    provider = kind(World(), seed=seed, **_fresh(settings))
    free = [0.0] * min(workers, provider.slots or workers)
    end = 0.0
    for row in range(rows):
        start = heapq.heappop(free) + ONE_WAY_S
        cost = float(provider.cost(row))
        for bucket, c in ((provider.requests, 1.0), (provider.tokens, cost)):
            if bucket is not None:
                start = bucket.ready_at(max(start, bucket.at), c)
        for outage_start, outage_end, _status in provider.outages:
            if outage_start <= start < outage_end:
                start = outage_end
        for bucket, c in ((provider.requests, 1.0), (provider.tokens, cost)):
            if bucket is not None:
                bucket.refill(start)
                bucket.take(c)
        done = start + provider.draw_latency() + ONE_WAY_S
        heapq.heappush(free, done)
        end = max(end, done)
    return end


def _fresh(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value.fresh() if isinstance(value, TokenBucket | SlidingWindow) else value
        for name, value in settings.items()
    }


@dataclass
class Score:
    """How a job went, against the ideal."""

    outcome: Outcome
    provider: Provider
    ratio: float  # makespan to the ideal one
    jobs: list[Job]

    @property
    def wasted(self) -> float:
        answers = sum(self.provider.seen.values())
        return (
            self.provider.seen[429] + self.provider.seen[503] + self.provider.seen[529]
        ) / answers

    def __str__(self) -> str:
        return (
            f"{self.ratio:.3f}x, {self.wasted:.2%} wasted, {self.outcome.lost} lost, {self.outcome.makespan_s:.0f} s, "
            f"seen {dict(self.provider.seen)}"
        )


def run_job(
    *,
    rows: int = 5000,
    workers: int = 200,
    processes: int = 1,
    seed: int = 1,
    until: float = math.inf,
    call: Callable[[Job, int], Generator[Any, Any, Any]] | None = None,
    limiter: Callable[[World], AdaptiveRateLimiter] | None = None,
    patient: bool = True,
    **settings: Any,
) -> Score:
    """Work off the rows against a provider with these settings."""
    world, outcome, numbers = World(), Outcome(), iter(range(rows))
    provider = Provider(world, seed=seed, **_fresh(settings))
    jobs = [
        Job(
            world,
            provider,
            numbers,
            outcome,
            workers=workers // processes,
            seed=seed * 100 + n,
            call=call,
            patient=patient,
            limiter=limiter(world) if limiter else None,
        )
        for n in range(processes)
    ]
    world.run(until)
    ideal = ideal_s(settings, rows=rows, workers=workers, seed=seed)
    return Score(outcome, provider, outcome.makespan_s / ideal, jobs)
