"""Makes type annotations readable for pydantic 2: replaces models of `pydantic.v1`, and before Python
3.12 also the TypedDicts of `typing`.
"""

from __future__ import annotations

import sys
import types
import typing
from collections.abc import Callable
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from modelwire.errors import InvalidType


def is_v1_model(thing: Any) -> bool:
    """Return whether something is a model class of `pydantic.v1`, without loading `pydantic.v1`."""
    v1 = sys.modules.get("pydantic.v1.main")
    return isinstance(thing, type) and issubclass(thing, getattr(v1, "BaseModel", ()))


def readable(annotation: Any) -> Any:
    """Return a copy of an annotation in which every type that pydantic 2 cannot read is replaced:
    models of `pydantic.v1`, and before Python 3.12 the TypedDicts of `typing`.
    """
    return replaced_types(annotation, _readable_one)


def _readable_one(kind: Any) -> Any:
    if is_v1_model(kind):
        return _with_v1_model(kind)
    if is_typed_dict(kind) and sys.version_info < (3, 12) and type(kind).__module__ == "typing":
        from typing_extensions import TypedDict

        hints = {
            key: readable(hint) for key, hint in get_type_hints(kind, include_extras=True).items()
        }
        return TypedDict(kind.__name__, hints, total=kind.__total__)  # type: ignore[operator]
    return kind


def _with_v1_model(model: Any) -> Any:
    from pydantic import PlainValidator, WithJsonSchema

    from modelwire.tools.json_schema import inlined

    def read(value: Any) -> Any:
        if isinstance(value, model):
            return value
        return model.parse_obj(value)

    return Annotated[Any, PlainValidator(read), WithJsonSchema(inlined(model.schema()))]


def replaced_types(annotation: Any, swap: Callable[[Any], Any]) -> Any:
    """Return an annotation with each type in it replaced by `swap(type)`."""
    origin: Any = get_origin(annotation)
    args = get_args(annotation)
    if not args or origin is typing.Literal:
        return swap(annotation)
    if origin is Annotated:
        kind, *marks = args
        return Annotated[(replaced_types(kind, swap), *marks)]
    new = tuple(arg if isinstance(arg, list) else replaced_types(arg, swap) for arg in args)
    if new == args:
        return annotation
    if origin in (typing.Union, types.UnionType):
        return typing.Union[new]
    try:
        return origin[new]
    except TypeError as exc:
        raise InvalidType(f"`{annotation}` has no JSON schema.") from exc


def is_typed_dict(thing: Any) -> bool:
    """Return whether something is a TypedDict class of `typing` or of `typing_extensions`."""
    return (
        isinstance(thing, type) and issubclass(thing, dict) and hasattr(thing, "__required_keys__")
    )
