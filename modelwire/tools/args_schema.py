"""The schema of a tool's arguments, a pydantic model (v2 or v1) or a JSON schema: how it is created, narrowed, used."""

from __future__ import annotations

import functools
import inspect
import typing
import warnings
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from copy import copy
from typing import Annotated, Any, TypeAlias, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, create_model
from pydantic.errors import PydanticUserError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from modelwire.aliases import JSON, Args, Function, Kwargs, Values
from modelwire.errors import InvalidArgument, warn_caller
from modelwire.runnables.annotations import is_typed_dict, is_v1_model, readable, replaced_types
from modelwire.tools.docstring import parse_google_docstring
from modelwire.tools.injected import (
    CONTEXT_ARGS,
    FILTERED_ARGS,
    InjectedToolArg,
    InjectedToolCallId,
    Signature,
    is_injected,
    is_mark,
    signature_of,
)
from modelwire.tools.schema_errors import TypeWithoutSchema, UndefinedAnnotation

__all__ = [
    "ArgsSchema",
    "create_schema_from_function",
    "get_all_basemodel_annotations",
    "is_v1_model",
    "json_schema_of",
]

ArgsSchema: TypeAlias = type[BaseModel] | JSON


def is_v2_model(thing: Any) -> bool:
    """Return whether `thing` is a pydantic v2 model class."""
    return isinstance(thing, type) and issubclass(thing, BaseModel)


def json_schema_of(model: Any) -> JSON:
    """Return the JSON schema of a pydantic model class of either version.

    Raises: `NoJsonSchema` for a type that JSON schemas cannot express, or a name that is not defined. The error is
    pydantic's own as well: `PydanticInvalidForJsonSchema`, or `PydanticUndefinedAnnotation`.
    """
    if is_v1_model(model):
        schema: JSON = model.schema()
        return schema
    try:
        return typing.cast("type[BaseModel]", model).model_json_schema()
    except (PydanticUserError, NameError) as exc:
        message = (
            f"`{model.__name__}` has no JSON schema: {str(exc).splitlines()[0]} Use types that JSON knows (str, int, "
            "list, dict, enums, other pydantic models). An argument of a tool that the program itself passes may have "
            "any type: mark it as `InjectedToolArg`."
        )
        if isinstance(exc, NameError) or exc.code == "class-not-fully-defined":
            raise UndefinedAnnotation(message, getattr(exc, "name", None)) from exc
        raise TypeWithoutSchema(message) from exc


def field_names(model: Any) -> list[str]:
    """Return the names of the fields of a model."""
    return list(model.__fields__ if is_v1_model(model) else model.model_fields)


def injected_fields(model: Any, kind: type = InjectedToolArg) -> frozenset[str]:
    """Return the names of the fields of a model that are marked as `kind`."""
    if is_v2_model(model):
        return frozenset(
            name
            for name, field in model.model_fields.items()
            if any(is_mark(mark, kind) for mark in field.metadata)
            or is_injected(field.annotation, kind)
        )
    if is_v1_model(model):
        return frozenset(name for name, hint in _hints_of(model).items() if is_injected(hint, kind))
    return frozenset()


def get_all_basemodel_annotations(cls: type[Any]) -> dict[str, Any]:
    """Return the annotations of a model's fields, the inherited ones first."""
    if is_v2_model(cls):
        return {name: field.rebuild_annotation() for name, field in cls.model_fields.items()}
    known = cls.__fields__
    return {name: hint for name, hint in _hints_of(cls).items() if name in known}


def _hints_of(cls: type[Any]) -> dict[str, Any]:
    try:
        return get_type_hints(cls, include_extras=True)
    except NameError:
        return dict(getattr(cls, "__annotations__", {}))


@functools.lru_cache(maxsize=512)
def _narrowed_model(
    model: type[BaseModel], name: str, description: str, hidden: frozenset[str], built: int
) -> type[BaseModel]:
    """Return the schema of the arguments that a language model may pass: `model` under a new name, without `hidden`.

    `built` is only a part of the cache's key: it changes when `model` is rebuilt.
    """
    fields: Kwargs = {
        field_name: (field.annotation, copy(field))
        for field_name, field in model.model_fields.items()
        if field_name not in hidden
    }
    config: Any = {key: value for key, value in model.model_config.items() if key != "title"}
    return made_model(name, fields, description, config)


def tool_call_schema(
    schema: Any, name: str, description: str, injected: Collection[str]
) -> ArgsSchema:
    """Return `schema` without its injected arguments, under the tool's own name and description."""
    if is_v2_model(schema):
        hidden = frozenset(injected) | injected_fields(schema)
        return _narrowed_model(
            schema, name, description, hidden, id(schema.__dict__.get("__pydantic_validator__"))
        )
    if isinstance(schema, Mapping):
        json_schema = dict(schema)
    else:
        json_schema = {**json_schema_of(schema), "title": name}
    unseen = {*injected, *injected_fields(schema)}
    if unseen:
        properties = json_schema.get("properties", {})
        json_schema["properties"] = {
            key: value for key, value in properties.items() if key not in unseen
        }
        if "required" in json_schema:
            json_schema["required"] = [key for key in json_schema["required"] if key not in unseen]
    if description:
        json_schema["description"] = description
    return json_schema


