"""Plans how a job meets its deadline at the lowest price. Pure functions; no I/O, no clock.

A row is cheapest in a batch and most certain by a direct call. Rows wait in batches as long as
direct calls, at their known rate, could still process all of them before the deadline. From then on
batches are cancelled, just enough to keep the direct calls busy, and their unanswered rows are
called directly. No schedule that still meets the deadline can be cheaper.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from modelwire.usage import BATCH_SHARE as EXACT_BATCH_SHARE

LIVE, _BATCH = "live", "batch"
# Plans use this share of the measured rate of direct calls, as a margin.
SAFE = 0.8
# Until direct calls are measured, this many rows a second are assumed: the lowest rate limit of a
# paying account.
ASSUMED_RATE = 500 / 60
# A rate measured over a shorter time than this is not trusted to be higher than over this time.
_PROVEN_S = 30.0
# This many rows are called directly before all others, to learn the price and the rate, and whether
# the prompt works at all.
PILOT = 20
# Rows are split into about this many batches, so that cancelling one affects only its rows.
CHUNKS = 12
# A batch has at least this many rows.
_LEAST_CHUNK = 50
# A batch is submitted only if at least this share of batches usually finishes in the time left.
_WORTH = 0.05
_LIKELY = 0.9
# Rows in batches cost this share of the price of direct calls.
BATCH_SHARE = float(EXACT_BATCH_SHARE)
# A provider ends a batch after this time.
LONGEST_S = 86_400.0


class Pace:
    """Estimates how long batches take: by the curve `OFTEN`, until enough batches were measured."""

    # Providers promise a day and state that most batches are done within an hour; the rest of the
    # curve is a guess.
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
    # The curve counts as much as this many measured batches.
    WEIGHT = 4

    def __init__(self, seen: Sequence[float] = ()) -> None:
        # These are the durations of finished batches, in seconds.
        self.seen = sorted(seen)

    def share_within(self, seconds: float, age_s: float = 0.0) -> float:
        """Return the share of batches that will end within `seconds`, of those that have run for `age_s` already."""
        if seconds <= 0:
            return 0.0
        before = 0.0
        if age_s > 0:
            before = self._share(age_s)
        if before >= 1.0:
            return 1.0
        return max(0.0, self._share(age_s + seconds) - before) / (1.0 - before)

    def seconds_for(self, share: float) -> float:
        """Return the seconds within which a share of the batches ends."""
        low = 0.0
        high = LONGEST_S
        for _ in range(40):
            middle = (low + high) / 2
            if self._share(middle) < share:
                low = middle
            else:
                high = middle
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


class BatchState(NamedTuple):
    """A running batch: its rows without a stored answer, how many of them the provider has finished, its age."""

    number: int
    rows: int
    done: int = 0
    age_s: float = 0.0
    is_cancelling: bool = False


class Tier(NamedTuple):
    """Another service tier of direct calls: its price as a share of the usual one, and its rows a second."""

    name: str
    share: float
    rate: float


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The state of a job, in seconds, rows and USD."""

    left_s: float  # Seconds until the deadline.
    rows: int  # Rows that are neither answered nor in a batch.
    rate: float  # Rows a second of direct calls.
    price: float | None = None  # USD for a row that is called directly.
    batches: tuple[BatchState, ...] = ()
    has_batches: bool = True  # True if the provider accepts batches.
    chunk: int = 50_000  # The largest number of rows in one batch.
    money: float | None = None  # USD that may still be spent, including those for rows in batches.
    pace: Pace = field(default_factory=Pace)
    cancel_s: float = 600.0  # Seconds from the cancellation of a batch to its answers.
    poll_s: float = 60.0  # Seconds between two steps.
    spare_s: float = 0.0  # Seconds before the deadline that are reserved for problems.
    tiers: tuple[Tier, ...] = ()

    @property
    def away(self) -> list[BatchState]:
        """The batches that are not being cancelled."""
        return [batch for batch in self.batches if not batch.is_cancelling]

    @property
    def unfinished(self) -> int:
        """All rows without an answer."""
        return self.rows + _rows_in(self.batches)


class Step(NamedTuple):
    """What to do now: rows of each new batch, batches to cancel, rows to call directly, and the tier for them."""

    submit: tuple[int, ...] = ()
    cancel: tuple[int, ...] = ()
    live: int = 0
    tier: str = LIVE


def _rows_in(batches: Sequence[BatchState]) -> int:
    return sum(batch.rows for batch in batches)


def rate_of(advertised: float | None, rows: int, seconds: float) -> tuple[float, bool]:
    """Return the rate of direct calls in rows a second, and whether it is more than an assumption.

    `advertised` is the rate limiter's value. Without it, the measured rate is used: `rows` in
    `seconds`. A low measurement is trusted at once, a high one over a short time only as far as it
    would raise the average over a longer time.
    """
    if advertised is not None:
        return advertised, True
    if not rows or seconds <= 0:
        return ASSUMED_RATE, False
    over_longer_time = max(ASSUMED_RATE, rows / _PROVEN_S)
    is_proven = seconds >= _PROVEN_S
    return min(rows / seconds, over_longer_time), is_proven


