"""Finds the family of a model over a wire, and the parameters that may have to be adapted to it."""

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
    """Return the model families of a wire; None for a wire outside the package, or without families."""
    known = wire_named(wire).families if wire in WIRES else None
    return None if known is None else known()


@lru_cache(maxsize=256)
def family_of(provider: str, wire: str, model: str) -> Family | None:
    """Return the family of a model over a wire, or None if no row matches it."""
    families = families_of(wire)
    if families is None:
        return None
    return families.family_of(provider, model)


def service_row(provider: str, wire: str) -> Service | None:
    """Return the row of a compatible service; None for any other provider, and for a wire outside the package."""
    if wire not in WIRES or provider in PROVIDERS:
        return None
    from modelwire.adapters.providers.services import service_of

    return service_of(provider)


def refuses(provider: str, wire: str, model: str, parameter: str) -> bool:
    """Return whether the model or its service is known to reject a parameter."""
    family = family_of(provider, wire, model)
    service = service_row(provider, wire)
    return (family is not None and parameter in family.refuses) or (
        service is not None and parameter in service.lacks_over(wire)
    )


def touched_parameters(provider: str, wire: str, model: str) -> frozenset[str]:
    """Return the parameters that `fit_parameters` may change. A call without any of them needs no adaptation."""
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
