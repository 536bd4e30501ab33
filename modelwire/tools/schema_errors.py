"""Errors of schemas. Their classes inherit from pydantic's too, because programs written for LangChain catch these."""

from __future__ import annotations

from pydantic.errors import (
    PydanticErrorMixin,
    PydanticInvalidForJsonSchema,
    PydanticUndefinedAnnotation,
    PydanticUserError,
)

from modelwire.errors import NoJsonSchema


class _SchemaError(NoJsonSchema):
    def __str__(self) -> str:
        return str(self.args[0])  # Pydantic would add a link.


class TypeWithoutSchema(_SchemaError, PydanticInvalidForJsonSchema):
    """Raised for a type that a JSON schema cannot express."""

    def __init__(self, message: str) -> None:
        PydanticErrorMixin.__init__(self, message, code="invalid-for-json-schema")


class UndefinedAnnotation(_SchemaError, PydanticUndefinedAnnotation, PydanticUserError):
    """Raised for an annotation that uses a name that is not defined."""

    def __init__(self, message: str, name: str | None = None) -> None:
        PydanticErrorMixin.__init__(self, message, code="undefined-annotation")
        self.name = name
