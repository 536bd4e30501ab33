from __future__ import annotations

import pickle
import tracemalloc
from collections import ChainMap, UserDict
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwire.errors import InvalidArgument, InvalidTemplate, MissingVariable, ModelwireError
from modelwire.messages import HumanMessage
from modelwire.prompts import (
    ChatPromptTemplate,
    PromptTemplate,
    get_template_variables,
    mustache_formatter,
)
from modelwire.prompts.mustache import MustacheTemplate


class Person:
    name = "hidden"

    def __str__(self) -> str:
        return "a person"


@pytest.mark.parametrize(
    ("template", "values", "text"),
    [
        ("{{x}} {{ x }}", {"x": 1}, "1 1"),
        ("{{x}}", {"x": '<b>&"it\'s"</b>'}, "&lt;b&gt;&amp;&quot;it's&quot;&lt;/b&gt;"),
        ("{{{x}}} {{&x}}", {"x": "<b>"}, "<b> <b>"),
        ("{{x.y.z}}|{{x.y.q}}", {"x": {"y": {"z": 1}}}, "1|"),
        ("{{x.0}}{{x.1}}{{x.2}}", {"x": ["a", "b"]}, "ab"),
        ("{{x-y}}{{x y}}", {"x-y": 1, "x y": 2}, "12"),
        ("{{#x}}{{.}},{{/x}}", {"x": [1, 2]}, "1,2,"),
        ("{{#x}}{{n}}{{m}}{{/x}}", {"x": {"n": 3}, "m": 4}, "34"),
        ("{{#x}}{{n}}{{/x}}", {"x": True, "n": 5}, "5"),
        ("{{#x}}{{n}}{{/x}}", {"x": [{"n": 1}, {}], "n": 5}, "15"),
        ("{{#a.b}}{{c}}{{/a.b}}", {"a": {"b": {"c": 1}}}, "1"),
        ("{{#x}}yes{{/x}}{{^x}}no{{/x}}", {"x": []}, "no"),
        ("{{#x}}yes{{/x}}{{^x}}no{{/x}}", {"x": "text"}, "yes"),
        ("{{^x}}no{{/x}}", {}, "no"),
        ("{{! a\nb }}text", {}, "text"),
        ("{{> other}}text", {}, "text"),
        ("{{=<% %>=}}<%x%>{{x}}<%={{ }}=%>{{x}}", {"x": 1}, "1{{x}}1"),
        ("x}} { {x}", {}, "x}} { {x}"),
        ("{{x}}", {"x": "{{y}}"}, "{{y}}"),
    ],
)
def test_tags_are_filled_in(template: str, values: dict[str, Any], text: str) -> None:
    assert mustache_formatter(template, **values) == text


@pytest.mark.parametrize(
    ("template", "values", "text"),
    [
        ("a\n{{! c }}\nb", {}, "a\nb"),
        ("a\n  {{#x}}\n  b\n  {{/x}}\nc", {"x": [1, 2]}, "a\n  b\n  b\nc"),
        ("a\r\n{{#x}}\r\nb\r\n{{/x}}", {"x": 1}, "a\r\nb\r\n"),
        ("{{#x}}{{/x}}\n", {"x": 1}, "\n"),
        ("  {{x}}\n", {"x": 1}, "  1\n"),
        ("a {{! c }}\nb", {}, "a \nb"),
    ],
)
def test_a_line_with_nothing_but_a_tag_is_no_part_of_the_text(
    template: str, values: dict[str, Any], text: str
) -> None:
    assert mustache_formatter(template, **values) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.0, "0.0"), (False, "False"), ("", ""), (None, ""), ([], ""), ({}, ""), ((), "")],
)
def test_what_is_empty_is_said_as_nothing_and_zero_as_zero(value: Any, text: str) -> None:
    assert (
        PromptTemplate.from_template("{{x}}", template_format="mustache")
        .invoke({"x": value})
        .to_string()
        == text
    )


@pytest.mark.parametrize("kind", [dict, ChainMap, UserDict, MappingProxyType])
def test_names_are_looked_up_in_any_mapping(kind: Any) -> None:
    assert mustache_formatter("{{user.name}}", user=kind({"name": "Ada"})) == "Ada"


@pytest.mark.parametrize(
    "template",
    [
        "{{x.name}}",
        "{{x.__class__}}",
        "{{x.__class__.__name__}}",
        "{{#x}}{{name}}{{/x}}",
        "{{y.0}}",
    ],
)
def test_names_are_never_looked_up_among_attributes(template: str) -> None:
    assert mustache_formatter(template, x=Person(), y="text") == ""
    prompt = ChatPromptTemplate(
        [("human", template), ("human", "{{x}}")], template_format="mustache"
    )
    assert prompt.messages[0].input_variables in (["x"], ["y"])


