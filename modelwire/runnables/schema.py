"""Schemas of a runnable's input and output: pydantic models, created on demand.

A type that is a pydantic model (of either version) is its own schema. Any other type becomes the
root of a new model; a dict with known keys becomes a model with those fields. The dicts of
`astream_events` are defined here, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from types import GenericAlias
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    NotRequired,
    TypeAlias,
    TypeVar,
    cast,
    get_args,
    is_typeddict,
)

from pydantic import BaseModel, ConfigDict, Field, RootModel, create_model
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from typing_extensions import TypedDict

from modelwire.aliases import JSON, Kwargs
from modelwire.errors import InvalidArgument, did_you_mean
from modelwire.runnables.annotations import is_v1_model, readable
from modelwire.runnables.function_source import input_keys

if TYPE_CHECKING:
    from modelwire.runnables.base import Runnable
    from modelwire.runnables.config import Config
    from modelwire.runnables.fields import ConfigurableFieldSpec

__all__ = [
    "BaseStreamEvent",
    "CustomStreamEvent",
    "EventData",
    "StandardStreamEvent",
    "StreamEvent",
    "config_schema",
    "declared",
    "fields_of",
    "json_schema",
    "object_schema",
    "schema_of",
]

# A field by its key: its type, and its default (or `...`, or a `FieldInfo`).
Fields: TypeAlias = dict[str, tuple[Any, Any]]
# Inputs, outputs and configs are described by pydantic models.
Schema: TypeAlias = type[BaseModel]


class _Lenient(GenerateJsonSchema):
    """Generates JSON schemas; a type that has none (a class of the user, a function) becomes `{}`: any value."""

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> JsonSchemaValue:
        return {}

    def emit_warning(self, kind: Any, detail: str) -> None:
        pass


class _Derived(BaseModel):
    """The base class of generated schemas. Older scripts call `schema`, with which pydantic's own class warns."""

    if not TYPE_CHECKING:
        # Type checkers see pydantic's signatures.

        @classmethod
        def model_json_schema(cls, *args, **kwargs):
            if len(args) < 3:
                kwargs.setdefault("schema_generator", _Lenient)
            return super().model_json_schema(*args, **kwargs)

        @classmethod
        def schema(cls, **kwargs):
            return cls.model_json_schema(**kwargs)


class _Object(_Derived):
    model_config = ConfigDict(
        arbitrary_types_allowed=True,
        defer_build=True,
        protected_namespaces=(),
        populate_by_name=True,
    )


class _Root(_Derived, RootModel[Any]):
    model_config = ConfigDict(arbitrary_types_allowed=True, defer_build=True)


def declared(runnable: Any, side: str) -> Any:
    """Return `runnable.InputType` or `OutputType`, by `side`; `Any` if it is unknown.

    Types that it was created with take precedence: `RunnableBranch[int, str](...)`.
    """
    given = get_args(getattr(runnable, "__orig_class__", None))
    if len(given) == 2 and not any(isinstance(kind, TypeVar) for kind in given):
        return given[side == "OutputType"]
    try:
        kind = getattr(runnable, side)
    except InvalidArgument:
        return Any
    return Any if isinstance(kind, TypeVar) else kind


def schema_of(name: str, kind: Any) -> Schema:
    """Return a pydantic model for the type `kind`: `kind` itself if it is a model, else a new one called `name`."""
    if (
        type(kind) is not GenericAlias
        and isinstance(kind, type)
        and (issubclass(kind, BaseModel) or is_v1_model(kind))
    ):
        return kind
    shape: Any = readable(kind) if is_typeddict(kind) else kind
    return create_model(name, __base__=_Root, root=(shape, ...))


def object_schema(name: str, fields: Mapping[str, tuple[Any, Any]]) -> Schema:
    """Return a model called `name` with these fields; any key is allowed, even `schema`, `_private` or `a b`."""
    definitions: Kwargs = {}
    for number, (key, (kind, default)) in enumerate(fields.items()):
        if (
            key.isidentifier()
            and not key.startswith("_")
            and key != "Config"
            and not hasattr(_Object, key)
        ):
            definitions[key] = (kind, default)
        else:
            title = key.replace("_", " ").title().strip()
            named = Field(alias=key, title=title)
            definitions[f"field_{number}_"] = (Annotated[kind, named], default)
    return cast("Schema", create_model(name, __base__=_Object, **definitions))


def json_schema(schema: Schema) -> JSON:
    """Return the JSON schema of a model of either version of pydantic."""
    if is_v1_model(schema):
        return cast("Any", schema).schema()  # type: ignore[no-any-return]
    return schema.model_json_schema()


def fields_of(schema: Schema) -> Fields | None:
    """Return the fields of an object by their keys; None if the schema is not an object with known fields."""
    if is_v1_model(schema):
        old = cast("Any", schema).__fields__
        if "__root__" in old:
            return None
        return {field.alias: _old_field(field) for field in old.values()}
    if issubclass(schema, RootModel):
        return None
    return {
        info.alias or name: (info.annotation, info) for name, info in schema.model_fields.items()
    }


def _old_field(field: Any) -> tuple[Any, Any]:
    kind = field.outer_type_ | None if field.allow_none else field.outer_type_
    if field.required:
        return kind, ...
    if field.field_info.default_factory is not None:
        return kind, Field(default_factory=field.field_info.default_factory)
    return kind, field.default


