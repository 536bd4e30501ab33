"""Adapts parameters to Anthropic's models: how much to think, and which parameters exclude each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelwire.adapters.wires.anthropic.families import CLAUDE_THINKING
from modelwire.adapters.wires.families import Family
from modelwire.adapters.wires.parameter_adaptation import (
    ParameterAdaptation,
    Reasoning,
    budget_of_effort,
    read_reasoning,
)
from modelwire.aliases import JSON
from modelwire.messages.block_translators.standard import type_of, without

# OpenAI's service tiers that Anthropic does not have (openai 3.52).
_OPENAI_TIERS = ("flex", "scale", "priority", "fast")
# The smallest thinking budget in tokens:
# https://docs.anthropic.com/en/docs/build-with-claude/extended-thinking, read 2026-11
_LEAST_BUDGET = 1024
# The parameters that limit the tokens of an answer.
_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens", "max_tokens_to_sample")


def fit(adaptation: ParameterAdaptation, family: Family, service: object = None) -> None:
    """Convert the user, the tier and reasoning, in place, to Anthropic's parameters, and resolve their conflicts."""
    params = adaptation.params
    if "user" in params and isinstance(metadata := params.get("metadata") or {}, Mapping):
        params["metadata"] = {"user_id": params.pop("user"), **metadata}
    if params.get("service_tier") == "default":
        params["service_tier"] = "standard_only"
    if params.get("service_tier") in _OPENAI_TIERS:
        adaptation.leave_out("service_tier", f"{adaptation.title} has no such tier")
    _thinking(adaptation, family)
    kind = type_of(params.get("thinking"))
    link = f"see {family.link}"
    if kind in family.thinking and not family.fixed:
        _leave_out_samplers(adaptation)
    if family.one_sampler and "temperature" in params and "top_p" in params:
        adaptation.leave_out("top_p", f"it takes `temperature` or `top_p`, but not both, {link}")
    if (not family.forced_tools or kind == "enabled") and _forces(params.get("tool_choice")):
        choice = params["tool_choice"]
        others = without(choice, "type", "name", "function") if isinstance(choice, Mapping) else {}
        params["tool_choice"] = {"type": "auto", **others}
        when = " while it thinks" if family.thinking else ""
        why = f"`{adaptation.model}` cannot be forced to call a tool{when}, {link}"
        adaptation.note("tool_choice", f'is "auto": {why}')


def _leave_out_samplers(adaptation: ParameterAdaptation) -> None:
    """Leave out the values of `temperature`, `top_k` and `top_p` that are not allowed while a model thinks."""
    params = adaptation.params
    top_p = params.get("top_p")
    is_free = {
        "temperature": params.get("temperature") == 1,
        "top_k": False,
        "top_p": isinstance(top_p, int | float) and top_p >= 0.95,
    }
    for name in is_free:
        if params.get(name) is not None and not is_free[name]:
            adaptation.leave_out(
                name, f"it does not take it while it thinks, see {CLAUDE_THINKING}"
            )


def _thinking(adaptation: ParameterAdaptation, family: Family) -> None:
    """Convert the settings of reasoning, in place, to `thinking` and `effort`, unless the call has these already."""
    params = adaptation.params
    kind = type_of(params.get("thinking"))
    fits = kind in (*family.thinking, family.off) or (kind == "disabled" and family.off == "")
    names = ["reasoning", "reasoning_effort", *([] if fits else ["thinking"])]
    own_names = ("effort", "output_config")
    own_effort = None
    # The model has no parameter for the effort, which then sets how much it thinks.
    if not family.efforts:
        names += own_names
    else:
        own_effort = next((it for it in own_names if read_reasoning(it, params.get(it))), None)
    if own_effort is not None:
        is_none = _clamp_effort(adaptation, own_effort, family) == "none"
        if is_none:  # Anthropic has no effort "none": it means that the model does not think.
            names.append(own_effort)
            own_effort = None
    taken = adaptation.take_reasoning(*names)
    if taken is None:
        return
    name, reasoning = taken
    is_of_call = name in adaptation.call_parameters
    wins = is_of_call and "thinking" not in adaptation.call_parameters
    if kind and fits and not wins:
        adaptation.note(name, "is left out: `thinking` is set too")
    else:
        params.pop("thinking", None)
        _think(adaptation, family, name, reasoning, own_effort=own_effort is not None)


