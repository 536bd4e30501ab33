"""Configurable fields: how a program declares which fields a call's config may set, and how it lists them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from modelwire.errors import InvalidArgument


class ConfigurableField(NamedTuple):
    """A field whose value may come from `config["configurable"][id]`."""

    id: str
    name: str | None = None
    description: str | None = None
    annotation: Any = None
    # If True, all alternatives share this key, even if they have prefixes.
    is_shared: bool = False

    def __hash__(self) -> int:
        return hash((self.id, str(self.annotation)))


class ConfigurableFieldSingleOption(NamedTuple):
    """A field whose value is one of `options`, chosen by its key."""

    id: str
    options: Mapping[str, Any]
    default: str
    name: str | None = None
    description: str | None = None
    is_shared: bool = False

    def __hash__(self) -> int:
        return hash((self.id, tuple(self.options), self.default))


class ConfigurableFieldMultiOption(NamedTuple):
    """A field whose value is a list of some of `options`, chosen by their keys."""

    id: str
    options: Mapping[str, Any]
    default: Sequence[str]
    name: str | None = None
    description: str | None = None
    is_shared: bool = False

    def __hash__(self) -> int:
        return hash((self.id, tuple(self.options), tuple(self.default)))


AnyConfigurableField: TypeAlias = (
    ConfigurableField | ConfigurableFieldSingleOption | ConfigurableFieldMultiOption
)


class ConfigurableFieldSpec(NamedTuple):
    """One key of `config["configurable"]`: its type, its default and its description."""

    id: str
    annotation: Any
    name: str | None = None
    description: str | None = None
    default: Any = None
    is_shared: bool = False
    dependencies: list[str] | None = None


def get_unique_config_specs(specs: Iterable[ConfigurableFieldSpec]) -> list[ConfigurableFieldSpec]:
    """Return each spec once, sorted by id. Raises: `InvalidArgument` for two different specs with one id."""
    unique: dict[str, ConfigurableFieldSpec] = {}
    for spec in sorted(specs, key=lambda spec: (spec.id, *(spec.dependencies or ()))):
        if unique.setdefault(spec.id, spec) != spec:
            raise InvalidArgument(
                f"The configurable key `{spec.id}` has two meanings: {unique[spec.id]} and {spec}. "
                "Give one of the fields another `id`."
            )
    return list(unique.values())
