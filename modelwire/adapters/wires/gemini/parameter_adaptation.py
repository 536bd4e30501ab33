"""Fit parameters to Gemini's models: how much to think, in the words that the model has for it."""

from __future__ import annotations

from modelwire.adapters.wires.families import REASONING, Family
from modelwire.adapters.wires.gemini.families import BUDGETS_OF
from modelwire.adapters.wires.parameter_adaptation import (
    ParameterAdaptation,
    Reasoning,
    budget_of_effort,
    format_as_openai,
)

_OWN = ("thinking_budget", "thinking_level", "thinking_config", "thinkingConfig")
_TIERS = {"auto": None, "default": "standard", "standard_only": "standard"}


def fit(adaptation: ParameterAdaptation, family: Family, service: object = None) -> None:
    """Put the tier and reasoning into Gemini's words; a setting of thinking in its own words wins."""
    params = adaptation.params
    format_as_openai(params)
    if (tier := params.get("service_tier")) in _TIERS:
        del params["service_tier"]
        if _TIERS[tier]:
            params["service_tier"] = _TIERS[tier]
    if (taken := adaptation.take_reasoning(*REASONING)) is None:
        return
    name, reasoning = taken
    own = next((word for word in _OWN if params.get(word) is not None), None)
    if own is not None and (
        name not in adaptation.call_parameters or own in adaptation.call_parameters
    ):
        adaptation.note(name, f"is left out: `{own}` says it too")
        return
    for word in _OWN:
        params.pop(word, None)
    _think(adaptation, family, name, reasoning)


def _think(
    adaptation: ParameterAdaptation, family: Family, name: str, reasoning: Reasoning
) -> None:
    params = adaptation.params
    model = adaptation.model
    link = f"see {family.link}"
    level = reasoning.level()
    if not family.thinking:
        if level != "none":
            adaptation.note(name, f"is left out: `{model}` does not think, {link}")
        return
    if level != "none":  # a caller who asks for thoughts wants to see them
        params.setdefault("include_thoughts", True)
    elif family.off is None:
        level = family.efforts[0]
        reasoning = Reasoning(level)
        adaptation.note(
            name, f"is not none: `{model}` always thinks, and does so as little as it can, {link}"
        )
    if family.thinking[0] == "level":
        if reasoning.budget is not None and reasoning.effort is None:
            adaptation.note(name, f'is the level "{level}": `{model}` takes no budget, {link}')
        if level is not None:
            params["thinking_level"] = str(adaptation.closest_level(name, level, family)).upper()
    elif (budget := _budget(model, level, reasoning)) is not None:
        params["thinking_budget"] = budget


def _budget(model: str, level: str | None, reasoning: Reasoning) -> int | None:
    """Return how many tokens to think: within what the model takes, 0 for not at all; None for as it sees fit."""
    if level == "none":
        return 0
    if reasoning.effort is None:
        wanted = reasoning.budget
    else:
        wanted = budget_of_effort(reasoning.effort)
    if wanted is None or wanted < 0:  # -1: dynamic
        return wanted
    least, most = next(
        (limits for name, limits in BUDGETS_OF.items() if name in model), (1, wanted)
    )
    return min(max(wanted, least), most)
