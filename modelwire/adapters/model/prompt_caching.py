"""Adds the marks or parameters to a request by which its wire caches the prompt (`prompt_cache`). No I/O here.

Only a call with the setting loads this module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelwire.adapters.providers.model_families import service_row
from modelwire.adapters.wires.prompt_marks import LONG, SHORT, PromptCacheWish
from modelwire.adapters.wires.wire import WIRES, loaded, wire_named
from modelwire.errors import InvalidArgument
from modelwire.runnables.config import in_batch

if TYPE_CHECKING:
    from modelwire.transport.wire import WireRequest


def lifetime_of(prompt_cache: Any) -> str | None:
    """Return the lifetime that `prompt_cache` means; None if it is off. Raises `InvalidArgument` for another value."""
    if prompt_cache is None or prompt_cache is False:
        return None
    if prompt_cache is True:
        return SHORT
    if prompt_cache in (SHORT, LONG):
        return str(prompt_cache)
    raise InvalidArgument(f'`prompt_cache` must be a bool, "5m" or "1h", not {prompt_cache!r:.50}.')


def ask_prompt_cache(
    request: WireRequest, prompt_cache: Any, *, provider: str, wire: str
) -> list[str]:
    """Add to a request what `prompt_cache` means for its provider; return notes on what the provider cannot do.

    Raises `InvalidArgument` for an unknown value, and for marks of the user that the provider would reject.
    """
    lifetime = lifetime_of(prompt_cache)
    if lifetime is None:
        return []
    model = str(request.model)
    reference = wire_named(wire).prompt_cache if wire in WIRES else None
    if reference is None:
        return [f"`prompt_cache` is left out for `{model}`: `{provider}` has no parameter for it."]
    service = service_row(provider, wire)
    wish = PromptCacheWish(lifetime, provider, wire, model, service, in_batch.get())
    notes: list[str] = loaded(reference)(request, wish)
    return notes
