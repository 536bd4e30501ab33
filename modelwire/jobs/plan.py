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
# A plan counts on this share of the measured rate of direct calls; the rest is a margin.
SAFE = 0.8
# Until direct calls are measured, this many rows a second are assumed: the lowest rate limit of a
# paying account.
ASSUMED_RATE = 500 / 60
# A rate that was measured over a shorter time counts only as far as these rows would be as fast over
# this time, or as the assumed rate.
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
# Batches are expected to meet the deadline if at least this share of them usually finishes in time.
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
        # How long each finished batch has taken, in seconds.
        self.seen = sorted(seen)

    def share_within(self, seconds: float, age_s: float = 0.0) -> float:
        """Return the share of batches that end within the next `seconds`, of those that have run for `age_s`."""
        if seconds <= 0:
            return 0.0
        before = 0.0
        if age_s > 0:
            before = self._share(age_s)
        if before >= 1.0:
            return 1.0
        ending = self._share(age_s + seconds) - before
        return max(0.0, ending) / (1.0 - before)

    def seconds_for(self, share: float) -> float:
        """Return the seconds within which this share of batches ends, from 0 to a day."""
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
        """Return the share of batches that end within `seconds` of their submission."""
        often = self._share_by_curve(seconds)
        ended = sum(one <= seconds for one in self.seen)
        batches = self.WEIGHT + len(self.seen)
        return (self.WEIGHT * often + ended) / batches

    def _share_by_curve(self, seconds: float) -> float:
        """Interpolate the curve `OFTEN`, whose time axis is logarithmic."""
        share, at = self.OFTEN[0]
        for next_share, next_at in self.OFTEN[1:]:
            if seconds < next_at:
                passed = math.log(max(seconds, at) / at)
                way = passed / math.log(next_at / at)
                return share + (next_share - share) * way
            share = next_share
            at = next_at
        return 1.0


class BatchState(NamedTuple):
    """A batch that runs at the provider."""

    number: int
    rows: int  # Its rows, none of which has a stored answer yet.
    done: int = 0  # The rows that the provider has finished.
    age_s: float = 0.0  # Seconds since its submission.
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
    """What a job does next, by its plan."""

    submit: tuple[int, ...] = ()  # The number of rows of each batch to submit.
    cancel: tuple[int, ...] = ()  # The numbers of the batches to cancel.
    live: int = 0  # The rows to call directly.
    tier: str = LIVE  # The service tier for those rows.


def _rows_in(batches: Sequence[BatchState]) -> int:
    return sum(batch.rows for batch in batches)


def rate_of(advertised: float | None, rows: int, seconds: float) -> tuple[float, bool]:
    """Return the rate of direct calls in rows a second, and whether it is more than an assumption.

    `advertised` is the rate limiter's value, or None. Without it, the rate is measured: `rows` in
    `seconds`. A low rate is trusted at once. A high rate over a short time is lowered to what the
    same rows would be over `_PROVEN_S`.
    """
    if advertised is not None:
        return advertised, True
    if not rows or seconds <= 0:
        return ASSUMED_RATE, False
    over_longer_time = max(ASSUMED_RATE, rows / _PROVEN_S)
    is_proven = seconds >= _PROVEN_S
    return min(rows / seconds, over_longer_time), is_proven


def next_step(state: State) -> Step:
    """Return what the job does now: batches to submit, batches to cancel, rows to call directly."""
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
        live_s = live / rate
        idle_s = max(0.0, lag_s - live_s)
    busy = live + coming
    all_s = (busy + waiting) / rate
    slack_s = usable_s - all_s - idle_s
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
    excess = math.ceil(max(0.0, unfinished - redone))
    count = min(state.rows, excess)
    live_in_time = rate * state.left_s
    is_too_slow = unfinished > live_in_time
    if is_too_slow and state.pace.share_within(state.left_s) > _WORTH:
        # Direct calls alone would miss the deadline, so batches take the rows beyond their rate.
        count = min(count, math.floor(live_in_time))
    flex = 0.0
    for tier in state.tiers:
        if tier.share <= BATCH_SHARE:
            flex = max(flex, tier.rate)
    # The other rows are called directly if no batch finishes.
    flex_s = min(wait_s / 2, SAFE * (wait_s - unfinished / rate))
    # The flex tier is as cheap as a batch, and its answers arrive one by one.
    by_flex = math.floor(flex * max(0.0, flex_s))
    count = max(count, min(state.rows, by_flex))
    if state.money is not None and state.price:
        batch_price = state.price * BATCH_SHARE
        spare = state.money - unfinished * batch_price
        affordable = math.floor(spare / (state.price - batch_price))
        count = min(count, max(0, affordable))
    return count


