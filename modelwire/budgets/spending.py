"""`budget`: limits the dollars, tokens, calls and seconds that the calls in a `with` block may use.

A call reserves its likely cost before it is sent, and settles its actual cost when it has ended. Its
input tokens are estimated; its output tokens are the request's own limit, else those of the longest
answer so far (at least 1,024). A budget can only be exceeded by the difference between the actual
and the reserved cost of calls in flight.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from operator import add, sub
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from modelwire import forks
from modelwire.aliases import Fields, Kwargs, Values
from modelwire.errors import BudgetExceeded, BudgetUnavailable, InvalidArgument
from modelwire.transport.observer import OBSERVERS_IN_CONTEXT, CallObserver
from modelwire.transport.ratelimit.admission import ROUTED_CALL

if TYPE_CHECKING:
    from modelwire.budgets.store import BudgetStore
    from modelwire.errors import Attempt

# A call without a limit of its answer reserves this many tokens, until a longer answer was seen.
_LEAST_ANSWER = 1024
# Numbers of tokens are rounded up to a multiple of this, so that few prices are looked up.
_STEP = 64

# Stores count money in units of 10^-12 dollars, because SQLite and Redis have integers of 64 bits.
_UNITS_PER_USD = 10**12

# A call holds this lock while it reserves its cost, so that all of its budgets admit it or none does.
_lock = threading.Lock()


@forks.in_child
def _start_after_fork() -> None:
    """Begin with a free lock: another thread of the parent process may have held it."""
    global _lock
    _lock = threading.Lock()


class Spending(NamedTuple):
    """US dollars, tokens (input and output) and calls."""

    usd: Decimal = Decimal(0)
    tokens: int = 0
    calls: int = 0

    def plus(self, other: Spending) -> Spending:
        return Spending._make(map(add, self, other))

    def minus(self, other: Spending) -> Spending:
        return Spending._make(map(sub, self, other))

    def units(self) -> tuple[int, int, int]:
        """Return the amounts as whole numbers for a store: units of 10^-12 dollars, tokens, calls."""
        return int((self.usd * _UNITS_PER_USD).to_integral_value()), self.tokens, self.calls

    @classmethod
    def from_units(cls, usd: int, tokens: int, calls: int) -> Spending:
        """Return the spending for the three numbers that `units` has returned."""
        return cls(Decimal(usd) / _UNITS_PER_USD, tokens, calls)

    def passed(self, limits: Sequence[Any]) -> str | None:
        """Return the name of a limit that this exceeds, or None.

        `limits` are three: of USD, of tokens and of calls; None means no limit.
        """
        for name, used, limit in zip(self._fields, self, limits, strict=True):
            if limit is not None and used > limit:
                return name
        return None


class Left(NamedTuple):
    """The rest of a budget after the reservations of calls in flight. A field is None if it has no limit."""

    usd: Decimal | None
    tokens: int | None
    calls: int | None
    seconds: float | None


def budget(
    name: str | None = None,
    *,
    usd: float | str | Decimal | None = None,
    tokens: int | None = None,
    calls: int | None = None,
    seconds: float | None = None,
    per: Literal["hour", "day", "month"] | None = None,
    zone: str | None = None,
    unpriced: Literal["refuse", "ignore"] | None = None,
    when_away: Literal["refuse", "local"] | None = None,
    config_file: str | None = None,
) -> Budget:
    """Limit what the calls of models inside a `with` block may spend. With nested budgets, all of them apply.

    It applies to sync and async calls, batches, streams and jobs that the block starts in this
    process. A thread that you start yourself must enter it again: `with b:`. A call that exceeds
    the budget is not sent.

    A budget with a `name` continues in later runs and in other processes, through a file of the
    user, or through Redis if the process shares its state (`modelwire.shared`). `modelwire.toml`
    may contain its limits; an argument overrides the file's:

        [budgets.team]
        usd = 20
        per = "day"

    Args:
        name: the name under which the spent amounts are stored.
        usd: US dollars, by the price list of `genai-prices` (`pip install "modelwire[profiles]"`).
        tokens: input and output tokens together.
        calls: calls that are sent; retries of a call are not counted, nor its tries at other deployments of a pool.
        seconds: counted from the first `with`. A call that is still in flight then ends with a `Timeout`.
        per: a named budget starts at zero again each hour, day or month.
        zone: the IANA time zone of these periods; "UTC" by default.
        unpriced: under `usd`, a model without a known price is refused (the default), or its calls count as free.
        when_away: for a named budget that is shared over Redis, while Redis does not answer: calls are refused (the
            default), or each process may spend its part of the amount that was left when Redis last answered.
        config_file: the `modelwire.toml` to read; by default the one that `init_chat_model` reads.

    Raises:
        InvalidArgument: limits that are not above 0, or no limit; an unknown zone or period; an invalid name.
        MissingDependency: `usd` without the price list.
        BudgetExceeded: by a call, before it is sent.
        BudgetUnavailable: by a call, before it is sent, if Redis does not answer.

    Example:
        with budget(usd=1.50, calls=100) as b:
            agent.invoke("...")
        print(b)
    """
    limits: Kwargs = {"usd": usd, "tokens": tokens, "calls": calls, "seconds": seconds}
    if name is not None:
        from modelwire.config import budget_row

        has_limit = any(value is not None for value in limits.values())
        row = budget_row(_checked_name(name), config_file, or_empty=has_limit)
        for key, value in limits.items():
            if value is None:
                limits[key] = row.get(key)
        per = per or row.get("per")
        zone = zone or row.get("zone")
        unpriced = unpriced or row.get("unpriced")
        when_away = when_away or row.get("when_away")
    return Budget(
        name,
        limits,
        per=per,
        zone=zone or "UTC",
        unpriced=unpriced or "refuse",
        when_away=when_away,
    )


class Budget:
    """The limits of a `with budget(...)` block, and the amounts it has spent. `budget` creates it.

    `spent` and `reserved` are amounts of this process; `left` of a named budget includes every
    process. `guessed` is the number of calls of unknown cost, such as those of streams that were not
    read to the end: they are settled by an estimate.
    """

    def __init__(
        self,
        name: str | None,
        limits: Mapping[str, Any],
        *,
        per: str | None,
        zone: str,
        unpriced: str,
        when_away: str | None = None,
    ) -> None:
        self.name = name
        self.usd = _dollars(limits["usd"])
        self.tokens = _whole("tokens", limits["tokens"])
        self.calls = _whole("calls", limits["calls"])
        self.seconds = _seconds(limits["seconds"])
        # The limits of USD, tokens and calls, in the order of a `Spending`.
        self._limits = self.usd, self.tokens, self.calls
        if all(limit is None for limit in (*self._limits, self.seconds)):
            raise InvalidArgument(
                "A budget needs a limit: `budget(usd=1.50)`, or `tokens`, `calls`, `seconds`."
            )
        if unpriced not in ("refuse", "ignore"):
            raise InvalidArgument(f'`unpriced` must be "refuse" or "ignore", not `{unpriced!r}`.')
        if self.usd is not None and unpriced == "refuse":
            from modelwire.usage.prices import check_price_list

            check_price_list()
        if when_away not in (None, "refuse", "local"):
            raise InvalidArgument(f'`when_away` is "refuse" or "local", not `{when_away!r}`.')
        of_named_budgets = {"per": per, "when_away": when_away}
        for setting, value in of_named_budgets.items():
            if value is not None and name is None:
                raise InvalidArgument(f'`{setting}="{value}"` needs a name: `budget("team", ...)`.')
        self.unpriced = unpriced
        self.spent = Spending()
        self.reserved = Spending()
        self.guessed = 0
        # Infinity before the first `with`, and without a limit of seconds.
        self._ends_at = math.inf
        self._longest = _LEAST_ANSWER
        self._store: BudgetStore | None = None
        if name is not None:
            from modelwire.budgets.store import store_of

            self._store = store_of(name, per, zone, when_away or "refuse")

    def __enter__(self) -> Budget:
        if self.seconds is not None and self._ends_at == math.inf:
            self._ends_at = time.monotonic() + self.seconds
        _enter((*_entered(), self))
        return self

    def __exit__(self, *exc: object) -> None:
        # A budget that was entered twice is left once.
        inner_first = list(reversed(_entered()))
        if self in inner_first:
            inner_first.remove(self)
            _enter(tuple(reversed(inner_first)))

    @property
    def is_entered(self) -> bool:
        """Whether the current code runs inside of the budget's `with` block."""
        return self in _entered()

    @property
    def left(self) -> Left:
        """The amounts that are left now."""
        seconds = self.seconds
        if self._ends_at < math.inf:
            seconds = max(0.0, self._ends_at - time.monotonic())
        usd, tokens, calls = map(_rest, self._limits, self._used())
        return Left(usd, tokens, calls, seconds)

    def __str__(self) -> str:
        from modelwire.usage.prices import dollars

        left = self.left
        used = self._used()
        parts = []
        if self.usd is not None:
            parts.append(f"{dollars(used.usd)} of ${self.usd}")
        elif used.usd:
            parts.append(dollars(used.usd))
        parts.append(f"{used.tokens:,}{_of(self.tokens)} tokens")
        parts.append(f"{used.calls:,}{_of(self.calls)} calls")
        if left.seconds is not None:
            parts.append(f"{left.seconds:.1f} s of {self.seconds:g} s left")
        if self.guessed:
            parts.append(f"{self.guessed:,} of them paid as estimated")
        name = f"budget {self.name}" if self.name else "budget"
        return f"{name}: {', '.join(parts)}"

    __repr__ = __str__

    def _used(self) -> Spending:
        if self._store is None:
            return self.spent.plus(self.reserved)
        return self._store.total()

    def _reserve(self, amount: Spending, model: str) -> Any:
        """Reserve `amount`, or raise `BudgetExceeded`; return the period that it is counted in."""
        if time.monotonic() >= self._ends_at:
            raise self._exceeded("seconds", amount, model)
        period = None
        if self._store is None:
            passed = self._used().plus(amount).passed(self._limits)
        else:
            try:
                passed, period = self._store.add_within(amount, self._limits)
            except BudgetUnavailable as exc:
                exc.budget = self
                exc.needed = amount
                exc.spent = self.spent
                exc.reserved = self.reserved
                raise
        if passed is not None:
            raise self._exceeded(passed, amount, model)
        self.reserved = self.reserved.plus(amount)
        return period

    def _give_back(self, amount: Spending, period: Any) -> None:
        self.reserved = self.reserved.minus(amount)
        if self._store is not None:
            self._store.add(Spending().minus(amount), period)

    def _pay(self, reserved: Spending, cost: Spending, period: Any, *, guessed: bool) -> None:
        self.reserved = self.reserved.minus(reserved)
        self.spent = self.spent.plus(cost)
        self.guessed += guessed
        if self._store is not None:
            self._store.add(cost.minus(reserved), period)

    @property
    def _called(self) -> str:
        if self.name:
            return f"the budget `{self.name}`"
        return "the budget"

    def _exceeded(self, limit: str, amount: Spending, model: str) -> BudgetExceeded:
        """Return the error for a call that exceeds one of the limits."""
        from modelwire.usage.prices import dollars

        left = self.left
        advice = "."
        if limit == "usd":
            left_usd = dollars(left.usd or Decimal(0))
            why = f"it may cost {dollars(amount.usd)}, and {left_usd} of ${self.usd} are left"
        elif limit == "tokens":
            why = f"it may take {amount.tokens:,} tokens, and {left.tokens:,} of {self.tokens:,} are left"
        elif limit == "calls":
            why = "its only call is made"
            if self.calls != 1:
                why = f"its {self.calls:,} calls are made"
        else:
            why = f"its {self.seconds:g} s are over"
        if limit in ("usd", "tokens"):
            advice = ", or lower `max_tokens`."
        # `left` of a named budget includes all processes, but `spent` only this one, so the text says so.
        spent = f"{dollars(self.spent.usd)} spent"
        if self._store is not None:
            spent += " by this process"
        if self.reserved.usd:
            spent += f", {dollars(self.reserved.usd)} of calls in flight"
        return BudgetExceeded(
            f"T{self._called[1:]} is used up: {why} ({spent}). The call to `{model}` "
            f"was not sent. Give the budget more `{limit}`{advice}",
            budget=self,
            spent=self.spent,
            reserved=self.reserved,
            needed=amount,
        )