def checked_args(schema: Any, args: Values, injected: Collection[str], call_id: str | None) -> JSON:
    """Return the validated arguments of a call, with defaults, and without arguments that the schema does not have.

    A field marked `InjectedToolCallId` gets the id of the call, even if the language model wrote a value for it.
    Injected arguments that the schema does not have are passed on unchanged. Raises pydantic's `ValidationError`.
    """
    if isinstance(schema, Mapping):
        return dict(args)
    offered = dict(args)
    for name in injected_fields(schema, InjectedToolCallId):
        offered.update(call_id_argument(name, args, call_id))
    if is_v1_model(schema):
        old = schema.parse_obj(offered)
        known: Collection[str] = schema.__fields__
        values = {name: getattr(old, name) for name in known}
    else:
        new = schema.model_validate(offered)
        known = schema.model_fields
        values = {name: new.__dict__[name] for name in known}
        values.update(new.__pydantic_extra__ or {})
    values.update((name, args[name]) for name in injected if name in args and name not in known)
    return values


def call_id_argument(name: str, args: Values, call_id: str | None) -> JSON:
    """Return `{name: call_id}` for an argument marked `InjectedToolCallId`; {} if only `args` has a value for it.

    Raises: `InvalidArgument` if there is no value.
    """
    if call_id is not None:
        return {name: call_id}
    if name in args:
        return {}
    raise InvalidArgument(
        "When tool includes an InjectedToolCallId argument, tool must always be invoked with a full model ToolCall: "
        "{'type': 'tool_call', 'name': ..., 'args': {...}, 'id': ...}. "
        f"There is no other value for `{name}`."
    )


def create_schema_from_function(
    model_name: str,
    func: Function,
    *,
    filter_args: Sequence[str] | None = None,
    parse_docstring: bool = False,
    error_on_invalid_docstring: bool = False,
    include_injected: bool = True,
) -> type[BaseModel]:
    """Return a pydantic model of the parameters of `func`, described by its docstring.

    The model leaves out arguments that the program passes (the config, `run_manager`, `callbacks`; injected arguments
    too without `include_injected`), `*args` and `**kwargs`, and the names in `filter_args`. With `parse_docstring` the
    description of each argument comes from a Google style docstring.
    """
    signature = signature_of(func)
    left_out = {*(FILTERED_ARGS if filter_args is None else filter_args), signature.config_name}
    if not include_injected:
        left_out |= signature.injected
    names = [name for name in _own_parameters(func, signature) if name not in left_out]
    description, texts = described(
        func,
        [name for name in names if name not in CONTEXT_ARGS],
        parse=parse_docstring,
        strict=error_on_invalid_docstring,
    )
    fields = {name: _field(func, name, signature, texts.get(name)) for name in names}
    untyped = [
        f"`{name}`"
        for name in names
        if signature.parameters[name].annotation is inspect.Parameter.empty
    ]
    if untyped:
        warn_caller(
            f"The model may pass anything to {' and '.join(untyped)} of `{model_name}`: annotate them with types."
        )
    return made_model(model_name, fields, description, ConfigDict(arbitrary_types_allowed=True))


def docstring_of(thing: Any) -> str | None:
    """Return the docstring of a function, of a class (not of what it inherits from), or of a callable object."""
    if isinstance(thing, type):
        own = thing.__dict__.get("__doc__")
        if own is None:
            return None
        return inspect.cleandoc(own)
    return inspect.getdoc(thing if hasattr(thing, "__name__") else type(thing).__call__)


def described(
    func: Function, names: Collection[str], *, parse: bool, strict: bool
) -> tuple[str, dict[str, str]]:
    """Return the description of `func` and those of its arguments by name, from its docstring.

    Without `parse` the description is the whole docstring, and there is none for the arguments.
    """
    docstring = docstring_of(func) or ""
    if not parse:
        return docstring, {}
    where = getattr(func, "__name__", type(func).__name__)
    description, texts = parse_google_docstring(
        docstring, named=names if strict else None, where=where
    )
    return description, {name: text for name, text in texts.items() if name in names}


def _own_parameters(func: Function, signature: Signature) -> list[str]:
    """Return the names of the parameters a schema can have, without the `self` of a method taken from its class."""
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    names = [
        name for name, parameter in signature.parameters.items() if parameter.kind not in variable
    ]
    owner, _, _ = getattr(func, "__qualname__", "").rpartition(".")
    in_class = owner and not owner.endswith("<locals>") and not inspect.ismethod(func)
    if in_class and names[:1] in (["self"], ["cls"]):
        return names[1:]
    return names


