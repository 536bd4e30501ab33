"""Counts the rows of a job and their cost, and reserves the budget of a row before it is called."""

from __future__ import annotations

from decimal import Decimal

from modelwire.aliases import Fields
from modelwire.jobs.budget import RowMoney
from modelwire.jobs.input_rows import Question
from modelwire.jobs.progress import Standing
from modelwire.jobs.work import Work, check_prices


class Ledger:
    """Counts results and their cost. `money` is None without a `max_cost`.

    `freed` is set when a reserved amount was released.
    """

    def __init__(self, work: Work, max_cost: Decimal | None) -> None:
        from asyncio import Event

        self.money: RowMoney | None = None
        if max_cost is not None:
            check_prices(work.chain)
            self.money = RowMoney(max_cost, work)
        self.standing = Standing()
        self.freed = Event()

    @property
    def is_blind(self) -> bool:
        """Whether there is a budget and the cost of a row cannot be estimated at all."""
        return self.money is not None and self.money.is_blind

    def reserve(self, question: Question) -> bool:
        """Reserve the cost of a row. Return False if it exceeds the budget."""
        return self.money is None or self.money.hold_for(question)

    def settle(self, question: Question) -> None:
        """Release what was reserved for a row that has ended. Its actual cost was counted before."""
        if self.money is not None:
            self.money.give_back(question.reserved)
        self.freed.set()

    def count(self, about: Fields, reserved: Decimal = Decimal(0)) -> None:
        """Count the facts of a record and its cost; `reserved` are the USD that were reserved for the row."""
        self.standing.count(about)
        if self.money is not None:
            self.money.pay(about, reserved)

    def count_finished(self, about: Fields, reserved: Decimal = Decimal(0)) -> None:
        """Count the record of a row that this run has finished, as `count` does."""
        self.standing.asked += 1
        self.count(about, reserved)
