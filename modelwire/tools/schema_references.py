"""Finds the references of a JSON schema that lead out of it, by the rules of its draft. Nothing is fetched.

The libraries that it needs are loaded with the first schema.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

from modelwire.aliases import Values


def references_outside(schema: Values) -> Iterator[tuple[str, Values]]:
    """Yield (reference, the schema that has it) for each reference that leads out of `schema`.

    A reference to a meta-schema is not yielded, because `jsonschema` contains these. A schema that is reached only by
    references is searched too.
    """
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012

    # The library raises the last two for a pointer that leads into a text or a number.
    unresolved = (Unresolvable, ValueError, TypeError)
    meta_schemas = import_module("jsonschema_specifications").REGISTRY  # it has no types
    draft = _draft(schema, DRAFT202012)
    resolver = meta_schemas.resolver_with_root(draft.create_resource(schema))
    waiting: list[tuple[Any, Any, Any]] = [(schema, draft, resolver)]
    seen: set[int] = set()
    while waiting:
        node, draft, resolver = waiting.pop()
        # Draft 3 has texts where later drafts have schemas, and every draft since 6 has booleans.
        if id(node) in seen or not isinstance(node, Mapping):
            continue
        seen.add(id(node))
        # Drafts before 2020-12 do not know `$dynamicRef`; the `$recursiveRef` of 2019-09 is always `#`.
        names = ("$ref", "$dynamicRef") if draft is DRAFT202012 else ("$ref",)
        for reference in map(node.get, names):
            if not isinstance(reference, str):
                continue
            try:
                target = resolver.lookup(reference)
            except unresolved:
                yield reference, node
            else:
                waiting.append((target.contents, draft, target.resolver))
        for inner in draft.subresources_of(node):
            if isinstance(inner, Mapping):
                inner_draft = _draft(inner, draft)
                resource = inner_draft.create_resource(inner)
                waiting.append((inner, inner_draft, resolver.in_subresource(resource)))


def _draft(schema: Values, default: Any) -> Any:
    from referencing.jsonschema import specification_with

    dialect = schema.get("$schema")
    if not isinstance(dialect, str):
        return default
    return specification_with(dialect, default=default)
