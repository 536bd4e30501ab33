"""OpenAI's flex tier, for the live rows of a job with an hour: the price of a batch, slower, and at times without room.

https://platform.openai.com/docs/guides/flex-processing, read 2026-11. The priority tier is not sent: its rate limit is
that of the default tier, so no more rows get through, and OpenAI does not want it used for the processing of data.
https://developers.openai.com/api/docs/guides/priority-processing, read 2026-11.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from modelwire.jobs.plan import SAFE, Plan, State, Tier, rate_of
from modelwire.jobs.work import price_of_counts
from modelwire.runnables import RunnableBinding, RunnableSequence

if TYPE_CHECKING:
    from modelwire.jobs.batch_api.chain import Split
    from modelwire.runnables import Runnable

__all__ = ["FlexTier"]

PROVIDERS = ("openai",)  # whose answers say which tier they were billed by
GUESS = 0.1  # of the rate of live calls, until it has shown its own: nobody states one
LONGEST_S, SHORTEST_S = 900.0, 60.0  # that a call may take: OpenAI advises 15 minutes


class FlexTier:
    """The flex tier of the model of a job, as far as it is known: none where `split` is None, or has no such tier."""

    NAME = "flex"

    def __init__(self, split: Split | None) -> None:
        self._split = split
        self._share = (
            Decimal(1) if split is None or not _takes_tiers(split) else _share_of(split.model)
        )
        self.rate = 0.0  # rows a second that were seen
        self._planned_rate = 0.0
        self._timeout_s = LONGEST_S
        self._is_on = False
        self._rows = self._billed = self._billed_before = (
            0  # sent there, answered there, and that before this pass
        )

    def tiers(self, state: State) -> tuple[Tier, ...]:
        """Return what the planner may use: nothing where a call that hangs there could make the job late."""
        rate = max(SAFE * state.rate, 1e-9)
        self._timeout_s = min(
            LONGEST_S, (state.left_s - state.spare_s - state.unfinished / rate) / 2
        )
        share, self._planned_rate = (
            float(self._share),
            min(state.rate, self.rate or GUESS * state.rate),
        )
        if self._rows:
            share += (1 - share) * (1 - self._billed / self._rows)  # the others were paid in full
        if share >= 1 or self._timeout_s < SHORTEST_S:
            return ()
        return (Tier(self.NAME, share, self._planned_rate),)

    def begun(self, tier: str) -> Runnable[Any, Any] | None:
        """Return the chain for the rows of a pass on `tier`, None for the usual one."""
        self._is_on, self._billed_before = tier == self.NAME, self._billed
        if self._split is None or not self._is_on:
            return None
        live = self._split.live
        flex = live.bind(service_tier=self.NAME, timeout=self._timeout_s, max_retries=0)
        steps = [flex if step is live else step for step in _steps(self._split)]
        return RunnableSequence(*steps) if len(steps) > 1 else flex

    def count(self, about: Mapping[str, Any]) -> None:
        """Take what came of a row."""
        if self._is_on and "answer" in about:
            self._rows += 1
            self._billed += about.get("way") == self.NAME

    def ended(self, seconds: float) -> bool:
        """Hear that a pass is over; tell whether it was on this tier."""
        if self._is_on and (billed := self._billed - self._billed_before):
            self.rate = rate_of(None, billed, seconds)[0]
        return self._is_on

    def notes(self, plan: Plan) -> list[str]:
        """Say what a plan assumes."""
        if all(line.way != self.NAME for line in plan.lines):
            return []
        per_minute = self._planned_rate * 60
        return [
            f"Flex is taken to get {per_minute:,.0f} rows a minute; rows it refuses go live at the full price."
        ]


def _steps(split: Split) -> list[Any]:
    return split.chain.steps if isinstance(split.chain, RunnableSequence) else [split.chain]


def _takes_tiers(split: Split) -> bool:
    """Tell whether the tier is ours to choose, and goes to the model only, once a row.

    A cache would not know the answers again that it has of another tier.
    """
    from modelwire.adapters.model import global_cache

    model, live = split.model, split.live
    if getattr(model, "provider", None) not in PROVIDERS or all(
        step is not live for step in _steps(split)
    ):
        return False
    is_plain = live is model or (type(live) is RunnableBinding and live.bound is model)
    chosen = any(
        name in split.kwargs or getattr(model, name, None)
        for name in ("service_tier", "extra_body")
    )
    cached = model.cache or (model.cache is None and global_cache.llm_cache is not None)
    return is_plain and not chosen and not cached


def _share_of(model: Any) -> Decimal:
    """Return the price on the flex tier as a share of the usual one, 1 where no such price is listed."""
    usual, flex = (price_of_counts(model, 1000, 1000, tier) for tier in (None, FlexTier.NAME))
    return flex / usual if usual and flex else Decimal(1)
