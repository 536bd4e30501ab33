"""Schemas rewritten, and the ones given left alone."""

from __future__ import annotations

from copy import deepcopy
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.lib._pydantic import to_strict_json_schema
from pydantic import BaseModel, Field

from modelwire.tools.json_schema import (
    inlined,
    is_free_form,
    recursive_references,
    schemas_within,
    strict_schema,
    without_titles,
)

leaves = st.sampled_from(
    [{"type": "string", "title": "T"}, {"type": "integer", "default": None}, {"enum": ["a", 1]}]
)


def _objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    names = st.sampled_from(["title", "default", "properties", "a", "b"])
    return st.one_of(
        st.dictionaries(names, inner, max_size=3).map(
            lambda of: {"type": "object", "properties": of, "title": "O"}
        ),
        inner.map(lambda of: {"type": "array", "items": of}),
        st.lists(inner, min_size=1, max_size=2).map(lambda of: {"anyOf": of}),
    )


schemas = st.recursive(leaves, _objects, max_leaves=8)


@given(schemas)
def test_strict_closes_every_object_and_changes_nothing_given(schema: dict[str, Any]) -> None:
    before = deepcopy(schema)
    strict = strict_schema(schema)
    assert schema == before
    for _, node in schemas_within(strict):
        assert not ("default" in node and node["default"] is None)
        if node.get("type") == "object":
            assert node["additionalProperties"] is False
            assert node.get("required", []) == list(node.get("properties", {}))
    assert strict_schema(strict) == strict


@given(schemas)
def test_titles_go_and_properties_named_title_stay(schema: dict[str, Any]) -> None:
    before = deepcopy(schema)
    bare = without_titles(schema)
    assert schema == before
    assert not any("title" in node for _, node in schemas_within(bare))
    names = [sorted(node.get("properties", {})) for _, node in schemas_within(schema)]
    assert [sorted(node.get("properties", {})) for _, node in schemas_within(bare)] == names


def test_definitions_are_inlined_with_what_stands_beside_the_reference() -> None:
    to_place = {"$ref": "#/$defs/Place"}
    schema = {
        "type": "object",
        "properties": {"home": {**to_place, "description": "d"}, "all": {"allOf": [to_place]}},
        "$defs": {
            "Place": {"type": "object", "properties": {"city": {"$ref": "#/$defs/City"}}},
            "City": {"type": "string"},
        },
    }
    place = {"type": "object", "properties": {"city": {"type": "string"}}}
    assert inlined(schema) == {
        "type": "object",
        "properties": {"home": {**place, "description": "d"}, "all": place},
    }
    assert "$defs" in schema


def test_a_schema_that_would_grow_without_bounds_keeps_its_references() -> None:
    def doubling(n: int) -> dict[str, Any]:
        following = {"$ref": f"#/$defs/D{n + 1}"}
        return {"type": "object", "properties": {"a": following, "b": following}}

    last = {"type": "object", "properties": {"only": {"$ref": "#/$defs/Once"}}}
    definitions = {f"D{n}": doubling(n) for n in range(20)}
    schema = {**doubling(-1), "$defs": {**definitions, "D20": last, "Once": {"type": "string"}}}
    short = inlined(schema)
    assert len(list(schemas_within(short))) < 100
    assert short["$defs"] == schema["$defs"]
    few = {**schema, "properties": {"a": {"$ref": "#/$defs/D15"}}}
    assert "$ref" not in str(inlined(few))
    assert recursive_references(schema) == set()
    assert len(list(schemas_within(strict_schema(short)))) < 2_000


def test_a_discriminator_names_no_definition_that_is_gone() -> None:
    class Cat(BaseModel):
        kind: Literal["cat"]

    class Dog(BaseModel):
        kind: Literal["dog"]
        pups: list[Dog] = []

    class Pets(BaseModel):
        pet: Annotated[Cat | Dog, Field(discriminator="kind")]
        dog: Annotated[Dog | list[Dog], Field()]

    Dog.model_rebuild(_types_namespace={"Dog": Dog})
    pet = inlined(Pets.model_json_schema())["properties"]["pet"]
    assert pet["discriminator"] == {"propertyName": "kind"}