class _Admission(CallObserver):
    """Observes every call of a context with budgets.

    `entered` are these budgets, perhaps with repetitions; a call is charged to each of them once.
    """

    def __init__(self, entered: tuple[Budget, ...]) -> None:
        self.entered = entered
        self.budgets = tuple(dict.fromkeys(entered))

    def started(self, model: Any, messages: Sequence[Any], kwargs: Values) -> CallObserver:
        """Return the observer of a call.

        A model without `build_request` reserves its cost here, any other when its request is sent.
        """
        call = _Call(self.budgets, model, messages, kwargs)
        if not hasattr(model, "build_request"):
            call.admit(kwargs.get("max_tokens") or getattr(model, "max_tokens", None))
        return call


def _checked_name(name: Any) -> str:
    if not isinstance(name, str):
        raise InvalidArgument(
            f"`name` must be a text, not {name!r}. Pass a limit by its name: `budget(usd={name!r})`."
        )
    return name


def _entered() -> tuple[Budget, ...]:
    """Return the budgets of this context, the outermost first.

    A budget that was entered twice is listed twice.
    """
    for observer in OBSERVERS_IN_CONTEXT.get():
        if isinstance(observer, _Admission):
            return observer.entered
    return ()


def _enter(entered: tuple[Budget, ...]) -> None:
    """Apply exactly these budgets to the calls of this context."""
    observers = [one for one in OBSERVERS_IN_CONTEXT.get() if not isinstance(one, _Admission)]
    if entered:
        observers.append(_Admission(entered))
    OBSERVERS_IN_CONTEXT.set(tuple(observers))


