"""Adapts parameters to models over OpenAI's two wires: reasoning, the answer's schema, the service tier."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelwire.adapters.wires.families import REASONING, Family
from modelwire.adapters.wires.parameter_adaptation import (
    ParameterAdaptation,
    Reasoning,
    format_as_openai,
)
from modelwire.aliases import JSON

if TYPE_CHECKING:
    from modelwire.adapters.providers.services import Service


def fit(adaptation: ParameterAdaptation, family: Family | None, service: Service | None) -> None:
    """Convert the parameters of reasoning, in place, to those of Chat Completions or of the service."""
    params = adaptation.params
    found = _taken(adaptation, family, own_word="" if service is None else service.reasoning_word)
    if found is None:
        return
    name, reasoning, level = found
    if service is not None and service.reasoning_object:
        params["reasoning"] = _reasoning_object(reasoning, level, with_budget=True)
        return
    if lost := [*reasoning.rest, *(["summary"] if reasoning.summary is not None else [])]:
        adaptation.note(
            name,
            f"is sent without {', '.join(f'`{part}`' for part in lost)}: Chat Completions has no such setting",
        )
    if service is not None and service.thinking_flag:
        params.setdefault(service.thinking_flag, level != "none")
        if reasoning.budget is not None:
            params.setdefault("thinking_budget", reasoning.budget)
        elif level not in ("none", None):
            adaptation.note(name, _only_on(service))
    elif service is not None and service.thinking_switch and level == "none":
        params.setdefault("thinking", {"type": "disabled"})
    elif service is not None and not service.effort_levels:
        params.setdefault("thinking", {"type": "enabled"})
        if level is not None:
            adaptation.note(name, _only_on(service))
    elif level is not None:
        params["reasoning_effort"] = level


def _only_on(service: Service) -> str:
    return f"only turns thinking on: `{service.name}` has no levels of it"


def fit_responses(
    adaptation: ParameterAdaptation, family: Family | None, service: Service | None
) -> None:
    """Convert the parameters of reasoning, in place, to those of the Responses API."""
    if (found := _taken(adaptation, family)) is not None:
        adaptation.params["reasoning"] = _reasoning_object(found[1], found[2])


def _taken(
    adaptation: ParameterAdaptation, family: Family | None, *, own_word: str = ""
) -> tuple[str, Reasoning, str | None] | None:
    """Remove the parameters of reasoning; return the name, the value and the nearest effort that the model accepts.

    `own_word` is a parameter that the service itself has, which stays. Returns None if nothing is left to send.
    """
    format_as_openai(adaptation.params)
    if adaptation.params.get("service_tier") == "standard_only" and family is not None:
        adaptation.params["service_tier"] = "default"
    taken = adaptation.take_reasoning(*(name for name in REASONING if name != own_word))
    if taken is None:
        return None
    name, reasoning = taken
    if family is None:
        return name, reasoning, reasoning.level()
    if not family.efforts:
        if reasoning.level() != "none":
            adaptation.note(
                name, f"is left out: `{adaptation.model}` does not reason, see {family.link}"
            )
        return None
    return name, reasoning, adaptation.closest_level(name, reasoning.level(), family)


def _reasoning_object(
    reasoning: Reasoning, level: str | None, *, with_budget: bool = False
) -> JSON:
    built = dict(reasoning.rest)
    if with_budget and reasoning.budget is not None and reasoning.effort is None:
        # https://openrouter.ai/docs/use-cases/reasoning-tokens, read 2026-11
        built["max_tokens"] = reasoning.budget
    elif level is not None:
        built["effort"] = level
    if reasoning.summary is not None:
        built["summary"] = reasoning.summary
    return built