def parallel_input(steps: Mapping[str, Runnable], name: str, config: Any) -> Schema | None:
    """Return a model of all fields that the branches read; None if a branch takes no dict, or no field is known."""
    fields: Fields = {}
    for step in steps.values():
        schema = step.get_input_schema(config)
        known = fields_of(schema)
        if known is None and json_schema(schema).get("type", "object") != "object":
            return None
        fields |= known or {}
    if fields or not steps:
        return object_schema(name, fields)
    return None


def parallel_output(steps: Mapping[str, Runnable], name: str, config: Any) -> Schema:
    """Return a model with each branch's output under its key."""
    return object_schema(
        name, {key: _as_field(step.get_output_schema(config)) for key, step in steps.items()}
    )


def _as_field(schema: Schema) -> tuple[Any, Any]:
    """Return the type and default of a field whose values have this schema: a root model's type, else the model."""
    if not is_v1_model(schema) and issubclass(schema, RootModel):
        return schema.model_fields["root"].annotation, ...
    return schema, ...


def list_schema(name: str, item: Schema) -> Schema:
    """Return the schema of a list of such items."""
    kind, _ = _as_field(item)
    return schema_of(name, list[kind])  # type: ignore[valid-type]  # known only at run time


def assign_output(before: Fields | None, mapper: Runnable, name: str, config: Any) -> Schema:
    """Return a model with the input's fields, and those that `mapper` adds or replaces."""
    return object_schema(
        name, {**(before or {}), **(fields_of(mapper.get_output_schema(config)) or {})}
    )


def sequence_input(steps: Sequence[Runnable], config: Config) -> Schema:
    """Return the first step's input schema; if it adds or picks keys, with the fields that later steps need."""
    first, *rest = steps
    return first._input_schema_before(rest, config)


def sequence_output(steps: Sequence[Runnable], config: Config) -> Schema:
    """Return the last step's output schema; if it adds or picks keys, with the fields that earlier steps return."""
    *before, last = steps
    return last._output_schema_after(before, config)


def known_fields(steps: Sequence[Runnable], config: Any) -> Fields | None:
    """Return the fields of the output of a sequence; None if it has no steps, or its fields are unknown."""
    if not steps:
        return None
    return fields_of(sequence_output(steps, config))


def first_input(runnables: Iterable[Runnable], config: Config) -> Schema | None:
    """Return the first input schema other than `Any`, or None."""
    for runnable in runnables:
        schema = runnable.get_input_schema(config)
        if fields_of(schema) is not None or _as_field(schema)[0] is not Any:
            return schema
    return None


def function_input(func: Any, name: str) -> Schema | None:
    """Return a schema with the keys that a function without annotations reads from its input; None if it reads none."""
    if isinstance(func, itemgetter):
        # The class, and the arguments it was created with.
        keys: Sequence[Any] = func.__reduce__()[1]
        if not all(isinstance(key, str) for key in keys):
            return schema_of(name, list[Any])
    else:
        keys = input_keys(func)
    if keys:
        return object_schema(name, dict.fromkeys(keys, (Any, ...)))
    return None


_CONFIG_TYPES: dict[str, Any] = {
    "tags": list[str],
    "metadata": dict[str, Any],
    "callbacks": list[Any] | Any | None,
    "run_name": str,
    "run_id": str | None,
    "max_concurrency": int | None,
    "recursion_limit": int,
    "timeout": float | None,
}


def config_schema(
    name: str, specs: Sequence[ConfigurableFieldSpec], include: Sequence[str]
) -> Schema:
    """Return a model of a config, with its configurable keys and the other keys of a config in `include`."""
    fields: Fields = {}
    if specs:
        keys = {
            spec.id: (
                spec.annotation,
                Field(spec.default, title=spec.name, description=spec.description),
            )
            for spec in specs
        }
        fields["configurable"] = (object_schema("Configurable", keys), None)
    for key in include:
        if key != "configurable":
            if key not in _CONFIG_TYPES:
                raise InvalidArgument(
                    f"A config has no key `{key}`. {did_you_mean(key, list(_CONFIG_TYPES))}"
                )
            fields[key] = (_CONFIG_TYPES[key], None)
    return object_schema(name, fields)


class EventData(TypedDict, total=False):
    """The input and output of a run; which keys exist depends on the event."""

    input: Any
    output: Any
    chunk: Any
    error: BaseException
    tool_call_id: str | None


class BaseStreamEvent(TypedDict):
    """The keys that every event has."""

    event: str  # Such as `on_chat_model_stream`.
    run_id: str
    tags: NotRequired[list[str]]
    metadata: NotRequired[JSON]
    parent_ids: list[str]  # The enclosing runs, the root first.


class StandardStreamEvent(BaseStreamEvent):
    """The start, a chunk or the end of a run."""

    name: str
    data: EventData


class CustomStreamEvent(BaseStreamEvent):
    """An event that the program has dispatched."""

    event: Literal["on_custom_event"]  # type: ignore[misc]  # narrower than the base's
    name: str
    data: Any


StreamEvent: TypeAlias = StandardStreamEvent | CustomStreamEvent