class _Call(CallObserver):
    """One call under one or more budgets, or one attempt of a pool's call.

    A pool's attempts follow each other, and each reserves and pays its own tokens and dollars. A budget that has
    counted a failed attempt as a call does not count the next one. A hedge belongs to another call of the pool.
    """

    def __init__(
        self,
        budgets: tuple[Budget, ...],
        model: Any,
        messages: Sequence[Any],
        kwargs: Values,
    ) -> None:
        self.budgets = budgets
        named = getattr(model, "model", None) or getattr(model, "model_name", None)
        self.name = str(named or type(model).__name__)
        self.provider = getattr(model, "provider", None)
        self.messages = messages
        self.tools = kwargs.get("tools")
        self.tier = kwargs.get("service_tier") or getattr(model, "service_tier", None)
        self.input_tokens = 0
        # The number of attempts without an answer that may have been billed.
        self.lost = 0
        # True if an attempt was sent and its end is unknown.
        self.in_flight = False
        # Each budget with the amount reserved in it and its period. None before the first request is sent.
        self.reserved: list[tuple[Budget, Spending, Any]] | None = None
        self.routed_call = ROUTED_CALL.get()
        # The budgets that have counted the pool's call, and for each whether one of its costs was a guess. The pool's
        # call gets them back if this attempt fails: until then, a call that a handler makes is one of its own.
        self.counted_by: dict[Budget, bool] = {}
        if self.routed_call is not None:
            self.counted_by.update(self.routed_call.counted_by)
            self.routed_call.counted_by = {}

    def sent(self, exchange: Any) -> None:
        """Reserve the likely cost before the first attempt.

        Raises `BudgetExceeded` if a budget does not cover it.
        """
        first = min(self.budgets, key=lambda each: each._ends_at)
        self.in_flight = True
        if self.reserved is None:
            self.admit(exchange.max_output)
        elif time.monotonic() >= first._ends_at:
            raise first._exceeded("seconds", Spending(), self.name)
        deadline = math.inf if exchange.deadline is None else exchange.deadline
        if first._ends_at < deadline:
            exchange.deadline = first._ends_at
            exchange.timeout_s = first.seconds
            exchange.timeout_name = f"the time left in {first._called},"

    def admit(self, max_output: int | None) -> None:
        """Reserve the likely cost. Raises `BudgetExceeded`."""
        from modelwire.messages.counting import count_tokens_approximately

        self.input_tokens = count_tokens_approximately(self.messages, tools=self.tools)
        reserved: list[tuple[Budget, Spending, Any]] = []
        with _lock:
            try:
                for each in self.budgets:
                    answer = each._longest if max_output is None else max_output
                    likely = {"input_tokens": _up(self.input_tokens), "output_tokens": _up(answer)}
                    usd = self._price(each, likely, self.tier)
                    calls = int(each not in self.counted_by)
                    amount = Spending(usd, self.input_tokens + answer, calls)
                    period = each._reserve(amount, self.name)
                    reserved.append((each, amount, period))
            except BaseException:  # Ctrl-C is included, because the budgets outlive this call.
                _give_back(reserved)
                raise
        self.reserved = reserved

    def _price(self, budget: Budget, usage: Fields, tier: Any) -> Decimal:
        from modelwire.usage.prices import price_of_usage

        price = price_of_usage(usage, self.name, provider=self.provider, tier=tier)
        if price is None and budget.usd is not None and budget.unpriced == "refuse":
            raise InvalidArgument(
                f"A budget in dollars cannot be enforced: no price of `{self.name}` is known. The call was not "
                'sent. Give the budget `tokens` or `calls` instead, or `unpriced="ignore"`.'
            )
        return price or Decimal(0)

    def failed(self, error: BaseException, attempt: Attempt | None, partial: Any = None) -> None:
        """Called after a failed attempt, which may have been billed, or without an attempt when the call has failed."""
        if attempt is not None:
            self.in_flight = False
            self.lost += attempt.maybe_billed
            return
        if not isinstance(error, Exception):
            # The call was cancelled in flight, and the provider bills the answer.
            self.in_flight = True
        self._settle(partial)
        if self.routed_call is not None:
            self.routed_call.counted_by = self.counted_by

    def answered(self, result: Any) -> None:
        """Called with the answer: settle its cost."""
        self._settle(result)

    def _settle(self, result: Any) -> None:
        reserved = self.reserved
        if reserved is None:
            # No request was sent: the answer came from a cache, or is shared with another call.
            return
        self.reserved = None
        generations = getattr(result, "generations", ())
        messages = [each.message for each in generations if hasattr(each, "message")]
        found = [getattr(each, "usage_metadata", None) for each in messages]
        usages = list(filter(None, found))
        if self.in_flight and not messages:
            self.lost += 1
        if any("total_cost" in usage for usage in usages):  # The answer came from a cache.
            with _lock:
                _give_back(reserved)
            return
        is_answer_unknown = bool(messages) and not usages
        guessed = self.lost > 0 or is_answer_unknown
        usages = self._usages_with_estimates(messages, usages)
        tier = None
        if messages:
            tier = messages[0].response_metadata.get("service_tier")
        tokens = sum(map(_tokens, usages))
        longest = max(map(_output_tokens, usages), default=0)
        with _lock:
            for each, amount, period in reserved:
                usd = self._cost(each, usages, tier)
                is_guess = guessed or usd is None
                each._longest = max(each._longest, longest)
                # A call that was rejected costs nothing, but it counts as a call.
                cost = Spending(amount.usd if usd is None else usd, tokens, amount.calls)
                was_guessed = self.counted_by.get(each, False)
                each._pay(amount, cost, period, guessed=is_guess and not was_guessed)
                self.counted_by[each] = is_guess or was_guessed

    def _usages_with_estimates(self, messages: list[Any], usages: list[Any]) -> list[Any]:
        """Return the usages, with estimates for an answer that was not read to its end and for lost attempts."""
        if not usages and messages:
            came = sum(-(-len(each.text) // 4) for each in messages)
            usages = [{"input_tokens": self.input_tokens, "output_tokens": came}]
        return usages + [{"input_tokens": self.input_tokens, "output_tokens": 0}] * self.lost

    def _cost(self, budget: Budget, usages: list[Any], tier: Any) -> Decimal | None:
        """Return the cost in USD; None if the price of the model in the answer is unknown."""
        try:
            return sum((self._price(budget, usage, tier) for usage in usages), Decimal(0))
        except InvalidArgument:
            return None


def _give_back(reserved: Sequence[tuple[Budget, Spending, Any]]) -> None:
    for each, amount, period in reserved:
        each._give_back(amount, period)


def _output_tokens(usage: Fields) -> int:
    return int(usage.get("output_tokens") or 0)


def _tokens(usage: Fields) -> int:
    both = int(usage.get("input_tokens") or 0) + _output_tokens(usage)
    return max(both, int(usage.get("total_tokens") or 0))


def _up(tokens: int) -> int:
    return -(-tokens // _STEP) * _STEP


def _rest(limit: Any, used: Any) -> Any:
    """Return the part of a limit that is not used yet, at least 0; None if there is no limit."""
    if limit is None:
        return None
    return limit - min(limit, used)


def _of(limit: int | None) -> str:
    if limit is None:
        return ""
    return f" of {limit:,}"


def _dollars(value: Any) -> Decimal | None:
    if value is None:
        return None
    try:
        amount = Decimal(str(value))  # For a bool it raises `InvalidOperation`.
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount <= 0:
        raise InvalidArgument(
            f"`usd` is an amount of dollars above 0, such as `budget(usd=1.50)`, not `{value!r}`."
        )
    return amount


def _whole(name: str, value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise InvalidArgument(
            f"`{name}` is a whole number above 0, such as `budget({name}=100)`, not `{value!r}`."
        )
    return value


def _seconds(value: Any) -> float | None:
    if value is None:
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 < value < math.inf:
        raise InvalidArgument(
            f"`seconds` is a number above 0, such as `budget(seconds=60)`, not `{value!r}`."
        )
    return float(value)
