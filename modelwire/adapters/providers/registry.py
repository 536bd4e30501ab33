"""Finds the row of a provider by any of its names, whether it is ours, a compatible service or a plugin.

`make_model` creates a chat model from a provider, a model and arguments. A provider that is only a row (a compatible
service) needs no code here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from modelwire.adapters.providers import plugins
from modelwire.adapters.providers.rows import PROVIDERS, Names, Provider
from modelwire.adapters.providers.services import (
    SERVICES,
    Service,
    service_by_model,
    service_names,
    service_of,
)
from modelwire.adapters.wires.wire import HOME_WIRE, wire_named
from modelwire.aliases import Kwargs
from modelwire.errors import InvalidArgument, UnknownModel, did_you_mean

if TYPE_CHECKING:
    from modelwire.adapters.model.base import BaseChatModel

__all__ = [
    "PROVIDERS",
    "SERVICES",
    "Provider",
    "brought_names",
    "check_argument_names",
    "is_own_address",
    "key_variables",
    "known_row",
    "langchain_packages",
    "make_model",
    "model_classes",
    "names_of",
    "provider_names",
    "provider_of",
    "provider_row",
    "row_of",
    "service_names",
    "service_of",
]


def row_of(name: str) -> Provider | None:
    """Return the row of a provider, a compatible service or a plugin by any of its names; None if it is unknown.

    Raises: `InvalidArgument` for a plugin that cannot be loaded.
    """
    spelled = name.lower().replace("-", "_")
    if (row := PROVIDERS.get(_other_names().get(spelled, spelled))) is not None:
        return row
    if (service := service_of(name)) is not None:
        return _row_of_service(service)
    brought = plugins.plugin_of(spelled)
    if isinstance(brought, type):
        return Provider(getattr(brought, "WIRE", HOME_WIRE), plugin=brought)
    if isinstance(brought, Provider):
        return brought
    return None


def _other_names() -> dict[str, str]:
    return {alias: name for name, row in PROVIDERS.items() for alias in row.aliases}


def known_row(name: str) -> Provider | None:
    """Return the row of a provider by any of its names; None if it is unknown, or a plugin that cannot be loaded."""
    try:
        return row_of(name)
    except InvalidArgument:
        return None


@lru_cache(maxsize=256)
def names_of(provider: str) -> Names:
    """Return the names that a provider has in traces and lists of prices and models, by any of its names."""
    row = known_row(provider)
    found = [row] if row else [row for row in _rows() if provider in row.names.also]
    return found[0].names if found else Names()


def model_classes() -> dict[str, str]:
    """Return the module of each chat model class that a row names, by the name of the class."""
    named = ((row.model_class_at or "").partition(":") for row in _rows())
    return {name: module for module, _, name in named if name}


def langchain_packages() -> set[str]:
    """Return the names of LangChain's packages whose chat model classes have an equivalent in modelwire."""
    return {row.names.langchain for row in _rows()} - {""}


def _rows() -> list[Provider]:
    return [*PROVIDERS.values(), *map(_row_of_service, SERVICES.values())]


def provider_row(name: str) -> Provider:
    """Return the row of a provider by any of its names.

    Raises: `UnknownModel` if it is unknown, `InvalidArgument` for a plugin that cannot be loaded.
    """
    if (row := row_of(name)) is None:
        raise UnknownModel(
            f"No provider is called `{name}`. {did_you_mean(name, provider_names())}"
        )
    return row


def _row_of_service(service: Service) -> Provider:
    wire, *others = service.speaks()
    return Provider(
        wire,
        wires=tuple(others),
        prepare=lambda _model, _wire, kwargs: _arguments_for(service, kwargs),
        model_class_at=service.model_class_at,
        names=service.names,
    )


def _arguments_for(service: Service, kwargs: Kwargs) -> Kwargs:
    """Return the arguments for a model of the service.

    A `provider` that is a dict is a parameter of a gateway that has one (OpenRouter), and goes to `model_kwargs`.
    """
    routing = kwargs.get("provider")
    if "provider" in service.own.split() and isinstance(routing, Mapping):
        more = {**(kwargs.get("model_kwargs") or {}), "provider": routing}
        kwargs = {**kwargs, "provider": service.name, "model_kwargs": more}
    return {"provider": service.name, **kwargs}


