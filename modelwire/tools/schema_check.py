"""Checks a whole value against a JSON schema or a TypedDict; a `ValueError` names each problem and its place.

JSON schemas are checked by `jsonschema`, which takes a while to import: it is loaded with the first schema.
"""

from __future__ import annotations

import re
from functools import cached_property
from importlib import import_module
from typing import Any

from pydantic_core import to_json

from modelwire.aliases import Args, Values
from modelwire.errors import InvalidArgument
from modelwire.tools.args_schema import model_from_typed_dict
from modelwire.tools.json_schema import schemas_within
from modelwire.tools.schema_references import references_outside

# An error lists at most this many problems.
_MOST_REASONS = 5
# An error shows at most this many characters of a problem, which may contain the value.
_MOST_CHARS = 300


class JsonSchemaCheck:
    """Checks values against a JSON schema of any draft; `format` is for the model only and is not checked.

    Raises: `InvalidArgument` when the object is created, for an invalid schema, or one with a reference that leads out
    of it. A call raises `ValueError` for a value that does not match.
    """

    def __init__(self, schema: Values) -> None:
        self.schema = schema
        self._check_schema()

    def __reduce__(self) -> Args:
        return type(self), (self.schema,)

    def __call__(self, value: Any) -> None:
        errors = sorted(
            self._validator.iter_errors(value), key=lambda error: [str(part) for part in error.path]
        )
        if errors:
            reasons = [
                f"{_place(error.absolute_path)}{_shortened(error.message)}"
                for error in errors[:_MOST_REASONS]
            ]
            more = (
                f" (and {len(errors) - _MOST_REASONS} more)" if len(errors) > _MOST_REASONS else ""
            )
            raise ValueError("; ".join(reasons) + more)

    @cached_property
    def _validator(self) -> Any:
        from referencing import Registry

        jsonschema: Any = import_module("jsonschema")  # It has no type hints.
        kind = jsonschema.validators.validator_for(
            self.schema, default=jsonschema.Draft202012Validator
        )
        return kind(self.schema, registry=Registry())  # With an empty registry nothing is fetched.

    def _check_schema(self) -> None:
        validator = self._validator
        try:
            validator.check_schema(self.schema)
        except import_module("jsonschema").SchemaError as exc:
            raise InvalidArgument(
                f"The schema is not a JSON schema: {_place(exc.absolute_path)}{exc.message}."
            ) from exc
        self._check_patterns()
        self._check_references()

    def _check_patterns(self) -> None:
        # The meta-schemas of drafts 3 and 4 do not check the names in `patternProperties`.
        for _, node in schemas_within(self.schema):
            for pattern in node.get("patternProperties", ()):
                try:
                    re.compile(pattern)
                except re.error as exc:
                    raise InvalidArgument(
                        f"The schema is not a JSON schema: `patternProperties`: {pattern!r} is not a regular "
                        f"expression that Python reads: {exc}."
                    ) from exc

    def _check_references(self) -> None:
        places = {id(node): where for where, node in schemas_within(self.schema)}
        for reference, node in references_outside(self.schema):
            where = places.get(id(node))
            place = f" at `{where}`" if where else ""
            raise InvalidArgument(
                f"The schema refers to `{reference}`{place}, which is not in it. "
                "Put it under `$defs`."
            )


class TypedDictCheck:
    """Checks values against a TypedDict as pydantic reads it. Texts are not converted to numbers.

    A call raises pydantic's `ValidationError` for a value that does not match.
    """

    def __init__(self, typed_dict: Any) -> None:
        self.typed_dict = typed_dict

    def __reduce__(self) -> Args:
        return type(self), (self.typed_dict,)

    def __call__(self, value: Any) -> None:
        self._model.__pydantic_validator__.validate_json(to_json(value), strict=True)

    @cached_property
    def _model(self) -> Any:
        return model_from_typed_dict(self.typed_dict)


def _place(path: Any) -> str:
    name = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(
        "."
    )
    return f"`{name}`: " if name else ""


def _shortened(text: str) -> str:
    if len(text) <= _MOST_CHARS:
        return text
    return f"{text[:_MOST_CHARS]}..."
