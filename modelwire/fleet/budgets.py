"""Named budgets whose sums are in Redis, so that the processes of several machines share them.

The server has one sum for a name and a period. A process adds to it before it spends: an `Account` asks for the
amounts of a call, and for a little more, its *parcel*, which pays for the calls of the next half second without a round
trip. The account returns amounts that it does not need. So the sum is never less than what is spent and reserved,
however a process ends.

One script (`_EXCHANGE`) does all of it. If the reply to an exchange is lost, the next exchange undoes it. If the server
has lost its data, each process raises the sum to the last one that it knows.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from decimal import Decimal
from operator import add, sub
from secrets import token_hex
from threading import Lock
from time import monotonic
from typing import Any

from modelwire.budgets import Spending
from modelwire.errors import BudgetUnavailable
from modelwire.ext import BudgetStore
from modelwire.fleet.connection import Away, Connection, Script
from modelwire.fleet.ticker import INTERVAL_S, start_ticking

# A parcel covers the amounts that calls reserve in this time, at the recent rate.
_PARCEL_S = 0.5
# A parcel is at most this part of what is left of the budget.
_PARCEL_SHARE = 0.01
# The recent rate is an exponential average over about a second; the last interval has this weight.
_WEIGHT = INTERVAL_S / 1.0
# A process that reserves nothing for this time gives its parcel back.
_IDLE_S = 1.0
# An account in use exchanges with the server at least this often. After 30 s without it, a member is not counted.
_HEARTBEAT_S = 5.0
# The sum of a period stays on the server for this time after its last change, which is longer than the period.
_TTL_S = {None: 0, "hour": 2 * 86_400, "day": 3 * 86_400, "month": 40 * 86_400}
# Above this number, idle accounts are forgotten. Until then they can restore sums that the server has lost.
_MOST_ACCOUNTS = 1_000

# USD (in the units of stores), tokens and calls.
Amounts = tuple[int, ...]
_NONE: Amounts = (0, 0, 0)
_NAMES = Spending._fields

# KEYS: the sum (a hash), the record of the member's last exchange, the members (a sorted set).
# ARGV: member, number of this exchange, number of the last one whose reply was read, epoch and number of exchanges that
# the member knows, seconds that the sum stays, then three numbers (usd, tokens, calls) each: the sum that the member
# knows, what to add in any case, what to add within the limits, what to add besides if there is plenty, the limits
# (empty: none); then the share of the rest that may be added besides.
# Numbers in Lua have 53 bits. Sums are exact in any case, since Redis adds them; above 9,007 dollars only the
# comparisons are rounded, by less than a billionth of a dollar.
_EXCHANGE = Script(
    """
local sum, record, members = KEYS[1], KEYS[2], KEYS[3]
local member, number, read = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local epoch, known, ttl_s, share = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[22])
local names = {'usd', 'tokens', 'calls'}
local function text(value) return string.format('%.0f', value) end
local function total(i) return tonumber(redis.call('HGET', sum, names[i]) or '0') end
local function add(i, value) redis.call('HINCRBY', sum, names[i], value) end

-- The server has lost data: restored is the part of the sum that members have written again.
local count = redis.call('HINCRBY', sum, 'exchanges', 1)
local current = redis.call('HGET', sum, 'epoch')
if not current or (epoch == current and count <= known) then
  current = member .. ':' .. ARGV[2]
  redis.call('HSET', sum, 'epoch', current)
  for i = 1, 3 do redis.call('HSET', sum, 'restored_' .. names[i], text(total(i))) end
end
if epoch ~= '' and epoch ~= current then
  for i = 1, 3 do
    local lost = tonumber(ARGV[6 + i]) - tonumber(redis.call('HGET', sum, 'restored_' .. names[i]))
    if lost > 0 then
      add(i, text(lost))
      redis.call('HSET', sum, 'restored_' .. names[i], ARGV[6 + i])
    end
  end
end

