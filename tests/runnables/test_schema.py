"""Input, output and config schemas: what a chain says of its ends, without a warning from pydantic."""

from __future__ import annotations

from collections.abc import Iterator
from operator import itemgetter
from typing import Any, TypedDict

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel
from pydantic import v1 as old_pydantic

from modelwire.errors import InvalidArgument
from modelwire.output_parsers import StrOutputParser
from modelwire.prompts import PromptTemplate
from modelwire.runnables import (
    RouterRunnable,
    Runnable,
    RunnableBranch,
    RunnableGenerator,
    RunnableLambda,
    RunnableParallel,
    RunnablePassthrough,
    RunnablePick,
)
from modelwire.runnables.schema import object_schema


def count(x: str) -> int:
    return len(x)


def anything(x):  # type: ignore[no-untyped-def]
    return x


def reads(x):  # type: ignore[no-untyped-def]
    other = {"hidden": 1}
    return x["b"], x.get("a"), other["hidden"]


class Person(BaseModel):
    name: str
    age: int = 3


class OldPerson(old_pydantic.BaseModel):
    name: str
    age: int = 3


class Row(TypedDict):
    city: str


class Plain(Runnable[Any, Any]):
    def invoke(self, input: Any, config: Any = None, **kwargs: Any) -> Any:
        return input


def named(*keys: str, **types: str) -> dict[str, Any]:
    about = {**dict.fromkeys(keys), **types}
    properties = {
        key: {"title": key.replace("_", " ").title().strip(), **({"type": kind} if kind else {})}
        for key, kind in about.items()
    }
    return {"properties": properties, "required": list(properties), "type": "object"}


prompt = PromptTemplate.from_template("{question}")


@pytest.mark.parametrize(
    ("runnable", "expected"),
    [
        (RunnableLambda(count), {"title": "count_input", "type": "string"}),
        (RunnableLambda(anything), {"title": "anything_input"}),
        (RunnableLambda(reads), {"title": "reads_input", **named("a", "b")}),
        (RunnableLambda(lambda x: x["k"]), {"title": "RunnableLambdaInput", **named("k")}),
        (RunnableLambda(itemgetter("a", "b")), {"title": "RunnableLambdaInput", **named("a", "b")}),
        (
            RunnableLambda(itemgetter(0)),
            {"title": "RunnableLambdaInput", "type": "array", "items": {}},
        ),
        (
            RunnableLambda(count).map(),
            {"title": "RunnableEach<count>Input", "type": "array", "items": {"type": "string"}},
        ),
        (RunnableLambda(count).with_types(input_type=Person), Person.model_json_schema()),
        (
            RunnableLambda(anything).with_types(input_type=int),
            {"title": "anything_input", "type": "integer"},
        ),
        (prompt, {"title": "PromptInput", **named(question="string")}),
        (prompt | count, {"title": "PromptInput", **named(question="string")}),
        (
            RunnableParallel(a=prompt, b=itemgetter("c")),
            {"title": "RunnableParallel<a,b>Input", **named("c", question="string")},
        ),
        (
            RunnableParallel(a=count, b=prompt),
            {"title": "RunnableParallel<a,b>Input", "type": "string"},
        ),
        (
            RunnableParallel(),
            {"title": "RunnableParallel<>Input", "type": "object", "properties": {}},
        ),
        (
            RunnablePassthrough.assign(a=prompt),
            {"title": "RunnableParallel<a>Input", **named(question="string")},
        ),
        (
            RunnablePassthrough.assign(question=itemgetter("topic")) | prompt,
            {"title": "RunnableSequenceInput", **named("topic")},
        ),
        (RunnablePick("a") | prompt, {"title": "PromptInput", **named(question="string")}),
        (RunnableBranch((anything, anything), count), {"title": "count_input", "type": "string"}),
        (
            RunnableLambda(count).with_fallbacks([prompt]),
            {"title": "count_input", "type": "string"},
        ),
        (RunnableLambda(count).with_retry(), {"title": "count_input", "type": "string"}),
        (Plain(), {"title": "PlainInput"}),
    ],
)
def test_input_schemas(runnable: Runnable[Any, Any], expected: dict[str, Any]) -> None:
    found = runnable.get_input_jsonschema()
    assert {**found, "required": sorted(found.get("required", []))} == {
        **expected,
        "required": sorted(expected.get("required", [])),
    }