def _clamp_effort(adaptation: ParameterAdaptation, name: str, family: Family) -> str | None:
    """Set the parameter `name` to the nearest effort that the model accepts, and return it; "none" stays."""
    config = adaptation.params[name]
    is_within = isinstance(config, Mapping)
    level = config["effort"] if is_within else config
    if level == "none":
        return "none"
    effort = adaptation.closest_level("effort", level, family)
    adaptation.params[name] = {**config, "effort": effort} if is_within else effort
    return effort


def _think(
    adaptation: ParameterAdaptation,
    family: Family,
    name: str,
    reasoning: Reasoning,
    *,
    own_effort: bool,
) -> None:
    level = reasoning.level()
    link = f"see {family.link}"
    if level == "none":
        _do_not_think(adaptation, family, name, own_effort=own_effort)
    elif not family.thinking:
        adaptation.note(name, f"is left out: `{adaptation.model}` does not think, {link}")
    elif family.thinking[0] == "adaptive":
        if (
            reasoning.budget is not None
            and "enabled" in family.thinking
            and reasoning.effort is None
        ):
            adaptation.params["thinking"] = {"type": "enabled", "budget_tokens": reasoning.budget}
            return
        if reasoning.budget is not None:
            adaptation.note(
                name,
                f"is sent without a budget: `{adaptation.model}` thinks as much as it needs, {link}",
            )
        adaptation.params["thinking"] = {"type": "adaptive"} | (
            {"display": "summarized"} if reasoning.summary else {}
        )
        if level is not None and not own_effort:
            adaptation.params["effort"] = adaptation.closest_level(name, level, family)
    elif (budget := _budget(adaptation.params, reasoning)) is not None:
        adaptation.params["thinking"] = {"type": "enabled", "budget_tokens": budget}
    else:
        adaptation.note(
            name,
            f"is left out: `{adaptation.model}` needs a `max_tokens` above {_LEAST_BUDGET} to think, {link}",
        )


def _do_not_think(
    adaptation: ParameterAdaptation, family: Family, name: str, *, own_effort: bool
) -> None:
    if family.off is None:
        with_effort = "" if own_effort else ', and does so with effort "low"'
        adaptation.note(
            name,
            f'is not "none": `{adaptation.model}` always thinks{with_effort}, see {family.link}',
        )
        if not own_effort:
            adaptation.params["effort"] = "low"
    elif family.off:
        adaptation.params["thinking"] = {"type": family.off}
        if family.off == "between_tools":
            adaptation.note(
                name,
                f'is "none" except between tool calls, where `{adaptation.model}` always thinks, see {family.link}',
            )


def _budget(params: JSON, reasoning: Reasoning) -> int | None:
    """Return the thinking budget in tokens: the one that is set, else at most half of the answer's limit.

    Returns None if the limit leaves less than the smallest budget.
    """
    if reasoning.budget is not None:
        return reasoning.budget
    limit = next((value for name in _LIMITS if isinstance(value := params.get(name), int)), None)
    budget = budget_of_effort("high" if reasoning.effort is None else reasoning.effort)
    if limit is None:
        return budget
    if limit > _LEAST_BUDGET:
        return min(budget, max(_LEAST_BUDGET, limit // 2))
    return None


def _forces(choice: Any) -> bool:
    """Return whether a `tool_choice` of any wire forces the model to call a tool."""
    kind = choice.get("type") if isinstance(choice, Mapping) else choice
    return kind is True or (isinstance(kind, str) and kind not in ("auto", "none"))
