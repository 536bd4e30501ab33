"""Which rows of a job go which way, so that it meets its hour at the least price. Pure functions; no I/O, no clock.

A row costs least in a batch and is surest live. So rows wait in batches for as long as live calls, at the rate that
they are known to have, could still ask all of them anew before the hour; from then on batches are ended early, just as
many as keep the live calls busy, and what those had not answered goes live. Nothing that keeps the hour wherever
live calls alone would keep it can wait longer, so nothing such is cheaper.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from modelwire.jobs import cost

__all__ = [
    "BATCH_SHARE",
    "LIVE",
    "PILOT",
    "Line",
    "OpenBatch",
    "Pace",
    "Plan",
    "Shortage",
    "State",
    "Step",
    "Tier",
    "expected",
    "next_step",
    "rate_of",
    "shortage",
]

LIVE, BATCH = "live", "batch"
SAFE = 0.8  # of the rate that live calls have
ASSUMED_RATE = (
    500 / 60
)  # rows a second, until live calls have shown theirs: the lowest limit of a paying account
PROVEN_S = 30.0  # a burst says no more than so long a time would
PILOT = 20  # rows that go live before all others, which tell price and rate, and whether the prompt works at all
CHUNKS = (
    12  # batches that the rows are cut into: one that is ended early costs no more than its own
)
LEAST_CHUNK = 50  # rows
WORTH = 0.05  # of the batches are back by then: below that, nothing is handed in
LIKELY = 0.9
BATCH_SHARE = float(cost.BATCH_SHARE)  # of the live price
LONGEST_S = 86_400.0  # after which a provider ends a batch


class Pace:
    """How long batches take: as `OFTEN` says, until enough were seen."""

    # Providers promise a day, and say that most are done within an hour; the rest of the curve is a guess.
    # https://docs.anthropic.com/en/docs/build-with-claude/batch-processing, read 2026-11
    OFTEN = (
        (0.0, 60.0),
        (0.05, 300.0),
        (0.25, 1200.0),
        (0.5, 3600.0),
        (0.75, 10_800.0),
        (0.9, 28_800.0),
        (1.0, LONGEST_S),
    )
    WEIGHT = 4  # of that, in batches seen

    def __init__(self, seen: Sequence[float] = ()) -> None:
        self.seen = sorted(seen)  # seconds

    def share_within(self, seconds: float, age_s: float = 0.0) -> float:
        """Return the share of batches that end within so many seconds, of those that are `age_s` old already."""
        if seconds <= 0:
            return 0.0
        before = self._share(age_s) if age_s > 0 else 0.0
        return (
            1.0
            if before >= 1.0
            else max(0.0, self._share(age_s + seconds) - before) / (1.0 - before)
        )

    def seconds_for(self, share: float) -> float:
        """Return within how many seconds a share of the batches ends."""
        low, high = 0.0, LONGEST_S
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (middle, high) if self._share(middle) < share else (low, middle)
        return high

    def _share(self, seconds: float) -> float:
        often = 1.0
        for (share, at), (next_share, next_at) in zip(self.OFTEN, self.OFTEN[1:], strict=False):
            if seconds < next_at:
                way = (math.log(max(seconds, at)) - math.log(at)) / (
                    math.log(next_at) - math.log(at)
                )
                often = share + (next_share - share) * way
                break
        ended = sum(one <= seconds for one in self.seen)
        return (self.WEIGHT * often + ended) / (self.WEIGHT + len(self.seen))


class OpenBatch(NamedTuple):
    """A batch at the provider's: rows without an answer, the share of them done there, its age."""

    number: int
    rows: int
    done: int = 0
    age_s: float = 0.0
    is_cancelling: bool = False


class Tier(NamedTuple):
    """Another service level of live calls: its price as a share of the live one's, and its rows a second."""

    name: str
    share: float
    rate: float


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """How a job stands. Seconds, rows, USD."""

    left_s: float  # until the hour
    rows: int  # neither answered nor in a batch
    rate: float  # rows a second that live calls get through
    price: float | None = None  # of a row that goes live
    batches: tuple[OpenBatch, ...] = ()
    has_batches: bool = True  # whether the provider takes any
    chunk: int = 50_000  # rows of one batch at most
    money: float | None = None  # that may still be spent, on the rows in batches too
    pace: Pace = field(default_factory=Pace)
    cancel_s: float = 600.0  # from asking for the end of a batch to its answers
    look_s: float = 60.0  # between two steps
    spare_s: float = 0.0  # before the hour, kept for what goes wrong
    tiers: tuple[Tier, ...] = ()

    @property
    def unfinished(self) -> int:
        """All rows without an answer."""
        return self.rows + sum(batch.rows for batch in self.batches)