def test_older_scripts_call_schema() -> None:
    assert prompt.input_schema.schema() == prompt.get_input_jsonschema()


def gives(chunks: Iterator[str]) -> Iterator[int]:
    yield 1


two = RunnableParallel(a=count, b=anything)


@pytest.mark.parametrize(
    ("runnable", "expected"),
    [
        (RunnableLambda(count), {"title": "count_output", "type": "integer"}),
        (RunnableGenerator(gives), {"title": "gives_output", "type": "integer"}),
        (RunnableLambda(count, name="Short"), {"title": "ShortOutput", "type": "integer"}),
        (two, {"title": "RunnableParallel<a,b>Output", **named("b", a="integer")}),
        (two | RunnablePick("a"), {"title": "RunnableSequenceOutput", "type": "integer"}),
        (two | RunnablePick(["a"]), {"title": "RunnableSequenceOutput", **named(a="integer")}),
        (
            two.assign(c=count),
            {"title": "RunnableSequenceOutput", **named("b", a="integer", c="integer")},
        ),
        (two.assign(a=anything), {"title": "RunnableSequenceOutput", **named("a", "b")}),
        (
            RunnablePassthrough.assign(c=count),
            {"title": "RunnableAssignOutput", **named(c="integer")},
        ),
        (prompt | StrOutputParser(), {"title": "StrOutputParserOutput", "type": "string"}),
        (
            RunnableLambda(anything).with_types(output_type=dict[str, int]),
            {
                "title": "anything_output",
                "type": "object",
                "additionalProperties": {"type": "integer"},
            },
        ),
    ],
)
def test_output_schemas(runnable: Runnable[Any, Any], expected: dict[str, Any]) -> None:
    found = runnable.get_output_jsonschema()
    assert {**found, "required": sorted(found.get("required", []))} == {
        **expected,
        "required": sorted(expected.get("required", [])),
    }


@given(st.lists(st.text(min_size=1, max_size=8), unique=True, max_size=5))
@example(["Config"])  # a class of this name had a meaning in pydantic 1
def test_a_key_may_be_any_text(keys: list[str]) -> None:
    keys = [*keys, "schema", "_private", "json", "model_fields", "a b"]
    schema = object_schema("Any", dict.fromkeys(keys, (str, ...)))
    found = schema.model_json_schema()
    assert set(found["properties"]) == set(keys)
    assert set(found["required"]) == set(keys)
    schema.model_validate(dict.fromkeys(keys, "x"))


def test_a_schema_validates_what_it_describes() -> None:
    schema = prompt.input_schema
    assert schema.model_validate({"question": "why"}).model_dump() == {"question": "why"}
    with pytest.raises(ValueError, match="question"):
        schema.model_validate({})


def test_typed_dicts_of_the_standard_library_can_be_read() -> None:
    def city(row: Row) -> str:
        return row["city"]

    found = RunnableLambda(city).with_types(input_type=Row).get_input_jsonschema()
    assert found["$defs"]["Row"]["properties"] == {"city": {"title": "City", "type": "string"}}


def test_models_of_pydantic_1_keep_their_defaults() -> None:
    reading = RunnableLambda(anything).with_types(input_type=OldPerson)
    assert reading.input_schema is OldPerson
    schema = RunnableParallel(a=reading).input_schema
    assert schema.model_json_schema()["required"] == ["name"]
    assert schema.model_validate({"name": "x"}).model_dump() == {"name": "x", "age": 3}


def test_what_has_no_json_schema_may_be_anything() -> None:
    class Thing:
        pass

    assert RunnableLambda(anything).with_types(input_type=Thing).get_input_jsonschema() == {
        "title": "anything_input"
    }


def test_a_router_takes_a_key_and_an_input() -> None:
    properties = RouterRunnable({"a": count}).get_input_jsonschema()["$defs"]["RouterInput"][
        "properties"
    ]
    assert list(properties) == ["key", "input"]


def test_a_config_schema_has_the_keys_asked_for() -> None:
    chain = RunnableLambda(count)
    assert chain.get_config_jsonschema() == {
        "title": "count_config",
        "type": "object",
        "properties": {},
    }
    found = chain.get_config_jsonschema(include=["tags", "max_concurrency", "configurable"])
    assert list(found["properties"]) == ["tags", "max_concurrency"]
    with pytest.raises(InvalidArgument, match=r"no key `tag`\. Did you mean `tags`"):
        chain.config_schema(include=["tag"])