-- The reply to the last exchange of this member was lost: undo it.
local last = {string.match(redis.call('GET', record) or '', '^(%d+) (-?%d+) (-?%d+) (-?%d+)$')}
if last[1] and tonumber(last[1]) > read then
  for i = 1, 3 do add(i, text(0 - tonumber(last[i + 1]))) end
end

for i = 1, 3 do
  add(i, ARGV[9 + i])
  if total(i) < 0 then redis.call('HSET', sum, names[i], '0') end
end
local exceeded = 0
for i = 3, 1, -1 do
  local limit = tonumber(ARGV[18 + i])
  if limit and total(i) + tonumber(ARGV[12 + i]) > limit then exceeded = i end
end
local added = {'0', '0', '0'}
if exceeded == 0 then
  for i = 1, 3 do
    local needed, besides, limit = tonumber(ARGV[12 + i]), tonumber(ARGV[15 + i]), tonumber(ARGV[18 + i])
    if limit then besides = math.min(besides, math.floor((limit - total(i) - needed) * share)) end
    added[i] = text(needed + math.max(besides, 0))
    add(i, added[i])
  end
end

local result = {ARGV[2]}
for i = 1, 3 do result[i + 1] = text(tonumber(ARGV[9 + i]) + tonumber(added[i])) end
redis.call('SET', record, table.concat(result, ' '), 'EX', 3600)
local now = tonumber(redis.call('TIME')[1])
redis.call('ZADD', members, now, member)
redis.call('ZREMRANGEBYSCORE', members, '-inf', now - 30)
redis.call('EXPIRE', members, 3600)
if ttl_s > 0 then redis.call('EXPIRE', sum, ttl_s) end
return {exceeded, current, count, redis.call('ZCARD', members),
  redis.call('HGET', sum, 'usd'), redis.call('HGET', sum, 'tokens'), redis.call('HGET', sum, 'calls'),
  added[1], added[2], added[3]}
