"""Runnables that a call's config changes: with other values of fields, or with another runnable in their place.

They have no run of their own: the chosen runnable runs, and its run is reported.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from enum import Enum
from functools import lru_cache, wraps
from threading import RLock
from typing import TYPE_CHECKING, Any, cast

from pydantic import BaseModel

from modelwire.aliases import Args, Function, Kwargs, Values
from modelwire.errors import InvalidArgument, InvalidType, did_you_mean, warn_caller
from modelwire.langchain_bridge import is_langchain, own
from modelwire.runnables.base import Chosen, Input, Output, Runnable, coerce_to_runnable
from modelwire.runnables.config import Config, RunnableConfig, changed, merge_configs, settled
from modelwire.runnables.fields import (
    AnyConfigurableField,
    ConfigurableField,
    ConfigurableFieldMultiOption,
    ConfigurableFieldSingleOption,
    ConfigurableFieldSpec,
    get_unique_config_specs,
)
from modelwire.runnables.forwarding import Call, Forwarding
from modelwire.runnables.invoke_function import accepted_kwargs, config_place

if TYPE_CHECKING:
    from modelwire.runnables.graph import Graph
    from modelwire.runnables.schema import Schema

# All objects share this lock, because a lock of their own could not be pickled. It is reentrant,
# since a factory may choose another alternative.
_making = RLock()

__all__ = ["DynamicRunnable", "RunnableConfigurableAlternatives", "RunnableConfigurableFields"]

# These methods of a chat model exist on a runnable without a default, too: their call is deferred
# until the config has chosen the model.
DECLARATIVE = frozenset({"bind_tools", "with_structured_output"})


class DynamicRunnable(Forwarding[Input, Output]):
    """A runnable that a call's config replaces by another one; see `prepare`.

    Attributes are those of `default`. A method that returns a runnable, such as `bind_tools`,
    returns one that is still configurable; a method that takes a `config` is called on the runnable
    that the config chooses.
    """

    default: Runnable[Input, Output]
    config: Config = None
    name: str | None = None

    def prepare(self, config: Config = None) -> Chosen[Input, Output]:
        """Return the runnable that a call with `config` runs, and its config."""
        runnable: Runnable[Input, Output] = self
        while isinstance(runnable, DynamicRunnable):
            config = settled(merge_configs(runnable.config, config) if runnable.config else config)
            runnable, config = runnable._chosen(config)
        return runnable, settled(config)

    @abstractmethod
    def _chosen(self, config: RunnableConfig) -> Chosen[Input, Output]:
        """Return the runnable chosen by the settled `config`, which may choose again, and its config."""

    def with_config(self, config: Config = None, **kwargs: Any) -> Any:
        bound = copy(self)
        bound.config = merge_configs(self.config, config, cast("RunnableConfig", kwargs))
        return bound

    @property
    def InputType(self) -> Any:
        return getattr(self.__dict__.get("default"), "InputType", Any)

    @property
    def OutputType(self) -> Any:
        return getattr(self.__dict__.get("default"), "OutputType", Any)

    def get_input_schema(self, config: Config = None) -> Schema:
        runnable, ready = self.prepare(config)
        return runnable.get_input_schema(ready)

    def get_output_schema(self, config: Config = None) -> Schema:
        runnable, ready = self.prepare(config)
        return runnable.get_output_schema(ready)

    def get_graph(self, config: Config = None) -> Graph:
        runnable, ready = self.prepare(config)
        return runnable.get_graph(ready)

    def _loop_native(self) -> bool:
        return self.default._may_answer_on_loop()

    def _may_block(self) -> bool:
        return self.default._may_block()

    def __getattr__(self, name: str) -> Any:
        if "default" not in self.__dict__ and name in DECLARATIVE:
            return lambda *args, **kwargs: RunnableDeclared(self, name, args, kwargs)
        if name.startswith("__") or "default" not in self.__dict__:
            # This is also the case while the object is copied or unpickled.
            raise AttributeError(f"`{type(self).__name__}` has no attribute `{name}`")
        value = getattr(self.default, name)
        if callable(value) and not isinstance(value, type):
            return self._configured(name, value)
        if self.config:
            return getattr(self.prepare()[0], name, value)
        return value

    def _configured(self, name: str, method: Function) -> Function:
        @wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            place, passed = _config_in(config_place(method), args, kwargs)
            chosen = method
            if passed is not None or self.config:
                runnable, ready = self.prepare(passed)
                chosen = getattr(runnable, name)
                if place is not None:
                    args = (*args[:place], ready, *args[place + 1 :])
                elif passed is not None or accepted_kwargs(method)[0]:
                    kwargs = {**kwargs, "config": ready}
            made = chosen(*args, **kwargs)
            if passed is None and isinstance(made, Runnable):
                return RunnableDeclared(self, name, args, kwargs, made)
            return made

        return call

    def _forwarded(self, input: Any, config: Config, kwargs: Kwargs) -> Call:
        runnable, ready = self.prepare(config)
        return runnable, input, ready, kwargs


def _config_in(named: int | None, args: Args, kwargs: Kwargs) -> tuple[int | None, Config]:
    """Return (position, config) of the config among a call's arguments; (None, None) without one.

    The position is None for a keyword. `named` is the position of the parameter `config`, if any.
    """
    passed = kwargs.get("config")
    if isinstance(passed, dict):
        return None, cast("RunnableConfig", passed)
    if named is not None and len(args) > named and isinstance(args[named], dict):
        return named, cast("RunnableConfig", args[named])
    for place, value in enumerate(args):
        if isinstance(value, dict) and "configurable" in value:
            return place, cast("RunnableConfig", value)
    return None, None


class RunnableDeclared(DynamicRunnable[Input, Output]):
    """The deferred result of `source.name(*args, **kwargs)`: each call calls this method of the
    runnable that its config chooses from `source`, and runs the result.
    """

    _parts = ("source", "method", "args", "kwargs", "config")

    def __init__(
        self,
        source: DynamicRunnable[Any, Any],
        name: str,
        args: Args,
        kwargs: Kwargs,
        default: Runnable[Input, Output] | None = None,
    ) -> None:
        self.source = source
        self.method = name
        self.args = args
        self.kwargs = kwargs
        if default is not None:
            self.default = default

    def __repr__(self) -> str:
        arguments = [repr(value) for value in self.args]
        arguments += [f"{key}={value!r}" for key, value in self.kwargs.items()]
        return f"{self.source!r}.{self.method}({', '.join(arguments)})"

    def _loop_native(self) -> bool:
        inner = self.default if "default" in self.__dict__ else self.source
        return inner._may_answer_on_loop()

    def _may_block(self) -> bool:
        return True

    @property
    def config_specs(self) -> list[ConfigurableFieldSpec]:
        return self.source.config_specs

    def _chosen(self, config: RunnableConfig) -> Chosen[Input, Output]:
        runnable, ready = self.source.prepare(config)
        return getattr(runnable, self.method)(*self.args, **self.kwargs), ready


class RunnableConfigurableFields(DynamicRunnable[Input, Output]):
    """Runs `default` with the values that a call's config gives to `fields`."""

    _parts = ("default", "fields", "config")

    def __init__(
        self,
        *,
        default: Runnable[Input, Output],
        fields: Mapping[str, AnyConfigurableField],
        config: Config = None,
    ) -> None:
        known = _field_names(default)
        # These are aliases of a chat model's fields.
        aliases: Mapping[str, str] = getattr(type(default), "ALIASES", {})
        self.fields: dict[str, AnyConfigurableField] = {}
        for named, field in fields.items():
            name = named if named in known else aliases.get(named, named)
            if name not in known:
                raise InvalidArgument(
                    f"`{type(default).__name__}` has no field `{name}` to configure. {did_you_mean(name, known)}"
                )
            if not isinstance(field, AnyConfigurableField):
                raise InvalidType(
                    f"`{name}` must be a `ConfigurableField`, not a `{type(field).__name__}`."
                )
            self.fields[name] = field
        _declared.update(field.id for field in self.fields.values())
        self.default = default
        self.config = config

    def __repr__(self) -> str:
        return f"RunnableConfigurableFields(default={self.default!r}, fields={self.fields!r})"

    def configurable_fields(
        self, **kwargs: AnyConfigurableField
    ) -> RunnableConfigurableFields[Input, Output]:
        """Return a runnable whose config may set these fields, too."""
        return RunnableConfigurableFields(
            default=self.default, fields={**self.fields, **kwargs}, config=self.config
        )

    @property
    def config_specs(self) -> list[ConfigurableFieldSpec]:
        specs = [_spec(self.default, name, field) for name, field in self.fields.items()]
        return get_unique_config_specs([*specs, *self.default.config_specs])

    def _chosen(self, config: RunnableConfig) -> Chosen[Input, Output]:
        configured = config.get("configurable") or {}
        _warn_of_misspelt(configured, [field.id for field in self.fields.values()])
        values: Kwargs = {}
        for name, field in self.fields.items():
            if not isinstance(field, ConfigurableField):
                values[name] = _option(field, configured.get(field.id, field.default))
            elif field.id in configured:
                values[name] = configured[field.id]
        return (_remade(self.default, values) if values else self.default), config


