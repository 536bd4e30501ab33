"""Rewrites JSON schemas: inlines references, drops titles, makes objects strict. No I/O; the input is never changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from modelwire.aliases import JSON, Values
from modelwire.messages.block_translators.standard import without

# The keywords whose values are schemas by name, lists of schemas, or a single schema.
# https://json-schema.org/draft/2020-12/schema, read 2026-11; `definitions` and a list under `items` are older.
_BY_NAME = ("properties", "patternProperties", "dependentSchemas", "$defs", "definitions")
_IN_LIST = ("anyOf", "oneOf", "allOf", "prefixItems")
_SINGLE = (
    "items",
    "additionalProperties",
    "contains",
    "propertyNames",
    "not",
    "if",
    "then",
    "else",
    "unevaluatedItems",
    "unevaluatedProperties",
)


def rebuilt(schema: Values, change: Callable[[JSON], JSON]) -> JSON:
    """Return a copy of `schema` with `change` applied to it and to every schema within, innermost first."""
    new: JSON = dict(schema)
    for key, value in schema.items():
        if key in _BY_NAME and isinstance(value, Mapping):
            new[key] = {name: _rebuilt_one(inner, change) for name, inner in value.items()}
        elif isinstance(value, list) and (key in _IN_LIST or key == "items"):
            new[key] = [_rebuilt_one(inner, change) for inner in value]
        elif key in _SINGLE:
            new[key] = _rebuilt_one(value, change)
    return change(new)


def _rebuilt_one(schema: Any, change: Callable[[JSON], JSON]) -> Any:
    if isinstance(schema, Mapping):
        return rebuilt(schema, change)
    return schema


def schemas_within(schema: Values, path: str = "") -> Iterator[tuple[str, Values]]:
    """Yield (path, schema) for `schema` and every schema within; a path is like `address.streets[].name`."""
    yield path, schema
    for key, value in schema.items():
        if key in _BY_NAME and isinstance(value, Mapping):
            found = [(f"{path}.{name}".lstrip("."), inner) for name, inner in value.items()]
        elif isinstance(value, list) and key in ("items", "prefixItems"):
            found = [(f"{path}[{position}]", inner) for position, inner in enumerate(value)]
        elif isinstance(value, list) and key in _IN_LIST:
            # The alternatives share the path of the whole.
            found = [(path, inner) for inner in value]
        elif key in _SINGLE:
            found = [(f"{path}[]" if key == "items" else path, value)]
        else:
            continue
        for where, inner in found:
            if isinstance(inner, Mapping):
                yield from schemas_within(inner, where)


def without_titles(schema: Values) -> JSON:
    """Return a copy without titles, which only repeat names; properties that are named `title` stay."""
    return rebuilt(schema, lambda node: without(node, "title"))


def is_free_form(schema: Values) -> bool:
    """Return whether `schema` is an object whose property names are not known beforehand."""
    if schema.get("properties") or (
        schema.get("type") != "object" and "additionalProperties" not in schema
    ):
        return False
    return schema.get("additionalProperties", True) is not False


def strict_schema(schema: Values) -> JSON:
    """Return a schema in which every object is closed and requires all of its properties, as strict modes need.

    Defaults of null and discriminators are dropped, and `oneOf` becomes `anyOf`, which strict modes accept. Keywords
    that OpenAI does not accept (`uniqueItems`, an unknown `format`) move into the description. The caller checks for
    schemas that strict modes cannot express at all (`is_free_form`).
    """
    return rebuilt(_unravelled(schema), _closed)


# Definitions within definitions are put in place at most this deep, since OpenAI accepts ten levels of nesting.
_MOST_UNRAVELLED = 3


def _unravelled(schema: Values) -> JSON:
    """Return a schema in which each `$ref` with sibling keys, which OpenAI rejects, is replaced by its definition.

    The SDK's `to_strict_json_schema` does the same. A reference whose definition would contain itself without end, or
    make the schema too large, becomes the only alternative of an `anyOf` instead, which may have siblings.
    """
    definitions = _definitions(schema)

    def resolve(node: JSON, above: tuple[str, ...] = ()) -> JSON:
        ref = node.get("$ref")
        if (ref not in definitions and ref != "#") or len(node) == 1:
            return node
        siblings = without(node, "$ref")
        if ref == "#" or ref in above or len(above) == _MOST_UNRAVELLED:
            return {"anyOf": [{"$ref": ref}], **siblings}
        return {
            **rebuilt(definitions[ref], lambda inner: resolve(inner, (*above, ref))),
            **siblings,
        }

    whole = rebuilt(schema, resolve)
    for ref, definition in definitions.items():
        _, place, name = ref.split("/", 2)
        whole[place][name] = rebuilt(definition, partial(resolve, above=(ref,)))
    return whole


def _closed(node: JSON) -> JSON:
    if "default" in node and node["default"] is None:
        del node["default"]
    node = in_words(node, _is_taken_by_openai)
    if "oneOf" in node and "anyOf" not in node:
        node["anyOf"] = node.pop("oneOf")
    properties = node.get("properties")
    if node.get("type") == "object" or isinstance(properties, Mapping):
        node["additionalProperties"] = False
        if properties:
            node["required"] = list(properties)
    return node


# The keywords that each provider's strict mode accepts in a schema, read 2026-11.
# `modelwire/testing/server/strict_modes.json` has the same rules as JSON schemas, by which the test server rejects a
# request.
# https://docs.anthropic.com/en/docs/build-with-claude/structured-outputs#json-schema-limitations
# https://docs.aws.amazon.com/bedrock/latest/userguide/structured-output.html has the same limits.
_STRUCTURE = frozenset(
    (
        "$ref",
        "$defs",
        "definitions",
        "type",
        "anyOf",
        "oneOf",
        "allOf",
        "properties",
        "required",
        "items",
        "enum",
        "const",
        "description",
        "title",
        "additionalProperties",
        "format",
    )
)
_FORMATS = frozenset(
    ("date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid")
)
# https://platform.openai.com/docs/guides/structured-outputs#supported-schemas
_OPENAI_KEYWORDS = _STRUCTURE | {
    "default",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "maxItems",
    "maxLength",
    "maximum",
    "minItems",
    "minLength",
    "minimum",
    "multipleOf",
    "pattern",
    "prefixItems",
}
_OPENAI_FORMATS = _FORMATS - {"uri"}


def anthropic_schema(schema: Values) -> JSON:
    """Return a schema for Anthropic's strict modes: every object is closed, and unsupported keywords are described.

    A keyword that these modes do not accept moves into the description. A `$ref` loses its sibling keys, as in
    `transform_schema` of the SDK.
    """

    def change(node: JSON) -> JSON:
        if "$ref" in node:
            return {
                key: value for key, value in node.items() if key in ("$ref", "$defs", "definitions")
            }
        allowed = in_words(node, _is_taken_by_anthropic)
        if "oneOf" in allowed:
            allowed["anyOf"] = allowed.pop("oneOf")
        if allowed.get("type") == "object" or "properties" in allowed:
            allowed["additionalProperties"] = False
        return allowed

    return rebuilt(schema, change)


def in_words(node: JSON, is_taken: Callable[[str, Any], bool]) -> JSON:
    """Return a schema with only the keywords for which `is_taken(key, value)` is true.

    The others are added to its description, where the model reads them.
    """
    allowed = {key: value for key, value in node.items() if is_taken(key, value)}
    words = [
        f"{key}: {value}"
        for key, value in node.items()
        if key not in allowed and key != "discriminator"
    ]
    if words:
        hint = "{" + ", ".join(words) + "}"
        allowed["description"] = "\n\n".join(filter(None, (allowed.get("description"), hint)))
    return allowed


def _is_taken_by_anthropic(key: str, value: Any) -> bool:
    if key == "format":
        return value in _FORMATS
    return key in _STRUCTURE or (key == "minItems" and value in (0, 1))


def _is_taken_by_openai(key: str, value: Any) -> bool:
    if key == "format":
        return value in _OPENAI_FORMATS
    return key in _OPENAI_KEYWORDS


def without_defaults(schema: Values) -> JSON:
    """Return a schema whose defaults are moved into descriptions, because Azure's strict mode rejects defaults."""
    return rebuilt(schema, lambda node: in_words(node, lambda key, _: key != "default"))


