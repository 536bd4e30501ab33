"""Adapts the common parameters to those that a model accepts. No I/O here. Only a call that may need it loads this.

A parameter that no table lists is sent unchanged. A model without a family is sent all parameters that its wire has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelwire.adapters.providers.model_families import (
    families_of,
    family_of,
    service_row,
    touched_parameters,
)
from modelwire.adapters.wires.foreign_settings import take_system_prompt, translate
from modelwire.adapters.wires.parameter_adaptation import Note, ParameterAdaptation
from modelwire.adapters.wires.wire import HOME_WIRE, wire_named
from modelwire.adapters.wires.wire_parameters import foreign_words
from modelwire.aliases import Fields, Values
from modelwire.messages import SystemMessage

if TYPE_CHECKING:
    from modelwire.adapters.wires.wire import ChatCall

__all__ = ["Note", "fit_call", "fit_parameters"]

# Anthropic's parameters that Chat Completions has under other names, for all models.
TRANSLATED = frozenset(("effort", "output_config", "output_format", "thinking"))


def fit_parameters(
    params: Values,
    *,
    provider: str,
    model: str,
    wire: str,
    call_parameters: frozenset[str] = frozenset(),
) -> tuple[Fields, list[Note]]:
    """Return the parameters as `model` accepts them, and a note for each one that was changed or left out.

    The parameters named in `call_parameters` were set by the call, and replace settings that the model was made with.
    """
    families = families_of(wire)
    if families is None or touched_parameters(provider, wire, model).isdisjoint(params):
        return params, []
    adaptation = ParameterAdaptation(dict(params), model, wire_named(wire).title, call_parameters)
    family = family_of(provider, wire, model)
    service = service_row(provider, wire)
    foreign = foreign_words(wire, service)
    if not foreign.isdisjoint(params):
        translate(adaptation, foreign)
    is_read = service is not None or not TRANSLATED.isdisjoint(params)
    # The rows of services describe parameters of Chat Completions only.
    if family is not None or (is_read and wire == HOME_WIRE):
        families.fit(adaptation, family, service)
    if family is not None:
        adaptation.limit(families.lacks, family)
    if service is not None:
        instead = dict(service.instead)
        for name in service.lacks_over(wire):
            if name in adaptation.params:
                do = f"; {instead[name]}" if name in instead else ""
                adaptation.leave_out(
                    name, f"`{service.name}` does not take it, see {service.docs}{do}"
                )
    why = f"{adaptation.title} has no such parameter"
    adaptation.leave_out_all(sorted(foreign), why)
    return adaptation.params, adaptation.notes


def fit_call(
    call: ChatCall, *, provider: str, model: str, wire: str, call_parameters: frozenset[str]
) -> list[Note]:
    """Adapt the parameters of the call to `model`, in place, and return the notes of `fit_parameters`.

    A system prompt in a parameter of another wire becomes `instructions` on the Responses API, and a message elsewhere.
    """
    foreign = foreign_words(wire, service_row(provider, wire))
    params = dict(call.params)
    text = take_system_prompt(params, foreign)
    if text is not None and ("instructions" in foreign or "instructions" in params):
        call.messages = [SystemMessage(text), *call.messages]
    elif text is not None:
        params["instructions"] = text
    call.params, notes = fit_parameters(
        params, provider=provider, model=model, wire=wire, call_parameters=call_parameters
    )
    return notes