def next_step(state: State) -> Step:
    """Return what to do now."""
    rate = SAFE * state.rate
    lag_s = state.cancel_s + state.poll_s
    usable_s = state.left_s - state.spare_s
    away = state.away
    rows_away = _rows_in(away)
    rows = state.rows
    live = rows
    submit: tuple[int, ...] = ()
    if state.has_batches and rows:
        live = _kept_live(state, rate, usable_s - lag_s)
        submit = _chunks(rows - live, state)
        live = rows - sum(submit)
    coming = _rows_in(state.batches) - rows_away
    waiting = sum(submit) + rows_away
    idle_s = 0.0
    if waiting or coming:
        idle_s = max(0.0, lag_s - live / rate)
    busy = live + coming
    slack_s = usable_s - (busy + waiting) / rate - idle_s
    cancel: tuple[int, ...] = ()
    if slack_s <= 0 and not submit:
        cancel = _cancelled(state, away, busy=busy, wanted=rate * lag_s)
    if waiting:
        usable_s -= lag_s
    return Step(submit, cancel, live, _tier(state, busy, waiting, usable_s))


def _kept_live(state: State, rate: float, wait_s: float) -> int:
    """Return how many rows to call directly at once instead of waiting for a batch.

    Submitted rows must wait long enough for a batch to be worthwhile, and all must be callable in
    the time left after that.
    """
    worth_s = state.pace.seconds_for(_WORTH)
    # Direct calls can process this many rows after the wait.
    redone = rate * max(0.0, wait_s - worth_s)
    unfinished = state.unfinished
    count = min(state.rows, math.ceil(max(0.0, unfinished - redone)))
    is_too_slow = unfinished > rate * state.left_s
    if is_too_slow and state.pace.share_within(state.left_s) > _WORTH:
        # Direct calls alone would miss the deadline, so batches take the rows beyond their rate.
        count = min(count, math.floor(rate * state.left_s))
    flex = max((tier.rate for tier in state.tiers if tier.share <= BATCH_SHARE), default=0.0)
    # The other rows are called directly if no batch finishes.
    flex_s = min(wait_s / 2, SAFE * (wait_s - unfinished / rate))
    # The flex tier is as cheap as a batch, and its answers arrive one by one.
    by_flex = math.floor(flex * max(0.0, flex_s))
    count = max(count, min(state.rows, by_flex))
    if state.money is not None and state.price:
        spare = state.money - unfinished * state.price * BATCH_SHARE
        extra_price = state.price * (1 - BATCH_SHARE)
        affordable = math.floor(spare / extra_price)
        count = min(count, max(0, affordable))
    return count


