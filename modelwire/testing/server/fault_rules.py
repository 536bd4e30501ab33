"""Chooses the fault that a request gets, by the rules of a test. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelwire.errors import InvalidArgument, InvalidType
from modelwire.testing.server.faults import NAMED, Fault, Rule
from modelwire.testing.server.limits import check_number

if TYPE_CHECKING:
    import random

    from modelwire.testing.server.requests import SeenRequest


@dataclass(slots=True)
class _ActiveRule:
    """A rule, and how often its fault has happened."""

    rule: Rule
    fault: Fault
    above: float  # The sum of the probabilities of the rules before it.
    below: float  # The same sum with its own probability.
    happened: int = 0

    def holds(self, request: SeenRequest, number: int, now_s: float, drawn: float) -> bool:
        """Return whether all conditions of the rule hold. `drawn` is uniform in [0, 1)."""
        rule = self.rule
        if rule.every is not None and number % rule.every:
            return False
        is_drawn = self.above <= drawn < self.below
        if rule.rate is not None and not is_drawn:
            return False
        if rule.between_s is not None:
            begins_s, ends_s = rule.between_s
            if not begins_s <= now_s < ends_s:
                return False
        if rule.when is not None and not rule.when(request):
            return False
        return rule.times is None or self.happened < rule.times


class FaultRules:
    """The rules of a server. `wanted` is a list of rules, or maps names of faults to probabilities.

    The probabilities are intervals on one line, and each request draws one number: at most one
    fault happens.

    Raises: `InvalidType` for anything but rules, `InvalidArgument` for probabilities above 1.
    """

    def __init__(self, wanted: Sequence[Rule] | Mapping[str, float]) -> None:
        if isinstance(wanted, Mapping):
            self.rules = [Rule(name, rate=rate) for name, rate in wanted.items()]
        else:
            self.rules = list(wanted)
        if not all(isinstance(rule, Rule) for rule in self.rules):
            raise InvalidType(
                f"`faults` must be `Rule`s, or rates such as `{{'close': 0.1}}`, not {wanted!r:.100}."
            )
        self._active: list[_ActiveRule] = []
        below = 0.0
        for rule in self.rules:
            if rule.rate is not None:
                check_number("rate", rule.rate, least=0)
            above = below
            below = below + (rule.rate or 0.0)
            if isinstance(rule.fault, Fault):
                fault = rule.fault
            else:
                fault = NAMED[rule.fault]
            self._active.append(_ActiveRule(rule, fault, above, below))
        if below > 1:
            raise InvalidArgument(f"The rates of the faults add up to {below:g}, above 1.")

    def choose(
        self, request: SeenRequest, number: int, now_s: float, rng: random.Random
    ) -> Fault | None:
        """Return the fault of the first rule whose conditions hold, or None. `number` counts chat requests from 1."""
        if not self._active:
            return None
        drawn = rng.random()
        for one in self._active:
            if one.holds(request, number, now_s, drawn):
                one.happened += 1
                return one.fault
        return None