# The ids of all configurable fields of this process. A key in this set is not reported as a typo.
_declared: set[str] = set()


def _warn_of_misspelt(values: Values, ids: Sequence[str]) -> None:
    """Warn of unknown keys that are similar to a declared id.

    Other unknown keys are ignored, since LangGraph stores its own keys in `configurable`.
    """
    for key in map(str, values):
        if key in _declared or "==" in key:
            continue
        from difflib import get_close_matches

        for id in get_close_matches(key, ids, cutoff=_NEARLY):
            if id not in values and not key.startswith(id):
                warn_caller(
                    f"No runnable uses the key `{key}` of `configurable`. Did you mean `{id}`?"
                )
                break


# A key with at least this ratio of `difflib` to a declared id counts as a misspelling of the id.
_NEARLY = 0.8


def _option(
    field: ConfigurableFieldSingleOption | ConfigurableFieldMultiOption, chosen: Any
) -> Any:
    if isinstance(field, ConfigurableFieldSingleOption):
        return _by_key(field.options, chosen, f"option of `{field.id}`")
    if isinstance(chosen, str):
        raise InvalidType(f"`{field.id}` takes a list of options, not the one string `{chosen}`.")
    return [_by_key(field.options, key, f"option of `{field.id}`") for key in chosen]


def _by_key(options: Values, key: Any, what: str) -> Any:
    key = key.value if isinstance(key, Enum) else key
    if key not in options:
        raise InvalidArgument(f"`{key}` is not an {what}. {did_you_mean(str(key), list(options))}")
    return options[key]