def _field(
    func: Function, name: str, signature: Signature, text: str | None
) -> tuple[Any, FieldInfo]:
    parameter = signature.parameters[name]
    annotation = signature.hints.get(name, Any)
    if name.startswith("_"):
        raise InvalidArgument(
            f"The parameter `{name}` of `{getattr(func, '__name__', func)}` begins with an underscore, but the name of "
            "a tool's argument cannot. Rename it, or give an `args_schema`."
        )
    if name not in signature.hints and isinstance(parameter.annotation, str):
        raise UndefinedAnnotation(
            f"The type `{parameter.annotation}` of the parameter `{name}` cannot be resolved. Import or define it at "
            f"the top of the module of `{getattr(func, '__name__', func)}`.",
            parameter.annotation,
        )
    if parameter.default is inspect.Parameter.empty:
        default = PydanticUndefined
    else:
        default = parameter.default
    return field_of(annotation, default, text)


def field_of(
    annotation: Any, default: Any, text: str | None, *, may_be_missing: bool = False
) -> tuple[Any, FieldInfo]:
    """Return the annotation and the `FieldInfo` of a field for `create_model`.

    Its description is that of a `Field` in `Annotated`, else the first text in `Annotated`, else `text`. A field that
    may be missing is not required, and its schema has no default.
    """
    marks = get_args(annotation)[1:] if get_origin(annotation) is Annotated else ()
    texts = [mark for mark in marks if isinstance(mark, str)]
    annotation = readable(annotation)
    if isinstance(default, FieldInfo):
        return annotation, default
    about: Kwargs = {}
    description = texts[0] if texts else text
    if description is not None and not any(
        getattr(mark, "description", None) for mark in get_args(annotation)[1:]
    ):
        about["description"] = description
    if may_be_missing and default is PydanticUndefined:
        default, about["json_schema_extra"] = None, _drop_default
    return annotation, Field(default, **about)


def made_model(name: str, fields: Kwargs, description: str, config: ConfigDict) -> type[BaseModel]:
    """Return a pydantic model. Its fields may have any name that does not begin with an underscore."""
    # A parameter may be called `json` or `schema`: the fields of such a model are read from its `__dict__`.
    shadowing = any(hasattr(BaseModel, field) for field in fields)
    with warnings.catch_warnings() if shadowing else nullcontext():
        if shadowing:
            warnings.filterwarnings("ignore", message=r"Field name .* shadows an attribute")
        made: type[BaseModel] = create_model(
            name,
            __config__=ConfigDict(**{**config, "protected_namespaces": ()}),
            __doc__=description or None,
            **fields,
        )
    return made


def model_from_typed_dict(
    typed_dict: Any, above: Args = (), *, name: str | None = None
) -> type[BaseModel]:
    """Return a pydantic model of a TypedDict; nested TypedDicts become models too.

    `Annotated[T, default, "text"]` gives a key its default (`...` for none) and its description. A Google style
    docstring may describe the keys instead.
    """
    if typed_dict in above:
        raise InvalidArgument(
            f"`{typed_dict.__name__}` contains itself, which is not supported here. Write it as a pydantic model."
        )
    description, texts = parse_google_docstring(docstring_of(typed_dict))
    try:
        hints = get_type_hints(typed_dict, include_extras=True)
    except NameError as exc:
        raise UndefinedAnnotation(
            f"The types of `{typed_dict.__name__}` cannot be resolved: {exc}. Define them at the top of its module.",
            exc.name,
        ) from exc
    fields = {}
    for key, hint in hints.items():
        # Under `from __future__ import annotations` the `__required_keys__` of the class ignore `NotRequired`.
        hint, required = _unqualified(hint, required=key in typed_dict.__required_keys__)
        annotation, default, text = _key(hint)
        annotation = replaced_types(
            annotation,
            lambda kind: (
                model_from_typed_dict(kind, (*above, typed_dict)) if is_typed_dict(kind) else kind
            ),
        )
        fields[key] = field_of(
            annotation, default, text or texts.get(key), may_be_missing=not required
        )
    return made_model(
        name or typed_dict.__name__, fields, description, ConfigDict(arbitrary_types_allowed=True)
    )


def _unqualified(hint: Any, *, required: bool) -> tuple[Any, bool]:
    """Return a type without `Required` and `NotRequired`, also within `Annotated`, and whether it is required."""
    while (origin := get_origin(hint)) in (typing.Required, typing.NotRequired):
        hint = get_args(hint)[0]
        required = origin is typing.Required
    if get_origin(hint) is Annotated:
        inner, *marks = get_args(hint)
        inner, required = _unqualified(inner, required=required)
        hint = Annotated[(inner, *marks)]
    return hint, required


def _drop_default(schema: JSON) -> None:
    schema.pop("default", None)


def _key(hint: Any) -> tuple[Any, Any, str | None]:
    """Return the annotation, the default and the description of a key, from its type hint."""
    if get_origin(hint) is not Annotated:
        return hint, PydanticUndefined, None
    origin, *marks = get_args(hint)
    if any(isinstance(mark, FieldInfo) for mark in marks):
        return hint, PydanticUndefined, None
    text, default = None, PydanticUndefined
    if isinstance(marks[-1], str):
        text = marks.pop()
    if marks and marks[0] is not ...:
        default = marks[0]
    return origin, default, text
