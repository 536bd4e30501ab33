"""OpenAI's flex tier for the direct calls of a job with a deadline: the price of a batch, slower,
at times unavailable.

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
    """The flex tier of a job's model.

    It is never offered if `split` is None or the model has no such tier.
    """

    NAME = "flex"

    def __init__(self, split: Split | None) -> None:
        self._split = split
        if split is None or not _takes_tiers(split):
            self._share = Decimal(1)
        else:
            self._share = _share_of(split.model)
        # This is the measured rate in rows a second.
        self.rate = 0.0
        self._planned_rate = 0.0
        self._timeout_s = LONGEST_S
        self._is_on = False
        # These count the rows sent to the tier, the rows billed by it, and those billed before this
        # pass.
        self._rows = self._billed = self._billed_before = 0

    def tiers(self, state: State) -> tuple[Tier, ...]:
        """Return the tiers that the planner may use: none if a call that times out there could delay the job."""
        rate = max(SAFE * state.rate, 1e-9)
        usable_s = state.left_s - state.spare_s
        spare_s = usable_s - state.unfinished / rate
        self._timeout_s = min(LONGEST_S, spare_s / 2)
        share = float(self._share)
        self._planned_rate = min(state.rate, self.rate or _GUESS * state.rate)
        if self._rows:
            # The other rows were billed at the full price.
            share += (1 - share) * (1 - self._billed / self._rows)
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
        """Count the result of a row."""
        if self._is_on and "answer" in about:
            self._rows += 1
            self._billed += about.get("way") == self.NAME

    def finish_pass(self, seconds: float) -> bool:
        """Finish a pass, and return whether it was on this tier."""
        billed = self._billed - self._billed_before
        if self._is_on and billed:
            self.rate, _ = rate_of(None, billed, seconds)
        return self._is_on

    def notes(self, plan: Plan) -> list[str]:
        """Return the assumptions of a plan as sentences."""
        if all(line.way != self.NAME for line in plan.lines):
            return []
        per_minute = self._planned_rate * 60
        return [
            f"Flex is taken to get {per_minute:,.0f} rows a minute; rows it refuses go live at the full price."
        ]


def _steps(split: Split) -> list[Any]:
    if isinstance(split.chain, RunnableSequence):
        return split.chain.steps
    return [split.chain]


def _takes_tiers(split: Split) -> bool:
    """Return whether the job may choose the tier, and each row calls the model itself exactly once.

    A cached answer of another tier would not be found again, so a model with a cache is excluded.
    """
    model = split.model
    live = split.live
    if getattr(model, "provider", None) not in PROVIDERS:
        return False
    if all(step is not live for step in _steps(split)):
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
    usual, flex = (price_of_counts(model, 1000, 1000, tier) for tier in (None, FlexTier.NAME))
    if usual and flex:
        return flex / usual
    return Decimal(1)
