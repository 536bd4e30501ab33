"""What a row may cost at the most, set aside of the job's `max_cost` before the row is asked. No I/O.

A token is at least one byte of UTF-8, so a row's bytes and those of the chain's own words are at least its tokens. The
largest answer is the model's `max_tokens`, else the `max_output_tokens` of its profile, else all of its context.
What a row costs that no model can be seen for is learned: as much as the dearest so far.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from modelwire.errors import ModelwireError
from modelwire.jobs.work import Work, models_with_arguments, price_of_counts
from modelwire.messages import HumanMessage

if TYPE_CHECKING:
    from modelwire.adapters.model.base import BaseChatModel
    from modelwire.jobs.input_rows import Question

__all__ = ["RowMoney"]

UNKNOWN_CONTEXT = 1_000_000  # tokens
IMAGE_TOKENS = 3_000  # of a picture that is named by its address
STEP = 64  # tokens; prices are looked up for so many at a time
_LIMITS = frozenset(
    {"max_tokens", "max_completion_tokens", "max_output_tokens", "maxOutputTokens", "maxTokens"}
)
_IMAGE = re.compile(rb'"image(_url)?"')


class _Call(NamedTuple):
    """One call of a row: the model, and tokens of its answer at most."""

    model: BaseChatModel
    answer_tokens: int
    context_tokens: int


class RowMoney:
    """`most` USD for the rows of a job of `work`, all its runs together. The job's event loop alone spends it."""

    def __init__(self, most: Decimal, work: Work) -> None:
        self.most, self.spent, self._reserved = most, Decimal(0), Decimal(0)
        self._dearest = Decimal(0)
        self._scale = Decimal(1)  # rows that cost more than was set aside teach it
        words = work.fingerprint()["work"]
        self._own_tokens = len(words.encode(errors="replace"))
        named = [words.count(f"{{{name}}}") for name in work.columns or ()]
        self._times = max([1, *named])  # that a prompt repeats a column
        self._calls: list[_Call] = []
        for model, kwargs, times in models_with_arguments(work.chain):
            self._calls += [_call(model, kwargs)] * times
        if any(price_of_counts(call.model, STEP, STEP) is None for call in self._calls):
            self._calls = []

    @property
    def answer_tokens(self) -> int:
        """Tokens of the longest answer that is reckoned with; 0 where no model is seen."""
        return max((call.answer_tokens for call in self._calls), default=0)

    @property
    def left(self) -> Decimal:
        """USD that are neither spent nor set aside."""
        return self.most - self.spent - self._reserved

    @property
    def is_blind(self) -> bool:
        """Whether nothing is known of what a row may cost."""
        return not self._calls and not self._dearest

    def needed(self, row_json: bytes) -> Decimal:
        """Return what a row may cost in USD at the most, as far as that can be known."""
        if not self._calls:
            return self._dearest
        tokens = (
            self._own_tokens
            + self._times * len(row_json)
            + IMAGE_TOKENS * len(_IMAGE.findall(row_json))
        )
        total = Decimal(0)
        for call in self._calls:  # the later ones may be asked about what the earlier have answered
            sent = min(tokens, call.context_tokens)
            total += price_of_counts(
                call.model, -(-sent // STEP) * STEP, call.answer_tokens
            ) or Decimal(0)
            tokens += call.answer_tokens
        return total * self._scale

    def hold(self, amount: Decimal) -> bool:
        """Set so much aside; tell whether there was so much."""
        if amount > self.left:
            return False
        self._reserved += amount
        return True

    def hold_for(self, question: Question) -> bool:
        """Set aside what a row may cost, and note it there; tell whether there was so much."""
        needed = self.needed(question.row_json)
        if not self.hold(needed):
            return False
        question.reserved = needed
        return True

    def owe(self, amount: Decimal) -> None:
        """Set aside what is under way already, be there so much or not."""
        self._reserved += amount

    def give_back(self, amount: Decimal) -> None:
        """Take back what was set aside."""
        self._reserved -= amount

    def pay(self, about: Mapping[str, Any], reserved: Decimal = Decimal(0)) -> None:
        """Take what a row has cost, for which so much is set aside, and learn from it."""
        cost = Decimal(about.get("cost") or 0)
        self.spent += cost
        self._dearest = max(self._dearest, cost)
        if self._calls and cost > reserved > 0:
            self._scale *= cost / reserved

    def shortage(self, amount: Decimal) -> str:
        """Say why no more rows are begun."""
        left = _rounded(max(self.left, Decimal(0)))
        why = f"The next row may cost up to ${_rounded(amount)}, and ${left} of the ${self.most} are left."
        if not self.answer_tokens:
            return why
        return f"{why} Its answer is reckoned at {self.answer_tokens:,} tokens: `max_tokens` lowers that."


def _rounded(amount: Decimal) -> str:
    return f"{amount:.6f}".rstrip("0").rstrip(".")


def _call(model: BaseChatModel, kwargs: Mapping[str, Any]) -> _Call:
    profile = getattr(model, "profile", None) or {}
    context = profile.get("context_window") or UNKNOWN_CONTEXT
    limit, count = _answer_limit(model, kwargs)
    return _Call(
        model, (limit or min(profile.get("max_output_tokens") or context, context)) * count, context
    )


def _answer_limit(model: BaseChatModel, kwargs: Mapping[str, Any]) -> tuple[int | None, int]:
    """Return the limit of an answer that a request would say, in tokens, and how many answers it would ask for."""
    from modelwire.adapters.model.http import HTTPChatModel

    body: Mapping[str, Any] = {"max_tokens": getattr(model, "max_tokens", None), **kwargs}
    if isinstance(model, HTTPChatModel):
        arguments, messages = dict(kwargs), [HumanMessage("?")]
        with suppress(
            ModelwireError, TypeError, ValueError
        ):  # the call itself will say what is wrong
            model._retry_settings(arguments)
            body = model._build_request(
                messages, arguments.pop("stop", None), arguments, stream=False
            )[1].body
    parts = [body, *(part for part in body.values() if isinstance(part, Mapping))]
    limits = [
        part[name] for part in parts for name in _LIMITS & part.keys() if type(part[name]) is int
    ]
    count = body.get("n")
    return max(limits, default=None), count if type(count) is int and count > 0 else 1