"""
)


def _plus(one: Sequence[int], other: Sequence[int]) -> Amounts:
    return tuple(map(add, one, other))


def _minus(one: Sequence[int], other: Sequence[int]) -> Amounts:
    return tuple(map(sub, one, other))


def _lacking(amounts: Amounts) -> Amounts:
    """Return by how much each amount is below 0; 0 for the others."""
    return tuple(max(0, -amount) for amount in amounts)


class Account:
    """This process's account of one budget and period, under certain limits. Any thread may use it."""

    def __init__(
        self, connection: Connection, key: str, limits: tuple[int | None, ...], ttl_s: int
    ) -> None:
        self._connection = connection
        self._limits = limits
        self._ttl_s = ttl_s
        self._member = token_hex(8)
        self._keys = (key, f"{key}:{self._member}", f"{key}:members")
        # It is held during an exchange with the server. `_lock`, which guards the fields below, is never held so long.
        self._exchanging = Lock()
        self._lock = Lock()
        # The parcel: these amounts are added to the sum already, and no call has reserved them.
        self._parcel: Amounts = _NONE
        # These amounts are to be added to the sum, or subtracted if negative.
        self._owed: Amounts = _NONE
        self._in_flight = 0
        # The last sum that the server has sent; by the epoch and the count of exchanges it shows whether data was lost.
        self._known: Amounts | None = None
        self._epoch = ""
        self._exchanges = 0
        self._number = self._read = 0
        self._members = 1
        # These amounts may be spent while the server is away; None before they are needed.
        self._allowance: list[float] | None = None
        # The amounts reserved since the last tick, and the recent rates a second.
        self._reserved: Amounts = _NONE
        self._rates: tuple[float, ...] = (0.0, 0.0, 0.0)
        self._reserved_at = self._exchanged_at = monotonic()
        self._is_ticking = False
        self._is_closed = False

    @property
    def is_idle(self) -> bool:
        """Whether the account may be forgotten: it holds nothing and owes nothing."""
        return not (self._in_flight or any(self._parcel) or any(self._owed) or self._is_ticking)

    def reserve(self, amounts: Amounts, *, goes_on_alone: bool) -> str | None:
        """Reserve these amounts, or return the name of the limit that they exceed.

        If the server is away, an account that `goes_on_alone` uses its part of what was left. Raises: `Away`.
        """
        with self._lock:
            if min(_minus(self._parcel, amounts)) >= 0:
                self._take(amounts)
                return None
        try:
            if self._connection.is_away:
                # The next tick tries the server, so that no event loop waits for it here.
                with self._lock:
                    self._start_ticking()
                raise Away(self._does_not_answer())
            exceeded = self._exchange_or_repeat(amounts)
        except Away:
            if not goes_on_alone:
                raise
            with self._lock:
                self._take_alone(amounts)
            return None
        return _NAMES[exceeded - 1] if exceeded else None

    def _exchange_or_repeat(self, amounts: Amounts) -> int:
        """Exchange for a call. One failure may be that of an old connection, so the exchange is repeated once."""
        try:
            return self._exchange(amounts)
        except Away:
            if self._connection.is_away:
                raise
            return self._exchange(amounts)

    def settle(self, amounts: Amounts) -> None:
        """Add `amounts`, which are mostly negative, to the reservation of a call that has ended."""
        with self._lock:
            self._in_flight -= 1
            self._hold(_minus(self._parcel, amounts))
            self._start_ticking()

    def total(self) -> Amounts:
        """Return the sum without this account's parcel. Raises: `Away` if the server has never answered."""
        try:
            self._exchange(_NONE, is_call=False)
        except Away:
            if self._known is None:
                raise
        with self._lock:
            return _minus(_plus(self._known or _NONE, self._owed), self._parcel)

    @property
    def parcel(self) -> Amounts:
        """The amounts that are added to the sum already, and that no call has reserved."""
        return self._parcel

    def close(self) -> None:
        """Return the parcel to the sum, and take none from now on. Raises: `Away`."""
        with self._lock:
            self._is_closed = True
            self._give_back(self._parcel)
        if any(self._owed):
            self._exchange(_NONE, is_call=False)

    def _take(self, amounts: Amounts) -> None:
        self._parcel = _minus(self._parcel, amounts)
        self._note_reserved(amounts)

    def _note_reserved(self, amounts: Amounts) -> None:
        self._in_flight += 1
        self._reserved = _plus(self._reserved, amounts)
        self._reserved_at = monotonic()
        self._start_ticking()

    def _start_ticking(self) -> None:
        if not (self._is_ticking or self._is_closed):
            self._is_ticking = True
            start_ticking(self._tick)

    def _hold(self, parcel: Amounts) -> None:
        """Set the parcel. An amount below 0 is owed to the sum, because a call has cost more than it had reserved."""
        lacking = _lacking(parcel)
        self._parcel = _plus(parcel, lacking)
        self._owed = _plus(self._owed, lacking)

    def _give_back(self, amounts: Sequence[int]) -> None:
        self._parcel = _minus(self._parcel, amounts)
        self._owed = _minus(self._owed, amounts)

    def _take_alone(self, amounts: Amounts) -> None:
        """Reserve amounts while the server is away. Raises: `Away` if they exceed this process's part of the rest."""
        if self._known is None:
            raise Away(self._does_not_answer(", and has not since this process began"))
        if self._allowance is None:
            self._allowance = [
                math.inf if limit is None else max(0, limit - known) // self._members
                for limit, known in zip(self._limits, self._known, strict=True)
            ]
        parcel = _minus(self._parcel, amounts)
        allowance = list(map(sub, self._allowance, _lacking(parcel)))
        if min(allowance) < 0:
            raise Away(self._does_not_answer(", and this process has spent its part of the rest"))
        self._allowance = allowance
        self._hold(parcel)
        self._note_reserved(amounts)

    def _does_not_answer(self, besides: str = "") -> str:
        return f"The server at `{self._connection.shown}` does not answer{besides}."

    def _exchange(
        self, needed: Amounts, besides: Amounts | None = None, *, is_call: bool = True
    ) -> int:
        """Reserve for a call, or with `is_call=False` only add the amounts owed; return the exceeded limit (0: none).

        `besides` is added to the parcel if there is plenty. Raises: `Away`.
        """
        with self._exchanging:
            with self._lock:
                # The call takes its part out of the parcel first, so that other threads cannot.
                used = tuple(map(min, self._parcel, needed))
                lacking = _minus(needed, used)
                self._parcel = _minus(self._parcel, used)
                owed = self._owed
                if besides is None:
                    besides = self._besides() if is_call and not self._is_closed else _NONE
                self._number += 1
                args = self._args(owed, lacking, besides)
            try:
                reply = self._connection.run(_EXCHANGE, self._keys, args)
            except BaseException:  # On Ctrl-C, too, because the account outlives this call.
                with self._lock:
                    self._parcel = _plus(self._parcel, used)
                raise
            with self._lock:
                exceeded, added = self._read_reply(reply)
                self._owed = _minus(self._owed, owed)
                if exceeded:
                    self._parcel = _plus(self._parcel, used)
                    return exceeded
                self._parcel = _plus(self._parcel, _minus(added, lacking))
                if is_call:
                    self._note_reserved(needed)
        return 0

    def _read_reply(self, reply: Any) -> tuple[int, Amounts]:
        """Store the sum of a reply; return the number of the exceeded limit (0: none) and the added amounts."""
        exceeded, epoch, self._exchanges, self._members, *amounts = reply
        self._epoch = epoch.decode()
        self._read = self._number
        numbers = tuple(map(int, amounts))
        self._known = numbers[:3]
        self._allowance = None
        self._exchanged_at = monotonic()
        return exceeded, numbers[3:]

    def _args(self, owed: Amounts, needed: Amounts, besides: Amounts) -> tuple[Any, ...]:
        limits = ["" if limit is None else limit for limit in self._limits]
        head = self._member, self._number, self._read, self._epoch, self._exchanges, self._ttl_s
        known = self._known or _NONE
        return *head, *known, *owed, *needed, *besides, *limits, _PARCEL_SHARE

    def _besides(self) -> Amounts:
        """Return the amounts that the parcel lacks for the next half second. In a burst of calls it grows faster."""
        return tuple(
            max(0, int(rate * _PARCEL_S) - amount, burst)
            for rate, amount, burst in zip(self._rates, self._parcel, self._reserved, strict=True)
        )

    def _tick(self) -> bool:
        """Adjust the parcel to the recent rate; return whether this is to be called again."""
        with self._lock:
            if self._is_closed:
                return False
            now = monotonic()
            is_in_use = now - self._reserved_at < _IDLE_S
            self._rates = tuple(
                rate + _WEIGHT * (amount / INTERVAL_S - rate)
                for rate, amount in zip(self._rates, self._reserved, strict=True)
            )
            self._reserved = _NONE
            if not self._connection.is_away:
                self._give_back(self._surplus() if is_in_use else self._parcel)
            besides = self._shortage() if is_in_use else _NONE
            is_due = self._connection.is_away or now - self._exchanged_at > _HEARTBEAT_S
            is_needed = any((*self._owed, *besides)) or is_due
        if is_needed:
            with suppress(Away):
                self._exchange(_NONE, besides, is_call=False)
        with self._lock:
            holds = any((self._in_flight, *self._parcel, *self._owed))
            self._is_ticking = is_in_use or holds or self._connection.is_away
            return self._is_ticking

    def _surplus(self) -> Amounts:
        """Return the amounts of the parcel beyond twice its right size, or beyond its share of the budget's rest."""
        known = self._known or _NONE
        surplus = []
        for rate, amount, limit, spent in zip(
            self._rates, self._parcel, self._limits, known, strict=True
        ):
            most = int(2 * rate * _PARCEL_S)
            if limit is not None:
                most = min(most, int(max(0, limit - spent) * _PARCEL_SHARE))
            surplus.append(max(0, amount - most))
        return tuple(surplus)

    def _shortage(self) -> Amounts:
        """Return the amounts that the parcel lacks; nothing while it is more than half full."""
        wanted = tuple(int(rate * _PARCEL_S) for rate in self._rates)
        if all(amount * 2 >= want for amount, want in zip(self._parcel, wanted, strict=True)):
            return _NONE
        return _lacking(_minus(self._parcel, wanted))


