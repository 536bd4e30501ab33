"""Functions for pydantic models of either version, under the path that LangChain scripts import them from."""

from __future__ import annotations

from typing import Any, TypeAlias

from pydantic import BaseModel

from modelwire.runnables.schema import object_schema, schema_of
from modelwire.tools.args_schema import json_schema_of as model_json_schema

__all__ = ["TypeBaseModel", "create_model_v2", "model_json_schema"]

TypeBaseModel: TypeAlias = type[BaseModel]


def create_model_v2(
    model_name: str,
    *,
    module_name: str | None = None,
    field_definitions: dict[str, Any] | None = None,
    root: Any | None = None,
) -> type[BaseModel]:
    """Return a pydantic model of fields (`{"name": (type, default)}`), or of one `root` type."""
    if root is not None:
        made = schema_of(model_name, root)
    else:
        made = object_schema(model_name, field_definitions or {})
    if module_name is not None:
        made.__module__ = module_name
    return made
