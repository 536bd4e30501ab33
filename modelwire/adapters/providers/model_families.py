"""What is known of a model over a wire: its family, and which of a call's parameters may have to be fitted to it."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from modelwire.adapters.providers.rows import PROVIDERS
from modelwire.adapters.wires.families import REASONING
from modelwire.adapters.wires.wire import HOME_WIRE, WIRES, wire_named
from modelwire.adapters.wires.wire_parameters import foreign_words

if TYPE_CHECKING:
    from modelwire.adapters.providers.services import Service
    from modelwire.adapters.wires.families import Family, ModelFamilies


def families_of(wire: str) -> ModelFamilies | None:
    """Return the rows of a wire; None for a codec of one's own."""
    known = wire_named(wire).families if wire in WIRES else None
    return None if known is None else known()


@lru_cache(maxsize=256)
def family_of(provider: str, wire: str, model: str) -> Family | None:
    """Return what is known of the model, or None."""
    families = families_of(wire)
    if families is None:
        return None
    return families.family_of(provider, model)


def service_row(provider: str, wire: str) -> Service | None:
    """Return the row of a compatible service; None for any other provider, and for a codec from outside the package."""
    if wire not in WIRES or provider in PROVIDERS:
        return None
    from modelwire.adapters.providers.services import service_of

    return service_of(provider)


def refuses(provider: str, wire: str, model: str, parameter: str) -> bool:
    """Return whether the model, or the service that has it, is known not to take a parameter."""
    family = family_of(provider, wire, model)
    service = service_row(provider, wire)
    return (family is not None and parameter in family.refuses) or (
        service is not None and parameter in service.lacks_over(wire)
    )


def touched_parameters(provider: str, wire: str, model: str) -> frozenset[str]:
    """Return the parameters `fit_parameters` looks at: in a call without them there is nothing to fit."""
    families = families_of(wire)
    service = service_row(provider, wire)
    names = set(REASONING) if service is not None and wire == HOME_WIRE else set()
    if families is not None and (family := family_of(provider, wire, model)) is not None:
        names = {
            *families.lacks,
            *families.touched,
            *REASONING,
            "service_tier",
            "user",
            "tool_choice",
        }
        names |= {*family.refuses, *family.fixed}
    lacks = () if service is None else service.lacks_over(wire)
    return foreign_words(wire, service).union(names, lacks)