class Step(NamedTuple):
    """What to do now: rows of each new batch, batches to end early, rows that may go live, and how."""

    submit: tuple[int, ...] = ()
    cancel: tuple[int, ...] = ()
    live: int = 0
    tier: str = LIVE


def rate_of(advertised: float | None, rows: int, seconds: float) -> tuple[float, bool]:
    """Return rows a second of live calls, and whether that is more than an assumption.

    `advertised` is what the limiter knows; else it is what was seen, `rows` in `seconds`. Slowness is believed at
    once, and of a short time no more than what it would be over a longer one.
    """
    if advertised is not None:
        return advertised, True
    if not rows or seconds <= 0:
        return ASSUMED_RATE, False
    return min(rows / seconds, max(ASSUMED_RATE, rows / PROVEN_S)), seconds >= PROVEN_S


def next_step(state: State) -> Step:
    """Return what to do now."""
    rate, lag_s = SAFE * state.rate, state.cancel_s + state.look_s
    usable_s = state.left_s - state.spare_s
    away = [batch for batch in state.batches if not batch.is_cancelling]
    live = state.rows
    submit: tuple[int, ...] = ()
    if state.has_batches and state.rows:
        live = _kept_live(state, rate, usable_s - lag_s)
        submit = _chunks(state.rows - live, state)
        live = state.rows - sum(submit)
    coming = sum(batch.rows for batch in state.batches if batch.is_cancelling)
    waiting = sum(submit) + sum(batch.rows for batch in away)
    idle_s = max(0.0, lag_s - live / rate) if waiting or coming else 0.0
    slack_s = usable_s - (live + coming + waiting) / rate - idle_s
    cancel = (
        _cancelled(state, away, busy=live + coming, wanted=rate * lag_s)
        if slack_s <= 0 and not submit
        else ()
    )
    return Step(
        submit,
        cancel,
        live,
        _tier(state, live + coming, waiting, usable_s - (lag_s if waiting else 0.0)),
    )


def _kept_live(state: State, rate: float, wait_s: float) -> int:
    """Return how many rows had better go live at once than wait in a batch.

    Rows that are handed in must wait long enough for a batch to be worth it, and all must fit into what is left then.
    """
    worth_s = state.pace.seconds_for(WORTH)
    redone = rate * max(0.0, wait_s - worth_s)  # rows that live calls can ask after so long a wait
    count = min(state.rows, math.ceil(max(0.0, state.unfinished - redone)))
    if state.unfinished > rate * state.left_s and state.pace.share_within(state.left_s) > WORTH:
        count = min(
            count, math.floor(rate * state.left_s)
        )  # live calls alone are late: batches take what they cannot
    flex = max((tier.rate for tier in state.tiers if tier.share <= BATCH_SHARE), default=0.0)
    flex_s = min(
        wait_s / 2, SAFE * (wait_s - state.unfinished / rate)
    )  # the others go live if no batch is back
    count = max(
        count, min(state.rows, math.floor(flex * max(0.0, flex_s)))
    )  # as cheap, and they come one by one
    if state.money is not None and state.price:
        spare = state.money - state.unfinished * state.price * BATCH_SHARE
        count = min(count, max(0, math.floor(spare / (state.price * (1 - BATCH_SHARE)))))
    return count


