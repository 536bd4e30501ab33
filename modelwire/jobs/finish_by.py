"""Parses the deadline of a job, `finish_by`, and formats its plan as a table."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, time, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from modelwire.errors import InvalidArgument
from modelwire.jobs.plan import Line, Plan, Shortage, State

# A deadline must not be further away than this.
_CENTURY_S = 100 * 365.0 * 86_400
# An error that names the earliest possible deadline adds this, because the user needs time to type it.
_TO_TYPE_S = 120.0
# An error shows at most this many characters of a wrong value.
_SHOWN_CHARS = 40

_LASTS = re.compile(
    r"(?:(\d+(?:\.\d+)?)\s*h)?\s*(?:(\d+(?:\.\d+)?)\s*m(?:in)?)?\s*(?:(\d+(?:\.\d+)?)\s*s)?"
)
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?")
_DATE_AND_CLOCK = re.compile(r"^(\d{4}-\d\d-\d\d) (?=\d)")
_FORMS = (
    '`finish_by="07:00"`, "2h", "90m", "2026-12-24T07:00 Europe/Vienna" or a `datetime` with a zone'
)


def hour_of(value: Any, now: datetime | None = None) -> datetime:
    """Return the time at which a job must be done.

    A time of day is the next such time; "2h" counts from now. Times are in this machine's zone
    unless an IANA name follows. Raises: `InvalidArgument` for a time that is past or over 100 years
    away, for an unknown zone, and for text that is not a time.
    """
    now = (now or datetime.now(UTC)).astimezone(UTC)
    try:
        hour = _in_utc(value, now)
    except OverflowError:
        raise InvalidArgument(
            f"`finish_by={_shortened(value)!r}` is outside the calendar, which has the years 1 to 9999. "
            f"Write {_FORMS}."
        ) from None
    if hour > now + timedelta(seconds=_CENTURY_S):
        raise InvalidArgument(
            f"`finish_by={_shortened(value)!r}` is more than 100 years away. Write an earlier time, or leave it out."
        )
    if hour <= now:
        raise InvalidArgument(
            f"`finish_by={str(value)!r}` is past: it is {shown(now)} now. Write a later time, or leave it out."
        )
    return hour


def _shortened(value: Any) -> str:
    text = str(value)
    if len(text) <= _SHOWN_CHARS:
        return text
    return f"{text[:_SHOWN_CHARS]}..."


def _in_utc(value: Any, now: datetime) -> datetime:
    """Return the time that a value of `finish_by` stands for."""
    if isinstance(value, timedelta):
        return now + value
    if isinstance(value, str):
        return _of_text(value.strip(), now)
    if not isinstance(value, datetime):
        raise InvalidArgument(f"`finish_by` is a time, not {value!r}: write {_FORMS}.")
    if value.tzinfo is None:
        raise InvalidArgument(
            f"`finish_by={value!r}` has no zone. Write `finish_by=datetime(..., "
            'tzinfo=ZoneInfo("Europe/Vienna"))`, or a text such as "07:00".'
        )
    return value.astimezone(UTC)


def _of_text(text: str, now: datetime) -> datetime:
    lasts = _LASTS.fullmatch(text)
    if text and lasts is not None:
        hours, minutes, seconds = (float(part or 0) for part in lasts.groups())
        return now + timedelta(hours=hours, minutes=minutes, seconds=seconds)
    text, _, name = _DATE_AND_CLOCK.sub(r"\1T", text).partition(" ")
    zone = _zone(name.strip())
    clock = _CLOCK.fullmatch(text)
    try:
        if clock is not None:
            hour, minute, second = (int(part or 0) for part in clock.groups())
            at = time(hour, minute, second)
            day = now.astimezone(zone).date()
            today = _in_zone(datetime.combine(day, at), zone)
            if today > now:
                return today
            return _in_zone(datetime.combine(day + timedelta(days=1), at), zone)
        return _in_zone(datetime.fromisoformat(text), zone)
    except ValueError:
        raise InvalidArgument(f"`finish_by={text!r}` is not a time: write {_FORMS}.") from None


def _in_zone(at: datetime, zone: ZoneInfo | None) -> datetime:
    if at.tzinfo is None:
        # `astimezone` assumes this machine's zone for a time without one.
        at = at.replace(tzinfo=zone)
    try:
        return at.astimezone(UTC)
    except ValueError as exc:  # Python 3.12 looks a day ahead, which the calendar may not have.
        raise OverflowError(str(exc)) from exc


def _zone(name: str) -> ZoneInfo | None:
    if not name:
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidArgument(
            f'`{name}` is not a time zone: write an IANA name, such as "07:00 Europe/Vienna".'
        ) from None


def shown(at: datetime) -> str:
    """Return a time as text in this machine's zone."""
    local = at.astimezone()
    if local.date() == datetime.now().astimezone().date():
        return f"{local:%H:%M}"
    return f"{local:%Y-%m-%d %H:%M}"


class JobPlan(NamedTuple):
    """The forecast of a job with a deadline.

    Printed, it is a table. `plan.lines` has one line for each way to process rows, with `way`,
    `rows`, `cost` (USD) and `end_s` (seconds from now). `hour` is the deadline.
    """

    plan: Plan
    now: datetime
    hour: datetime
    notes: tuple[str, ...] = ()

    @property
    def end(self) -> datetime:
        """When all rows are expected to be done."""
        return self.now + timedelta(seconds=self.plan.end_s)

    def __str__(self) -> str:
        rows = [("way", "rows", "cost", "end")]
        plan = self.plan
        total = Line("all", plan.rows, plan.cost, plan.end_s)
        for line in (*plan.lines, total):
            end = self._at(line.end_s)
            cost = usd(line.cost)
            rows.append((line.way, f"{line.rows:,}", cost, end))
        columns = []
        align = str.ljust
        for column in zip(*rows, strict=True):
            width = max(map(len, column))
            columns.append([align(cell, width) for cell in column])
            align = str.rjust
        lines = ["  ".join(cells) for cells in zip(*columns, strict=True)]
        last = f"Deadline {shown(self.hour)}."
        if self.plan.cancel_s is not None:
            last += (
                f" Batches not finished by {self._at(self.plan.cancel_s)} are cancelled one by one, and their rows "
                f"are called directly: {usd(self.plan.most)} at most by these estimates."
            )
        return "\n".join([*lines, last, *self.notes])

    def _at(self, seconds: float) -> str:
        return shown(self.now + timedelta(seconds=seconds))


def usd(amount: float | None) -> str:
    """Return an estimate of US dollars as text."""
    if amount is None:
        return "unknown"
    if amount < 1:
        return f"${amount:,.4f}"
    return f"${amount:,.2f}"


def shortage_text(short: Shortage, state: State, hour: datetime) -> str:
    """Return sentences that explain why a plan cannot meet its deadline or budget, and what the earliest end is."""
    text = f"{state.unfinished:,} rows cannot be done by {shown(hour)}"
    if short.late:
        text += f": live calls get {state.rate * 60:,.0f} rows a minute."
    else:
        text += f" for the {usd(state.money)} that are left of `max_cost`: that takes about {usd(short.hour_cost)}."
    if short.earliest_s < math.inf:
        # `shown` drops the seconds, and the user needs a minute to type it.
        earliest_s = min(short.earliest_s, _CENTURY_S) + _TO_TYPE_S
        at = datetime.now(UTC) + timedelta(seconds=earliest_s)
        return f"{text} The earliest is {shown(at)}, for about {usd(short.earliest_cost)}."
    return f"{text} The least there is takes about {usd(short.earliest_cost)}."
