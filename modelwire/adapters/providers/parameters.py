"""One vocabulary of parameters, fitted to what a model takes. No I/O here; loaded by a call that may need it.

What is set for a model nobody here knows, and a parameter nobody here knows, are not touched.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelwire.adapters.providers.model_families import (
    families_of,
    family_of,
    service_row,
    touched_parameters,
)
from modelwire.adapters.wires.fitting import Fitting, Note
from modelwire.adapters.wires.wire import HOME_WIRE, wire_named

__all__ = ["Note", "fit_parameters"]


def fit_parameters(
    params: Mapping[str, Any],
    *,
    provider: str,
    model: str,
    wire: str,
    late: frozenset[str] = frozenset(),
) -> tuple[Mapping[str, Any], list[Note]]:
    """Return the parameters as `model` takes them, and a note for each that had to be changed or left out.

    Parameters whose names are in `late` were set by a call, and win over what the model was made with.
    """
    families = families_of(wire)
    if families is None or touched_parameters(provider, wire, model).isdisjoint(params):
        return params, []
    fitting = Fitting(dict(params), model, wire_named(wire).title, late)
    family, service = family_of(provider, wire, model), service_row(provider, wire)
    if family is not None or wire == HOME_WIRE:  # whose words the rows of services have
        families.fit(fitting, family, service)
    if family is not None:
        fitting.limit(families.lacks, family)
    if service is not None:
        instead = dict(service.instead)
        for name in service.lacks_over(wire):
            if name in fitting.params:
                do = f"; {instead[name]}" if name in instead else ""
                fitting.leave_out(
                    name, f"`{service.name}` does not take it, see {service.docs}{do}"
                )
    return fitting.params, fitting.notes