def test_a_definition_that_contains_itself_stays_a_reference() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}
    schema = {"$ref": "#/$defs/Node", "$defs": {"Node": node}}
    assert inlined(schema) == {**node, "$defs": {"Node": node}}
    wrapped = {
        "type": "object",
        "properties": {"first": {"$ref": "#/$defs/Node"}},
        "$defs": {"Node": node},
    }
    assert inlined(wrapped) == wrapped


def test_alternatives_under_one_of_become_any_of_in_strict_mode() -> None:
    schema = {
        "oneOf": [{"type": "string"}, {"type": "null"}],
        "discriminator": {"propertyName": "kind"},
    }
    assert strict_schema(schema) == {"anyOf": [{"type": "string"}, {"type": "null"}]}


def test_free_form_objects_are_told() -> None:
    assert is_free_form({"type": "object"})
    assert is_free_form({"type": "object", "additionalProperties": {"type": "string"}})
    assert not is_free_form({"type": "object", "properties": {"a": {}}})
    assert not is_free_form({"type": "object", "additionalProperties": False})
    assert not is_free_form({"type": "string"})


def test_paths_name_the_part() -> None:
    schema = {
        "properties": {
            "a": {"type": "array", "items": {"properties": {"b": {"anyOf": [{"type": "null"}]}}}}
        }
    }
    assert [path for path, _ in schemas_within(schema)] == ["", "a", "a[]", "a[].b", "a[].b"]


class Town(BaseModel):
    roads: Roads = Field(description="Out of it.")


class Roads(BaseModel):
    back: Town | None = None
    number: int = 3


class Country(BaseModel):
    capital: Town = Field(description="The first town.")
    roads: Roads = Field(description="All of them.")


class Tree(BaseModel):
    smaller: Annotated[Tree, Field(description="The smaller ones.")] | None = None


# Definitions that all refer to each other, each time with words.
WEB: dict[str, Any] = {
    "type": "object",
    "properties": {"first": {"$ref": "#/$defs/N1", "description": "one"}},
    "$defs": {
        f"N{n}": {
            "type": "object",
            "properties": {
                f"to{m}": {"$ref": f"#/$defs/N{m}", "description": f"one of {m}"}
                for m in range(1, 9)
            },
        }
        for n in range(1, 9)
    },
}


@pytest.mark.parametrize("model", [Town, Country])
def test_a_reference_has_no_siblings_in_strict_mode_as_in_the_sdk(model: Any) -> None:
    """OpenAI answers 400 to `{"$ref": ..., "description": ...}`."""
    ours = strict_schema(model.model_json_schema())
    assert ours == to_strict_json_schema(model)
    assert strict_schema(inlined(model.model_json_schema()))["properties"] == ours["properties"]


@pytest.mark.parametrize("schema", [*(m.model_json_schema() for m in (Town, Country, Tree)), WEB])
def test_no_reference_has_siblings_however_definitions_contain_each_other(schema: Any) -> None:
    """The SDK itself recurses without end on the last two."""
    before = deepcopy(schema)
    strict = strict_schema(inlined(schema))
    assert schema == before
    nodes = list(schemas_within(strict))
    assert all(len(node) == 1 for _, node in nodes if "$ref" in node)
    assert len(nodes) < 20_000
    assert any(word in str(strict) for word in ("Out of it.", "The smaller ones.", "one"))


def test_the_whole_may_be_referred_to_with_words() -> None:
    schema = {"type": "object", "properties": {"again": {"$ref": "#", "description": "The same."}}}
    assert strict_schema(schema)["properties"]["again"] == {
        "anyOf": [{"$ref": "#"}],
        "description": "The same.",
    }