# If inlining would produce more than this many nested schemas, a schema keeps its references.
_MOST_INLINED_NODES = 5_000


def inlined(schema: Values) -> JSON:
    """Return a schema with each reference replaced by its local definition; references to recursive ones stay.

    Keys beside a `$ref` (a description, a default) override those of the definition. A schema that would grow
    exponentially, because each of its definitions refers to the next one twice, keeps its references.
    """
    definitions = _definitions(schema)
    if not definitions:
        return dict(schema)
    body = without(schema, "$defs", "definitions")
    left = recursive_references(schema)
    if _inlined_size(body, definitions, dict.fromkeys(left, 1)) > _MOST_INLINED_NODES:
        left = set(definitions)
    inlinable = {ref: inner for ref, inner in definitions.items() if ref not in left}
    resolve = partial(_resolved, definitions=inlinable)
    new = rebuilt(body, resolve)
    ref = new.get("$ref")
    if ref in left:
        # The whole schema is a recursive definition, but providers need an object at the top, not a reference.
        new = {**rebuilt(definitions[ref], resolve), **without(new, "$ref")}
    for ref in sorted(left):
        _, place, name = ref.split("/", 2)
        new.setdefault(place, {})[name] = rebuilt(definitions[ref], resolve)
    return new


def _resolved(node: JSON, definitions: Values) -> JSON:
    """Return the definition that a schema refers to, merged with its other keys; without a `$ref`, the schema."""
    if isinstance(node.get("discriminator"), Mapping):
        # The mapping refers to definitions, which may be inlined.
        node["discriminator"] = without(node["discriminator"], "mapping")
    ref = node.get("$ref")
    if ref is None and len(node.get("allOf", ())) == 1:
        # Pydantic wraps a reference that has siblings in an `allOf`.
        return {**node["allOf"][0], **without(node, "allOf")}
    definition = definitions.get(str(ref))
    if definition is None:
        return node
    target = rebuilt(definition, partial(_resolved, definitions=definitions))
    return {**target, **without(node, "$ref")}


