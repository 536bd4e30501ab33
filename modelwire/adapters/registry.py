"""Which providers there are, as data: a name, the class that speaks its wire, and how its models are called.

`make_model` turns a provider, a model and parameters into a chat model. A provider that is only a row elsewhere
(a compatible service) needs no code here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from modelwire.errors import InvalidArgument, UnknownModel, did_you_mean

if TYPE_CHECKING:
    from modelwire.adapters.chat_model import BaseChatModel

__all__ = ["PROVIDERS", "Provider", "make_model", "provider_of"]

# How a wire is called, and the class that speaks it: `module:class`.
WIRES = {
    "openai": "modelwire.adapters.openai.chat_model:ChatOpenAI",
    "anthropic": "modelwire.adapters.anthropic.chat_model:ChatAnthropic",
}


@dataclass(frozen=True, slots=True)
class Provider:
    """One row: the wire a provider speaks, the beginnings of its models' names, and what has to be done first."""

    wire: str
    models: tuple[str, ...] = ()  # `gpt-4o` alone is enough to know whose model it is
    wires: tuple[str, ...] = ()  # others it speaks as well, chosen by `wire=`
    prepare: Callable[[str, str, dict[str, Any]], dict[str, Any]] | None = None  # (model, wire, given) -> arguments


def _on_this_machine(model: str, wire: str, given: dict[str, Any]) -> dict[str, Any]:
    """Start the local server for `model` (a name of ours, or the path of a GGUF file) and point the adapter at it."""
    from modelwire.local import ensure_server

    options = {name: given.pop(name) for name in ("n_ctx", "n_parallel") if name in given}
    server = ensure_server(model, **options)
    base_url = f"{server.base_url}/v1" if wire == "openai" else server.base_url
    return {"provider": "local", "base_url": base_url, "api_key": "local", **given}


PROVIDERS: dict[str, Provider] = {
    "openai": Provider("openai", models=("gpt-", "chatgpt-", "o1", "o3", "o4", "ft:gpt-")),
    "anthropic": Provider("anthropic", models=("claude-",)),
    "local": Provider("openai", models=("smollm2",), wires=("anthropic",), prepare=_on_this_machine),
}


def provider_of(model: str) -> str | None:
    """Return the provider whose models are called like `model`, or None."""
    return next((name for name, row in PROVIDERS.items() if row.models and model.startswith(row.models)), None)


def make_model(provider: str, model: str, wire: str | None = None, **given: Any) -> BaseChatModel:
    """Make the chat model. Raises `UnknownModel` for a provider, `InvalidArgument` for a wire, that is not known."""
    row = PROVIDERS.get(provider)
    if row is None:
        raise UnknownModel(f"No provider is called `{provider}`. {did_you_mean(provider, list(PROVIDERS))}")
    wire = wire or row.wire
    if wire not in (row.wire, *row.wires):
        raise InvalidArgument(
            f"`{provider}` does not speak the wire `{wire}`. {did_you_mean(wire, [row.wire, *row.wires])}"
        )
    if row.prepare is not None:
        given = row.prepare(model, wire, given)
    module, _, name = WIRES[wire].partition(":")
    made: BaseChatModel = getattr(import_module(module), name)(model=model, **given)
    return made