def _chunks(rows: int, state: State) -> tuple[int, ...]:
    """Split rows into batches of about equal size."""
    if rows < min(_LEAST_CHUNK, state.unfinished / 2):
        return ()
    size = max(_LEAST_CHUNK, -(-state.unfinished // CHUNKS))
    count = max(1, rows // size, -(-rows // state.chunk))
    size, more = divmod(rows, count)
    return tuple(size + (place < more) for place in range(count))


def _cancelled(
    state: State,
    away: list[BatchState],
    *,
    busy: int,
    wanted: float,
) -> tuple[int, ...]:
    """Return the batches to cancel now to keep direct calls busy until others can be cancelled, the
    least finished first.
    """
    # USD that remain after the rows are paid where they are now.
    spare = math.inf
    if state.money is not None and state.price:
        cheap = _rows_in(away) * BATCH_SHARE
        spare = state.money - state.price * (state.unfinished - cheap)
    found = []

    def order(batch: BatchState) -> tuple[float, int]:
        return batch.done / max(1, batch.rows), -batch.number

    for batch in sorted(away, key=order):
        unfinished = batch.rows - batch.done
        spare -= unfinished * (1 - BATCH_SHARE) * (state.price or 0.0)
        if busy >= wanted or spare < 0:
            break
        found.append(batch.number)
        busy += unfinished
    return tuple(found)


def _tier(state: State, live: int, waiting: int, usable_s: float) -> str:
    """Return the tier of direct calls: the cheapest that the time allows; a dearer one only if no
    other is fast enough.

    Rows that wait in batches must still fit in afterwards at the default tier.
    """
    rows = live + waiting
    cheaper = sorted((tier for tier in state.tiers if tier.share < 1), key=lambda tier: tier.share)
    for tier in cheaper:
        if live / tier.rate + waiting / state.rate <= SAFE * usable_s:
            return tier.name
    faster = [tier for tier in state.tiers if tier.share > 1 and tier.rate > state.rate]
    if faster and rows > state.rate * state.left_s:
        best = min(faster, key=lambda tier: tier.share)
        is_affordable = True
        if state.money is not None and state.price:
            is_affordable = rows * state.price * best.share <= state.money
        if is_affordable:
            return best.name
    return LIVE


class Line(NamedTuple):
    """Rows that are processed in one way, their cost, and the seconds from now until they are done."""

    way: str
    rows: int
    cost: float | None
    end_s: float


class Plan(NamedTuple):
    """The forecast: a line for each way. `most` is the cost if no batch finishes in time."""

    lines: tuple[Line, ...]
    most: float | None
    # If no batch is finished, the first one is cancelled after this many seconds.
    cancel_s: float | None
    step: Step

    @property
    def rows(self) -> int:
        return sum(line.rows for line in self.lines)

    @property
    def cost(self) -> float | None:
        """USD; None if the price is unknown."""
        if self.most is None:
            return None
        return sum(line.cost or 0.0 for line in self.lines)

    @property
    def end_s(self) -> float:
        """Seconds until all rows are done."""
        return max((line.end_s for line in self.lines), default=0.0)


def expected(state: State) -> Plan:
    """Return the forecast for all rows."""
    step = next_step(state)
    rate = max(SAFE * state.rate, 1e-9)
    away = sum(step.submit) + _rows_in(state.away)
    live = state.unfinished - away
    tier = _tier_named(state, step.tier)
    live_s = live / max(tier.rate, 1e-9)
    first_s = _first_cancel_s(state, rate)
    # Batches are cancelled one after the other, so on average a row has until the middle of that
    # time.
    wait_s = first_s + away / rate / 2
    youngest_s = min((batch.age_s for batch in state.batches), default=0.0)
    answered = round(away * state.pace.share_within(wait_s, youngest_s))
    mostly_s = state.pace.seconds_for(_LIKELY * state.pace.share_within(wait_s))
    moved = away - answered
    moved_s = max(live_s, first_s + state.cancel_s) + moved / rate
    lines = (
        _line(state, _BATCH, answered, BATCH_SHARE, mostly_s),
        _line(state, step.tier, live, tier.share, live_s),
        _line(state, f"{_BATCH}, then {LIVE}", moved, 1.0, moved_s),
    )
    most = _times(state.price, live * tier.share + away)
    cancel_s = None
    if away:
        cancel_s = first_s
    return Plan(tuple(line for line in lines if line.rows), most, cancel_s, step)


def _tier_named(state: State, name: str) -> Tier:
    for tier in state.tiers:
        if tier.name == name:
            return tier
    return Tier(LIVE, 1.0, state.rate)


def _first_cancel_s(state: State, rate: float) -> float:
    """Return the seconds until the first batch is cancelled, if none is finished."""
    reserve_s = state.spare_s + state.cancel_s + state.poll_s
    return max(0.0, state.left_s - reserve_s - state.unfinished / rate)


def _line(state: State, way: str, rows: int, share: float, end_s: float) -> Line:
    return Line(way, rows, _times(state.price, rows * share), end_s)


def _times(price: float | None, rows: float) -> float | None:
    if price is None:
        return None
    return price * rows


class Shortage(NamedTuple):
    """Why a plan cannot hold, and what would: seconds to the earliest end within the budget, USD to
    meet the deadline.
    """

    late: bool  # True if the deadline is too early, False if the budget is too low.
    earliest_s: float
    earliest_cost: float | None
    hour_cost: float | None  # If None, no budget meets the deadline, or the price is unknown.


def shortage(state: State) -> Shortage | None:
    """Return why the deadline cannot be met, or not within the budget; None if it can."""
    unfinished = state.unfinished
    live_s = unfinished / max(state.rate, 1e-9)
    batches_help = state.has_batches and state.pace.share_within(state.left_s) >= _LIKELY
    fastest = max([state.rate, *(tier.rate for tier in state.tiers)])
    share = 1.0
    if batches_help:
        share = BATCH_SHARE
    cheapest = _times(state.price, unfinished * share)
    all_batch = None
    if state.has_batches:
        all_batch = _times(state.price, unfinished * BATCH_SHARE)
    money = state.money
    if unfinished > fastest * state.left_s and not batches_help:
        cost = _times(state.price, unfinished)
        is_too_dear = money is not None and cost is not None and cost > money
        if is_too_dear and all_batch is not None:
            return Shortage(True, LONGEST_S, all_batch, None)
        return Shortage(True, live_s, cost, None)
    if money is None or cheapest is None or cheapest <= money:
        return None
    if all_batch is None:
        return Shortage(False, math.inf, cheapest, cheapest)
    if all_batch <= money:
        return Shortage(False, LONGEST_S, all_batch, cheapest)
    return Shortage(False, math.inf, all_batch, cheapest)