def _field_names(runnable: Any) -> list[str]:
    if isinstance(runnable, BaseModel):
        return list(type(runnable).model_fields)
    return [name for name in vars(runnable) if not name.startswith("_")]


def _remade(runnable: Any, values: Kwargs) -> Any:
    """Return a copy of `runnable` with other values in some fields.

    A pydantic model validates them again.
    """
    if not isinstance(runnable, BaseModel):
        other = copy(runnable)
        for name, value in values.items():
            setattr(other, name, value)
        return other
    cls = type(runnable)
    by_name = cls.model_config.get("populate_by_name") or cls.model_config.get("validate_by_name")
    fields = cls.model_fields
    state: Kwargs = {}
    for name, value in {**vars(runnable), **values}.items():
        if name in fields:
            alias = None if by_name else fields[name].alias
            state[alias or name] = value
    return cls(**state)


def _spec(runnable: Any, name: str, field: AnyConfigurableField) -> ConfigurableFieldSpec:
    if isinstance(field, ConfigurableField):
        annotation = field.annotation
        if annotation is None:
            if isinstance(runnable, BaseModel):
                annotation = type(runnable).model_fields[name].annotation
            else:
                annotation = Any
        return _spec_with(field, annotation, getattr(runnable, name))
    one = _choice(field.name or field.id, tuple(field.options))
    if isinstance(field, ConfigurableFieldSingleOption):
        return _spec_with(field, one, field.default)
    return _spec_with(field, list[one], list(field.default))  # type: ignore[valid-type]


def _spec_with(field: AnyConfigurableField, annotation: Any, default: Any) -> ConfigurableFieldSpec:
    return ConfigurableFieldSpec(
        field.id, annotation, field.name, field.description, default, field.is_shared
    )


# With the cache, two specs of the same options are equal.
@lru_cache(maxsize=256)
def _choice(name: str, keys: tuple[str, ...]) -> Any:
    return Enum(name, [(key, key) for key in keys], type=str)