def _chunks(rows: int, state: State) -> tuple[int, ...]:
    """Return the sizes of batches for `rows`, all about equal; none if the rows are too few for a batch."""
    if rows < min(_LEAST_CHUNK, state.unfinished / 2):
        return ()
    wanted = math.ceil(state.unfinished / CHUNKS)
    size = max(_LEAST_CHUNK, wanted)
    least = math.ceil(rows / state.chunk)
    count = max(1, rows // size, least)
    size, larger = divmod(rows, count)
    return (size + 1,) * larger + (size,) * (count - larger)


def _cancelled(
    state: State,
    away: list[BatchState],
    *,
    busy: int,
    wanted: float,
) -> tuple[int, ...]:
    """Return the numbers of the batches to cancel now, the least finished first.

    Their unanswered rows must keep direct calls busy until the next batches can be cancelled.
    `busy` rows do so already, of `wanted` ones.
    """
    # USD that remain after the rows are paid where they are now.
    spare = math.inf
    price = state.price or 0.0
    if state.money is not None and state.price:
        cheap = _rows_in(away) * BATCH_SHARE
        spare = state.money - price * (state.unfinished - cheap)
    found = []

    def order(batch: BatchState) -> tuple[float, int]:
        return batch.done / max(1, batch.rows), -batch.number

    for batch in sorted(away, key=order):
        unfinished = batch.rows - batch.done
        extra_price = price * (1 - BATCH_SHARE)
        spare -= unfinished * extra_price
        if busy >= wanted or spare < 0:
            break
        found.append(batch.number)
        busy += unfinished
    return tuple(found)


def _tier(state: State, live: int, waiting: int, usable_s: float) -> str:
    """Return the tier for `live` direct calls: the cheapest with which `waiting` rows can be called afterwards.

    Rows that wait in batches would be called at the default tier. A tier with a higher price than
    the default one is returned only if no other tier is fast enough.
    """
    rows = live + waiting
    by_price = sorted(state.tiers, key=lambda tier: tier.share)
    waiting_s = waiting / state.rate
    is_too_slow = rows > state.rate * state.left_s
    for tier in by_price:
        if tier.share < 1:
            live_s = live / tier.rate
            if live_s + waiting_s <= SAFE * usable_s:
                return tier.name
        elif tier.share > 1 and is_too_slow and tier.rate > state.rate:
            cost = _times(state.price, rows * tier.share)
            if state.money is None or not cost or cost <= state.money:
                return tier.name
            break
    return LIVE


class Line(NamedTuple):
    """One line of a forecast: the rows that are processed in one way."""

    way: str  # Such as "batch", "live" or the name of a tier.
    rows: int
    cost: float | None  # USD; None if the price is unknown.
    end_s: float  # Seconds from now until these rows are done.


class Plan(NamedTuple):
    """The forecast of a job's cost and time: a line for its batches, its cheaper tier and its direct calls."""

    lines: tuple[Line, ...]
    most: float | None  # USD if no batch finishes in time; None if the price is unknown.
    # Seconds until the first batch is cancelled, if none has finished; None without batches.
    cancel_s: float | None
    step: Step  # What the job does first.

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
    """Return the forecast for all rows without an answer."""
    step = next_step(state)
    rate = max(SAFE * state.rate, 1e-9)
    away = sum(step.submit) + _rows_in(state.away)
    live = state.unfinished - away
    tier = _tier_named(state, step.tier)
    live_s = live / max(tier.rate, 1e-9)
    first_s = _first_cancel_s(state, rate)
    # Batches are cancelled one after the other, so on average a row has until the middle of that
    # time.
    away_s = away / rate
    wait_s = first_s + away_s / 2
    youngest_s = min((batch.age_s for batch in state.batches), default=0.0)
    share = state.pace.share_within(wait_s, youngest_s)
    answered = round(away * share)
    share_of_new = state.pace.share_within(wait_s)
    mostly_s = state.pace.seconds_for(_LIKELY * share_of_new)
    moved = away - answered
    begin_s = max(live_s, first_s + state.cancel_s)
    moved_s = begin_s + moved / rate
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
    """Return the seconds until the first batch is cancelled, if none has finished by then."""
    reserve_s = state.spare_s + state.cancel_s + state.poll_s
    live_s = state.unfinished / rate
    return max(0.0, state.left_s - reserve_s - live_s)


def _line(state: State, way: str, rows: int, share: float, end_s: float) -> Line:
    return Line(way, rows, _times(state.price, rows * share), end_s)


def _times(price: float | None, rows: float) -> float | None:
    """Return the cost of rows in USD; None if the price of a row is unknown."""
    if price is None:
        return None
    return price * rows


class Shortage(NamedTuple):
    """Why a job cannot meet its deadline within its budget. Costs are in USD; None if the price is unknown."""

    late: bool  # True if the deadline is too early, False if the budget is too low.
    earliest_s: (
        float  # Seconds to the earliest end within the budget; infinite if no time suffices.
    )
    earliest_cost: float | None  # The cost with that end; without one, the lowest possible cost.
    hour_cost: float | None  # The cost that meets the deadline; None also if no budget does.


def shortage(state: State) -> Shortage | None:
    """Return why the deadline cannot be met within the budget; None if it can."""
    unfinished = state.unfinished
    live_s = unfinished / max(state.rate, 1e-9)
    share_in_time = state.pace.share_within(state.left_s)
    batches_help = state.has_batches and share_in_time >= _LIKELY
    fastest = state.rate
    for tier in state.tiers:
        fastest = max(fastest, tier.rate)
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
