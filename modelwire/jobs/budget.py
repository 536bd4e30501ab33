"""Reserves the highest possible cost of each row from the job's `max_cost` before the row is called. No I/O.

A token is at least one byte of UTF-8, so the tokens of a prompt are at most the bytes of the row
and of the chain's own texts. The longest answer is the model's `max_tokens`, else the
`max_output_tokens` of its profile, else its context. If the model of a chain cannot be found, a row
is estimated to cost as much as the most expensive one so far.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from modelwire import ext
from modelwire.aliases import Fields
from modelwire.errors import ModelwireError
from modelwire.jobs.work import Work, members_of, models_with_arguments, price_of_counts
from modelwire.messages import HumanMessage

if TYPE_CHECKING:
    from modelwire.adapters import BaseChatModel
    from modelwire.jobs.input_rows import Question

# A model whose context window is unknown is assumed to have one of this many tokens.
_UNKNOWN_CONTEXT = 1_000_000
# An image is estimated at this many tokens, because a row may contain only its URL.
_IMAGE_TOKENS = 3_000
# Numbers of input tokens are rounded up to a multiple of this, so that few prices are looked up.
_STEP = 64
# A request may limit the tokens of its answer by one of these fields.
_LIMITS = frozenset(
    {"max_tokens", "max_completion_tokens", "max_output_tokens", "maxOutputTokens", "maxTokens"}
)
_IMAGE = re.compile(rb'"image(_url)?"')


class _Call(NamedTuple):
    """One model call of a row, with the largest numbers of tokens of its answer and its context."""

    model: BaseChatModel
    answer_tokens: int
    context_tokens: int


class RowMoney:
    """The budget of a job: `most` USD for all of its runs, of which a part is spent or reserved.

    Only the job's event loop may use it.
    """

    def __init__(self, most: Decimal, work: Work) -> None:
        self.most = most
        self.spent = Decimal(0)
        self._reserved = Decimal(0)
        self._dearest = Decimal(0)
        # Estimates are multiplied by this factor, which grows when a row costs more than was
        # reserved.
        self._scale = Decimal(1)
        words = work.fingerprint()["work"]
        self._own_tokens = len(words.encode(errors="replace"))
        # The prompt contains no column more often than this.
        self._times = 1
        for name in work.columns or ():
            self._times = max(self._times, words.count(f"{{{name}}}"))
        # For each call that a row makes, the models that may answer it: one, or those of a pool.
        self._calls: list[list[_Call]] = []
        for model, kwargs, times in models_with_arguments(work.chain):
            calls = [_Call(one, 0, _UNKNOWN_CONTEXT) for one in members_of(model)]
            if work.has_answer_tokens:
                calls = [_call(one, kwargs) for one in members_of(model)]
            self._calls += [calls] * times
        prices = [price_of_counts(one.model, _STEP, _STEP) for one in self._each_call()]
        if None in prices:
            self._calls = []

    def _each_call(self) -> list[_Call]:
        return [one for calls in self._calls for one in calls]

    @property
    def answer_tokens(self) -> int:
        """Tokens of the longest answer that the estimates assume; 0 if the models or their prices are unknown."""
        return max((call.answer_tokens for call in self._each_call()), default=0)

    @property
    def left(self) -> Decimal:
        """USD that are neither spent nor reserved."""
        return self.most - self.spent - self._reserved

    @property
    def is_blind(self) -> bool:
        """Whether the cost of a row cannot be estimated at all."""
        return not self._calls and not self._dearest

    def needed(self, row_json: bytes) -> Decimal:
        """Return the highest possible cost of a row in USD, or the best estimate of it."""
        if not self._calls:
            return self._dearest
        tokens = self._own_tokens + self._times * len(row_json)
        images = len(_IMAGE.findall(row_json))
        tokens += _IMAGE_TOKENS * images
        total = Decimal(0)
        for calls in self._calls:
            # The input of a later call may contain the answers of earlier ones.
            total += max(_price(call, tokens) for call in calls)
            tokens += max(call.answer_tokens for call in calls)
        return total * self._scale

    def hold(self, amount: Decimal) -> bool:
        """Reserve an amount. Return False, without reserving, if it exceeds the budget."""
        if amount > self.left:
            return False
        self._reserved += amount
        return True

    def hold_for(self, question: Question) -> bool:
        """Reserve the cost of a row and record it in `question.reserved`.

        Return False if it exceeds the budget.
        """
        needed = self.needed(question.row_json)
        if not self.hold(needed):
            return False
        question.reserved = needed
        return True

    def owe(self, amount: Decimal) -> None:
        """Reserve the cost of work in progress, even beyond the budget."""
        self._reserved += amount

    def give_back(self, amount: Decimal) -> None:
        """Release a reserved amount."""
        self._reserved -= amount

    def pay(self, about: Fields, reserved: Decimal = Decimal(0)) -> None:
        """Add the actual cost in a row's record to what is spent. Raise later estimates if it exceeds `reserved`."""
        cost = Decimal(about.get("cost") or 0)
        self.spent += cost
        self._dearest = max(self._dearest, cost)
        if self._calls and cost > reserved > 0:
            self._scale *= cost / reserved

    def shortage(self, amount: Decimal) -> str:
        """Return sentences that explain why the next row, which may cost `amount`, is not started."""
        needed = _rounded(amount)
        left = _rounded(max(self.left, Decimal(0)))
        why = f"The next row may cost up to ${needed}, and ${left} of the ${self.most} are left."
        if not self.answer_tokens:
            return why
        return f"{why} The estimate assumes {self.answer_tokens:,} output tokens; set `max_tokens` to lower it."


def _rounded(amount: Decimal) -> str:
    return f"{amount:.6f}".rstrip("0").rstrip(".")


def _price(call: _Call, tokens: int) -> Decimal:
    """Return the highest cost in USD of a call with `tokens` tokens of input: that with the longest answer.

    An input longer than the context window is priced at the length of the window.
    """
    sent = min(tokens, call.context_tokens)
    rounded = -(-sent // _STEP) * _STEP
    return price_of_counts(call.model, rounded, call.answer_tokens) or Decimal(0)


def _call(model: BaseChatModel, kwargs: Fields) -> _Call:
    profile = getattr(model, "profile", None) or {}
    context = profile.get("context_window") or _UNKNOWN_CONTEXT
    limit, count = _answer_limit(model, kwargs)
    if not limit:
        limit = min(profile.get("max_output_tokens") or context, context)
    return _Call(model, limit * count, context)


def _answer_limit(model: BaseChatModel, kwargs: Fields) -> tuple[int | None, int]:
    """Return the most tokens of an answer (None if the request sets no limit), and how many answers it asks for."""
    body: Fields = {"max_tokens": getattr(model, "max_tokens", None), **kwargs}
    if isinstance(model, ext.HTTPChatModel):
        arguments = dict(kwargs)
        messages = [HumanMessage("?")]
        with suppress(ModelwireError, TypeError, ValueError):
            # The call itself will raise the error.
            model._retry_settings(arguments)
            stop = arguments.pop("stop", None)
            request = model._build_request(messages, stop, arguments, stream=False)[1]
            body = request.body
    limits = []
    for part in (body, *body.values()):
        if not isinstance(part, Mapping):
            continue
        for name in _LIMITS & part.keys():
            limit = part[name]
            if type(limit) is int:
                limits.append(limit)
    count = body.get("n")
    answers = 1
    if type(count) is int:
        answers = max(1, count)
    return max(limits, default=None), answers
