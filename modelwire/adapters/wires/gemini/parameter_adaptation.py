"""Adapts parameters to Gemini's models: how much to think, as a budget or as a level, and the service tier."""

from __future__ import annotations

from modelwire.adapters.wires.families import REASONING, Family
from modelwire.adapters.wires.gemini.families import BUDGETS_OF
from modelwire.adapters.wires.parameter_adaptation import (
    ParameterAdaptation,
    Reasoning,
    budget_of_effort,
    format_as_openai,
)

# Gemini's own parameters of thinking.
_OWN = ("thinking_budget", "thinking_level", "thinking_config", "thinkingConfig")
# Gemini's names of other providers' service tiers. None: the parameter is not sent.
_TIERS = {"auto": None, "default": "standard", "standard_only": "standard"}


def fit(adaptation: ParameterAdaptation, family: Family, service: object = None) -> None:
    """Convert the tier and the settings of reasoning, in place, to Gemini's parameters, which win if they are set."""
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
        adaptation.note(name, f"is left out: `{own}` is set too")
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
    if level != "none":  # A caller who sets reasoning also gets the thoughts.
        params.setdefault("include_thoughts", True)
    elif family.off is None:
        level = family.efforts[0]
        reasoning = Reasoning(level)
        adaptation.note(
            name, f'is not "none": `{model}` always thinks, and now as little as it can, {link}'
        )
    if family.thinking[0] == "level":
        if reasoning.budget is not None and reasoning.effort is None:
            adaptation.note(name, f'is the level "{level}": `{model}` takes no budget, {link}')
        if level is not None:
            params["thinking_level"] = str(adaptation.closest_level(name, level, family)).upper()
    elif (budget := _budget(model, level, reasoning)) is not None:
        params["thinking_budget"] = budget


def _budget(model: str, level: str | None, reasoning: Reasoning) -> int | None:
    """Return the thinking budget in tokens, within the model's limits; 0 turns thinking off.

    None, or -1, lets the model decide.
    """
    if level == "none":
        return 0
    if reasoning.effort is None:
        wanted = reasoning.budget
    else:
        wanted = budget_of_effort(reasoning.effort)
    if wanted is None or wanted < 0:
        return wanted
    least, most = next(
        (limits for name, limits in BUDGETS_OF.items() if name in model), (1, wanted)
    )
    return min(max(wanted, least), most)