class RunnableConfigurableAlternatives(DynamicRunnable[Input, Output]):
    """Runs `default`, or the one of `alternatives` that the config names under `which.id`.

    An alternative may be a function that creates it; it is called once, when it is first chosen.
    With `prefix_keys` the fields of an alternative are configured under `which==alternative/field`.
    """

    _parts = ("default", "which", "alternatives", "default_key", "prefix_keys", "config")

    def __init__(
        self,
        *,
        which: ConfigurableField,
        default: Runnable[Input, Output],
        alternatives: Mapping[str, Runnable[Input, Output] | Callable[[], Runnable[Input, Output]]],
        default_key: str = "default",
        prefix_keys: bool = False,
        config: Config = None,
    ) -> None:
        if not isinstance(cast("object", which), ConfigurableField):
            raise InvalidType(
                f"`which` must be a `ConfigurableField`, not a `{type(which).__name__}`."
            )
        if default_key in alternatives:
            raise InvalidArgument(
                f"`{default_key}` is the default's key; call the alternative something else."
            )
        alternatives = {
            key: own("runnable", one) if is_langchain(one) else one
            for key, one in alternatives.items()
        }
        for key, alternative in cast("Mapping[str, object]", alternatives).items():
            if not isinstance(alternative, Runnable) and not callable(alternative):
                raise InvalidType(
                    f"The alternative `{key}` must be a runnable, or a function that makes one, "
                    f"not a `{type(alternative).__name__}`."
                )
        _declared.add(which.id)
        self.which = which
        self.default = default
        self.alternatives = alternatives
        self.default_key = default_key
        self.prefix_keys = prefix_keys
        self.config = config
        self._made: dict[str, Runnable[Input, Output]] = {}

    def __repr__(self) -> str:
        keys = f"which={self.which.id!r}, default_key={self.default_key!r}"
        return f"RunnableConfigurableAlternatives({keys}, default={self.default!r}, alternatives={self.alternatives!r})"

    def _loop_native(self) -> bool:
        every = (self.default, *self.alternatives.values())
        return all(isinstance(one, Runnable) and one._may_answer_on_loop() for one in every)

    def _may_block(self) -> bool:
        return True

    @property
    def config_specs(self) -> list[ConfigurableFieldSpec]:
        """The choice itself, and the configurable fields of the default and of every alternative
        that has been created.
        """
        every = {**self.alternatives, self.default_key: self.default}
        choice = _choice(self.which.name or self.which.id, tuple(every))
        which = _spec_with(self.which, choice, self.default_key)
        specs = [which]
        for key, one in every.items():
            if not isinstance(one, Runnable):
                continue
            for spec in one.config_specs:
                is_prefixed = self.prefix_keys and not spec.is_shared
                prefix = self._prefix(key) if is_prefixed else ""
                specs.append(spec._replace(id=prefix + spec.id))
        return get_unique_config_specs(specs)

    def _prefix(self, key: str) -> str:
        return f"{self.which.id}=={key}/"

    def _chosen(self, config: RunnableConfig) -> Chosen[Input, Output]:
        choices = config.get("configurable") or {}
        _warn_of_misspelt(choices, [self.which.id])
        key = choices.get(self.which.id, self.default_key)
        key = key.value if isinstance(key, Enum) else key
        if self.prefix_keys:
            prefix = self._prefix(key)
            unprefixed = {name.removeprefix(prefix): value for name, value in choices.items()}
            config = changed_configurable(config, unprefixed)
        if key == self.default_key:
            return self.default, config
        chosen = _by_key(self.alternatives, key, f"alternative for `{self.which.id}`")
        if isinstance(chosen, Runnable):
            return chosen, config
        return self._made_by(chosen, key), config

    def _made_by(self, make: Callable[[], Runnable[Input, Output]], key: str) -> Runnable:
        """Return the alternative that `make` creates for this key; `make` is called only once."""
        if key not in self._made:
            with _making:
                if key not in self._made:
                    place = f"from the alternative `{key}`"
                    self._made[key] = coerce_to_runnable(make(), place=place)
        return self._made[key]


def changed_configurable(config: RunnableConfig, configurable: dict[str, Any]) -> RunnableConfig:
    """Return a copy of a settled config with other configurable values, keeping the name and id of its run."""
    names = {key: value for key, value in config.items() if key in ("run_name", "run_id")}
    return changed(config, configurable=configurable, **names)