def _inlined_size(schema: Values, definitions: Values, sizes: dict[str, int]) -> int:
    """Return how many schemas an inlined `schema` contains; `sizes` caches the numbers of definitions."""
    size = 0
    for _, node in schemas_within(schema):
        ref: Any = node.get("$ref")
        if ref in definitions and ref not in sizes:
            sizes[ref] = _inlined_size(definitions[ref], definitions, sizes)
        size += 1 + sizes.get(ref, 0)
    return size


def recursive_references(schema: Values) -> set[str]:
    """Return the references to definitions that contain themselves."""
    definitions = _definitions(schema)
    return {ref for ref in definitions if _reaches(ref, ref, definitions, set())}


def _definitions(schema: Values) -> JSON:
    """Return the definitions of a schema by their references, such as `#/$defs/Name`."""
    return {
        f"#/{place}/{name}": inner
        for place in ("$defs", "definitions")
        for name, inner in (schema.get(place) or {}).items()
    }


def _reaches(start: str, goal: str, definitions: Values, seen: set[str]) -> bool:
    """Return whether the definition `start` refers to `goal`, directly or through others."""
    for _, node in schemas_within(definitions[start]):
        ref = node.get("$ref")
        if ref == goal:
            return True
        if isinstance(ref, str) and ref in definitions and ref not in seen:
            seen.add(ref)
            if _reaches(ref, goal, definitions, seen):
                return True
    return False