def key_variables(provider: str, made: Any) -> set[str]:
    """Return the environment variables that may have a credential of `provider`; `made` is the class of its models."""
    if not hasattr(made, "_environment_fields"):  # A plugin's class may lack this method.
        return set()
    values = _named(provider)
    variables = made._environment_fields(values)
    found = {name for field in made.SECRETS for name in variables.get(field, ())}
    if values:
        return found
    return found | set(made.KEY_VARIABLES)


def is_own_address(provider: str, made: Any, url: object) -> bool:
    """Return whether `url` is at the provider's own host, or at the host that the environment sets for it."""
    if not isinstance(url, str) or not hasattr(made, "_is_own_address"):
        return False
    return bool(made._is_own_address({**_named(provider), "base_url": url}))


def _named(provider: str) -> dict[str, str]:
    """Return the argument by which a class of models knows its service: `{"provider": name}`, or {} without one."""
    is_field = provider == "local" or service_of(provider) is not None
    return {"provider": provider} if is_field else {}


def provider_names() -> list[str]:
    """Return every name that `row_of` finds."""
    return [*_own_names(), *brought_names()]


def brought_names() -> list[str]:
    """Return the names of the providers that only plugins have, without importing any."""
    ours = _own_names()
    return [name for name in plugins.plugin_names() if name not in ours]


def _own_names() -> list[str]:
    return [*PROVIDERS, *_other_names(), *service_names()]


def provider_of(model: str) -> str | None:
    """Return the name of the provider whose models have names such as `model`, or None."""
    for name, row in PROVIDERS.items():
        if model.startswith(row.models):
            return name
    if (service := service_by_model(model)) is None:
        return None
    return service.name


def check_argument_names(names: Sequence[str], model: str | None, provider: str | None) -> None:
    """Raise `InvalidArgument` for a name that looks like a misspelled argument of the model's class.

    A name that resembles none of them may be the provider's own parameter. An unknown model is treated as OpenAI's.
    """
    prefix, colon, _ = (model or "").partition(":")
    row = (
        row_of(provider or (prefix if colon else provider_of(prefix)) or "openai")
        or PROVIDERS["openai"]
    )
    service = service_of(provider or (prefix if colon else ""))
    own = "" if service is None else service.own
    _refuse_misspelled([name for name in names if name not in own.split()], row.model_class())


def _refuse_misspelled(names: Iterable[str], made: Any) -> None:
    from difflib import get_close_matches

    fields = made.model_fields
    known = ["model", "model_provider", "config_file", "wire", "provider", *fields]
    known += [field.alias for field in fields.values() if field.alias]
    known += [*getattr(made, "ALIASES", ()), *getattr(made, "SENDABLE", ())]
    for name in names:
        if name not in known and get_close_matches(name, known, n=1, cutoff=0.85):
            raise InvalidArgument(
                f"`{made.__name__}` has no argument `{name}`. {did_you_mean(name, known)}"
            )


def make_model(
    provider: str, model: str, /, wire: str | None = None, **kwargs: Any
) -> BaseChatModel:
    """Return a new chat model; `kwargs` are the arguments of its class.

    Raises: `UnknownModel` for an unknown provider, `InvalidArgument` for a wire that the provider does not have.
    """
    row = provider_row(provider)
    wire = wire or row.wire
    spoken = [row.wire, *row.wires]
    if wire not in spoken:
        raise InvalidArgument(
            f"`{provider}` does not speak the wire `{wire}`. {did_you_mean(wire, spoken)}"
        )
    if row.prepare is not None:
        kwargs = row.prepare(model, wire, kwargs)
    if row.plugin is not None:
        _refuse_misspelled(kwargs, row.plugin)
        return row.plugin(model=model, **kwargs)
    options = wire_named(wire).model_options
    made: BaseChatModel = row.model_class(wire)(model=model, **{**options, **kwargs})
    return made
