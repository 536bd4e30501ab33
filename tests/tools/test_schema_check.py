"""The check of a value against a JSON schema: what it refuses when it is made, and that it never fails later."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from modelwire.errors import InvalidArgument
from modelwire.ext import JsonSchemaCheck

DRAFT_4 = "http://json-schema.org/draft-04/schema#"
DRAFT_7 = "http://json-schema.org/draft-07/schema#"

OUTSIDE = {
    "no identifier": {"$ref": "https://example.com/a.json"},
    "an identifier": {"$id": "https://example.com/b.json", "$ref": "a.json"},
    "an identifier within": {
        "properties": {"a": {"$id": "https://example.com/b.json", "$ref": "a.json"}}
    },
    "a definition that only a reference reaches": {"$ref": "#/own/a", "own": {"a": {"$ref": "b"}}},
    "a name of an anchor": {"$id": "https://example.com/b.json", "$ref": "#a"},
    "a dynamic reference": {"$dynamicRef": "https://example.com/a.json#b"},
    "a pointer into a text": {"title": "a", "$ref": "#/title/b"},
    "a pointer into a number": {"maxLength": 3, "$ref": "#/maxLength/b"},
    "a name in a list": {"allOf": [{"type": "string"}], "not": {"$ref": "#/allOf/b"}},
}


@pytest.mark.parametrize("schema", OUTSIDE.values(), ids=OUTSIDE)
def test_a_reference_out_of_the_schema_is_refused_when_the_check_is_made(
    schema: dict[str, Any],
) -> None:
    with pytest.raises(InvalidArgument, match="which is not in it"):
        JsonSchemaCheck(schema)


def test_the_error_names_the_place_of_the_reference() -> None:
    schema = {
        "$id": "https://example.com/b.json",
        "properties": {"a": {"items": {"$ref": "#/$defs/b"}}},
    }
    with pytest.raises(InvalidArgument, match=r"`#/\$defs/b` at `a\[\]`"):
        JsonSchemaCheck(schema)


# name -> (schema, a value that it allows, one that it does not)
WITHIN: dict[str, tuple[dict[str, Any], Any, Any]] = {
    "an element of a list": (
        {"$schema": DRAFT_7, "items": [{"type": "integer"}, {"$ref": "#/items/0"}]},
        [1, 2],
        [1, "a"],
    ),
    "an identifier of draft 4": (
        {
            "$schema": DRAFT_4,
            "id": "https://example.com/tree",
            "definitions": {"n": {"id": "https://example.com/node", "type": "integer"}},
            "properties": {"a": {"$ref": "node"}},
        },
        {"a": 1},
        {"a": "b"},
    ),
    "a meta-schema": ({"$schema": DRAFT_7, "$ref": DRAFT_7}, {"minLength": 1}, {"minLength": -1}),
    "itself": (
        {"properties": {"a": {"$ref": "#"}}, "additionalProperties": False},
        {"a": {"a": {}}},
        {"a": {"b": 1}},
    ),
    "an anchor": (
        {"$ref": "#n", "$defs": {"a": {"$anchor": "n", "type": "integer"}}},
        1,
        "a",
    ),
}


@pytest.mark.parametrize(("schema", "valid", "invalid"), WITHIN.values(), ids=WITHIN)
def test_a_reference_within_the_schema_is_followed(
    schema: dict[str, Any], valid: Any, invalid: Any
) -> None:
    check = pickle.loads(pickle.dumps(JsonSchemaCheck(schema)))
    check(valid)
    with pytest.raises(ValueError, match=r"is not|unexpected|less than"):
        check(invalid)


def test_a_word_of_a_later_draft_is_no_reference() -> None:
    check = JsonSchemaCheck({"$schema": DRAFT_7, "$dynamicRef": "https://example.com/a.json"})
    check(1)


def test_a_pattern_that_python_cannot_read_is_refused_when_the_check_is_made() -> None:
    schema = {"$schema": DRAFT_4, "patternProperties": {r"\p{Letter}": {}}}
    with pytest.raises(InvalidArgument, match="not a regular expression"):
        JsonSchemaCheck(schema)
