"""A provider with batches and a rate limit, on a virtual clock, and a job that obeys the real planner."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from modelwire.jobs.plan import (
    BATCH_SHARE,
    CHUNKS,
    PILOT,
    BatchState,
    Pace,
    State,
    Tier,
    next_step,
    rate_of,
)

HOUR, MINUTE = 3600.0, 60.0


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Rows at a provider. Prices are in those of a live row; a batch's number says how long it takes."""

    what: str
    rows: int
    left_s: float
    rate: Callable[[float], float] = lambda now: 10.0  # rows a second of live calls, at a time
    takes_s: Callable[[int], float] = lambda number: HOUR
    piecewise: bool = False  # rows of a batch get done one after the other, else all at its end
    advertised: bool = True  # the provider's headers say the rate
    has_batches: bool = True
    money: float | None = None
    tiers: tuple[Tier, ...] = ()
    cancel_s: float = 120.0


@dataclass
class Batch:
    number: int
    rows: int
    began: float
    takes_s: float
    piecewise: bool
    cancelled_at: float | None = None

    def done(self, now: float) -> int:
        if self.cancelled_at is not None:
            now = min(now, self.cancelled_at)
        share = (now - self.began) / self.takes_s
        return self.rows if share >= 1 else int(self.rows * share) if self.piecewise else 0

    def seen(self, now: float) -> BatchState:
        return BatchState(
            self.number, self.rows, self.done(now), now - self.began, self.cancelled_at is not None
        )


@dataclass
class Outcome:
    cost: float = 0.0
    end_s: float = 0.0
    live: int = 0
    paid: int = 0
    batches: list[Batch] = field(default_factory=list)


def played(scene: Scene) -> Outcome:
    """Have the planner do a scene, from the first request to the last answer."""
    outcome, now, pool = Outcome(), 0.0, scene.rows
    poll_s, spare_s = max(1.0, min(60.0, scene.left_s / 100)), scene.left_s / 20
    batches: list[Batch] = []
    pace, asked, asked_s = Pace(), 0, 0.0
    while pool or batches:
        assert now < 40 * HOUR, f"{scene.what}: {pool} rows wait for ever"
        for batch in list(batches):
            ends = batch.began + batch.takes_s
            if batch.cancelled_at is not None:
                ends = min(ends, batch.cancelled_at + scene.cancel_s)
            if now < ends:
                continue
            batches.remove(batch)
            answered = batch.done(now)
            outcome.cost += BATCH_SHARE * answered
            outcome.paid += answered
            pool += batch.rows - answered
            if answered == batch.rows:
                pace = Pace([*pace.seen, batch.takes_s])
        rate, _ = rate_of(scene.rate(now) if scene.advertised else None, asked, asked_s)
        state = State(
            left_s=scene.left_s - now,
            rows=pool,
            rate=rate,
            price=1.0,
            has_batches=scene.has_batches,
            pace=pace,
            money=None if scene.money is None else scene.money - outcome.cost,
            cancel_s=300.0,
            poll_s=poll_s,
            batches=tuple(batch.seen(now) for batch in batches),
            spare_s=spare_s,
            tiers=scene.tiers,
        )
        if outcome.live < PILOT and pool:
            step = next_step(replace(state, has_batches=False))._replace(live=PILOT)
        else:
            step = next_step(state)
        for rows in step.submit:
            number = len(outcome.batches)
            outcome.batches.append(Batch(number, rows, now, scene.takes_s(number), scene.piecewise))
            batches.append(outcome.batches[-1])
            pool -= rows
        for batch in batches:
            if batch.number in step.cancel:
                batch.cancelled_at = now
        tier = next(
            (tier for tier in scene.tiers if tier.name == step.tier),
            Tier("live", 1.0, scene.rate(now)),
        )
        count = min(step.live, pool, max(1, int(tier.rate * poll_s)))
        spent_s = max(1.0, count / tier.rate)
        asked, asked_s = (asked + count, asked_s + spent_s) if count else (asked, asked_s)
        pool -= count
        outcome.live += count
        outcome.paid += count
        outcome.cost += count * tier.share
        now += spent_s if count else poll_s
        outcome.end_s = now
    return outcome


def all_live_s(scene: Scene) -> float:
    """Return when live calls alone are done."""
    now, left = 0.0, float(scene.rows)
    while left > 0:
        left -= scene.rate(now) * 10
        now += 10
    return now


def all_batch_s(scene: Scene) -> float:
    return (
        max(scene.takes_s(number) for number in range(CHUNKS))
        if scene.has_batches
        else float("inf")
    )


def least_cost(scene: Scene, batches: int = CHUNKS) -> float:
    """Return what somebody pays who knows how long each batch will take: no less can be paid for the hour."""
    if not scene.has_batches:
        share = min([1.0, *(tier.share for tier in scene.tiers)])
        return scene.rows * share
    cheap = 0.0
    for number in range(batches):
        part = scene.left_s / scene.takes_s(number)
        cheap += 1.0 if part >= 1 else part if scene.piecewise else 0.0
    return scene.rows * (1.0 - (1 - BATCH_SHARE) * cheap / batches)


def _minutes(*values: float) -> Callable[[int], float]:
    return lambda number: values[number % len(values)] * MINUTE


SCENES = (
    Scene(
        what="a night, batches of an hour",
        rows=20_000,
        left_s=10 * HOUR,
        takes_s=_minutes(25, 60, 90),
    ),
    Scene(
        what="two hours, batches of half an hour",
        rows=5_000,
        left_s=2 * HOUR,
        takes_s=_minutes(12, 30, 48),
    ),
    Scene(what="batches that take a day", rows=10_000, left_s=4 * HOUR, takes_s=_minutes(1440)),
    Scene(
        what="every third batch is stuck",
        rows=10_000,
        left_s=5 * HOUR,
        takes_s=_minutes(40, 70, 1440),
    ),
    Scene(
        what="a low limit",
        rows=12_000,
        left_s=6 * HOUR,
        rate=lambda now: 2.0,
        takes_s=_minutes(30, 50, 80),
    ),
    Scene(
        what="the limit falls by a fifth",
        rows=60_000,
        left_s=3 * HOUR,
        takes_s=_minutes(1440),
        rate=lambda now: 10.0 if now < HOUR else 8.0,
    ),
    Scene(
        what="no Batch API, but a tier at half price",
        rows=20_000,
        left_s=3 * HOUR,
        has_batches=False,
        tiers=(Tier("flex", 0.5, 4.0),),
    ),
    Scene(
        what="a limit that nobody tells",
        rows=60_000,
        left_s=3 * HOUR,
        rate=lambda now: 20.0,
        advertised=False,
        takes_s=_minutes(20, 45, 75),
    ),
    Scene(
        what="batches done row by row in ten hours",
        rows=10_000,
        left_s=6 * HOUR,
        takes_s=_minutes(600),
        piecewise=True,
    ),
    Scene(
        what="no room to wait",
        rows=6_000,
        left_s=2 * HOUR,
        rate=lambda now: 1.0,
        takes_s=_minutes(25, 40),
    ),
)