class Accounts:
    """The accounts of a process on one server."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.start_after_fork()

    def of(self, name: str, period: str, limits: tuple[int | None, ...], ttl_s: int) -> Account:
        """Return the account of a name, a period and limits."""
        key = name, period, limits
        with self._lock:
            found = self._accounts.get(key)
            if found is None:
                place = self.connection.key("budget", f"{name}:{period}" if period else name)
                found = self._accounts[key] = Account(self.connection, place, limits, ttl_s)
                self._forget_idle()
            return found

    def parcels(self, name: str, period: str, *, but: Account) -> Amounts:
        """Return the sum of the parcels of all accounts of a name and period, except the account `but`."""
        with self._lock:
            accounts = list(self._accounts.items())
        total = _NONE
        for key, one in accounts:
            if key[:2] == (name, period) and one is not but:
                total = _plus(total, one.parcel)
        return total

    def close(self) -> None:
        """Return all parcels to the sums on the server, and add the amounts owed, if the server answers."""
        with self._lock:
            accounts = list(self._accounts.values())
        try:
            for one in accounts:
                one.close()
        except Away:
            pass

    def start_after_fork(self) -> None:
        """Start over without accounts in a forked child; the parent process uses the earlier ones."""
        self._lock = Lock()
        self._accounts: OrderedDict[tuple[Any, ...], Account] = OrderedDict()

    def _forget_idle(self) -> None:
        surplus = len(self._accounts) - _MOST_ACCOUNTS
        if surplus > 0:
            idle = [key for key, one in self._accounts.items() if one.is_idle]
            for key in idle[:surplus]:
                del self._accounts[key]


class SharedBudgetStore(BudgetStore):
    """The sums of one named budget on the server of the fleet."""

    def __init__(
        self, accounts: Accounts, name: str, per: str | None, zone: str, when_away: str
    ) -> None:
        super().__init__(name, per, zone)
        self._accounts = accounts
        self._ttl_s = _TTL_S[per]
        self._goes_on_alone = when_away == "local"
        self._limits: tuple[Any, ...] = (None, None, None)
        self._units: tuple[int | None, ...] = (None, None, None)

    def total(self) -> Spending:
        """Return the amounts that all processes have spent and reserved; the last known ones while the server is away.

        Raises: `BudgetUnavailable` if the server has never answered.
        """
        period = self.period()
        account = self._account(period)
        try:
            amounts = account.total()
        except Away as exc:
            raise self._unavailable(exc) from exc
        others = self._accounts.parcels(self._name, period, but=account)
        return Spending.from_units(*_minus(amounts, others))

    def add(self, amount: Spending, period: Account) -> None:
        """Settle an amount that `add_within` has reserved in this account. The server learns of it later."""
        period.settle(amount.units())

    def add_within(self, amount: Spending, limits: Sequence[Any]) -> tuple[str | None, Account]:
        """Add `amount` unless that exceeds a limit; return the name of that limit (or None), and the account.

        Raises: `BudgetUnavailable` if the server is away.
        """
        if limits != self._limits:
            usd, tokens, calls = self._limits = tuple(limits)
            units = Spending(Decimal(0) if usd is None else usd).units()[0]
            self._units = None if usd is None else units, tokens, calls
        account = self._account(self.period())
        try:
            exceeded = account.reserve(amount.units(), goes_on_alone=self._goes_on_alone)
        except Away as exc:
            raise self._unavailable(exc) from exc
        return exceeded, account

    def _account(self, period: str) -> Account:
        return self._accounts.of(self._name, period, self._units, self._ttl_s)

    def _unavailable(self, exc: Away) -> BudgetUnavailable:
        advice = ""
        if not self._goes_on_alone:
            advice = (
                ' With `when_away="local"` each process spends its part of what was left meanwhile.'
            )
        why = str(exc).rstrip(".")
        return BudgetUnavailable(
            f"What the budget `{self._name}` has left is unknown, so the call was not sent. {why}. Try again later."
            f"{advice}"
        )