def _chunks(rows: int, state: State) -> tuple[int, ...]:
    """Cut rows into batches of about one size."""
    if rows < min(LEAST_CHUNK, state.unfinished / 2):
        return ()
    size = max(LEAST_CHUNK, -(-state.unfinished // CHUNKS))
    count = max(1, rows // size, -(-rows // state.chunk))
    size, more = divmod(rows, count)
    return tuple(size + (place < more) for place in range(count))


def _cancelled(state: State, away: list[OpenBatch], *, busy: int, wanted: float) -> tuple[int, ...]:
    """Return the batches to end now, so that live calls have work until others can be ended: the least done first."""
    spare = math.inf  # USD, beyond what the rows cost where they are
    if state.money is not None and state.price:
        cheap = sum(batch.rows for batch in away) * BATCH_SHARE
        spare = state.money - state.price * (state.unfinished - cheap)
    found = []
    for batch in sorted(away, key=lambda one: (one.done / max(1, one.rows), -one.number)):
        spare -= (batch.rows - batch.done) * (1 - BATCH_SHARE) * (state.price or 0.0)
        if busy >= wanted or spare < 0:
            break
        found.append(batch.number)
        busy += batch.rows - batch.done
    return tuple(found)


def _tier(state: State, live: int, waiting: int, usable_s: float) -> str:
    """Return how live calls are made: as cheap as the time allows, dearer where nothing else is in time.

    Rows that wait in batches have to fit in behind them at the default tier.
    """
    rows = live + waiting
    cheaper = sorted((tier for tier in state.tiers if tier.share < 1), key=lambda tier: tier.share)
    for tier in cheaper:
        if live / tier.rate + waiting / state.rate <= SAFE * usable_s:
            return tier.name
    faster = [tier for tier in state.tiers if tier.share > 1 and tier.rate > state.rate]
    if faster and rows > state.rate * state.left_s:
        best = min(faster, key=lambda tier: tier.share)
        if state.money is None or not state.price or rows * state.price * best.share <= state.money:
            return best.name
    return LIVE


class Line(NamedTuple):
    """Rows that go one way: what they cost, and the seconds from now until they are done."""

    way: str
    rows: int
    cost: float | None
    end_s: float


class Plan(NamedTuple):
    """What is expected: a line for each way. `most` is the cost when no batch is back in time."""

    lines: tuple[Line, ...]
    most: float | None
    cancel_s: float | None  # from now, when the first batch is ended early if none is back
    step: Step

    @property
    def rows(self) -> int:
        return sum(line.rows for line in self.lines)

    @property
    def cost(self) -> float | None:
        """USD; None where no price is known."""
        return None if self.most is None else sum(line.cost or 0.0 for line in self.lines)

    @property
    def end_s(self) -> float:
        """Seconds until all is done."""
        return max((line.end_s for line in self.lines), default=0.0)


def expected(state: State) -> Plan:
    """Return what is expected to become of the rows."""
    step, rate = next_step(state), max(SAFE * state.rate, 1e-9)
    away = sum(step.submit) + sum(batch.rows for batch in state.batches if not batch.is_cancelling)
    live = state.unfinished - away
    tier = next(
        (tier for tier in state.tiers if tier.name == step.tier), Tier(LIVE, 1.0, state.rate)
    )
    live_s = live / max(tier.rate, 1e-9)
    first_s = max(
        0.0, state.left_s - state.spare_s - state.cancel_s - state.look_s - (live + away) / rate
    )
    # They are ended one after the other: half of their rows have until the middle of that time.
    wait_s = first_s + away / rate / 2
    share = state.pace.share_within(
        wait_s, min((batch.age_s for batch in state.batches), default=0.0)
    )
    answered = round(away * share)
    lines = []
    if answered:
        mostly_s = state.pace.seconds_for(LIKELY * state.pace.share_within(wait_s))
        lines.append(Line(BATCH, answered, _times(state.price, answered * BATCH_SHARE), mostly_s))
    if live:
        lines.append(Line(step.tier, live, _times(state.price, live * tier.share), live_s))
    if moved := away - answered:
        end_s = max(live_s, first_s + state.cancel_s) + moved / rate
        lines.append(Line(f"{BATCH}, then {LIVE}", moved, _times(state.price, moved), end_s))
    return Plan(
        tuple(lines), _times(state.price, live * tier.share + away), first_s if away else None, step
    )


def _times(price: float | None, rows: float) -> float | None:
    return None if price is None else price * rows


class Shortage(NamedTuple):
    """Why a plan cannot hold, and what could: the seconds to the earliest end for the money, the USD for the hour."""

    late: bool  # else too dear
    earliest_s: float
    earliest_cost: float | None
    hour_cost: float | None  # None: no money makes it, or no price is known


def shortage(state: State) -> Shortage | None:
    """Tell whether the hour can be met, and for the money; None where it can."""
    live_s = state.unfinished / max(state.rate, 1e-9)
    batches_help = state.has_batches and state.pace.share_within(state.left_s) >= LIKELY
    fastest = max([state.rate, *(tier.rate for tier in state.tiers)])
    cheapest = _times(state.price, state.unfinished * (BATCH_SHARE if batches_help else 1.0))
    all_batch = _times(state.price, state.unfinished * BATCH_SHARE) if state.has_batches else None
    if state.unfinished > fastest * state.left_s and not batches_help:
        cost = _times(state.price, state.unfinished)
        if (
            state.money is not None
            and cost is not None
            and cost > state.money
            and all_batch is not None
        ):
            return Shortage(True, LONGEST_S, all_batch, None)
        return Shortage(True, live_s, cost, None)
    if state.money is not None and cheapest is not None and cheapest > state.money:
        if all_batch is not None and all_batch <= state.money:
            return Shortage(False, LONGEST_S, all_batch, cheapest)
        return Shortage(False, math.inf, all_batch if all_batch is not None else cheapest, cheapest)
    return None