def test_nothing_is_called() -> None:
    def fail() -> None:
        raise AssertionError

    assert mustache_formatter("{{#x}}seen{{/x}}", x=fail) == "seen"


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("a\n{{}}", "empty tag on line 2"),
        ("{{ }}", "empty tag"),
        ("{{x", "unclosed tag"),
        ("{{{x}}", "unclosed tag"),
        ("{{#x}}", "`x`, opened on line 1, is never closed"),
        ("{{/x}}", "closes a section `x`"),
        ("{{#x}}{{#y}}{{/x}}{{/y}}", "the last one opened is `y`"),
        ("{{=a=}}", "not two"),
        ("{{#x}}" * 101, "nested"),
    ],
)
def test_a_broken_template_is_refused_when_it_is_made(template: str, says: str) -> None:
    with pytest.raises(InvalidTemplate, match=says):
        PromptTemplate.from_template(template, template_format="mustache")


def test_variables_are_what_the_outermost_tags_begin_with() -> None:
    template = "{{user.name}} {{user.role}} {{#items}}{{price}}{{/items}} {{^none}}x{{/none}} {{.}} {{! c }}"
    assert get_template_variables(template, "mustache") == ["items", "none", "user"]
    prompt = PromptTemplate.from_template("{{a}} {{b.c}}", template_format="mustache")
    assert prompt.input_variables == ["a", "b"]
    with pytest.raises(MissingVariable, match="b"):
        prompt.invoke({"a": 1})


def test_the_schema_of_a_prompt_has_the_keys_that_are_looked_up() -> None:
    prompt = PromptTemplate.from_template("{{a}} {{#b}}{{c}}{{/b}}", template_format="mustache")
    schema = prompt.get_input_schema().model_json_schema()
    assert schema["title"] == "PromptInput"
    assert schema["properties"]["a"] == {"default": None, "title": "A", "type": "string"}
    assert schema["$defs"]["b"]["properties"] == {
        "c": {"default": None, "title": "C", "type": "string"}
    }


def test_prompts_of_two_formats_cannot_be_added() -> None:
    one = PromptTemplate.from_template("{{x}} ", template_format="mustache")
    assert (one + "{{y}}").format(x=1, y=2) == "1 2"
    with pytest.raises(InvalidArgument, match="Cannot add templates of different formats"):
        one + PromptTemplate.from_template("{x}")
    with pytest.raises(InvalidArgument, match="Mustache templates cannot be validated"):
        PromptTemplate(
            "{{x}}", template_format="mustache", input_variables=["x"], validate_template=True
        )


def test_copies_are_equal_and_work() -> None:
    prompt = PromptTemplate.from_template("{{x}}", template_format="mustache")
    again = pickle.loads(pickle.dumps(prompt))
    assert again == prompt
    assert again.format(x=1) == "1"


def test_blocks_and_messages_take_mustache() -> None:
    block = {"type": "image_url", "image_url": {"url": "data:image/{{kind}};base64,{{data}}"}}
    prompt = ChatPromptTemplate(
        [("human", [{"type": "text", "text": "{{#t}}{{.}}{{/t}}"}, block])],
        template_format="mustache",
    )
    messages = prompt.invoke({"t": [], "kind": "png", "data": "eA=="}).to_messages()
    # A text that came out empty is left out: providers refuse empty text blocks.
    assert messages == [
        HumanMessage([{"type": "image_url", "image_url": {"url": "data:image/png;base64,eA=="}}])
    ]


@given(
    st.lists(
        st.sampled_from(
            [
                "{{",
                "}}",
                "{{{",
                "}}}",
                "#",
                "^",
                "/",
                "!",
                "=",
                "x",
                "y.z",
                ".",
                " ",
                "\n",
                "{",
                "&",
                ">",
            ]
        )
    )
)
def test_any_text_is_read_or_refused(pieces: list[str]) -> None:
    try:
        assert isinstance(mustache_formatter("".join(pieces), x=[{"y": 1}], y={"z": 2}), str)
    except ModelwireError:
        pass


@pytest.mark.long
@pytest.mark.parametrize("piece", ["{{!}}", "{{x}}", "{{#x}}{{/x}}", " {{!}} ", "\n{{!}}\n"])
def test_memory_grows_with_the_length_of_the_template(piece: str) -> None:
    tracemalloc.start()
    mustache_formatter(piece * 20_000, x=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000 * 1_000


@pytest.mark.long
def test_sections_that_multiply_are_given_up() -> None:
    bomb = MustacheTemplate("{{#a}}" * 25 + "x" + "{{/a}}" * 25)
    assert bomb.render({"a": [1]}) == "x"
    with pytest.raises(InvalidTemplate, match="Sections inside of sections multiply"):
        bomb.render({"a": [1, 2]})
    with pytest.raises(InvalidTemplate, match="67,108,864 characters"):
        MustacheTemplate("{{#a}}{{b}}{{/a}}").render({"a": [1] * 1000, "b": "x" * 100_000})


def test_a_long_list_is_no_bomb() -> None:
    rows = [{"n": n} for n in range(100_000)]
    assert MustacheTemplate("{{#rows}}{{n}},{{/rows}}").render({"rows": rows}).count(",") == 100_000
