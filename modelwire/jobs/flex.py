"""OpenAI's flex tier for the direct calls of a job with a deadline.

Its price is that of a batch. It is slower than the default tier, and at times unavailable.

https://platform.openai.com/docs/guides/flex-processing, read 2026-11. The priority tier is not
used: its rate limit is that of the default tier, so it is no faster for many rows, and OpenAI does
not want it used for the processing of data.
https://developers.openai.com/api/docs/guides/priority-processing, read 2026-11.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from modelwire.aliases import Fields
from modelwire.globals import get_llm_cache
from modelwire.jobs.plan import SAFE, Plan, State, Tier, rate_of
from modelwire.jobs.work import price_of_counts
from modelwire.runnables import Runnable, RunnableBinding, RunnableSequence

if TYPE_CHECKING:
    from modelwire.jobs.batch_api.chain import Split

# The answers of these providers name the tier by which they are billed.
PROVIDERS = ("openai",)
# Before it is measured, the rate of the tier is assumed to be this share of the default tier's. No
# provider states it.
_GUESS = 0.1
# A call on the tier may take at most `LONGEST_S` (OpenAI advises 15 minutes), and the tier is not
# used if there is time for less than `SHORTEST_S`.
LONGEST_S, SHORTEST_S = 900.0, 60.0


class FlexTier:
    """Decides when rows are called on the flex tier of a job's model, and measures its rate.

    Flex is never used if `split` is None or the model has no such tier.
    """

    NAME = "flex"

    def __init__(self, split: Split | None) -> None:
        self._split = split
        # The price on the tier, as a share of the usual price.
        self._share = Decimal(1)
        if split is not None and _takes_tiers(split):
            self._share = _share_of(split.model)
        # The measured rate in rows a second; 0 before a measurement.
        self.rate = 0.0
        self._planned_rate = 0.0
        self._timeout_s = LONGEST_S
        self._is_on = False
        # How many rows were sent to the tier, how many it has billed, and how many of those before
        # this pass.
        self._rows = self._billed = self._billed_before = 0

    def tiers(self, state: State) -> tuple[Tier, ...]:
        """Return the tiers that the plan may use: flex, or none if calls that time out there could delay the job."""
        rate = max(SAFE * state.rate, 1e-9)
        live_s = state.unfinished / rate
        spare_s = state.left_s - state.spare_s - live_s
        self._timeout_s = min(LONGEST_S, spare_s / 2)
        flex_rate = self.rate or _GUESS * state.rate
        self._planned_rate = min(state.rate, flex_rate)
        share = float(self._share)
        if self._rows:
            # The other rows were billed at the full price.
            others = 1 - self._billed / self._rows
            share += (1 - share) * others
        if share >= 1 or self._timeout_s < SHORTEST_S:
            return ()
        return (Tier(self.NAME, share, self._planned_rate),)

    def start_pass(self, tier: str) -> Runnable | None:
        """Start a pass on `tier`, and return the chain for its rows, or None for the usual one."""
        self._is_on = tier == self.NAME
        self._billed_before = self._billed
        if self._split is None or not self._is_on:
            return None
        live = self._split.live
        flex = live.bind(service_tier=self.NAME, timeout=self._timeout_s, max_retries=0)
        steps = [flex if step is live else step for step in _steps(self._split)]
        if len(steps) > 1:
            return RunnableSequence(*steps)
        return flex

    def count(self, about: Fields) -> None:
        """Count the record of a row that was called in this pass."""
        if self._is_on and "answer" in about:
            self._rows += 1
            self._billed += about.get("way") == self.NAME

    def finish_pass(self, seconds: float) -> bool:
        """Finish a pass that has taken `seconds`, and return whether it was on this tier."""
        billed = self._billed - self._billed_before
        if self._is_on and billed:
            self.rate, _ = rate_of(None, billed, seconds)
        return self._is_on

    def notes(self, plan: Plan) -> list[str]:
        """Return sentences about what a plan with this tier assumes; none for a plan without it."""
        if self.NAME not in [line.way for line in plan.lines]:
            return []
        per_minute = self._planned_rate * 60
        return [
            f"Flex is assumed to answer {per_minute:,.0f} rows a minute; rows that it refuses are called directly at "
            "the full price."
        ]


def _steps(split: Split) -> list[Any]:
    """Return the steps of a job's chain."""
    if isinstance(split.chain, RunnableSequence):
        return split.chain.steps
    return [split.chain]


def _takes_tiers(split: Split) -> bool:
    """Return whether the job may choose the tier: the user has set none, and each row calls the model exactly once.

    A cached answer of another tier would not be found again, so a model with a cache is excluded.
    """
    model = split.model
    live = split.live
    if getattr(model, "provider", None) not in PROVIDERS:
        return False
    if not any(step is live for step in _steps(split)):
        return False
    for name in ("service_tier", "extra_body"):
        if name in split.kwargs or getattr(model, name, None):
            return False
    if model.cache:
        return False
    if model.cache is None and get_llm_cache() is not None:
        return False
    if type(live) is RunnableBinding:
        return live.bound is model
    return live is model


def _share_of(model: Any) -> Decimal:
    """Return the price on the flex tier as a share of the usual one; 1 if no such price is listed."""
    usual = price_of_counts(model, 1000, 1000)
    flex = price_of_counts(model, 1000, 1000, FlexTier.NAME)
    if usual and flex:
        return flex / usual
    return Decimal(1)
